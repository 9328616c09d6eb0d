package indexer_test

import (
	"maps"
	"strconv"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/events"
)

// Headers of an atomic batch. The stream keeps them.
const batchID, batchSequence, batchCommit = "Nats-Batch-Id", "Nats-Batch-Sequence", "Nats-Batch-Commit"

// mostInBatch is what the server takes as one batch.
const mostInBatch = 1000

// publishBatch publishes messages as one atomic batch, which is acknowledged
// once, and gives the first sequence. Unlike events/publisher it publishes what
// is no event as well.
func publishBatch(t *testing.T, nc *nats.Conn, messages []events.Message) (first uint64) {
	t.Helper()
	id := nats.NewInbox()[len(nats.InboxPrefix):]
	var last *nats.Msg
	for i, m := range messages {
		if last != nil {
			if err := nc.PublishMsg(last); err != nil {
				t.Fatal(err)
			}
		}
		last = natsMessage(m)
		last.Header = nats.Header{batchID: {id}, batchSequence: {strconv.Itoa(i + 1)}}
		maps.Copy(last.Header, m.Header)
	}
	last.Header[batchCommit] = []string{"1"}
	reply, err := nc.RequestMsg(last, bounded)
	if err != nil {
		t.Fatal(err)
	}
	var ack jetstream.PubAck
	if err := json.Unmarshal(reply.Data, &ack); err != nil || ack.Sequence < uint64(len(messages)) {
		t.Fatalf("the batch was answered with %s", reply.Data)
	}
	return ack.Sequence - uint64(len(messages)) + 1
}

// sent gives a message's headers as they were before it went into a batch.
func sent(h map[string][]string) map[string][]string {
	h = maps.Clone(h)
	for _, name := range []string{batchID, batchSequence, batchCommit} {
		delete(h, name)
	}
	return h
}
