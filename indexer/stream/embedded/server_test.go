package embedded_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/stream/embedded"
	"github.com/assigndex/assigndex/indexer/stream/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newStream connects to s and makes a stream for every subject "s.>".
func newStream(t *testing.T, s *embedded.Server, config jetstream.StreamConfig) (jetstream.JetStream, jetstream.Stream) {
	t.Helper()
	js, err := jetstream.New(streamtest.Connect(t, s))
	if err != nil {
		t.Fatal(err)
	}
	config.Name, config.Subjects = "S", []string{"s.>"}
	stream, err := js.CreateOrUpdateStream(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return js, stream
}

func TestAcknowledgedMessagesSurviveARestart(t *testing.T) {
	s := streamtest.Start(t)
	js, _ := newStream(t, s, jetstream.StreamConfig{})
	url := s.ClientURL()
	reconnected := reconnects(js.Conn())
	for want := uint64(1); want <= 3; want++ {
		ack, err := js.Publish(t.Context(), "s.a", []byte("x"))
		if err != nil || ack.Sequence != want {
			t.Fatalf("publish: %+v, %v; want sequence %d", ack, err, want)
		}
		streamtest.Restart(t, s)
		if s.ClientURL() != url {
			t.Fatalf("the port changed from %s to %s", url, s.ClientURL())
		}
		<-reconnected
	}
	stream, err := js.Stream(t.Context(), "S")
	if err != nil || stream.CachedInfo().State.Msgs != 3 {
		t.Fatalf("after the restarts: %+v, %v", stream, err)
	}
}

// reconnects gives a channel that gets a value each time nc has reconnected.
func reconnects(nc *nats.Conn) <-chan struct{} {
	c := make(chan struct{}, 16)
	nc.SetReconnectHandler(func(*nats.Conn) { c <- struct{}{} })
	return c
}

func TestInProcessClientReconnectsAfterARestart(t *testing.T) {
	s := streamtest.Start(t)
	nc := streamtest.Connect(t, s, s.InProcess())
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if addr := nc.ConnectedAddr(); strings.HasPrefix(addr, "127.") {
		t.Fatalf("the connection goes over the network: %s", addr)
	}
	reconnected := reconnects(nc)
	streamtest.Restart(t, s)
	<-reconnected
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	streamtest.Stop(t, s)
	if _, err := s.InProcessConn(); !errors.Is(err, embedded.ErrNotRunning) {
		t.Fatalf("while stopped: %v", err)
	}
}

// An event in structured mode carries its data once more in base64 at worst.
func TestLargestEventsFit(t *testing.T) {
	s := streamtest.Start(t)
	js, _ := newStream(t, s, jetstream.StreamConfig{AllowAtomicPublish: true})
	if got := js.Conn().MaxPayload(); got != embedded.MaxPayload {
		t.Fatalf("the server takes %d bytes, want %d", got, embedded.MaxPayload)
	}
	for _, size := range []int{events.MaxEventBytes, 2 * events.MaxEventBytes} {
		if _, err := js.Publish(t.Context(), "s.a", make([]byte, size)); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
	}
}

// A size limit above what is free now must be taken: it is set from the disk by
// whoever makes the stream.
func TestTheDiskIsTheOnlyStorageLimit(t *testing.T) {
	s := streamtest.Start(t)
	_, stream := newStream(t, s, jetstream.StreamConfig{MaxBytes: 1 << 60})
	if got := stream.CachedInfo().Config.MaxBytes; got != 1<<60 {
		t.Fatalf("the stream's limit is %d", got)
	}
	newStream(t, s, jetstream.StreamConfig{MaxBytes: 1<<60 + 1})
	streamtest.Restart(t, s) // a stream over the limit would not be recovered
	js, err := jetstream.New(streamtest.Connect(t, s))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Stream(t.Context(), "S"); err != nil {
		t.Fatal(err)
	}
}

func TestStartStatesWhatIsInTheWay(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	address := taken.Addr().String()

	locked := t.TempDir()
	holder := embedded.New(embedded.Options{StoreDir: locked, Listen: "127.0.0.1:0"})
	if err := holder.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Close() }()

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	for name, c := range map[string]struct {
		dir, listen string
		want        error
		text        string
	}{
		"port in use":    {t.TempDir(), address, embedded.ErrAddressInUse, address},
		"store in use":   {locked, "127.0.0.1:0", embedded.ErrStoreInUse, locked},
		"every address":  {t.TempDir(), "0.0.0.0:0", embedded.ErrNotLoopback, "--nats-url"},
		"store no dir":   {file, "127.0.0.1:0", nil, file},
		"store not said": {"", "127.0.0.1:0", nil, "store directory is required"},
	} {
		s := embedded.New(embedded.Options{StoreDir: c.dir, Listen: c.listen})
		err := s.Start(t.Context())
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: Start gave %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: Close after a failed start: %v", name, err)
		}
		if url := s.ClientURL(); url != "" {
			t.Errorf("%s: there is a URL: %s", name, url)
		}
	}
	if err := holder.Start(t.Context()); !errors.Is(err, embedded.ErrRunning) {
		t.Errorf("a second Start: %v", err)
	}
}

// A refused start leaves nothing behind that keeps a later one from succeeding.
func TestStartAfterARefusedStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := embedded.New(embedded.Options{StoreDir: dir, Listen: taken.Addr().String()})
	if err := s.Start(t.Context()); !errors.Is(err, embedded.ErrAddressInUse) {
		t.Fatalf("Start gave %v", err)
	}
	// Whoever has the port may have the store open, without our lock.
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Fatalf("the store was touched: %v, %v", files, err)
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Start(canceled); !errors.Is(err, context.Canceled) {
		t.Fatalf("Start with a context that has ended gave %v", err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
}
