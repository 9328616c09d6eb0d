package query

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

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

// filterNames are the parameters of filterParameters.
var filterNames = []string{
	"usr_id", "grp_id", "ent_id", "app_id", "type", "min_score", "max_score", "scored", "level", "include", "at_least",
}

// filterParameters gives the filters, include and at_least of parameters.
func filterParameters(params map[string]string) (r Request, err error) {
	r = Request{
		UsrID: params["usr_id"], GrpID: params["grp_id"], EntID: params["ent_id"], AppID: params["app_id"],
		Type: params["type"], Level: params["level"],
	}
	scores := body{
		MinScore: jsontext.Value(params["min_score"]), MaxScore: jsontext.Value(params["max_score"]),
	}
	switch text := params["scored"]; text {
	case "", "true", "false":
		scores.Scored = jsontext.Value(text)
	default:
		return r, invalidField("scored", "must be true or false")
	}
	for name, text := range map[string]jsontext.Value{"min_score": scores.MinScore, "max_score": scores.MaxScore} {
		if absent(text) && len(text) > 0 { // a null is none in a body only
			return r, invalidField(name, scoreRule)
		}
	}
	if err := r.parseScores(&scores); err != nil {
		return r, err
	}
	if text, given := params["include"]; given {
		for name := range strings.SplitSeq(text, ",") {
			include, ok := includeOf(name)
			if !ok {
				return r, invalidField("include", "must be names with commas between, out of "+includeNames)
			}
			r.Include |= include
		}
	}
	if text, given := params["at_least"]; given {
		if r.AtLeast, err = strconv.ParseUint(text, 10, 64); err != nil {
			return r, invalidField("at_least", integerRule)
		}
	}
	return r, nil
}
