package query

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
)

// withDeleted makes an index of n places, of which every keepth holds a row and the
// others one that is no more.
func withDeleted(n, keep int) *fakeIndex {
	f := newFake()
	f.put(func(all map[listing.Position]row) {
		for i := range n {
			r := user(fmt.Sprintf("%05d", i), "e", "a")
			if i%keep == keep-1 {
				all[r.position()] = r
			} else {
				f.dead = append(f.dead, r.position())
			}
		}
	})
	return f
}

// allPages gives the rows of all pages, and how many pages there were, and empty
// ones.
func allPages(t *testing.T, l *Lister, size int) (got []string, pages, empty int) {
	t.Helper()
	for req := (Request{PageSize: size}); ; pages++ {
		list, p := page(t, l, req)
		got = append(got, list...)
		if len(list) == 0 {
			empty++
		}
		if p.Cursor == "" {
			return got, pages + 1, empty
		}
		req.Cursor = p.Cursor
	}
}

// A page ends with a cursor when it has passed over as many deleted rows as it may,
// short or empty, and the listing goes on behind them.
func TestDeletedRowsEndAPage(t *testing.T) {
	const n, keep = 2000, 500
	f := withDeleted(n, keep)
	for _, most := range []int{1, 7, keep - 1, keep, n} {
		for _, size := range []int{1, 3, 5000} {
			l := NewLister(f, Options{MaxPageSize: 5000, Levels: rows.DefaultThresholds, MaxPassed: most})
			got, pages, empty := allPages(t, l, size)
			if len(got) != n/keep || !slices.IsSorted(got) || len(slices.Compact(got)) != n/keep {
				t.Fatalf("%d a page, in pages of %d: %q", most, size, got)
			}
			if least := (n - n/keep) / most; pages < least || most < keep-1 && empty == 0 {
				t.Fatalf("%d a page, in pages of %d: %d pages, %d of them empty", most, size, pages, empty)
			}
		}
	}
}

// The budget is that of the page, not of each look at its size, and a page that
// large rows end still ends behind a row.
func TestDeletedRowsAmongLargeRows(t *testing.T) {
	f := withDeleted(120, 10)
	f.put(func(all map[listing.Position]row) {
		for at, r := range all {
			r.justification = []events.Reason{{ID: strings.Repeat("x", 2<<20), Value: []byte("null")}}
			all[at] = r
		}
	})
	for _, most := range []int{5, 60, 100, 1000} {
		l := NewLister(f, Options{MaxPageSize: 5000, Levels: rows.DefaultThresholds, MaxPassed: most})
		if got, _, _ := allPages(t, l, 5000); len(got) != 12 || len(slices.Compact(got)) != 12 {
			t.Fatalf("%d a page: %d rows", most, len(got))
		}
	}
}

// A count goes on past deleted rows, as far as it may read.
func TestCountPassesDeletedRows(t *testing.T) {
	f := withDeleted(2000, 500)
	l := NewLister(f, Options{MaxPageSize: 10, Levels: rows.DefaultThresholds, MaxPassed: 7, MaxCounted: 2001})
	if counts, _ := count(t, l, Request{}); counts[rows.Unscored] != 4 {
		t.Fatalf("%v", counts)
	}
	l = NewLister(f, Options{MaxPageSize: 10, Levels: rows.DefaultThresholds, MaxPassed: 7, MaxCounted: 1000})
	_, _, err := l.Count(t.Context(), fakeTenant, &Request{})
	wantError(t, err, TooManyRows, "")
}
