package indexer

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/feed"
	"github.com/assigndex/assigndex/indexer/fold"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
)

// Index is the read side: what queries may ask of a store that is kept up with
// its stream.
type Index struct {
	served   atomic.Pointer[served]
	caughtUp atomic.Int64 // when it was last seen caught up, Unix nanoseconds; 0: never
}

// End is the end of the stream, as a reader of it knows it.
type End interface {
	// Head gives what is known of it.
	Head() stream.Head
	// Ask gives what is known of it at since or later, and asks the server if need be.
	Ask(ctx context.Context, since time.Time) (stream.Head, error)
}

// NewIndex makes the read side of a store. end is nil for an index without a
// stream, which is never behind and of which no instant that is not past can be asked.
func NewIndex(st *store.Store, end End) *Index {
	x := new(Index)
	x.served.Store(newServed(st, end))
	return x
}

// Applied gives the last applied sequence and the incarnation of its stream,
// empty before the first connection to one.
func (x *Index) Applied() (seq uint64, incarnation string) {
	at := x.served.Load().store.Applied()
	return at.Seq, at.Stream.Incarnation
}

// Floor gives the lowest sequence that can be read.
func (x *Index) Floor() uint64 { return x.served.Load().store.Floor() }

// List visits the faces of at most limit assignments at a sequence, with what the
// selector includes. It returns
// listing.ErrPruned below the history window, listing.ErrAhead above what is applied
// and listing.ErrReplaced when the index was undone meanwhile; what was visited before
// an error must not be believed.
func (x *Index) List(ctx context.Context, seq uint64, sel listing.Selector, after *listing.Position, limit int, visit func(rows.Face)) (listing.Page, error) {
	s := x.enter()
	defer s.leave()
	view, err := s.store.View(seq)
	if err != nil {
		return listing.Page{}, err
	}
	defer view.Close()
	var page listing.Page
	if sel.Include == 0 {
		page, err = listing.List(ctx, view, sel, after, limit, visit)
	} else {
		page, err = listing.ListDetailed(ctx, view, sel, after, limit, visit)
	}
	if err != nil {
		return listing.Page{}, err
	}
	// The floor may have passed the view while it was read.
	return page, view.Check()
}

// Assignments is List with whole assignments. An error of visit ends it and is
// returned.
func (x *Index) Assignments(
	ctx context.Context, seq uint64, sel listing.Selector, after *listing.Position, limit int, visit func(*listing.Assignment) error,
) (listing.Page, error) {
	s := x.enter()
	defer s.leave()
	view, err := s.store.View(seq)
	if err != nil {
		return listing.Page{}, err
	}
	defer view.Close()
	page, err := listing.ListAssignments(ctx, view, sel, after, limit, visit)
	if err != nil {
		return listing.Page{}, err
	}
	return page, view.Check()
}

// open opens the index at a sequence for the feed.
func (s *served) open(seq uint64) (feed.Snapshot, error) { return s.store.View(seq) }

// Changes visits at most limit changes from a place on, up to and with a sequence,
// and looks at no more than budget of them. See feed.Changes.
func (x *Index) Changes(
	ctx context.Context, sel listing.Selector, from feed.Place, upto uint64, limit, budget int, visit func(*feed.Change) error,
) (feed.Page, error) {
	s := x.enter()
	defer s.leave()
	return feed.Changes(ctx, s.open, sel, from, upto, limit, budget, visit)
}

// Diff visits at most limit assignments that differ between two sequences, from a
// place on. See feed.Diff.
func (x *Index) Diff(
	ctx context.Context, sel listing.Selector, lower uint64, from feed.Place, upto uint64, limit, budget int, visit func(*feed.Change) error,
) (feed.Page, error) {
	s := x.enter()
	defer s.leave()
	return feed.Diff(ctx, s.open, sel, lower, from, upto, limit, budget, visit)
}

// History visits at most limit versions of one assignment, the newest first, and
// reports whether there are more. See feed.History.
func (x *Index) History(
	ctx context.Context, sel listing.Selector, at listing.Position, upto uint64, limit int, visit func(*feed.Version) error,
) (more bool, err error) {
	s := x.enter()
	defer s.leave()
	return feed.History(ctx, s.open, s.store.Floor, sel, at, upto, limit, visit)
}

// Lookup visits the assignment of an identity at a sequence, if there is one. An
// error of visit is returned.
func (x *Index) Lookup(seq uint64, tenant string, at listing.Position, visit func(*listing.Assignment) error) (found bool, err error) {
	s := x.enter()
	defer s.leave()
	view, err := s.store.View(seq)
	if err != nil {
		return false, err
	}
	defer view.Close()
	a, err := listing.Lookup(view, tenant, at)
	if err != nil {
		return false, err
	}
	if a != nil {
		if err := visit(a); err != nil {
			return false, err
		}
	}
	return a != nil, view.Check()
}

// Counts gives the number of selected assignments by level at the last applied
// sequence, which it returns. It reports false for a selection that no counter is
// kept of: one by assignee, by score, or by entitlement and application together.
func (x *Index) Counts(sel listing.Selector) (counts rows.Counts, seq uint64, ok bool, err error) {
	scope, id := keys.OfTenant, ""
	switch {
	case sel.AssigneeID != "" || sel.Scores != nil || (sel.EntID != "" && sel.AppID != ""):
		return counts, 0, false, nil
	case sel.EntID != "":
		scope, id = keys.OfEntitlement, sel.EntID
	case sel.AppID != "":
		scope, id = keys.OfApplication, sel.AppID
	}
	s := x.enter()
	defer s.leave()
	counts, at, err := s.store.Counts(sel.Tenant, scope, id, sel.Kinds)
	return counts, at.Seq, true, err
}

// Present tells for each event whether the record that it is about exists at the
// last applied sequence, which it returns.
func (x *Index) Present(all []*events.Event) (present []bool, seq uint64, err error) {
	s := x.enter()
	defer s.leave()
	view, err := s.store.View(s.store.Applied().Seq)
	if err != nil {
		return nil, 0, err
	}
	defer view.Close()
	present = make([]bool, len(all))
	for i, ev := range all {
		value, err := view.Get(fold.RecordKey(ev))
		if err != nil {
			return nil, 0, err
		}
		present[i] = value != nil
	}
	return present, view.Seq(), view.Check()
}

// Digest gives the digest of the index at a sequence and the number of its
// assignments, after checking that its families agree.
func (x *Index) Digest(seq uint64) (digest string, assignments int, err error) {
	s := x.enter()
	defer s.leave()
	view, err := s.store.View(seq)
	if err != nil {
		return "", 0, err
	}
	defer view.Close()
	differences, err := audit.Agree(view, 1)
	if err != nil {
		return "", 0, err
	}
	if err := view.Check(); err != nil {
		return "", 0, err
	}
	if len(differences) > 0 {
		return "", 0, fmt.Errorf("the families of the index differ: %s", differences[0])
	}
	if digest, assignments, err = audit.Digest(view); err != nil {
		return "", 0, err
	}
	return digest, assignments, view.Check()
}

// Lag says how far the index is behind its stream.
type Lag struct {
	Applied   uint64
	Head      uint64        // the stream's end as last seen
	Known     bool          // Head was seen at least once
	Sequences uint64        // Head - Applied, or 0
	Age       time.Duration // for how long it has been behind, parted from its stream, or has not heard of it; 0 when none of these
	Silent    time.Duration // for how long it has not heard of its stream; 0 while that is usual
}

// usualSilence is for how long nothing need be heard of a stream that is well.
const usualSilence = 10 * time.Second

// Lag measures at the given time.
func (x *Index) Lag(now time.Time) Lag {
	s := x.served.Load()
	at := s.store.Applied()
	if s.end == nil {
		return Lag{Applied: at.Seq, Head: at.Seq, Known: at.Stream.Name != ""}
	}
	head := s.end.Head()
	l := Lag{Applied: at.Seq, Head: head.Seq, Known: !head.Seen.IsZero()}
	if p := head.Parted; p != nil {
		// The end of the index's own stream is not known any longer; what there was of it
		// is applied, as far as it was seen.
		l.Known, l.Head = true, max(l.Head, at.Seq)
		l.Sequences, l.Age = l.Head-at.Seq, max(0, now.Sub(p.Since))
		return l
	}
	if !l.Known {
		return l
	}
	if head.Seq <= at.Seq {
		x.caughtUp.Store(now.UnixNano())
	} else {
		l.Sequences = head.Seq - at.Seq
		since := time.Unix(0, max(at.Nano, x.caughtUp.Load()))
		if at.Seq >= head.Prev && head.Moved.After(since) {
			since = head.Moved // there was nothing to apply before
		}
		l.Age = max(0, now.Sub(since))
	}
	if silent := now.Sub(head.Seen); silent > usualSilence {
		l.Silent, l.Age = silent, max(l.Age, silent)
	}
	return l
}

// Troubles tells operators what is wrong although the index serves.
func (x *Index) Troubles(now time.Time) []string {
	end := x.served.Load().end
	if end == nil {
		return nil
	}
	if p := end.Head().Parted; p != nil {
		seq, _ := x.Applied()
		return []string{fmt.Sprintf("the stream is not the one that was read (%s, noticed %s ago): %s; the index serves its last state, sequence %d; %s",
			p.Kind, now.Sub(p.Since).Round(time.Second), p.What(), seq, p.Remedy())}
	}
	if silent := x.Lag(now).Silent; silent > 0 {
		return []string{fmt.Sprintf("nothing was heard of the stream for %s: later events are not seen", silent.Round(time.Second))}
	}
	return nil
}
