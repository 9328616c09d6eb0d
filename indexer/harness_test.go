package indexer_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/events/publisher"
	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/indexer/stream/embedded"
	"github.com/assigndex/assigndex/indexer/stream/streamtest"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "seed of the random tests; 0: a new one")
	killsFlag = flag.Int("kills", 24, "how often TestKill kills the program")
)

// bounded is how long a test waits for what must happen in bounded time.
const bounded = 60 * time.Second

const streamName = "ASSIGNMENTS"

// random gives a test its source, and prints the seed.
func random(t *testing.T) (uint64, *rand.Rand) {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 1_000_000_000
	}
	t.Logf("-seed %d", seed)
	return seed, rand.New(rand.NewPCG(seed, 3))
}

// source is a server with the stream, and a connection to it.
type source struct {
	*testing.T
	server *embedded.Server
	nc     *nats.Conn
	js     jetstream.JetStream
}

func newSource(t *testing.T) *source {
	t.Helper()
	return newSourceIn(t, t.TempDir())
}

// newSourceIn is newSource on a directory of the caller's.
func newSourceIn(t *testing.T, dir string) *source {
	t.Helper()
	s := &source{T: t, server: streamtest.StartIn(t, dir)}
	s.nc = streamtest.Connect(t, s.server, publisher.ConnectOptions()...)
	var err error
	if s.js, err = jetstream.New(s.nc); err != nil {
		t.Fatal(err)
	}
	if err := stream.Ensure(t.Context(), s.js, stream.Config{Name: streamName}); err != nil {
		t.Fatal(err)
	}
	return s
}

// publish puts messages into the stream, in order, and gives the last sequence.
func (s *source) publish(messages ...events.Message) (last uint64) {
	s.Helper()
	for s.nc.FlushTimeout(time.Second) != nil { // the server was restarted just now
		if s.Context().Err() != nil {
			s.Fatal("not connected")
		}
	}
	for chunk := range slices.Chunk(messages, mostInBatch) {
		first := publishBatch(s.T, s.nc, chunk)
		if last > 0 && first != last+1 {
			s.Fatalf("sequence %d was acknowledged after %d", first, last)
		}
		last = first + uint64(len(chunk)) - 1
	}
	return last
}

// natsMessage is m as it is sent. A subject cannot hold a space.
func natsMessage(m events.Message) *nats.Msg {
	return &nats.Msg{Subject: strings.ReplaceAll(m.Subject, " ", "%"), Header: nats.Header(m.Header), Data: m.Data}
}

// say makes a message of a type and data, of tenant "t".
func say(t events.Type, data string, args ...any) events.Message {
	if len(args) > 0 {
		data = fmt.Sprintf(data, args...)
	}
	return events.Message{Subject: events.Subject("t"), Header: map[string][]string{events.TypeHeader: {string(t)}}, Data: []byte(data)}
}

// node is an index and what keeps it up with the stream.
type node struct {
	*testing.T
	source  *source
	dir     string
	log     *syncBuffer
	store   *store.Store
	reader  *stream.Reader
	index   *indexer.Index
	indexer *indexer.Indexer
	metrics *indexer.Metrics

	cancel context.CancelFunc // nil: Run is not under way
	done   chan error
}

// syncBuffer keeps what is logged.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// node opens an index in a directory of its own.
func (s *source) node() *node {
	s.Helper()
	return s.nodeIn(s.T, s.TempDir())
}

// nodeIn opens an index in a directory of a test's.
func (s *source) nodeIn(t *testing.T, dir string) *node {
	t.Helper()
	n := &node{T: t, source: s, dir: dir, log: &syncBuffer{}}
	n.open()
	t.Cleanup(n.close)
	return n
}

// forks keeps a store from being opened while a child is made: until it runs its
// own program it holds our files, and with them the lock of a store just closed.
var forks sync.RWMutex

func (n *node) open() {
	n.Helper()
	log := zerolog.New(n.log)
	var err error
	forks.RLock()
	n.store, err = store.Open(store.Options{Dir: n.dir, Logger: log})
	forks.RUnlock()
	if err != nil {
		n.Fatal(err)
	}
	n.reader = stream.NewReader(n.source.nc, n.source.js, streamName, log)
	n.index = indexer.NewIndex(n.store, n.reader)
}

// start runs the indexer; opts need no logger and no metrics.
func (n *node) start(opts indexer.Options) {
	n.Helper()
	n.metrics = indexer.NewMetrics()
	opts.Logger, opts.Metrics = zerolog.New(n.log), n.metrics
	if opts.History == 0 {
		opts.History = time.Hour
	}
	n.indexer = indexer.New(n.store, n.reader, opts)
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel, n.done = cancel, make(chan error, 1)
	go func() { n.done <- n.indexer.Run(ctx) }()
}

// stop ends the run.
func (n *node) stop() {
	n.Helper()
	if n.cancel == nil {
		return
	}
	n.cancel()
	n.cancel = nil
	if err := <-n.done; err != nil {
		n.Errorf("Run: %v", err)
	}
}

// fails waits until Run has ended by itself and gives its error.
func (n *node) fails() error {
	n.Helper()
	select {
	case err := <-n.done:
		n.cancel()
		n.cancel = nil
		if err == nil {
			n.Fatal("Run ended without an error")
		}
		return err
	case <-time.After(bounded):
		n.Fatalf("Run goes on, at sequence %d", n.store.Applied().Seq)
		return nil
	}
}

func (n *node) close() {
	n.stop()
	if n.store == nil {
		return
	}
	if err := n.store.Close(); err != nil {
		n.Errorf("close: %v", err)
	}
	n.store = nil
}

// wait waits until a sequence has been applied.
func (n *node) wait(seq uint64) {
	n.Helper()
	ctx, cancel := context.WithTimeout(n.Context(), bounded)
	defer cancel()
	if err := n.index.Wait(ctx, seq); err != nil {
		select {
		case err := <-n.done:
			n.done <- err
			n.Fatalf("sequence %d was not applied, Run ended with %v", seq, err)
		default:
			n.Fatalf("sequence %d was not applied in %s, the last one is %d", seq, bounded, n.store.Applied().Seq)
		}
	}
}

// digest gives the digest at a sequence, checked to be of families that agree.
func (n *node) digest(seq uint64) string {
	n.Helper()
	digest, _, err := n.index.Digest(seq)
	if err != nil {
		n.Fatalf("digest at %d: %v", seq, err)
	}
	return digest
}

// list gives everything that a selection holds, read in pages.
func (n *node) list(seq uint64, sel listing.Selector, size int) []string {
	n.Helper()
	if sel.Kinds == nil {
		sel.Kinds = events.Kinds
	}
	var all []string
	var after *listing.Position
	for {
		page, err := n.index.List(n.Context(), seq, sel, after, size, func(f rows.Face) { all = append(all, string(f.JSON())) })
		if err != nil {
			n.Fatal(err)
		}
		if !page.More {
			return all
		}
		after = &page.Last
	}
}

// says compares the index at a sequence with a model of the stream up to it.
func (n *node) says(seq uint64, m *modeltest.Model) {
	n.Helper()
	view, err := n.store.View(seq)
	if err != nil {
		n.Fatal(err)
	}
	defer view.Close()
	if differences, err := audit.Agree(view, 5); err != nil || len(differences) > 0 {
		n.Fatalf("at %d: the families disagree: %v, %v", seq, differences, err)
	}
	for _, tenant := range m.Tenants() {
		all := m.Rows(tenant)
		for _, f := range filters(all) {
			var want []string
			for _, r := range all {
				if f.Picks(r) {
					want = append(want, r.JSON)
				}
			}
			got := n.list(seq, listing.Selector{Tenant: tenant, Kinds: f.Kinds, AssigneeID: f.AssigneeID, EntID: f.EntID, AppID: f.AppID}, 7)
			if !slices.Equal(got, want) {
				n.Fatalf("at %d: %s %+v:\n got %q\nwant %q", seq, tenant, f, got, want)
			}
		}
	}
	if got, want := n.quarantined(seq), m.Quarantine(); !slices.Equal(got, want) {
		n.Fatalf("at %d: quarantined are %v, want %v", seq, got, want)
	}
}

// filters gives no filter, and each combination that fits some row, of a few rows.
func filters(all []modeltest.Row) []modeltest.Filter {
	list := []modeltest.Filter{{Kinds: events.Kinds}}
	for i := 0; i < len(all); i += 1 + len(all)/8 {
		r := all[i]
		for _, id := range []string{"", r.Assignee.ID} {
			for _, ent := range []string{"", r.EntID} {
				for _, app := range []string{"", r.Application} {
					list = append(list, modeltest.Filter{Kinds: events.Kinds, AssigneeID: id, EntID: ent, AppID: app})
				}
			}
		}
	}
	return list
}

// quarantined gives the sequences in the quarantine.
func (n *node) quarantined(seq uint64) (seqs []uint64) {
	n.Helper()
	for s := range n.quarantine(seq) {
		seqs = append(seqs, s)
	}
	slices.Sort(seqs)
	return seqs
}

// quarantine gives what is in the quarantine.
func (n *node) quarantine(seq uint64) map[uint64]rows.Quarantined {
	n.Helper()
	view, err := n.store.View(seq)
	if err != nil {
		n.Fatal(err)
	}
	defer view.Close()
	found := make(map[uint64]rows.Quarantined)
	var bad error
	err = view.Range([]byte{byte(keys.QuarantineTag)}, nil, func(key, value []byte) bool {
		var s uint64
		var q rows.Quarantined
		if s, bad = keys.ParseQuarantine(key); bad == nil {
			q, bad = rows.DecodeQuarantined(bytes.Clone(value))
		}
		found[s] = q
		return bad == nil
	})
	if err = errors.Join(err, bad); err != nil {
		n.Fatal(err)
	}
	return found
}

// counts gives the values of a counter by its labels, such as "bad_json" or
// "user.upserted,changed".
func (n *node) counts(name string) map[string]int {
	n.Helper()
	counts, _ := n.metric(name)
	return counts
}

// metric gives the values of a counter by its labels, and of a gauge.
func (n *node) metric(name string) (counts map[string]int, gauge float64) {
	n.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(n.metrics)
	families, err := reg.Gather()
	if err != nil {
		n.Fatal(err)
	}
	counts = make(map[string]int)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() { // sorted by name
				labels = append(labels, l.GetValue())
			}
			counts[strings.Join(labels, ",")] += int(m.GetCounter().GetValue())
			gauge = m.GetGauge().GetValue()
		}
	}
	return counts, gauge
}
