package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestReadmeFirstUse pastes the lines of the README's first use into a shell in
// an empty folder and compares what they print with what the README says.
func TestReadmeFirstUse(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(readme), "\n## First use\n")
	if !ok {
		t.Fatal("the README has no section \"First use\"")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var script, promised []string
	for _, block := range regexp.MustCompile("(?s)```(\\w*)\n(.*?)```").FindAllStringSubmatch(section, -1) {
		if block[1] == "sh" {
			script = append(script, block[2])
		} else {
			promised = append(promised, block[2])
		}
	}
	promised = append(promised, regexp.MustCompile("prints `(.*)`").FindStringSubmatch(section)[1])
	if len(script) != 3 || len(promised) != 2 {
		t.Fatalf("the section has %d blocks to paste and %d promises", len(script), len(promised))
	}

	dir := t.TempDir()
	binary := buildBinary(t)
	// Tests run beside others, so the server gets free ports. The wrapper stands
	// in for the line that builds; all else runs as it is printed.
	wrapper := fmt.Sprintf(`#!/bin/sh
if [ "$1" = serve ]; then exec %[1]s "$@" --listen 127.0.0.1:%[2]d --nats-listen 127.0.0.1:%[3]d; fi
ASSIGNDEX_URL=http://127.0.0.1:%[2]d ASSIGNDEX_NATS_URL=nats://127.0.0.1:%[3]d exec %[1]s "$@"
`, binary, freePort(t), freePort(t))
	if err := os.WriteFile(filepath.Join(dir, "assigndex"), []byte(wrapper), 0o700); err != nil { //nolint:gosec // it is a program
		t.Fatal(err)
	}
	lines := strings.Replace(strings.Join(script, ""), "go build -o assigndex ./cmd/assigndex\n", "", 1)
	if strings.Contains(lines, "go build") {
		t.Fatal("the line that builds is not the one that the test leaves out")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "sh", "-e")
	shell.Dir = dir
	shell.Stdin = strings.NewReader(lines + "wait\n")
	var out, errs bytes.Buffer
	shell.Stdout, shell.Stderr = &out, &errs
	err = shell.Run()
	log, _ := os.ReadFile(filepath.Join(dir, "serve.log"))
	if err != nil {
		t.Fatalf("%v\n%s\n%s\n%s", err, out.String(), errs.String(), log)
	}
	for _, want := range promised {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the README promises\n%s\nbut the lines print\n%s", want, out.String())
		}
	}
	pages := regexp.MustCompile(`(?m)^\{"cursor":.*$`).FindAllString(out.String(), -1)
	if len(pages) != 2 || strings.Count(pages[0], "ent_id") != 2 || strings.Count(pages[1], "ent_id") != 1 ||
		!strings.HasPrefix(pages[1], `{"cursor":null`) {
		t.Errorf("the pages are not two rows with a cursor and one row without: %q", pages)
	}
	if !strings.Contains(string(log), "stopped") {
		t.Errorf("the server did not stop cleanly:\n%s", log)
	}
}
