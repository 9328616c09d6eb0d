package publisher

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/assigndex/assigndex/events"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const contentTypeEvent = "application/cloudevents+json"

// Message is one valid event, ready to be published for any tenant. It is made
// by NewRecord, NewEvent and ParseLine, which copy what they are given.
//
// Its id is what the stream recognises a repetition by. It is made of source and
// id when it has them, as every CloudEvents event does; otherwise each time that
// it is given to Publish or Add it gets a new one, so that two equal records are
// two events.
type Message struct {
	kind   events.Type // the header of a bare record; empty for a whole event
	body   []byte      // nil only in the zero Message
	source string
	id     string // empty: no id of its own
}

// NewRecord makes a message of a bare record, the data of an event of type t. An
// error is an *events.Rejection, which says what is wrong and what to send instead.
func NewRecord(t events.Type, data []byte) (Message, error) {
	data = bytes.Clone(data)
	if _, err := events.DecodeData(defaultTenant, t, data); err != nil {
		return Message{}, err
	}
	return Message{kind: t, body: data}, nil
}

// NewEvent makes a message of a whole CloudEvents 1.0 event in structured mode.
// An error is an *events.Rejection, which says what is wrong and what to send
// instead.
func NewEvent(structured []byte) (Message, error) {
	structured = bytes.Clone(structured)
	ev, err := events.Decode(events.Message{
		Subject: events.Subject(defaultTenant),
		Header:  map[string][]string{"Content-Type": {contentTypeEvent}},
		Data:    structured,
	})
	if err != nil {
		return Message{}, err
	}
	return Message{body: structured, source: ev.Source, id: ev.ID}, nil
}

// ParseLine makes a message of one line of NDJSON: of an object with a member
// "specversion" as NewEvent does, of any other as NewRecord does with type t. It
// does not matter whether the line ends in a line break. An error is an
// *events.Rejection.
func ParseLine(line []byte, t events.Type) (Message, error) {
	line = bytes.TrimSpace(line)
	if isEvent(line) {
		return NewEvent(line)
	}
	return NewRecord(t, line)
}

// WithID gives the message an id of its own. Like a CloudEvents event, it is
// taken for a repetition when another message of the same tenant has the same
// source and the same id. An empty id takes it away.
func (m Message) WithID(source, id string) Message {
	m.source, m.id = source, id
	return m
}

// isEvent reports whether line is an object with a member "specversion". What is
// no valid JSON is judged by the caller.
func isEvent(line []byte) bool {
	const name = "specversion"
	// Most records hold neither the name nor an escape that could hide it.
	if !bytes.Contains(line, []byte(name)) && !bytes.Contains(line, []byte(`\u`)) {
		return false
	}
	var envelope struct {
		SpecVersion jsontext.Value `json:"specversion"`
	}
	err := json.Unmarshal(line, &envelope)
	return err == nil && len(envelope.SpecVersion) > 0
}

// messageID joins tenant, source and id so that no two different triples give the
// same text. A hash, since they may be longer than a header and hold what a header
// cannot; the tenant, since tenants share a stream but not their ids.
func messageID(tenant, source, id string) string {
	b := make([]byte, 0, 2*binary.MaxVarintLen64+len(tenant)+len(source)+len(id))
	b = binary.AppendUvarint(b, uint64(len(tenant)))
	b = append(b, tenant...)
	b = binary.AppendUvarint(b, uint64(len(source)))
	b = append(b, source...)
	b = append(b, id...)
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
