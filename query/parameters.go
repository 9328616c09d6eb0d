package query

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
)

// ParseWhen reads the part of a URL behind the question mark that says nothing but
// which state is meant: as_of and at_least. Every error is an *Error.
func ParseWhen(raw string) (When, error) {
	var w When
	err := parameters(raw, "as_of and at_least", w.parameter)
	return w, err
}

// parameter reads as_of or at_least. It reports false for any other name.
func (w *When) parameter(name, value string) (known bool, err error) {
	switch name {
	case "as_of":
		var ok bool
		if w.AsOf, ok = ParseAsOf(value); !ok {
			return true, invalidField(name, asOfParameterRule)
		}
		return true, nil
	case "at_least":
		if w.AtLeast, err = strconv.ParseUint(value, 10, 64); err != nil {
			return true, invalidField(name, integerRule)
		}
		return true, nil
	default:
		return false, nil
	}
}

// parameters visits the parameters of a URL by name, each of which may come once
// and must not be empty. It refuses a name that visit does not know; names lists
// those that there are.
func parameters(raw, names string, visit func(name, value string) (known bool, err error)) error {
	params, err := url.ParseQuery(raw)
	if err != nil {
		return &Error{InvalidField, "", "the part behind the question mark is not percent-encoded"}
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		values := params[name]
		known, err := visit(name, values[0])
		switch {
		case !known:
			return &Error{UnknownField, ClipName(name), "no parameter has this name; there are " + names}
		case len(values) > 1:
			return invalidField(name, "must not be given twice")
		case values[0] == "":
			return invalidField(name, "must not be empty; leave the parameter out")
		case err != nil:
			return err
		}
	}
	return nil
}
