package keybucket

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// lastRequest asks for the newest message of a subject, and lastAnswer is what the
// stream's leader says. Bytes are base64.
type lastRequest struct {
	Subject string `json:"last_by_subj"`
}

type lastAnswer struct {
	Message *struct {
		Subject string `json:"subject"`
		Header  []byte `json:"hdrs"`
		Data    []byte `json:"data"`
	} `json:"message"`
	Error *jetstream.APIError `json:"error"`
}

// Lookup reads one record as it is stored now: a Create that has returned is
// found, and a Revoke that has returned is not. Found is false, without an error,
// when id is not stored or there is no bucket. The error is about NATS, or the
// codec's about a corrupt record.
//
// It asks the stream's leader. The direct get that the client library prefers may
// be answered by a follower that lags. While the connection is away it fails at
// once; otherwise it waits for as long as ctx, and requestTimeout at most.
func (b *Bucket[K]) Lookup(ctx context.Context, id string) (record K, found bool, err error) {
	var none K
	nc := b.js.Conn()
	if !nc.IsConnected() {
		return none, false, fmt.Errorf("look up API key: %w", errDisconnected)
	}
	subject := subjectPrefix + id
	request, err := json.Marshal(lastRequest{subject})
	if err != nil {
		return none, false, fmt.Errorf("look up API key: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	reply, err := nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+streamName, request)
	if err != nil {
		return none, false, fmt.Errorf("look up API key: %w", err)
	}
	var answer lastAnswer
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return none, false, fmt.Errorf("look up API key: %w", err)
	}
	switch e := answer.Error; {
	case e != nil && (e.ErrorCode == jetstream.JSErrCodeMessageNotFound || e.ErrorCode == jetstream.JSErrCodeStreamNotFound):
		return none, false, nil
	case e != nil:
		return none, false, fmt.Errorf("look up API key: %w", e)
	case answer.Message == nil:
		return none, false, errors.New("look up API key: an answer without a message")
	case answer.Message.Subject != subject: // id is a wildcard, which names no record
		return none, false, nil
	}
	// Headers that cannot be read count as none, as they do when a view gets them.
	if header, err := nats.DecodeHeadersMsg(answer.Message.Header); err == nil && removes(header) {
		return none, false, nil
	}
	if record, err = b.codec.Decode(id, answer.Message.Data); err != nil {
		return none, false, fmt.Errorf("look up API key %s: %w", id, err)
	}
	return record, true, nil
}
