package store_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/feed"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/indexer/store"
)

// then are the models of every sequence, from 0 on.
type then []*modeltest.Model

type identity struct {
	events.Assignee
	ent string
}

func (i identity) compare(o identity) int {
	return cmp.Or(cmp.Compare(i.Kind, o.Kind), cmp.Compare(i.ID, o.ID), cmp.Compare(i.ent, o.ent))
}

// rows gives the assignments at a sequence that a filter picks.
func (all then) rows(seq uint64, tenant string, filter modeltest.Filter) map[identity]modeltest.Row {
	picked := map[identity]modeltest.Row{}
	for _, r := range all[seq].Rows(tenant) {
		if filter.Picks(r) {
			picked[identity{r.Assignee, r.EntID}] = r
		}
	}
	return picked
}

// changed gives the assignments that the event of a sequence changed, whatever a
// filter says, in order.
func (all then) changed(seq uint64, tenant string) (ids []identity) {
	before, after := all.rows(seq-1, tenant, modeltest.Filter{}), all.rows(seq, tenant, modeltest.Filter{})
	for id := range before {
		if _, there := after[id]; !there {
			ids = append(ids, id)
		}
	}
	for id, r := range after {
		if r.Updated.Seq == seq {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, identity.compare)
	return ids
}

// told is a change as the tests print it.
func told(seq uint64, id identity, before, after string) string {
	return fmt.Sprintf("%d %v %q %q: %s -> %s", seq, id.Kind, id.ID, id.ent, before, after)
}

func tell(t *testing.T, r *feed.Row) string {
	t.Helper()
	if r == nil {
		return "none"
	}
	face, err := r.Told()
	if err != nil {
		t.Fatal(err)
	}
	return string(face.JSON()) + r.AppID
}

func tellModel(r modeltest.Row, there bool) string {
	if !there {
		return "none"
	}
	return r.JSON + r.Application
}

// changes compares the feed, differences and histories with the models.
func (v *verifier) changes(t *testing.T, st *store.Store, all then) {
	t.Helper()
	open := func(seq uint64) (feed.Snapshot, error) { return st.View(seq) }
	pick := func(ids []string) string { return append([]string{"", "", "nobody"}, ids...)[v.rng.IntN(3+len(ids))] }
	between := func(low, high uint64) uint64 { return low + v.rng.Uint64N(high-low+1) }
	for range 6 {
		filter := modeltest.Filter{Kinds: kindSets[v.rng.IntN(len(kindSets))], EntID: pick(v.gen.Ents), AppID: pick(v.gen.Apps)}
		filter.AssigneeID = pick(slices.Concat(v.gen.Users, v.gen.Groups))
		sel := listing.Selector{
			Tenant: modeltest.Tenants[v.rng.IntN(len(modeltest.Tenants))], Kinds: filter.Kinds,
			AssigneeID: filter.AssigneeID, EntID: filter.EntID, AppID: filter.AppID,
		}
		from := between(st.Floor(), st.Applied().Seq)
		upto := between(from, st.Applied().Seq)
		limit, budget := 1+v.rng.IntN(5), 1+v.rng.IntN(40)
		what := fmt.Sprintf("%+v from %d to %d, %d of %d a page", sel, from, upto, limit, budget)

		// Changes.
		var want []string
		for seq := from + 1; seq <= upto; seq++ {
			before, after := all.rows(seq-1, sel.Tenant, filter), all.rows(seq, sel.Tenant, filter)
			for _, id := range all.changed(seq, sel.Tenant) {
				b, wasThere := before[id]
				a, isThere := after[id]
				if wasThere || isThere {
					want = append(want, told(seq, id, tellModel(b, wasThere), tellModel(a, isThere)))
				}
			}
		}
		got := readAll(t, what, upto, limit, func(place feed.Place, visit func(*feed.Change) error) (feed.Page, error) {
			return feed.Changes(t.Context(), open, sel, place, upto, limit, budget, visit)
		}, feed.After(from))
		if !slices.Equal(got, want) {
			t.Fatalf("changes of %s:\n got %q\nwant %q", what, got, want)
		}

		// Differences.
		want = nil
		before, after := all.rows(from, sel.Tenant, filter), all.rows(upto, sel.Tenant, filter)
		for seq := from + 1; seq <= upto; seq++ {
			for _, id := range all.changed(seq, sel.Tenant) {
				if later := all.lastChange(id, sel.Tenant, upto); later != seq {
					continue
				}
				b, wasThere := before[id]
				a, isThere := after[id]
				if (wasThere || isThere) && !(wasThere && isThere && sameRow(a, b)) {
					want = append(want, told(seq, id, tellModel(b, wasThere), tellModel(a, isThere)))
				}
			}
		}
		got = readAll(t, what, upto, limit, func(place feed.Place, visit func(*feed.Change) error) (feed.Page, error) {
			return feed.Diff(t.Context(), open, sel, from, place, upto, limit, budget, visit)
		}, feed.After(from))
		if !slices.Equal(got, want) {
			t.Fatalf("differences of %s:\n got %q\nwant %q", what, got, want)
		}
	}
	v.histories(t, st, open, all)
}

// lastChange is the sequence at which an assignment last changed, up to one.
func (all then) lastChange(id identity, tenant string, upto uint64) uint64 {
	for seq := upto; seq > 0; seq-- {
		if slices.Contains(all.changed(seq, tenant), id) {
			return seq
		}
	}
	return 0
}

// sameRow tells whether two rows say the same, whenever that was said.
func sameRow(a, b modeltest.Row) bool {
	a.Updated, b.Updated = modeltest.Moment{}, modeltest.Moment{}
	return fmt.Sprint(a) == fmt.Sprint(b)
}

// readAll reads all pages, and checks where they begin and end. Within a sequence
// changes come in the order of a scan, which a test does not care for.
func readAll(t *testing.T, what string, upto uint64, limit int, page func(feed.Place, func(*feed.Change) error) (feed.Page, error), place feed.Place) (got []string) {
	t.Helper()
	type one struct {
		seq  uint64
		id   identity
		text string
	}
	var list []one
	for {
		n, next := 0, place
		p, err := page(place, func(c *feed.Change) error {
			n++
			if next == c.Next || c.Next.Seq < next.Seq || c.Next.Seq == next.Seq && c.Next.N < next.N {
				t.Fatalf("%s: a change leads from %v to %v", what, next, c.Next)
			}
			next = c.Next
			id := identity{c.Identity.Assignee, c.Identity.EntID}
			list = append(list, one{c.Seq, id, told(c.Seq, id, tell(t, c.Before), tell(t, c.After))})
			return nil
		})
		if err != nil || n > limit || p.Next == place && p.More {
			t.Fatalf("%s: %d changes, %+v, %v", what, n, p, err)
		}
		place = p.Next
		if !p.More {
			if place != feed.After(upto) {
				t.Fatalf("%s: it ends at %v", what, place)
			}
			break
		}
		if v := place; n == limit && v != next {
			t.Fatalf("%s: goes on at %v behind %v", what, v, next)
		}
	}
	slices.SortStableFunc(list, func(a, b one) int { return cmp.Or(cmp.Compare(a.seq, b.seq), a.id.compare(b.id)) })
	for _, c := range list {
		got = append(got, c.text)
	}
	return got
}

// histories compares what single assignments were with the models.
func (v *verifier) histories(t *testing.T, st *store.Store, open feed.Open, all then) {
	t.Helper()
	floor, applied := st.Floor(), st.Applied().Seq
	for range 4 {
		tenant := modeltest.Tenants[v.rng.IntN(len(modeltest.Tenants))]
		id := identity{events.Assignee{Kind: events.KindUser, ID: v.gen.Users[v.rng.IntN(len(v.gen.Users))]}, v.gen.Ents[v.rng.IntN(len(v.gen.Ents))]}
		upto := floor + v.rng.Uint64N(applied-floor+1)
		var want []string
		for seq := upto; seq > floor; seq-- {
			if slices.Contains(all.changed(seq, tenant), id) {
				r, there := all.rows(seq, tenant, modeltest.Filter{})[id]
				want = append(want, fmt.Sprintf("%d %s", seq, tellModel(r, there)))
			}
		}
		if r, there := all.rows(floor, tenant, modeltest.Filter{})[id]; there {
			want = append(want, fmt.Sprintf("%d %s", r.Updated.Seq, tellModel(r, there)))
		}
		var got []string
		limit := 1 + v.rng.IntN(4)
		at := listing.Position{Assignee: id.Assignee, EntID: id.ent}
		for last, more := upto+1, true; more; {
			var err error
			more, err = feed.History(t.Context(), open, st.Floor, listing.Selector{Tenant: tenant}, at, last-1, limit, func(h *feed.Version) error {
				last = h.Seq
				got = append(got, fmt.Sprintf("%d %s", h.Seq, tell(t, h.Row)))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("history of %v at %d in %d to %d:\n got %q\nwant %q", id, upto, floor, applied, got, want)
		}
	}
}
