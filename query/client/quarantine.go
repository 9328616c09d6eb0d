package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Quarantined says why a message of the stream could not be applied. All of this
// needs a key of an admin.
type Quarantined struct {
	Seq     uint64    `json:"seq"`  // of the message
	Time    time.Time `json:"time"` // of the message
	Subject string    `json:"subject"`
	Tenant  string    `json:"tenant"` // empty: none could be read
	Type    string    `json:"type"`   // as far as it could be read
	Code    string    `json:"code"`
	Field   string    `json:"field"`  // at fault; empty: the whole
	Reason  string    `json:"reason"` // what is wrong with it
	Remedy  string    `json:"remedy"` // what to send instead
	Bytes   int       `json:"bytes"`  // size of the message's body

	Raw jsontext.Value `json:"-"` // as the server sent it
}

// QuarantineRequest says whose messages, and which.
type QuarantineRequest struct {
	Code         string // of the reason; empty: any
	Unattributed bool   // those of no tenant, for a key for all tenants, in place of the tenant's
	AtLeast      uint64 // wait until this sequence is applied
}

func (r QuarantineRequest) values() url.Values {
	params := url.Values{}
	for name, text := range map[string]string{"code": r.Code, "at_least": sequenceText(r.AtLeast)} {
		if text != "" {
			params.Set(name, text)
		}
	}
	if r.Unattributed {
		params.Set("unattributed", "true")
	}
	return params
}

// Quarantine gives every message in the quarantine, the oldest first. With an error,
// which is the last, the message is nil.
func (c *Client) Quarantine(ctx context.Context, r QuarantineRequest) iter.Seq2[*Quarantined, error] {
	return func(yield func(*Quarantined, error) bool) {
		for params := r.values(); ; {
			var page struct {
				Next        *uint64          `json:"next"`
				Quarantined []jsontext.Value `json:"quarantined"`
			}
			err := c.exchange(ctx, http.MethodGet, withParams(c.bad, params), "", nil, func(a answer) error {
				if err := json.Unmarshal(a.content, &page); err != nil || page.Quarantined == nil {
					return malformed("it is no page of the quarantine", err)
				}
				return nil
			})
			if err != nil {
				yield(nil, err)
				return
			}
			for _, raw := range page.Quarantined {
				q, err := parseQuarantined(raw)
				if !yield(q, err) || err != nil {
					return
				}
			}
			if page.Next == nil {
				return
			}
			next := strconv.FormatUint(*page.Next, 10)
			if next == params.Get("after") {
				yield(nil, malformed("its next page is the same one", nil))
				return
			}
			params.Set("after", next)
		}
	}
}

// Quarantined gives one message in the quarantine, whatever its code. There is none
// when the error is an *Error with status 404.
func (c *Client) Quarantined(ctx context.Context, seq uint64, r QuarantineRequest) (q *Quarantined, err error) {
	err = c.exchange(ctx, http.MethodGet, c.one(seq, "", r), "", nil, func(a answer) (err error) {
		q, err = parseQuarantined(a.content)
		return err
	})
	return q, err
}

// StoredMessage is a message as the stream holds it. It may hold secrets.
type StoredMessage struct {
	Subject string              `json:"subject"`
	Header  map[string][]string `json:"header"`
	Body    *string             `json:"body"` // nil: it is not UTF-8
	Base64  []byte              `json:"body_base64"`
}

// Data gives the message's body.
func (m *StoredMessage) Data() []byte {
	if m.Body != nil {
		return []byte(*m.Body)
	}
	return m.Base64
}

// QuarantinedMessage gives a quarantined message as the stream holds it.
func (c *Client) QuarantinedMessage(ctx context.Context, seq uint64, r QuarantineRequest) (*StoredMessage, error) {
	var m StoredMessage
	err := c.exchange(ctx, http.MethodGet, c.one(seq, "/message", r), "", nil, func(a answer) error {
		if err := json.Unmarshal(a.content, &m); err != nil {
			return malformed("it is no message", nil) // the error's text could repeat some of it
		}
		return nil
	})
	return &m, err
}

// Correction is what is published in place of a quarantined message.
type Correction struct {
	// Event is a whole CloudEvents event; empty: Type and Data.
	Event jsontext.Value `json:"-"`
	Type  string         `json:"type,omitzero"` // empty: that of the message
	Data  jsontext.Value `json:"data,omitzero"` // empty: the body of the message
}

func (c Correction) body() any {
	switch {
	case len(c.Event) > 0:
		return c.Event
	case c.Type != "" || len(c.Data) > 0:
		return c
	default:
		return struct{}{}
	}
}

// Redrive publishes a quarantined message again as a new event, corrected, and drops
// it. It gives the last sequence. Asked again within a minute after a lost answer,
// it publishes nothing twice.
func (c *Client) Redrive(ctx context.Context, seq uint64, r QuarantineRequest, correction Correction) (last uint64, err error) {
	return c.settle(ctx, c.one(seq, "/redrive", r), correction.body())
}

// Drop takes a message out of the quarantine for good; the stream keeps it. The note
// is for people who read the stream, at most 256 bytes, and may be empty. It gives
// the sequence of the event.
func (c *Client) Drop(ctx context.Context, seq uint64, r QuarantineRequest, note string) (last uint64, err error) {
	return c.settle(ctx, c.one(seq, "/drop", r), struct {
		Note string `json:"note,omitzero"`
	}{note})
}

func (c *Client) settle(ctx context.Context, address string, body any) (last uint64, err error) {
	err = c.exchange(ctx, http.MethodPost, address, "", body, func(a answer) error {
		last, _, err = a.place()
		return err
	})
	return last, err
}

// one gives the URL of a message in the quarantine.
func (c *Client) one(seq uint64, suffix string, r QuarantineRequest) string {
	params := r.values()
	params.Del("code")
	return withParams(c.bad+"/"+strconv.FormatUint(seq, 10)+suffix, params)
}

func withParams(address string, params url.Values) string {
	if len(params) == 0 {
		return address
	}
	return address + "?" + params.Encode()
}

func parseQuarantined(raw jsontext.Value) (*Quarantined, error) {
	q := &Quarantined{Raw: raw}
	if err := json.Unmarshal(raw, q); err != nil || q.Seq == 0 || q.Code == "" {
		return nil, malformed("it is no message of the quarantine", err)
	}
	return q, nil
}
