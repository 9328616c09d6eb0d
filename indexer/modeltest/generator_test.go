package modeltest_test

import (
	"bytes"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/modeltest"
)

func TestGeneratorIsDeterministic(t *testing.T) {
	a, b, other := modeltest.NewGenerator(7), modeltest.NewGenerator(7), modeltest.NewGenerator(8)
	different := 0
	for range 500 {
		x, y, z := a.Next(), b.Next(), other.Next()
		if !reflect.DeepEqual(x, y) {
			t.Fatalf("the same seed made %v and %v", x, y)
		}
		if !bytes.Equal(x.Data, z.Data) {
			different++
		}
	}
	if different < 400 {
		t.Errorf("another seed made %d other messages of 500", different)
	}
}

// A model test is worth what its messages do: everything must happen, often.
func TestGeneratorCoversTheContract(t *testing.T) {
	seen := map[string]int{}
	ids := map[string]bool{}
	for seed := range uint64(6) {
		g, m := modeltest.NewGenerator(seed), modeltest.New()
		rows := 0
		for seq := range uint64(400) {
			message := g.Next()
			ev, err := events.Decode(message)
			outcome := m.Apply(modeltest.Moment{Seq: seq + 1, Nano: int64(seq)}, message)
			seen["outcome "+string(outcome)]++
			if err != nil {
				continue
			}
			seen["type "+string(ev.Type)+" "+string(outcome)]++
			seen["tenant "+ev.Tenant]++
			if ev.If != "" {
				seen["if "+string(ev.If)+" "+string(outcome)]++
			}
			switch {
			case ev.ID == "":
				seen["form bare"]++
			case strings.Contains(string(message.Data), "data_base64"):
				seen["form base64"]++
			case strings.Contains(string(message.Data), "specversion"):
				seen["form structured"]++
			default:
				seen["form binary"]++
			}
			if seq%10 != 9 {
				continue
			}
			rows = max(rows, len(m.Rows("t")))
			for _, r := range m.Rows("t") {
				ids[r.EntID] = true
				seen["kind "+r.Assignee.Kind.String()]++
				seen[map[bool]string{true: "own application", false: "entitlement's application"}[r.OwnApplication]]++
				for _, p := range r.Params {
					seen[map[bool]string{true: "masked", false: "open"}[p == `"***"`]]++
				}
			}
		}
		if rows < 10 {
			t.Errorf("seed %d: never more than %d rows", seed, rows)
		}
	}
	want := []string{
		"form bare", "form base64", "form structured", "form binary", "tenant t", "tenant t1", "masked", "open", "own application", "entitlement's application",
		"if absent unmet", "if absent changed", "if present unmet", "if present changed",
	}
	for _, o := range []modeltest.Outcome{modeltest.Quarantined, modeltest.Changed, modeltest.Unchanged, modeltest.Outdated, modeltest.Unmet} {
		want = append(want, "outcome "+string(o))
	}
	for _, k := range events.Kinds {
		want = append(want, "kind "+k.String())
	}
	for _, typ := range events.Types {
		want = append(want, "type "+string(typ)+" changed", "type "+string(typ)+" unchanged")
		if typ != events.QuarantineDropped { // it has no revision
			want = append(want, "type "+string(typ)+" outdated")
		}
	}
	for _, w := range want {
		if seen[w] == 0 {
			t.Errorf("%q never happened", w)
		}
	}
	if len(ids) < 20 {
		t.Errorf("%d ids of entitlements were used", len(ids))
	}
	if t.Failed() {
		t.Log(maps.Collect(maps.All(seen)))
	}
}
