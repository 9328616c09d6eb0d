package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/query"
)

// batch is the body of a request as a whole.
type batch struct {
	action    string
	typ       events.Type      // of its events
	condition events.Condition // of its events; empty: they have those that items name
	items     []jsontext.Value // in the order of the body
}

// lenient lets an item that has a name twice, or is not in UTF-8, through to where
// it is refused alone.
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// batch reads the members of the body. An error is a *query.Error.
func (r Resource) batch(body []byte) (*batch, error) {
	action, array, err := r.members(body)
	if err != nil {
		return nil, err
	}
	b := &batch{}
	if json.Unmarshal(action, &b.action) != nil || !r.describe(b) {
		return nil, &query.Error{Code: query.InvalidField, Field: "action", Detail: "must be create, update, upsert or delete"}
	}
	if json.Unmarshal(array, &b.items, lenient) != nil || len(b.items) == 0 {
		return nil, &query.Error{Code: query.InvalidField, Field: r.Array, Detail: "must be an array of at least one object"}
	}
	return b, nil
}

// describe sets what an action does. It reports false for one that there is not.
func (r Resource) describe(b *batch) bool {
	b.typ = r.upserted
	switch b.action {
	case "create":
		b.condition = events.IfAbsent
	case "update":
		b.condition = events.IfPresent
	case "upsert":
	case "delete":
		b.typ = r.removed
	default:
		return false
	}
	return true
}

// members gives the values of the two members, empty for one that is missing.
func (r Resource) members(body []byte) (action, array jsontext.Value, err error) {
	if jsontext.Value(body).Kind() != '{' {
		return nil, nil, &query.Error{Code: query.InvalidJSON, Detail: "send one JSON object with action and " + r.Array}
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(body), lenient) // which reads body in place
	values := map[string]*jsontext.Value{"action": &action, r.Array: &array}
	err = eachMember(dec, func(name string, value jsontext.Value) error {
		into, known := values[name]
		switch {
		case !known:
			return &query.Error{
				Code: query.UnknownField, Field: query.ClipName(name),
				Detail: fmt.Sprintf("no field has this name; there are action and %s", r.Array),
			}
		case len(*into) > 0:
			return &query.Error{Code: query.InvalidJSON, Field: name, Detail: "the field is given twice"}
		}
		*into = value.Clone()
		return nil
	})
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok || errors.Is(err, io.ErrUnexpectedEOF) {
		problem := query.Error{Code: query.InvalidJSON, Detail: "the body is not valid JSON"}
		if ok {
			problem.Detail = fmt.Sprintf("the body is not valid JSON at byte %d", syntactic.ByteOffset)
		}
		return nil, nil, &problem
	}
	return action, array, err
}

// eachMember visits the members of the object that dec holds, and nothing else.
// A value is valid until visit returns.
func eachMember(dec *jsontext.Decoder, visit func(name string, value jsontext.Value) error) error {
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return err
		}
		text := name.String() // before the next read
		value, err := dec.ReadValue()
		if err != nil {
			return err
		}
		if err := visit(text, value); err != nil {
			return err
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = &query.Error{Code: query.InvalidJSON, Detail: "send one JSON object and nothing behind it"}
		}
		return err
	}
	return nil
}
