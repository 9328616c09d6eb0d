package listing

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

// kill takes the rows of identities out, and leaves their keys.
func (m *memory) kill(dead map[Position]bool) {
	for i, p := range m.pairs {
		if _, r, err := keys.ParseRow(p.key); err == nil && dead[Position{Assignee: r.Assignee, EntID: r.EntID}] {
			m.pairs[i].value = nil
		}
	}
}

// With deleted rows between, every selection in pages of any size and with any
// budget of them gives the rows that there are, in order. A page passes over no
// more than its budget, and each gets on.
func TestPassedRowsAreBounded(t *testing.T) {
	m, all := company()
	rng := rand.New(rand.NewPCG(5, 5))
	dead := map[Position]bool{}
	for _, r := range all {
		if rng.IntN(4) > 0 {
			dead[Position{Assignee: r.Assignee, EntID: r.EntID}] = true
		}
	}
	m.kill(dead)
	for _, sel := range selectors() {
		var want []string
		for _, r := range all {
			if picks(sel, r) && !dead[Position{Assignee: r.Assignee, EntID: r.EntID}] {
				want = append(want, face(r))
			}
		}
		for _, sel.MaxPassed = range []int{1, 2, 5, 0} {
			for _, size := range []int{1, 3, 1000} {
				var got []string
				var after *Position
				for {
					m.read = 0
					before := len(got)
					page, err := List(t.Context(), m, sel, after, size, func(f rows.Face) { got = append(got, string(f.JSON())) })
					if err != nil {
						t.Fatal(err)
					}
					n := len(got) - before
					if n != page.Rows || sel.MaxPassed > 0 && page.Passed > sel.MaxPassed || m.read > page.Read+page.Passed+1 {
						t.Fatalf("%+v: %d rows, %d keys were read, %+v", sel, n, m.read, page)
					}
					if page.More && n < size && !page.Spent {
						t.Fatalf("%+v: %+v is short for no reason", sel, page)
					}
					if !page.More {
						break
					}
					if after != nil && compare(*after, page.Last) >= 0 {
						t.Fatalf("%+v: from %+v to %+v", sel, *after, page.Last)
					}
					after = &page.Last
				}
				if !slices.Equal(got, want) {
					t.Fatalf("%+v in pages of %d:\n got %q\nwant %q", sel, size, got, want)
				}
			}
		}
	}
}

// What was passed over behind the last row of a page is not passed over again.
func TestPageEndsBehindDeletedRows(t *testing.T) {
	m := &memory{}
	for _, id := range []string{"a", "b", "c", "d"} {
		m.put(keys.Row{Tenant: "t", Assignee: user(id), EntID: "e"})
	}
	m.kill(map[Position]bool{{Assignee: user("b"), EntID: "e"}: true, {Assignee: user("c"), EntID: "e"}: true})
	sel := Selector{Tenant: "t", Kinds: []events.Kind{events.KindUser}}
	page, err := List(t.Context(), m, sel, nil, 1, func(rows.Face) {})
	if err != nil || !page.More || page.Spent || page.Last != (Position{Assignee: user("c"), EntID: "e"}) {
		t.Fatalf("%+v, %v", page, err)
	}
}

// A context ends a listing that finds no row at all.
func TestPassedRowsEndWithTheContext(t *testing.T) {
	m, all := company()
	dead := map[Position]bool{}
	for _, r := range all {
		dead[Position{Assignee: r.Assignee, EntID: r.EntID}] = true
	}
	m.kill(dead)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	many := passing{m, ctxEvery}
	if _, err := List(ctx, many, Selector{Tenant: "t", Kinds: events.Kinds}, nil, 1, func(rows.Face) {}); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
}

// passing is a source of keys with many versions.
type passing struct {
	*memory
	versions int
}

func (p passing) Walk(prefix, from []byte, visit func(key, value []byte, passed int) bool) error {
	return p.memory.Walk(prefix, from, func(key, value []byte, _ int) bool { return visit(key, value, p.versions) })
}
