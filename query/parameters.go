package query

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Parameter is a text that the part of a URL behind the question mark may hold.
type Parameter struct {
	Name string
	Into *string // stays as it is when the parameter is absent
}

// ParseParameters reads the part of a URL behind the question mark: the known
// texts, and as_of and at_least into w. Every error is an *Error that names the
// parameter that is unknown, repeated, empty or malformed.
func ParseParameters(raw string, known []Parameter, w *When) error {
	params, err := url.ParseQuery(raw)
	if err != nil {
		return &Error{InvalidField, "", "the part behind the question mark is not percent-encoded"}
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		at := slices.IndexFunc(known, func(p Parameter) bool { return p.Name == name })
		if at < 0 && name != "as_of" && name != "at_least" {
			return &Error{UnknownField, ClipName(name), "no parameter has this name; there are " + parameterNames(known)}
		}
		values := params[name]
		if len(values) > 1 {
			return invalidField(name, "must not be given twice")
		}
		if values[0] == "" {
			return invalidField(name, "must not be empty; leave the parameter out")
		}
		if at >= 0 {
			*known[at].Into = values[0]
			continue
		}
		if err := w.parse(name, values[0]); err != nil {
			return err
		}
	}
	return nil
}

func (w *When) parse(name, value string) error {
	if name == "as_of" {
		var ok bool
		if w.AsOf, ok = ParseAsOf(value); !ok {
			return invalidField(name, asOfParameterRule)
		}
		return nil
	}
	var err error
	if w.AtLeast, err = strconv.ParseUint(value, 10, 64); err != nil {
		return invalidField(name, integerRule)
	}
	return nil
}

func parameterNames(known []Parameter) string {
	var names strings.Builder
	for _, p := range known {
		names.WriteString(p.Name + ", ")
	}
	return names.String() + "as_of and at_least"
}
