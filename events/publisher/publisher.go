package publisher

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/events"
)

// Publisher publishes one tenant's events into one stream.
type Publisher struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	opts    Options
	subject string

	// turn holds a token while nobody publishes. Whoever took it owns the fields
	// down to dropAck.
	turn    chan struct{}
	closed  bool
	stream  streamFacts
	batches bool // the stream takes atomic batches, as far as we know
	most    int  // messages in a batch that the server takes
	proven  bool // the last batch went through, so the next need not feel its way
	// patience is how long an answer is awaited: at first Options.AckTimeout, doubled
	// for the rest of a batch by each attempt in vain. A server that is slower than
	// AckTimeout would otherwise be asked the same thing until RetryFor is over.
	patience time.Duration

	inbox  string // replies come to inbox.<number>[.<index>]
	number uint64 // of the last attempt
	sub    *nats.Subscription
	acks   chan *nats.Msg
	status chan nats.Status // tells of lost connections

	// dropAck loses a reply, to see what a lost acknowledgement does. Nil in production.
	dropAck func(reply *nats.Msg) bool

	// maxMessage is the stream's limit on one message in bytes; 0 or less: none.
	maxMessage atomic.Int64
}

// streamFacts are what the publisher needs to know of the stream.
type streamFacts struct {
	created  time.Time
	replicas int
	// retryFor is how long after it was first sent a message may be sent again.
	retryFor time.Duration
}

// New reads the stream's configuration and returns a publisher on nc, which must
// have been made with ConnectOptions or at least nats.ReconnectBufSize(-1). The
// caller keeps nc and closes it after the Publisher.
//
// Errors: ErrBuffering, ErrNoStream, ErrDenied, an invalid option, or that the
// server did not answer within Options.AckTimeout or before ctx ended.
func New(ctx context.Context, nc *nats.Conn, opts Options) (*Publisher, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("publisher: %w", err)
	}
	if nc.Opts.ReconnectBufSize >= 0 {
		return nil, fmt.Errorf("publisher: %w", ErrBuffering)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("publisher: %w", err)
	}
	p := &Publisher{
		nc: nc, js: js, opts: opts, subject: events.Subject(opts.Tenant),
		turn: make(chan struct{}, 1), most: opts.BatchMessages, patience: opts.AckTimeout,
		inbox: nc.NewInbox(), acks: make(chan *nats.Msg, 2*MaxBatch),
	}
	if trouble := p.readStream(ctx); trouble != nil {
		return nil, fmt.Errorf("publisher: %w", trouble.err)
	}
	if p.sub, err = nc.ChanSubscribe(p.inbox+".>", p.acks); err != nil {
		return nil, fmt.Errorf("publisher: %w", err)
	}
	p.status = nc.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	p.turn <- struct{}{}
	return p, nil
}

// Close waits for the batch under way and gives back the subscription. It leaves
// the connection open, and what a Writer still holds unsent.
func (p *Publisher) Close() error {
	<-p.turn
	defer p.release()
	if p.closed {
		return nil
	}
	p.closed = true
	p.nc.RemoveStatusListener(p.status)
	if err := p.sub.Unsubscribe(); err != nil && !p.nc.IsClosed() {
		return fmt.Errorf("publisher: %w", err)
	}
	return nil
}

// Publish publishes messages in order and returns when the server has acknowledged
// them all. On an error the Ack tells how many it had acknowledged by then; none of
// the others was stored, unless the error is ErrUnknownOutcome.
//
// All messages are checked before the first is sent. Up to Options.BatchMessages of
// them (and Options.BatchBytes) are stored together or not at all, on a stream that
// takes atomic batches; more are several such batches, one after the other.
//
// A lost connection is waited for, and unacknowledged messages are sent again, for
// at most Options.RetryFor or until ctx ends.
func (p *Publisher) Publish(ctx context.Context, msgs ...Message) (Ack, error) {
	var ack Ack
	entries := make([]*entry, len(msgs))
	for i, m := range msgs {
		e, err := p.prepare(m)
		if err != nil {
			return ack, fmt.Errorf("publisher: message %d: %w", i, err)
		}
		entries[i] = e
	}
	if err := p.acquire(ctx); err != nil {
		return ack, err
	}
	defer p.release()
	for len(entries) > 0 {
		n := p.fitting(entries)
		err := p.store(ctx, entries[:n])
		ack.take(entries[:n])
		if err != nil {
			return ack, fmt.Errorf("publisher: %w", err)
		}
		entries = entries[n:]
	}
	return ack, nil
}

// fitting gives how many entries fit into one batch, at least one.
func (p *Publisher) fitting(entries []*entry) int {
	size := 0
	for i, e := range entries {
		size += e.size
		if i > 0 && (i == p.opts.BatchMessages || size > p.opts.BatchBytes) {
			return i
		}
	}
	return len(entries)
}

func (p *Publisher) acquire(ctx context.Context) error {
	select {
	case <-p.turn:
	case <-ctx.Done():
		return fmt.Errorf("publisher: %w", ctx.Err())
	}
	if p.closed {
		p.release()
		return fmt.Errorf("publisher: %w", ErrClosed)
	}
	return nil
}

func (p *Publisher) release() { p.turn <- struct{}{} }

// readStream asks the server for the stream's configuration. That it answers shows
// too that the connection works and that the stream has a leader.
func (p *Publisher) readStream(ctx context.Context) *failure {
	patience := p.patient()
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	before := p.nc.LastError()
	stream, err := p.js.Stream(limited, p.opts.Stream)
	if err != nil {
		if limited.Err() != nil {
			p.patience = 2 * patience
		}
		if denial := p.deniedSince(before); denial != nil {
			return denial
		}
		return streamError(p.opts.Stream, err)
	}
	info := stream.CachedInfo()
	cfg := info.Config
	if !p.stream.created.IsZero() && !info.Created.Equal(p.stream.created) {
		return &failure{err: ErrStreamReplaced, final: true}
	}
	switch {
	case cfg.NoAck:
		return &failure{err: fmt.Errorf("%w: stream %s sends no acknowledgements", ErrNoStream, p.opts.Stream), final: true}
	case cfg.Sealed:
		return &failure{err: fmt.Errorf("%w: stream %s is sealed", ErrNoStream, p.opts.Stream), final: true}
	case !covers(cfg.Subjects, p.subject):
		return &failure{err: fmt.Errorf("%w: stream %s does not listen on %s", ErrNoStream, p.opts.Stream, p.subject), final: true}
	}
	half := cfg.Duplicates / 2
	if p.opts.RetryFor > 0 {
		half = min(half, p.opts.RetryFor)
	}
	p.stream = streamFacts{created: info.Created, replicas: cfg.Replicas, retryFor: half}
	p.batches = cfg.AllowAtomicPublish
	p.maxMessage.Store(int64(cfg.MaxMsgSize))
	return nil
}

// covers reports whether one of the filters takes the subject.
func covers(filters []string, subject string) bool {
	want := strings.Split(subject, ".")
	for _, filter := range filters {
		if coversOne(strings.Split(filter, "."), want) {
			return true
		}
	}
	return false
}

func coversOne(filter, subject []string) bool {
	for i, token := range filter {
		switch {
		case token == ">":
			return len(subject) > i
		case i >= len(subject) || (token != "*" && token != subject[i]):
			return false
		}
	}
	return len(filter) == len(subject)
}
