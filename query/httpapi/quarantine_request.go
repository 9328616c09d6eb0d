package httpapi

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/quarantine"
	"github.com/assigndex/assigndex/query"
)

// quarantineRequest is what stands behind the question mark.
type quarantineRequest struct {
	sel     quarantine.Selector
	after   uint64
	limit   int
	atLeast uint64
}

// parseQuarantine reads parameters: unattributed and at_least, and those of the
// filters that are named. Every error is an *query.Error.
func parseQuarantine(raw, tenant string, filters []string) (quarantineRequest, error) {
	req := quarantineRequest{sel: quarantine.Selector{Tenant: tenant}, limit: defaultQuarantinePage}
	known := append([]string{"unattributed", "at_least"}, filters...)
	params, err := url.ParseQuery(raw)
	if err != nil {
		return req, &query.Error{Code: query.InvalidField, Detail: "the part behind the question mark is not percent-encoded"}
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if !slices.Contains(known, name) {
			return req, &query.Error{
				Code: query.UnknownField, Field: query.ClipName(name), Detail: "no parameter has this name; there are " + strings.Join(known, ", "),
			}
		}
		rule := "must not be given twice"
		if len(params[name]) == 1 {
			rule = req.set(name, params[name][0])
		}
		if rule != "" {
			return req, &query.Error{Code: query.InvalidField, Field: name, Detail: rule}
		}
	}
	return req, nil
}

// set takes the value of a parameter, or gives the rule that it breaks.
func (r *quarantineRequest) set(name, value string) (rule string) {
	const sequenceRule = "must be a sequence: an integer from 0 to 18446744073709551615"
	var err error
	switch name {
	case "code":
		if r.sel.Code = events.Code(value); !r.sel.Code.Known() {
			return "must be one of the codes of the quarantine, such as bad_field"
		}
	case "unattributed":
		if value != "true" {
			return "must be true, or be left out"
		}
		r.sel.Tenant = ""
	case "limit":
		if r.limit, err = strconv.Atoi(value); err != nil || r.limit < 1 || r.limit > maxQuarantinePage {
			return "must be an integer from 1 to " + strconv.Itoa(maxQuarantinePage)
		}
	case "after":
		if r.after, err = strconv.ParseUint(value, 10, 64); err != nil {
			return sequenceRule
		}
	case "at_least":
		if r.atLeast, err = strconv.ParseUint(value, 10, 64); err != nil {
			return sequenceRule
		}
	}
	return ""
}

// sequenceInPath reads the varying segment of a path, in the one form that answers
// have.
func sequenceInPath(segment string) (seq uint64, ok bool) {
	seq, err := strconv.ParseUint(segment, 10, 64)
	return seq, err == nil && strconv.FormatUint(seq, 10) == segment
}

// corrected is what a request to redrive sends in place of the stored message.
type corrected struct {
	event []byte         // a whole CloudEvents event; nil: none
	Type  events.Type    `json:"type"` // empty: that of the stored message
	Data  jsontext.Value `json:"data"` // empty: the stored message's body
}

// correctedIn reads the body of a request to redrive; an empty one corrects nothing.
func correctedIn(body []byte) (c corrected, err error) {
	if len(body) == 0 {
		return c, nil
	}
	var envelope struct {
		SpecVersion jsontext.Value `json:"specversion"`
	}
	if jsontext.Value(body).Kind() == '{' && json.Unmarshal(body, &envelope) == nil && len(envelope.SpecVersion) > 0 {
		return corrected{event: slices.Clone(body)}, nil
	}
	err = readMembers(body, &c, `nothing, an object with type and data, or a whole CloudEvents event`)
	c.Data = slices.Clone(c.Data) // the body's buffer is used again
	return c, err
}

// noteIn reads the body of a request to drop.
func noteIn(body []byte) (note string, err error) {
	if len(body) == 0 {
		return "", nil
	}
	var members struct {
		Note string `json:"note"`
	}
	err = readMembers(body, &members, "nothing, or an object with a note")
	return members.Note, err
}

// readMembers reads one JSON object and refuses names that it does not know. The
// library's messages repeat what was sent, so none of their text is passed on.
func readMembers(body []byte, into any, form string) error {
	if jsontext.Value(body).Kind() != '{' {
		return &query.Error{Code: query.InvalidJSON, Detail: "send " + form}
	}
	err := json.Unmarshal(body, into, json.RejectUnknownMembers(true))
	semantic, isSemantic := errors.AsType[*json.SemanticError](err)
	switch {
	case err == nil:
		return nil
	case !isSemantic:
		return &query.Error{Code: query.InvalidJSON, Detail: "the body is not one JSON object in valid UTF-8 with each name once; send " + form}
	case errors.Is(err, json.ErrUnknownName):
		return &query.Error{Code: query.UnknownField, Field: query.ClipName(semantic.JSONPointer.LastToken()), Detail: "no field has this name; send " + form}
	default:
		return &query.Error{Code: query.InvalidField, Field: query.ClipName(semantic.JSONPointer.LastToken()), Detail: "is of a wrong type; send " + form}
	}
}
