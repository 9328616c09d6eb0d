package store_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
)

func event(seq uint64, t events.Type, data string) message {
	return message{
		events.Message{Subject: "assignments.t.x", Header: map[string][]string{events.TypeHeader: {string(t)}}, Data: []byte(data)},
		modeltest.Moment{Seq: seq, Nano: int64(seq)},
	}
}

// count gives the rows that a selection lists.
func count(t *testing.T, x *index, sel listing.Selector) int {
	t.Helper()
	view, err := x.View(x.Applied().Seq)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	sel.Tenant = "t"
	if sel.Kinds == nil {
		sel.Kinds = events.Kinds
	}
	page, err := listing.List(t.Context(), view, sel, nil, 1<<30, func(rows.Face) {})
	if err != nil {
		t.Fatal(err)
	}
	return page.Rows
}

func digest(t *testing.T, x *index) string {
	t.Helper()
	view, err := x.View(x.Applied().Seq)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	differences, err := audit.Agree(view, 3)
	if err != nil || len(differences) > 0 {
		t.Fatalf("families disagree: %v, %v", differences, err)
	}
	if err := x.CheckCounters(); err != nil {
		t.Fatal(err)
	}
	d, _, err := audit.Digest(view)
	if err != nil {
		t.Fatal(err)
	}
	return d + contents(t, view)
}

// A cascade may write more than a batch remembers and than a transaction of
// Badger holds. It is one event all the same: wholly there, or not at all after
// a crash.
func TestCascadesOfAnySize(t *testing.T) {
	const assignments = 18_000 // three remembered writes for each that moves: more than maxPending
	if 3*assignments <= store.MaxPending {
		t.Fatal("the cascade is too small to show anything")
	}
	x := openIndex(t, t.TempDir())
	seq := uint64(0)
	run := func(t *testing.T, batch *store.Batch, typ events.Type, data string) message {
		t.Helper()
		seq++
		m := event(seq, typ, data)
		if got := apply(t, batch, m); got != modeltest.Changed {
			t.Fatalf("%s %s: %s", typ, data, got)
		}
		return m
	}
	commit := func(t *testing.T, batch *store.Batch, m message) {
		t.Helper()
		if err := batch.Commit(watermark(m)); err != nil {
			t.Fatal(err)
		}
	}

	batch := x.NewBatch(nil)
	run(t, batch, events.EntitlementUpserted, `{"ent_id":"e","app_id":"p"}`)
	var m message
	for i := range assignments {
		m = run(t, batch, events.AssignmentUpserted, fmt.Sprintf(`{"usr_id":"u%05d","ent_id":"e","params":{"pw":1}}`, i))
		if batch.Full() {
			commit(t, batch, m)
			batch = x.NewBatch(nil)
		}
	}
	m = run(t, batch, events.AssignmentUpserted, `{"usr_id":"own","ent_id":"e","app_id":"own"}`)
	commit(t, batch, m)
	if got := count(t, x, listing.Selector{AppID: "p"}); got != assignments {
		t.Fatalf("%d rows under p", got)
	}
	before := digest(t, x)

	move := func(t *testing.T) (*store.Batch, message) {
		t.Helper()
		batch := x.NewBatch(nil)
		// Half of the rows are only in the batch when they are moved.
		small := run(t, batch, events.AssignmentRevoked, `{"usr_id":"u00007","ent_id":"e"}`)
		_ = small
		run(t, batch, events.AssignmentUpserted, `{"usr_id":"u00008","ent_id":"e","score":0.5}`)
		if batch.Full() {
			t.Fatal("a small batch is full")
		}
		m := run(t, batch, events.EntitlementUpserted, `{"ent_id":"e","app_id":"q","secret_params":["pw"]}`)
		if !batch.Full() {
			t.Fatal("a batch that remembers no more is not full")
		}
		return batch, m
	}

	batch, _ = move(t)
	if err := batch.Spill(); err != nil { // a crash just before the watermark
		t.Fatal(err)
	}
	x.reopen()
	if digest(t, x) != before {
		t.Fatal("a lost cascade left something behind")
	}
	seq -= 3

	// The three events come again, one at a time while there is something undone.
	for _, e := range [][2]string{
		{"assignment.revoked", `{"usr_id":"u00007","ent_id":"e"}`},
		{"assignment.upserted", `{"usr_id":"u00008","ent_id":"e","score":0.5}`},
		{"entitlement.upserted", `{"ent_id":"e","app_id":"q","secret_params":["pw"]}`},
	} {
		batch := x.NewBatch(nil)
		m := run(t, batch, events.Type(e[0]), e[1])
		if !batch.Full() {
			t.Fatalf("sequence %d is below what was undone, and its batch is not full", seq)
		}
		commit(t, batch, m)
	}
	for app, want := range map[string]int{"p": 0, "q": assignments - 1, "own": 1} {
		if got := count(t, x, listing.Selector{AppID: app}); got != want {
			t.Errorf("%d rows under %s, want %d", got, app, want)
		}
		if got := count(t, x, listing.Selector{AppID: app, EntID: "e"}); got != want {
			t.Errorf("%d rows under %s and e, want %d", got, app, want)
		}
	}
	digest(t, x)

	batch = x.NewBatch(nil)
	m = run(t, batch, events.ApplicationDeleted, `{"app_id":"q"}`)
	if !batch.Full() {
		t.Error("a batch that remembers no more is not full")
	}
	commit(t, batch, m)
	if got := count(t, x, listing.Selector{}); got != 1 {
		t.Errorf("%d rows are left, want 1", got)
	}
	digest(t, x)
}

// Whatever the decoder accepts can be written: an event that could not be would
// stop the line for ever.
func TestLargestEvents(t *testing.T) {
	fill := func(start, element, end string, most int) string {
		n := min((events.MaxEventBytes-len(start)-len(end))/(len(element)+1), most)
		return start + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + end
	}
	nul := strings.Repeat(`\u0000`, events.MaxIDBytes) // doubles in a key
	ids := `"usr_id":"` + nul + `","ent_id":"` + nul + `","app_id":"` + nul + `"`
	var params strings.Builder
	for i := 0; params.Len() < 240_000; i++ {
		fmt.Fprintf(&params, `"%x":1,`, i)
	}
	names := make([]string, 0, 40_000)
	for i := range cap(names) {
		names = append(names, fmt.Sprintf(`"%x"`, i))
	}
	x := openIndex(t, t.TempDir())
	for i, e := range []struct {
		typ  events.Type
		data string
	}{
		{events.AssignmentUpserted, fill(`{`+ids+`,"justification":[`, `{}`, `]}`, events.MaxElements)},
		{events.AssignmentUpserted, fill(`{`+ids+`,"justification":[`, `null`, `],"rights":[`, events.MaxElements) + fill(``, `{}`, `]}`, events.MaxElements)},
		{events.AssignmentUpserted, fill(`{`+ids+`,"rights":[`, `null`, `]}`, events.MaxElements)},
		{events.AssignmentUpserted, `{` + ids + `,"params":{` + strings.TrimSuffix(params.String(), ",") + `}}`},
		{events.AssignmentUpserted, fill(`{`+ids+`,"x":[`, `1`, `]}`, 1<<30)},
		{events.AssignmentUpserted, `{` + ids + `,"x":"` + strings.Repeat(`\u0001`, 40_000) + `"}`},
		{events.EntitlementUpserted, `{"ent_id":"` + nul + `","secret_params":[` + strings.Join(names[:30_000], ",") + `]}`},
		{events.AssignmentUpserted, `{` + ids + `,"params":{` + strings.TrimSuffix(params.String(), ",") + `}}`},
		{events.UserUpserted, fill(`{"usr_id":"`+nul+`","x":[`, `"\u0001"`, `]}`, 1<<30)},
	} {
		m := event(uint64(i+1), e.typ, e.data)
		batch := x.NewBatch(nil)
		if got := apply(t, batch, m); got != modeltest.Changed {
			t.Fatalf("event %d of %d bytes: %s", i, len(e.data), got)
		}
		if err := batch.Commit(watermark(m)); err != nil {
			t.Fatalf("event %d of %d bytes: %v", i, len(e.data), err)
		}
		if want := min(i+1, 1); count(t, x, listing.Selector{}) != want {
			t.Fatalf("after event %d there are not %d rows", i, want)
		}
	}
	x.reopen()
	digest(t, x)
}

// A cascade over very many entitlements changes as many counters, more than one
// transaction of Badger takes together with the watermark.
func TestCountersOfAWideCascade(t *testing.T) {
	x := openIndex(t, t.TempDir())
	row := rows.Row{Face: rows.MakeFace(&events.Assignment{})}
	for i, entitlements := range []int{20_000, 60_000, 130_000} {
		batch := x.NewBatch(nil)
		batch.At(uint64(i + 1))
		for ent := range entitlements {
			id := keys.Row{Tenant: "t", Assignee: events.Assignee{Kind: events.KindUser, ID: "u"}, EntID: fmt.Sprint(ent)}
			for _, change := range [][2]*rows.Row{{nil, &row}, {&row, nil}, {nil, &row}} {
				if err := batch.Changed(rows.Moment{}, id, change[0], change[1]); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := batch.Commit(at(uint64(i + 1))); err != nil {
			t.Fatalf("%d entitlements: %v", entitlements, err)
		}
	}
}
