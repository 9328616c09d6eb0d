package query

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
)

const scoreRule = "must be a number from 0 to 1"

// parseScores reads the fields that test scores.
func (r *Request) parseScores(b *body) error {
	for _, f := range [...]struct {
		name string
		from jsontext.Value
		into **float64
	}{{"min_score", b.MinScore, &r.MinScore}, {"max_score", b.MaxScore, &r.MaxScore}} {
		if absent(f.from) {
			continue
		}
		var score float64
		if json.Unmarshal(f.from, &score) != nil || score < 0 || score > 1 {
			return invalidField(f.name, scoreRule)
		}
		*f.into = &score
	}
	switch {
	case absent(b.Scored):
	case b.Scored.Kind() == 't' || b.Scored.Kind() == 'f':
		scored := b.Scored.Kind() == 't'
		r.Scored = &scored
	default:
		return invalidField("scored", "must be true or false")
	}
	return nil
}

// scores gives the test of the request, nil when every row passes.
func (r *Request) scores(t rows.Thresholds) (*listing.Scores, error) {
	if r.MinScore == nil && r.MaxScore == nil && r.Scored == nil && r.Level == "" {
		return nil, nil
	}
	inRange := r.MinScore != nil || r.MaxScore != nil
	if r.Scored != nil && !*r.Scored {
		if inRange || r.Level != "" {
			return nil, &Error{ConflictingFields, "scored", "rows without a score have no level, and none is in a range of scores"}
		}
		return &listing.Scores{Unscored: true}, nil
	}
	if r.Level != "" {
		if inRange {
			return nil, &Error{ConflictingFields, "level", "a level is a range of scores: send it, or min_score and max_score"}
		}
		return levelScores(r.Level, t)
	}
	if r.MinScore != nil && r.MaxScore != nil && *r.MinScore > *r.MaxScore {
		return nil, &Error{ConflictingFields, "min_score", "is above max_score: no row can have such a score"}
	}
	return &listing.Scores{Least: r.MinScore, Most: r.MaxScore}, nil
}

// levelScores gives the test of a level.
func levelScores(level string, t rows.Thresholds) (*listing.Scores, error) {
	switch level {
	case "high":
		return &listing.Scores{Least: &t.High}, nil
	case "medium":
		return &listing.Scores{Least: &t.Medium, Below: &t.High}, nil
	case "low":
		return &listing.Scores{Below: &t.Medium}, nil
	default:
		return nil, invalidField("level", "must be high, medium or low")
	}
}

// includeNames is what an error tells that include can name.
var includeNames = func() (names string) {
	for i, m := range listing.Members {
		if i > 0 {
			names += ", "
		}
		names += m.Name
	}
	return names
}()

// parseInclude reads the names of members.
func parseInclude(v jsontext.Value) (listing.Include, error) {
	if absent(v) {
		return 0, nil
	}
	var names []string
	if json.Unmarshal(v, &names) != nil {
		return 0, invalidField("include", "must be an array of names: "+includeNames)
	}
	var all listing.Include
	for _, name := range names {
		include, ok := includeOf(name)
		if !ok {
			return 0, invalidField("include", "holds a name that is none of "+includeNames)
		}
		all |= include
	}
	return all, nil
}

func includeOf(name string) (listing.Include, bool) {
	for _, m := range listing.Members {
		if m.Name == name {
			return m.Include, true
		}
	}
	return 0, false
}
