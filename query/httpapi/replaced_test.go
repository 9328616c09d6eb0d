package httpapi

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/assigndex/assigndex/indexer/feed"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/query"
)

// partingIndex is an index that takes another incarnation while it is read.
type partingIndex struct {
	query.Index
	parted atomic.Bool
}

func (p *partingIndex) Applied() (seq uint64, stream string) {
	seq, stream = p.Index.Applied()
	if p.parted.Load() {
		stream = strings.ToUpper(stream + "x")
	}
	return seq, stream
}

func (p *partingIndex) Changes(
	ctx context.Context, sel listing.Selector, from feed.Place, upto uint64, limit, budget int, visit func(*feed.Change) error,
) (feed.Page, error) {
	defer p.parted.Store(true)
	return p.Index.Changes(ctx, sel, from, upto, limit, budget, visit)
}

func (p *partingIndex) Diff(
	ctx context.Context, sel listing.Selector, lower uint64, from feed.Place, upto uint64, limit, budget int, visit func(*feed.Change) error,
) (feed.Page, error) {
	defer p.parted.Store(true)
	return p.Index.Diff(ctx, sel, lower, from, upto, limit, budget, visit)
}

func (p *partingIndex) Assignments(
	ctx context.Context, seq uint64, sel listing.Selector, after *listing.Position, limit int, visit func(*listing.Assignment) error,
) (listing.Page, error) {
	defer p.parted.Store(true)
	return p.Index.Assignments(ctx, seq, sel, after, limit, visit)
}

// What was read while the index was undone is not answered, whatever route reads it.
func TestReplacedWhileItIsRead(t *testing.T) {
	var parting *partingIndex
	f := newContractFixture(t, func(o *Options) {
		parting = &partingIndex{Index: o.Index}
		o.Index = parting
	})
	f.fill()
	for path, body := range map[string]string{"/api/changes?since=0": "", "/api/assignments/diff": `{"from":0}`, verifySearchPath: `{}`} {
		parting.parted.Store(false)
		method := http.MethodPost
		if body == "" {
			method = http.MethodGet
		}
		a := f.admin.do(method, path, body)
		if a.status != http.StatusGone || !strings.Contains(strings.ToLower(string(a.body)), "stream_changed") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}
