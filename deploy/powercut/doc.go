// Package powercut tests that nothing acknowledged is lost, and that the index has
// no hole, when the power goes.
//
// A child process runs the embedded server with its stream, the indexer and a
// publisher of atomic batches on an ext4 file system of its own. At random moments
// its disk is copied as it is at that instant (see package loopfstest): what was synced
// is in the copy, what the kernel still held back is not. Each copy is mounted, which
// replays its journal, and opened: every event that was acknowledged before the copy
// is in the stream at its sequence, the index opens at a watermark that is neither
// past the stream nor before what had been told as applied, it is there the one that
// a fresh index of the stream is, and reads on to the stream's end.
//
// The test shows each time that the cut was one: of two files that are written
// before it, one is synced and is in the copy, the other is not. And it shows that it
// can fail: with a kernel that lies about syncing, which a seccomp filter makes of
// ours for the child alone, it finds what is lost.
//
// It needs Linux and root, and otherwise says so in its skip. A few images are a part
// of go test ./...; the long lane is
//
//	go test -count=1 -timeout 30m ./deploy/powercut -cuts 40
//
// which took four minutes on two busy cores.
package powercut
