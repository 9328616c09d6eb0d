package indexer

import (
	"context"

	"github.com/assigndex/assigndex/indexer/quarantine"
	"github.com/assigndex/assigndex/indexer/rows"
)

// Quarantine visits at most limit messages in the quarantine at a sequence, after
// one of them, the oldest first, and looks at no more than budget of any tenant. It
// returns listing.ErrPruned below the history window and listing.ErrAhead above what
// is applied; what was visited before an error must not be believed.
func (x *Index) Quarantine(
	ctx context.Context, at uint64, sel quarantine.Selector, after uint64, limit, budget int, visit func(seq uint64, q *rows.Quarantined) error,
) (quarantine.Page, error) {
	s := x.enter()
	defer s.leave()
	view, err := s.store.View(at)
	if err != nil {
		return quarantine.Page{}, err
	}
	defer view.Close()
	page, err := quarantine.List(ctx, view, sel, after, limit, budget, visit)
	if err != nil {
		return quarantine.Page{}, err
	}
	return page, view.Check()
}

// Quarantined gives the selected message in the quarantine at a sequence, or nil
// when there is none. Errors are as those of Quarantine.
func (x *Index) Quarantined(at uint64, sel quarantine.Selector, seq uint64) (*rows.Quarantined, error) {
	s := x.enter()
	defer s.leave()
	view, err := s.store.View(at)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	q, err := quarantine.Get(view, sel, seq)
	if err != nil {
		return nil, err
	}
	return q, view.Check()
}

// QuarantineSize gives the number of messages in the quarantine at the last applied
// sequence, counted up to a limit.
func (x *Index) QuarantineSize(limit int) (int, error) {
	s := x.enter()
	defer s.leave()
	view, err := s.store.View(s.store.Applied().Seq)
	if err != nil {
		return 0, err
	}
	defer view.Close()
	n, err := quarantine.Count(view, limit)
	if err != nil {
		return 0, err
	}
	return n, view.Check()
}
