package keybucket

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// Between minRetry and maxRetry lies the wait before a disturbed watch begins
// again, doubled each time it fails before it had the whole bucket.
const (
	minRetry = 50 * time.Millisecond
	maxRetry = 5 * time.Second
)

var errDisconnected = errors.New("the connection to NATS was lost")

// Sink takes the records of the bucket. Times are of this machine's clock.
type Sink[K any] interface {
	// Replace makes records the whole set, at once. At is when the bucket was last
	// known to hold no others, or, after a change, what it was before it.
	Replace(records []K, at time.Time)
	// Confirm says that the bucket held exactly this set at that time.
	Confirm(at time.Time)
}

// Synced gives a channel that is closed when Run has given its sink a set for the
// first time. It stays open for as long as NATS has never answered.
func (b *Bucket[K]) Synced() <-chan struct{} { return b.synced.done }

// Run keeps sink equal to the bucket until ctx ends: first with the whole set,
// then with every change as NATS delivers it. It lasts through lost connections,
// restarts of NATS and a bucket that is deleted or made anew; each time the sink
// gets the whole set again.
//
// It returns nil when ctx has ended. The error wraps nats.ErrConnectionClosed
// when the connection was closed for good.
func (b *Bucket[K]) Run(ctx context.Context, sink Sink[K]) error {
	nc := b.js.Conn()
	changes := nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	defer nc.RemoveStatusListener(changes)
	retry := minRetry
	for {
		whole, err := b.follow(ctx, sink, changes)
		switch {
		case ctx.Err() != nil:
			return nil
		case nc.IsClosed():
			return fmt.Errorf("watch bucket %s: %w", Name, nats.ErrConnectionClosed)
		}
		b.options.Logger.Warn().Err(err).Msg("API keys: watching the bucket was interrupted")
		if whole {
			retry = minRetry
		}
		wait := time.NewTimer(retry)
		select {
		case <-ctx.Done():
		case <-wait.C:
		case <-changes: // connected again, or closed
		}
		wait.Stop()
		retry = min(2*retry, maxRetry)
	}
}

// link tells one connection of a client from its next one. The zero link is none.
type link struct {
	connected  bool
	reconnects uint64
}

func linkOf(nc *nats.Conn) link {
	if !nc.IsConnected() {
		return link{}
	}
	return link{true, nc.Stats().Reconnects}
}

// awaitLink waits until nc is connected.
func awaitLink(ctx context.Context, nc *nats.Conn, changes <-chan nats.Status) (link, error) {
	for {
		if l := linkOf(nc); l.connected {
			return l, nil
		}
		if nc.IsClosed() {
			return link{}, nats.ErrConnectionClosed
		}
		select {
		case <-changes:
		case <-ctx.Done():
			return link{}, ctx.Err()
		}
	}
}

// whileLinked gives a context that ends with ctx, or with errDisconnected as its
// cause when nc is no longer connected by l. What was asked over a lost
// connection is answered by nobody and would wait for its whole time-out. Stop
// ends the context and the goroutine that watches.
func whileLinked(ctx context.Context, nc *nats.Conn, l link, changes <-chan nats.Status) (linked context.Context, stop func()) {
	linked, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for linkOf(nc) == l {
			select {
			case <-changes:
			case <-linked.Done():
				return
			}
		}
		cancel(errDisconnected)
	}()
	return linked, func() {
		cancel(nil)
		<-ended
	}
}

// follow keeps sink equal to the bucket until something disturbs it. Whole says
// that the sink got the whole set.
func (b *Bucket[K]) follow(ctx context.Context, sink Sink[K], changes <-chan nats.Status) (whole bool, err error) {
	nc := b.js.Conn()
	l, err := awaitLink(ctx, nc, changes)
	if err != nil {
		return false, err
	}
	ctx, stop := whileLinked(ctx, nc, l, changes)
	defer stop()
	whole, err = b.followLinked(ctx, sink)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return whole, err
}

// followLinked is follow on one connection, which ctx ends with.
func (b *Bucket[K]) followLinked(ctx context.Context, sink Sink[K]) (whole bool, err error) {
	asked := time.Now()
	stream, err := b.ensure(ctx)
	if errors.Is(err, errAbsent) {
		sink.Replace(nil, asked)
		b.synced.fire()
	}
	if err != nil {
		return false, err
	}
	v, err := b.open(ctx, stream)
	if err != nil {
		return false, err
	}
	defer v.close()
	f := &follower[K]{view: v, sink: sink, confirmed: v.opened}
	return f.follow(ctx)
}
