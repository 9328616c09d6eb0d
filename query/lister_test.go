package query

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
)

// seedCursors are those of the Autonomous Identity page, verbatim.
var seedCursors = []string{
	"WyJhYXJvbi5maXNjaGVyIiwiV0VCX3VzZXJfU2hhcmVkX0VkaXRfQURNSU5fSUkiXQ==",
	"WyJhYXJvbi5mb2x0eiIsIldlYl9TZXJ2aWNlQW5hbHl0aWNzIDogS1BJIEFnZW50IGFuZCBQb3dlciBBY2Nlc3NfSUkiXQ==",
}

const testWait = 10 * time.Second // never waited for: tests that wait for it do so in a bubble

func newTestLister(f *fakeIndex) *Lister {
	return NewLister(f, Options{MaxPageSize: 5000, MaxWait: testWait, Levels: rows.DefaultThresholds})
}

// page gives the rows of one page as JSON.
func page(t *testing.T, l *Lister, req Request) ([]string, Page) {
	t.Helper()
	var list []string
	p, err := l.Page(t.Context(), fakeTenant, &req, func(f rows.Face) { list = append(list, string(f.JSON())) })
	if err != nil {
		t.Fatalf("%+v: %v", req, err)
	}
	return list, p
}

func pageError(t *testing.T, l *Lister, req Request) (Page, error) {
	t.Helper()
	p, err := l.Page(t.Context(), fakeTenant, &req, func(rows.Face) {})
	if err == nil {
		t.Fatalf("%+v was answered", req)
	}
	return p, err
}

// all gives the rows of every page, and checks that each says where it was read.
func all(t *testing.T, l *Lister, req Request, between func()) []string {
	t.Helper()
	var list []string
	seq := uint64(0)
	for n := 0; ; n++ {
		rows, p := page(t, l, req)
		if len(rows) > req.PageSize || (p.Cursor != "" && len(rows) < req.PageSize) {
			t.Fatalf("a page of %d rows, cursor %q", len(rows), p.Cursor)
		}
		if n > 0 && p.Seq != seq {
			t.Fatalf("page %d is of sequence %d, the first was of %d", n, p.Seq, seq)
		}
		seq = p.Seq
		list = append(list, rows...)
		if p.Cursor == "" {
			return list
		}
		req.Cursor = p.Cursor
		if between != nil {
			between()
		}
	}
}

// randomOf gives a source of random numbers that the environment can repeat.
func randomOf(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	if s := os.Getenv("ASSIGNDEX_TEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("ASSIGNDEX_TEST_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

var ids = []string{"a", "ab", "a\x00", "a\x00b", "a/b", "日本", "b", "[", "zz"}

func randomRow(r *rand.Rand) row {
	w := row{kind: events.Kinds[r.IntN(4)], id: ids[r.IntN(len(ids))], ent: ids[r.IntN(len(ids))], app: ids[r.IntN(3)]}
	if w.kind == events.KindAll {
		w.id = ""
	}
	return w
}

// Every combination of filters, in pages of every size, gives the rows of the
// first page's snapshot once and in order, whatever changes meanwhile.
func TestListingIsOneSnapshot(t *testing.T) {
	r := randomOf(t)
	f := newFake()
	churn := func() {
		f.put(func(all map[listing.Position]row) {
			for range 30 {
				w := randomRow(r)
				if r.IntN(2) == 0 {
					delete(all, w.position())
				} else {
					all[w.position()] = w
				}
			}
		})
	}
	for range 10 {
		churn()
	}
	l := newTestLister(f)
	some := func() string { return ids[r.IntN(3)] }
	for _, kind := range []string{"", "USER", "GROUP", "DYNAMIC_GROUP", "ALL", "group"} {
		for combination := range 8 {
			for _, size := range []int{1, 2, 3, 7, 1000} {
				req := Request{PageSize: size, Type: kind}
				grouped := kind == "group"
				if grouped {
					req.Type, req.GrpID = "", some()
				}
				if combination&1 != 0 {
					req.EntID = some()
				}
				if combination&2 != 0 {
					req.AppID = some()
				}
				if combination&4 != 0 {
					switch kind {
					case "", "USER":
						req.UsrID = some()
					case "GROUP", "DYNAMIC_GROUP":
						req.GrpID = some()
					}
				}
				seq, _ := f.Applied()
				var want []string
				for _, w := range f.states[seq] {
					id := req.UsrID + req.GrpID
					ofKind := w.kind.String() == req.Type || (req.Type == "" && !grouped && w.kind == events.KindUser) ||
						(grouped && (w.kind == events.KindGroup || w.kind == events.KindDynamicGroup))
					if ofKind && (id == "" || id == w.id) && (req.EntID == "" || req.EntID == w.ent) && (req.AppID == "" || req.AppID == w.app) {
						want = append(want, string(w.face().JSON()))
					}
				}
				if got := all(t, l, req, churn); !slices.Equal(got, want) {
					t.Fatalf("%+v at %d:\n got %q\nwant %q", req, seq, got, want)
				}
			}
		}
	}
}

func TestLastPageHasNoCursor(t *testing.T) {
	f := newFake()
	for i := range 4 {
		f.add(user(fmt.Sprint("u", i), "e", "a"))
	}
	l := newTestLister(f)
	if got, p := page(t, l, Request{PageSize: 4}); len(got) != 4 || p.Cursor != "" {
		t.Fatalf("a full last page: %d rows, cursor %q", len(got), p.Cursor)
	}
	got, p := page(t, l, Request{PageSize: 3})
	if len(got) != 3 || p.Cursor == "" {
		t.Fatalf("%d rows, cursor %q", len(got), p.Cursor)
	}
	if got, p = page(t, l, Request{PageSize: 3, Cursor: p.Cursor}); len(got) != 1 || p.Cursor != "" {
		t.Fatalf("%d rows, cursor %q", len(got), p.Cursor)
	}
	if got, p = page(t, l, Request{UsrID: "nobody"}); len(got) != 0 || p.Cursor != "" {
		t.Fatalf("%d rows, cursor %q", len(got), p.Cursor)
	}
}

func TestSeedCursors(t *testing.T) {
	f := newFake()
	f.add(
		user("aaron.fischer", "WEB_user_Shared_Edit_ADMIN_II", "a"),     // the first cursor's own row
		user("aaron.fischer", "WEB_user_Shared_Edit_ADMIN_II\x00", "b"), // the next possible one
		user("aaron.foltz", "Web", "a"),
		user("aaron.foltz", "Web_ServiceAnalytics : KPI Agent and Power Access_II", "b"),
		user("aaron.foltz", "Web_ServiceAnalytics : KPI Agent and Power Access_III", "a"),
		user("aaron", "z", "a"),
		user("b", "e", "b"),
	)
	l := newTestLister(f)
	after := func(req Request) []string {
		req.PageSize = 2 // so that our own cursors go on from there
		return all(t, l, req, nil)
	}
	row := func(usr, ent string) string { return string(user(usr, ent, "").face().JSON()) }
	first, last := row("aaron.fischer", "WEB_user_Shared_Edit_ADMIN_II\x00"), row("b", "e")
	foltz2, foltz3 := row("aaron.foltz", "Web_ServiceAnalytics : KPI Agent and Power Access_II"), row("aaron.foltz", "Web_ServiceAnalytics : KPI Agent and Power Access_III")
	for _, c := range []struct {
		req  Request
		want []string
	}{
		{Request{Cursor: seedCursors[0]}, []string{first, row("aaron.foltz", "Web"), foltz2, foltz3, last}},
		{Request{Cursor: seedCursors[1]}, []string{foltz3, last}},
		// Whatever the filters: also those of another user, before and behind.
		{Request{Cursor: seedCursors[0], UsrID: "aaron.foltz"}, []string{row("aaron.foltz", "Web"), foltz2, foltz3}},
		{Request{Cursor: seedCursors[1], UsrID: "aaron.fischer"}, nil},
		{Request{Cursor: seedCursors[0], AppID: "b"}, []string{first, foltz2, last}},
		{Request{Cursor: seedCursors[1], EntID: "e", Type: "USER"}, []string{last}},
		{Request{Cursor: strings.TrimRight(seedCursors[0], "="), AsOf: &AsOf{Seq: 0}}, nil},
	} {
		if got := after(c.req); !slices.Equal(got, c.want) {
			t.Errorf("%+v:\n got %q\nwant %q", c.req, got, c.want)
		}
	}
	for _, req := range []Request{{Type: "GROUP"}, {GrpID: "g"}, {Type: "ALL"}} {
		req.Cursor = seedCursors[0]
		_, err := pageError(t, l, req)
		wantError(t, err, CursorMismatch, "cursor")
	}
	for _, text := range []string{`["",""]`, `["u"]`, `{"u":"e"}`, `[`} {
		_, err := pageError(t, l, Request{Cursor: base64.StdEncoding.EncodeToString([]byte(text))})
		wantError(t, err, InvalidCursor, "cursor")
	}
}

func TestCursorBelongsToItsQuery(t *testing.T) {
	f := newFake()
	for _, ent := range []string{"e", "f"} {
		for _, kind := range events.Kinds[:3] {
			f.add(row{kind: kind, id: "x", ent: ent, app: "a"}, row{kind: kind, id: "y", ent: ent, app: "a"})
		}
	}
	l := newTestLister(f)
	now, _ := f.Applied()
	later := stamp(int(now))
	latest := later.Add(1)
	queries := []Request{
		{}, {UsrID: "x"}, {EntID: "e"}, {AppID: "a"}, {UsrID: "x", AppID: "a"}, {EntID: "e", AppID: "a"}, {Type: "GROUP"}, {Type: "DYNAMIC_GROUP"},
		{GrpID: "x"}, {GrpID: "x", Type: "GROUP"}, {AsOf: &AsOf{Seq: now}}, {AsOf: &AsOf{Instant: &later}},
		{AsOf: &AsOf{Instant: &latest}}, {EntID: "e", Type: "GROUP"},
	}
	for i, from := range queries {
		from.PageSize = 1
		_, p := page(t, l, from)
		if p.Cursor == "" {
			t.Fatalf("%+v has one page", from)
		}
		for j, to := range queries {
			to.Cursor = p.Cursor
			if i == j { // with another page size, and no more than the same query said otherwise
				to.PageSize = 2
				if to.UsrID != "" {
					to.Type = "USER"
				}
				page(t, l, to)
				continue
			}
			_, err := pageError(t, l, to)
			wantError(t, err, CursorMismatch, "cursor")
		}
		from.Cursor = p.Cursor
		_, err := l.Page(t.Context(), "other", &from, func(rows.Face) {})
		wantError(t, err, CursorMismatch, "cursor")
	}
}

// A cursor with a right check that no page of its query has.
func TestForgedCursors(t *testing.T) {
	f := newFake()
	f.add(user("x", "e", "a"))
	l := newTestLister(f)
	sel, err := (&Request{UsrID: "x", EntID: "e"}).selector(fakeTenant, rows.DefaultThresholds)
	if err != nil {
		t.Fatal(err)
	}
	forged := func(at listing.Position) string {
		return (&cursor{stream: "s1", seq: 1, query: queryHash(sel, nil), at: at}).encode()
	}
	page(t, l, Request{UsrID: "x", EntID: "e", Cursor: forged(place(events.KindUser, "x", "e"))})
	for _, at := range []listing.Position{
		place(events.KindUser, "y", "e"), place(events.KindUser, "x", "f"), place(events.KindGroup, "x", "e"), place(events.KindAll, "", "e"),
	} {
		_, err := pageError(t, l, Request{UsrID: "x", EntID: "e", Cursor: forged(at)})
		wantError(t, err, InvalidCursor, "cursor")
	}
	asOf := uint64(0)
	other := cursor{stream: "s1", seq: 1, query: queryHash(sel, &AsOf{Seq: asOf}), at: place(events.KindUser, "x", "e")}
	_, err = pageError(t, l, Request{UsrID: "x", EntID: "e", AsOf: &AsOf{Seq: asOf}, Cursor: other.encode()})
	wantError(t, err, InvalidCursor, "cursor")
}

func TestOtherStream(t *testing.T) {
	f := newFake()
	f.add(user("x", "e", "a"), user("y", "e", "a"))
	l := newTestLister(f)
	_, p := page(t, l, Request{PageSize: 1, Stream: "s1"})
	f.stream = "s2"
	where, err := pageError(t, l, Request{PageSize: 1, Cursor: p.Cursor})
	wantError(t, err, StreamChanged, "")
	if where.Stream != "s2" || where.Seq != 1 {
		t.Fatalf("the error is of %+v", where)
	}
	_, err = pageError(t, l, Request{Stream: "s1"})
	wantError(t, err, StreamChanged, "")
	page(t, l, Request{Stream: "s2"})
	f.stream = ""
	_, err = pageError(t, l, Request{})
	wantError(t, err, NotReady, "")
}

// An index that is undone while it is read answers with neither its old rows nor its
// new ones.
func TestUndoneWhileRead(t *testing.T) {
	for name, during := range map[string]func(*fakeIndex) error{
		"the read fails":           func(*fakeIndex) error { return fmt.Errorf("fake: %w", listing.ErrReplaced) },
		"the read is of the other": func(f *fakeIndex) error { f.stream = "s2"; return nil },
		"what was read is not there": func(f *fakeIndex) error {
			f.stream = "s2"
			return fmt.Errorf("fake: %w", listing.ErrAhead)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			f.add(user("x", "e", "a"), user("y", "e", "a"))
			l := newTestLister(f)
			f.listing = func(int) error { return during(f) }
			_, err := pageError(t, l, Request{})
			wantError(t, err, StreamChanged, "")
			f.stream = "s1"
			_, _, err = l.Count(t.Context(), fakeTenant, &Request{UsrID: "x"})
			wantError(t, err, StreamChanged, "")
		})
	}
}

func TestPruned(t *testing.T) {
	f := newFake()
	for i := range 5 {
		f.add(user(fmt.Sprint("u", i), "e", "a"))
	}
	l := newTestLister(f)
	old := uint64(3)
	if got, _ := page(t, l, Request{AsOf: &AsOf{Seq: old}}); len(got) != 3 {
		t.Fatalf("%d rows at sequence 3", len(got))
	}
	_, p := page(t, l, Request{PageSize: 1})
	f.floor = 4
	_, err := pageError(t, l, Request{AsOf: &AsOf{Seq: old}})
	wantError(t, err, HistoryPruned, "")
	page(t, l, Request{PageSize: 1, Cursor: p.Cursor}) // at 5, still above
	f.floor = 6
	_, err = pageError(t, l, Request{PageSize: 1, Cursor: p.Cursor})
	wantError(t, err, HistoryPruned, "")
	// The floor may pass while the rows are read.
	f.floor = 0
	f.listing = func(int) error { f.floor = 6; return nil }
	where, err := pageError(t, l, Request{PageSize: 1, Cursor: p.Cursor})
	wantError(t, err, HistoryPruned, "")
	if where.Seq != 5 || where.Stream != "s1" {
		t.Fatalf("the error is of %+v", where)
	}
	f.floor, f.listing = 0, func(int) error { return listing.ErrAhead }
	_, err = pageError(t, l, Request{})
	wantError(t, err, NotReached, "")
}

func TestWaitsForASequence(t *testing.T) {
	three, five := uint64(3), uint64(5)
	sel, err := (&Request{}).selector(fakeTenant, rows.DefaultThresholds)
	if err != nil {
		t.Fatal(err)
	}
	ahead := cursor{stream: "s1", seq: 3, query: queryHash(sel, nil), at: place(events.KindUser, "u0", "e")}
	for name, c := range map[string]struct {
		req  Request
		rows int
		at   uint64
	}{
		"at_least":            {Request{AtLeast: 3}, 3, 3},
		"as_of":               {Request{AsOf: &AsOf{Seq: three}}, 3, 3},
		"a replica's cursor":  {Request{Cursor: ahead.encode()}, 2, 3},
		"as_of and at_least":  {Request{AsOf: &AsOf{Seq: three}, AtLeast: 2}, 3, 3},
		"cursor and at_least": {Request{Cursor: ahead.encode(), AtLeast: 3}, 2, 3},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			f.add(user("u0", "e", "a"))
			f.waiting = make(chan uint64)
			l := newTestLister(f)
			type answer struct {
				rows int
				page Page
				err  error
			}
			answered := make(chan answer, 1)
			go func() {
				var a answer
				a.page, a.err = l.Page(t.Context(), fakeTenant, &c.req, func(rows.Face) { a.rows++ })
				answered <- a
			}()
			if seq := <-f.waiting; seq != 3 {
				t.Fatalf("waits for %d", seq)
			}
			f.add(user("u1", "e", "a"))
			select {
			case a := <-answered:
				t.Fatalf("answered at sequence 2: %+v", a)
			default:
			}
			f.add(user("u2", "e", "a"))
			if a := <-answered; a.err != nil || a.rows != c.rows || a.page.Seq != c.at {
				t.Fatalf("%+v; want %d rows at %d", a, c.rows, c.at)
			}
		})
	}
	t.Run("not when it is there", func(t *testing.T) {
		f := newFake()
		for range 5 {
			f.add(user("u", "e", "a"))
		}
		f.waiting = make(chan uint64) // would block
		for _, req := range []Request{{AtLeast: 5}, {AsOf: &AsOf{Seq: five}}, {AtLeast: 0}} {
			page(t, newTestLister(f), req)
		}
	})
}

func TestWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.add(user("u", "e", "a"))
		l := newTestLister(f)
		began := time.Now()
		where, err := pageError(t, l, Request{AtLeast: 2})
		wantError(t, err, NotReached, "")
		if took := time.Since(began); took != testWait {
			t.Fatalf("waited %v", took)
		}
		if where.Seq != 1 || where.Stream != "s1" {
			t.Fatalf("the error is of %+v", where)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := l.Page(ctx, fakeTenant, &Request{AtLeast: 2}, func(rows.Face) {}); !errors.Is(err, context.Canceled) {
			t.Fatalf("the client is gone: %v", err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.Page(ctx, fakeTenant, &Request{AtLeast: 2}, func(rows.Face) {}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("the caller's time is over: %v", err)
		}
	})
}

func TestStreamReplacedDuringTheWait(t *testing.T) {
	f := newFake()
	f.waiting = make(chan uint64)
	l := newTestLister(f)
	answered := make(chan error, 1)
	go func() {
		_, err := l.Page(t.Context(), fakeTenant, &Request{AtLeast: 1}, func(rows.Face) {})
		answered <- err
	}()
	<-f.waiting
	f.mu.Lock()
	f.stream = "s2"
	f.mu.Unlock()
	f.add(user("u", "e", "a"))
	wantError(t, <-answered, StreamChanged, "")
}

func TestAtLeastAboveTheSnapshot(t *testing.T) {
	f := newFake()
	f.add(user("x", "e", "a"), user("y", "e", "a"))
	l := newTestLister(f)
	_, p := page(t, l, Request{PageSize: 1})
	f.add(user("z", "e", "a"))
	_, err := pageError(t, l, Request{PageSize: 1, Cursor: p.Cursor, AtLeast: 2})
	wantError(t, err, ConflictingFields, "at_least")
	page(t, l, Request{PageSize: 1, Cursor: p.Cursor, AtLeast: 1})
	_, err = pageError(t, l, Request{AsOf: &AsOf{Seq: 1}, AtLeast: 2})
	wantError(t, err, ConflictingFields, "at_least")
}

// A page of large rows ends before its answer takes too much memory, with a
// cursor, and none of its rows is lost.
func TestPageOfLargeRows(t *testing.T) {
	for name, c := range map[string]struct {
		bytes func(i int) int // of row i
		pages []int           // rows of each
	}{
		"in the middle": {func(int) int { return 200 << 10 }, []int{81, 81, 9}},
		"where a read ends": {func(i int) int {
			if i < chunkRows {
				return 32_000
			}
			return maxPageBytes - chunkRows*32_000
		}, []int{chunkRows, 9}},
		"a row that is too large": {func(i int) int {
			if i == 10 {
				return maxPageBytes + 1
			}
			return 10
		}, []int{10, 1, 30}},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			for _, rows := range c.pages {
				n += rows
			}
			f := newFake()
			f.put(func(all map[listing.Position]row) {
				for i := range n {
					w := user(fmt.Sprintf("u%04d", i), "e", "a")
					w.justification = []events.Reason{{Value: []byte(`"` + strings.Repeat("x", c.bytes(i)) + `"`)}}
					all[w.position()] = w
				}
			})
			l := newTestLister(f)
			req := Request{PageSize: 5000}
			var pages []int
			var got []string
			for {
				list, p := page(t, l, req)
				pages, got = append(pages, len(list)), append(got, list...)
				if req.Cursor = p.Cursor; p.Cursor == "" {
					break
				}
			}
			if !slices.Equal(pages, c.pages) {
				t.Errorf("pages of %v rows, want %v", pages, c.pages)
			}
			for i, w := range f.states[1] {
				if i >= len(got) || got[i] != string(w.face().JSON()) {
					t.Fatalf("row %d is missing or wrong", i)
				}
			}
		})
	}
}

func TestPageRefusesABadRequest(t *testing.T) {
	l := newTestLister(newFake())
	_, err := pageError(t, l, Request{UsrID: "u", GrpID: "g"})
	wantError(t, err, ConflictingFields, "grp_id")
	_, err = pageError(t, l, Request{PageSize: 5001})
	wantError(t, err, InvalidField, "pageSize")
	if !strings.Contains(err.Error(), "pageSize") || !strings.Contains(err.Error(), "5000") {
		t.Fatalf("%q does not name the field and the maximum", err)
	}
	_, err = pageError(t, l, Request{Cursor: "nonsense!"})
	wantError(t, err, InvalidCursor, "cursor")
	_, err = pageError(t, l, Request{Cursor: "bm9uc2Vuc2U="})
	wantError(t, err, InvalidCursor, "cursor")
}

func TestLongPageIsReadInChunks(t *testing.T) {
	f := newFake()
	f.put(func(all map[listing.Position]row) {
		for i := range 3 * chunkRows {
			w := user(fmt.Sprintf("u%05d", i), "e", "a")
			all[w.position()] = w
		}
	})
	l := newTestLister(f)
	for _, size := range []int{chunkRows, chunkRows + 1, 2*chunkRows - 1, 3 * chunkRows} {
		f.lists = 0
		got, p := page(t, l, Request{PageSize: size})
		if len(got) != size || (p.Cursor == "") != (size == 3*chunkRows) {
			t.Fatalf("%d rows of %d, cursor %q", len(got), size, p.Cursor)
		}
		if want := (size + chunkRows - 1) / chunkRows; f.lists != want {
			t.Fatalf("%d rows in %d reads, want %d", size, f.lists, want)
		}
	}
}

func TestFaultsOfTheIndex(t *testing.T) {
	f := newFake()
	f.add(user("u", "e", "a"))
	l := newTestLister(f)
	fault := errors.New("disk")
	f.listing = func(int) error { return fault }
	if _, err := pageError(t, l, Request{}); !errors.Is(err, fault) {
		t.Fatalf("%v", err)
	}
	f.listing, f.corrupt = nil, true
	if _, err := pageError(t, l, Request{}); !errors.Is(err, rows.ErrCorrupt) {
		t.Fatalf("%v", err)
	}
}
