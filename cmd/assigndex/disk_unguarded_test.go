package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/deploy/loopfstest"
)

// fullDiskDir says that this process is the node that TestFullDiskWithoutGuard runs.
const fullDiskDir = "ASSIGNDEX_TEST_FULL_DISK_DIR"

// beFull runs a node without the guard until it breaks or its parent is gone.
func beFull(dir string) int {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	cfg := config.DefaultServe()
	cfg.DataDir, cfg.Listen, cfg.NATSListen, cfg.MinFreeBytes = filepath.Join(dir, "data"), "127.0.0.1:0", "127.0.0.1:0", 0
	n, err := openNode(ctx, cfg, zerolog.New(os.Stderr))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(n.natsURL())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0) // the parent has seen enough
	}()
	if err := n.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestFullDiskWithoutGuard shows that the fault is real: without the guard the
// process dies, or JetStream stops storing.
func TestFullDiskWithoutGuard(t *testing.T) {
	fs := loopfstest.New(t, t.TempDir(), 768<<20)
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), fullDiskDir+"="+fs.Dir)
	log := &lines{}
	cmd.Stderr = log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill() // it may have ended
		for range ended {      // until it is closed
		}
	})
	url := bufio.NewScanner(out)
	if !url.Scan() {
		t.Errorf("the child said nothing: %s", log)
	}
	go func() {
		defer close(ended)
		ended <- cmd.Wait()
	}()
	if t.Failed() {
		return
	}
	up := newLoader(t, url.Text())
	if err := up.batch(t.Context()); err != nil {
		t.Fatal(err)
	}
	fs.Fill(t, 4<<20)
	var trouble error
	for trouble == nil {
		trouble = up.batch(t.Context())
	}
	var how string
	eventually(t, "something breaks", func() error {
		select {
		case err := <-ended:
			how = fmt.Sprintf("the process ended: %v", err)
			return nil
		default:
		}
		if strings.Contains(log.String(), "stopped storing") {
			how = "JetStream stopped storing"
			return nil
		}
		return trouble
	})
	if strings.Contains(log.String(), "SIGBUS") {
		how += " (SIGBUS)"
	}
	t.Logf("without the guard: %s; the publisher was told %v", how, trouble)
}
