package rebuild_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/events/publisher"
	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/generation"
	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/indexer/rebuild"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/indexer/stream/streamtest"
	"github.com/assigndex/assigndex/indexer/verify"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0: a new one")

const (
	streamName = "ASSIGNMENTS"
	// bounded is how long a test waits for what must happen in bounded time.
	bounded = 60 * time.Second
)

// random gives a test its seed, and prints it.
func random(t *testing.T) (uint64, *rand.Rand) {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 1_000_000_000
	}
	t.Logf("-seed %d", seed)
	return seed, rand.New(rand.NewPCG(seed, 7))
}

// source is a stream with random events.
type source struct {
	*testing.T
	url  string
	nc   *nats.Conn
	js   jetstream.JetStream
	gen  *modeltest.Generator
	last uint64
}

func newSource(t *testing.T, seed uint64) *source {
	t.Helper()
	server := streamtest.Start(t)
	s := &source{T: t, url: server.ClientURL(), nc: streamtest.Connect(t, server, publisher.ConnectOptions()...), gen: modeltest.NewGenerator(seed)}
	var err error
	if s.js, err = jetstream.New(s.nc); err != nil {
		t.Fatal(err)
	}
	if err := stream.Ensure(t.Context(), s.js, stream.Config{Name: streamName}); err != nil {
		t.Fatal(err)
	}
	return s
}

// publish puts so many random messages into the stream.
func (s *source) publish(count int) {
	s.Helper()
	for range count {
		m := s.gen.Next()
		ack, err := s.js.PublishMsg(s.Context(), &nats.Msg{Subject: strings.ReplaceAll(m.Subject, " ", "%"), Header: nats.Header(m.Header), Data: m.Data})
		if err != nil {
			s.Fatal(err)
		}
		s.last = ack.Sequence
	}
}

// say puts one assignment into the stream.
func (s *source) say(data string, args ...any) {
	s.Helper()
	header := nats.Header{events.TypeHeader: {string(events.AssignmentUpserted)}}
	ack, err := s.js.PublishMsg(s.Context(), &nats.Msg{Subject: events.Subject("t"), Header: header, Data: fmt.Appendf(nil, data, args...)})
	if err != nil {
		s.Fatal(err)
	}
	s.last = ack.Sequence
}

// ownReader is a reader with a connection of its own.
type ownReader struct {
	*stream.Reader
	nc *nats.Conn
}

func (r ownReader) Close() { r.nc.Close() }

func open(url string) (verify.Stream, error) {
	nc, err := nats.Connect(url)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, err
	}
	return ownReader{stream.NewReader(nc, js, streamName, zerolog.Nop()), nc}, nil
}

// options are of rebuilds in a data directory, in as many small pieces as can be.
func options(url, data string) rebuild.Options {
	return rebuild.Options{
		DataDir: data, Memory: 1, Logger: zerolog.Nop(),
		Stream: func(context.Context, string) (verify.Stream, error) { return open(url) },
		Store: func(dir string) (*store.Store, error) {
			return store.Open(store.Options{Dir: dir, Logger: zerolog.Nop()})
		},
	}
}

// served is an index that a host serves.
type served struct {
	*indexer.Host
	stop func() error
}

// serve serves the current generation of a data directory until stop is called, which
// may be more than once.
func serve(url, data string) (*served, error) {
	return serveWith(url, data, indexer.Options{History: time.Hour, Logger: zerolog.Nop()})
}

func serveWith(url, data string, o indexer.Options) (*served, error) {
	dir, err := generation.Current(data)
	if err != nil {
		return nil, err
	}
	st, err := store.Open(store.Options{Dir: dir, Logger: zerolog.Nop()})
	if err != nil {
		return nil, err
	}
	reader, err := open(url)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	closeBoth := func() error {
		err := st.Close()
		reader.Close()
		return err
	}
	h := indexer.NewHost(&indexer.Generation{Store: st, Stream: reader, Close: closeBoth}, o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	stopped := false
	return &served{Host: h, stop: func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return errors.Join(<-done, h.Close())
	}}, nil
}

// mustServe is serve for as long as the test runs.
func (s *source) mustServe(data string) *served {
	s.Helper()
	h, err := serve(s.url, data)
	return s.untilDone(h, err)
}

// mustServeTrimmed is mustServe of a stream that lost its first messages.
func (s *source) mustServeTrimmed(data string) *served {
	s.Helper()
	h, err := serveWith(s.url, data, indexer.Options{History: time.Hour, AcceptTrimmed: true, Logger: zerolog.Nop()})
	return s.untilDone(h, err)
}

func (s *source) untilDone(h *served, err error) *served {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if err := h.stop(); err != nil {
			s.Error(err)
		}
	})
	return h
}

// serveStill serves an index that stays as it is, until stop is called.
func (s *source) serveStill(st *store.Store) (h *indexer.Host, stop func()) {
	s.Helper()
	h = indexer.NewHost(&indexer.Generation{Store: st, Close: st.Close}, indexer.Options{History: time.Hour, Logger: zerolog.Nop()})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	return h, func() {
		cancel()
		if err := errors.Join(<-done, h.Close()); err != nil {
			s.Error(err)
		}
	}
}

// wait waits until the index has applied all of the stream.
func (s *source) wait(x *indexer.Index) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), bounded)
	defer cancel()
	if err := x.Wait(ctx, s.last); err != nil {
		s.Fatal(err)
	}
}

// filled makes a data directory with an index of the whole stream.
func (s *source) filled() (data string) {
	s.Helper()
	data = s.TempDir()
	h := s.mustServe(data)
	s.wait(h.Index())
	if err := h.stop(); err != nil {
		s.Fatal(err)
	}
	return data
}

// digest gives the digest of the current generation of a data directory that nobody has
// open, at the stream's end.
func (s *source) digest(data string) string {
	s.Helper()
	dir, err := generation.Current(data)
	if err != nil {
		s.Fatal(err)
	}
	st, err := store.Open(store.Options{Dir: dir, Logger: zerolog.Nop()})
	if err != nil {
		s.Fatal(err)
	}
	defer st.Close()
	digest, _, err := indexer.NewIndex(st, nil).Digest(s.last)
	if err != nil {
		s.Fatal(err)
	}
	return digest
}

// generations names the directories of indexes in a data directory.
func generations(t *testing.T, data string) (names []string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(data, "index*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		names = append(names, filepath.Base(path))
	}
	return names
}
