package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/indexer/rebuild"
	"github.com/assigndex/assigndex/indexer/stream/streamtest"
)

// A rebuild of a stream that lost its beginning begins with the newest snapshot, also in
// the data directory of a stopped server.
func TestRebuildFromASnapshot(t *testing.T) {
	s := streamtest.Start(t)
	dir := t.TempDir()
	n, _ := startReplica(t, dir, s, nil)
	operator := n.must("", "key", "create", "--name", "operator", "--role", "admin", "--tenant", "*")
	n.publishGrants(1, 50)
	n.take()
	n.publishGrants(51, 20)
	n.trim(45)
	want := n.digest(70)
	out := n.must("", "rebuild", "--api-key", operator, "--require-equal")
	if got := n.digest(70); got != want || !strings.Contains(out, "from the snapshot of sequence 50 to 70") {
		t.Errorf("digest %s, want %s: %s", got, want, out)
	}
	until := n.must("", "rebuild", "--api-key", operator, "--until", "60")
	if digestOf(until) != n.digest(60) {
		t.Errorf("as it was: %s", until)
	}
	if code, _, errs := n.command("", "rebuild", "--api-key", operator, "--until", "49"); code != exitFailed || !strings.Contains(errs, "cannot_rebuild") {
		t.Errorf("before every snapshot: %d, %s", code, errs)
	}
	n.stopNode()
	code, out, errs := runProgram(t, "", []string{"ASSIGNDEX_NATS_URL=" + s.ClientURL()}, "rebuild", "--data-dir", dir, "--require-equal")
	if code != exitDone || digestOf(out) != want || !strings.Contains(out, "from the snapshot of sequence 50 to 70") {
		t.Errorf("offline: %d, %s, %s", code, out, errs)
	}
}

// Two replicas, one of which was restored from a snapshot and the other rebuilt from the
// stream's beginning, say the same at one sequence while events flow.
func TestRestoredAndRebuiltReplicasAgree(t *testing.T) {
	s := streamtest.Start(t)
	rebuilt, _ := startReplica(t, t.TempDir(), s, nil)
	rebuilt.publishGrants(1, 500)
	rebuilt.take()
	stop := rebuilt.flow()
	restored, _ := startReplica(t, t.TempDir(), s, bootstrapping)
	report, err := rebuilt.rebuilder.Rebuild(t.Context(), rebuild.Request{RequireEqual: true}, nil)
	if err != nil || !report.Swapped || report.From != 0 || mustCurrent(t, rebuilt.cfg.DataDir) != "index-2" {
		t.Fatalf("%+v, %v", report, err)
	}
	if floor := restored.stored().Floor(); restored.stored().Applied().Seq < 500 || floor > 500 {
		t.Errorf("restored with floor %d", floor)
	}
	for range 3 {
		at := max(restored.stored().Applied().Seq, rebuilt.stored().Applied().Seq) + 50
		restored.waitFor(at)
		rebuilt.waitFor(at)
		wantEqual(t, at, restored, rebuilt)
	}
	stop()
}

// An index as it was is served, and stays so.
func TestServeAsItWas(t *testing.T) {
	s := streamtest.Start(t)
	dir := t.TempDir()
	n, _ := startReplica(t, dir, s, nil)
	operator := n.must("", "key", "create", "--name", "operator", "--role", "admin", "--tenant", "*")
	n.publishGrants(1, 50)
	n.publishGrants(51, 20)
	n.must("", "rebuild", "--api-key", operator, "--until", "50")
	want := n.digest(50)
	was, _ := startReplica(t, filepath.Join(dir, "until-50"), s, func(c *config.Serve) { c.Snapshots.Every = 0 })
	was.await("/readyz", func(s sent) bool { return s.status == http.StatusOK })
	if got := was.digest(50); got != want {
		t.Errorf("the digest is %s, want %s", got, want)
	}
	n.publishGrants(71, 10)
	out := was.must("", "query", "--api-key", operator, "--tenant", "default", "--output", "ndjson")
	if got := strings.Count(out, "usr_id"); got != 50 {
		t.Errorf("%d rows: %s", got, out)
	}
	if seq, _ := was.index.Applied(); seq != 50 {
		t.Errorf("it has read on to %d", seq)
	}
	// What would change it is not there.
	for path, body := range map[string]string{"/api/rebuild": `{}`, "/api/ingest/identities": `{}`} {
		if got := was.send(operator, http.MethodPost, path, body); got.status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	was.stopNode()
	again, _ := startReplica(t, filepath.Join(dir, "until-50"), s, nil)
	again.await("/readyz", func(s sent) bool { return s.status == http.StatusOK })
	if got := again.digest(50); got != want {
		t.Errorf("after a restart the digest is %s, want %s", got, want)
	}
	if code, _, errs := runProgram(t, "", nil, "rebuild", "--data-dir", filepath.Join(dir, "until-50")); code != exitFailed || !strings.Contains(errs, "open") {
		t.Errorf("rebuild beside it: %d, %s", code, errs)
	}
}
