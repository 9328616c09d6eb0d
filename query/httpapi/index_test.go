package httpapi

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/fold"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/apikey"
)

var _ query.Index = (*indexer.Index)(nil)

const incarnation = "0123456789abcdef"

// testIndex is a real store that a test writes events into.
type testIndex struct {
	*indexer.Index
	tb   testing.TB
	dir  string
	st   *store.Store
	head atomic.Uint64 // of the stream that there could be; 0: not seen yet
}

func newIndex(tb testing.TB) *testIndex {
	tb.Helper()
	x := &testIndex{tb: tb, dir: tb.TempDir()}
	x.open()
	tb.Cleanup(x.close)
	return x
}

func (x *testIndex) open() {
	x.tb.Helper()
	st, err := store.Open(store.Options{Dir: x.dir, Logger: zerolog.Nop()})
	if err != nil {
		x.tb.Fatal(err)
	}
	x.st = st
	x.Index = indexer.NewIndex(st, x)
}

func (x *testIndex) close() {
	if err := x.st.Close(); err != nil {
		x.tb.Error(err)
	}
}

// Head is part of indexer.End.
func (x *testIndex) Head() stream.Head {
	now := time.Now()
	if h := x.head.Load(); h > 0 {
		return stream.Head{Seq: h, Seen: now, Moved: now}
	}
	return stream.Head{}
}

// Ask is part of indexer.End.
func (x *testIndex) Ask(context.Context, time.Time) (stream.Head, error) { return x.Head(), nil }

// bind ties the index to its stream.
func (x *testIndex) bind() *testIndex {
	x.tb.Helper()
	if err := x.st.Bind(position.Position{Stream: position.Identity{Name: "S", Incarnation: incarnation}}); err != nil {
		x.tb.Fatal(err)
	}
	return x
}

// event is the type and data of an event.
type event struct{ kind, data string }

// apply makes events durable in one batch, in tenant, and gives the last sequence.
func (x *testIndex) apply(tenant string, list ...event) uint64 {
	x.tb.Helper()
	return x.applyAt(tenant, func(seq uint64) time.Time { return time.Unix(int64(seq), 0) }, list...)
}

// applyAt is apply with the time that each event was stamped with.
func (x *testIndex) applyAt(tenant string, stamp func(seq uint64) time.Time, list ...event) uint64 {
	x.tb.Helper()
	decoded := make([]events.Event, len(list))
	for i, e := range list {
		var err error
		if decoded[i], err = events.DecodeData(tenant, events.Type(e.kind), []byte(e.data)); err != nil {
			x.tb.Fatalf("%s %s: %v", e.kind, e.data, err)
		}
	}
	return x.applyEvents(stamp, decoded...)
}

// applyEvents is applyAt with decoded events, of any tenant.
func (x *testIndex) applyEvents(stamp func(seq uint64) time.Time, list ...events.Event) uint64 {
	x.tb.Helper()
	mark := x.st.Applied()
	batch := x.st.NewBatch(nil)
	for i := range list {
		mark.Seq++
		mark.Nano = stamp(mark.Seq).UnixNano()
		batch.At(mark.Seq)
		batch.Saw(mark.Nano)
		if _, err := fold.Apply(&list[i], rows.Moment{Seq: mark.Seq, Nano: mark.Nano}, batch, batch); err != nil {
			x.tb.Fatal(err)
		}
	}
	if err := batch.Commit(mark); err != nil {
		x.tb.Fatal(err)
	}
	if mark.Seq > x.head.Load() {
		x.head.Store(mark.Seq)
	}
	return mark.Seq
}

// give assigns an entitlement of an application to a user.
func give(usr, ent, app string) event {
	return event{"assignment.upserted", fmt.Sprintf(`{"usr_id":%q,"ent_id":%q,"app_id":%q}`, usr, ent, app)}
}

// keySet is a set of keys with one for each tenant named, and their tokens.
func keySet(tb testing.TB, tenants ...string) (*apikey.Set, map[string]string) {
	tb.Helper()
	tokens := map[string]string{}
	var keys []apikey.Key
	for _, tenant := range tenants {
		k, token, err := apikey.New("test", apikey.Reader, tenant, time.Now())
		if err != nil {
			tb.Fatal(err)
		}
		keys, tokens[tenant] = append(keys, k), token
	}
	set := &apikey.Set{}
	set.Replace(keys, time.Now())
	return set, tokens
}

// options are those of a server of x with keys in set.
func (x *testIndex) options(set *apikey.Set) Options {
	return Options{
		Index: x, Lag: lagOf(x.Index),
		Auth: []Authenticator{Keys{Set: set}}, MaxPageSize: 5000,
		Registry: prometheus.NewRegistry(), Logger: zerolog.Nop(),
	}
}

func newServer(tb testing.TB, o Options) *Server {
	tb.Helper()
	s, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// hooked is an index that tells when it is asked.
type hooked struct {
	query.Index
	wait func(ctx context.Context, seq uint64) error // in place of Wait, when not nil
	list func()                                      // called before List, when not nil
}

func (h *hooked) Wait(ctx context.Context, seq uint64) error {
	if h.wait != nil {
		return h.wait(ctx, seq)
	}
	return h.Index.Wait(ctx, seq)
}

func (h *hooked) List(ctx context.Context, seq uint64, sel listing.Selector, after *listing.Position,
	limit int, visit func(rows.Face),
) (listing.Page, error) {
	if h.list != nil {
		h.list()
	}
	return h.Index.List(ctx, seq, sel, after, limit, visit)
}

func quoted(s string) string {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// idsOf gives a row's user and entitlement, with a byte between them that no id has.
func idsOf(tb testing.TB, row []byte) string {
	tb.Helper()
	var ids struct {
		Usr string `json:"usr_id"`
		Ent string `json:"ent_id"`
	}
	if err := json.Unmarshal(row, &ids); err != nil {
		tb.Fatal(err)
	}
	return ids.Usr + "\xff" + ids.Ent
}

func lagOf(x *indexer.Index) func(now time.Time) query.Lag {
	return func(now time.Time) query.Lag {
		l := x.Lag(now)
		return query.Lag{Applied: l.Applied, Head: l.Head, Known: l.Known, Sequences: l.Sequences, Age: l.Age}
	}
}
