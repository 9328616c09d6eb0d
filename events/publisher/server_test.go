package publisher

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/events"
)

const streamName = "ASSIGNMENTS"

// natsServer is an embedded server that can be stopped and started again on the
// same port and directory.
type natsServer struct {
	t    testing.TB
	opts server.Options
	srv  *server.Server
}

// startServer runs a server that syncs every write, until the test ends.
func startServer(t testing.TB, change ...func(*server.Options)) *natsServer {
	t.Helper()
	s := &natsServer{t: t, opts: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, SyncAlways: true,
		StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
	}}
	for _, c := range change {
		c(&s.opts)
	}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *natsServer) start() {
	s.t.Helper()
	opts := s.opts
	srv, err := server.NewServer(&opts)
	if err != nil {
		s.t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		s.t.Fatal("the server does not start")
	}
	s.srv, s.opts.Port = srv, srv.Addr().(*net.TCPAddr).Port
}

func (s *natsServer) stop() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}

func (s *natsServer) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", s.opts.Port) }

func connect(t testing.TB, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	all := append(ConnectOptions(), nats.ReconnectWait(5*time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	nc, err := nats.Connect(url, append(all, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func addStream(t testing.TB, nc *nats.Conn, change ...func(*jetstream.StreamConfig)) jetstream.Stream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	cfg := jetstream.StreamConfig{
		Name: streamName, Subjects: []string{events.AllSubjects}, Storage: jetstream.FileStorage,
		AllowAtomicPublish: true, Discard: jetstream.DiscardNew,
	}
	for _, c := range change {
		c(&cfg)
	}
	stream, err := js.CreateStream(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func newPublisher(t testing.TB, nc *nats.Conn, opts Options) *Publisher {
	t.Helper()
	p, err := New(testContext(t), nc, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// newImpatient is newPublisher with a time-out that is too short to wait for a busy
// server when it is first asked.
func newImpatient(t testing.TB, nc *nats.Conn, opts Options, ackTimeout time.Duration) *Publisher {
	t.Helper()
	p := newPublisher(t, nc, opts)
	p.opts.AckTimeout = ackTimeout
	return p
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// assignment is the record of user n's assignment.
func assignment(n int) []byte {
	return fmt.Appendf(nil, `{"usr_id":"user-%07d","ent_id":"entitlement-%d"}`, n, n%97)
}

func record(t testing.TB, n int) Message {
	t.Helper()
	m, err := NewRecord(events.AssignmentUpserted, assignment(n))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func recordsFrom(t testing.TB, first, n int) []Message {
	t.Helper()
	msgs := make([]Message, n)
	for i := range msgs {
		msgs[i] = record(t, first+i)
	}
	return msgs
}

// cloudEvent is user n's assignment or revocation as a whole event.
func cloudEvent(t testing.TB, id string, kind events.Type, n int) Message {
	t.Helper()
	m, err := NewEvent(fmt.Appendf(nil, `{"specversion":"1.0","id":%q,"source":"test","type":%q,"data":%s}`, id, kind, assignment(n)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// stored reads the bodies of all messages in the stream, in order.
func stored(t testing.TB, nc *nats.Conn) []string {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(testContext(t), streamName)
	if err != nil {
		t.Fatal(err)
	}
	last := stream.CachedInfo().State.LastSeq
	if last == 0 {
		return nil
	}
	consumer, err := stream.OrderedConsumer(testContext(t), jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var bodies []string
	for {
		msg, err := consumer.Next(jetstream.FetchMaxWait(10 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, string(msg.Data()))
		if meta.Sequence.Stream == last {
			return bodies
		}
	}
}
