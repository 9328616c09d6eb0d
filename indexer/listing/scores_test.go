package listing

import (
	"fmt"
	"slices"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

// putScore lists a row with a score; nil: without.
func (m *memory) putScore(r keys.Row, score *float64) {
	row := rows.Row{Face: rows.MakeFace(&events.Assignment{Assignee: r.Assignee, EntID: r.EntID, Score: score})}
	m.pairs = append(m.pairs, pair{r.Make(keys.ByAssignee), row.Encode()})
}

func TestScoresPass(t *testing.T) {
	p := func(f float64) *float64 { return &f }
	face := func(score *float64) rows.Face {
		return rows.MakeFace(&events.Assignment{Assignee: user("u"), EntID: "e", Score: score})
	}
	for _, c := range []struct {
		test Scores
		pass []*float64
		drop []*float64
	}{
		{Scores{}, []*float64{p(0), p(1)}, []*float64{nil}},
		{Scores{Unscored: true}, []*float64{nil}, []*float64{p(0), p(1)}},
		{Scores{Least: p(0.5)}, []*float64{p(0.5), p(1)}, []*float64{nil, p(0.4999999999999999)}},
		{Scores{Most: p(0.5)}, []*float64{p(0), p(0.5)}, []*float64{nil, p(0.5000000000000001)}},
		{Scores{Below: p(0.5)}, []*float64{p(0), p(0.49999999999999994)}, []*float64{nil, p(0.5)}},
		{Scores{Least: p(0), Most: p(0)}, []*float64{p(0)}, []*float64{nil, p(5e-324)}},
		{Scores{Least: p(0.5), Below: p(0.5)}, nil, []*float64{nil, p(0), p(0.5), p(1)}},
	} {
		for want, scores := range map[bool][]*float64{true: c.pass, false: c.drop} {
			for _, s := range scores {
				if got := c.test.Pass(face(s)); got != want {
					t.Errorf("%+v: %s passes: %v", c.test, face(s).JSON(), got)
				}
			}
		}
	}
}

// A test that few rows pass reads no more than its budget and the row after it,
// over the border between kinds too, and goes on where it ended.
func TestBudget(t *testing.T) {
	m := &memory{}
	rare := 0.9
	var want []string
	for i := range 1000 {
		r := keys.Row{Tenant: "t", Assignee: user(fmt.Sprintf("%04d", i)), EntID: "e"}
		if i >= 600 {
			r.Assignee.Kind = events.KindGroup
		}
		if i%97 != 96 {
			m.putScore(r, nil)
			continue
		}
		m.putScore(r, &rare)
		want = append(want, string(rows.MakeFace(&events.Assignment{Assignee: r.Assignee, EntID: r.EntID, Score: &rare}).JSON()))
	}
	for _, budget := range []int{1, 2, 96, 97, 98, 100, 600, 601, 999, 1000, 1001, 0} {
		for _, size := range []int{1, 2, 1000} {
			sel := Selector{Tenant: "t", Kinds: events.Kinds, Scores: &Scores{}, Budget: budget}
			var got []string
			var after *Position
			for spent := 0; ; {
				m.read = 0
				before := len(got)
				page, err := List(t.Context(), m, sel, after, size, func(f rows.Face) { got = append(got, string(f.JSON())) })
				if err != nil {
					t.Fatal(err)
				}
				if page.Rows != len(got)-before || page.Rows > size || m.read > page.Read+1 || !page.More && m.read != page.Read {
					t.Fatalf("budget %d, pages of %d: %d rows for %d read, %+v", budget, size, len(got)-before, m.read, page)
				}
				if (budget > 0 && page.Read > budget) || page.Spent && page.Read != budget || page.More && !page.Spent && page.Rows < size {
					t.Fatalf("budget %d, pages of %d: %+v", budget, size, page)
				}
				if page.Spent {
					spent++
				}
				if !page.More {
					if size == 1000 && budget > 0 && spent != (1000-1)/budget {
						t.Fatalf("budget %d was spent %d times on 1000 rows", budget, spent)
					}
					break
				}
				after = &page.Last
			}
			if !slices.Equal(got, want) {
				t.Fatalf("budget %d, pages of %d:\n got %q\nwant %q", budget, size, got, want)
			}
		}
	}
	// A selection without a test has no budget.
	page, err := List(t.Context(), m, Selector{Tenant: "t", Kinds: events.Kinds, Budget: 1}, nil, 500, func(rows.Face) {})
	if err != nil || page.Rows != 500 || page.Spent {
		t.Fatalf("%+v, %v", page, err)
	}
}
