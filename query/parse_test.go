package query

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
)

func TestParseRequest(t *testing.T) {
	for body, want := range map[string]Request{
		``:                             {},
		`{}`:                           {},
		` {}`:                          {},
		"\t{\r\n \"pageSize\" : 7 }\n": {PageSize: 7},
		`{"cursor":"abc","pageSize":20,"usr_id":"u","ent_id":"e","app_id":"a","type":"USER","at_least":9,"as_of":7}`: {
			Cursor: "abc", PageSize: 20, UsrID: "u", EntID: "e", AppID: "a", Type: "USER", AtLeast: 9, AsOf: &AsOf{Seq: 7},
		},
		`{"grp_id":"g/\u0000 日本"}`:                                                      {GrpID: "g/\x00 日本"},
		`{"min_score":0,"max_score":1,"scored":true}`:                                   {MinScore: ptr(0.0), MaxScore: ptr(1.0), Scored: ptr(true)},
		`{"min_score":3.5e-1,"max_score":-0,"scored":false,"level":"low"}`:              {MinScore: ptr(0.35), MaxScore: ptr(0.0), Scored: ptr(false), Level: "low"}, // the lister knows what goes together
		`{"min_score":null,"max_score":null,"scored":null,"level":null,"include":null}`: {},
		`{"include":[]}`:                       {},
		`{"include":["user","app_id","user"]}`: {Include: listing.IncludeAppID | listing.IncludeUser},
		`{"include":["app_id","type","rights","params","attributes","valid_from","valid_until","created_at","updated_at","user","group","entitlement","application"]}`: {
			Include: 1<<13 - 1,
		},
		`{"cursor":null,"pageSize":null,"usr_id":null,"ent_id":null,"app_id":null,"grp_id":null,"type":null,"as_of":null,"at_least":null}`: {},
		`{"as_of":0,"at_least":0}`:                         {AsOf: &AsOf{Seq: 0}},
		`{"as_of":"18446744073709551615","at_least":"12"}`: {AsOf: &AsOf{Seq: 1<<64 - 1}, AtLeast: 12},
		`{"pageSize":5000}`:                                {PageSize: 5000},
		`{"pageSize":5001}`:                                {PageSize: 5001}, // the lister knows what is too much
	} {
		got, err := ParseRequest([]byte(body), 5000)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", body, got, err, want)
		}
	}
}

func TestParseRequestRefuses(t *testing.T) {
	long := strings.Repeat("x", 200)
	for _, c := range []struct {
		body  string
		code  Code
		field string
	}{
		{`null`, InvalidJSON, ""},
		{`[]`, InvalidJSON, ""},
		{`"usr_id"`, InvalidJSON, ""},
		{` `, InvalidJSON, ""},
		{`{`, InvalidJSON, ""},
		{`{"usr_id":"u"`, InvalidJSON, ""},
		{`{"usr_id":"u"} {}`, InvalidJSON, ""},
		{`{"usr_id":"u"}x`, InvalidJSON, ""},
		{`{"usr_id":"u",}`, InvalidJSON, ""},
		{`{'usr_id':"u"}`, InvalidJSON, ""},
		{`{"usr_id":"u","usr_id":"u"}`, InvalidJSON, "usr_id"},
		{`{"usr_id":"u","usr\u005fid":null}`, InvalidJSON, "usr_id"},
		{"{\"usr_id\":\"\xff\"}", InvalidJSON, "usr_id"},
		{`{"usr_id":"\ud800"}`, InvalidJSON, "usr_id"},

		{`{"user_id":"u"}`, UnknownField, "user_id"},
		{`{"Usr_id":"u"}`, UnknownField, "Usr_id"},
		{`{"pagesize":5}`, UnknownField, "pagesize"},
		{`{"include":["nothing"]}`, InvalidField, "include"},
		{`{"include":["app_id","App_id"]}`, InvalidField, "include"},
		{`{"include":[""]}`, InvalidField, "include"},
		{`{"include":[null]}`, InvalidField, "include"},
		{`{"include":["app_id",7]}`, InvalidField, "include"},
		{`{"include":"app_id"}`, InvalidField, "include"},
		{`{"include":{}}`, InvalidField, "include"},
		{`{"include":true}`, InvalidField, "include"},
		{`{"min_score":-0.1}`, InvalidField, "min_score"},
		{`{"min_score":1.0000000000000002}`, InvalidField, "min_score"},
		{`{"min_score":1e400}`, InvalidField, "min_score"},
		{`{"min_score":"0.5"}`, InvalidField, "min_score"},
		{`{"min_score":false}`, InvalidField, "min_score"},
		{`{"max_score":2}`, InvalidField, "max_score"},
		{`{"max_score":[0.5]}`, InvalidField, "max_score"},
		{`{"scored":"true"}`, InvalidField, "scored"},
		{`{"scored":1}`, InvalidField, "scored"},
		{`{"level":""}`, InvalidField, "level"},
		{`{"level":1}`, InvalidField, "level"},
		{`{"minScore":0.5}`, UnknownField, "minScore"},
		{`{"":1}`, UnknownField, ""},
		{`{"a/b~c":1}`, UnknownField, "a/b~c"},
		{`{"` + long + `":1}`, UnknownField, long[:maxNameBytes] + "…"},
		{`{"` + strings.Repeat("日", 50) + `":1}`, UnknownField, strings.Repeat("日", maxNameBytes/3) + "…"},

		{`{"usr_id":""}`, InvalidField, "usr_id"},
		{`{"ent_id":""}`, InvalidField, "ent_id"},
		{`{"app_id":""}`, InvalidField, "app_id"},
		{`{"grp_id":""}`, InvalidField, "grp_id"},
		{`{"type":""}`, InvalidField, "type"},
		{`{"cursor":""}`, InvalidCursor, "cursor"},
		{`{"usr_id":5}`, InvalidField, "usr_id"},
		{`{"usr_id":["u"]}`, InvalidField, "usr_id"},
		{`{"ent_id":{"id":"e"}}`, InvalidField, "ent_id"},
		{`{"app_id":true}`, InvalidField, "app_id"},
		{`{"cursor":1}`, InvalidField, "cursor"},
		{`{"type":1}`, InvalidField, "type"},

		{`{"pageSize":0}`, InvalidField, "pageSize"},
		{`{"pageSize":-1}`, InvalidField, "pageSize"},
		{`{"pageSize":-0}`, InvalidField, "pageSize"},
		{`{"pageSize":1.5}`, InvalidField, "pageSize"},
		{`{"pageSize":1e2}`, InvalidField, "pageSize"},
		{`{"pageSize":"20"}`, InvalidField, "pageSize"},
		{`{"pageSize":[20]}`, InvalidField, "pageSize"},
		{`{"pageSize":4294967297}`, InvalidField, "pageSize"},
		{`{"pageSize":99999999999999999999}`, InvalidField, "pageSize"},

		{`{"as_of":-1}`, InvalidField, "as_of"},
		{`{"as_of":1.0}`, InvalidField, "as_of"},
		{`{"as_of":""}`, InvalidField, "as_of"},
		{`{"as_of":"1 "}`, InvalidField, "as_of"},
		{`{"as_of":18446744073709551616}`, InvalidField, "as_of"},
		{`{"as_of":true}`, InvalidField, "as_of"},
		{`{"at_least":"+1"}`, InvalidField, "at_least"},
		{`{"at_least":"\"1\""}`, InvalidField, "at_least"},
		{`{"at_least":{}}`, InvalidField, "at_least"},
	} {
		_, err := ParseRequest([]byte(c.body), 5000)
		e, ok := err.(*Error) //nolint:errorlint // refusals are never wrapped
		if !ok || e.Code != c.code || e.Field != c.field || e.Detail == "" {
			t.Errorf("%s: %v; want %s of %q", c.body, err, c.code, c.field)
			continue
		}
		if c.field == "pageSize" && !strings.Contains(e.Detail, "5000") {
			t.Errorf("%s: %q does not name the maximum", c.body, e.Detail)
		}
	}
}

func TestSelector(t *testing.T) {
	user, group, dynamic, all := events.KindUser, events.KindGroup, events.KindDynamicGroup, events.KindAll
	for _, c := range []struct {
		name  string
		in    Request
		kinds []events.Kind
		id    string
	}{
		{"nothing", Request{}, []events.Kind{user}, ""},
		{"user", Request{UsrID: "u"}, []events.Kind{user}, "u"},
		{"user of type", Request{UsrID: "u", Type: "USER"}, []events.Kind{user}, "u"},
		{"type USER", Request{Type: "USER"}, []events.Kind{user}, ""},
		{"type GROUP", Request{Type: "GROUP"}, []events.Kind{group}, ""},
		{"type DYNAMIC_GROUP", Request{Type: "DYNAMIC_GROUP"}, []events.Kind{dynamic}, ""},
		{"type ALL", Request{Type: "ALL"}, []events.Kind{all}, ""},
		{"group", Request{GrpID: "g"}, []events.Kind{group, dynamic}, "g"},
		{"group of type GROUP", Request{GrpID: "g", Type: "GROUP"}, []events.Kind{group}, "g"},
		{"group of type DYNAMIC_GROUP", Request{GrpID: "g", Type: "DYNAMIC_GROUP"}, []events.Kind{dynamic}, "g"},
		{"longest id", Request{UsrID: strings.Repeat("u", events.MaxIDBytes)}, []events.Kind{user}, strings.Repeat("u", events.MaxIDBytes)},
	} {
		c.in.EntID, c.in.AppID = "e", "a"
		got, err := c.in.selector("t", rows.DefaultThresholds)
		want := listing.Selector{Tenant: "t", Kinds: c.kinds, AssigneeID: c.id, EntID: "e", AppID: "a"}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, want)
		}
		if !slices.IsSorted(got.Kinds) {
			t.Errorf("%s: kinds %v are not in order", c.name, got.Kinds)
		}
	}
	long := strings.Repeat("u", events.MaxIDBytes+1)
	for _, c := range []struct {
		in    Request
		code  Code
		field string
	}{
		{Request{UsrID: "u", GrpID: "g"}, ConflictingFields, "grp_id"},
		{Request{UsrID: "u", Type: "GROUP"}, ConflictingFields, "type"},
		{Request{UsrID: "u", Type: "DYNAMIC_GROUP"}, ConflictingFields, "type"},
		{Request{UsrID: "u", Type: "ALL"}, ConflictingFields, "type"},
		{Request{GrpID: "g", Type: "USER"}, ConflictingFields, "type"},
		{Request{GrpID: "g", Type: "ALL"}, ConflictingFields, "type"},
		{Request{Type: "user"}, InvalidField, "type"},
		{Request{Type: "USERS"}, InvalidField, "type"},
		{Request{UsrID: long}, InvalidField, "usr_id"},
		{Request{GrpID: long}, InvalidField, "grp_id"},
		{Request{EntID: long}, InvalidField, "ent_id"},
		{Request{AppID: long}, InvalidField, "app_id"},
		{Request{AppID: "\xff"}, InvalidField, "app_id"},
	} {
		_, err := c.in.selector("t", rows.DefaultThresholds)
		wantError(t, err, c.code, c.field)
	}
}

func TestPageSize(t *testing.T) {
	for _, c := range []struct{ size, most, want int }{
		{0, 5000, DefaultPageSize}, {0, 20, 20}, {1, 20, 1}, {20, 20, 20}, {21, 20, -1}, {-1, 20, -1},
	} {
		got, err := (&Request{PageSize: c.size}).pageSize(c.most)
		if c.want < 0 {
			wantError(t, err, InvalidField, "pageSize")
		} else if err != nil || got != c.want {
			t.Errorf("%d of %d: %d, %v; want %d", c.size, c.most, got, err, c.want)
		}
	}
}
