//go:build !linux

package loopfstest

import "testing"

// FS is a mounted file system. There is none on this system.
type FS struct{ Dir string }

const reason = "file systems are mounted on Linux only"

// Require skips the test.
func Require(t testing.TB) { t.Helper(); t.Skip(reason) }

// New skips the test.
func New(t testing.TB, _ string, _ int64) *FS { t.Helper(); t.Skip(reason); return nil }

// Format skips the test.
func Format(t testing.TB, _ string, _ int64) { t.Helper(); t.Skip(reason) }

// Mount skips the test.
func Mount(t testing.TB, _ string) *FS { t.Helper(); t.Skip(reason); return nil }

// Unmount does nothing.
func (fs *FS) Unmount(testing.TB) {}

// Copy skips the test.
func (fs *FS) Copy(t testing.TB, _, _ string) { t.Helper(); t.Skip(reason) }

// Fill skips the test.
func (fs *FS) Fill(t testing.TB, _ int64) string { t.Helper(); t.Skip(reason); return "" }

// Free skips the test.
func (fs *FS) Free(t testing.TB) int64 { t.Helper(); t.Skip(reason); return 0 }

// CopySparse skips the test.
func CopySparse(t testing.TB, _, _ string) { t.Helper(); t.Skip(reason) }
