package listing

import (
	"bytes"
	"cmp"
	"context"
	"fmt"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

// Source is the index at one sequence.
type Source interface {
	// Walk visits the keys that have the prefix and are not below from (nil: from
	// the first), in bytewise order and each once, until visit returns false. The
	// value is nil when the key has no row at the sequence: it was deleted by then,
	// or is of later. passed is how many stored versions gave no row since the call
	// before, those of such a key included. Key and value are valid until visit
	// returns.
	Walk(prefix, from []byte, visit func(key, value []byte, passed int) bool) error
	// Get returns the value of a key, nil when absent.
	Get(key []byte) ([]byte, error)
}

// Page says where a listing stopped.
type Page struct {
	Rows   int      // how many were visited
	Read   int      // how many were read: those that were visited, and those that did not pass the test of scores
	Passed int      // how many stored versions were passed over: deleted rows, those of later, and what rows were before
	More   bool     // there may be rows after Last
	Last   Position // the last row read, or one behind it that is deleted; set when More
	Spent  bool     // a budget ended the page, which may be short or empty
}

const (
	// DefaultBudget is the budget of a selector that names none, in rows.
	DefaultBudget = 20_000
	// DefaultMaxPassed is MaxPassed of a selector that names none, in versions: about
	// five milliseconds.
	DefaultMaxPassed = 20_000
	// ctxEvery is how many rows and passed versions are between looks at the context.
	ctxEvery = 256
)

// List visits the faces of at most limit selected rows after a position (nil:
// from the first). A face is valid until visit returns. It returns the context's
// error when that ends first.
func List(ctx context.Context, src Source, sel Selector, after *Position, limit int, visit func(rows.Face)) (Page, error) {
	return list(ctx, src, sel, after, limit, func(_, _ []byte, face rows.Face) error {
		visit(face)
		return nil
	})
}

// list visits keys, stored values and faces.
func list(
	ctx context.Context, src Source, sel Selector, after *Position, limit int, visit func(key, value []byte, face rows.Face) error,
) (Page, error) {
	l := lister{ctx: ctx, scores: sel.Scores, limit: limit, maxPassed: cmp.Or(sel.MaxPassed, DefaultMaxPassed), visit: visit}
	if sel.Scores != nil || sel.Entitlements != nil {
		l.budget = cmp.Or(sel.Budget, DefaultBudget)
	}
	for _, kind := range sel.Kinds {
		if after != nil && kind < after.Assignee.Kind {
			continue
		}
		if after != nil && kind > after.Assignee.Kind {
			after = nil
		}
		var err error
		if sel.Entitlements != nil {
			err = l.filtered(src, sel, kind, after)
		} else {
			err = l.scan(src, sel, kind, after)
		}
		if err != nil {
			return Page{}, err
		}
		if l.page.More {
			break
		}
	}
	if !l.page.More || l.last == nil {
		return l.page, nil
	}
	_, row, err := keys.ParseRow(l.last)
	if err != nil {
		return Page{}, fmt.Errorf("list: %w", err)
	}
	l.page.Last = Position{Assignee: row.Assignee, EntID: row.EntID}
	return l.page, nil
}

// scan lists the rows of one kind that lie in one range, after a position of that
// kind.
func (l *lister) scan(src Source, sel Selector, kind events.Kind, after *Position) error {
	r := sel.rangeOf(kind)
	var from []byte
	if after != nil && !after.Before {
		from = r.after(sel, *after)
		if bytes.Compare(from, r.prefix) < 0 {
			from = nil // a position before the range
		} else if !bytes.HasPrefix(from, r.prefix) {
			return nil // a position behind it
		}
	}
	if err := src.Walk(r.prefix, from, l.step); err != nil {
		return err
	}
	return l.err
}

type lister struct {
	ctx       context.Context //nolint:containedctx // lives as long as the call of list
	scores    *Scores
	limit     int
	budget    int // of rows to read; 0: none
	maxPassed int
	visit     func(key, value []byte, face rows.Face) error
	page      Page
	unlooked  int    // rows and passed versions since the last look at the context
	last      []byte // the key that the page may end at; nil: page.Last is set
	err       error
}

// step takes a key with the value of its row, nil when it has none.
func (l *lister) step(key, value []byte, passed int) bool {
	if !l.look(passed) {
		return false
	}
	readAll := l.budget > 0 && l.page.Read == l.budget
	switch {
	case value != nil && l.page.Rows == l.limit:
		l.page.More = true
		return false
	case l.page.Passed >= l.maxPassed, value != nil && readAll:
		l.page.More, l.page.Spent = true, true
		return false
	}
	l.page.Passed += passed
	if value != nil {
		return l.row(key, value)
	}
	// The page may end behind a row that is no more: what was passed over to look
	// for the next row need not be passed over again.
	if l.page.Rows == l.limit || readAll || l.page.Passed >= l.maxPassed {
		l.last = append(l.last[:0], key...)
	}
	return true
}

// look looks at the context now and then. It reports false when that has ended.
func (l *lister) look(passed int) bool {
	if l.unlooked += passed + 1; l.unlooked >= ctxEvery {
		l.unlooked = 0
		l.err = l.ctx.Err()
	}
	return l.err == nil
}

func (l *lister) row(key, value []byte) bool {
	l.page.Read++
	face := rows.Face(value)
	if keys.Tag(key[0]) == keys.ByAssignee {
		if face, l.err = rows.FaceOf(value); l.err != nil {
			return false
		}
	}
	passes := l.scores == nil || l.scores.Pass(face)
	if passes {
		l.page.Rows++
	}
	if l.page.Rows == l.limit || l.page.Read == l.budget || l.page.Passed >= l.maxPassed {
		l.last = append(l.last[:0], key...)
	}
	if passes {
		l.err = l.visit(key, value, face)
	}
	return l.err == nil
}
