package main

import (
	"testing"

	"github.com/assigndex/assigndex/indexer/stream/streamtest"
)

// A rebuild of a stream that lost its beginning begins with the newest snapshot.
func TestRebuildFromASnapshot(t *testing.T) {
	n, _ := startReplica(t, t.TempDir(), streamtest.Start(t), nil)
	operator := n.must("", "key", "create", "--name", "operator", "--role", "admin", "--tenant", "*")
	n.publishGrants(1, 50)
	n.take()
	n.publishGrants(51, 20)
	n.trim(45)
	want := n.digest(70)
	out := n.must("", "rebuild", "--api-key", operator, "--require-equal")
	t.Log(out)
	if got := n.digest(70); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}
