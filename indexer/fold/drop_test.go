package fold_test

import (
	"errors"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/fold"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

// quarantine gives an index that holds three messages: one of the tenant "t", one
// of another, and one of nobody.
func quarantine(t *testing.T) *memory {
	t.Helper()
	m := &memory{data: map[string][]byte{}}
	for i, tenant := range []string{"t", "other", ""} {
		value, err := (&rows.Quarantined{Tenant: tenant, Code: events.BadField, Reason: "missing"}).Encode()
		if err != nil {
			t.Fatal(err)
		}
		m.data[string(keys.Quarantine(uint64(i+1)))] = value
	}
	return m
}

func TestDrop(t *testing.T) {
	for _, c := range []struct {
		name, line string
		want       fold.Outcome
		left       []uint64
	}{
		{"of the tenant", `quarantine.dropped {"seq":1,"note":"n"}`, fold.Changed, []uint64{2, 3}},
		{"of another tenant", `quarantine.dropped {"seq":2}`, fold.Unchanged, []uint64{1, 2, 3}},
		{"of nobody", `quarantine.dropped {"seq":3}`, fold.Changed, []uint64{1, 2}},
		{"not there", `quarantine.dropped {"seq":4}`, fold.Unchanged, []uint64{1, 2, 3}},
		{"conditions are passed over", `quarantine.dropped {"seq":1,"if":"absent","revision":1}`, fold.Changed, []uint64{2, 3}},
	} {
		m := quarantine(t)
		if got := run(t, m, c.line); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if len(m.data) != len(c.left) { // it left no guard either
			t.Errorf("%s: %d keys are left, want those of %v", c.name, len(m.data), c.left)
		}
		for _, seq := range c.left {
			if m.data[string(keys.Quarantine(seq))] == nil {
				t.Errorf("%s: %d is gone", c.name, seq)
			}
		}
		if got := run(t, m, c.line); got != fold.Unchanged {
			t.Errorf("%s, again: %s", c.name, got)
		}
	}
}

func TestDropReportsFaults(t *testing.T) {
	ev := decode(t, `quarantine.dropped {"seq":1}`)
	for failAt := 1; failAt <= 2; failAt++ {
		m := quarantine(t)
		m.failAt = failAt
		if _, err := fold.Apply(&ev, rows.Moment{Seq: 9}, m, m); !errors.Is(err, errStorage) {
			t.Errorf("call %d: %v", failAt, err)
		}
	}
	m := quarantine(t)
	m.data[string(keys.Quarantine(1))] = []byte("{")
	if _, err := fold.Apply(&ev, rows.Moment{Seq: 9}, m, m); !errors.Is(err, rows.ErrCorrupt) {
		t.Errorf("a corrupt record: %v", err)
	}
	if key := fold.RecordKey(&ev); string(key) != string(keys.Quarantine(1)) {
		t.Errorf("the record of a drop is %q", key)
	}
}
