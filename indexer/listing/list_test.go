package listing

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

// memory is a Source of sorted pairs that counts what is read from it.
type memory struct {
	pairs []pair
	read  int
	err   error
}

type pair struct{ key, value []byte }

func (m *memory) Walk(prefix, from []byte, visit func(key, value []byte, passed int) bool) error {
	if m.err != nil {
		return m.err
	}
	for _, p := range m.pairs {
		if bytes.HasPrefix(p.key, prefix) && bytes.Compare(p.key, from) >= 0 {
			m.read++
			passed := 0
			if p.value == nil {
				passed = 1
			}
			if !visit(p.key, p.value, passed) {
				return nil
			}
		}
	}
	return nil
}

func (m *memory) Get(key []byte) ([]byte, error) {
	for _, p := range m.pairs {
		if bytes.Equal(p.key, key) {
			m.read++
			return p.value, nil
		}
	}
	return nil, m.err
}

// put lists a row in every family, as the fold does.
func (m *memory) put(r keys.Row) {
	a := events.Assignment{Assignee: r.Assignee, EntID: r.EntID}
	row := rows.Row{AppID: r.AppID, Face: rows.MakeFace(&a)}
	m.pairs = append(m.pairs, pair{r.Make(keys.ByAssignee), row.Encode()}, pair{r.Make(keys.ByEntitlement), row.Face})
	if r.AppID != "" {
		m.pairs = append(m.pairs, pair{r.Make(keys.ByApp), row.Face}, pair{r.Make(keys.ByAppAndEnt), row.Face})
	}
	slices.SortFunc(m.pairs, func(a, b pair) int { return bytes.Compare(a.key, b.key) })
}

func user(id string) events.Assignee { return events.Assignee{Kind: events.KindUser, ID: id} }

func company() (*memory, []keys.Row) {
	ids := []string{"a", "a\x00", "a\x00b", "a/b", "ab", "日本", "\x00", "\x01", "USER"}
	var all []keys.Row
	m := &memory{}
	for i, id := range ids {
		for j, ent := range ids {
			for _, kind := range events.Kinds {
				if (i+j+int(kind))%3 == 0 || kind == events.KindAll && i > 0 {
					continue
				}
				r := keys.Row{Tenant: "t", Assignee: events.Assignee{Kind: kind, ID: id}, EntID: ent, AppID: []string{"", "p", "p\x00"}[(i*j)%3]}
				if kind == events.KindAll {
					r.Assignee.ID = ""
				}
				all = append(all, r)
				m.put(r)
				r.Tenant = "t\x00"
				m.put(r)
			}
		}
	}
	slices.SortFunc(all, func(a, b keys.Row) int {
		return compare(Position{Assignee: a.Assignee, EntID: a.EntID}, Position{Assignee: b.Assignee, EntID: b.EntID})
	})
	return m, all
}

func compare(a, b Position) int {
	return cmp.Or(cmp.Compare(a.Assignee.Kind, b.Assignee.Kind), cmp.Compare(a.Assignee.ID, b.Assignee.ID), cmp.Compare(a.EntID, b.EntID))
}

// selectors are all combinations of filters over some ids.
func selectors() []Selector {
	var all []Selector
	for _, kinds := range [][]events.Kind{{events.KindUser}, {events.KindGroup, events.KindDynamicGroup}, {events.KindUser, events.KindAll}, events.Kinds} {
		for _, id := range []string{"", "a", "a\x00", "nobody"} {
			for _, ent := range []string{"", "a", "日本", "none"} {
				for _, app := range []string{"", "p", "p\x00", "q"} {
					all = append(all, Selector{Tenant: "t", Kinds: kinds, AssigneeID: id, EntID: ent, AppID: app})
				}
			}
		}
	}
	return all
}

func picks(s Selector, r keys.Row) bool {
	return s.Contains(Position{Assignee: r.Assignee, EntID: r.EntID}) && (s.AppID == "" || s.AppID == r.AppID)
}

func face(r keys.Row) string {
	return string(rows.MakeFace(&events.Assignment{Assignee: r.Assignee, EntID: r.EntID}).JSON())
}

// Every page of every selection holds the right rows, says rightly whether there
// are more, and costs no more than one row that is not in it.
func TestListReadsNothingInVain(t *testing.T) {
	m, all := company()
	for _, sel := range selectors() {
		var want []string
		for _, r := range all {
			if picks(sel, r) {
				want = append(want, face(r))
			}
		}
		for _, size := range []int{1, 2, 3, 7, 1000} {
			var got []string
			var after *Position
			for {
				m.read = 0
				before := len(got)
				page, err := List(t.Context(), m, sel, after, size, func(f rows.Face) { got = append(got, string(f.JSON())) })
				if err != nil {
					t.Fatal(err)
				}
				if n := len(got) - before; n != page.Rows || page.More && n != size || m.read > n+1 || !page.More && m.read != n {
					t.Fatalf("%+v: %d rows of %d were given for %d read, %+v", sel, n, size, m.read, page)
				}
				if page.More != (len(got) < len(want)) {
					t.Fatalf("%+v in pages of %d: %+v after %d of %d rows", sel, size, page, len(got), len(want))
				}
				if !page.More {
					break
				}
				after = &page.Last
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%+v in pages of %d:\n got %q\nwant %q", sel, size, got, want)
			}
		}
	}
}

// A position need not be a row's, nor lie in the selection: a listing goes on
// with the first selected row above it.
func TestListFromAnyPosition(t *testing.T) {
	m, all := company()
	ids := []string{"", "\x00", "\x00\x00", "\x01", "A", "a", "a\x00", "a\x00\x00", "a\x00b", "a\x01", "aa", "日", "日本", "\U0010FFFF"}
	rng := rand.New(rand.NewPCG(1, 1))
	for _, sel := range selectors() {
		for range 60 {
			at := Position{Assignee: events.Assignee{Kind: events.Kinds[rng.IntN(4)], ID: ids[rng.IntN(len(ids))]}, EntID: ids[rng.IntN(len(ids))]}
			if at.Assignee.Kind == events.KindAll {
				at.Assignee.ID = ""
			}
			var want, got []string
			for _, r := range all {
				if picks(sel, r) && compare(Position{Assignee: r.Assignee, EntID: r.EntID}, at) > 0 {
					want = append(want, face(r))
				}
			}
			m.read = 0
			if _, err := List(t.Context(), m, sel, &at, 1000, func(f rows.Face) { got = append(got, string(f.JSON())) }); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%+v after %+v:\n got %q\nwant %q", sel, at, got, want)
			}
			if m.read != len(got) {
				t.Fatalf("%+v after %+v: %d rows were read for %d", sel, at, m.read, len(got))
			}
		}
	}
}

func TestSelectorContains(t *testing.T) {
	s := Selector{Kinds: []events.Kind{events.KindUser}, AssigneeID: "u", EntID: "e"}
	for _, c := range []struct {
		p    Position
		want bool
	}{
		{Position{Assignee: user("u"), EntID: "e"}, true},
		{Position{Assignee: user("v"), EntID: "e"}, false},
		{Position{Assignee: user("u"), EntID: "f"}, false},
		{Position{Assignee: events.Assignee{Kind: events.KindGroup, ID: "u"}, EntID: "e"}, false},
	} {
		if got := s.Contains(c.p); got != c.want {
			t.Errorf("Contains(%+v) = %v", c.p, got)
		}
	}
	if !(Selector{Kinds: events.Kinds}).Contains(Position{Assignee: user("x"), EntID: "y"}) {
		t.Error("a selection of everything does not contain a row")
	}
}

func TestListErrors(t *testing.T) {
	sel := Selector{Tenant: "t", Kinds: events.Kinds}
	broken := errors.New("broken")
	if _, err := List(t.Context(), &memory{err: broken}, sel, nil, 10, func(rows.Face) {}); !errors.Is(err, broken) {
		t.Errorf("a source that fails: %v", err)
	}
	m := &memory{}
	m.put(keys.Row{Tenant: "t", Assignee: user("u"), EntID: "e"})
	m.pairs[0].value = []byte("x")
	if _, err := List(t.Context(), m, sel, nil, 10, func(rows.Face) {}); !errors.Is(err, rows.ErrCorrupt) {
		t.Errorf("a corrupt row: %v", err)
	}
	m = &memory{pairs: []pair{{append(keys.Prefix(nil, keys.ByAssignee, "t"), 1, 'x'), (&rows.Row{}).Encode()}, {append(keys.Prefix(nil, keys.ByAssignee, "t"), 1, 'y'), []byte{}}}}
	if _, err := List(t.Context(), m, sel, nil, 1, func(rows.Face) {}); !errors.Is(err, keys.ErrMalformed) {
		t.Errorf("a corrupt key at a page's end: %v", err)
	}
}

// A listing of many rows ends with its context.
func TestListEndsWithItsContext(t *testing.T) {
	m := &memory{}
	value := (&rows.Row{Face: rows.MakeFace(&events.Assignment{})}).Encode()
	for i := range 5000 {
		m.pairs = append(m.pairs, pair{keys.Row{Tenant: "t", Assignee: user(fmt.Sprintf("%05d", i)), EntID: "e"}.Make(keys.ByAssignee), value})
	}
	ctx, cancel := context.WithCancel(t.Context())
	visited := 0
	_, err := List(ctx, m, Selector{Tenant: "t", Kinds: events.Kinds}, nil, 5000, func(rows.Face) {
		if visited++; visited == 1000 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || visited > 1000+ctxEvery {
		t.Errorf("%d rows were visited, %v", visited, err)
	}
}
