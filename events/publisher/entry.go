package publisher

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/assigndex/assigndex/events"
)

// Headers of JetStream that the publisher sends.
const (
	headerMsgID          = "Nats-Msg-Id"
	headerBatchID        = "Nats-Batch-Id"
	headerBatchSequence  = "Nats-Batch-Sequence"
	headerBatchCommit    = "Nats-Batch-Commit"
	headerExpectedLastID = "Nats-Expected-Last-Msg-Id"
	headerContentType    = "Content-Type"
)

// headerRoom is what the protocol and the headers of one message take at most,
// in bytes: all values are of ours and short.
const headerRoom = 512

// entry is a message on its way. It is owned by the goroutine that has the
// publisher's turn, before that by the Writer or Publish call that made it.
type entry struct {
	header nats.Header
	data   []byte
	size   int    // bytes with headers, an upper bound
	id     string // the message id
	given  bool   // the id is the caller's and may come again

	acked     bool
	duplicate bool // the stream had it before we sent it
	sequence  uint64

	// doubtSince is when it was first sent without an answer; zero: every attempt
	// so far was answered by a refusal, so it is not in the stream.
	doubtSince time.Time

	// repeats is the first entry of the same batch with the same id, or nil. A
	// batch must not hold an id twice; the stream would ignore the second anyway.
	repeats *entry
}

// acknowledge marks the entry as stored at a sequence. That the stream calls it a
// duplicate tells nothing new when an earlier attempt of ours had no answer.
func (e *entry) acknowledge(sequence uint64, duplicate bool) {
	e.acked, e.sequence = true, sequence
	e.duplicate = duplicate && e.doubtSince.IsZero()
}

// prepare makes the entry of a message, or says why it cannot be sent.
func (p *Publisher) prepare(m Message) (*entry, error) {
	if m.body == nil {
		return nil, ErrInvalidMessage
	}
	e := &entry{data: m.body, size: len(m.body) + headerRoom}
	limit := p.nc.MaxPayload()
	if most := p.maxMessage.Load(); most > 0 {
		limit = min(limit, most)
	}
	if int64(e.size) > limit {
		return nil, fmt.Errorf("%w: %d bytes with headers, the server takes %d", ErrTooLarge, e.size, limit)
	}
	if m.id != "" {
		e.id, e.given = messageID(p.opts.Tenant, m.source, m.id), true
	} else {
		e.id = nuid.Next()
	}
	e.header = make(nats.Header, 5)
	e.header[headerMsgID] = []string{e.id}
	if m.kind != "" {
		e.header[events.TypeHeader] = []string{string(m.kind)}
	} else {
		e.header[headerContentType] = []string{contentTypeEvent}
	}
	return e, nil
}

// linkRepeats finds the ids that a batch holds more than once.
func linkRepeats(batch []*entry) {
	var seen map[string]*entry
	for _, e := range batch {
		if !e.given || e.acked {
			continue
		}
		e.repeats = nil // the first may have been in an earlier batch of a Writer
		if seen == nil {
			seen = make(map[string]*entry, len(batch))
		}
		if first, ok := seen[e.id]; ok {
			e.repeats = first
		} else {
			seen[e.id] = e
		}
	}
}

// remaining gives the entries that are still to be sent, in order. An entry that
// repeats another is acknowledged with it.
func remaining(batch []*entry) []*entry {
	var rest []*entry
	for _, e := range batch {
		if e.repeats != nil {
			if e.repeats.acked && !e.acked {
				e.acked, e.duplicate, e.sequence = true, true, e.repeats.sequence
			}
			continue
		}
		if !e.acked {
			rest = append(rest, e)
		}
	}
	return rest
}

// Ack says what the server has acknowledged: it is on the server's disk as far as
// the server's settings promise that.
type Ack struct {
	// LastSeq is the highest sequence among the acknowledged messages. A reader
	// that asks for at least this one sees them all. Zero: none.
	LastSeq uint64
	// Count is how many messages were acknowledged, from the first on, without a gap.
	Count int
	// Duplicates is how many of these the stream had before, by their ids, and so
	// ignored. Messages that only we had sent before, without an answer, do not count.
	Duplicates int
}

// take adds the acknowledged entries at the start of batch and gives the others.
func (a *Ack) take(batch []*entry) []*entry {
	for i, e := range batch {
		if !e.acked {
			return batch[i:]
		}
		a.Count++
		a.LastSeq = max(a.LastSeq, e.sequence)
		if e.duplicate {
			a.Duplicates++
		}
	}
	return nil
}
