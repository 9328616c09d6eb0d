//go:build unix

package indexer_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/assigndex/assigndex/events/publisher"
	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/stream"
)

// serverProcess is a NATS server in a process of its own, on one directory and port.
type serverProcess struct {
	*testing.T
	dir, listen string
	cmd         *exec.Cmd
	input       io.Closer
	errs        *bytes.Buffer
}

func newServerProcess(t *testing.T) *serverProcess {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &serverProcess{T: t, dir: t.TempDir(), listen: l.Addr().String()}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s.start()
	t.Cleanup(func() { s.end(s.input.Close) })
	return s
}

func (s *serverProcess) start() {
	s.Helper()
	s.cmd = exec.Command(os.Args[0], "-test.run=^$")
	s.cmd.Env = append(os.Environ(), childServer+"="+s.listen, childDir+"="+s.dir)
	s.errs = &bytes.Buffer{}
	s.cmd.Stderr = s.errs
	input, err := s.cmd.StdinPipe()
	if err != nil {
		s.Fatal(err)
	}
	s.input = input
	output, err := s.cmd.StdoutPipe()
	if err != nil {
		s.Fatal(err)
	}
	forks.Lock()
	err = s.cmd.Start()
	forks.Unlock()
	if err != nil {
		s.Fatal(err)
	}
	ready := make([]byte, len(lineReady))
	if _, err := io.ReadFull(output, ready); err != nil {
		_ = s.cmd.Wait() // for what it said
		s.Fatalf("the server did not start: %v: %s", err, s.errs)
	}
}

// end ends the process in some way and waits for it.
func (s *serverProcess) end(how func() error) {
	s.Helper()
	if err := how(); err != nil {
		s.Errorf("end the server: %v", err)
	}
	_ = s.cmd.Wait() // killed, or ended
}

// trouble is what befalls the server.
type trouble struct {
	name   string
	befall func(s *serverProcess, noticed func())
}

var troubles = []trouble{
	{"killed", func(s *serverProcess, _ func()) {
		s.end(s.cmd.Process.Kill)
		if status, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
			s.Errorf("the server was not killed: %v", s.cmd.ProcessState)
		}
		s.start()
	}},
	{"paused", func(s *serverProcess, noticed func()) {
		if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			s.Fatal(err)
		}
		noticed()
		if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			s.Fatal(err)
		}
	}},
	{"restarted", func(s *serverProcess, _ func()) {
		s.end(s.input.Close)
		if !s.cmd.ProcessState.Success() {
			s.Errorf("the server did not end well: %s", s.errs)
		}
		s.start()
	}},
}

// The server is killed, paused and restarted, each in the middle of what is being
// published: everything acknowledged arrives, once and in order.
func TestServerInTrouble(t *testing.T) {
	t.Parallel()
	server := newServerProcess(t)
	url := "nats://" + server.listen
	src := &source{T: t}
	src.nc, src.js = connectTo(t, url, eager(publisher.ConnectOptions()...)...)
	if err := stream.Ensure(t.Context(), src.js, stream.Config{Name: streamName, Own: true}); err != nil {
		t.Fatal(err)
	}
	reading := *src
	reading.nc, reading.js = connectTo(t, url, eager()...)
	n := reading.nodeIn(t, t.TempDir())
	n.start(indexer.Options{BatchEvents: 10})
	rounds := 2
	if testing.Short() {
		rounds = 1
	}
	const events, size = 6_000, 20
	s := publishAll(t, src.nc, events, size)
	interruptions := func() int { return strings.Count(n.log.String(), "reading the stream was interrupted") }
	step := uint64(events / (rounds*len(troubles) + 1))
	for i := range rounds * len(troubles) {
		trouble, from := troubles[i%len(troubles)], uint64(i+1)*step
		n.wait(from)
		before := interruptions()
		if at := n.store.Applied().Seq; at >= events {
			t.Fatalf("%s: all is applied already", trouble.name)
		}
		noticed := func() {
			eventually(t, "the reader notices that the server is "+trouble.name, func() bool { return interruptions() > before })
		}
		trouble.befall(server, noticed)
		noticed()
	}
	s.arrived(t, src, n)
}
