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

	"github.com/assigndex/assigndex/indexer/rows"
)

func TestParseAsOf(t *testing.T) {
	instant := func(t time.Time) *AsOf { return &AsOf{Instant: &t} }
	for text, want := range map[string]*AsOf{
		`null`: nil,
		`7`:    {Seq: 7}, `"7"`: {Seq: 7}, `"0010"`: {Seq: 10}, `18446744073709551615`: {Seq: 1<<64 - 1},
		`"2026-01-31T12:00:00Z"`:                instant(time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)),
		`"2026-01-31T12:00:00.123456789+02:00"`: instant(time.Date(2026, 1, 31, 10, 0, 0, 123_456_789, time.UTC)),
		`"2026-01-31T12:00:00.5-05:30"`:         instant(time.Date(2026, 1, 31, 17, 30, 0, 5e8, time.UTC)),
		`"2024-02-29T00:00:00Z"`:                instant(time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC)),
		`"0001-01-01T00:00:00Z"`:                instant(time.Time{}),
		`"9999-12-31T23:59:59Z"`:                instant(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)),
	} {
		r, err := ParseRequest([]byte(`{"as_of":`+text+`}`), 10)
		if err != nil || !reflect.DeepEqual(r.AsOf, want) {
			t.Errorf("%s: %+v, %v", text, r.AsOf, err)
		}
	}
	for _, text := range []string{
		`""`, `" "`, `"T"`, `"now"`, `-1`, `1.5`, `1e3`, `"1e3"`, `true`, `[]`, `{}`, `"-1"`, `"+1"`, `18446744073709551616`,
		`"2026-02-30"`, `"2026-01-31"`, `"2026-02-30T00:00:00Z"`, `"2026-02-29T00:00:00Z"`, `"2026-13-01T00:00:00Z"`, `"2026-01-31T12:00:00"`,
		`"2026-01-31T12:00Z"`, `"2026-01-31T1:00:00Z"`, `"2026-01-31T24:00:00Z"`, `"2026-01-31T12:00:00,5Z"`, `"2026-01-31T12:00:00+25:00"`,
		`"2026-01-31T12:00:00+0200"`, `"2026-01-31 12:00:00Z"`, `"2026-01-31t12:00:00z"`, `"2026-01-31T12:00:00Z "`, `"2026-01-31T12:00:00.Z"`,
	} {
		_, err := ParseRequest([]byte(`{"as_of":`+text+`}`), 10)
		wantError(t, err, InvalidField, "as_of")
		if rule := err.Error(); !strings.Contains(rule, "RFC 3339") || !strings.Contains(rule, "sequence") {
			t.Errorf("%s: %q does not say what is allowed", text, rule)
		}
	}
}

// An instant reads what its sequence reads, on every page, also when more is
// applied meanwhile.
func TestInstant(t *testing.T) {
	f := newFake()
	for i := range 9 {
		f.add(user(fmt.Sprint("u", i), "e", "a"))
	}
	l := newTestLister(f)
	for seq := 1; seq <= 9; seq++ {
		for _, add := range []time.Duration{0, time.Second - 1} {
			instant := stamp(seq).Add(add)
			req := Request{AsOf: &AsOf{Instant: &instant}, PageSize: 3}
			n := 0
			for {
				got, p := page(t, l, req)
				if n += len(got); p.Seq != uint64(seq) {
					t.Fatalf("%s is read at %d, want %d", instant, p.Seq, seq)
				}
				if p.Cursor == "" {
					break
				}
				f.add(user(fmt.Sprint("v", time.Now().UnixNano()), "e", "a")) // an instant after the last message is another sequence now
				elsewhere := instant.In(time.FixedZone("", 3600))
				req.AsOf, req.Cursor = &AsOf{Instant: &elsewhere}, p.Cursor
			}
			if n != seq {
				t.Errorf("%s: %d rows, want %d", instant, n, seq)
			}
			counts, p, err := l.Count(t.Context(), fakeTenant, &Request{AsOf: &AsOf{Instant: &instant}})
			if now, _ := f.Applied(); err != nil || uint64(seq) < now && (int(counts.Total()) != seq || p.Seq != uint64(seq)) {
				t.Errorf("%s: counts %v of %d, %v", instant, counts, p.Seq, err)
			}
		}
	}
	f.floor = 5
	early, floor := stamp(5).Add(-1), stamp(5)
	_, err := pageError(t, l, Request{AsOf: &AsOf{Instant: &early}})
	wantError(t, err, HistoryPruned, "")
	page(t, l, Request{AsOf: &AsOf{Instant: &floor}, AtLeast: 5})
	_, err = pageError(t, l, Request{AsOf: &AsOf{Instant: &floor}, AtLeast: 6})
	wantError(t, err, ConflictingFields, "at_least")
}

// After the last message the index must know that it has caught up.
func TestInstantAfterTheLastMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.add(user("u", "e", "a"))
		f.behind = true
		l := newTestLister(f)
		last := stamp(1)
		req := Request{AsOf: &AsOf{Instant: &last}}
		began := time.Now()
		where, err := pageError(t, l, req)
		wantError(t, err, NotReached, "")
		if took := time.Since(began); took != testWait || where.Seq != 1 {
			t.Fatalf("waited %v, the error is of %+v", took, where)
		}
		_, _, err = l.Count(t.Context(), fakeTenant, &req)
		wantError(t, err, NotReached, "")
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := l.Page(ctx, fakeTenant, &req, func(rows.Face) {}); !errors.Is(err, context.Canceled) {
			t.Fatalf("the client is gone: %v", err)
		}
		// at_least is waited for first, by the same clock.
		req.AtLeast = 2
		began = time.Now()
		time.AfterFunc(testWait/2, func() { f.add(user("v", "e", "a")) })
		future := stamp(9)
		req.AsOf.Instant = &future
		_, err = pageError(t, l, req)
		wantError(t, err, NotReached, "")
		if took := time.Since(began); took != testWait {
			t.Fatalf("waited %v", took)
		}
		f.behind = false
		if got, p := page(t, l, req); len(got) != 2 || p.Seq != 2 {
			t.Fatalf("%d rows at %d", len(got), p.Seq)
		}
	})
}
