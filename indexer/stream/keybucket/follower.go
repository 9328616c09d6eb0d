package keybucket

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// maxDoubts is how many checks in a row may disagree while no message comes,
	// before the view is given up. One can disagree by chance: a message is on
	// its way while NATS is asked.
	maxDoubts = 3
	// doubtFactor is how many times sooner a check is repeated that disagreed.
	doubtFactor = 10
)

var errDiverged = errors.New("the bucket holds something else than was received")

// follower carries what one view holds to the sink. Its fields belong to the
// goroutine of follow.
type follower[K any] struct {
	view      *view[K]
	sink      Sink[K]
	confirmed time.Time // when the bucket was last known to be what the view held
	whole     bool      // the sink got the whole set
	doubts    int       // checks in a row that disagreed, without a message
	seen      uint64    // view.received at the last check that disagreed
}

// follow runs until ctx ends or the view fails. Whole says that the sink got the
// whole set.
func (f *follower[K]) follow(ctx context.Context) (whole bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	checks := make(chan state)
	checking := false
	defer func() {
		cancel()
		if checking {
			<-checks
		}
	}()
	every := f.view.bucket.options.ConfirmEvery
	timer := time.NewTimer(every)
	defer timer.Stop()

	f.publish()
	for {
		select {
		case <-ctx.Done():
			// What was delivered before still counts: a revocation above all.
			return f.whole, errors.Join(ctx.Err(), f.takeWaiting())
		case err := <-f.view.failures:
			return f.whole, errors.Join(err, f.takeWaiting())
		case m := <-f.view.messages:
			if err := f.view.take(m); err != nil {
				return f.whole, err
			}
			// One set for all that came at once; the sink copies it whole.
			if _, err := f.view.takeWaiting(); err != nil {
				return f.whole, err
			}
			f.publish()
		case <-timer.C:
			checking = true
			go func() { checks <- f.view.check(ctx) }()
		case s := <-checks:
			checking = false
			agreed, err := f.judge(s)
			if err != nil {
				return f.whole, err
			}
			if agreed {
				timer.Reset(every)
			} else {
				timer.Reset(every / doubtFactor)
			}
		}
	}
}

// takeWaiting takes the messages that have arrived, into the sink too.
func (f *follower[K]) takeWaiting() error {
	took, err := f.view.takeWaiting()
	if took {
		f.publish()
	}
	return err
}

// publish gives the sink what the view holds, once that is the whole bucket.
func (f *follower[K]) publish() {
	if !f.view.complete {
		return
	}
	records := f.view.records()
	f.sink.Replace(records, f.confirmed)
	if !f.whole {
		f.whole = true
		f.view.bucket.synced.fire()
		f.view.bucket.options.Logger.Info().Int("keys", len(records)).Msg("API keys: in step with the bucket")
	}
}

// judge compares what NATS said with the view. The error says that the view is
// of no more use.
func (f *follower[K]) judge(s state) (agreed bool, err error) {
	if err := f.takeWaiting(); err != nil {
		return false, err
	}
	if errors.Is(s.err, jetstream.ErrConsumerNotFound) || errors.Is(s.err, jetstream.ErrStreamNotFound) {
		return false, s.err
	}
	if f.view.agrees(s) {
		f.doubts, f.confirmed = 0, s.asked
		f.sink.Confirm(s.asked)
		return true, nil
	}
	if f.seen != f.view.received {
		f.seen, f.doubts = f.view.received, 0
	}
	if f.doubts++; f.doubts < maxDoubts {
		return false, nil
	}
	if s.err != nil {
		return false, s.err
	}
	return false, errDiverged
}
