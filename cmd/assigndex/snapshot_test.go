package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/indexer/generation"
)

// publishRows publishes assignments number from up to to, and waits for them.
func (r *running) publishRows(key string, from, to int) {
	r.t.Helper()
	var in strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&in, `{"usr_id":"u%d","ent_id":"e%d","app_id":"a%d","score":0.5}`+"\n", i, i%7, i%3)
	}
	r.must(in.String(), "publish", "-")
	r.must("", "query", "--api-key", key, "--usr", "u1", "--at-least", fmt.Sprint(to))
}

// restart serves a directory, and returns when it knows its keys.
func restart(t *testing.T, dir, key string) *running {
	t.Helper()
	n := startNode(t, dir)
	n.must("", "query", "--api-key", key, "--usr", "u1")
	return n
}

// lineOf gives the value that a command printed under a name.
func lineOf(t *testing.T, out, name string) string {
	t.Helper()
	for line := range strings.Lines(out) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("no %s in %q", name, out)
	return ""
}

// verified gives digest and sequence of a server's index, after checking it.
func (r *running) verified(operator string) (seq, digest string) {
	r.t.Helper()
	out := r.must("", "verify", "--api-key", operator)
	return lineOf(r.t, out, "sequence"), lineOf(r.t, out, "digest")
}

func TestSnapshotAndRestore(t *testing.T) {
	dir, files := t.TempDir(), t.TempDir()
	n := startNode(t, dir)
	operator := n.must("", "key", "create", "--name", "operator", "--role", "admin", "--tenant", "*")
	reader := n.must("", "key", "create", "--name", "reader")
	n.publishRows(reader, 0, 300)
	rows := n.must("", "query", "--api-key", reader, "--output", "ndjson")
	seq, digest := n.verified(operator)
	stream := lineOf(t, n.must("", "verify", "--api-key", operator), "stream")

	online := filepath.Join(files, "online")
	out := n.must("", "snapshot", online, "--api-key", operator)
	if lineOf(t, out, "sequence") != "300" || lineOf(t, out, "assignments") != "300" || lineOf(t, out, "keys") != "2" || lineOf(t, out, "stream") != stream {
		t.Errorf("snapshot printed\n%s", out)
	}
	if code, _, errs := n.command("", "snapshot", online, "--api-key", operator); code != exitFailed || !strings.Contains(errs, "--force") {
		t.Errorf("over an existing file: %d, %s", code, errs)
	}
	n.must("", "snapshot", online, "--api-key", operator, "--force")
	code, piped, errs := n.command("", "snapshot", "-", "--api-key", operator)
	if code != exitDone || lineOf(t, errs, "sequence") != "300" || lineOf(t, errs, "bytes") != fmt.Sprint(len(piped)) {
		t.Errorf("to standard output: %d, %s", code, errs)
	}
	for _, key := range []string{reader, n.must("", "key", "create", "--name", "one", "--role", "admin"), n.must("", "key", "create", "--name", "all", "--role", "writer", "--tenant", "*"), "adx_none"} {
		if code, out, _ := n.command("", "snapshot", filepath.Join(files, "no"), "--api-key", key); code != exitFailed || out != "" {
			t.Errorf("who may not: %d, %s", code, out)
		}
	}
	if code, _, errs := n.command("", "snapshot", filepath.Join(files, "no"), "--data-dir", dir); code != exitFailed || !strings.Contains(errs, "a server has") {
		t.Errorf("beside a server: %d, %s", code, errs)
	}
	n.stopNode()

	offline := filepath.Join(files, "offline")
	if code, out, errs := runProgram(t, "", nil, "snapshot", offline, "--data-dir", dir); code != exitDone || lineOf(t, out, "sequence") != "300" || lineOf(t, out, "keys") != "4" {
		t.Fatalf("of a stopped server: %d, %s%s", code, out, errs)
	}
	if left, _ := filepath.Glob(filepath.Join(files, "*.tmp")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := os.Stat(filepath.Join(files, "no")); err == nil {
		t.Error("a refused snapshot left a file")
	}
	for name, in := range map[string]string{online: "", offline: "", "-": piped} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			made := filepath.Join(t.TempDir(), "made", "here")
			if name == "-" {
				made = t.TempDir() // an empty one will do
			} else if err := os.Mkdir(filepath.Dir(made), 0o700); err != nil {
				t.Fatal(err)
			}
			code, out, errs := runProgram(t, in, nil, "restore", name, "--data-dir", made)
			if code != exitDone || lineOf(t, out, "sequence") != "300" {
				t.Fatalf("restore: %d, %s%s", code, out, errs)
			}
			restoredGoesOn(t, made, out, operator, reader, rows, seq, digest, stream)
			if code, _, errs := runProgram(t, in, nil, "restore", name, "--data-dir", made); code != exitFailed || !strings.Contains(errs, "not empty") {
				t.Errorf("over a data directory: %d, %s", code, errs)
			}
		})
	}
}

// restoredGoesOn serves a restored directory, with the keys of before, publishes and
// restarts.
func restoredGoesOn(t *testing.T, dir, restored, operator, reader, rows, seq, digest, stream string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, restoringFile)); err == nil {
		t.Error("the mark of the restore is left")
	}
	n := restart(t, dir, reader)
	if got := n.must("", "query", "--api-key", reader, "--output", "ndjson"); got != rows {
		t.Errorf("the restored rows are\n%s\nwant\n%s", got, rows)
	}
	n.must("", "query", "--api-key", reader, "--output", "ndjson", "--as-of", "299") // the history window
	if gotSeq, got := n.verified(operator); gotSeq != seq || got != digest {
		t.Errorf("at %s: digest %s, want %s: %s", gotSeq, got, seq, digest)
	}
	n.stopNode()
	n = restart(t, dir, reader) // before anything is published
	now := lineOf(t, n.must("", "verify", "--api-key", operator), "stream")
	if now == stream || now != lineOf(t, restored, "stream") {
		t.Errorf("the incarnation is %s, was %s, restore said %s", now, stream, lineOf(t, restored, "stream"))
	}
	n.publishRows(reader, 300, 301)
	after, digestAfter := n.verified(operator)
	if after != "301" || digestAfter == digest {
		t.Errorf("the first sequence after the restore is %s", after)
	}
	n.stopNode()
	cfg := config.DefaultServe() // other limits, which are set on the stream that is there
	cfg.DataDir, cfg.Listen, cfg.NATSListen, cfg.StreamMaxAge, cfg.StreamMaxBytes = dir, "127.0.0.1:0", "127.0.0.1:0", 24*time.Hour, 1<<30
	n = startWith(t, cfg, zerolog.Nop(), func(*node) {})
	n.must("", "query", "--api-key", reader, "--usr", "u1")
	if again, got := n.verified(operator); again != after || got != digestAfter {
		t.Errorf("after a restart: %s %s, want %s %s", again, got, after, digestAfter)
	}
	n.publishRows(reader, 301, 320)
	if again, _ := n.verified(operator); again != "320" {
		t.Errorf("after a restart the sequence is %s", again)
	}
	if now := lineOf(t, n.must("", "verify", "--api-key", operator), "stream"); now != lineOf(t, restored, "stream") {
		t.Errorf("the index was undone: its incarnation is %s", now)
	}
	n.stopNode()
}

// With --nats-url the index goes on with the stream that it is of.
func TestRestoreReplica(t *testing.T) {
	n := startNode(t, t.TempDir())
	operator := n.must("", "key", "create", "--name", "operator", "--role", "admin", "--tenant", "*")
	reader := n.must("", "key", "create", "--name", "reader")
	n.publishRows(reader, 0, 50)
	file, dir := filepath.Join(t.TempDir(), "file"), t.TempDir()
	n.must("", "snapshot", file, "--api-key", operator)
	n.publishRows(reader, 50, 80)
	n.must("", "restore", file, "--data-dir", dir) // ASSIGNDEX_NATS_URL is set
	if _, err := os.Stat(filepath.Join(dir, "nats")); err == nil {
		t.Error("a stream was made")
	}
	cfg := config.DefaultServe()
	cfg.DataDir, cfg.Listen, cfg.NATSURL = dir, "127.0.0.1:0", n.natsURL()
	replica := startWith(t, cfg, zerolog.Nop(), func(*node) {})
	replica.must("", "query", "--api-key", reader, "--usr", "u1", "--at-least", "80")
	seq, digest := n.verified(operator)
	if got, gotDigest := replica.verified(operator); got != seq || gotDigest != digest {
		t.Errorf("the replica is at %s, %s; want %s, %s", got, gotDigest, seq, digest)
	}
	// A stream that cannot be read on is told before anything is written.
	other := startNode(t, t.TempDir())
	to := filepath.Join(t.TempDir(), "absent")
	if code, _, errs := n.command("", "restore", file, "--data-dir", to, "--nats-url", other.natsURL()); code != exitDone || !strings.Contains(errs, "warning") {
		t.Errorf("with another stream: %d, %s", code, errs)
	}
}

// What is no snapshot is refused, and leaves nothing behind.
func TestRestoreRefuses(t *testing.T) {
	n := startNode(t, t.TempDir())
	operator := n.must("", "key", "create", "--name", "operator", "--role", "admin", "--tenant", "*")
	n.publishRows(n.must("", "key", "create", "--name", "reader"), 0, 20)
	file := filepath.Join(t.TempDir(), "file")
	n.must("", "snapshot", file, "--api-key", operator)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"empty": {}, "another file": []byte("assignments"), "cut short": whole[:len(whole)-1], "appended": append(bytes.Clone(whole), 0),
		"glued": append(bytes.Clone(whole), whole...), "flipped": append(append(bytes.Clone(whole[:len(whole)-40]), whole[len(whole)-40]^1), whole[len(whole)-39:]...),
	} {
		dir := filepath.Join(t.TempDir(), "dir")
		code, out, errs := runProgram(t, string(bad), nil, "restore", "-", "--data-dir", dir)
		if code != exitFailed || out != "" || !strings.Contains(errs, "damaged") {
			t.Errorf("%s: %d, %s%s", name, code, out, errs)
		}
		if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
			t.Errorf("%s: left behind: %v", name, entries)
		}
	}
	// What another one makes is not taken for what one has left that was cut short.
	taken := t.TempDir()
	if err := os.WriteFile(filepath.Join(taken, restoringFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	unlock, err := generation.Lock(taken)
	if err != nil {
		t.Fatal(err)
	}
	if code, _, errs := runProgram(t, "", nil, "restore", file, "--data-dir", taken); code != exitFailed || !strings.Contains(errs, "is in use") {
		t.Errorf("beside another one: %d, %s", code, errs)
	}
	if _, err := os.Stat(filepath.Join(taken, restoringFile)); err != nil {
		t.Errorf("the mark of another one was removed: %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := runProgram(t, "", nil, "restore", file, "--data-dir", full); code != exitFailed || !strings.Contains(errs, `"mine"`) {
		t.Errorf("a directory that is not empty: %d, %s", code, errs)
	}
	for _, args := range [][]string{
		{"restore", file}, {"restore"}, {"restore", file, file, "--data-dir", full}, {"snapshot"}, {"snapshot", file, file}, {"snapshot", ""}, {"snapshot", file, "--data-dir", ""},
	} {
		if code, _, errs := runProgram(t, "", nil, args...); code != exitUsage {
			t.Errorf("%q: %d, %s", args, code, errs)
		}
	}
}
