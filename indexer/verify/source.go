package verify

import (
	"context"

	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/store"
)

// Source is a view of an index that package audit reads: its reads end with a context
// and are told as progress. It is used by one goroutine.
type Source struct {
	ctx   context.Context //nolint:containedctx // of one check
	view  *store.View
	about int64 // how many keys there are
	tell  func(audit.Progress)

	name string // of the check under way
	done int64  // keys that it has read
}

// NewSource makes a source of a view of about so many keys. tell may be nil.
func NewSource(ctx context.Context, view *store.View, about int64, tell func(audit.Progress)) *Source {
	if tell == nil {
		tell = func(audit.Progress) {}
	}
	return &Source{ctx: ctx, view: view, about: about, tell: tell}
}

// toldEvery is how many keys are read between two looks at the context.
const toldEvery = 4096

// Begin names the check that reads next.
func (s *Source) Begin(name string) {
	s.name, s.done = name, 0
	s.tell(audit.Progress{Check: name, Of: s.about})
}

// Check tells whether what was read may be believed: see store.View.
func (s *Source) Check() error { return s.view.Check() }

// Get is part of audit.Source.
func (s *Source) Get(key []byte) ([]byte, error) { return s.view.Get(key) }

// Range is part of audit.Source.
func (s *Source) Range(prefix, from []byte, visit func(key, value []byte) bool) error {
	var ended error
	err := s.view.Walk(prefix, from, func(key, value []byte, _ int) bool {
		if s.done++; s.done%toldEvery == 0 {
			s.tell(audit.Progress{Check: s.name, Done: s.done, Of: max(s.about, s.done)})
			if ended = s.ctx.Err(); ended != nil {
				return false
			}
		}
		return value == nil || visit(key, value)
	})
	if ended != nil {
		return ended
	}
	if err == nil {
		err = s.ctx.Err()
	}
	return err
}

// ChangedAt is part of audit.Log.
func (s *Source) ChangedAt(key []byte, seq uint64) bool { return s.view.ChangedAt(key, seq) }

// Floor is part of audit.Log.
func (s *Source) Floor() uint64 { return s.view.Floor() }
