package ibmverify

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/query"
)

const (
	// DefaultLimit is the size of a page when a search names none, in assignments. A
	// lower maximum takes its place.
	DefaultLimit = 500
	// DefaultBudget is how many rows and index keys a search reads to come to its
	// page and through it, stored versions that give no row included, unless
	// Search.Budget says otherwise.
	DefaultBudget = 200_000
)

// Kinds are the kinds of assignee that the API knows, in the order of answers.
// Assignments of everyone (kind ALL) are none of them and are never shown. It must
// not be changed.
var Kinds = events.Kinds[:3:3]

var (
	userKinds  = Kinds[:1:1]
	groupKinds = Kinds[1:]
)

// Search is what a search asks for. Texts that are empty are absent, and an absent
// filter selects everything.
type Search struct {
	User          string
	Group         string
	Type          events.Kind // 0: any of Kinds
	Filter        Filter
	IncludeRights bool
	Limit         int // assignments of a page
	Page          int // from 1 on
	Budget        int // rows and index keys; 0: DefaultBudget
	When          query.When
}

// ParseSearch reads the part of the URL behind the question mark. The filter is
// that of ParseFilter. Every error is a *query.Error.
func ParseSearch(raw string, maxLimit int) (*Search, error) {
	s := &Search{Limit: min(DefaultLimit, maxLimit), Page: 1}
	var kind, rights, limit, page string
	if err := query.ParseParameters(raw, []query.Parameter{
		{Name: "user", Into: &s.User}, {Name: "group", Into: &s.Group}, {Name: "type", Into: &kind},
		{Name: "includeRights", Into: &rights}, {Name: "limit", Into: &limit}, {Name: "page", Into: &page},
	}, &s.When); err != nil {
		return nil, err
	}
	for _, f := range [...]struct{ name, id string }{{"user", s.User}, {"group", s.Group}} {
		if !isID(f.id) {
			return nil, invalid(f.name, codeRule)
		}
	}
	if err := s.parseType(kind); err != nil {
		return nil, err
	}
	switch rights {
	case "", "false":
	case "true":
		s.IncludeRights = true
	default:
		return nil, invalid("includeRights", "must be true or false")
	}
	if limit != "" {
		n, ok := parseInt32(limit)
		if !ok || n < 1 || n > maxLimit {
			return nil, invalid("limit", fmt.Sprintf("must be an integer from 1 to %d, the maximum of this server", maxLimit))
		}
		s.Limit = n
	}
	if page != "" {
		n, ok := parseInt32(page)
		if !ok {
			return nil, invalid("page", fmt.Sprintf("must be an integer from %d to %d; what is less than 1 is the first page", math.MinInt32, math.MaxInt32))
		}
		s.Page = max(n, 1)
	}
	return s, nil
}

func (s *Search) parseType(name string) error {
	if name == "" {
		return nil
	}
	kind, known := events.ParseKind(name)
	switch {
	case !known || kind == events.KindAll:
		return invalid("type", "must be USER, GROUP or DYNAMIC_GROUP, in capital letters")
	case s.User != "" && kind != events.KindUser:
		return conflict("type", "user selects assignments of type USER; leave type out")
	case s.Group != "" && kind == events.KindUser:
		return conflict("type", "group selects assignments of type GROUP or DYNAMIC_GROUP; leave type out")
	}
	s.Type = kind
	return nil
}

// selectors gives what the search selects: first what precedes in the answer.
func (s *Search) selectors(tenant string) []listing.Selector {
	of := func(id string, kinds []events.Kind) listing.Selector {
		if s.Type != 0 {
			kinds = []events.Kind{s.Type}
		}
		return listing.Selector{
			Tenant: tenant, Kinds: kinds, AssigneeID: id, EntID: s.Filter.Code, Entitlements: s.Filter.entitlements(),
		}
	}
	var all []listing.Selector
	if s.User != "" {
		all = append(all, of(s.User, userKinds))
	}
	if s.Group != "" {
		all = append(all, of(s.Group, groupKinds))
	}
	if all == nil {
		all = append(all, of("", Kinds))
	}
	return all
}

// parseInt32 reads an integer of 32 bits as JSON has it.
func parseInt32(text string) (int, bool) {
	n, err := strconv.ParseInt(text, 10, 32)
	return int(n), err == nil && !strings.HasPrefix(text, "+")
}

// codeRule is the rule of the codes of users, groups, entitlements and
// applications, which are the ids of their records.
var codeRule = fmt.Sprintf("must be 1 to %d bytes of UTF-8; leave it out to list every one", events.MaxIDBytes)

// isID reports whether a text, when there is one, can be an id.
func isID(text string) bool { return len(text) <= events.MaxIDBytes && utf8.ValidString(text) }

func invalid(field, detail string) *query.Error {
	return &query.Error{Code: query.InvalidField, Field: field, Detail: detail}
}

func conflict(field, detail string) *query.Error {
	return &query.Error{Code: query.ConflictingFields, Field: field, Detail: detail}
}
