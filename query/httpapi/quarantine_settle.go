package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/query"
)

// storedMessage is a message as the stream holds it. It may hold secrets.
type storedMessage struct {
	Seq     uint64              `json:"seq"`
	Subject string              `json:"subject"`
	Header  map[string][]string `json:"header"`
	Body    *string             `json:"body,omitzero"`        // when it is UTF-8
	Base64  []byte              `json:"body_base64,omitzero"` // when it is not
}

// showMessage answers GET /api/quarantine/{seq}/message.
func (s *Server) showMessage(x *exchange) error {
	q, _, err := s.quarantinedAt(x)
	if err != nil {
		return err
	}
	m, err := s.stored(x.r.Context(), &q)
	if err != nil {
		return err
	}
	answer := storedMessage{Seq: q.Seq, Subject: m.Subject, Header: m.Header}
	if answer.Header == nil {
		answer.Header = map[string][]string{}
	}
	if body := string(m.Data); utf8.ValidString(body) {
		answer.Body = &body
	} else {
		answer.Base64 = m.Data
	}
	body, err := json.Marshal(answer, jsontext.AllowInvalidUTF8(true)) // of subject and header
	if err != nil {
		return err
	}
	x.send(http.StatusOK, typeJSON, body)
	return nil
}

// stored reads a quarantined message from the stream. Its time tells it from
// another one that a recreated stream may hold there.
func (s *Server) stored(ctx context.Context, q *quarantined) (events.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, s.publishWait)
	defer cancel()
	m, at, err := s.opts.Settler.Stored(ctx, q.Seq)
	switch {
	case errors.Is(err, ErrGone) || (err == nil && !at.Equal(q.Time)):
		return m, &query.Error{
			Code: MessageGone, Detail: "the stream no longer holds this message; redrive it with a corrected event in the body, or drop it",
		}
	case err != nil && ctx.Err() == nil:
		s.log.Error().Err(err).Uint64("seq", q.Seq).Msg("a quarantined message could not be read from the stream")
		return m, streamSilent()
	case err != nil:
		return m, streamSilent()
	}
	return m, nil
}

func streamSilent() *query.Error {
	return &query.Error{Code: StreamUnavailable, Detail: "the stream does not answer; try again"}
}

// settled is the answer to a redrive and to a drop.
type settled struct {
	Seq      uint64 `json:"seq"`      // of the message in the quarantine
	Sequence uint64 `json:"sequence"` // of the last event that settles it
	Repeated bool   `json:"repeated"` // the same was asked before, and nothing was published again
}

// redrive answers POST /api/quarantine/{seq}/redrive: it publishes the message
// again as a new event, and the drop of the old one with it.
func (s *Server) redrive(x *exchange) error {
	q, _, err := s.quarantinedAt(x)
	if err != nil {
		return err
	}
	if err := x.readJSON(); err != nil {
		return err
	}
	c, err := correctedIn(x.in)
	if err != nil {
		return err
	}
	event, err := s.eventOf(x, &q, c)
	if err != nil {
		return err
	}
	return s.settle(x, &q, event, dropOf(&q, "redriven"))
}

// drop answers POST /api/quarantine/{seq}/drop.
func (s *Server) drop(x *exchange) error {
	q, _, err := s.quarantinedAt(x)
	if err != nil {
		return err
	}
	if err := x.readJSON(); err != nil {
		return err
	}
	note, err := noteIn(x.in)
	if err != nil {
		return err
	}
	if len(note) > events.MaxNoteBytes {
		return &query.Error{Code: query.InvalidField, Field: "note", Detail: fmt.Sprintf("must have at most %d bytes", events.MaxNoteBytes)}
	}
	return s.settle(x, &q, dropOf(&q, note))
}

// settle publishes what settles a message and answers with the last sequence.
func (s *Server) settle(x *exchange, q *quarantined, all ...Settlement) error {
	ctx, cancel := context.WithTimeout(x.r.Context(), s.publishWait)
	defer cancel()
	last, repeated, err := s.opts.Settler.Settle(ctx, x.tenant, all)
	if err != nil {
		if x.r.Context().Err() != nil {
			return err // the client is gone
		}
		s.log.Error().Err(err).Str("tenant", x.tenant).Uint64("seq", q.Seq).Msg("a quarantined message could not be settled")
		return &query.Error{
			Code:   StreamUnavailable,
			Detail: "the stream did not acknowledge the events; ask for the same again within a minute: it is not done twice",
		}
	}
	_, stream := s.opts.Index.Applied()
	x.place(last, stream)
	return x.sendObject(http.StatusOK, settled{q.Seq, last, repeated})
}

// eventOf makes the event to publish in place of a quarantined message, and refuses
// one that would be quarantined again.
func (s *Server) eventOf(x *exchange, q *quarantined, c corrected) (Settlement, error) {
	m := events.Message{Subject: events.Subject(x.tenant), Header: map[string][]string{}}
	switch {
	case c.event != nil:
		m.Header["Content-Type"] = []string{"application/cloudevents+json"}
		m.Data = c.event
	case len(c.Data) > 0:
		if c.Type == "" {
			c.Type = events.Type(q.Type)
		}
		m.Header[events.TypeHeader], m.Data = []string{string(c.Type)}, c.Data
	default:
		stored, err := s.stored(x.r.Context(), q)
		if err != nil {
			return Settlement{}, err
		}
		m.Header, m.Data = stored.Header, stored.Data
		if c.Type != "" { // the body is a record whose type was missing or wrong
			m.Header = map[string][]string{events.TypeHeader: {string(c.Type)}}
		}
	}
	ev, err := events.Decode(m)
	if rej, refused := errors.AsType[*events.Rejection](err); refused {
		return Settlement{}, &query.Error{
			Code: NotAnEvent, Field: rej.Field, Detail: "it would be quarantined again (" + string(rej.Code) + "): " + rej.Problem + "; " + rej.Remedy,
		}
	}
	if err != nil {
		return Settlement{}, err
	}
	if ev.Drop != nil { // who may drop what is decided for this request's message alone
		return Settlement{}, &query.Error{Code: NotAnEvent, Field: "type", Detail: "a drop is not redriven; drop the message itself"}
	}
	return eventAgain(m, &ev, idOf(q, "redrive "+string(ev.Type), m.Data))
}

// eventAgain gives a message that is an event without the headers that it came
// with: those are the publisher's of then.
func eventAgain(m events.Message, ev *events.Event, id string) (Settlement, error) {
	if ev.ID == "" {
		return Settlement{Type: ev.Type, Data: m.Data, ID: id}, nil
	}
	for name := range m.Header {
		if !strings.EqualFold(name, "ce-type") {
			continue
		}
		// In binary mode the envelope is in the headers.
		whole, err := json.Marshal(struct {
			SpecVersion string         `json:"specversion"`
			ID          string         `json:"id"`
			Source      string         `json:"source"`
			Type        events.Type    `json:"type"`
			Data        jsontext.Value `json:"data"`
		}{"1.0", ev.ID, ev.Source, ev.Type, m.Data})
		return Settlement{Data: whole, ID: id}, err
	}
	return Settlement{Data: m.Data, ID: id}, nil
}

// dropOf makes the event that takes a message out of the quarantine.
func dropOf(q *quarantined, note string) Settlement {
	data, err := json.Marshal(struct {
		Seq  uint64 `json:"seq"`
		Note string `json:"note,omitzero"`
	}{q.Seq, note})
	if err != nil {
		panic(err) // a number and a text that was JSON
	}
	return Settlement{Type: events.QuarantineDropped, Data: data, ID: idOf(q, "drop", nil)}
}

// idOf names what is done to a message, so that the stream knows a repetition.
func idOf(q *quarantined, what string, body []byte) string {
	sum := sha256.Sum256(body)
	return fmt.Sprintf("%s %d %d %s", what, q.Seq, q.Time.UnixNano(), hex.EncodeToString(sum[:16]))
}
