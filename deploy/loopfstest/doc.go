// Package loopfstest makes small file systems for tests: ext4 in a file, mounted by a
// loop device, to be filled up, or to be cut off from power.
//
// It needs Linux and root, and says in the test's skip what is missing. What it
// mounts is unmounted when the test ends. What a killed test left mounted is
// unmounted by the next one: its directory carries the process's id.
//
// Copies are for power cuts. A file system that is frozen takes no write: the file
// that is the disk of another one mounted from it then stands still, wherever the
// kernel was in writing to it, in the midst of a journal's commit too. Copy makes
// use of that, so a copy is what a disk holds at one instant, with all that was
// written to it before and nothing later. What was not written to it by then, since
// nobody asked for it to be synced, is not in the copy.
//
// Functions may be called from any goroutine; a FS belongs to one at a time.
package loopfstest
