package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// changedProgram builds this program with another rule: an event with a revision equal
// to the last one applies, too.
func changedProgram(t *testing.T) (path string) {
	t.Helper()
	dir := t.TempDir()
	whole, err := filepath.Abs(filepath.Join("..", "..", "indexer", "fold", "fold.go"))
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	const rule, other = "if *ev.Revision <= int64(", "if *ev.Revision < int64("
	if bytes.Count(content, []byte(rule)) != 1 {
		t.Fatalf("%s does not hold %q once: name the rule as it is now", whole, rule)
	}
	broken, list := filepath.Join(dir, "fold.go"), filepath.Join(dir, "overlay.json")
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {whole: broken}})
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string][]byte{broken: bytes.Replace(content, []byte(rule), []byte(other), 1), list: overlay} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path = filepath.Join(dir, "assigndex")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", list, "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// An index that a program with a changed rule has made is told from one that the stream
// gives, and a rebuild heals it.
func TestAChangedFoldIsFound(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	program, dir := changedProgram(t), t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	serve := exec.CommandContext(ctx, program, "serve", "--data-dir", dir, "--listen", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0", "--log-format", "json")
	serve.Cancel = func() error { return serve.Process.Signal(os.Interrupt) }
	serve.WaitDelay = 30 * time.Second
	log := new(lines)
	serve.Stderr = log
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	var http, nats string
	eventually(t, "the changed program serves", func() error {
		text := log.String()
		if m := regexp.MustCompile(`"http":"([^"]+)","nats":"([^"]+)"`).FindStringSubmatch(text); m != nil {
			http, nats = m[1], m[2]
			return nil
		}
		return errors.New("not yet")
	})
	environ := []string{"ASSIGNDEX_URL=" + http, "ASSIGNDEX_NATS_URL=" + nats}
	_, key, _ := runProgram(t, "", environ, "key", "create", "--name", "k", "--role", "reader")
	const records = `{"usr_id":"ann","ent_id":"edit","score":0.1,"revision":1}
{"usr_id":"bob","ent_id":"edit","score":0.2,"revision":1}
{"usr_id":"ann","ent_id":"edit","score":0.9,"revision":1}
`
	if code, out, errs := runProgram(t, records, environ, "publish", "-"); code != exitDone {
		t.Fatalf("%d, %s, %s", code, out, errs)
	}
	if code, out, errs := runProgram(t, "", environ, "query", "--api-key", strings.TrimSpace(key), "--usr", "ann", "--at-least", "3"); code != exitDone || !strings.Contains(out, "0.9") {
		t.Fatalf("the changed rule did not apply: %d, %s, %s", code, out, errs)
	}
	stop()
	if err := serve.Wait(); err != nil && ctx.Err() == nil {
		t.Fatalf("%v: %s", err, log)
	}

	if code, out, errs := runProgram(t, "", nil, "verify", "--data-dir", dir); code != exitDone {
		t.Errorf("the index agrees with itself: %d, %s, %s", code, out, errs)
	}
	for _, args := range [][]string{{"verify", "--rebuild"}, {"rebuild", "--require-equal"}} {
		code, out, errs := runProgram(t, "", nil, append(args, "--data-dir", dir)...)
		if code != exitDifference || !strings.Contains(out, "1 differences") || !strings.Contains(out, "ann") {
			t.Errorf("%v: %d, %s, %s", args, code, out, errs)
		}
	}
	if code, out, errs := runProgram(t, "", nil, "rebuild", "--data-dir", dir); code != exitDone || !strings.Contains(out, "1 differences") {
		t.Errorf("healing: %d, %s, %s", code, out, errs)
	}
	if code, out, errs := runProgram(t, "", nil, "verify", "--rebuild", "--data-dir", dir); code != exitDone {
		t.Errorf("healed: %d, %s, %s", code, out, errs)
	}
}
