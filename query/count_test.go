package query

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
)

func TestParseCount(t *testing.T) {
	for raw, want := range map[string]Request{
		"":                                    {},
		"usr_id=u&app_id=a%2Fb&ent_id=e+f":    {UsrID: "u", AppID: "a/b", EntID: "e f"},
		"grp_id=%E6%97%A5%00&type=GROUP":      {GrpID: "日\x00", Type: "GROUP"},
		"as_of=0&at_least=7":                  {AsOf: &AsOf{Seq: 0}, AtLeast: 7},
		"as_of=2026-01-02T03:04:05.5%2B02:00": {AsOf: &AsOf{Instant: ptr(time.Date(2026, 1, 2, 1, 4, 5, 5e8, time.UTC))}},
		"as_of=18446744073709551615":          {AsOf: &AsOf{Seq: 1<<64 - 1}},
		"usr_id=%ff":                          {UsrID: "\xff"}, // refused where ids are
	} {
		if got, err := ParseCount(raw); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", raw, got, err, want)
		}
	}
	long := strings.Repeat("x", 200)
	for _, c := range []struct {
		raw   string
		code  Code
		field string
	}{
		{"user_id=u", UnknownField, "user_id"},
		{"USR_ID=u", UnknownField, "USR_ID"},
		{"usr_id[]=u", UnknownField, "usr_id[]"},
		{"cursor=x", UnknownField, "cursor"},
		{"pageSize=5", UnknownField, "pageSize"},
		{"level=high", UnknownField, "level"},
		{"nonsense=", UnknownField, "nonsense"}, // what it is comes before how it is given
		{"nonsense&nonsense", UnknownField, "nonsense"},
		{"zzz=1&aaa=1&usr_id=", UnknownField, "aaa"}, // the same one every time
		{long + "=1", UnknownField, long[:maxNameBytes] + "…"},
		{"%ff=1", UnknownField, "\uFFFD"},
		{"=1", UnknownField, ""},
		{"usr_id=", InvalidField, "usr_id"},
		{"usr_id", InvalidField, "usr_id"},
		{"usr_id=u&usr_id=u", InvalidField, "usr_id"},
		{"as_of=1&as_of=2", InvalidField, "as_of"},
		{"as_of=-1", InvalidField, "as_of"},
		{"as_of=%2B1", InvalidField, "as_of"},
		{"as_of=1.0", InvalidField, "as_of"},
		{"as_of=1_0", InvalidField, "as_of"},
		{"as_of=0x1", InvalidField, "as_of"},
		{"as_of=2026-02-30T00:00:00Z", InvalidField, "as_of"},
		{"as_of=2026-01-02T03:04:05", InvalidField, "as_of"},
		{"as_of=2026-01-02T03:04:05+02:00", InvalidField, "as_of"}, // a space in its place
		{"at_least=18446744073709551616", InvalidField, "at_least"},
		{"at_least=", InvalidField, "at_least"},
		{"usr_id=%zz", InvalidField, ""},
		{"usr_id=u;app_id=a", InvalidField, ""},
	} {
		for range 10 {
			_, err := ParseCount(c.raw)
			e, ok := err.(*Error) //nolint:errorlint // refusals are never wrapped
			if !ok || e.Code != c.code || e.Field != c.field || e.Detail == "" {
				t.Fatalf("%s: %v; want %s of %q", c.raw, err, c.code, c.field)
			}
		}
	}
}

func count(t *testing.T, l *Lister, req Request) (rows.Counts, Page) {
	t.Helper()
	counts, p, err := l.Count(t.Context(), fakeTenant, &req)
	if err != nil {
		t.Fatalf("%+v: %v", req, err)
	}
	return counts, p
}

// Whether there is a counter or not, a count is that of the listed rows.
func TestCountIsThatOfTheRows(t *testing.T) {
	f := scoredFake()
	last, _ := f.Applied()
	for _, counters := range []bool{true, false} {
		f.counters = counters
		l := newTestLister(f)
		for _, c := range []struct {
			in      Request
			counter bool // there is one
		}{
			{Request{}, true}, {Request{AppID: "a1"}, true}, {Request{EntID: "e1"}, true}, {Request{Type: "GROUP"}, true}, {Request{Type: "GROUP", EntID: "e1"}, true},
			{Request{Type: "ALL"}, true}, {Request{AppID: "none"}, true}, {Request{AtLeast: last}, true},
			{Request{UsrID: "11"}, false}, {Request{GrpID: "10"}, false}, {Request{UsrID: "11", AppID: "a1"}, false}, {Request{EntID: "e1", AppID: "a1"}, false},
			{Request{UsrID: "nobody"}, false},
			{Request{AsOf: &AsOf{Seq: last}}, false}, {Request{AsOf: &AsOf{Seq: 40}}, false}, {Request{AsOf: &AsOf{Seq: 0}}, false}, {Request{AsOf: &AsOf{Seq: 40}, AppID: "a1"}, false},
			{Request{Level: "high"}, false}, {Request{Scored: ptr(false), AppID: "a1"}, false},
			// What is of no matter.
			{Request{PageSize: 1, Cursor: "x", Include: listing.IncludeUser}, true}, {Request{PageSize: 1, UsrID: "11", Include: listing.IncludeUser}, false},
		} {
			f.lists = 0
			got, p := count(t, l, c.in)
			seq := last
			if c.in.AsOf != nil {
				seq = c.in.AsOf.Seq
			}
			listed := c.in
			listed.PageSize, listed.Cursor, listed.Include = 7, "", 0
			var want rows.Counts
			for {
				next, err := l.Page(t.Context(), fakeTenant, &listed, func(f rows.Face) { want[rows.DefaultThresholds.Of(f)]++ })
				if err != nil {
					t.Fatal(err)
				}
				if listed.Cursor = next.Cursor; next.Cursor == "" {
					break
				}
			}
			if got != want || p.Seq != seq || p.Stream != "s1" || p.Cursor != "" {
				t.Errorf("%+v: %v at %+v, the rows are %v at %d", c.in, got, p, want, seq)
			}
		}
	}
	// A counter that there is, is used.
	f.counters = true
	l := newTestLister(f)
	f.lists = 0
	if count(t, l, Request{AppID: "a1"}); f.lists != 0 {
		t.Error("rows were counted where there is a counter")
	}
}

// Large selections are counted in chunks, up to a limit.
func TestCountIsBounded(t *testing.T) {
	f := newFake()
	f.put(func(all map[listing.Position]row) {
		for i := range countChunk + 500 {
			r := row{kind: events.KindUser, id: fmt.Sprintf("%06d", i), ent: "e", app: "a"}
			if i%100 == 0 {
				r.score = ptr(0.9)
			}
			all[r.position()] = r
		}
	})
	l := newTestLister(f)
	if got, _ := count(t, l, Request{EntID: "e", AppID: "a"}); got != (rows.Counts{rows.Unscored: countChunk + 500 - 105, rows.High: 105}) || f.lists != 2 {
		t.Fatalf("%v in %d chunks", got, f.lists)
	}
	for _, c := range []struct{ most, reads int }{{countChunk + 500, countChunk + 500}, {countChunk + 499, -1}, {countChunk, -1}, {100, -1}, {1, -1}} {
		l := NewLister(f, Options{MaxWait: testWait, Levels: rows.DefaultThresholds, MaxCounted: c.most})
		for _, req := range []Request{{EntID: "e", AppID: "a"}, {EntID: "e", Level: "high"}} {
			f.read = 0
			got, p, err := l.Count(t.Context(), fakeTenant, &req)
			if f.read > c.most {
				t.Errorf("%d rows were read, at most %d may be", f.read, c.most)
			}
			if c.reads < 0 {
				wantError(t, err, TooManyRows, "")
				if p.Seq != 1 || got != (rows.Counts{}) || !strings.Contains(err.Error(), fmt.Sprint(c.most)) {
					t.Errorf("%v, %+v, %v", got, p, err)
				}
			} else if err != nil || f.read != c.reads {
				t.Errorf("%d rows were read, %v", f.read, err)
			}
		}
	}
}

func TestCountErrors(t *testing.T) {
	f := scoredFake()
	l := newTestLister(f)
	fails := func(req Request) (Page, error) {
		t.Helper()
		counts, p, err := l.Count(t.Context(), fakeTenant, &req)
		if err == nil || counts != (rows.Counts{}) {
			t.Fatalf("%+v: %v, %v", req, counts, err)
		}
		return p, err
	}
	for _, c := range []struct {
		in    Request
		code  Code
		field string
	}{
		{Request{UsrID: "u", GrpID: "g"}, ConflictingFields, "grp_id"},
		{Request{UsrID: "\xff"}, InvalidField, "usr_id"},
		{Request{Type: "user"}, InvalidField, "type"},
		{Request{AsOf: &AsOf{Seq: 3}, AtLeast: 4}, ConflictingFields, "at_least"},
		{Request{Stream: "s2"}, StreamChanged, ""},
	} {
		p, err := fails(c.in)
		wantError(t, err, c.code, c.field)
		if p.Seq != 90 || p.Stream != "s1" {
			t.Errorf("%+v: the error is of %+v", c.in, p)
		}
	}
	f.floor = 50
	p, err := fails(Request{AsOf: &AsOf{Seq: 49}})
	wantError(t, err, HistoryPruned, "")
	if p.Seq != 90 {
		t.Errorf("the error is of %+v", p)
	}
	count(t, l, Request{AsOf: &AsOf{Seq: 50}})
	// The floor moves while it is counted.
	f.listing = func(int) error { return fmt.Errorf("fake: %w", listing.ErrPruned) }
	_, err = fails(Request{UsrID: "11"})
	wantError(t, err, HistoryPruned, "")
	f.listing = func(int) error { return errors.New("disk") }
	if p, err = fails(Request{UsrID: "11"}); err.Error() != "disk" || p.Seq != 90 {
		t.Errorf("%+v, %v", p, err)
	}
	// A fault of the counters is not hidden by counting, and its place is that of the index.
	f.listing, f.counters, f.counting = nil, true, errors.New("corrupt")
	if p, err = fails(Request{}); err.Error() != "corrupt" || p.Seq != 90 || p.Stream != "s1" {
		t.Errorf("%+v, %v", p, err)
	}
	f.stream = ""
	_, err = fails(Request{})
	wantError(t, err, NotReady, "")
}

func TestCountWaits(t *testing.T) {
	for _, counters := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.counters = counters
			f.add(user("a", "e", "a"))
			l := newTestLister(f)
			go func() {
				synctest.Wait()
				f.add(user("b", "e", "a"))
			}()
			if got, p := count(t, l, Request{AtLeast: 2}); got.Total() != 2 || p.Seq != 2 {
				t.Errorf("%v at %+v", got, p)
			}
			_, p, err := l.Count(t.Context(), fakeTenant, &Request{AtLeast: 3})
			wantError(t, err, NotReached, "")
			if p.Seq != 2 {
				t.Errorf("the error is of %+v", p)
			}
			_, _, err = l.Count(t.Context(), fakeTenant, &Request{AsOf: &AsOf{Seq: 9}})
			wantError(t, err, NotReached, "")
			gone, leave := context.WithCancel(t.Context())
			leave()
			if _, _, err = l.Count(gone, fakeTenant, &Request{AtLeast: 3}); !errors.Is(err, context.Canceled) {
				t.Errorf("a client that left: %v", err)
			}
			if _, _, err = l.Count(gone, fakeTenant, &Request{UsrID: "a"}); !errors.Is(err, context.Canceled) {
				t.Errorf("a client that left: %v", err)
			}
		})
	}
}

// moving is an index that applies an event whenever it is about to be counted.
type moving struct{ *fakeIndex }

func (m moving) Counts(sel listing.Selector) (rows.Counts, uint64, bool, error) {
	seq, _ := m.Applied()
	m.add(user(fmt.Sprint("u", seq), "e", "a"))
	return m.fakeIndex.Counts(sel)
}

func (m moving) List(ctx context.Context, seq uint64, sel listing.Selector, after *listing.Position, limit int, visit func(rows.Face)) (listing.Page, error) {
	if sel.Include != 0 {
		return listing.Page{}, errors.New("details are resolved to be counted")
	}
	return m.fakeIndex.List(ctx, seq, sel, after, limit, visit)
}

// Counters are answered with the sequence that they were read at, rows with the
// one that they were asked for at.
func TestCountSaysWhereItIsTrue(t *testing.T) {
	f := newFake()
	f.counters = true
	f.add(user("a", "e", "a"))
	l := NewLister(moving{f}, Options{MaxWait: testWait, Levels: rows.DefaultThresholds})
	if got, p := count(t, l, Request{AtLeast: 1}); got.Total() != 2 || p.Seq != 2 {
		t.Errorf("%v at %d", got, p.Seq)
	}
	if got, p := count(t, l, Request{UsrID: "a", Include: listing.IncludeUser}); got.Total() != 1 || p.Seq != 2 {
		t.Errorf("%v at %d", got, p.Seq)
	}
}
