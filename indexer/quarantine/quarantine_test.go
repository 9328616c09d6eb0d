package quarantine_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/quarantine"
	"github.com/assigndex/assigndex/indexer/rows"
)

// memory is a Source over a map.
type memory map[string][]byte

func (m memory) Get(key []byte) ([]byte, error) { return m[string(key)], nil }

func (m memory) Range(prefix, from []byte, visit func(key, value []byte) bool) error {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if bytes.HasPrefix([]byte(key), prefix) && key >= string(from) && !visit([]byte(key), m[key]) {
			break
		}
	}
	return nil
}

// fill makes ten messages: of the tenants "a" and "b" and of nobody, in turn, and
// the last at the highest sequence that there is.
func fill(t *testing.T) memory {
	t.Helper()
	m := memory{string(keys.Meta("watermark")): nil}
	for i := range uint64(10) {
		q := rows.Quarantined{Tenant: []string{"a", "b", ""}[i%3], Code: events.Codes[i%2], Reason: "r"}
		value, err := q.Encode()
		if err != nil {
			t.Fatal(err)
		}
		seq := i + 1
		if i == 9 {
			seq = 1<<64 - 1
		}
		m[string(keys.Quarantine(seq))] = value
	}
	return m
}

func TestList(t *testing.T) {
	m := fill(t)
	const last = 1<<64 - 1
	for _, c := range []struct {
		sel           quarantine.Selector
		after         uint64
		limit, budget int
		want          []uint64
		page          quarantine.Page
	}{
		{quarantine.Selector{Tenant: "a"}, 0, 100, 100, []uint64{1, 4, 7, last}, quarantine.Page{Last: last}},
		{quarantine.Selector{Tenant: "a"}, 1, 100, 100, []uint64{4, 7, last}, quarantine.Page{Last: last}},
		{quarantine.Selector{Tenant: "a"}, 0, 2, 100, []uint64{1, 4}, quarantine.Page{Last: 4, More: true}},
		{quarantine.Selector{Tenant: "a"}, 0, 100, 2, []uint64{1}, quarantine.Page{Last: 2, More: true}},
		{quarantine.Selector{Tenant: "a"}, 2, 100, 1, nil, quarantine.Page{Last: 3, More: true}},
		{quarantine.Selector{}, 0, 100, 100, []uint64{3, 6, 9}, quarantine.Page{Last: last}},
		{quarantine.Selector{Tenant: "b", Code: events.Codes[0]}, 0, 100, 100, []uint64{5}, quarantine.Page{Last: last}},
		{quarantine.Selector{Tenant: "c"}, 0, 100, 100, nil, quarantine.Page{Last: last}},
		{quarantine.Selector{Tenant: "a"}, last, 100, 100, nil, quarantine.Page{Last: last}},
		{quarantine.Selector{Tenant: "a"}, last - 1, 1, 1, []uint64{last}, quarantine.Page{Last: last}},
	} {
		var got []uint64
		page, err := quarantine.List(t.Context(), m, c.sel, c.after, c.limit, c.budget, func(seq uint64, q *rows.Quarantined) error {
			if q.Tenant != c.sel.Tenant {
				t.Errorf("%+v: one of tenant %q", c.sel, q.Tenant)
			}
			got = append(got, seq)
			return nil
		})
		if err != nil || page != c.page || !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, %+v, %v", c, got, page, err)
		}
	}
	if n, err := quarantine.Count(m, 100); n != 10 || err != nil {
		t.Errorf("%d are counted, %v", n, err)
	}
	if n, err := quarantine.Count(m, 3); n != 3 || err != nil {
		t.Errorf("%d are counted up to 3, %v", n, err)
	}
}

func TestGet(t *testing.T) {
	m := fill(t)
	for _, c := range []struct {
		sel   quarantine.Selector
		seq   uint64
		there bool
	}{
		{quarantine.Selector{Tenant: "a"}, 1, true}, {quarantine.Selector{Tenant: "b"}, 1, false}, {quarantine.Selector{}, 1, false},
		{quarantine.Selector{}, 3, true}, {quarantine.Selector{Tenant: "a"}, 3, false}, {quarantine.Selector{Tenant: "a"}, 77, false},
	} {
		if q, err := quarantine.Get(m, c.sel, c.seq); (q != nil) != c.there || err != nil {
			t.Errorf("%+v: %+v, %v", c, q, err)
		}
	}
}

func TestFaults(t *testing.T) {
	m := fill(t)
	visit := func(uint64, *rows.Quarantined) error { return nil }
	stop := errors.New("stop")
	if _, err := quarantine.List(t.Context(), m, quarantine.Selector{Tenant: "a"}, 0, 9, 9, func(uint64, *rows.Quarantined) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := quarantine.List(ended, m, quarantine.Selector{Tenant: "a"}, 0, 9, 9, visit); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	m[string(keys.Quarantine(1))] = []byte("{")
	if _, err := quarantine.List(t.Context(), m, quarantine.Selector{Tenant: "a"}, 0, 9, 9, visit); !errors.Is(err, rows.ErrCorrupt) {
		t.Errorf("%v", err)
	}
	if _, err := quarantine.Get(m, quarantine.Selector{Tenant: "a"}, 1); !errors.Is(err, rows.ErrCorrupt) {
		t.Errorf("%v", err)
	}
}
