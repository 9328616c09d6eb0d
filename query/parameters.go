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
	names := make([]string, 0, len(known)+2)
	for _, p := range known {
		names = append(names, p.Name)
	}
	given, err := parameters(raw, append(names, "as_of", "at_least")...)
	if err != nil {
		return err
	}
	for _, p := range known {
		if value, ok := given[p.Name]; ok {
			*p.Into = value
		}
	}
	for _, name := range []string{"as_of", "at_least"} {
		if value, ok := given[name]; ok {
			if err := w.parse(name, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// parameters reads the part of a URL behind the question mark. known are the names
// that may be there, each once and not empty. Every error is an *Error.
func parameters(raw string, known ...string) (map[string]string, error) {
	params, err := url.ParseQuery(raw)
	if err != nil {
		return nil, &Error{InvalidField, "", "the part behind the question mark is not percent-encoded"}
	}
	all := make(map[string]string, len(params))
	for _, name := range slices.Sorted(maps.Keys(params)) {
		switch values := params[name]; {
		case !slices.Contains(known, name):
			return nil, &Error{UnknownField, ClipName(name), "no parameter has this name; there are " + enumeration(known)}
		case len(values) > 1:
			return nil, invalidField(name, "must not be given twice")
		case values[0] == "":
			return nil, invalidField(name, "must not be empty; leave the parameter out")
		default:
			all[name] = values[0]
		}
	}
	return all, nil
}

// enumeration prints names for a sentence.
func enumeration(names []string) string {
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
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
