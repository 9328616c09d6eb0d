package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/position"
)

// Message is what the stream holds at one sequence.
type Message struct {
	events.Message
	Seq  uint64
	Time time.Time // stamped by the server
	// Erased marks a run of sequences that end at Seq and that the stream no
	// longer holds, as the server confirmed. It has no content.
	Erased int
}

// Reader reads one stream in order.
type Reader struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	stream string
	log    zerolog.Logger

	fault fault.Hook // nil in production

	asking chan struct{} // holds a token while Ask looks at the stream's end

	mu      sync.Mutex // guards what follows
	head    Head
	created time.Time // of the stream that Read found to be the index's; zero: none yet
	unheard time.Time // since when the connected server gave no leader's word; zero: it does
}

const (
	requestTimeout = 5 * time.Second
	// headEvery is how often the stream's end is asked for while messages do not
	// tell it, and for how long a consumer may give no sign of life.
	headEvery = 2 * time.Second
	retryWait = 250 * time.Millisecond
)

// NewReader makes a reader of the named stream. It does not connect to it yet.
func NewReader(nc *nats.Conn, js jetstream.JetStream, stream string, log zerolog.Logger) *Reader {
	return &Reader{nc: nc, js: js, stream: stream, log: log, asking: make(chan struct{}, 1)}
}

// InjectFaults makes steps fail in tests. It must be called before Read.
func (r *Reader) InjectFaults(h fault.Hook) { r.fault = h }

// Begin gives the position at which a new index starts to read. A stream that no
// longer holds its first messages is refused with ErrTrimmed unless trimmed
// allows it: an index of the rest lacks what the first ones said.
func (r *Reader) Begin(ctx context.Context, trimmed bool) (position.Position, error) {
	info, err := r.info(ctx)
	if err != nil {
		return position.Position{}, err
	}
	at := position.Position{Stream: identityOf(info, 0)}
	if first := info.State.FirstSeq; first > 1 {
		if !trimmed {
			return at, fmt.Errorf("%w: it begins at sequence %d, and a new index needs it from 1; "+
				"start with --bootstrap, which begins with a snapshot from the object store; "+
				"or, if what the first messages said may be missing, with --accept-trimmed-stream", ErrTrimmed, first)
		}
		at.Seq = first - 1
	}
	return at, nil
}

// infoFor looks the stream of an index up. That there is none is a Parting.
func (r *Reader) infoFor(ctx context.Context, at position.Position) (*jetstream.StreamInfo, error) {
	info, err := r.info(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, &Parting{Kind: Missing, Stream: r.stream, Index: at.Stream, Applied: at.Seq, Since: time.Now()}
	}
	return info, err
}

// Read delivers every message after a position, in order, until the context
// ends, deliver fails, or the stream is found not to be the index's, which is a
// Parting. older tells what the index has kept of messages up to the position.
func (r *Reader) Read(ctx context.Context, at position.Position, older Ladder, deliver func(*Message) error) error {
	s := session{Reader: r, at: at, older: older, deliver: deliver}
	for failures := 0; ; failures++ {
		before := s.at.Seq
		err := s.run(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrMismatch), errors.Is(err, ErrTrimmed), errors.Is(err, ErrLadder), s.refused:
			return err
		}
		if s.at.Seq != before {
			failures = 0
		}
		wait := min(retryWait<<min(failures, 5), 5*time.Second)
		r.log.Warn().Err(err).Uint64("seq", s.at.Seq).Dur("retry_in", wait).Msg("reading the stream was interrupted")
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// session reads with one consumer at a time.
type session struct {
	*Reader
	at      position.Position // after the last message delivered; its fingerprint is last's
	older   Ladder            // what the index has kept of messages before
	last    *Message          // the last message delivered; nil: none yet
	deliver func(*Message) error
	refused bool // deliver has failed
	// withheld is a message that the stream was seen to hold while nothing came; 0: none
	withheld uint64
}

// run checks the stream, makes a consumer and reads until a fault.
func (s *session) run(ctx context.Context) error {
	lost := s.nc.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	defer s.nc.RemoveStatusListener(lost)
	asked := time.Now()
	info, err := s.infoFor(ctx, s.at)
	if err != nil {
		return err
	}
	if err := s.checkHere(ctx, info); err != nil {
		return err
	}
	s.sawEnd(info, asked)
	requestCtx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	consumer, err := s.js.CreateConsumer(requestCtx, s.stream, jetstream.ConsumerConfig{
		Description:       "assigndex indexer",
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       s.at.Seq + 1,
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: 30 * time.Second,
	})
	if err != nil {
		return fmt.Errorf("make a consumer: %w", err)
	}
	defer s.remove(consumer.CachedInfo().Name)
	pull, err := newPuller(s.nc, s.stream, consumer.CachedInfo().Name)
	if err != nil {
		return fmt.Errorf("pull messages: %w", err)
	}
	defer pull.close()
	return s.pull(ctx, pull, lost)
}

// pull takes what comes, and looks at the stream's end while nothing does.
func (s *session) pull(ctx context.Context, p *puller, lost <-chan nats.Status) error {
	tick := time.NewTicker(headEvery)
	defer tick.Stop()
	heard, messages := true, true // since the last tick
	for {
		if err := p.ask(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case status := <-lost:
			return fmt.Errorf("the connection is %s", status)
		case msg := <-p.came:
			heard = true
			isMessage, err := p.message(msg)
			if err != nil {
				return err
			}
			if !isMessage {
				continue
			}
			messages = true
			if err := s.take(ctx, msg); err != nil {
				return err
			}
		case <-tick.C:
			if len(p.came) > 0 {
				continue
			}
			if !heard {
				return fmt.Errorf("nothing came from the consumer for %s", headEvery)
			}
			if !messages {
				if err := s.look(ctx); err != nil {
					return err
				}
			}
			heard, messages = false, false
		}
	}
}

// take passes a message on, if it is the next one.
func (s *session) take(ctx context.Context, msg *nats.Msg) error {
	meta, err := msg.Metadata()
	if err != nil {
		return fmt.Errorf("message metadata: %w", err)
	}
	seq := meta.Sequence.Stream
	s.sawHead(seq + meta.NumPending)
	if seq != s.at.Seq+1 {
		if err := s.confirmGap(ctx, seq); err != nil {
			return err
		}
	}
	m := &Message{
		Message: events.Message{Subject: msg.Subject, Header: msg.Header, Data: msg.Data},
		Seq:     seq, Time: meta.Timestamp,
	}
	return s.fault.Step(fault.Fetch, func() error { return s.pass(m) })
}

// look looks at the stream's end when no message came for a while. That is also
// how a stream looks that was purged or made anew, and one whose last messages
// were erased.
func (s *session) look(ctx context.Context) error {
	asked := time.Now()
	info, err := s.infoFor(ctx, s.at)
	if err != nil {
		return err
	}
	if !info.Created.Equal(s.at.Stream.Created) || info.State.LastSeq < s.at.Seq {
		return s.checkHere(ctx, info)
	}
	if info.State.FirstSeq > s.at.Seq+1 {
		s.sawHead(info.State.LastSeq)
		return s.checkHere(ctx, info)
	}
	s.sawEnd(info, asked)
	if info.State.LastSeq == s.at.Seq {
		return nil
	}
	next, err := s.messageFrom(ctx, s.at.Seq+1)
	switch {
	case errors.Is(err, errNoMessage):
		return s.passTail(ctx, info.State.LastSeq)
	case err != nil:
		return err
	case next.Seq == s.withheld:
		return fmt.Errorf("the stream holds sequence %d, but its consumer does not deliver it", next.Seq)
	}
	s.withheld = next.Seq // or it was published this moment
	return nil
}

// checkHere compares the stream with the position that the session has reached.
func (s *session) checkHere(ctx context.Context, info *jetstream.StreamInfo) error {
	at := s.at
	if s.last != nil {
		at.Nano, at.Fingerprint = s.last.Time.UnixNano(), nil
		if s.last.Seq == at.Seq {
			at.Fingerprint = s.last.Fingerprint()
		}
	}
	return s.check(ctx, info, at, s.known)
}

// known is the ladder of all that was read: the last message may not have come to
// the index yet.
func (s *session) known(seq uint64) (Rung, bool, error) {
	if s.last != nil && s.last.Seq <= seq {
		return Rung{Seq: s.last.Seq, Fingerprint: s.last.Fingerprint()}, true, nil
	}
	if s.older == nil {
		return Rung{}, false, nil
	}
	return s.older(seq)
}

// pass delivers a message and moves the position.
func (s *session) pass(m *Message) error {
	if err := s.deliver(m); err != nil {
		s.refused = true
		return err
	}
	s.at.Seq, s.at.Fingerprint = m.Seq, nil // checkHere asks the last message for its own
	if m.Erased == 0 {
		s.last = m
	}
	return nil
}

// confirmGap passes over the sequences between the position and seq, if the
// server confirms that its stream does not hold them.
func (s *session) confirmGap(ctx context.Context, seq uint64) error {
	missing := s.at.Seq + 1
	if seq <= s.at.Seq {
		return fmt.Errorf("sequence %d was delivered after %d", seq, s.at.Seq)
	}
	first, err := s.messageFrom(ctx, missing)
	switch {
	case errors.Is(err, errNoMessage):
		// Who answers has not got to seq, or seq was erased this moment. That proves nothing
		// of the sequences before it.
		return fmt.Errorf("sequence %d was delivered after %d, but whoever was asked does not hold it", seq, s.at.Seq)
	case err != nil:
		return err
	case first.Seq < seq:
		return fmt.Errorf("sequence %d was delivered after %d, but the stream holds %d", seq, s.at.Seq, first.Seq)
	}
	info, err := s.info(ctx)
	if err != nil {
		return err
	}
	if err := s.checkHere(ctx, info); err != nil {
		return err
	}
	return s.passErased(seq - 1)
}

// passTail passes over the sequences up to the stream's last one, if the server
// confirms that its stream does not hold them.
func (s *session) passTail(ctx context.Context, last uint64) error {
	from := s.at.Seq + 1
	erased, err := s.erased(ctx, from, last)
	switch {
	case err != nil:
		return err
	case !erased:
		return fmt.Errorf("a server holds none of the sequences from %d to %d, but they are not known to be erased", from, last)
	}
	return s.passErased(last)
}

// passErased passes over the sequences up to one, which the stream was confirmed
// not to hold.
func (s *session) passErased(to uint64) error {
	from := s.at.Seq + 1
	s.log.Warn().Uint64("from", from).Uint64("to", to).Msg("these messages were erased from the stream")
	return s.pass(&Message{Seq: to, Erased: int(to - s.at.Seq)})
}

// remove deletes the consumer, which the server would otherwise keep until it
// has been idle for a while.
func (s *session) remove(name string) {
	if !s.nc.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := s.js.DeleteConsumer(ctx, s.stream, name); err != nil {
		s.log.Debug().Err(err).Msg("the consumer was not deleted")
	}
}
