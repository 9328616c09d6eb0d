package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/config"
)

var binaryOnce = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "assigndex-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "assigndex")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", &buildError{out, err}
	}
	return path, nil
})

type buildError struct {
	out []byte
	err error
}

func (e *buildError) Error() string { return e.err.Error() + "\n" + string(e.out) }

// buildBinary gives the program as users run it, built once for all tests.
func buildBinary(t *testing.T) string {
	t.Helper()
	path, err := binaryOnce()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(fullDiskDir); dir != "" {
		os.Exit(beFull(dir))
	}
	if as := os.Getenv(killedCommand); as != "" {
		os.Exit(beKilledAt(as))
	}
	code := m.Run()
	if path, err := binaryOnce(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path)) // a temporary directory
	}
	os.Exit(code)
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// running is a node that serves on free ports.
type running struct {
	*node
	t    *testing.T
	stop context.CancelFunc
	done chan error
}

// startNode runs a node on a data directory until the test or stopNode ends it.
func startNode(t *testing.T, dir string) *running {
	t.Helper()
	return startChanged(t, dir, func(*node) {})
}

// startChanged is startNode with a change to the node before it runs.
func startChanged(t *testing.T, dir string, change func(*node)) *running {
	t.Helper()
	return startLogging(t, dir, zerolog.Nop(), change)
}

// startLogging is startChanged with a log.
func startLogging(t *testing.T, dir string, log zerolog.Logger, change func(*node)) *running {
	t.Helper()
	cfg := config.DefaultServe()
	cfg.DataDir, cfg.Listen, cfg.NATSListen = dir, "127.0.0.1:0", "127.0.0.1:0"
	return startWith(t, cfg, log, change)
}

// startWith is startLogging with all of the configuration.
func startWith(t *testing.T, cfg config.Serve, log zerolog.Logger, change func(*node)) *running {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	n, err := openNode(ctx, cfg, log)
	if err != nil {
		stop()
		t.Fatal(err)
	}
	change(n)
	r := &running{node: n, t: t, stop: stop, done: make(chan error, 1)}
	go func() { r.done <- n.run(ctx) }()
	t.Cleanup(r.stopNode)
	return r
}

// stopNode stops the node as a signal does. It may be called more than once.
func (r *running) stopNode() {
	r.t.Helper()
	if r.node == nil {
		return
	}
	r.stop()
	if err := <-r.done; err != nil {
		r.t.Errorf("the node ended with %v", err)
	}
	if err := r.node.close(); err != nil {
		r.t.Errorf("closing the node: %v", err)
	}
	r.node = nil
}

// command runs a command against the node and gives its exit code and output.
func (r *running) command(in string, args ...string) (code int, out, errs string) {
	r.t.Helper()
	return runProgram(r.t, in, []string{"ASSIGNDEX_URL=" + r.url(), "ASSIGNDEX_NATS_URL=" + r.natsURL()}, args...)
}

// must runs a command that has to succeed and gives its output.
func (r *running) must(in string, args ...string) string {
	r.t.Helper()
	code, out, errs := r.command(in, args...)
	if code != exitDone {
		r.t.Fatalf("%q ended with %d: %s%s", args, code, out, errs)
	}
	return strings.TrimSuffix(out, "\n")
}

func runProgram(t *testing.T, in string, environ []string, args ...string) (code int, out, errs string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var stdout, stderr bytes.Buffer
	p := program{args: args, environ: environ, in: strings.NewReader(in), out: &stdout, err: &stderr}
	code = p.run(ctx)
	return code, stdout.String(), stderr.String()
}

func TestUsageErrors(t *testing.T) {
	for _, c := range []struct {
		args string
		want string
	}{
		{"", "name a command"},
		{"nonsense", "nonsense"},
		{"serve now", "takes no argument"},
		{"serve --data-dri x", "did you mean --data-dir?"},
		{"serve --history never", "history"},
		{"serve --nats-listen 0.0.0.0:4222", "no authentication"},
		{"publish --format xml", "--format"},
		{"publish --tenant a.b", "--tenant"},
		{"publish --type user.made", "--type"},
		{"query --output xml", "--output"},
		{"watch --output xml", "--output"},
		{"watch --since yesterday", "--since"},
		{"key", "create, list or revoke"},
		{"key create", "name"},
		{"key create --name x --role root", "--role"},
		{"key create --name x --tenant a.b", "tenant"},
		{"key revoke", "key list"},
	} {
		code, out, errs := runProgram(t, "", nil, strings.Fields(c.args)...)
		if code != exitUsage || !strings.Contains(errs, c.want) || (out != "" && c.args != "" && c.args != "key") {
			t.Errorf("%q: code %d, output %q, errors %q; want code 2 and %q", c.args, code, out, errs, c.want)
		}
	}
}

func TestVersionNamesFormats(t *testing.T) {
	code, out, _ := runProgram(t, "", nil, "version")
	if code != exitDone || !strings.Contains(out, "format 2") || !strings.Contains(out, "fold 2") {
		t.Errorf("code %d, %q", code, out)
	}
}
