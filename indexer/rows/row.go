package rows

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/events"
)

// ErrCorrupt is returned for a stored value that this package did not write.
var ErrCorrupt = errors.New("corrupt stored value")

// Masked stands for a parameter value that may be a secret.
const Masked = "***"

var maskedJSON = jsontext.Value(`"` + Masked + `"`)

// Moment is a place in the stream: the sequence of a message and the time that
// the server stamped on it.
type Moment struct {
	Seq  uint64
	Nano int64 // Unix time in nanoseconds
}

// Time gives the moment's time in UTC.
func (m Moment) Time() time.Time { return time.Unix(0, m.Nano).UTC() }

// Row is one assignment as it is kept in the family by assignee. Its identity
// is in the key.
type Row struct {
	Created Moment // the first upsert since the last revocation
	Updated Moment // the last change of anything below
	AppID   string // the application it is listed under; empty: none
	OwnApp  bool   // AppID is the event's own, not the entitlement's
	Face    Face
	Detail  []byte // a Detail as JSON; empty: nothing in it
}

// SameAs reports whether two rows say the same, whenever they were written.
func (r *Row) SameAs(o *Row) bool {
	return r.AppID == o.AppID && r.OwnApp == o.OwnApp && bytes.Equal(r.Face, o.Face) && bytes.Equal(r.Detail, o.Detail)
}

const flagOwnApp = 1

// Encode gives the stored form.
func (r *Row) Encode() []byte {
	b := make([]byte, 0, 1+32+8+len(r.AppID)+len(r.Face)+len(r.Detail))
	var flags byte
	if r.OwnApp {
		flags |= flagOwnApp
	}
	b = append(b, flags)
	for _, m := range []Moment{r.Created, r.Updated} {
		b = binary.BigEndian.AppendUint64(b, m.Seq)
		b = binary.BigEndian.AppendUint64(b, uint64(m.Nano))
	}
	b = appendBytes(b, r.AppID)
	b = appendBytes(b, r.Face)
	return append(b, r.Detail...)
}

// DecodeRow reads what Encode wrote.
func DecodeRow(b []byte) (Row, error) {
	var r Row
	if len(b) < 33 || b[0]&^flagOwnApp != 0 {
		return r, ErrCorrupt
	}
	r.OwnApp = b[0]&flagOwnApp != 0
	b = b[1:]
	for _, m := range []*Moment{&r.Created, &r.Updated} {
		m.Seq, m.Nano = binary.BigEndian.Uint64(b), int64(binary.BigEndian.Uint64(b[8:]))
		b = b[16:]
	}
	app, b, ok := cutBytes(b)
	if !ok {
		return r, ErrCorrupt
	}
	face, b, ok := cutBytes(b)
	if !ok {
		return r, ErrCorrupt
	}
	r.AppID, r.Face, r.Detail = string(app), Face(face), b
	return r, nil
}

// FaceOf gives the face of an encoded Row without decoding the rest.
func FaceOf(b []byte) (Face, error) {
	if len(b) < 33 {
		return nil, ErrCorrupt
	}
	_, b, ok := cutBytes(b[33:])
	if !ok {
		return nil, ErrCorrupt
	}
	face, _, ok := cutBytes(b)
	if !ok {
		return nil, ErrCorrupt
	}
	return Face(face), nil
}

// appendBytes adds text with its length before it; cutBytes reads it.
func appendBytes[T string | Face](b []byte, text T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func cutBytes(b []byte) (head, rest []byte, ok bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, nil, false
	}
	return b[w : w+int(n)], b[w+int(n):], true
}

// Face is the part of a row that every listing prints. It is the score in a
// form that can be compared, and then the JSON object as the Autonomous
// Identity page shows it.
type Face []byte

const (
	unscored = 0
	scored   = 1
)

// MakeFace prints an assignment. Rows of other kinds than USER name their type,
// since a listing may hold several.
func MakeFace(a *events.Assignment) Face {
	b := make([]byte, 0, 96+len(a.EntID)+len(a.Assignee.ID)+96*len(a.Justification))
	var score float64
	if a.Score == nil {
		b = append(b, unscored)
	} else {
		score = *a.Score + 0 // adding zero turns -0 into 0
		b = append(b, scored)
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(score))
	}
	b = append(b, `{"ent_id":`...)
	b = quote(b, a.EntID)
	switch a.Assignee.Kind {
	case events.KindUser:
		b = append(b, `,"usr_id":`...)
		b = quote(b, a.Assignee.ID)
	case events.KindAll:
		b = append(b, `,"type":"ALL"`...)
	default:
		b = append(b, `,"grp_id":`...)
		b = quote(b, a.Assignee.ID)
		b = append(b, `,"type":"`...)
		b = append(b, a.Assignee.Kind.String()...)
		b = append(b, '"')
	}
	b = append(b, `,"score":`...)
	if a.Score == nil {
		b = append(b, "null"...)
	} else {
		b = jsontext.AppendFloat(b, score, 64) // the shortest that reads back as the same number
	}
	b = append(b, `,"justification":[`...)
	for i, j := range a.Justification {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"id":`...)
		b = quote(b, j.ID)
		b = append(b, `,"title":`...)
		b = quote(b, j.Title)
		b = append(b, `,"value":`...)
		b = append(b, j.Value...)
		b = append(b, '}')
	}
	return append(b, "]}"...)
}

// JSON gives the object as a listing prints it, or nil for a corrupt face.
func (f Face) JSON() []byte {
	switch {
	case len(f) > 1 && f[0] == unscored:
		return f[1:]
	case len(f) > 9 && f[0] == scored:
		return f[9:]
	}
	return nil
}

// Score gives the score, and false when the assignment is not scored.
func (f Face) Score() (float64, bool) {
	if len(f) > 9 && f[0] == scored {
		return math.Float64frombits(binary.BigEndian.Uint64(f[1:])), true
	}
	return 0, false
}

func quote(b []byte, s string) []byte {
	// Ids were checked to be UTF-8 when the event was decoded.
	out, err := jsontext.AppendQuote(b, s)
	if err != nil {
		return append(b, `""`...)
	}
	return out
}

// Detail is what an assignment has beyond its face.
type Detail struct {
	Rights     []events.Right `json:"rights,omitzero"`
	Params     Params         `json:"params,omitzero"`
	ValidFrom  string         `json:"valid_from,omitzero"`
	ValidUntil string         `json:"valid_until,omitzero"`
	Attributes jsontext.Value `json:"attributes,omitzero"`
}

// Params are parameters as one JSON object with sorted names.
type Params map[string]jsontext.Value

// MakeDetail gives the stored form of what an assignment has beyond its face,
// with the parameters masked that open does not allow to keep.
func MakeDetail(a *events.Assignment, open func(param string) bool) ([]byte, error) {
	d := Detail{Rights: a.Rights, ValidFrom: a.ValidFrom, ValidUntil: a.ValidUntil, Attributes: a.Attributes}
	if len(a.Params) > 0 {
		d.Params = make(Params, len(a.Params))
		for _, p := range a.Params {
			d.Params[p.Name] = p.Value
			if !open(p.Name) {
				d.Params[p.Name] = maskedJSON
			}
		}
	}
	return d.Encode()
}

// Encode gives the stored form, empty when there is nothing in it.
func (d *Detail) Encode() ([]byte, error) {
	if len(d.Rights) == 0 && len(d.Params) == 0 && d.ValidFrom == "" && d.ValidUntil == "" && len(d.Attributes) == 0 {
		return nil, nil
	}
	return json.Marshal(d, json.Deterministic(true))
}

// DecodeDetail reads what Encode wrote.
func DecodeDetail(b []byte) (Detail, error) {
	var d Detail
	if len(b) == 0 {
		return d, nil
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return d, ErrCorrupt
	}
	return d, nil
}

// Mask replaces the values of the named parameters and reports whether any
// value changed.
func (d *Detail) Mask(names []string) bool {
	changed := false
	for _, n := range names {
		if v, ok := d.Params[n]; ok && !bytes.Equal(v, maskedJSON) {
			d.Params[n] = maskedJSON
			changed = true
		}
	}
	return changed
}
