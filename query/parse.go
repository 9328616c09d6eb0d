package query

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// body is a request as it is sent. A null is as good as an absent field.
type body struct {
	Cursor   *string        `json:"cursor"`
	PageSize jsontext.Value `json:"pageSize"`
	UsrID    *string        `json:"usr_id"`
	EntID    *string        `json:"ent_id"`
	AppID    *string        `json:"app_id"`
	GrpID    *string        `json:"grp_id"`
	Type     *string        `json:"type"`
	AsOf     jsontext.Value `json:"as_of"`
	AtLeast  jsontext.Value `json:"at_least"`
	Include  jsontext.Value `json:"include"`
	MinScore jsontext.Value `json:"min_score"`
	MaxScore jsontext.Value `json:"max_score"`
	Scored   jsontext.Value `json:"scored"`
	Level    *string        `json:"level"`
}

const fieldNames = "cursor, pageSize, usr_id, ent_id, app_id, grp_id, type, as_of, at_least, include, min_score, max_score, scored and level"

// Names are compared exactly and each may come once: what is not understood is
// refused, since a filter that is passed over lists everything.
var strict = json.JoinOptions(json.RejectUnknownMembers(true), json.MatchCaseInsensitiveNames(false),
	jsontext.AllowDuplicateNames(false), jsontext.AllowInvalidUTF8(false))

// ParseRequest reads the body of a request. An empty one asks for everything.
// Every error is an *Error.
func ParseRequest(data []byte, maxPageSize int) (Request, error) {
	var b body
	if err := ParseObject(data, &b, fieldNames); err != nil {
		return Request{}, err
	}
	return b.request(maxPageSize)
}

// request checks each field by itself.
func (b *body) request(maxPageSize int) (Request, error) {
	var r Request
	for _, f := range [...]struct {
		name string
		from *string
		into *string
	}{
		{"cursor", b.Cursor, &r.Cursor}, {"usr_id", b.UsrID, &r.UsrID}, {"ent_id", b.EntID, &r.EntID},
		{"app_id", b.AppID, &r.AppID}, {"grp_id", b.GrpID, &r.GrpID}, {"type", b.Type, &r.Type}, {"level", b.Level, &r.Level},
	} {
		if f.from == nil {
			continue
		}
		if *f.from == "" {
			return r, emptyField(f.name)
		}
		*f.into = *f.from
	}
	size, ok := sequence(b.PageSize, false)
	if !ok || size > math.MaxInt32 || (size == 0 && !absent(b.PageSize)) {
		return r, badPageSize(maxPageSize)
	}
	r.PageSize = int(size)
	if r.AtLeast, ok = sequence(b.AtLeast, true); !ok {
		return r, invalidField("at_least", sequenceRule)
	}
	if r.AsOf, ok = parseAsOf(b.AsOf); !ok {
		return r, invalidField("as_of", asOfRule)
	}
	var err error
	if r.Include, err = parseInclude(b.Include); err != nil {
		return r, err
	}
	return r, r.parseScores(b)
}

// ParseObject reads the body of a query into a struct whose fields are pointers to
// texts or raw values. An empty body leaves it as it is. Names tells what fields
// there are. Every error is an *Error.
func ParseObject(data []byte, into any, names string) error {
	if len(data) == 0 {
		return nil
	}
	if jsontext.Value(data).Kind() != '{' {
		return &Error{InvalidJSON, "", "send one JSON object, or nothing"}
	}
	if err := json.Unmarshal(data, into, strict); err != nil {
		return jsonError(err, data, names)
	}
	return nil
}

func emptyField(name string) *Error {
	if name == "cursor" {
		return &Error{InvalidCursor, name, "an empty cursor is none; leave the field out for the first page"}
	}
	return invalidField(name, "must not be empty; leave the field out to list every one")
}

const (
	sequenceRule = integerRule + ", as a number or as a string of digits"
	integerRule  = "must be a sequence of the stream: an integer from 0 to 18446744073709551615"
)

// sequence reads a number without sign, fraction and exponent, and on demand a
// string of digits: JavaScript's numbers are exact up to 2^53 only.
func sequence(v jsontext.Value, texts bool) (n uint64, ok bool) {
	if absent(v) {
		return 0, true
	}
	digits := string(v)
	if texts && v.Kind() == '"' {
		digits = strings.Trim(digits, `"`)
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

func absent(v jsontext.Value) bool { return len(v) == 0 || v.Kind() == 'n' }

// jsonError turns the library's error into ours. Its text repeats what was sent
// and is not passed on.
func jsonError(err error, data []byte, names string) *Error {
	if semantic, ok := errors.AsType[*json.SemanticError](err); ok && semantic.JSONPointer != "" {
		field := ClipName(semantic.JSONPointer.LastToken())
		if errors.Is(semantic.Err, json.ErrUnknownName) {
			return &Error{UnknownField, field, "no field has this name; there are " + names}
		}
		return invalidField(field, "must be a string")
	}
	problem := Error{Code: InvalidJSON, Detail: "the body is not valid JSON"}
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		problem.Field = ClipName(syntactic.JSONPointer.LastToken())
		switch {
		case errors.Is(syntactic.Err, jsontext.ErrDuplicateName):
			problem.Detail = "the field is given twice"
		case !utf8.Valid(data):
			problem.Detail = "the body is not valid UTF-8"
		default:
			problem.Detail = fmt.Sprintf("the body is not valid JSON at byte %d", syntactic.ByteOffset)
		}
	}
	return &problem
}

// maxNameBytes bounds a name that an answer repeats.
const maxNameBytes = 64

// ClipName gives a name that was sent as an answer may repeat it: cut to a bound,
// in valid UTF-8.
func ClipName(name string) string {
	name = strings.ToValidUTF8(name, "\uFFFD")
	if len(name) <= maxNameBytes {
		return name
	}
	return strings.ToValidUTF8(name[:maxNameBytes], "") + "…"
}
