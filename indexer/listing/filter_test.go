package listing

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

var seed = flag.Uint64("filter-seed", 0, "the seed of the random companies; 0: any")

// entitle stores an entitlement, and its attributes as the fold does.
func (m *memory) entitle(t *testing.T, tenant string, e events.Entitlement) {
	t.Helper()
	record, err := rows.MakeRecord(&e)
	if err != nil {
		t.Fatal(err)
	}
	entity := rows.Entity{Record: record, Rules: rows.RulesOf(&e)}
	m.pairs = append(m.pairs, pair{keys.Entity(tenant, keys.ClassEntitlement, e.EntID), entity.Encode()})
	for _, v := range keys.AttributesOf(&e) {
		if v.Value != "" {
			m.pairs = append(m.pairs, pair{keys.AttributeOf(tenant, v.Attribute, v.Value, e.EntID), []byte{}})
		}
	}
	slices.SortFunc(m.pairs, func(a, b pair) int { return bytes.Compare(a.key, b.key) })
}

// Pages of any size and budget of every filter together hold exactly the rows
// whose entitlement meets it, in order.
func TestFilter(t *testing.T) {
	s := cmp.Or(*seed, rand.Uint64())
	t.Logf("-filter-seed %d", s)
	rng := rand.New(rand.NewPCG(s, 1))
	pick := func(from ...string) string { return from[rng.IntN(len(from))] }
	values := []string{"", "x", "y", "x\x00"}
	for range 40 {
		m := &memory{}
		known := map[string]events.Entitlement{}
		for i := range rng.IntN(12) {
			e := events.Entitlement{
				EntID: fmt.Sprint(pick("e", "e\x00", "é"), i), EntName: pick(values...), EntType: pick("role", "permission"), SubType: pick(values...),
				Category: pick(values...), AppID: pick(values...), ExtRef: pick(values...), Description: pick(values...),
			}
			known[e.EntID] = e
			m.entitle(t, "t", e)
			m.entitle(t, "t\x00", e)
		}
		var all []keys.Row
		for _, kind := range events.Kinds {
			for entID := range known {
				for _, id := range []string{"u", "u\x00", "v"} {
					if rng.IntN(2) == 0 && (kind != events.KindAll || id == "u") {
						r := keys.Row{Tenant: "t", Assignee: events.Assignee{Kind: kind, ID: id}, EntID: entID, AppID: pick(values...)}
						if kind == events.KindAll {
							r.Assignee.ID = ""
						}
						all = append(all, r)
						m.put(r)
						r.EntID = "unknown" + r.EntID
						m.put(r)
					}
				}
			}
		}
		for range 60 {
			f := &EntFilter{}
			for _, field := range []*string{&f.Name, &f.SubType, &f.Category, &f.AppID, &f.ExtRef, &f.Description} {
				if rng.IntN(4) == 0 {
					*field = pick(values...)
				}
			}
			f.Type = pick("", "role", "permission", "other")
			sel := Selector{
				Tenant: "t", Kinds: [][]events.Kind{{events.KindUser}, events.Kinds[:3], events.Kinds}[rng.IntN(3)],
				AssigneeID: pick("", "", "u", "u\x00", "nobody"), AppID: pick("", "", "x"), Entitlements: f, Budget: 1 + rng.IntN(30),
			}
			if rng.IntN(4) == 0 && len(all) > 0 {
				sel.EntID = all[rng.IntN(len(all))].EntID
			}
			checkFilter(t, m, sel, all, known, 1+rng.IntN(4))
		}
	}
}

func checkFilter(t *testing.T, m *memory, sel Selector, all []keys.Row, known map[string]events.Entitlement, size int) {
	t.Helper()
	var want []keys.Row
	for _, r := range all {
		if e := known[r.EntID]; picks(sel, r) && sel.Entitlements.picks(&e) {
			want = append(want, r)
		}
	}
	slices.SortFunc(want, func(a, b keys.Row) int {
		return cmp.Or(cmp.Compare(a.Assignee.Kind, b.Assignee.Kind), cmp.Compare(a.EntID, b.EntID), cmp.Compare(a.Assignee.ID, b.Assignee.ID))
	})
	var got []string
	var after *Position
	for {
		m.read = 0
		before := len(got)
		page, err := List(t.Context(), m, sel, after, size, func(f rows.Face) { got = append(got, string(f.JSON())) })
		if err != nil {
			t.Fatal(err)
		}
		if n := len(got) - before; n > size || n != page.Rows || page.Read > sel.Budget || (page.More && n < size && !page.Spent) {
			t.Fatalf("%+v %+v: %+v with %d rows", sel, *sel.Entitlements, page, n)
		}
		if !page.More {
			break
		}
		if after != nil && *after == page.Last {
			if sel.Budget++; sel.Budget > 60 { // too little to come from one row to the next
				t.Fatalf("%+v %+v: no progress at %+v", sel, *sel.Entitlements, page)
			}
		}
		after = &page.Last
	}
	var faces []string
	for _, r := range want {
		faces = append(faces, face(r))
	}
	if !slices.Equal(got, faces) {
		t.Fatalf("%+v %+v: %q, want %q", sel, *sel.Entitlements, got, faces)
	}
}

// What is read grows with what is found, not with what there is.
func TestFilterReadsThroughTheIndex(t *testing.T) {
	m := &memory{}
	for i := range 300 {
		e := events.Entitlement{EntID: fmt.Sprintf("e%03d", i), EntName: "common", Category: "c"}
		if i%100 == 7 {
			e.EntName = "rare"
		}
		m.entitle(t, "t", e)
		m.put(keys.Row{Tenant: "t", Assignee: user("u"), EntID: e.EntID})
		if i == 107 {
			m.put(keys.Row{Tenant: "t", Assignee: user("v"), EntID: e.EntID})
		}
	}
	for name, c := range map[string]struct {
		sel  Selector
		rows int
		most int
	}{
		"one attribute":          {Selector{Entitlements: &EntFilter{Name: "rare"}}, 4, 20},
		"two attributes":         {Selector{Entitlements: &EntFilter{Category: "c", Name: "rare"}}, 4, 30},
		"a user's":               {Selector{AssigneeID: "v", Entitlements: &EntFilter{Category: "c"}}, 1, 10},
		"what nothing has":       {Selector{Entitlements: &EntFilter{Category: "c", ExtRef: "none"}}, 0, 3},
		"one entitlement":        {Selector{EntID: "e107", Entitlements: &EntFilter{Category: "c"}}, 2, 10},
		"one that does not pass": {Selector{EntID: "e100", Entitlements: &EntFilter{Name: "rare"}}, 0, 10},
	} {
		c.sel.Tenant, c.sel.Kinds = "t", []events.Kind{events.KindUser}
		m.read = 0
		page, err := List(t.Context(), m, c.sel, nil, 1000, func(rows.Face) {})
		if err != nil || page.More || page.Rows != c.rows || m.read > c.most {
			t.Errorf("%s: %+v, %v after %d reads", name, page, err, m.read)
		}
	}
}
