package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestVerifyCommand(t *testing.T) {
	dir := t.TempDir()
	n := startNode(t, dir)
	operator := n.must("", "key", "create", "--name", "operator", "--role", "admin", "--tenant", "*")
	admin := n.must("", "key", "create", "--name", "admin", "--role", "admin")
	writer := n.must("", "key", "create", "--name", "writer", "--role", "writer", "--tenant", "*")
	var in strings.Builder
	for i := range 300 {
		fmt.Fprintf(&in, `{"usr_id":"u%d","ent_id":"e%d","app_id":"a%d","score":0.5}`+"\n", i, i%7, i%3)
	}
	n.must(in.String(), "publish", "-")
	n.must("", "query", "--api-key", admin, "--usr", "u1", "--at-least", "300")
	online := n.must("", "verify", "--api-key", operator, "--rebuild")
	for _, want := range []string{"sequence     300\n", "assignments  300\n", "\nfamilies     equal", "\ncounters     equal", "\nrebuild      equal, 300 checked"} {
		if !strings.Contains(online, want) {
			t.Errorf("verify lacks %q:\n%s", want, online)
		}
	}
	if got := n.must("", "verify", "--api-key", operator, "--at", "200", "--output", "json"); !strings.Contains(got, `"seq": 200`) || !strings.Contains(got, `"skipped"`) {
		t.Errorf("at an older sequence: %s", got)
	}
	for _, key := range []string{admin, writer, "adx_none"} {
		if code, out, _ := n.command("", "verify", "--api-key", key); code != exitFailed || out != "" {
			t.Errorf("who may not: %d, %s", code, out)
		}
	}
	if code, out, errs := n.command("", "verify", "--data-dir", dir); code != exitFailed || out != "" || !strings.Contains(errs, "a server has "+dir+" open") {
		t.Errorf("beside a server: %d, %s, %s", code, out, errs)
	}
	for _, args := range [][]string{{"--output", "xml"}, {"--at", "-2"}, {"--data-dir", ""}, {"--work-dir", dir}, {"more"}} {
		if code, _, errs := n.command("", append([]string{"verify"}, args...)...); code != exitUsage {
			t.Errorf("%q: %d, %s", args, code, errs)
		}
	}
	n.stopNode()

	code, offline, errs := runProgram(t, "", nil, "verify", "--data-dir", dir, "--rebuild")
	if code != exitDone || stripFiles(offline) != stripFiles(online+"\n") || errs != "" {
		t.Errorf("on a stopped server: %d, %s\n%s\nwant\n%s", code, errs, offline, online)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "verify-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if code, _, errs := runProgram(t, "", nil, "verify", "--data-dir", t.TempDir()); code != exitFailed || !strings.Contains(errs, "has no index") {
		t.Errorf("an empty directory: %d, %s", code, errs)
	}
	flipBits(t, dir)
}

// stripFiles leaves out how many files there are: closing writes one.
func stripFiles(text string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "files ") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// flipBits changes one bit of a table file at a time and has it found and named.
func flipBits(t *testing.T, dir string) {
	t.Helper()
	seed := uint64(time.Now().UnixNano()) % 1_000_000_000
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	files, err := filepath.Glob(filepath.Join(dir, "index", "*.sst"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	_, whole, _ := runProgram(t, "", nil, "verify", "--data-dir", dir)
	const flips = 100
	found := 0
	for range flips {
		file := files[rng.IntN(len(files))]
		sound, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		damaged := append([]byte(nil), sound...)
		at, bit := rng.IntN(len(damaged)), byte(1)<<rng.IntN(8)
		damaged[at] ^= bit
		if err := os.WriteFile(file, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, errs := runProgram(t, "", nil, "verify", "--data-dir", dir)
		switch {
		case code == exitDifference && strings.Contains(out, "\n  "+filepath.Base(file)+": ") && strings.Contains(out, "digest       -\n"):
			found++
		case code == exitDone && out == whole:
			// Some compressed bytes have a twin that decompresses to the same: nothing that is
			// read has changed.
		default:
			t.Errorf("seed %d, byte %d of %d, bit %08b: %d, %s, %s", seed, at, len(damaged), bit, code, out, errs)
		}
		if err := os.WriteFile(file, sound, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if found < flips*9/10 {
		t.Errorf("seed %d: %d of %d flips were found", seed, found, flips)
	}
	if code, out, errs := runProgram(t, "", nil, "verify", "--data-dir", dir); code != exitDone {
		t.Errorf("put right: %d, %s, %s", code, out, errs)
	}
}
