package ibmverify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/query"
)

const most = 1000 // assignments of a page

func TestParseSearch(t *testing.T) {
	for raw, want := range map[string]Search{
		"":                                    {Limit: 500, Page: 1},
		"user=u":                              {Limit: 500, Page: 1, User: "u"},
		"group=g":                             {Limit: 500, Page: 1, Group: "g"},
		"limit=1":                             {Limit: 1, Page: 1},
		"page=2":                              {Limit: 500, Page: 2},
		"page=1":                              {Limit: 500, Page: 1},
		"page=0":                              {Limit: 500, Page: 1},
		"page=-1":                             {Limit: 500, Page: 1},
		"page=007":                            {Limit: 500, Page: 7},
		fmt.Sprintf("page=%d", math.MinInt32): {Limit: 500, Page: 1},
		fmt.Sprintf("page=%d", math.MaxInt32): {Limit: 500, Page: math.MaxInt32},
		"limit=1000":                          {Limit: 1000, Page: 1},
		"type=USER&user=u%2F%00+%2B":          {Limit: 500, Page: 1, Type: events.KindUser, User: "u/\x00 +"},
		"type=GROUP&group=g":                  {Limit: 500, Page: 1, Type: events.KindGroup, Group: "g"},
		"type=DYNAMIC_GROUP&group=g":          {Limit: 500, Page: 1, Type: events.KindDynamicGroup, Group: "g"},
		"user=u&group=g":                      {Limit: 500, Page: 1, User: "u", Group: "g"},
		"includeRights=true":                  {Limit: 500, Page: 1, IncludeRights: true},
		"includeRights=false":                 {Limit: 500, Page: 1},
		"as_of=7&at_least=5":                  {Limit: 500, Page: 1, When: query.When{AsOf: &query.AsOf{Seq: 7}, AtLeast: 5}},
	} {
		got, err := ParseSearch(raw, most)
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: %+v, %v; want %+v", raw, got, err, want)
		}
	}
}

func TestParseSearchRefuses(t *testing.T) {
	long := strings.Repeat("x", events.MaxIDBytes+1)
	for raw, want := range map[string]query.Error{
		"users=u": {Code: query.UnknownField, Field: "users"}, "User=u": {Code: query.UnknownField, Field: "User"}, "pageSize=1": {Code: query.UnknownField, Field: "pageSize"},
		"=u": {Code: query.UnknownField}, "name=n": {Code: query.UnknownField, Field: "name"}, // of the body
		"user=": {Code: query.InvalidField, Field: "user"}, "group": {Code: query.InvalidField, Field: "group"}, "type=": {Code: query.InvalidField, Field: "type"},
		"includeRights=": {Code: query.InvalidField, Field: "includeRights"}, "limit=": {Code: query.InvalidField, Field: "limit"}, "page=": {Code: query.InvalidField, Field: "page"},
		"user=u&user=u": {Code: query.InvalidField, Field: "user"}, "page=1&page=2": {Code: query.InvalidField, Field: "page"},
		"user=" + long: {Code: query.InvalidField, Field: "user"}, "group=%ff": {Code: query.InvalidField, Field: "group"}, "user=%f": {Code: query.InvalidField},
		"type=ALL": {Code: query.InvalidField, Field: "type"}, "type=user": {Code: query.InvalidField, Field: "type"}, "type=USER,GROUP": {Code: query.InvalidField, Field: "type"},
		"includeRights=TRUE": {Code: query.InvalidField, Field: "includeRights"}, "includeRights=1": {Code: query.InvalidField, Field: "includeRights"},
		"limit=0": {Code: query.InvalidField, Field: "limit"}, "limit=-1": {Code: query.InvalidField, Field: "limit"}, "limit=1001": {Code: query.InvalidField, Field: "limit"},
		"limit=1.0": {Code: query.InvalidField, Field: "limit"}, "limit=99999999999": {Code: query.InvalidField, Field: "limit"},
		"page=one": {Code: query.InvalidField, Field: "page"}, "page=2147483648": {Code: query.InvalidField, Field: "page"},
		"page=-2147483649": {Code: query.InvalidField, Field: "page"}, "page=%2B1": {Code: query.InvalidField, Field: "page"}, "page=1e3": {Code: query.InvalidField, Field: "page"},
		"as_of=yesterday": {Code: query.InvalidField, Field: "as_of"}, "at_least=-1": {Code: query.InvalidField, Field: "at_least"},
		"user=u&type=GROUP":         {Code: query.ConflictingFields, Field: "type"},
		"user=u&type=DYNAMIC_GROUP": {Code: query.ConflictingFields, Field: "type"},
		"group=g&type=USER":         {Code: query.ConflictingFields, Field: "type"},
		"user=u&group=g&type=USER":  {Code: query.ConflictingFields, Field: "type"},
		"user=u&group=g&type=GROUP": {Code: query.ConflictingFields, Field: "type"},
	} {
		_, err := ParseSearch(raw, most)
		got, ok := errors.AsType[*query.Error](err)
		if !ok || got.Code != want.Code || got.Field != want.Field || got.Detail == "" {
			t.Errorf("%s: %v, want %+v", raw, err, want)
		}
		if strings.HasPrefix(raw, "limit=") && raw != "limit=" && !strings.Contains(got.Detail, "1000") {
			t.Errorf("%s: %v does not name the maximum", raw, err)
		}
	}
}

func TestParseFilter(t *testing.T) {
	for body, want := range map[string]Filter{
		``: {}, `{}`: {}, ` { } `: {},
		`{"code":"c"}`: {Code: "c"}, `{"name":"n"}`: {Name: "n"}, `{"description":"d"}`: {Description: "d"}, `{"type":"role"}`: {Type: "role"},
		`{"type":"permission"}`: {Type: "permission"}, `{"subType":"regular"}`: {SubType: "regular"}, `{"subType":"dynamic"}`: {SubType: "dynamic"},
		`{"application":"a"}`: {Application: "a"}, `{"category":"k"}`: {Category: "k"}, `{"extRef":"x\u0000/é"}`: {ExtRef: "x\x00/é"},
		`{"code":"c","name":"n","description":"d","type":"permission","subType":"dynamic","application":"a","category":"k","extRef":"x"}`: {
			"c", "n", "d", "permission", "dynamic", "a", "k", "x",
		},
		`{"code":null,"name":null,"description":null,"type":null,"subType":null,"application":null,"category":null,"extRef":null}`: {},
	} {
		if got, err := ParseFilter([]byte(body)); err != nil || got != want {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
}

func TestParseFilterRefuses(t *testing.T) {
	long := strings.Repeat("x", events.MaxIDBytes+1)
	check := func(body string, code query.Code, field string) {
		t.Helper()
		_, err := ParseFilter([]byte(body))
		if got, ok := errors.AsType[*query.Error](err); !ok || got.Code != code || got.Field != field || got.Detail == "" {
			t.Errorf("%s: %v; want %s of %q", body, err, code, field)
		}
	}
	for _, field := range []string{"code", "name", "description", "type", "subType", "application", "category", "extRef"} {
		for _, value := range []string{`""`, `7`, `true`, `["a"]`, `{"a":"a"}`} {
			check(`{"`+field+`":`+value+`}`, query.InvalidField, field)
		}
		check(`{"`+field+`":"role","`+field+`":"role"}`, query.InvalidJSON, field)
		check(`{"`+strings.ToUpper(field)+`":"role"}`, query.UnknownField, strings.ToUpper(field))
	}
	check(`{"ent_id":"e"}`, query.UnknownField, "ent_id")
	check(`{"code":"`+long+`"}`, query.InvalidField, "code")
	check(`{"application":"`+long+`"}`, query.InvalidField, "application")
	check(`{"type":"Role"}`, query.InvalidField, "type")
	check(`{"type":"regular"}`, query.InvalidField, "type")
	check(`{"subType":"role"}`, query.InvalidField, "subType")
	for _, body := range []string{`null`, `[]`, `"name"`, `{`, `{"name":"n"} {}`, `{"name":"n",}`, ` `} {
		check(body, query.InvalidJSON, "")
	}
	check("{\"name\":\"\xff\"}", query.InvalidJSON, "name")
}

// No search selects assignments of everyone.
func TestNoSearchSelectsAll(t *testing.T) {
	for _, raw := range []string{"", "user=u", "group=g", "user=u&group=g", "type=USER", "type=GROUP", "type=DYNAMIC_GROUP"} {
		s, err := ParseSearch(raw, most)
		if err != nil {
			t.Fatal(err)
		}
		for _, sel := range s.selectors("t") {
			if len(sel.Kinds) == 0 || sel.Kinds[len(sel.Kinds)-1] == events.KindAll || sel.Tenant != "t" {
				t.Errorf("%s: %+v", raw, sel)
			}
		}
	}
}

// failing is a Reader whose reads fail.
type failing struct{ err error }

func (r failing) Skip(context.Context, uint64, listing.Selector, *listing.Position, int) (listing.Page, error) {
	return listing.Page{}, r.err
}

func (r failing) Assignments(
	context.Context, uint64, listing.Selector, *listing.Position, int, func(*listing.Assignment) error,
) (listing.Page, error) {
	return listing.Page{}, r.err
}

// An error of the reader, such as that of an ended context, is the search's.
func TestReadFails(t *testing.T) {
	for page := 1; page <= 2; page++ {
		s := Search{Limit: 2, Page: page}
		if _, err := s.Read(t.Context(), failing{context.DeadlineExceeded}, "t", 1, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("page %d: %v", page, err)
		}
	}
}

func TestAppendProblem(t *testing.T) {
	for want, p := range map[string]query.Error{
		`{"messageId":"ADX_INVALID_FIELD","messageDescription":"limit: is \"wrong\""}`: {Code: query.InvalidField, Field: "limit", Detail: `is "wrong"`},
		`{"messageId":"ADX_NOT_READY","messageDescription":"wait"}`:                    {Code: query.NotReady, Detail: "wait"},
	} {
		if got := string(AppendProblem(nil, "title", &p)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
