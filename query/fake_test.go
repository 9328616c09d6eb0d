package query

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/feed"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
)

// row is an assignment of the fake index.
type row struct {
	kind          events.Kind
	id, ent, app  string
	score         *float64
	justification []events.Reason
}

func (r row) face() rows.Face {
	return rows.MakeFace(&events.Assignment{
		Assignee: events.Assignee{Kind: r.kind, ID: r.id}, EntID: r.ent, Score: r.score, Justification: r.justification,
	})
}

func (r row) position() listing.Position {
	return listing.Position{Assignee: events.Assignee{Kind: r.kind, ID: r.id}, EntID: r.ent}
}

func comparePositions(a, b listing.Position) int {
	return cmp.Or(cmp.Compare(a.Assignee.Kind, b.Assignee.Kind), cmp.Compare(a.Assignee.ID, b.Assignee.ID), cmp.Compare(a.EntID, b.EntID))
}

// fakeIndex keeps every state of one tenant whole: the state at sequence n is
// states[n]. It is written without a look at package listing.
type fakeIndex struct {
	mu      sync.Mutex
	states  [][]row
	floor   uint64
	stream  string
	advance chan struct{}
	waiting chan uint64           // gets what Wait is called with, when not nil
	listing func(limit int) error // called by List, when not nil
	corrupt bool                  // faces are not those of package rows
	lists   int                   // calls of List
	read    int                   // rows that they read
	dead    []listing.Position    // of rows that are no more, in order

	behind bool // SequenceAt waits in vain for what comes last

	counters bool  // there are counters
	counting error // what Counts fails with
}

const fakeTenant = "acme"

func newFake() *fakeIndex {
	return &fakeIndex{states: [][]row{nil}, stream: "s1", advance: make(chan struct{})}
}

// put adds a state: the one before with change applied to its rows.
func (f *fakeIndex) put(change func(map[listing.Position]row)) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[listing.Position]row{}
	for _, r := range f.states[len(f.states)-1] {
		all[r.position()] = r
	}
	change(all)
	var next []row
	for _, r := range all {
		next = append(next, r)
	}
	slices.SortFunc(next, func(a, b row) int { return comparePositions(a.position(), b.position()) })
	f.states = append(f.states, next)
	close(f.advance)
	f.advance = make(chan struct{})
	return uint64(len(f.states) - 1)
}

func (f *fakeIndex) add(list ...row) uint64 {
	return f.put(func(all map[listing.Position]row) {
		for _, r := range list {
			all[r.position()] = r
		}
	})
}

func (f *fakeIndex) Applied() (uint64, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return uint64(len(f.states) - 1), f.stream
}

func (f *fakeIndex) Floor() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.floor
}

func (f *fakeIndex) Wait(ctx context.Context, seq uint64) error {
	if f.waiting != nil {
		f.waiting <- seq
	}
	for {
		f.mu.Lock()
		reached, advance := uint64(len(f.states)-1) >= seq, f.advance
		f.mu.Unlock()
		if reached {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-advance:
		}
	}
}

// stamp is the time of the event of a state.
func stamp(seq int) time.Time { return time.Unix(1_800_000_000+int64(seq), 0) }

func (f *fakeIndex) SequenceAt(ctx context.Context, instant time.Time) (uint64, error) {
	f.mu.Lock()
	last, floor, behind := len(f.states)-1, f.floor, f.behind
	f.mu.Unlock()
	for seq := range last {
		if stamp(seq + 1).After(instant) {
			if uint64(seq) < floor {
				return 0, fmt.Errorf("fake: %w", listing.ErrPruned)
			}
			return uint64(seq), nil
		}
	}
	if behind {
		<-ctx.Done()
		return 0, fmt.Errorf("fake: %w: %w", listing.ErrAhead, ctx.Err())
	}
	return uint64(last), nil
}

func (f *fakeIndex) List(ctx context.Context, seq uint64, sel listing.Selector, after *listing.Position,
	limit int, visit func(rows.Face),
) (page listing.Page, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists++
	if f.listing != nil {
		if err := f.listing(limit); err != nil {
			return page, err
		}
	}
	switch {
	case seq < f.floor:
		return page, fmt.Errorf("fake: %w", listing.ErrPruned)
	case seq >= uint64(len(f.states)):
		return page, fmt.Errorf("fake: %w", listing.ErrAhead)
	case ctx.Err() != nil:
		return page, ctx.Err()
	}
	// pass goes over the rows that are no more up to a position, nil: to the end.
	dead := f.dead
	pass := func(to *listing.Position) (spent bool) {
		for ; len(dead) > 0 && (to == nil || comparePositions(dead[0], *to) < 0); dead = dead[1:] {
			if !sel.Contains(dead[0]) || after != nil && comparePositions(dead[0], *after) <= 0 {
				continue
			}
			if page.Passed == sel.MaxPassed {
				page.More, page.Spent = true, true
				return true
			}
			page.Passed++
			page.Last = dead[0]
		}
		return false
	}
	for _, r := range f.states[seq] {
		if at := r.position(); pass(&at) {
			return page, nil
		}
		if !sel.Contains(r.position()) || (sel.AppID != "" && sel.AppID != r.app) || sel.Tenant != fakeTenant {
			continue
		}
		if after != nil && comparePositions(r.position(), *after) <= 0 {
			continue
		}
		if page.Rows == limit || (sel.Scores != nil && page.Read == sel.Budget) {
			page.More, page.Spent = true, page.Rows < limit
			return page, nil
		}
		page.Read++
		f.read++
		page.Last = r.position()
		if sel.Scores != nil && !passes(*sel.Scores, r.score) {
			continue
		}
		page.Rows++
		if f.corrupt {
			visit(rows.Face("?"))
		} else {
			visit(r.face())
		}
	}
	pass(nil)
	return page, nil
}

// user is a row of a user.
func user(id, ent, app string) row { return row{kind: events.KindUser, id: id, ent: ent, app: app} }

// code gives the code of an error, empty when it has none.
func codeOf(err error) Code {
	if e, ok := err.(*Error); ok { //nolint:errorlint // refusals are never wrapped
		return e.Code
	}
	return ""
}

func wantError(t *testing.T, err error, code Code, field string) {
	t.Helper()
	e, ok := err.(*Error) //nolint:errorlint // refusals are never wrapped
	if !ok {
		t.Fatalf("error %v; want %s of %q", err, code, field)
	}
	if e.Code != code || e.Field != field || e.Detail == "" {
		t.Fatalf("code %q, field %q, detail %q; want %s of %q", e.Code, e.Field, e.Detail, code, field)
	}
}

func ptr[T any](v T) *T { return &v }

// passes is the test of scores.
func passes(s listing.Scores, score *float64) bool {
	if s.Unscored {
		return score == nil
	}
	return score != nil && (s.Least == nil || *score >= *s.Least) && (s.Most == nil || *score <= *s.Most) && (s.Below == nil || *score < *s.Below)
}

// Counts counts in the last state what there are counters of.
func (f *fakeIndex) Counts(sel listing.Selector) (counts rows.Counts, seq uint64, ok bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.counters || f.counting != nil {
		return counts, 0, false, f.counting
	}
	if sel.AssigneeID != "" || sel.Scores != nil || (sel.EntID != "" && sel.AppID != "") {
		return counts, 0, false, nil
	}
	last := len(f.states) - 1
	return f.countAt(last, sel), uint64(last), true, nil
}

// countAt counts a state row by row.
func (f *fakeIndex) countAt(seq int, sel listing.Selector) (counts rows.Counts) {
	for _, r := range f.states[seq] {
		if !sel.Contains(r.position()) || (sel.AppID != "" && sel.AppID != r.app) || (sel.Scores != nil && !passes(*sel.Scores, r.score)) {
			continue
		}
		switch s := r.score; {
		case s == nil:
			counts[rows.Unscored]++
		case *s >= 0.75:
			counts[rows.High]++
		case *s >= 0.35:
			counts[rows.Medium]++
		default:
			counts[rows.Low]++
		}
	}
	return counts
}

// Assignments is part of Index. Package httpapi tests what asks for it, on a real index.
func (f *fakeIndex) Assignments(context.Context, uint64, listing.Selector, *listing.Position, int, func(*listing.Assignment) error) (listing.Page, error) {
	panic("no test here lists whole assignments")
}

// Lookup is part of Index, as Assignments.
func (f *fakeIndex) Lookup(uint64, string, listing.Position, func(*listing.Assignment) error) (bool, error) {
	panic("no test here looks an assignment up")
}

// The feed is tested on a real index too.
func (f *fakeIndex) Changes(context.Context, listing.Selector, feed.Place, uint64, int, int, func(*feed.Change) error) (feed.Page, error) {
	panic("no test here reads changes")
}

func (f *fakeIndex) Diff(context.Context, listing.Selector, uint64, feed.Place, uint64, int, int, func(*feed.Change) error) (feed.Page, error) {
	panic("no test here compares states")
}

func (f *fakeIndex) History(context.Context, listing.Selector, listing.Position, uint64, int, func(*feed.Version) error) (bool, error) {
	panic("no test here reads a history")
}
