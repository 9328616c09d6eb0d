// Package diskguard watches how much is free on the file systems that we write
// to, so that writing stops before one of them is full.
//
// That must never be reached: a memtable is a mapped file, so a full disk is a
// SIGBUS that ends the process, and JetStream's file store takes no message after
// a failed write until it was opened again.
//
// It owns the decision, for each place by itself: low when less is free than the
// reserve, and well again when a quarter more than that is free, so that it does
// not change with every table that is written. What was begun when a place becomes
// low is finished out of the reserve.
//
// It refuses to stop anything itself. Who writes asks before it begins (Wait,
// Room), and whoever serves asks Low. A file system that does not tell what is free
// is said to be so, and is not guarded: a guess in either direction does harm.
// (FreeBytes works on Unix systems and on Windows; elsewhere it fails.)
//
// Concurrency: every method may be called from any goroutine.
package diskguard
