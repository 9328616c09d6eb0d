package main

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/config"
)

// await asks a path until an answer is as it should be, and gives it.
func (r *running) await(path string, fits func(sent) bool) sent {
	r.t.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	timeout := time.After(30 * time.Second)
	for {
		got := r.send("", http.MethodGet, path, "")
		if fits(got) {
			return got
		}
		select {
		case <-again.C:
		case <-timeout:
			r.t.Fatalf("%s still answers %d %s", path, got.status, got.body)
		}
	}
}

// A server whose stream is gone starts, serves its last state, says what is wrong,
// takes no events and makes no empty stream in place of the lost one.
func TestServeWithoutItsStream(t *testing.T) {
	dir := t.TempDir()
	n := startNode(t, dir)
	key := n.must("", "key", "create", "--name", "test", "--role", "writer")
	n.must(`{"usr_id":"u","ent_id":"e"}`, "publish", "-")
	want := n.must("", "query", "--api-key", key, "--at-least", "1", "--output", "ndjson")
	js, err := jetstream.New(n.nc)
	if err == nil {
		err = js.DeleteStream(t.Context(), config.DefaultServe().Stream)
	}
	if err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		ready := n.await("/readyz", func(s sent) bool { return s.status == http.StatusOK && strings.Contains(s.body, "missing") })
		if !strings.Contains(ready.body, "serves its last state, sequence 1") || !strings.Contains(ready.body, "restore the stream") {
			t.Errorf("ready: %s", ready.body)
		}
		if got := n.must("", "query", "--api-key", key, "--output", "ndjson"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got := n.send(key, http.MethodPost, "/api/assignments", `{"at_least":2}`); got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, "not_reached") {
			t.Errorf("at_least above: %d %s", got.status, got.body)
		}
		metrics := n.send("", http.MethodGet, "/metrics", "").body
		for _, line := range []string{"assigndex_stream_parted 1", `assigndex_stream_partings_total{kind="missing",outcome="stuck"} 1`} {
			if !strings.Contains(metrics, line+"\n") {
				t.Errorf("the metrics lack %s", line)
			}
		}
		if _, err := js.Stream(t.Context(), config.DefaultServe().Stream); !errors.Is(err, jetstream.ErrStreamNotFound) {
			t.Errorf("looking for the stream: %v", err)
		}
	}
	check()
	n.stopNode()
	n = startNode(t, dir)
	if js, err = jetstream.New(n.nc); err != nil {
		t.Fatal(err)
	}
	check()
	got := n.send(key, http.MethodPost, "/api/ingest/assignments", `{"action":"upsert","assignments":[{"usr_id":"v","ent_id":"e"}]}`)
	if got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, "stream_unavailable") {
		t.Errorf("ingest: %d %s", got.status, got.body)
	}
}

// When the stream has lost its end, cursors and incarnations of before are gone.
func TestCursorsOfALostEnd(t *testing.T) {
	dir := t.TempDir()
	aside := filepath.Join(t.TempDir(), "nats")
	n := startNode(t, dir)
	key := n.must("", "key", "create", "--name", "test")
	records := `{"usr_id":"u1","ent_id":"e"}` + "\n" + `{"usr_id":"u2","ent_id":"e"}` + "\n" + `{"usr_id":"u3","ent_id":"e"}`
	n.must(records, "publish", "-")
	n.must("", "query", "--api-key", key, "--at-least", "3")
	n.stopNode()
	if err := os.CopyFS(aside, os.DirFS(filepath.Join(dir, "nats"))); err != nil {
		t.Fatal(err)
	}
	n = startNode(t, dir)
	n.must(`{"usr_id":"u4","ent_id":"e"}`, "publish", "-")
	n.must("", "query", "--api-key", key, "--at-least", "4")
	first := n.send(key, http.MethodPost, "/api/assignments", `{"pageSize":2}`)
	before := first.header.Get("Assigndex-Stream")
	_, rest, ok := strings.Cut(first.body, `{"cursor":"`)
	cursor, _, more := strings.Cut(rest, `"`)
	if !ok || !more || before == "" {
		t.Fatalf("the first page: %s", first.body)
	}
	n.stopNode()
	nats := filepath.Join(dir, "nats")
	if err := errors.Join(os.RemoveAll(nats), os.CopyFS(nats, os.DirFS(aside))); err != nil {
		t.Fatal(err)
	}

	n = startNode(t, dir)
	n.await("/metrics", func(s sent) bool {
		return strings.Contains(s.body, `assigndex_stream_partings_total{kind="rolled_back",outcome="undone"} 1`+"\n")
	})
	n.await("/readyz", func(s sent) bool { return s.status == http.StatusOK && strings.Contains(s.body, `"troubles":[]`) })
	n.must(`{"usr_id":"u5","ent_id":"e"}`, "publish", "-") // sequence 4 once more
	now := n.send(key, http.MethodPost, "/api/assignments", `{"at_least":4}`)
	if now.status != http.StatusOK || strings.Contains(now.body, "u4") || !strings.Contains(now.body, "u5") || now.header.Get("Assigndex-Stream") == before {
		t.Errorf("after the undo: %d %v %s", now.status, now.header, now.body)
	}
	for _, got := range []sent{
		n.send(key, http.MethodPost, "/api/assignments", `{"pageSize":2,"cursor":"`+cursor+`"}`),
		n.send(key, http.MethodPost, "/api/assignments", `{"at_least":4}`, "Assigndex-Stream", before),
	} {
		if got.status != http.StatusGone || !strings.Contains(got.body, "stream_changed") {
			t.Errorf("of before: %d %s", got.status, got.body)
		}
	}
}
