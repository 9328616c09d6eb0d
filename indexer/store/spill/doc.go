// Package spill holds versions of keys, more than fit into memory, so that they can be
// read back while they are written and come out sorted at the end. It is what a fresh
// index is built in, before its tables are written.
//
// It owns two buffers in memory and the runs that they become, sorted files in a
// directory, and what it takes to find a key in them. What it writes is not durable
// and of no use to another process: a build that was killed starts over.
//
// It refuses to know what keys mean, but for which can be read back (Options.Got and
// Options.Scanned): reading another one is an error, not a wrong answer.
//
// Memory is Options.Memory, whatever is written: what finds keys in runs becomes
// coarser when it takes more than its share, and runs are merged when there are too
// many, or when they are read so often that it pays. Only while a scan is open that
// writes more than a buffer holds, up to two more buffers live.
//
// Concurrency: one goroutine calls the methods of a Set. A full buffer is sorted and
// written by a goroutine of the Set, one at a time; Parts and Close join it. Parts may
// be read by a goroutine each.
package spill
