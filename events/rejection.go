package events

import (
	"fmt"
	"slices"
)

// Code classes a Rejection for counting; it is stable.
type Code string

// The classes of rejection.
const (
	BadSubject  Code = "bad_subject"  // the subject names no valid tenant
	BadEnvelope Code = "bad_envelope" // no event type, or a CloudEvents attribute is missing or wrong
	UnknownType Code = "unknown_type" // the type is none of Types
	TooLarge    Code = "too_large"    // an id or the body is over its limit
	BadJSON     Code = "bad_json"     // the body is not one JSON object in valid UTF-8
	BadField    Code = "bad_field"    // a field is missing, of a wrong type or out of range
)

// Codes lists every class of rejection, in the order of the documentation.
var Codes = []Code{BadSubject, BadEnvelope, UnknownType, TooLarge, BadJSON, BadField}

// Known reports whether c is one of Codes.
func (c Code) Known() bool { return slices.Contains(Codes, c) }

// Rejection says why a message is not an event, and what to send instead. It never
// holds a value of "params", which may be a secret. Of other values it repeats,
// shortened, only those of fields that take one of a few words, such as a type, and
// the subject.
type Rejection struct {
	Code    Code
	Field   string // the field, header or attribute at fault; empty: the whole
	Problem string // what is wrong with it
	Remedy  string // what the publisher should send instead
}

// Error gives field, problem and remedy in one line.
func (r *Rejection) Error() string {
	s := r.Problem
	if r.Field != "" {
		s = r.Field + ": " + s
	}
	if r.Remedy != "" {
		s += "; " + r.Remedy
	}
	return s
}

func reject(code Code, field, remedy, problem string, args ...any) *Rejection {
	return &Rejection{Code: code, Field: field, Problem: fmt.Sprintf(problem, args...), Remedy: remedy}
}
