package query

import (
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

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
