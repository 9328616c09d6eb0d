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
	// Range visits the keys that have the prefix and are not below from (nil:
	// from the first), in bytewise order, until visit returns false. Key and
	// value are valid until visit returns.
	Range(prefix, from []byte, visit func(key, value []byte) bool) error
	// Get returns the value of a key, nil when absent.
	Get(key []byte) ([]byte, error)
}

// Page says where a listing stopped.
type Page struct {
	Rows  int      // how many were visited
	Read  int      // how many were read: those that were visited, and those that did not pass the test of scores
	More  bool     // there are rows to be read after the last one
	Last  Position // the last row read; set when More
	Spent bool     // the budget of rows ended the page, which may be short or empty
}

const (
	// DefaultBudget is the budget of a selector that names none, in rows.
	DefaultBudget = 20_000
	// ctxEvery is how many rows are read between looks at the context.
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
	l := lister{ctx: ctx, scores: sel.Scores, limit: limit, visit: visit}
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
	if err := src.Range(r.prefix, from, l.row); err != nil {
		return err
	}
	return l.err
}

type lister struct {
	ctx    context.Context //nolint:containedctx // lives as long as the call of list
	scores *Scores
	limit  int
	budget int // of rows to read; 0: none
	visit  func(key, value []byte, face rows.Face) error
	page   Page
	last   []byte // the key of the last row read, once the page may end with it
	err    error
}

// spend takes one read from the budget. It reports false when that is used up, or
// the context has ended.
func (l *lister) spend() bool {
	if l.page.Read%ctxEvery == ctxEvery-1 {
		if l.err = l.ctx.Err(); l.err != nil {
			return false
		}
	}
	if l.budget > 0 && l.page.Read == l.budget {
		l.page.More, l.page.Spent = true, true
		return false
	}
	l.page.Read++
	return true
}

func (l *lister) row(key, value []byte) bool {
	if l.page.Rows == l.limit {
		l.page.More = true
		return false
	}
	if !l.spend() {
		return false
	}
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
	if l.page.Rows == l.limit || l.page.Read == l.budget {
		l.last = append(l.last[:0], key...)
	}
	if passes {
		l.err = l.visit(key, value, face)
	}
	return l.err == nil
}
