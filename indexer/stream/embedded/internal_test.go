package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

func TestLoopback(t *testing.T) {
	names := map[string][]string{
		"localhost": {"::1", "127.0.0.1"}, "six": {"::1"}, "mapped": {"::ffff:127.0.0.1"},
		"public": {"192.0.2.1"}, "mixed": {"127.0.0.1", "192.0.2.1"}, "none": {},
	}
	resolve := func(_ context.Context, network, host string) ([]netip.Addr, error) {
		texts, ok := names[host]
		if !ok || network != "ip" {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		var addrs []netip.Addr
		for _, text := range texts {
			addrs = append(addrs, netip.MustParseAddr(text))
		}
		return addrs, nil
	}
	for listen, want := range map[string]string{
		"127.0.0.1:4222":          "127.0.0.1:4222",
		"127.9.9.9:1":             "127.9.9.9:1",
		"[::1]:4222":              "[::1]:4222",
		"[::ffff:127.0.0.1]:4222": "127.0.0.1:4222",
		"127.0.0.1:0":             "127.0.0.1:0",
		"127.0.0.1:-1":            "127.0.0.1:0",
		"localhost:4222":          "127.0.0.1:4222",
		"six:4222":                "[::1]:4222",
		"mapped:4222":             "127.0.0.1:4222",
	} {
		got, err := loopback(t.Context(), listen, resolve)
		if err != nil || got.String() != want {
			t.Errorf("%s: %v, %v; want %s", listen, got, err, want)
		}
	}
	for _, listen := range []string{
		":4222", "0.0.0.0:4222", "[::]:4222", "192.0.2.1:4222", "[2001:db8::1]:4222", "[::ffff:192.0.2.1]:4222",
		"public:4222", "mixed:4222",
	} {
		got, err := loopback(t.Context(), listen, resolve)
		if !errors.Is(err, ErrNotLoopback) || !strings.Contains(err.Error(), listen) || got.IsValid() {
			t.Errorf("%s: %v, %v", listen, got, err)
		}
	}
	for _, listen := range []string{
		"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:nats", "127.0.0.1:65536", "127.0.0.1:-2", "none:4222", "unknown:4222", "::1:4222",
	} {
		if got, err := loopback(t.Context(), listen, resolve); err == nil || errors.Is(err, ErrNotLoopback) || got.IsValid() {
			t.Errorf("%s: %v, %v", listen, got, err)
		}
	}
}

// The port can be taken between the check and the start.
func TestPortTakenAfterTheCheck(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	addr := taken.Addr().(*net.TCPAddr).AddrPort()
	s := New(Options{StoreDir: t.TempDir()})
	_, _, err = s.run(t.Context(), addr)
	if !errors.Is(err, ErrAddressInUse) || !strings.Contains(err.Error(), addr.String()) {
		t.Fatalf("run gave %v", err)
	}
}

func TestServerIsConfiguredAsDocumented(t *testing.T) {
	dir := t.TempDir()
	s := New(Options{StoreDir: dir, Listen: "127.0.0.1:0"})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	ns := s.current()
	js := ns.JetStreamConfig()
	if js == nil || !js.SyncAlways || js.MaxStore != maxStore || js.StoreDir != filepath.Join(dir, "jetstream") {
		t.Errorf("JetStream runs with %+v", js)
	}
	v, err := ns.Varz(nil)
	if err != nil {
		t.Fatal(err)
	}
	if v.MaxPayload != MaxPayload || v.MaxConn != maxConnections || v.MaxControlLine != maxControlLine || v.MaxPending != maxPending ||
		v.MaxSubs != maxSubscriptions || v.WriteDeadline != writeDeadline {
		t.Errorf("limits of clients: %+v", v)
	}
	if m, p := ns.MonitorAddr(), ns.ProfilerAddr(); m != nil || p != nil {
		t.Errorf("ports are open for monitoring (%v) or profiling (%v)", m, p)
	}
}

// What is larger than a client may send ends its connection, and nothing else.
func TestClientsAreBounded(t *testing.T) {
	s := New(Options{StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	say := func(text string) (answer string) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.ClientURL(), "nats://"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "CONNECT {}\r\n"+text) // the server may have closed it
		var got []byte
		for buf := make([]byte, 4096); !bytes.Contains(got, []byte("PONG")); {
			n, err := conn.Read(buf)
			if got = append(got, buf[:n]...); err != nil {
				break
			}
		}
		return string(got)
	}
	for text, want := range map[string]string{
		"PING\r\n": "PONG",
		fmt.Sprintf("PUB a %d\r\n", MaxPayload+1):                 "'Maximum Payload Violation'",
		"PUB " + strings.Repeat("a", maxControlLine+1) + " 0\r\n": "'maximum control line exceeded'",
	} {
		if got := say(text); !strings.Contains(got, want) {
			t.Errorf("%.20q was answered with %q, want %s", text, got, want)
		}
	}
}

// What the server calls fatal is returned and does not end the process.
func TestStoreThatCannotBeOpened(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "jetstream"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := New(Options{StoreDir: dir, Listen: "127.0.0.1:0"})
	if err := s.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "Can't start JetStream") {
		t.Fatalf("Start gave %v", err)
	}
}

func TestLogLevels(t *testing.T) {
	var out bytes.Buffer
	l := &natsLog{log: zerolog.New(&out).Level(zerolog.TraceLevel)}
	l.Noticef("starting %d", 1)
	l.running.Store(true)
	l.Noticef("slow %s", "consumer")
	l.Warnf("w")
	l.Errorf("e")
	l.Debugf("d")
	l.Tracef("t")
	cause := errors.New("cause")
	l.Fatalf("f: %v", cause)
	l.Fatalf("later")
	const want = `{"level":"debug","message":"starting 1"}
{"level":"info","message":"slow consumer"}
{"level":"warn","message":"w"}
{"level":"error","message":"e"}
{"level":"debug","message":"d"}
{"level":"trace","message":"t"}
{"level":"error","message":"f: cause"}
{"level":"error","message":"later"}
`
	if out.String() != want {
		t.Errorf("logged\n%swant\n%s", out.String(), want)
	}
	if err := l.failure(); !errors.Is(err, cause) || err.Error() != "f: cause" {
		t.Errorf("the failure is %v", err)
	}
}

// A debug log must not turn tracing on: its lines hold what was published.
func TestPayloadsAreNotLogged(t *testing.T) {
	var out lockedBuffer
	s := New(Options{StoreDir: t.TempDir(), Listen: "127.0.0.1:0", Logger: zerolog.New(&out).Level(zerolog.TraceLevel)})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.ClientURL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("CONNECT {}\r\nPUB a 9\r\ns3cr3t-pw\r\nPING\r\n")); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for buf := make([]byte, 4096); !bytes.Contains(got, []byte("PONG")); {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, buf[:n]...)
	}
	if err := errors.Join(conn.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if !strings.Contains(text, "Client connection created") {
		t.Errorf("the server's debug lines are missing:\n%s", text)
	}
	if strings.Contains(text, "s3cr3t") {
		t.Error("a payload was logged")
	}
}
