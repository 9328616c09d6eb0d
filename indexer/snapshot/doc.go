// Package snapshot turns an index into a stream of bytes and back: all that can be read
// at any sequence from its floor to the one at which the snapshot was taken, and the
// hashed API keys that were given along.
//
// It owns the format. A snapshot is taken while batches are committed and the floor is
// asked to move, which waits; it is one sequence all the same. What package store
// writes for itself and counts anew, counters, is not in it.
//
// The layout; numbers are big endian:
//
//	part     bytes  content
//	magic    8      89 41 44 58 53 4E 41 50 ("\x89ADXSNAP")
//	length   4      of the header, at most 1 MiB
//	check    4      CRC-32C of magic, length and header together
//	header          of type Header, as JSON; its member "format" names the version of what follows
//	block    1      'k': of API keys; 'e': of entries
//	         4      length of what follows, at most 16 MiB
//	                a zstd frame with its own checksum, of at most 16 MiB of content
//	...             more blocks, those of API keys first; content is some 1 MiB of each
//	end      1      '.'
//	         8      number of API keys
//	         8      number of entries
//	         32     SHA-256 of all bytes before
//
// An API key is a varint of the length of its name, the name, and the same for its
// stored form. An entry is
//
//	flags    1      0: a value; 1: a deletion
//	shared   varint how many bytes its key has in common with the one before in the block
//	rest     varint and so many bytes: the rest of the key
//	seq      varint the sequence of the version
//	value    varint and so many bytes; absent in a deletion
//
// Keys are in bytewise order, versions of a key from the newest to the oldest. Nothing
// follows the end.
//
// It refuses, with ErrDamaged and the place, whatever is not such a file to its last
// byte: one that was cut short, a flipped bit, bytes behind the end, another file glued
// to it. And with ErrVersion one of another format, index format or fold. A checksum
// is no signature: who can write the file can write another one, so it is to be kept
// like the index itself. API keys are in it as hashes; who assigned what to whom is
// in it in clear.
//
// Memory is bounded by a few blocks, whatever the size, and the API keys.
//
// Concurrency: the functions may be called from any goroutine, each with a reader or
// writer of its own. They start no goroutine but Badger's.
package snapshot
