package main

import (
	"context"
	"errors"
	"time"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/events/publisher"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/query/httpapi"
)

// settler reads and settles what is in the quarantine, through the stream.
type settler struct {
	reader    *stream.Reader
	publisher *ingestPublisher
}

// Stored is part of httpapi.Settler.
func (s settler) Stored(ctx context.Context, seq uint64) (events.Message, time.Time, error) {
	m, err := s.reader.Stored(ctx, seq)
	if errors.Is(err, stream.ErrNoMessage) {
		return events.Message{}, time.Time{}, httpapi.ErrGone
	}
	if err != nil {
		return events.Message{}, time.Time{}, err
	}
	return m.Message, m.Time, nil
}

// settleSource is the source of the ids by which the stream knows a repetition.
const settleSource = "assigndex/quarantine"

// Settle is part of httpapi.Settler. A few messages are one atomic batch, where the
// stream takes those.
func (s settler) Settle(ctx context.Context, tenant string, all []httpapi.Settlement) (last uint64, repeated bool, err error) {
	msgs := make([]publisher.Message, len(all))
	for i, e := range all {
		if e.Type == "" {
			msgs[i], err = publisher.NewEvent(e.Data)
		} else {
			msgs[i], err = publisher.NewRecord(e.Type, e.Data)
		}
		if err != nil {
			return 0, false, err
		}
		msgs[i] = msgs[i].WithID(settleSource, e.ID)
	}
	ack, err := s.publisher.publish(ctx, tenant, msgs)
	return ack.LastSeq, ack.Duplicates == len(all), err
}
