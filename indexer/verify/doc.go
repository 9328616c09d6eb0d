// Package verify checks a whole index: that its files hold what was written to them,
// that every family agrees with every other, and, when asked, that an index built
// afresh from the stream says the same.
//
// It owns the order of the checks, how they read a store that serves and applies
// events meanwhile, and the index that is built to compare with, in a directory that
// it makes and removes. What is checked is decided in package audit.
//
// It refuses to repair anything, and to call an index sound of which it could not
// look at all: that is an error. It takes memory for the counters and for a second
// store, whatever the size of the index.
//
// Concurrency: a Verifier runs one verification at a time, audit.ErrRunning otherwise. It
// reads at one snapshot and holds no lock for longer than the counters take to copy.
package verify
