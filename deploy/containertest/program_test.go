package containertest

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait of this package.
const patience = time.Minute

// build makes the static program at path, with extra environment variables.
func build(t *testing.T, path string, env ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", path, "./cmd/assigndex")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
}

// program is the built binary.
type program struct{ path string }

// run runs one command to its end and returns its standard output.
func (p program) run(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.path, args...)
	cmd.Env = cleanEnv()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("assigndex %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String()
}

// server is a running "assigndex serve".
type server struct {
	cmd  *exec.Cmd
	log  *output
	done chan struct{} // closed when the process has ended
	err  error         // how it ended; read after done
}

// serve starts the server. It is killed with the test if it still runs then.
func (p program) serve(t *testing.T, args ...string) *server {
	t.Helper()
	s := &server{cmd: exec.Command(p.path, append([]string{"serve"}, args...)...), log: &output{}, done: make(chan struct{})}
	s.cmd.Env = cleanEnv()
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.done)
		s.err = s.cmd.Wait()
	}()
	t.Cleanup(func() {
		select {
		case <-s.done:
		default:
			if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Errorf("kill serve: %v", err)
			}
			<-s.done
		}
		if t.Failed() {
			t.Logf("log of serve:\n%s", s.log)
		}
	})
	return s
}

// running fails the test when the server has ended by itself.
func (s *server) running(t *testing.T) {
	t.Helper()
	select {
	case <-s.done:
		t.Fatalf("serve ended by itself: %v", s.err)
	default:
	}
}

// stop asks the server to end, as a service manager does, and wants it to end
// well.
func (s *server) stop(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.done:
		if s.err != nil {
			t.Fatalf("serve did not end well on SIGTERM: %v", s.err)
		}
	case <-time.After(patience):
		t.Fatal("serve does not end on SIGTERM")
	}
}

// output collects what a process prints; the process and the test share it.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// cleanEnv is our environment without settings of the program.
func cleanEnv() []string {
	var env []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "ASSIGNDEX_") {
			env = append(env, variable)
		}
	}
	return env
}

// freePort finds a port that nothing listens on.
func freePort(t *testing.T) int {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// waitUntil asks until there is no error, and fails the test when patience ends,
// with the last error that says more than that.
func waitUntil(t *testing.T, what string, ask func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	var last error
	for {
		err := ask(ctx)
		if err == nil {
			return
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s: %v", what, last)
		case <-again.C:
		}
	}
}
