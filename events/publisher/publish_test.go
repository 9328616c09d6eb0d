package publisher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/events"
)

// single turns atomic batches off.
func single(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false }

// bothWays runs a test against a stream that takes atomic batches and one that does not.
func bothWays(t *testing.T, test func(t *testing.T, change func(*jetstream.StreamConfig))) {
	t.Run("batches", func(t *testing.T) { test(t, func(*jetstream.StreamConfig) {}) })
	t.Run("one by one", func(t *testing.T) { test(t, single) })
}

func bodies(msgs []Message) []string {
	var all []string
	for _, m := range msgs {
		all = append(all, string(m.body))
	}
	return all
}

func mustEqual(t testing.TB, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("the stream holds %d messages, want %d; they differ from number %d on:\ngot  %q\nwant %q",
				len(got), len(want), i, got[min(i, len(got)):min(i+3, len(got))], want[min(i, len(want)):min(i+3, len(want))])
		}
	}
}

func TestWriterKeepsOrderAndCounts(t *testing.T) {
	bothWays(t, func(t *testing.T, change func(*jetstream.StreamConfig)) {
		nc := connect(t, startServer(t).url())
		addStream(t, nc, change)
		ctx, w := testContext(t), newPublisher(t, nc, Options{BatchMessages: 64}).NewWriter()
		msgs := recordsFrom(t, 0, 300)
		for i, m := range msgs {
			if err := w.Add(ctx, m); err != nil {
				t.Fatal(err)
			}
			if got := w.Acked().Count + w.Held(); got != i+1 {
				t.Fatalf("after %d messages %d are acknowledged or held", i+1, got)
			}
		}
		last, err := w.Flush(ctx)
		if err != nil || last != 300 || w.Acked() != (Ack{LastSeq: 300, Count: 300}) || w.Held() != 0 {
			t.Fatalf("Flush: %d, %v; acknowledged %+v, held %d", last, err, w.Acked(), w.Held())
		}
		mustEqual(t, stored(t, nc), bodies(msgs))
	})
}

func TestHeadersSayWhatTheyAre(t *testing.T) {
	nc := connect(t, startServer(t).url())
	stream := addStream(t, nc)
	p := newPublisher(t, nc, Options{Tenant: "acme"})
	msgs := []Message{record(t, 1), cloudEvent(t, "a", events.AssignmentRevoked, 2), record(t, 3)}
	if _, err := p.Publish(testContext(t), msgs...); err != nil {
		t.Fatal(err)
	}
	for i, want := range []events.Type{events.AssignmentUpserted, events.AssignmentRevoked, events.AssignmentUpserted} {
		raw, err := stream.GetMsg(testContext(t), uint64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		ev, err := events.Decode(events.Message{Subject: raw.Subject, Header: raw.Header, Data: raw.Data})
		if err != nil || ev.Type != want || ev.Tenant != "acme" {
			t.Errorf("message %d is %+v, %v; want %s of acme", i+1, ev, err, want)
		}
	}
}

func TestBatchesAreAtomicAndBounded(t *testing.T) {
	nc := connect(t, startServer(t).url())
	stream := addStream(t, nc)
	size := len(assignment(0)) + headerRoom
	p := newPublisher(t, nc, Options{BatchMessages: 10, BatchBytes: 4 * size})
	ack, err := p.Publish(testContext(t), recordsFrom(t, 0, 9)...)
	if err != nil || ack != (Ack{LastSeq: 9, Count: 9}) {
		t.Fatalf("Publish: %+v, %v", ack, err)
	}
	var places []string // of each message in its batch
	for seq := range uint64(9) {
		raw, err := stream.GetMsg(testContext(t), seq+1)
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, raw.Header.Get(headerBatchSequence)+raw.Header.Get(headerBatchCommit))
	}
	if got := strings.Join(places, " "); got != "1 2 3 41 1 2 3 41 " {
		t.Errorf("places in batches: %q", got)
	}
}

func TestLargeMessagesTravelAlone(t *testing.T) {
	nc := connect(t, startServer(t).url())
	addStream(t, nc)
	w := newPublisher(t, nc, Options{BatchBytes: 1}).NewWriter()
	msgs := recordsFrom(t, 0, 5)
	for _, m := range msgs {
		if err := w.Add(testContext(t), m); err != nil {
			t.Fatal(err)
		}
		if w.Held() != 1 {
			t.Fatalf("%d messages are held, want 1", w.Held())
		}
	}
	if _, err := w.Flush(testContext(t)); err != nil {
		t.Fatal(err)
	}
	mustEqual(t, stored(t, nc), bodies(msgs))
}

func TestRepeatedIDsAreStoredOnce(t *testing.T) {
	bothWays(t, func(t *testing.T, change func(*jetstream.StreamConfig)) {
		nc := connect(t, startServer(t).url())
		addStream(t, nc, change)
		ctx, p := testContext(t), newPublisher(t, nc, Options{})
		event := func(id string, n int) Message { return cloudEvent(t, id, events.AssignmentUpserted, n) }

		// Within one batch.
		ack, err := p.Publish(ctx, event("a", 1), event("b", 2), event("a", 1), event("c", 3), event("c", 3))
		if err != nil || ack != (Ack{LastSeq: 3, Count: 5, Duplicates: 2}) {
			t.Fatalf("a repeat inside a batch: %+v, %v", ack, err)
		}
		if p.batches && p.number != 2 { // the batch's first message and its commit
			t.Errorf("a repeat inside a batch took %d requests", p.number)
		}
		// An old one in the midst of new ones, and one that comes twice besides.
		ack, err = p.Publish(ctx, event("d", 4), event("b", 2), event("e", 5), event("b", 2), event("f", 6))
		if err != nil || ack != (Ack{LastSeq: 6, Count: 5, Duplicates: 2}) {
			t.Fatalf("an old id in a batch: %+v, %v", ack, err)
		}
		// Nothing but old ones: the last sequence is the highest of theirs.
		ack, err = p.Publish(ctx, event("d", 4), event("a", 1))
		if err != nil || ack != (Ack{LastSeq: 4, Count: 2, Duplicates: 2}) {
			t.Fatalf("only old ids: %+v, %v", ack, err)
		}
		want := bodies([]Message{event("a", 1), event("b", 2), event("c", 3), event("d", 4), event("e", 5), event("f", 6)})
		mustEqual(t, stored(t, nc), want)
	})
}

func TestEqualRecordsAreTwoEvents(t *testing.T) {
	nc := connect(t, startServer(t).url())
	addStream(t, nc)
	m := record(t, 1)
	ack, err := newPublisher(t, nc, Options{}).Publish(testContext(t), m, m, m.WithID("s", "1"), m.WithID("s", "1"))
	if err != nil || ack != (Ack{LastSeq: 3, Count: 4, Duplicates: 1}) {
		t.Fatalf("Publish: %+v, %v", ack, err)
	}
}

func TestTenantsDoNotShareIDs(t *testing.T) {
	nc := connect(t, startServer(t).url())
	addStream(t, nc)
	for i, tenant := range []string{"one", "two"} {
		ack, err := newPublisher(t, nc, Options{Tenant: tenant}).Publish(testContext(t), cloudEvent(t, "1", events.AssignmentUpserted, 1))
		if err != nil || ack != (Ack{LastSeq: uint64(i + 1), Count: 1}) {
			t.Errorf("tenant %s: %+v, %v", tenant, ack, err)
		}
	}
}

// replicated answers as if the stream had three replicas.
type replicated struct{ jetstream.JetStream }

func (r replicated) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	stream, err := r.JetStream.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	info := *stream.CachedInfo()
	info.Config.Replicas = 3
	return replicatedStream{stream, &info}, nil
}

type replicatedStream struct {
	jetstream.Stream
	info *jetstream.StreamInfo
}

func (r replicatedStream) CachedInfo() *jetstream.StreamInfo { return r.info }

func TestReplicatedStreamIsNotAskedForDuplicates(t *testing.T) {
	srv := startServer(t)
	nc := connect(t, srv.url())
	addStream(t, nc)
	p := newPublisher(t, nc, Options{})
	p.js = replicated{p.js}
	spy, err := nc.SubscribeSync(events.AllSubjects)
	if err != nil {
		t.Fatal(err)
	}
	event := func(n int) Message { return cloudEvent(t, fmt.Sprint(n), events.AssignmentUpserted, n) }
	if _, err := p.Publish(testContext(t), event(1), event(2)); err != nil {
		t.Fatal(err)
	}
	ack, err := p.Publish(testContext(t), event(0), event(2), event(3), event(4))
	if err != nil || ack != (Ack{LastSeq: 5, Count: 4, Duplicates: 1}) {
		t.Fatalf("Publish: %+v, %v", ack, err)
	}
	mustEqual(t, stored(t, nc), bodies([]Message{event(1), event(2), event(0), event(3), event(4)}))
	for range 2 + 4 + 4 { // two batches, and the second of them again one by one
		msg, err := spy.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if msg.Header.Get(headerExpectedLastID) != "" {
			t.Error("a replicated stream was asked for a duplicate")
		}
	}
}

func TestServerWithSmallerBatches(t *testing.T) {
	srv := startServer(t, func(o *server.Options) { o.JetStreamLimits.MaxBatchSize = 10 })
	nc := connect(t, srv.url())
	addStream(t, nc)
	msgs := recordsFrom(t, 0, 100)
	if ack, err := newPublisher(t, nc, Options{}).Publish(testContext(t), msgs...); err != nil || ack.Count != 100 {
		t.Fatalf("Publish: %+v, %v", ack, err)
	}
	mustEqual(t, stored(t, nc), bodies(msgs))
}

func TestBatchesTurnedOffInBetween(t *testing.T) {
	nc := connect(t, startServer(t).url())
	stream := addStream(t, nc)
	ctx, p := testContext(t), newPublisher(t, nc, Options{})
	msgs := recordsFrom(t, 0, 20)
	if _, err := p.Publish(ctx, msgs[:10]...); err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.AllowAtomicPublish = false
	if _, err := p.js.UpdateStream(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	if ack, err := p.Publish(ctx, msgs[10:]...); err != nil || ack.Count != 10 {
		t.Fatalf("Publish: %+v, %v", ack, err)
	}
	mustEqual(t, stored(t, nc), bodies(msgs))
}

func TestManyGoroutines(t *testing.T) {
	nc := connect(t, startServer(t).url())
	addStream(t, nc)
	ctx, p := testContext(t), newPublisher(t, nc, Options{BatchMessages: 7})
	const rows, each = 4, 60
	var wg sync.WaitGroup
	for g := range rows {
		msgs := recordsFrom(t, g*each, each)
		wg.Go(func() {
			w := p.NewWriter()
			for _, m := range msgs {
				if err := w.Add(ctx, m); err != nil {
					t.Error(err)
					return
				}
			}
			if _, err := w.Flush(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	all := stored(t, nc)
	for g := range rows {
		var mine []string
		want := bodies(recordsFrom(t, g*each, each))
		for _, body := range all {
			if slices.Contains(want, body) {
				mine = append(mine, body)
			}
		}
		mustEqual(t, mine, want)
	}
	if len(all) != rows*each {
		t.Errorf("%d messages are stored, want %d", len(all), rows*each)
	}
}

func TestStreamFull(t *testing.T) {
	bothWays(t, func(t *testing.T, change func(*jetstream.StreamConfig)) {
		nc := connect(t, startServer(t).url())
		stream := addStream(t, nc, change, func(c *jetstream.StreamConfig) { c.MaxMsgs = 25 })
		p := newPublisher(t, nc, Options{BatchMessages: 10})
		ctx, w, msgs := testContext(t), p.NewWriter(), recordsFrom(t, 0, 40)
		refused := 0
		for _, m := range msgs {
			err := w.Add(ctx, m)
			for errors.Is(err, ErrStreamFull) {
				if refused++; refused > 1 {
					t.Fatal("refused although there is room")
				}
				want := 20
				if !p.batches {
					want = 25
				}
				if got := w.Acked().Count; got != want {
					t.Fatalf("%d messages are acknowledged, want %d", got, want)
				}
				cfg := stream.CachedInfo().Config
				cfg.MaxMsgs = 100
				if _, err := p.js.UpdateStream(ctx, cfg); err != nil {
					t.Fatal(err)
				}
				err = w.Add(ctx, m) // goes on where it stopped
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if last, err := w.Flush(ctx); err != nil || last != 40 || refused != 1 {
			t.Fatalf("Flush: %d, %v; refused %d times", last, err, refused)
		}
		mustEqual(t, stored(t, nc), bodies(msgs))
	})
}

func TestErrorHalfWayTellsHowMany(t *testing.T) {
	nc := connect(t, startServer(t).url())
	addStream(t, nc, func(c *jetstream.StreamConfig) { c.MaxMsgs = 25 })
	ack, err := newPublisher(t, nc, Options{BatchMessages: 10}).Publish(testContext(t), recordsFrom(t, 0, 40)...)
	if !errors.Is(err, ErrStreamFull) || errors.Is(err, ErrUnknownOutcome) || ack != (Ack{LastSeq: 20, Count: 20}) {
		t.Errorf("Publish: %+v, %v", ack, err)
	}
	if n := len(stored(t, nc)); n != 20 {
		t.Errorf("%d messages are stored, want 20", n)
	}
}

func TestTooLargeIsFoundBeforeSending(t *testing.T) {
	nc := connect(t, startServer(t).url())
	addStream(t, nc, func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1000 })
	ctx, p := testContext(t), newPublisher(t, nc, Options{})
	large, err := NewRecord(events.UserUpserted, fmt.Appendf(nil, `{"usr_id":"u","note":%q}`, strings.Repeat("x", 1000)))
	if err != nil {
		t.Fatal(err)
	}
	if ack, err := p.Publish(ctx, record(t, 1), large); !errors.Is(err, ErrTooLarge) || ack != (Ack{}) {
		t.Errorf("Publish: %+v, %v", ack, err)
	}
	w := p.NewWriter()
	if err := w.Add(ctx, large); !errors.Is(err, ErrTooLarge) || w.Held() != 0 {
		t.Errorf("Add: %v", err)
	}
	if _, err := p.Publish(ctx, Message{}); !errors.Is(err, ErrInvalidMessage) {
		t.Errorf("the zero message: %v", err)
	}
	if n := len(stored(t, nc)); n != 0 {
		t.Errorf("%d messages are stored", n)
	}
}

func TestNewRefuses(t *testing.T) {
	srv := startServer(t)
	nc := connect(t, srv.url())
	if _, err := New(testContext(t), nc, Options{}); !errors.Is(err, ErrNoStream) {
		t.Errorf("without a stream: %v", err)
	}
	addStream(t, nc, func(c *jetstream.StreamConfig) { c.Subjects = []string{"assignments.one.>"} })
	if _, err := New(testContext(t), nc, Options{Tenant: "two"}); !errors.Is(err, ErrNoStream) {
		t.Errorf("a subject that the stream does not take: %v", err)
	}
	if _, err := New(testContext(t), nc, Options{Tenant: "one"}); err != nil {
		t.Errorf("a subject that the stream takes: %v", err)
	}
	if _, err := New(testContext(t), connect(t, srv.url(), nats.ReconnectBufSize(1<<20)), Options{Tenant: "one"}); !errors.Is(err, ErrBuffering) {
		t.Errorf("a buffering connection: %v", err)
	}
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"no acknowledgements": func(c *jetstream.StreamConfig) { c.NoAck, c.AllowAtomicPublish = true, false },
		"sealed":              func(c *jetstream.StreamConfig) { c.Sealed = true },
	} {
		nc := connect(t, startServer(t).url())
		stream := addStream(t, nc)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		cfg := stream.CachedInfo().Config
		change(&cfg)
		if _, err := js.UpdateStream(testContext(t), cfg); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := New(testContext(t), nc, Options{}); !errors.Is(err, ErrNoStream) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bad := range []Options{
		{Tenant: "a.b"}, {BatchMessages: 1001}, {BatchMessages: -1}, {BatchBytes: -1}, {BatchBytes: 1 << 30},
		{AckTimeout: -1}, {RetryFor: -1}, {Stream: "a.b", Tenant: "one"},
	} {
		if _, err := New(testContext(t), nc, bad); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

func TestStreamDeletedOrReplaced(t *testing.T) {
	nc := connect(t, startServer(t).url())
	addStream(t, nc)
	ctx, p := testContext(t), newPublisher(t, nc, Options{})
	if _, err := p.Publish(ctx, recordsFrom(t, 0, 2)...); err != nil {
		t.Fatal(err)
	}
	if err := p.js.DeleteStream(ctx, streamName); err != nil {
		t.Fatal(err)
	}
	ack, err := p.Publish(ctx, recordsFrom(t, 0, 2)...)
	if !errors.Is(err, ErrNoStream) || errors.Is(err, ErrUnknownOutcome) || ack.Count != 0 {
		t.Errorf("deleted: %+v, %v", ack, err)
	}
	addStream(t, nc)
	p.dropAck = func(*nats.Msg) bool { return true }
	p.opts.AckTimeout = 50 * time.Millisecond
	if _, err = p.Publish(ctx, recordsFrom(t, 0, 2)...); !errors.Is(err, ErrStreamReplaced) {
		t.Errorf("replaced: %v", err)
	}
}

func TestDenied(t *testing.T) {
	user := func(name string, publish ...string) *server.User {
		return &server.User{Username: name, Password: "p", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: publish},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
		}}
	}
	srv := startServer(t, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "admin", Password: "p"},
			user("info", "$JS.API.STREAM.INFO."+streamName),
			user("blind", events.Subject("default")),
			user("both", events.Subject("default"), "$JS.API.STREAM.INFO."+streamName),
		}
	})
	as := func(name string) *nats.Conn { return connect(t, srv.url(), nats.UserInfo(name, "p")) }
	addStream(t, as("admin"))
	ctx := testContext(t)

	if _, err := New(ctx, as("blind"), Options{AckTimeout: 200 * time.Millisecond}); !errors.Is(err, ErrDenied) {
		t.Errorf("without the stream's configuration: %v", err)
	}
	p := newPublisher(t, as("info"), Options{})
	for _, n := range []int{1, 10} {
		ack, err := p.Publish(ctx, recordsFrom(t, 0, n)...)
		if !errors.Is(err, ErrDenied) || errors.Is(err, ErrUnknownOutcome) || ack.Count != 0 {
			t.Errorf("%d messages without a right to publish: %+v, %v", n, ack, err)
		}
	}
	nc := as("both")
	p = newPublisher(t, nc, Options{AckTimeout: 3 * deniedPoll})
	if _, err := p.Publish(ctx, recordsFrom(t, 0, 10)...); err != nil {
		t.Errorf("with the rights that are documented: %v", err)
	}
	// An older denial, of something else, is not taken for one of ours.
	if _, err := nc.SubscribeSync("elsewhere._INBOX"); err != nil {
		t.Fatal(err)
	}
	if err := nc.FlushWithContext(ctx); err != nil || !errors.Is(nc.LastError(), nats.ErrPermissionViolation) {
		t.Fatalf("Flush: %v; last error %v", err, nc.LastError())
	}
	p.dropAck = dropFirst(1)
	if _, err := p.Publish(ctx, recordsFrom(t, 0, 10)...); err != nil {
		t.Errorf("after an older denial: %v", err)
	}
}

func TestClose(t *testing.T) {
	nc := connect(t, startServer(t).url())
	addStream(t, nc)
	p := newPublisher(t, nc, Options{})
	before := nc.NumSubscriptions()
	w := p.NewWriter()
	if err := w.Add(testContext(t), record(t, 0)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Flush(testContext(t)); !errors.Is(err, ErrClosed) {
		t.Errorf("Flush after Close: %v", err)
	}
	if got := nc.NumSubscriptions(); got != before-1 {
		t.Errorf("%d subscriptions, had %d", got, before)
	}
}

func TestWaitingForTheTurnEndsWithTheContext(t *testing.T) {
	nc := connect(t, startServer(t).url())
	addStream(t, nc)
	p := newPublisher(t, nc, Options{})
	<-p.turn
	defer p.release()
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	if _, err := p.Publish(ctx, record(t, 0)); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("Publish: %v", err)
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		filter string
		want   bool
	}{
		{"assignments.>", true}, {"assignments.a.events", true}, {"assignments.*.events", true}, {"assignments.a.*", true}, {">", true},
		{"assignments.b.>", false}, {"assignments.a", false}, {"assignments.a.events.>", false}, {"assignments.a.events.x", false}, {"other", false},
	} {
		if got := covers([]string{"x", c.filter}, "assignments.a.events"); got != c.want {
			t.Errorf("covers(%q) = %v", c.filter, got)
		}
	}
}
