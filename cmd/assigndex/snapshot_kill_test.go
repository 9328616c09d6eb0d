package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/store"
)

// killedCommand says that this process runs a command and kills itself, as a killing.
const killedCommand = "ASSIGNDEX_TEST_KILLED_COMMAND"

// killing is a command, and the point at which it is killed with SIGKILL.
type killing struct {
	Args []string
	At   fault.Point
	Done bool // behind the point's step
}

// saidHere is what a command says before it is killed.
const saidHere = "here"

// beKilledAt runs the command. It returns only when it was not killed.
func beKilledAt(as string) int {
	var k killing
	if err := json.Unmarshal([]byte(as), &k); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	p := program{args: k.Args, in: os.Stdin, out: os.Stderr, err: os.Stderr, fault: func(at fault.Point, done bool) error {
		if at != k.At || done != k.Done {
			return nil
		}
		fmt.Println(saidHere)
		if err := self.Kill(); err != nil {
			return err
		}
		select {} // it does not come at once
	}}
	return p.run(context.Background())
}

// run runs the command until it is killed.
func (k killing) run(t *testing.T) {
	t.Helper()
	as, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), killedCommand+"="+string(as))
	var out, errs bytes.Buffer
	child.Stdout, child.Stderr = &out, &errs
	if err := child.Run(); out.String() != saidHere+"\n" || child.ProcessState.ExitCode() != -1 {
		t.Fatalf("it was not come by: %v, the command said %q %s", err, out.String(), errs.String())
	}
}

// TestKillSnapshots kills the commands with SIGKILL at every point of a snapshot and of
// a restore, before and after its step. What is left is no index, or a whole one that a
// server serves; and done again they succeed.
func TestKillSnapshots(t *testing.T) {
	dir, files := t.TempDir(), t.TempDir()
	n := startNode(t, dir)
	operator := n.must("", "key", "create", "--name", "operator", "--role", "admin", "--tenant", "*")
	reader := n.must("", "key", "create", "--name", "reader")
	n.publishRows(reader, 0, 200)
	_, digest := n.verified(operator)
	n.stopNode()
	file := filepath.Join(files, "file")
	if code, _, errs := runProgram(t, "", nil, "snapshot", file, "--data-dir", dir); code != exitDone {
		t.Fatal(errs)
	}
	for _, at := range fault.Snapshots {
		for _, done := range []bool{false, true} {
			t.Run(fmt.Sprint(at, " ", done), func(t *testing.T) {
				if at == fault.SnapshotWrite {
					killSnapshot(t, filepath.Join(t.TempDir(), "again"), dir, done)
					return
				}
				made := t.TempDir()
				killing{Args: []string{"restore", file, "--data-dir", made}, At: at, Done: done}.run(t)
				whole := at == fault.RestoreRelease && done
				serves(t, made, whole || (at == fault.RestoreClaim && !done))
				looksWhole(t, filepath.Join(made, "index"), at, done)
				if code, _, errs := runProgram(t, "", nil, "restore", file, "--data-dir", made); (code == exitDone) == whole {
					t.Fatalf("restored again: %d, %s", code, errs)
				}
				n := restart(t, made, reader)
				if _, got := n.verified(operator); got != digest {
					t.Errorf("digest %s, want %s", got, digest)
				}
				n.publishRows(reader, 200, 201)
				n.stopNode()
			})
		}
	}
}

// killSnapshot kills a command that writes a file.
func killSnapshot(t *testing.T, file, dir string, done bool) {
	t.Helper()
	args := []string{"snapshot", file, "--data-dir", dir}
	killing{Args: args, At: fault.SnapshotWrite, Done: done}.run(t)
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("there is a file: %v", err)
	}
	if code, _, errs := runProgram(t, "", nil, args...); code != exitDone {
		t.Fatalf("again: %d, %s", code, errs)
	}
}

// serves makes sure that a server refuses an unfinished data directory by name. One that
// nothing was done to it would fill.
func serves(t *testing.T, dir string, want bool) {
	t.Helper()
	if want {
		return // the caller serves it
	}
	cfg := config.DefaultServe()
	cfg.DataDir, cfg.Listen, cfg.NATSListen = dir, "127.0.0.1:0", "127.0.0.1:0"
	n, err := openNode(t.Context(), cfg, zerolog.Nop())
	if err == nil {
		_ = n.close() // what is wrong is told
		t.Fatal("a server opens it")
	}
	if !strings.Contains(err.Error(), "restore of "+dir+" was cut short") {
		t.Fatalf("a server is told %v", err)
	}
	if code, _, errs := runProgram(t, "", nil, "snapshot", filepath.Join(dir, "file"), "--data-dir", dir); code != exitFailed || !strings.Contains(errs, "was cut short") {
		t.Fatalf("a snapshot of it: %d, %s", code, errs)
	}
}

// looksWhole makes sure that a directory is an index from the end of its restore on, and
// not before.
func looksWhole(t *testing.T, dir string, at fault.Point, done bool) {
	t.Helper()
	finished := at == fault.RestoreRelease || at == fault.RestoreUnmark || (at == fault.RestoreFinish && done)
	if finished {
		if err := store.Idle(dir); err != nil {
			t.Fatalf("it is no index: %v", err)
		}
		return
	}
	if at == fault.RestoreClaim || (at == fault.RestoreBegin && !done) {
		if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
			t.Fatalf("it holds %v", entries)
		}
		return
	}
	if err := store.Idle(dir); !errors.Is(err, store.ErrUnfinished) {
		t.Fatalf("it is said to be %v", err)
	}
	if st, err := store.Open(store.Options{Dir: dir}); !errors.Is(err, store.ErrUnfinished) {
		if err == nil {
			_ = st.Close() // what is wrong is told
		}
		t.Fatalf("opening it gives %v", err)
	}
}
