package store_test

import (
	"math"
	"slices"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
)

// bounds are scores at, just below and just above those that occur.
var bounds = []float64{
	0, 1e-7, 0.35, math.Nextafter(0.35, 0), math.Nextafter(0.35, 1), 0.6, 0.75, math.Nextafter(0.75, 0), math.Nextafter(0.75, 1), 0.98, 1,
}

// scores lists random selections with random tests of scores, in small pages and
// with small budgets.
func (v *verifier) scores(t *testing.T, view *store.View, m *modeltest.Model) {
	t.Helper()
	for _, tenant := range modeltest.Tenants {
		all := m.Rows(tenant)
		for i := range 24 {
			sel, filter := v.selection(tenant)
			if i%3 == 0 {
				sel, filter = listing.Selector{Tenant: tenant, Kinds: events.Kinds}, modeltest.Filter{}
			}
			scores, name, passes := v.scoreTest()
			sel.Scores = scores
			sel.Budget = []int{0, 1, 2, 3, 7, 50}[v.rng.IntN(6)]
			var want []string
			selected := 0
			for _, r := range all {
				if !filter.Picks(r) {
					continue
				}
				selected++
				if passes(r.Score) {
					want = append(want, r.JSON)
				}
			}
			size := 1 + v.rng.IntN(8)
			if got := v.budgetedPages(t, view, sel, size, selected); !slices.Equal(got, want) {
				t.Fatalf("at %d: %s %+v, %s, budget %d, in pages of %d:\n got %q\nwant %q", view.Seq(), tenant, filter, name, sel.Budget, size, got, want)
			}
		}
	}
}

// scoreTest draws a test, and says on its own what passes it.
func (v *verifier) scoreTest() (s *listing.Scores, name string, passes func(*float64) bool) {
	a, b := bounds[v.rng.IntN(len(bounds))], bounds[v.rng.IntN(len(bounds))]
	switch v.rng.IntN(7) {
	case 0:
		return &listing.Scores{Unscored: true}, "unscored", func(s *float64) bool { return s == nil }
	case 1:
		return &listing.Scores{}, "scored", func(s *float64) bool { return s != nil }
	case 2:
		return &listing.Scores{Least: &a}, "at least", func(s *float64) bool { return s != nil && *s >= a }
	case 3:
		return &listing.Scores{Most: &a}, "at most", func(s *float64) bool { return s != nil && *s <= a }
	case 4:
		return &listing.Scores{Least: &a, Most: &b}, "between", func(s *float64) bool { return s != nil && *s >= a && *s <= b }
	case 5:
		return &listing.Scores{Below: &a}, "below", func(s *float64) bool { return s != nil && *s < a }
	default:
		return &listing.Scores{Least: &a, Below: &b}, "from up to below", func(s *float64) bool { return s != nil && *s >= a && *s < b }
	}
}

// budgetedPages lists a selection of which so many rows are there before the test,
// and holds every page to its budget.
func (v *verifier) budgetedPages(t *testing.T, view *store.View, sel listing.Selector, size, selected int) []string {
	t.Helper()
	var all []string
	var after *listing.Position
	for read := 0; ; {
		before := len(all)
		page, err := listing.List(t.Context(), view, sel, after, size, func(f rows.Face) { all = append(all, string(f.JSON())) })
		if err != nil {
			t.Fatalf("list %+v after %+v: %v", sel, after, err)
		}
		budget := sel.Budget
		if budget == 0 {
			budget = listing.DefaultBudget
		}
		got := len(all) - before
		switch {
		case got != page.Rows || got > size || page.Read < got || page.Read > budget:
			t.Fatalf("list %+v after %+v: %d rows were visited in a page of %d that says %+v", sel, after, got, size, page)
		case page.Spent && (page.Read != budget || !page.More):
			t.Fatalf("list %+v after %+v: spent with %+v", sel, after, page)
		case page.More && !page.Spent && got != size:
			t.Fatalf("list %+v after %+v: a page of %d with %d rows, not spent: %+v", sel, after, size, got, page)
		}
		if read += page.Read; page.More != (read < selected) {
			t.Fatalf("list %+v after %+v: %+v after %d of %d rows", sel, after, page, read, selected)
		}
		if !page.More {
			return all
		}
		if !sel.Contains(page.Last) {
			t.Fatalf("list %+v ended at %+v, outside", sel, page.Last)
		}
		after = &page.Last
	}
}
