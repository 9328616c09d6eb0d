package ibmverify

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/query"
)

// Reader reads the index at one sequence. A *query.Lister is one.
type Reader interface {
	// Skip passes over at most limit assignments after a position.
	Skip(ctx context.Context, seq uint64, sel listing.Selector, after *listing.Position, limit int) (listing.Page, error)
	// Assignments visits at most limit assignments after a position. An error of
	// visit ends it and is returned.
	Assignments(ctx context.Context, seq uint64, sel listing.Selector, after *listing.Position, limit int,
		visit func(*listing.Assignment) error) (listing.Page, error)
}

// maxPageBytes bounds the assignments of a page together, as listings do. A page
// by number cannot end early, so a larger one is refused.
const maxPageBytes = 16 << 20

// Read adds the JSON of the page to b and gives the extended buffer. Nothing is
// kept from the page before: to come to a page, all assignments before it are read.
// An error is the Reader's, or a *query.Error when the search's budget, or the room
// of a page, is not enough.
func (s *Search) Read(ctx context.Context, r Reader, tenant string, seq uint64, b []byte) ([]byte, error) {
	b = append(b, `{"page":`...)
	b = strconv.AppendInt(b, int64(s.Page), 10)
	b = append(b, `,"limit":`...)
	b = strconv.AppendInt(b, int64(s.Limit), 10)
	b = append(b, `,"assignments":[`...)
	begin := len(b)
	more, err := s.visit(ctx, r, tenant, seq, func(a *listing.Assignment) error {
		first := len(b) == begin
		if !first {
			b = append(b, ',')
		}
		var err error
		if b, err = appendAssignment(b, tenant, a, s.IncludeRights); err == nil && !first && len(b)-begin > maxPageBytes {
			err = tooLarge()
		}
		return err
	})
	if err != nil {
		return b, err
	}
	b = append(b, `],"more":`...)
	return append(strconv.AppendBool(b, more), '}'), nil
}

// visit visits the assignments of the page and tells whether there are any after
// it.
func (s *Search) visit(
	ctx context.Context, r Reader, tenant string, seq uint64, visit func(*listing.Assignment) error,
) (more bool, err error) {
	before, left := int64(s.Page-1)*int64(s.Limit), int64(s.Limit)
	budget := cmp.Or(s.Budget, DefaultBudget)
	for _, sel := range s.selectors(tenant) {
		var after *listing.Position
		if before > 0 {
			page, err := within(&budget, &sel, before, func(limit int) (listing.Page, error) { return r.Skip(ctx, seq, sel, nil, limit) })
			if err != nil {
				return false, err
			}
			before -= int64(page.Rows)
			if !page.More {
				continue
			}
			after = &page.Last
		}
		page, err := within(&budget, &sel, left, func(limit int) (listing.Page, error) {
			return r.Assignments(ctx, seq, sel, after, limit, visit)
		})
		if err != nil || page.More {
			return page.More, err
		}
		left -= int64(page.Rows)
	}
	return false, nil
}

// within reads so many assignments, if there are, and takes what was read and
// passed over from the budget. It refuses to end early.
func within(budget *int, sel *listing.Selector, rows int64, read func(limit int) (listing.Page, error)) (listing.Page, error) {
	if *budget < 1 { // which a selector takes for none
		return listing.Page{}, tooFar()
	}
	sel.Budget, sel.MaxPassed = *budget, *budget
	page, err := read(int(min(rows, int64(*budget))))
	if err == nil && page.More && (page.Spent || int64(page.Rows) < rows) {
		err = tooFar()
	}
	*budget -= page.Read + page.Passed
	return page, err
}

func tooFar() *query.Error {
	return &query.Error{Code: query.TooManyRows, Detail: "to come to this page and through it, more rows and index keys would have to be read " +
		"than one request may read; narrow the filter, send a smaller page or limit, or list with POST /api/assignments, whose cursors go on at no cost"}
}

func tooLarge() *query.Error {
	return &query.Error{
		Code: query.TooManyRows, Field: "limit",
		Detail: fmt.Sprintf("the assignments of this page have more than %d MiB; send a smaller one", maxPageBytes>>20),
	}
}
