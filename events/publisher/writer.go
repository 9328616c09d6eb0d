package publisher

import (
	"context"
	"errors"
	"fmt"
)

// Writer publishes a long row of messages in order, in full batches. It belongs
// to one goroutine.
type Writer struct {
	p       *Publisher
	pending []*entry // not acknowledged yet, in order
	size    int      // bytes of pending
	total   Ack
	dead    error // an outcome is unknown, so nothing may follow
}

// NewWriter returns a writer. It holds nothing that has to be closed, but what was
// added last is not published before Flush.
func (p *Publisher) NewWriter() *Writer { return &Writer{p: p} }

// Add takes a message. When there is no room for it, it first publishes what the
// writer holds, so it blocks for as long as the server needs. On an error the
// message was not taken.
//
// After ErrUnknownOutcome the writer publishes nothing more: what comes next could
// overtake what is still under way. After any other error of publishing, what was
// not acknowledged is still held, and the next Add or Flush tries again.
func (w *Writer) Add(ctx context.Context, m Message) error {
	if w.dead != nil {
		return w.dead
	}
	e, err := w.p.prepare(m)
	if err != nil {
		return fmt.Errorf("publisher: message %d: %w", w.total.Count+len(w.pending), err)
	}
	if n := len(w.pending); n > 0 && (n == w.p.opts.BatchMessages || w.size+e.size > w.p.opts.BatchBytes) {
		if err := w.publish(ctx); err != nil {
			return err
		}
	}
	w.pending = append(w.pending, e)
	w.size += e.size
	return nil
}

// Flush publishes what the writer holds and returns the highest sequence that was
// acknowledged since the writer was made; 0 when there was no message.
func (w *Writer) Flush(ctx context.Context) (lastSeq uint64, err error) {
	if w.dead != nil {
		return w.total.LastSeq, w.dead
	}
	if len(w.pending) > 0 {
		err = w.publish(ctx)
	}
	return w.total.LastSeq, err
}

// Acked tells what was acknowledged since the writer was made: the first
// Acked().Count of the messages added.
func (w *Writer) Acked() Ack { return w.total }

// Held is how many messages were added and are not acknowledged yet.
func (w *Writer) Held() int { return len(w.pending) }

func (w *Writer) publish(ctx context.Context) error {
	if err := w.p.acquire(ctx); err != nil {
		return err
	}
	defer w.p.release()
	err := w.p.store(ctx, w.pending)
	w.pending = w.total.take(w.pending)
	w.size = 0
	for _, e := range w.pending {
		w.size += e.size
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("publisher: %w", err)
	if errors.Is(err, ErrUnknownOutcome) {
		w.dead = err
	}
	return err
}
