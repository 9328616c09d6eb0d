package modeltest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/modeltest"
)

// The model is held to examples that were worked out by hand from the contract,
// so that it cannot be wrong in the same way as what it judges.
func TestModelByHand(t *testing.T) {
	for _, c := range modeltest.Examples {
		t.Run(c.Name, func(t *testing.T) {
			m := modeltest.New()
			for i, e := range c.Events {
				typ, data, _ := strings.Cut(e, " ")
				message := events.Message{Subject: "assignments.t.x", Header: map[string][]string{events.TypeHeader: {typ}}, Data: []byte(data)}
				if m.Apply(modeltest.Moment{Seq: uint64(i + 1), Nano: 1}, message) == modeltest.Quarantined {
					t.Fatalf("%s was refused", e)
				}
			}
			var got []string
			for _, r := range m.Rows("t") {
				app := r.Application
				if app == "" {
					app = "-"
				}
				got = append(got, fmt.Sprintf("%s %s %s %v %d/%d", r.Assignee.ID, r.EntID, app, r.Params, r.Created.Seq, r.Updated.Seq))
			}
			if !slices.Equal(got, c.Want) {
				t.Errorf("\n got %q\nwant %q", got, c.Want)
			}
			if len(m.Rows("other")) != 0 {
				t.Error("another tenant has rows")
			}
		})
	}
}

func TestCloneStaysAsItIs(t *testing.T) {
	g, m := modeltest.NewGenerator(3), modeltest.New()
	var copies []*modeltest.Model
	var told []string
	for i := range uint64(300) {
		copies, told = append(copies, m.Clone()), append(told, tell(m))
		m.Apply(modeltest.Moment{Seq: i + 1, Nano: int64(i)}, g.Next())
	}
	for i, c := range copies {
		if got := tell(c); got != told[i] {
			t.Fatalf("the copy at %d became %s, was %s", i, got, told[i])
		}
	}
}

func tell(m *modeltest.Model) string {
	s := fmt.Sprint(m.Quarantine())
	for _, tenant := range m.Tenants() {
		guards, entities := []string{}, []string{}
		for _, g := range m.Guards(tenant) {
			guards = append(guards, fmt.Sprintf("%q", fmt.Sprint(g)))
		}
		for _, e := range m.Entities(tenant) {
			entities = append(entities, fmt.Sprintf("%q", fmt.Sprint(e)))
		}
		slices.Sort(guards)
		slices.Sort(entities)
		s += fmt.Sprint(tenant, m.Rows(tenant), guards, entities)
	}
	return s
}
