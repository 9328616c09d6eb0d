package publisher

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// attempt sends entries, or the first of them, in the best way that the stream
// takes, once. Nil: some progress was made, so that the same way or another will
// lead on at once.
func (p *Publisher) attempt(ctx context.Context, rest []*entry, work *effort) *failure {
	rest = rest[:min(len(rest), p.most)]
	if len(rest) == 1 || work.singly || !p.batches {
		return p.sendOne(ctx, rest[0])
	}
	trouble := p.sendBatch(ctx, rest)
	if trouble == nil {
		return nil
	}
	switch trouble.code {
	case codeBatchTooLarge:
		p.most = len(rest) / 2
		return nil
	case codeBatchHoldsDuplicate:
		work.refusals++
		if work.refusals >= maxDuplicateRefusals {
			work.singly = true
			return nil
		}
		return p.findDuplicates(ctx, rest, work)
	}
	return trouble
}

// sendOne publishes one entry and awaits its acknowledgement.
func (p *Publisher) sendOne(ctx context.Context, e *entry) *failure {
	delete(e.header, headerBatchID)
	delete(e.header, headerBatchSequence)
	delete(e.header, headerBatchCommit)
	return p.request(ctx, e, []*entry{e}, "")
}

// sendBatch publishes entries as one atomic batch. Until the last of them, which
// commits it, the server only sets the others aside.
func (p *Publisher) sendBatch(ctx context.Context, entries []*entry) *failure {
	batch := nuid.Next()
	id := []string{batch}
	last := len(entries) - 1
	for i, e := range entries {
		e.header[headerBatchID] = id
		e.header[headerBatchSequence] = []string{strconv.Itoa(i + 1)}
		if i == last {
			break
		}
		delete(e.header, headerBatchCommit)
		if i == 0 && !p.proven {
			// A stream that refuses says so once rather than a thousand times.
			if trouble := p.open(ctx, e); trouble != nil {
				return trouble
			}
			continue
		}
		if err := p.nc.PublishMsg(&nats.Msg{Subject: p.subject, Header: e.header, Data: e.data}); err != nil {
			trouble := unsent(err)
			trouble.doubt = false // without its commit nothing of a batch is stored
			return trouble
		}
	}
	entries[last].header[headerBatchCommit] = []string{"1"}
	// Sending may have taken long when the connection is slow.
	if p.mayBeForgotten(entries) {
		return &failure{err: errors.New("sending the batch took too long")}
	}
	trouble := p.request(ctx, entries[last], entries, batch)
	p.proven = trouble == nil
	return trouble
}

// open sends the first message of a batch and awaits that the server has set it aside.
func (p *Publisher) open(ctx context.Context, e *entry) *failure {
	reply := p.nextReply()
	before := p.nc.LastError()
	if err := p.nc.PublishMsg(&nats.Msg{Subject: p.subject, Reply: reply, Header: e.header, Data: e.data}); err != nil {
		trouble := unsent(err)
		trouble.doubt = false
		return trouble
	}
	msg, trouble := p.await(ctx, before, func(subject string) bool { return subject == reply })
	if trouble != nil {
		trouble.doubt = false
		return trouble
	}
	if len(msg.Data) == 0 && msg.Header.Get(headerStatus) == "" {
		return nil
	}
	if _, trouble := p.readAck(msg); trouble != nil {
		return trouble
	}
	e.doubtSince = time.Now()
	return &failure{err: errors.New("the server stored the first message of a batch without the others"), doubt: true, final: true}
}

// request sends msg, which makes the server store the entries, and awaits the
// acknowledgement. A batch name says that it must be one of that batch.
func (p *Publisher) request(ctx context.Context, e *entry, entries []*entry, batch string) *failure {
	reply := p.nextReply()
	before := p.nc.LastError()
	sent := time.Now()
	trouble := func() *failure {
		if err := p.nc.PublishMsg(&nats.Msg{Subject: p.subject, Reply: reply, Header: e.header, Data: e.data}); err != nil {
			return unsent(err)
		}
		msg, trouble := p.await(ctx, before, func(subject string) bool { return subject == reply })
		if trouble != nil {
			return trouble
		}
		ack, trouble := p.readAck(msg)
		if trouble != nil {
			return trouble
		}
		if ack.Batch != batch || ack.Sequence < uint64(len(entries)) || (batch != "" && ack.Count != len(entries)) {
			return &failure{
				err: fmt.Errorf("sent were %d messages of batch %q, acknowledged %d of %q up to sequence %d",
					len(entries), batch, ack.Count, ack.Batch, ack.Sequence),
				doubt: true, final: true,
			}
		}
		// The sequences of a batch are consecutive.
		for i, e := range entries {
			e.acknowledge(ack.Sequence-uint64(len(entries)-1-i), ack.Duplicate)
		}
		return nil
	}()
	if trouble != nil && trouble.doubt {
		for _, e := range entries {
			if e.doubtSince.IsZero() {
				e.doubtSince = sent
			}
		}
	}
	return trouble
}

// findDuplicates asks which of the entries the stream has, and marks them. It sends
// each with the condition that the last message in the stream has an id that no
// message has. The server looks for a duplicate first, so the answer is either that
// it is one or that the condition fails; nothing is stored, and nothing is written
// to disk, so that asking for a thousand costs little more than asking for one.
//
// A replicated stream must not be asked: it notes the id as being stored before it
// looks at the condition, and then refuses the id until its window is over. There
// the messages are published one by one.
func (p *Publisher) findDuplicates(ctx context.Context, entries []*entry, work *effort) *failure {
	if trouble := p.readStream(ctx); trouble != nil { // it may have become replicated
		return trouble
	}
	if p.stream.replicas > 1 {
		work.singly = true
		return nil
	}
	reply := p.nextReply()
	before := p.nc.LastError()
	never := []string{nuid.Next()}
	for i, e := range entries {
		header := nats.Header{headerExpectedLastID: never}
		for name, values := range e.header {
			switch name {
			case headerBatchID, headerBatchSequence, headerBatchCommit:
			default:
				header[name] = values
			}
		}
		// The whole message, so that a server that knows no such condition stores it
		// as it is.
		msg := &nats.Msg{Subject: p.subject, Reply: reply + "." + strconv.Itoa(i), Header: header, Data: e.data}
		if err := p.nc.PublishMsg(msg); err != nil {
			trouble := unsent(err)
			trouble.doubt = false
			return trouble
		}
	}
	for range entries {
		var index int
		msg, trouble := p.await(ctx, before, func(subject string) bool {
			i, ok := cutIndex(subject, reply)
			index = i
			return ok && i < len(entries)
		})
		if trouble != nil {
			trouble.doubt = false
			return trouble
		}
		ack, trouble := p.readAck(msg)
		switch {
		case trouble == nil:
			entries[index].acknowledge(ack.Sequence, ack.Duplicate)
		case trouble.code != codeWrongLastID:
			return trouble
		}
	}
	return nil
}
