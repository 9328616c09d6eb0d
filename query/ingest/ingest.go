// Package ingest reads the bodies of the ingest routes and turns their items into
// events. It owns the form of a batch, and what create, update, upsert and delete
// mean. It refuses to publish anything, and to decide whether a record exists:
// that is the fold's to say when the event is applied.
//
// Functions are pure and may be called from any goroutine.
package ingest

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/events"
)

// Resource is a kind of record, as the routes name it.
type Resource struct {
	Name     string // the last part of the path
	Array    string // the member of the body that holds the items
	upserted events.Type
	removed  events.Type
}

// Resources are those that have a route.
var Resources = []Resource{
	{"applications", "apps", events.ApplicationUpserted, events.ApplicationDeleted},
	{"entitlements", "entitlements", events.EntitlementUpserted, events.EntitlementDeleted},
	{"identities", "identities", events.UserUpserted, events.UserDeleted},
	{"assignments", "assignments", events.AssignmentUpserted, events.AssignmentRevoked},
}

// Record is the data of an event to be published.
type Record struct {
	Type events.Type
	Data []byte // JSON
}

// Item is one record of a batch.
type Item struct {
	Record Record
	Event  events.Event      // what Record decodes to
	Err    *events.Rejection // why there is no event; nil: there is one
}

// Parse reads the items of a batch for a tenant, which keep nothing of body. Items
// that are not valid carry their rejection and stand in the way of no other one.
// An error is about the batch as a whole and is a *query.Error.
func (r Resource) Parse(tenant string, body []byte) ([]Item, error) {
	b, err := r.batch(body)
	if err != nil {
		return nil, err
	}
	items := make([]Item, len(b.items))
	for i, data := range b.items {
		items[i] = b.parse(tenant, data)
	}
	return items, nil
}

// parse makes an item of its data, which it keeps.
func (b *batch) parse(tenant string, data jsontext.Value) Item {
	if b.condition == "" {
		return decode(tenant, b.typ, data)
	}
	it := decode(tenant, b.typ, withCondition(data, b.condition))
	if it.Err != nil && it.Err.Code != events.TooLarge {
		// Judged as it was sent: the text must not speak of what we added.
		if it = decode(tenant, b.typ, data); it.Err == nil {
			it.Err = &events.Rejection{
				Code: events.BadField, Field: "if",
				Problem: fmt.Sprintf("given beside the action %s, which has a condition of its own", b.action), Remedy: "leave it out, or use upsert",
			}
		}
	}
	return it
}

func decode(tenant string, typ events.Type, data []byte) Item {
	it := Item{Record: Record{Type: typ, Data: data}}
	ev, err := events.DecodeData(tenant, typ, data)
	if err == nil {
		it.Event = ev
		return it
	}
	rej, ok := err.(*events.Rejection) //nolint:errorlint // DecodeData returns nothing else
	if !ok {
		rej = &events.Rejection{Code: events.BadJSON, Problem: "not a record", Remedy: "send one JSON object"}
	}
	it.Err = rej
	return it
}

// withCondition adds the member "if". An item that has one already then has it
// twice, which decoding refuses.
func withCondition(object []byte, c events.Condition) []byte {
	if len(object) < 2 || object[0] != '{' {
		return object // decoding refuses it
	}
	body := object[1 : len(object)-1]
	out := append(make([]byte, 0, len(object)+len(`,"if":"present"`)), '{')
	out = append(out, body...)
	if len(bytes.TrimSpace(body)) > 0 {
		out = append(out, ',')
	}
	out = append(out, `"if":"`...)
	out = append(out, c...)
	return append(out, `"}`...)
}
