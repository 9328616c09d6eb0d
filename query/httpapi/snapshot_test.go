package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/snapshot"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/admission"
	"github.com/assigndex/assigndex/query/apikey"
)

// snapshotterFunc is a snapshot that a test plays.
type snapshotterFunc func(ctx context.Context, begin func(seq uint64, stream string) io.Writer) error

func (f snapshotterFunc) Snapshot(ctx context.Context, begin func(seq uint64, stream string) io.Writer) error {
	return f(ctx, begin)
}

// snapshotterOf writes snapshots of a test's index; nil: nobody may.
func snapshotterOf(x *testIndex) Snapshotter {
	return snapshotterFunc(func(ctx context.Context, begin func(seq uint64, stream string) io.Writer) error {
		if x == nil {
			return errors.New("nobody may copy this")
		}
		var file bytes.Buffer
		s, err := snapshot.Write(ctx, &file, x.st, snapshot.WriteOptions{})
		if err == nil {
			_, err = file.WriteTo(begin(s.At.Seq, s.At.Stream.Incarnation))
		}
		return err
	})
}

func TestSnapshot(t *testing.T) {
	f := newContractFixture(t, nil)
	f.fill()
	applied := f.index.st.Applied()
	a := f.operator.do(http.MethodGet, snapshotPath, "")
	if a.status != 200 || a.header.Get("Content-Type") != "application/octet-stream" || a.header.Get("Cache-Control") != "no-store" ||
		a.header.Get("Assigndex-Seq") != strconv.FormatUint(applied.Seq, 10) || a.header.Get("Assigndex-Stream") != incarnation {
		t.Fatalf("%d %v", a.status, a.header)
	}
	dir := filepath.Join(t.TempDir(), "index")
	h, err := snapshot.Restore(t.Context(), bytes.NewReader(a.body), dir, snapshot.RestoreOptions{})
	if err != nil || h.At.Seq != applied.Seq {
		t.Fatalf("%+v, %v", h, err)
	}
	st, err := store.Open(store.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

func examineSnapshot(t *testing.T, e *exam, _ *contractFixture) {
	var play snapshotterFunc
	f := newContractFixture(t, func(o *Options) {
		index := o.Snapshotter
		o.Snapshotter = snapshotterFunc(func(ctx context.Context, begin func(seq uint64, stream string) io.Writer) error {
			if play != nil {
				return play(ctx, begin)
			}
			return index.Snapshot(ctx, begin)
		})
	})
	f.fill()
	plain := question{name: "snapshot", method: http.MethodGet, path: snapshotPath}
	ask := func(c *client, q question) answer { t.Helper(); return e.ask(t, c, q) }
	headers := func(q question, headers ...string) question { q.headers = headers; return q }
	at := func(q question, path string) question { q.path = path; return q }

	ask(f.operator, plain.with(200, "", ""))
	ask(f.operator, headers(plain.with(200, "", ""), "Assigndex-Stream", incarnation))
	nobody := *f.client
	nobody.token = ""
	unknown := plain.with(401, Unauthenticated, "")
	unknown.illegal = true
	ask(&nobody, unknown)
	untold := newContractFixture(t, func(o *Options) { o.Auth = []Authenticator{Keys{Set: &apikey.Set{}}} })
	ask(untold.operator, plain.with(503, query.NotReady, ""))
	strict := newContractFixture(t, func(o *Options) { o.Limits.Caller = admission.Limits{PerSecond: 1e-3, Burst: 1} })
	strict.fill()
	ask(strict.operator, headers(plain.with(410, query.StreamChanged, ""), "Assigndex-Stream", "fedcba9876543210"))
	ask(strict.operator, plain.with(429, RateLimited, ""))
	ask(f.any, plain.with(403, RoleForbidden, ""))
	ask(f.admin, plain.with(403, TenantForbidden, ""))
	ask(f.operator, headers(plain.with(400, InvalidHeader, "Assigndex-Tenant"), "Assigndex-Tenant", "acme"))
	misspelt := at(plain.with(400, query.UnknownField, "at"), snapshotPath+"?at=3")
	misspelt.illegal = true
	ask(f.operator, misspelt)
	ask(f.operator, at(plain.with(400, query.InvalidField, ""), snapshotPath+"?%"))
	for _, fault := range []struct {
		err    error
		status int
		code   query.Code
	}{
		{&query.Error{Code: query.NotReady, Detail: "no keys"}, 503, query.NotReady},
		{fmt.Errorf("undone: %w", listing.ErrReplaced), 410, query.StreamChanged},
		{errors.New("disk"), 500, Internal},
	} {
		play = func(context.Context, func(seq uint64, stream string) io.Writer) error { return fault.err }
		ask(f.operator, plain.with(fault.status, fault.code, ""))
	}
	// One at a time, while a reader takes the first.
	began, end := make(chan struct{}), make(chan struct{})
	play = func(_ context.Context, begin func(seq uint64, stream string) io.Writer) error {
		w := begin(7, incarnation)
		close(began)
		<-end
		_, err := w.Write([]byte("whole"))
		return err
	}
	first := make(chan answer)
	go func() { first <- f.operator.do(http.MethodGet, snapshotPath, "") }()
	<-began
	ask(f.operator, plain.with(409, SnapshotRunning, ""))
	close(end)
	if a := <-first; a.status != 200 || string(a.body) != "whole" || a.header.Get("Assigndex-Seq") != "7" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	play = nil
	ask(f.operator, plain.with(200, "", ""))
}

// A snapshot that fails behind its first byte is cut off: nobody takes it for whole. It
// ends when its client leaves, and when the server stops.
func TestSnapshotIsCutOff(t *testing.T) {
	began, ended := make(chan struct{}, 3), make(chan error, 3)
	var fails atomic.Bool
	f := newContractFixture(t, func(o *Options) {
		o.Snapshotter = snapshotterFunc(func(ctx context.Context, begin func(seq uint64, stream string) io.Writer) error {
			if _, err := begin(7, incarnation).Write([]byte("half")); err != nil {
				return err
			}
			if fails.Load() {
				return errors.New("disk")
			}
			began <- struct{}{}
			<-ctx.Done()
			ended <- ctx.Err()
			return ctx.Err()
		})
	})
	f.fill()
	cutOff := func(ctx context.Context, what string) {
		t.Helper()
		a, err := f.operator.send(ctx, http.MethodGet, snapshotPath, strings.NewReader(""))
		if err == nil {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-began
		leave()
	}()
	cutOff(ctx, "the client leaves")
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	fails.Store(true)
	cutOff(t.Context(), "it fails")
	fails.Store(false)
	go func() {
		<-began
		f.server.watches.end()
	}()
	cutOff(t.Context(), "the server stops")
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
