package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
)

// Lister answers requests from an index.
type Lister struct {
	index Index
	opts  Options
}

// Options of a Lister.
type Options struct {
	MaxPageSize int           // rows, at least 1
	MaxWait     time.Duration // how long a request waits for a sequence
	Levels      rows.Thresholds

	// Budget is how many rows a page reads to find those with the scores that are
	// asked for; 0: listing.DefaultBudget.
	Budget int
	// MaxPassed is how many stored versions that give no row (deleted ones, above all)
	// a page passes over; 0: listing.DefaultMaxPassed.
	MaxPassed int
	// MaxCounted is how many rows one request counts where there is no counter, and
	// passes over, being deleted; 0: DefaultMaxCounted.
	MaxCounted int
}

// NewLister makes a lister.
func NewLister(index Index, o Options) *Lister {
	o.Budget = cmp.Or(o.Budget, listing.DefaultBudget)
	o.MaxPassed = cmp.Or(o.MaxPassed, listing.DefaultMaxPassed)
	o.MaxCounted = cmp.Or(o.MaxCounted, DefaultMaxCounted)
	return &Lister{index: index, opts: o}
}

// Page says where an answer stands in the stream and how the listing goes on.
type Page struct {
	// Seq is the sequence that the rows were read at. With an error it is the last
	// applied sequence.
	Seq    uint64
	Stream string // the incarnation that Seq is of; empty: the index never had a stream
	Cursor string // of the next page; empty: this is the last one
}

// Place gives where the index stands, as a Page without rows.
func (l *Lister) Place() Page {
	seq, stream := l.index.Applied()
	return Page{Seq: seq, Stream: stream}
}

// Still refuses what was read when the incarnation is another one than the page's by
// now: the sequence may have been read as one of either. Who reads at a sequence that
// Snapshot gave asks for it before the answer.
func (l *Lister) Still(page Page) (now Page, err error) {
	if now = l.Place(); now.Stream != page.Stream {
		return now, replaced()
	}
	return page, nil
}

// Page visits the faces of one page, in order. A face is valid until visit
// returns, and what was visited before an error must not be believed. The error
// is an *Error, the context's, or a fault of the index. The Page that comes with
// an error has its Seq and Stream.
func (l *Lister) Page(ctx context.Context, tenant string, req *Request, visit func(rows.Face)) (Page, error) {
	page := l.Place()
	if err := page.of(req.Stream); err != nil {
		return page, err
	}
	sel, err := req.selector(tenant, l.opts.Levels)
	if err != nil {
		return page, err
	}
	limit, err := req.pageSize(l.opts.MaxPageSize)
	if err != nil {
		return page, err
	}
	query := queryHash(sel, req.AsOf)
	from, err := start(req, sel, query, page.Stream)
	if err != nil {
		return page, err
	}
	seq, err := l.reach(ctx, &page, req.AtLeast, from.at)
	if err != nil {
		return page, err
	}
	last, err := l.read(ctx, seq, sel, from.after, limit, visit)
	if now, err := l.Still(page); err != nil {
		return now, err
	}
	if err != nil {
		return page, l.readError(err, seq)
	}
	page.Seq = seq
	if last != nil {
		next := cursor{stream: page.Stream, seq: seq, query: query, at: *last}
		page.Cursor = next.encode()
	}
	return page, nil
}

// beginning is where a page begins: in which state and after which row.
type beginning struct {
	at    *AsOf             // nil: at the last applied sequence
	after *listing.Position // nil: the first row
}

// start reads the request's cursor and checks that it belongs to the query.
func start(req *Request, sel listing.Selector, query hash, stream string) (beginning, error) {
	if req.Cursor == "" {
		return beginning{at: req.AsOf}, nil
	}
	var inline [inlineBytes]byte
	raw, ok := unbase64(inline[:0], req.Cursor)
	if ok && len(raw) > 0 && raw[0] == seedMark {
		at, ok := decodeSeed(raw)
		if !ok {
			return beginning{}, damaged()
		}
		if !slices.Equal(sel.Kinds, userKinds) {
			return beginning{}, mismatch("a cursor of a user and an entitlement continues listings of type USER only")
		}
		return beginning{at: req.AsOf, after: &at}, nil
	}
	if !ok {
		return beginning{}, damaged()
	}
	c, ok := decodeCursor(raw)
	switch {
	case !ok:
		return beginning{}, damaged()
	case c.query != query:
		return beginning{}, mismatch("the cursor is of another query or tenant: send it with the filters, type and as_of of its first page")
	case !sel.Contains(c.at) || (req.AsOf != nil && req.AsOf.Instant == nil && req.AsOf.Seq != c.seq):
		return beginning{}, damaged() // no page of this query ends there
	case c.stream != stream:
		return beginning{}, otherStream("the cursor is of another incarnation of the stream; start again without it")
	}
	return beginning{at: &AsOf{Seq: c.seq}, after: &c.at}, nil
}

// reach waits until the index has applied what the request needs, gives the
// sequence to read at, and brings page up to date.
func (l *Lister) reach(ctx context.Context, page *Page, atLeast uint64, at *AsOf) (seq uint64, err error) {
	need, instant := atLeast, at != nil && at.Instant != nil
	if at != nil && !instant {
		if err := contains(at.Seq, atLeast); err != nil {
			return 0, err
		}
		need = at.Seq
	}
	if need > page.Seq || instant {
		waiting, cancel := context.WithTimeout(ctx, l.opts.MaxWait)
		defer cancel()
		if err := l.wait(waiting, page, need); err != nil {
			return 0, cmp.Or(ctx.Err(), err)
		}
		if instant {
			if seq, err = l.sequenceAt(waiting, page, *at.Instant); err != nil {
				return 0, cmp.Or(ctx.Err(), err)
			}
			return seq, contains(seq, atLeast)
		}
	}
	if at == nil {
		return page.Seq, nil
	}
	if floor := l.index.Floor(); at.Seq < floor {
		return 0, pruned(at.Seq, floor)
	}
	return at.Seq, nil
}

// contains checks that a listing that reads at seq can contain what the request
// wants to see at least.
func contains(seq, atLeast uint64) error {
	if atLeast > seq {
		return &Error{ConflictingFields, "at_least", fmt.Sprintf(
			"the listing reads at sequence %d, which at_least is above; start a new listing to see later changes", seq)}
	}
	return nil
}

// wait waits until seq has been applied, and brings page up to date.
func (l *Lister) wait(ctx context.Context, page *Page, seq uint64) error {
	if seq <= page.Seq {
		return nil
	}
	if err := l.index.Wait(ctx, seq); errors.Is(err, context.DeadlineExceeded) {
		return notReached(seq)
	} else if errors.Is(err, listing.ErrReplaced) {
		page.Seq, page.Stream = l.index.Applied()
		return replaced()
	} else if err != nil {
		return err
	}
	before := page.Stream
	if page.Seq, page.Stream = l.index.Applied(); page.Stream != before {
		return replaced()
	}
	return nil
}

// readError turns an error of the index into the answer to it.
func (l *Lister) readError(err error, seq uint64) error {
	switch {
	case errors.Is(err, listing.ErrPruned):
		return pruned(seq, l.index.Floor())
	case errors.Is(err, listing.ErrAhead):
		return notReached(seq)
	case errors.Is(err, listing.ErrReplaced):
		return replaced()
	default:
		return err
	}
}

func damaged() *Error {
	return &Error{InvalidCursor, "cursor", "the cursor is damaged or not one of this service; send it exactly as it was received"}
}

func mismatch(detail string) *Error { return &Error{CursorMismatch, "cursor", detail} }

func otherStream(detail string) *Error { return &Error{StreamChanged, "", detail} }

func replaced() *Error { return otherStream("the stream was replaced while the request was answered") }

func pruned(seq, floor uint64) *Error {
	return &Error{HistoryPruned, "", fmt.Sprintf(
		"sequence %d is below the history window, which begins at %d; start a new listing", seq, floor)}
}

func notReached(seq uint64) *Error {
	return &Error{NotReached, "", fmt.Sprintf("sequence %d was not applied in time; try again", seq)}
}
