package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assigndex/assigndex/indexer/generation"
)

// hundreds publishes so many assignments.
func (r *running) hundreds(from, to int) {
	r.t.Helper()
	var in strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&in, `{"usr_id":"u%d","ent_id":"e%d","app_id":"a%d","score":0.5}`+"\n", i, i%7, i%3)
	}
	r.must(in.String(), "publish", "-")
}

func mustCurrent(t *testing.T, dir string) string {
	t.Helper()
	current, err := generation.Current(dir)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Base(current)
}

// generations are the directories of indexes in a data directory.
func generations(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "index*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		all[i] = filepath.Base(all[i])
	}
	return all
}

func TestRebuildCommand(t *testing.T) {
	dir := t.TempDir()
	n := startNode(t, dir)
	operator := n.must("", "key", "create", "--name", "operator", "--role", "admin", "--tenant", "*")
	admin := n.must("", "key", "create", "--name", "admin", "--role", "admin")
	n.hundreds(0, 300)
	n.must("", "query", "--api-key", admin, "--usr", "u1", "--at-least", "300")
	digest := digestOf(n.must("", "verify", "--api-key", operator))
	if code, out, _ := n.command("", "rebuild", "--api-key", admin); code != exitFailed || out != "" {
		t.Errorf("an admin of one tenant: %d, %s", code, out)
	}
	out := n.must("", "rebuild", "--api-key", operator, "--require-equal")
	for _, want := range []string{"sequence     300\n", "assignments  300\n", "\nfiles        equal", "\nrebuild      equal, 300 checked", "swapped      the fresh"} {
		if !strings.Contains(out, want) {
			t.Errorf("rebuild lacks %q:\n%s", want, out)
		}
	}
	if got := digestOf(out); got != digest {
		t.Errorf("the digest is %s, was %s", got, digest)
	}
	if got := generations(t, dir); len(got) != 1 || got[0] != "index-2" || mustCurrent(t, dir) != "index-2" {
		t.Errorf("generations are %v", got)
	}
	// The fresh index is kept up.
	n.hundreds(300, 400)
	n.must("", "query", "--api-key", admin, "--usr", "u1", "--at-least", "400")
	if code, out, errs := n.command("", "rebuild", "--data-dir", dir); code != exitFailed || out != "" || !strings.Contains(errs, "has "+dir+" open") {
		t.Errorf("beside a server: %d, %s, %s", code, out, errs)
	}
	until := n.must("", "rebuild", "--api-key", operator, "--until", "300")
	if digestOf(until) != digest || !strings.Contains(until, "sequence     300\n") || !strings.Contains(until, filepath.Join(dir, "until-300")) {
		t.Errorf("until: %s", until)
	}
	for _, args := range [][]string{
		{"--output", "xml"}, {"--until", "0"}, {"--until", "yesterday"}, {"--until", ""}, {"--until", "3", "--require-equal"}, {"--data-dir", ""},
		{"--stream", "S"}, {"more"},
	} {
		if code, _, errs := n.command("", append([]string{"rebuild"}, args...)...); code != exitUsage {
			t.Errorf("%q: %d, %s", args, code, errs)
		}
	}
	n.stopNode()
	n = startNode(t, dir)
	n.must("", "query", "--api-key", admin, "--usr", "u1", "--at-least", "400")
	online := n.must("", "verify", "--api-key", operator, "--rebuild")
	n.stopNode()
	code, offline, errs := runProgram(t, "", nil, "rebuild", "--data-dir", dir)
	if code != exitDone || errs != "" || digestOf(offline) != digestOf(online) || mustCurrent(t, dir) != "index-3" {
		t.Errorf("on a stopped server: %d, %s, %s", code, offline, errs)
	}
	rebuildDamaged(t, dir, digestOf(online))
}

// rebuildDamaged flips a bit in the index of a stopped server, has it found, and healed.
func rebuildDamaged(t *testing.T, dir, digest string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, mustCurrent(t, dir), "*.sst"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 4
	if err := os.WriteFile(files[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := runProgram(t, "", nil, "verify", "--data-dir", dir); code != exitDifference {
		t.Errorf("the flipped bit: %d, %s", code, out)
	}
	if code, out, errs := runProgram(t, "", nil, "rebuild", "--data-dir", dir, "--require-equal"); code != exitDifference || !strings.Contains(out, "was kept") {
		t.Errorf("what cannot be compared was swapped: %d, %s, %s", code, out, errs)
	}
	code, out, errs := runProgram(t, "", nil, "rebuild", "--data-dir", dir)
	if code != exitDone || digestOf(out) != digest {
		t.Errorf("healing: %d, %s, %s", code, out, errs)
	}
	if code, out, errs := runProgram(t, "", nil, "verify", "--data-dir", dir, "--rebuild"); code != exitDone || digestOf(out) != digest {
		t.Errorf("healed: %d, %s, %s", code, out, errs)
	}
}

// digestOf gives the digest that a command has printed.
func digestOf(out string) string {
	for line := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(line, "digest "); ok {
			return string(bytes.TrimSpace([]byte(rest)))
		}
	}
	return "none"
}

// One process works in a data directory, also where the index cannot be opened, so that
// its own lock keeps nobody away; and none in one that a restore was cut short in.
func TestRebuildsHaveADataDirectoryToThemselves(t *testing.T) {
	dir, _ := fixture(t, 1)
	unlock, err := generation.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"rebuild", "--data-dir", dir}, {"rebuild", "--data-dir", dir, "--until", "5"},
		{"serve", "--data-dir", dir, "--listen", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0"},
	} {
		if code, out, errs := runProgram(t, "", nil, args...); code != exitFailed || out != "" || !strings.Contains(errs, "the data directory is in use") {
			t.Errorf("%q: %d, %s, %s", args, code, out, errs)
		}
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	mark := filepath.Join(dir, restoringFile)
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"rebuild", "verify"} {
		if code, out, errs := runProgram(t, "", nil, command, "--data-dir", dir); code != exitFailed || out != "" || !strings.Contains(errs, "was cut short") {
			t.Errorf("%s: %d, %s, %s", command, code, out, errs)
		}
	}
	if got := generations(t, dir); len(got) != 1 || got[0] != "index" {
		t.Errorf("generations are %v", got)
	}
	if err := os.Remove(mark); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := runProgram(t, "", nil, "rebuild", "--data-dir", dir); code != exitDone {
		t.Errorf("%d, %s, %s", code, out, errs)
	}
}
