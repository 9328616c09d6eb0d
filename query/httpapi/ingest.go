package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/apikey"
	"github.com/assigndex/assigndex/query/ingest"
)

const (
	// maxIngestBody bounds the body of an ingest request, in bytes.
	maxIngestBody = 8 << 20
	// publishWait is how long a request waits for its acknowledgement. With the time
	// for its body it stays below writeTimeout, so that the client gets an answer.
	publishWait = 25 * time.Second
)

// Publisher puts records into the stream.
type Publisher interface {
	// Publish publishes records in order and returns when the stream has
	// acknowledged them, with the last sequence, 0 when there is none, and how many
	// were acknowledged, from the first on. With an error some of the others may be
	// stored too.
	Publish(ctx context.Context, tenant string, records []ingest.Record) (last uint64, acknowledged int, err error)
}

// Presence tells which records exist.
type Presence interface {
	// Present tells for each event whether the record that it is about exists at
	// the last applied sequence, which it returns.
	Present(all []*events.Event) (present []bool, seq uint64, err error)
}

// The codes of ingest.
const (
	InvalidItems      query.Code = "invalid_items"
	StreamUnavailable query.Code = "stream_unavailable"
	DiskFull          query.Code = "disk_full"
)

// ingestRoute makes the route of a resource.
func (s *Server) ingestRoute(r ingest.Resource) *route {
	return &route{
		name: "ingest_" + r.Name, methods: []string{http.MethodPost}, role: apikey.Writer, sort: publishing, maxBody: maxIngestBody,
		serve: func(x *exchange) {
			if err := s.ingest(x, r); err != nil {
				s.refuse(x, err)
			}
		},
	}
}

// ingestReport is what an answer says about the items. Problems have it too.
type ingestReport struct {
	Sequence uint64         `json:"sequence,omitzero"` // of the last event that was acknowledged
	SeenAt   uint64         `json:"seen_at"`           // the sequence at which the items say what was there
	Note     string         `json:"note"`              // what seen and accepted mean
	Items    []ingestedItem `json:"items"`             // in the order of the request
}

// ingestAnswer is what an ingest request gets.
type ingestAnswer struct {
	Message string `json:"message"` // ok: every item was published
	ingestReport
}

// ingestedItem says what became of one item.
type ingestedItem struct {
	Accepted bool   `json:"accepted"`        // the stream has its event
	Seen     string `json:"seen,omitzero"`   // present or absent
	Code     string `json:"code,omitzero"`   // why it was not accepted
	Field    string `json:"field,omitzero"`  // at fault
	Detail   string `json:"detail,omitzero"` // what is wrong with it, or what its condition will mean
}

const (
	ingestNote = "accepted items are in the stream; seen is what the index held at sequence seen_at, before this request; " +
		"create and update are decided when the event is applied, in the order of the stream"

	// unacknowledged is the code of items that were valid and may be stored or not.
	unacknowledged = "unacknowledged"
)

func (s *Server) ingest(x *exchange, r ingest.Resource) error {
	seq, stream := s.opts.Index.Applied()
	x.place(seq, stream)
	if s.opts.DiskFull != nil && s.opts.DiskFull() {
		return &query.Error{Code: DiskFull, Detail: "nothing was published: the server takes no events until there is room on its disk"}
	}
	items, err := s.ingestItems(x, r, stream)
	if err != nil {
		return err
	}
	report, records, err := s.judge(items)
	if err != nil {
		return err
	}
	if len(records) == 0 {
		return s.refuseItems(x, InvalidItems, "nothing was published: no item is valid", report)
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), s.publishWait)
	defer cancel()
	last, acknowledged, err := s.publisher.Publish(ctx, x.tenant, records)
	if err != nil {
		return s.publishError(x, err, last, acknowledged, report)
	}
	x.place(last, stream)
	report.Sequence = last
	answer, status := ingestAnswer{"ok", report}, http.StatusOK
	if len(records) < len(items) {
		answer.Message = fmt.Sprintf("%d of %d items were published, the others are not valid", len(records), len(items))
		status = http.StatusMultiStatus
	}
	return x.sendObject(status, answer)
}

// ingestItems reads the items of a request that means the given stream.
func (s *Server) ingestItems(x *exchange, r ingest.Resource, stream string) ([]ingest.Item, error) {
	meant, given, err := single(x.r.Header, headerStream)
	switch {
	case err != nil:
		return nil, err
	case given && stream == "":
		return nil, &query.Error{Code: query.NotReady, Detail: "the index is not connected to its stream yet"}
	case given && meant != stream:
		return nil, &query.Error{Code: query.StreamChanged, Detail: "the request is for another incarnation of the stream"}
	}
	if x.r.URL.RawQuery != "" {
		return nil, noParameters()
	}
	if err := x.readJSON(); err != nil {
		return nil, err
	}
	return r.Parse(x.tenant, x.in)
}

// judge says of every item whether it is published and what was seen of it.
func (s *Server) judge(items []ingest.Item) (ingestReport, []ingest.Record, error) {
	report := ingestReport{Note: ingestNote, Items: make([]ingestedItem, len(items))}
	var records []ingest.Record
	var about []*events.Event
	for i := range items {
		if rej := items[i].Err; rej != nil {
			report.Items[i] = ingestedItem{Code: string(rej.Code), Field: rej.Field, Detail: rej.Problem + "; " + rej.Remedy}
			continue
		}
		records = append(records, items[i].Record)
		about = append(about, &items[i].Event)
	}
	present, seq, err := s.presence.Present(about)
	if err != nil {
		return report, nil, err
	}
	report.SeenAt = seq
	for i := range items {
		if items[i].Err == nil {
			report.Items[i], present = published(items[i].Event.If, present[0]), present[1:]
		}
	}
	return report, records, nil
}

// published is what is said of an item whose event has a condition, or none.
func published(condition events.Condition, present bool) ingestedItem {
	it := ingestedItem{Accepted: true, Seen: string(events.IfAbsent)}
	if present {
		it.Seen = string(events.IfPresent)
	}
	switch {
	case condition == events.IfAbsent && present:
		it.Detail = "the record exists; if it does when the event is applied, the event does nothing"
	case condition == events.IfPresent && !present:
		it.Detail = "there is no such record; if there is none when the event is applied, the event does nothing"
	}
	return it
}

// publishError says how far it came: the caller can send the rest again.
func (s *Server) publishError(x *exchange, err error, last uint64, acknowledged int, report ingestReport) error {
	if x.r.Context().Err() != nil {
		return err // the client is gone
	}
	valid := 0
	for i := range report.Items {
		it := &report.Items[i]
		if !it.Accepted {
			continue
		}
		if valid++; valid > acknowledged {
			it.Accepted, it.Code, it.Detail = false, unacknowledged, "the event may be stored or not"
		}
	}
	report.Sequence = last
	s.log.Error().Err(err).Str("tenant", x.tenant).Int("acknowledged", acknowledged).Int("of", valid).Msg("ingest could not publish")
	return s.refuseItems(x, StreamUnavailable, fmt.Sprintf(
		"the stream acknowledged the first %d of %d valid items; of the others it is not known. "+
			"All may be sent again: what is stored twice changes nothing, unless the record was changed in between", acknowledged, valid), report)
}

// refuseItems answers with a problem that says what became of each item.
func (s *Server) refuseItems(x *exchange, code query.Code, detail string, report ingestReport) error {
	object, err := json.Marshal(report)
	if err != nil {
		return err
	}
	s.refuseWith(x, &query.Error{Code: code, Detail: detail}, object)
	return nil
}

func (x *exchange) sendObject(status int, object any) error {
	body, err := json.Marshal(object)
	if err != nil {
		return err
	}
	x.send(status, typeJSON, body)
	return nil
}
