// Package quarantine reads the reasons why messages could not be applied, as an
// index holds them at one sequence.
//
// It refuses to know the messages themselves, which the stream alone holds, and to
// change anything: the indexer puts a reason in, and the fold takes it out when an
// event drops it. Functions hold no state.
package quarantine

import (
	"context"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

// Source is the index at one sequence.
type Source interface {
	Get(key []byte) ([]byte, error)
	Range(prefix, from []byte, visit func(key, value []byte) bool) error
}

// Selector says whose messages, and which.
type Selector struct {
	Tenant string      // empty: those whose tenant could not be read
	Code   events.Code // empty: any
}

func (s Selector) picks(q *rows.Quarantined) bool {
	return q.Tenant == s.Tenant && (s.Code == "" || q.Code == s.Code)
}

// Page says how far List came.
type Page struct {
	Last uint64 // the last sequence that was looked at
	More bool   // there may be more behind it
}

// List visits at most limit selected messages after a sequence, the oldest first,
// and looks at no more than budget of any tenant. An error of visit ends it and is
// returned.
func List(
	ctx context.Context, src Source, sel Selector, after uint64, limit, budget int, visit func(seq uint64, q *rows.Quarantined) error,
) (Page, error) {
	page := Page{Last: after}
	if after == ^uint64(0) {
		return page, nil
	}
	var failed error
	found, seen := 0, 0
	err := src.Range([]byte{byte(keys.QuarantineTag)}, keys.Quarantine(after+1), func(key, value []byte) bool {
		if found == limit || seen == budget {
			page.More = true
			return false
		}
		if seen%256 == 0 {
			if failed = ctx.Err(); failed != nil {
				return false
			}
		}
		seen++
		var q rows.Quarantined
		if page.Last, failed = keys.ParseQuarantine(key); failed != nil {
			return false
		}
		if q, failed = rows.DecodeQuarantined(value); failed != nil {
			return false
		}
		if sel.picks(&q) {
			found++
			failed = visit(page.Last, &q)
		}
		return failed == nil
	})
	if err == nil {
		err = failed
	}
	return page, err
}

// Get gives the selected message at a sequence, or nil when there is none.
func Get(src Source, sel Selector, seq uint64) (*rows.Quarantined, error) {
	value, err := src.Get(keys.Quarantine(seq))
	if value == nil || err != nil {
		return nil, err
	}
	q, err := rows.DecodeQuarantined(value)
	if err != nil || !sel.picks(&q) {
		return nil, err
	}
	return &q, nil
}

// Count gives the number of messages of every tenant, counted up to a limit.
func Count(src Source, limit int) (n int, err error) {
	err = src.Range([]byte{byte(keys.QuarantineTag)}, nil, func(_, _ []byte) bool {
		n++
		return n < limit
	})
	return n, err
}
