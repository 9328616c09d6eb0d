package keybucket

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// consumerLinger is how long NATS keeps a consumer that nobody pulls from. It
	// is left to expire rather than deleted: that needs no answer, and no right.
	consumerLinger = 10 * time.Second
	// heartbeat is how often NATS says that a quiet consumer lives. Two that stay
	// away end the view.
	heartbeat = 5 * time.Second
	// requestTimeout bounds each question to NATS.
	requestTimeout = 5 * time.Second
	// queueLen is how many messages wait between NATS's goroutine and ours.
	queueLen = 64
)

// errMissed says that a message did not arrive. A view is then of no more use.
var errMissed = errors.New("a message of the bucket was missed")

// view is one consumer's account of the bucket: first the newest message of each
// id, then every message as it is stored. It holds the position nowhere: whatever
// disturbs it, the next view starts from the whole bucket.
//
// Its methods are called from one goroutine, except check.
type view[K any] struct {
	bucket    *Bucket[K]
	stream    jetstream.Stream
	consumer  jetstream.Consumer
	consuming jetstream.ConsumeContext

	messages chan jetstream.Msg // sent by nats.go's goroutine until done is closed
	failures chan error         // likewise; the first failure of the consumer
	done     chan struct{}

	opened   time.Time // just before the consumer was made
	initial  uint64    // messages that the consumer had to deliver then
	received uint64    // messages taken so far
	complete bool      // the whole bucket was taken once
	entries  map[string]entry[K]
}

// entry is what the newest message of an id said.
type entry[K any] struct {
	record K
	usable bool // false after a revocation, and for a corrupt record
}

// open makes a consumer and starts to pull from it. The caller closes the view.
func (b *Bucket[K]) open(ctx context.Context, stream jetstream.Stream) (*view[K], error) {
	v := &view[K]{
		bucket: b, stream: stream, opened: time.Now(),
		messages: make(chan jetstream.Msg, queueLen), failures: make(chan error, 1), done: make(chan struct{}),
		entries: map[string]entry[K]{},
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var err error
	v.consumer, err = stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, FilterSubject: subjectPrefix + ">",
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: consumerLinger,
	})
	if err != nil {
		return nil, fmt.Errorf("watch bucket %s: %w", Name, err)
	}
	v.initial = v.consumer.CachedInfo().NumPending
	v.complete = v.initial == 0
	v.consuming, err = v.consumer.Consume(v.deliver, jetstream.PullHeartbeat(heartbeat), jetstream.ConsumeErrHandler(v.fail))
	if err != nil {
		return nil, fmt.Errorf("watch bucket %s: %w", Name, err)
	}
	return v, nil
}

// close ends the view's goroutines.
func (v *view[K]) close() {
	close(v.done)
	v.consuming.Stop()
	<-v.consuming.Closed()
}

func (v *view[K]) deliver(m jetstream.Msg) {
	select {
	case v.messages <- m:
	case <-v.done:
	}
}

func (v *view[K]) fail(_ jetstream.ConsumeContext, err error) {
	select {
	case v.failures <- err:
	default:
	}
}

// next waits for a message and takes it.
func (v *view[K]) next(ctx context.Context) error {
	select {
	case m := <-v.messages:
		return v.take(m)
	case err := <-v.failures:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// takeWaiting takes the messages that have arrived.
func (v *view[K]) takeWaiting() (took bool, err error) {
	for {
		select {
		case m := <-v.messages:
			if err := v.take(m); err != nil {
				return took, err
			}
			took = true
		default:
			return took, nil
		}
	}
}

// take notes what m says. The error is errMissed when m is not the next one.
func (v *view[K]) take(m jetstream.Msg) error {
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	if meta.Sequence.Consumer != v.received+1 {
		return errMissed
	}
	v.received++
	id := strings.TrimPrefix(m.Subject(), subjectPrefix)
	v.entries[id] = v.read(id, m, meta.Sequence.Stream)
	// A message can disappear before it is delivered, when its id gets a newer
	// one or is purged; so the count alone would wait for ever.
	v.complete = v.complete || v.received >= v.initial || meta.NumPending == 0
	return nil
}

func (v *view[K]) read(id string, m jetstream.Msg, revision uint64) entry[K] {
	if removes(m.Headers()) {
		return entry[K]{}
	}
	record, err := v.bucket.codec.Decode(id, m.Data())
	if err != nil {
		v.bucket.options.Logger.Error().Err(err).Str("key_id", id).Uint64("revision", revision).
			Msg("API key record is corrupt: the key is refused; revoke it and create another")
		return entry[K]{}
	}
	return entry[K]{record, true}
}

// removes reports whether a message with this header takes away its id's record.
func removes(header nats.Header) bool {
	return header.Get("KV-Operation") != "" || header.Get("Nats-Marker-Reason") != ""
}

// records gives the usable records, by id.
func (v *view[K]) records() []K {
	var records []K
	for _, id := range slices.Sorted(maps.Keys(v.entries)) {
		if e := v.entries[id]; e.usable {
			records = append(records, e.record)
		}
	}
	return records
}

// state is what NATS said of the bucket and the consumer.
type state struct {
	asked     time.Time // just before
	delivered uint64    // messages that the consumer has sent
	pending   uint64    // and has still to send
	ids       uint64    // in the bucket, revoked ones included
	err       error
}

// check asks NATS for the state.
func (v *view[K]) check(ctx context.Context) state {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s := state{asked: time.Now()}
	consumer, err := v.consumer.Info(ctx)
	if err != nil {
		s.err = fmt.Errorf("ask for the consumer of bucket %s: %w", Name, err)
		return s
	}
	stream, err := v.stream.Info(ctx)
	if err != nil {
		s.err = fmt.Errorf("ask for bucket %s: %w", Name, err)
		return s
	}
	s.delivered, s.pending, s.ids = consumer.Delivered.Consumer, consumer.NumPending, stream.State.NumSubjects
	return s
}

// agrees reports whether the view held all of the bucket, and no more, when NATS
// was asked. The number of ids finds what sends no message: a purged stream.
func (v *view[K]) agrees(s state) bool {
	return s.err == nil && v.complete && s.pending == 0 && v.received >= s.delivered && uint64(len(v.entries)) == s.ids
}
