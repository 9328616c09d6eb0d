package query

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
)

// scoreRequests are all that can be asked of scores, with thresholds of 0.75 and
// 0.35, and what passes.
var scoreRequests = []struct {
	name   string
	in     Request
	passes func(*float64) bool
}{
	{"any", Request{}, func(*float64) bool { return true }},
	{"scored", Request{Scored: ptr(true)}, func(s *float64) bool { return s != nil }},
	{"unscored", Request{Scored: ptr(false)}, func(s *float64) bool { return s == nil }},
	{"at least 0", Request{MinScore: ptr(0.0)}, func(s *float64) bool { return s != nil }},
	{"at least", Request{MinScore: ptr(0.35)}, func(s *float64) bool { return s != nil && *s >= 0.35 }},
	{"at most", Request{MaxScore: ptr(0.35)}, func(s *float64) bool { return s != nil && *s <= 0.35 }},
	{"between", Request{MinScore: ptr(0.35), MaxScore: ptr(0.75), Scored: ptr(true)}, func(s *float64) bool { return s != nil && *s >= 0.35 && *s <= 0.75 }},
	{"exactly", Request{MinScore: ptr(0.75), MaxScore: ptr(0.75)}, func(s *float64) bool { return s != nil && *s == 0.75 }},
	{"high", Request{Level: "high"}, func(s *float64) bool { return s != nil && *s >= 0.75 }},
	{"medium", Request{Level: "medium"}, func(s *float64) bool { return s != nil && *s >= 0.35 && *s < 0.75 }},
	{"low", Request{Level: "low", Scored: ptr(true)}, func(s *float64) bool { return s != nil && *s < 0.35 }},
}

// scoredFake has rows with scores at the thresholds, next to them and far off.
func scoredFake() *fakeIndex {
	f := newFake()
	scores := []*float64{nil, ptr(0.0), ptr(0.1), ptr(math.Nextafter(0.35, 0)), ptr(0.35), ptr(0.5), ptr(math.Nextafter(0.75, 0)), ptr(0.75), ptr(1.0)}
	for i := range 90 {
		kind := events.KindUser
		if i%10 == 0 {
			kind = events.KindGroup
		}
		f.add(row{kind: kind, id: fmt.Sprintf("%02d", i), ent: "e" + fmt.Sprint(i%3), app: "a" + fmt.Sprint(i%2), score: scores[i%len(scores)]})
	}
	return f
}

// Every test of scores lists exactly the rows that pass, whatever the page size and
// the budget; no page reads more than its budget.
func TestScoreFilters(t *testing.T) {
	f := scoredFake()
	for _, budget := range []int{1, 2, 7, 30, 0} {
		l := NewLister(f, Options{MaxPageSize: 5000, MaxWait: testWait, Levels: rows.DefaultThresholds, Budget: budget})
		for _, c := range scoreRequests {
			for _, size := range []int{1, 3, 1000} {
				for _, ent := range []string{"", "e1"} {
					var want, got []string
					for _, r := range f.states[len(f.states)-1] {
						if r.kind == events.KindUser && c.passes(r.score) && (ent == "" || ent == r.ent) {
							want = append(want, string(r.face().JSON()))
						}
					}
					req := c.in
					req.PageSize, req.EntID = size, ent
					for pages := 1; ; pages++ {
						f.read = 0
						list, p := page(t, l, req)
						got = append(got, list...)
						if len(list) > size || (budget > 0 && c.name != "any" && f.read > budget) || pages > 200 {
							t.Fatalf("%s, budget %d: page %d has %d rows of %d for %d read", c.name, budget, pages, len(list), size, f.read)
						}
						if p.Cursor == "" {
							break
						}
						req.Cursor = p.Cursor
					}
					if !slices.Equal(got, want) {
						t.Fatalf("%s of %q, budget %d, pages of %d:\n got %q\nwant %q", c.name, ent, budget, size, got, want)
					}
				}
			}
		}
	}
}

// The budget is that of the page, not of each look at its size.
func TestBudgetIsOfThePage(t *testing.T) {
	f := newFake()
	f.put(func(all map[listing.Position]row) {
		for i := range 3 * chunkRows {
			r := user(fmt.Sprintf("%05d", i), "e", "a")
			if i%2 == 0 {
				r.score = ptr(1.0)
			}
			all[r.position()] = r
		}
	})
	l := NewLister(f, Options{MaxPageSize: 5000, Levels: rows.DefaultThresholds, Budget: 2*chunkRows + 100})
	list, p := page(t, l, Request{PageSize: 5000, Scored: ptr(true)})
	if f.read != 2*chunkRows+100 || len(list) != chunkRows+50 || p.Cursor == "" {
		t.Fatalf("%d rows for %d read, cursor %q", len(list), f.read, p.Cursor)
	}
	rest, p := page(t, l, Request{PageSize: 5000, Scored: ptr(true), Cursor: p.Cursor})
	if len(list)+len(rest) != 3*chunkRows/2 || p.Cursor != "" {
		t.Fatalf("%d and %d rows, cursor %q", len(list), len(rest), p.Cursor)
	}
	// Exactly spent with the last row of the listing.
	l.opts.Budget = 3 * chunkRows
	if list, p := page(t, l, Request{PageSize: 5000, Scored: ptr(true)}); len(list) != 3*chunkRows/2 || p.Cursor != "" {
		t.Fatalf("%d rows, cursor %q", len(list), p.Cursor)
	}
	// Large rows end a page before the budget does.
	f.put(func(all map[listing.Position]row) {
		for i := range 20 {
			r := user(fmt.Sprintf("%05d", i), "e", "a")
			r.justification = []events.Reason{{ID: strings.Repeat("x", 2<<20), Value: []byte("null")}}
			r.score = ptr(1.0)
			all[r.position()] = r
		}
	})
	var got []string
	req := Request{PageSize: 5000, Scored: ptr(true), MinScore: ptr(0.5)}
	for {
		list, p := page(t, l, req)
		for _, r := range list {
			got = append(got, fmt.Sprint(len(r)))
		}
		if req.Cursor = p.Cursor; p.Cursor == "" {
			break
		}
	}
	if len(got) != 3*chunkRows/2+10 {
		t.Fatalf("%d rows", len(got))
	}
}

func TestCursorIsBoundToItsScores(t *testing.T) {
	l := newTestLister(scoredFake())
	queries := make([]Request, 0, len(scoreRequests)+3)
	for _, c := range scoreRequests {
		queries = append(queries, c.in)
	}
	queries = append(queries, Request{MinScore: ptr(0.1)}, Request{MaxScore: ptr(0.1)}, Request{MinScore: ptr(0.1), MaxScore: ptr(0.1)})
	for i, from := range queries {
		from.PageSize = 1
		_, p := page(t, l, from)
		if p.Cursor == "" {
			t.Fatalf("%+v has one page", from)
		}
		for j, to := range queries {
			to.Cursor = p.Cursor
			if i == j {
				to.PageSize, to.Include = 2, listing.IncludeType // which belong to the page
				page(t, l, to)
				continue
			}
			_, err := pageError(t, l, to)
			wantError(t, err, CursorMismatch, "cursor")
		}
	}
	// Other thresholds make another query of a level.
	_, p := page(t, l, Request{PageSize: 1, Level: "high"})
	l.opts.Levels = rows.Thresholds{High: 0.9, Medium: 0.35}
	_, err := pageError(t, l, Request{PageSize: 1, Level: "high", Cursor: p.Cursor})
	wantError(t, err, CursorMismatch, "cursor")
}

func TestScoresThatContradict(t *testing.T) {
	for _, c := range []struct {
		in    Request
		code  Code
		field string
	}{
		{Request{MinScore: ptr(0.5), MaxScore: ptr(0.4)}, ConflictingFields, "min_score"},
		{Request{MinScore: ptr(0.5), Level: "high"}, ConflictingFields, "level"},
		{Request{MaxScore: ptr(0.5), Level: "high"}, ConflictingFields, "level"},
		{Request{MinScore: ptr(0.5), Scored: ptr(false)}, ConflictingFields, "scored"},
		{Request{MaxScore: ptr(0.5), Scored: ptr(false)}, ConflictingFields, "scored"},
		{Request{Level: "low", Scored: ptr(false)}, ConflictingFields, "scored"},
		{Request{Level: "High"}, InvalidField, "level"},
		{Request{Level: "unscored"}, InvalidField, "level"},
	} {
		_, err := c.in.selector("t", rows.DefaultThresholds)
		wantError(t, err, c.code, c.field)
	}
}

// A level holds exactly the scores that the statistics count under its name.
func TestLevelsAgreeWithTheStatistics(t *testing.T) {
	for _, levels := range []rows.Thresholds{rows.DefaultThresholds, {High: 1, Medium: 0}, {High: 0.5, Medium: 0.5}, {High: 0, Medium: 0}, {High: 1, Medium: 1}} {
		for _, score := range []float64{0, 5e-324, 0.35, 0.5, math.Nextafter(0.5, 0), math.Nextafter(0.5, 1), 0.75, math.Nextafter(1, 0), 1} {
			face := rows.MakeFace(&events.Assignment{Assignee: events.Assignee{Kind: events.KindUser, ID: "u"}, EntID: "e", Score: &score})
			for name, level := range map[string]rows.Level{"low": rows.Low, "medium": rows.Medium, "high": rows.High} {
				sel, err := (&Request{Level: name}).selector("t", levels)
				if err != nil {
					t.Fatal(err)
				}
				if got := sel.Scores.Pass(face); got != (levels.Of(face) == level) {
					t.Errorf("%+v: a score of %v is %s: %v", levels, score, name, got)
				}
			}
		}
	}
}
