package rows

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/events"
)

// Entity is a user, group, entitlement or application as it is kept.
type Entity struct {
	Created Moment // the first upsert since the last deletion
	Updated Moment // the last change of Record
	Rules   Rules  // of an entitlement; empty for the others
	Record  []byte // an events.User, Group, Entitlement or Application as JSON
}

// Rules are what an entitlement decides about its assignments. They are in its
// record too; here they can be read for every event without parsing that.
type Rules struct {
	AppID        string
	SecretParams []string
}

// RulesOf gives the rules of an entitlement.
func RulesOf(e *events.Entitlement) Rules { return Rules{AppID: e.AppID, SecretParams: e.SecretParams} }

// IsSecret reports whether the entitlement declares a parameter secret.
func (r *Rules) IsSecret(param string) bool { return slices.Contains(r.SecretParams, param) }

// Encode gives the stored form.
func (e *Entity) Encode() []byte {
	b := make([]byte, 0, 40+len(e.Rules.AppID)+len(e.Record))
	for _, m := range []Moment{e.Created, e.Updated} {
		b = binary.BigEndian.AppendUint64(b, m.Seq)
		b = binary.BigEndian.AppendUint64(b, uint64(m.Nano))
	}
	b = appendBytes(b, e.Rules.AppID)
	b = binary.AppendUvarint(b, uint64(len(e.Rules.SecretParams)))
	for _, p := range e.Rules.SecretParams {
		b = appendBytes(b, p)
	}
	return append(b, e.Record...)
}

// DecodeEntity reads what Encode wrote.
func DecodeEntity(b []byte) (Entity, error) {
	var e Entity
	if len(b) < 34 {
		return e, ErrCorrupt
	}
	for _, m := range []*Moment{&e.Created, &e.Updated} {
		m.Seq, m.Nano = binary.BigEndian.Uint64(b), int64(binary.BigEndian.Uint64(b[8:]))
		b = b[16:]
	}
	app, b, ok := cutBytes(b)
	if !ok {
		return e, ErrCorrupt
	}
	e.Rules.AppID = string(app)
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)) {
		return e, ErrCorrupt
	}
	b = b[w:]
	for range n {
		var param []byte
		if param, b, ok = cutBytes(b); !ok {
			return e, ErrCorrupt
		}
		e.Rules.SecretParams = append(e.Rules.SecretParams, string(param))
	}
	e.Record = b
	return e, nil
}

// SameAs reports whether two entities say the same, whenever they were written.
func (e *Entity) SameAs(o *Entity) bool { return bytes.Equal(e.Record, o.Record) }

// MakeRecord gives the stored form of an entity's record, equal for equal records.
func MakeRecord(record any) ([]byte, error) { return json.Marshal(record, json.Deterministic(true)) }

// Quarantined says why the message at a sequence was not applied. The message
// itself stays in the stream: it may hold secrets, so no copy is kept here.
type Quarantined struct {
	Time    time.Time   `json:"time"` // of the message
	Subject string      `json:"subject"`
	Tenant  string      `json:"tenant,omitzero"`
	Type    string      `json:"type,omitzero"` // as far as it could be read
	Code    events.Code `json:"code"`
	Field   string      `json:"field,omitzero"`  // at fault; empty: the whole
	Reason  string      `json:"reason"`          // what is wrong with the field
	Remedy  string      `json:"remedy,omitzero"` // what to send instead
	Bytes   int         `json:"bytes"`           // size of the message body
}

// Encode gives the stored form. Subject and type come from the message as it
// was sent, so bytes in them that are not UTF-8 are replaced.
func (q *Quarantined) Encode() ([]byte, error) {
	return json.Marshal(q, jsontext.AllowInvalidUTF8(true))
}

// DecodeQuarantined reads what Encode wrote.
func DecodeQuarantined(b []byte) (Quarantined, error) {
	var q Quarantined
	if err := json.Unmarshal(b, &q); err != nil {
		return q, ErrCorrupt
	}
	return q, nil
}
