package store_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
)

// verifier compares an index with a model.
type verifier struct {
	rng *rand.Rand
	gen *modeltest.Generator // whose ids are asked for
}

// kindSets are the kinds that requests ask for.
var kindSets = [][]events.Kind{{events.KindUser}, {events.KindGroup, events.KindDynamicGroup}, events.Kinds}

// all checks everything that the index says at a view's sequence, with listings
// in pages of the sizes, which ascend.
func (v *verifier) all(t *testing.T, view *store.View, m *modeltest.Model, pageSizes ...int) {
	t.Helper()
	differences, err := audit.Agree(view, 5)
	if err != nil || len(differences) > 0 {
		t.Fatalf("at %d: families disagree: %v, %v", view.Seq(), differences, err)
	}
	v.stored(t, view, m)
	for _, tenant := range modeltest.Tenants {
		v.listings(t, view, tenant, m.Rows(tenant), pageSizes)
	}
	if err := view.Check(); err != nil {
		t.Fatalf("at %d: %v", view.Seq(), err)
	}
}

// listings goes through every combination of filters.
func (v *verifier) listings(t *testing.T, view *store.View, tenant string, all []modeltest.Row, pageSizes []int) {
	t.Helper()
	or := func(ids ...string) []string { return append([]string{"", "nobody"}, ids...) }
	assignees := slices.Compact(slices.Sorted(slices.Values(or(slices.Concat(v.gen.Users, v.gen.Groups)...))))
	for _, kinds := range kindSets {
		for _, id := range assignees {
			for _, ent := range or(v.gen.Ents...) {
				for _, app := range or(v.gen.Apps...) {
					filter := modeltest.Filter{Kinds: kinds, AssigneeID: id, EntID: ent, AppID: app}
					sel := listing.Selector{Tenant: tenant, Kinds: kinds, AssigneeID: id, EntID: ent, AppID: app}
					var want []string
					for _, r := range all {
						if filter.Picks(r) {
							want = append(want, r.JSON)
						}
					}
					for i, size := range pageSizes {
						if i > 0 && pageSizes[i-1] > len(want) {
							break // one page holds it all, as it did before
						}
						if got := pages(t, view, sel, size); !slices.Equal(got, want) {
							t.Fatalf("at %d: %s %+v in pages of %d:\n got %q\nwant %q", view.Seq(), tenant, filter, size, got, want)
						}
					}
					v.fromAnywhere(t, view, sel, filter, all)
				}
			}
		}
	}
}

// counters compares what is counted, which is the present only, with a count of
// the model's rows.
func (v *verifier) counters(t *testing.T, st *store.Store, m *modeltest.Model) {
	t.Helper()
	if err := st.CheckCounters(); err != nil {
		t.Fatalf("at %d: %v", st.Applied().Seq, err)
	}
	view, err := st.View(st.Applied().Seq)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	for _, tenant := range modeltest.Tenants {
		all := m.Rows(tenant)
		check := func(scope keys.Scope, id string, filter modeltest.Filter) {
			for _, filter.Kinds = range kindSets {
				var want rows.Counts
				for _, r := range all {
					if filter.Picks(r) {
						want[levelOf(r.Score)]++
					}
				}
				got, w, err := st.Counts(tenant, scope, id, filter.Kinds)
				if err != nil || got != want || w.Seq != st.Applied().Seq {
					t.Fatalf("at %d: counts of %s %d %q %v are %v at %d, %v, want %v", st.Applied().Seq, tenant, scope, id, filter.Kinds, got, w.Seq, err, want)
				}
				sel := listing.Selector{Tenant: tenant, Kinds: filter.Kinds, EntID: filter.EntID, AppID: filter.AppID}
				if scanned := scan(t, view, sel); scanned != want {
					t.Fatalf("at %d: a scan of %+v counts %v, want %v", view.Seq(), sel, scanned, want)
				}
			}
		}
		check(keys.OfTenant, "", modeltest.Filter{})
		for _, ent := range append([]string{"nobody"}, v.gen.Ents...) {
			check(keys.OfEntitlement, ent, modeltest.Filter{EntID: ent})
		}
		for _, app := range append([]string{"nobody"}, v.gen.Apps...) {
			check(keys.OfApplication, app, modeltest.Filter{AppID: app})
		}
	}
}

// scan counts a selection row by row.
func scan(t *testing.T, src listing.Source, sel listing.Selector) (counts rows.Counts) {
	t.Helper()
	if _, err := listing.List(t.Context(), src, sel, nil, math.MaxInt, func(f rows.Face) {
		var row struct {
			Score *float64 `json:"score"`
		}
		if err := json.Unmarshal(f.JSON(), &row); err != nil {
			t.Fatal(err)
		}
		counts[levelOf(row.Score)]++
	}); err != nil {
		t.Fatal(err)
	}
	return counts
}

// levelOf is how Autonomous Identity calls a score.
func levelOf(score *float64) rows.Level {
	switch {
	case score == nil:
		return rows.Unscored
	case *score >= 0.75:
		return rows.High
	case *score >= 0.35:
		return rows.Medium
	default:
		return rows.Low
	}
}

// fromAnywhere lists from a position that need not be a row's, nor in the
// selection.
func (v *verifier) fromAnywhere(t *testing.T, view *store.View, sel listing.Selector, filter modeltest.Filter, all []modeltest.Row) {
	t.Helper()
	at := listing.Position{Assignee: events.Assignee{Kind: events.Kinds[v.rng.IntN(4)]}, EntID: v.anyID()}
	if at.Assignee.Kind != events.KindAll {
		at.Assignee.ID = v.anyID()
	}
	if filter.AssigneeID != "" && v.rng.IntN(2) == 0 {
		at.Assignee.ID = filter.AssigneeID
	}
	var want, got []string
	for _, r := range all {
		if filter.Picks(r) && r.Compare(at.Assignee.Kind, at.Assignee.ID, at.EntID) > 0 {
			want = append(want, r.JSON)
		}
	}
	if _, err := listing.List(t.Context(), view, sel, &at, 1000, func(f rows.Face) { got = append(got, string(f.JSON())) }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("at %d: %+v after %+v:\n got %q\nwant %q", view.Seq(), sel, at, got, want)
	}
}

func (v *verifier) anyID() string {
	if v.rng.IntN(3) == 0 {
		return modeltest.Hostile[v.rng.IntN(len(modeltest.Hostile))]
	}
	known := slices.Concat(v.gen.Users, v.gen.Groups, v.gen.Ents, v.gen.Apps)
	return known[v.rng.IntN(len(known))]
}

// pages lists a selection page after page.
func pages(t *testing.T, src listing.Source, sel listing.Selector, size int) []string {
	t.Helper()
	var all []string
	var after *listing.Position
	for {
		before := len(all)
		page, err := listing.List(t.Context(), src, sel, after, size, func(f rows.Face) { all = append(all, string(f.JSON())) })
		if err != nil {
			t.Fatalf("list %+v after %+v: %v", sel, after, err)
		}
		if got := len(all) - before; got != page.Rows || got > size || page.More && got != size {
			t.Fatalf("list %+v after %+v: %d rows were visited in a page of %d that says %+v", sel, after, got, size, page)
		}
		if !page.More {
			return all
		}
		if !sel.Contains(page.Last) {
			t.Fatalf("list %+v ended at %+v, outside", sel, page.Last)
		}
		last := page.Last
		after = &last
	}
}

// stored compares what listings do not show: moments, details, entities, guards
// and the quarantine.
func (v *verifier) stored(t *testing.T, view *store.View, m *modeltest.Model) {
	t.Helper()
	type id struct {
		tenant string
		who    events.Assignee
		ent    string
	}
	want := map[id]modeltest.Row{}
	entities := map[string]modeltest.Entity{}
	guards := map[string]int64{}
	for _, tenant := range m.Tenants() {
		for _, r := range m.Rows(tenant) {
			want[id{tenant, r.Assignee, r.EntID}] = r
		}
		for _, e := range m.Entities(tenant) {
			entities[string(keys.Entity(tenant, classes[e.Class], e.ID))] = e
		}
		for _, g := range m.Guards(tenant) {
			key := keys.EntityGuard(tenant, classes[g.Class], g.ID)
			if g.Class == "assignment" {
				key = keys.AssignmentGuard(tenant, g.Assignee, g.EntID)
			}
			guards[string(key)] = g.Revision
		}
	}
	each(t, view, keys.ByAssignee, func(key, value []byte) {
		_, r, err := keys.ParseRow(key)
		if err != nil {
			t.Fatal(err)
		}
		w, ok := want[id{r.Tenant, r.Assignee, r.EntID}]
		if !ok {
			t.Fatalf("at %d: the index has %+v, the model has not", view.Seq(), r)
		}
		delete(want, id{r.Tenant, r.Assignee, r.EntID})
		compareRow(t, view.Seq(), value, w)
	})
	for id := range want {
		t.Fatalf("at %d: the model has %+v, the index has not", view.Seq(), id)
	}
	each(t, view, keys.EntityTag, func(key, value []byte) {
		w, ok := entities[string(key)]
		if !ok {
			t.Fatalf("at %d: the index has the entity %q, the model has not", view.Seq(), key)
		}
		delete(entities, string(key))
		compareEntity(t, view.Seq(), value, w)
	})
	for key := range entities {
		t.Fatalf("at %d: the model has the entity %q, the index has not", view.Seq(), key)
	}
	each(t, view, keys.GuardTag, func(key, value []byte) {
		w, ok := guards[string(key)]
		if !ok || len(value) != 8 || int64(binary.BigEndian.Uint64(value)) != w {
			t.Fatalf("at %d: guard %q is %x, the model says %d, %v", view.Seq(), key, value, w, ok)
		}
		delete(guards, string(key))
	})
	for key := range guards {
		t.Fatalf("at %d: the model has the guard %q, the index has not", view.Seq(), key)
	}
	var quarantine []uint64
	each(t, view, keys.QuarantineTag, func(key, _ []byte) {
		seq, err := keys.ParseQuarantine(key)
		if err != nil {
			t.Fatal(err)
		}
		quarantine = append(quarantine, seq)
	})
	if !slices.Equal(quarantine, m.Quarantine()) {
		t.Fatalf("at %d: quarantine %v, the model says %v", view.Seq(), quarantine, m.Quarantine())
	}
}

var classes = map[string]keys.Class{
	"user": keys.ClassUser, "group": keys.ClassGroup, "entitlement": keys.ClassEntitlement, "application": keys.ClassApplication,
}

func each(t *testing.T, view *store.View, family keys.Tag, visit func(key, value []byte)) {
	t.Helper()
	if err := view.Range([]byte{byte(family)}, nil, func(key, value []byte) bool { visit(key, value); return true }); err != nil {
		t.Fatal(err)
	}
}

func compareRow(t *testing.T, seq uint64, value []byte, want modeltest.Row) {
	t.Helper()
	got, err := rows.DecodeRow(value)
	if err != nil {
		t.Fatal(err)
	}
	detail, err := rows.DecodeDetail(got.Detail)
	if err != nil {
		t.Fatal(err)
	}
	params := map[string]string{}
	for name, v := range detail.Params {
		params[name] = string(v)
	}
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"face", string(got.Face.JSON()), want.JSON},
		{"application", got.AppID, want.Application},
		{"own application", got.OwnApp, want.OwnApplication},
		{"created", modeltest.Moment(got.Created), want.Created},
		{"updated", modeltest.Moment(got.Updated), want.Updated},
		{"rights", fmt.Sprint(detail.Rights), fmt.Sprint(want.Rights)},
		{"params", fmt.Sprint(params), fmt.Sprint(want.Params)},
		{"valid_from", detail.ValidFrom, want.ValidFrom},
		{"valid_until", detail.ValidUntil, want.ValidUntil},
		{"attributes", string(detail.Attributes), want.Attributes},
	} {
		if c.got != c.want {
			t.Fatalf("at %d: %s of %+v %q: got %v, want %v", seq, c.what, want.Assignee, want.EntID, c.got, c.want)
		}
	}
}

func compareEntity(t *testing.T, seq uint64, value []byte, want modeltest.Entity) {
	t.Helper()
	got, err := rows.DecodeEntity(value)
	if err != nil {
		t.Fatal(err)
	}
	record := reflect.New(reflect.TypeOf(want.Record))
	if err := json.Unmarshal(got.Record, record.Interface()); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(record.Elem().Interface(), want.Record) {
		t.Fatalf("at %d: %s %q is %+v, want %+v", seq, want.Class, want.ID, record.Elem(), want.Record)
	}
	var rules rows.Rules
	if ent, ok := want.Record.(events.Entitlement); ok {
		rules = rows.Rules{AppID: ent.AppID, SecretParams: ent.SecretParams}
	}
	if !reflect.DeepEqual(got.Rules, rules) {
		t.Fatalf("at %d: rules of %s %q are %+v, want %+v", seq, want.Class, want.ID, got.Rules, rules)
	}
	if modeltest.Moment(got.Created) != want.Created || modeltest.Moment(got.Updated) != want.Updated {
		t.Fatalf("at %d: %s %q was made at %v and changed at %v, want %v and %v", seq, want.Class, want.ID, got.Created, got.Updated, want.Created, want.Updated)
	}
}
