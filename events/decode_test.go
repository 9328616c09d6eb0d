package events

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

func ptr[T any](v T) *T { return &v }

func TestDecodeEveryField(t *testing.T) {
	for _, c := range []struct {
		name string
		typ  Type
		data string
		want Event
	}{
		{
			"assignment, every field", AssignmentUpserted,
			`{"usr_id":"u","ent_id":"e","app_id":"p","score":0.98,
			  "justification":[{"id":"CITY","title":"city","value":"Jacksonville"},{"id":"N","title":"n","value":1.50},
			                   {"id":"B","title":"b","value":true},{"id":"Z","title":"z","value":null},{"id":"M","title":"m"}],
			  "rights":[{"name":"read","values":["a","b"]},{"name":"none"}],
			  "params":{"z":{"b":2,"a":1},"a":"x"},
			  "valid_from":"2026-01-31","valid_until":"2026-02-28T12:00:00.5+01:00","if":"absent","revision":7,
			  "cost_center":"42"}`,
			Event{If: IfAbsent, Revision: ptr(int64(7)), Assignment: &Assignment{
				Assignee: Assignee{KindUser, "u"}, EntID: "e", AppID: "p", Score: ptr(0.98),
				Justification: []Reason{
					{"CITY", "city", jsontext.Value(`"Jacksonville"`)}, {"N", "n", jsontext.Value("1.50")},
					{"B", "b", jsontext.Value("true")}, {"Z", "z", jsontext.Value("null")}, {"M", "m", jsontext.Value("null")},
				},
				Rights:    []Right{{"read", []string{"a", "b"}}, {"none", []string{}}},
				Params:    []Param{{"a", jsontext.Value(`"x"`)}, {"z", jsontext.Value(`{"a":1,"b":2}`)}},
				ValidFrom: "2026-01-31", ValidUntil: "2026-02-28T12:00:00.5+01:00",
				Attributes: jsontext.Value(`{"cost_center":"42"}`),
			}},
		},
		{
			"assignment, the least", AssignmentUpserted, `{"usr_id":"u","ent_id":"e"}`,
			Event{Assignment: &Assignment{Assignee: Assignee{KindUser, "u"}, EntID: "e"}},
		},
		{
			"assignment, nulls say none", AssignmentUpserted,
			`{"usr_id":"u","grp_id":null,"type":null,"ent_id":"e","app_id":null,"score":null,"justification":null,"rights":null,"params":null,
			  "valid_from":null,"valid_until":null,"if":null,"revision":null}`,
			Event{Assignment: &Assignment{Assignee: Assignee{KindUser, "u"}, EntID: "e"}},
		},
		{
			"assignment, empties say none", AssignmentUpserted,
			`{"usr_id":"u","grp_id":"","ent_id":"e","app_id":"","rights":[],"params":{},"valid_from":"","valid_until":"","if":""}`,
			Event{Assignment: &Assignment{Assignee: Assignee{KindUser, "u"}, EntID: "e"}},
		},
		{
			"assignment, USER by name", AssignmentUpserted, `{"type":"USER","usr_id":"u","ent_id":"e"}`,
			Event{Assignment: &Assignment{Assignee: Assignee{KindUser, "u"}, EntID: "e"}},
		},
		{
			"assignment, GROUP", AssignmentUpserted, `{"type":"GROUP","grp_id":"g","ent_id":"e","if":"present"}`,
			Event{If: IfPresent, Assignment: &Assignment{Assignee: Assignee{KindGroup, "g"}, EntID: "e"}},
		},
		{
			"assignment, DYNAMIC_GROUP", AssignmentUpserted, `{"type":"DYNAMIC_GROUP","grp_id":"g","ent_id":"e","revision":-3}`,
			Event{Revision: ptr(int64(-3)), Assignment: &Assignment{Assignee: Assignee{KindDynamicGroup, "g"}, EntID: "e"}},
		},
		{
			"assignment, ALL", AssignmentUpserted, `{"type":"ALL","ent_id":"e","score":0}`,
			Event{Assignment: &Assignment{Assignee: Assignee{KindAll, ""}, EntID: "e", Score: ptr(0.0)}},
		},
		{
			"revocation reads the identity alone", AssignmentRevoked, `{"usr_id":"u","ent_id":"e","app_id":"p","score":1,"x":2,"revision":9,"if":"present"}`,
			Event{If: IfPresent, Revision: ptr(int64(9)), Assignment: &Assignment{Assignee: Assignee{KindUser, "u"}, EntID: "e"}},
		},
		{
			"revocation, GROUP", AssignmentRevoked, `{"type":"GROUP","grp_id":"g","ent_id":"e"}`,
			Event{Assignment: &Assignment{Assignee: Assignee{KindGroup, "g"}, EntID: "e"}},
		},
		{
			"revocation, ALL", AssignmentRevoked, `{"type":"ALL","ent_id":"e"}`,
			Event{Assignment: &Assignment{Assignee: Assignee{KindAll, ""}, EntID: "e"}},
		},
		{
			"user", UserUpserted,
			`{"usr_id":"u","usr_name":"U","email":"u@x","usr_manager_id":"m","grp_id":"g","revision":1,"city":"Bonn","type":"person"}`,
			Event{Revision: ptr(int64(1)), User: &User{"u", "U", "u@x", "m", "g", jsontext.Value(`{"city":"Bonn","type":"person"}`)}},
		},
		{"user deleted", UserDeleted, `{"usr_id":"u","email":7,"revision":2}`, Event{Revision: ptr(int64(2)), User: &User{UsrID: "u"}}},
		{
			"group", GroupUpserted, `{"grp_id":"g","grp_name":"G","ent_id":"mine"}`,
			Event{Group: &Group{"g", "G", jsontext.Value(`{"ent_id":"mine"}`)}},
		},
		{"group deleted", GroupDeleted, `{"grp_id":"g","grp_name":[]}`, Event{Group: &Group{GrpID: "g"}}},
		{
			"entitlement", EntitlementUpserted,
			`{"ent_id":"e","ent_name":"E","description":"d","ent_type":"role","sub_type":"dynamic","category":"c","ext_ref":"x","ent_owner_id":"o",
			  "app_id":"p","secret_params":["pw","key","pw"],"revision":3,"risk":"high"}`,
			Event{Revision: ptr(int64(3)), Entitlement: &Entitlement{
				"e", "E", "d", "role", "dynamic", "c", "x", "o", "p", []string{"key", "pw"}, jsontext.Value(`{"risk":"high"}`),
			}},
		},
		{
			"entitlement, the other values", EntitlementUpserted, `{"ent_id":"e","ent_type":"permission","sub_type":"regular","secret_params":[]}`,
			Event{Entitlement: &Entitlement{EntID: "e", EntType: "permission", SubType: "regular"}},
		},
		{"entitlement deleted", EntitlementDeleted, `{"ent_id":"e","ent_type":"nonsense","secret_params":1}`, Event{Entitlement: &Entitlement{EntID: "e"}}},
		{
			"application", ApplicationUpserted, `{"app_id":"p","app_name":"P","app_type":"t","app_owner_id":"o","tags":["a"]}`,
			Event{Application: &Application{"p", "P", "t", "o", jsontext.Value(`{"tags":["a"]}`)}},
		},
		{"application deleted", ApplicationDeleted, `{"app_id":"p","app_owner_id":{}}`, Event{Application: &Application{AppID: "p"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := c.want
			want.Type, want.Tenant = c.typ, "acme"
			got := mustDecode(t, bare(c.typ, c.data))
			if !reflect.DeepEqual(got, want) {
				t.Errorf("bare:\n got %s\nwant %s", show(got), show(want))
			}
			direct, err := DecodeData("acme", c.typ, []byte(c.data))
			if err != nil || !reflect.DeepEqual(direct, want) {
				t.Errorf("DecodeData: %v\n got %s\nwant %s", err, show(direct), show(want))
			}
			want.ID, want.Source = "1", "/test"
			got = mustDecode(t, binary(c.data, "ce-type", string(c.typ)))
			if !reflect.DeepEqual(got, want) {
				t.Errorf("binary:\n got %s\nwant %s", show(got), show(want))
			}
			got = mustDecode(t, structured(`{"specversion":"1.0","type":"`+string(c.typ)+`","id":"1","source":"/test","data":`+c.data+`}`))
			if !reflect.DeepEqual(got, want) {
				t.Errorf("structured:\n got %s\nwant %s", show(got), show(want))
			}
		})
	}
}

// show prints an event with what its pointers point at.
func show(ev Event) string {
	s := fmt.Sprintf("%s %s id=%s source=%s if=%s", ev.Tenant, ev.Type, ev.ID, ev.Source, ev.If)
	if ev.Revision != nil {
		s += fmt.Sprintf(" revision=%d", *ev.Revision)
	}
	if a := ev.Assignment; a != nil {
		if a.Score != nil {
			s += " score=" + strconv.FormatFloat(*a.Score, 'g', -1, 64)
		}
		s += fmt.Sprintf(" %#v", *a)
	}
	return s + fmt.Sprintf(" %#v %#v %#v %#v %#v", ev.User, ev.Group, ev.Entitlement, ev.Application, ev.Drop)
}

func TestTypes(t *testing.T) {
	want := map[Type]bool{
		"assignment.upserted": false, "assignment.revoked": true, "user.upserted": false, "user.deleted": true, "group.upserted": false,
		"group.deleted": true, "entitlement.upserted": false, "entitlement.deleted": true, "application.upserted": false, "application.deleted": true,
		"quarantine.dropped": false,
	}
	if len(Types) != len(want) {
		t.Fatalf("%d types, want %d", len(Types), len(want))
	}
	for _, typ := range Types {
		removes, listed := want[typ]
		if !listed || !typ.Known() || typ.Removes() != removes {
			t.Errorf("%s: listed %v known %v removes %v", typ, listed, typ.Known(), typ.Removes())
		}
	}
	for _, typ := range []Type{"", "assignment", "assignment.deleted", "user.revoked", "Assignment.upserted", "assignment.upserted "} {
		if typ.Known() {
			t.Errorf("%q is known", typ)
		}
		if typ != "" {
			mustReject(t, bare(typ, `{"usr_id":"u","ent_id":"e"}`), UnknownType, "type")
		}
		if _, err := DecodeData("acme", typ, []byte(`{}`)); asRejection(t, err).Code != UnknownType {
			t.Errorf("DecodeData of type %q: %v", typ, err)
		}
	}
	if rej := mustReject(t, bare(Type("x\xff"+strings.Repeat("y", 500)), `{}`), UnknownType, "type"); len(rej.Error()) > 300 {
		t.Errorf("an unknown type is repeated at length: %s", rej)
	}
}

func TestKinds(t *testing.T) {
	names := []string{"USER", "GROUP", "DYNAMIC_GROUP", "ALL"}
	for i, k := range Kinds {
		if k.String() != names[i] || (i > 0 && Kinds[i-1] >= k) {
			t.Errorf("kind %d is %s, want %s in ascending order", k, k, names[i])
		}
		if p, ok := ParseKind(names[i]); !ok || p != k {
			t.Errorf("ParseKind(%s) = %v, %v", names[i], p, ok)
		}
	}
	for _, name := range []string{"", "user", "ALL ", "Kind(0)"} {
		if k, ok := ParseKind(name); ok {
			t.Errorf("ParseKind(%q) = %v", name, k)
		}
	}
	if s := Kind(9).String(); s != "Kind(9)" {
		t.Errorf("Kind(9) prints %s", s)
	}
}

func TestDecodeRejects(t *testing.T) {
	const who = `"usr_id":"u","ent_id":"e"`
	for _, c := range []struct {
		name  string
		typ   Type
		data  string
		code  Code
		field string
	}{
		// who
		{"no assignee", AssignmentUpserted, `{"ent_id":"e"}`, BadField, "usr_id"},
		{"empty usr_id", AssignmentUpserted, `{"usr_id":"","ent_id":"e"}`, BadField, "usr_id"},
		{"numeric usr_id", AssignmentUpserted, `{"usr_id":7,"ent_id":"e"}`, BadField, "usr_id"},
		{"no ent_id", AssignmentUpserted, `{"usr_id":"u"}`, BadField, "ent_id"},
		{"null ent_id", AssignmentUpserted, `{"usr_id":"u","ent_id":null}`, BadField, "ent_id"},
		{"ent_id is a list", AssignmentUpserted, `{"usr_id":"u","ent_id":["e"]}`, BadField, "ent_id"},
		{"grp_id without type", AssignmentUpserted, `{"grp_id":"g","ent_id":"e"}`, BadField, "type"},
		{"grp_id with USER", AssignmentUpserted, `{"type":"USER","usr_id":"u","grp_id":"g","ent_id":"e"}`, BadField, "grp_id"},
		{"GROUP without grp_id", AssignmentUpserted, `{"type":"GROUP","ent_id":"e"}`, BadField, "grp_id"},
		{"GROUP with usr_id", AssignmentUpserted, `{"type":"GROUP","usr_id":"u","grp_id":"g","ent_id":"e"}`, BadField, "usr_id"},
		{"ALL with usr_id", AssignmentUpserted, `{"type":"ALL","usr_id":"u","ent_id":"e"}`, BadField, "type"},
		{"ALL with grp_id", AssignmentUpserted, `{"type":"ALL","grp_id":"g","ent_id":"e"}`, BadField, "type"},
		{"type in lower case", AssignmentUpserted, `{"type":"group","grp_id":"g","ent_id":"e"}`, BadField, "type"},
		{"type of another type", AssignmentUpserted, `{"type":1,` + who + `}`, BadField, "type"},
		{"names are case-sensitive", AssignmentUpserted, `{"USR_ID":"u","ent_id":"e"}`, BadField, "usr_id"},
		// what
		{"app_id", AssignmentUpserted, `{` + who + `,"app_id":1}`, BadField, "app_id"},
		{"score below 0", AssignmentUpserted, `{` + who + `,"score":-0.01}`, BadField, "score"},
		{"score above 1", AssignmentUpserted, `{` + who + `,"score":1.0000001}`, BadField, "score"},
		{"score is text", AssignmentUpserted, `{` + who + `,"score":"0.5"}`, BadField, "score"},
		{"score overflows", AssignmentUpserted, `{` + who + `,"score":1e999}`, BadField, "score"},
		{"justification is an object", AssignmentUpserted, `{` + who + `,"justification":{}}`, BadField, "justification"},
		{"justification of texts", AssignmentUpserted, `{` + who + `,"justification":["x"]}`, BadField, "justification/0"},
		{"justification id", AssignmentUpserted, `{` + who + `,"justification":[{"id":1}]}`, BadField, "justification/0/id"},
		{"justification value is an object", AssignmentUpserted, `{` + who + `,"justification":[{"id":"i","value":{}}]}`, BadField, "justification"},
		{"justification value is a list", AssignmentUpserted, `{` + who + `,"justification":[{"id":"i","value":[1]}]}`, BadField, "justification"},
		{"rights is text", AssignmentUpserted, `{` + who + `,"rights":"all"}`, BadField, "rights"},
		{"rights values", AssignmentUpserted, `{` + who + `,"rights":[{"name":"n","values":[1]}]}`, BadField, "rights/0/values/0"},
		{"params is a list", AssignmentUpserted, `{` + who + `,"params":[1]}`, BadField, "params"},
		{"valid_from", AssignmentUpserted, `{` + who + `,"valid_from":"31.01.2026"}`, BadField, "valid_from"},
		{"valid_from is a number", AssignmentUpserted, `{` + who + `,"valid_from":1769817600}`, BadField, "valid_from"},
		{"valid_until, no such day", AssignmentUpserted, `{` + who + `,"valid_until":"2026-02-30"}`, BadField, "valid_until"},
		{"valid_until without a zone", AssignmentUpserted, `{` + who + `,"valid_until":"2026-02-28T12:00:00"}`, BadField, "valid_until"},
		{"if", AssignmentUpserted, `{` + who + `,"if":"maybe"}`, BadField, "if"},
		{"if of another type", AssignmentUpserted, `{` + who + `,"if":true}`, BadField, "if"},
		{"revision is a fraction", AssignmentUpserted, `{` + who + `,"revision":1.5}`, BadField, "revision"},
		{"revision is text", AssignmentUpserted, `{` + who + `,"revision":"1"}`, BadField, "revision"},
		{"revision overflows", AssignmentUpserted, `{` + who + `,"revision":9223372036854775808}`, BadField, "revision"},
		// removals
		{"revocation of nobody", AssignmentRevoked, `{"ent_id":"e"}`, BadField, "usr_id"},
		{"revocation of nothing", AssignmentRevoked, `{"usr_id":"u"}`, BadField, "ent_id"},
		{"revocation's revision", AssignmentRevoked, `{` + who + `,"revision":"1"}`, BadField, "revision"},
		{"revocation's condition", AssignmentRevoked, `{` + who + `,"if":"maybe"}`, BadField, "if"},
		{"revocation, repeated name", AssignmentRevoked, `{` + who + `,"usr_id":"v"}`, BadJSON, "usr_id"},
		{"user deleted, no id", UserDeleted, `{}`, BadField, "usr_id"},
		{"group deleted, no id", GroupDeleted, `{"grp_id":""}`, BadField, "grp_id"},
		{"entitlement deleted, wrong id", EntitlementDeleted, `{"ent_id":1}`, BadField, "ent_id"},
		{"application deleted, no id", ApplicationDeleted, `{"app":"p"}`, BadField, "app_id"},
		{"user deleted, revision", UserDeleted, `{"usr_id":"u","revision":[]}`, BadField, "revision"},
		// entities
		{"user without id", UserUpserted, `{"usr_name":"U"}`, BadField, "usr_id"},
		{"usr_name", UserUpserted, `{"usr_id":"u","usr_name":1}`, BadField, "usr_name"},
		{"email", UserUpserted, `{"usr_id":"u","email":["a"]}`, BadField, "email"},
		{"usr_manager_id", UserUpserted, `{"usr_id":"u","usr_manager_id":{}}`, BadField, "usr_manager_id"},
		{"grp_id of a user", UserUpserted, `{"usr_id":"u","grp_id":false}`, BadField, "grp_id"},
		{"group without id", GroupUpserted, `{}`, BadField, "grp_id"},
		{"grp_name", GroupUpserted, `{"grp_id":"g","grp_name":1}`, BadField, "grp_name"},
		{"entitlement without id", EntitlementUpserted, `{"app_id":"p"}`, BadField, "ent_id"},
		{"ent_name", EntitlementUpserted, `{"ent_id":"e","ent_name":1}`, BadField, "ent_name"},
		{"description", EntitlementUpserted, `{"ent_id":"e","description":1}`, BadField, "description"},
		{"ent_type", EntitlementUpserted, `{"ent_id":"e","ent_type":"ROLE"}`, BadField, "ent_type"},
		{"sub_type", EntitlementUpserted, `{"ent_id":"e","sub_type":"static"}`, BadField, "sub_type"},
		{"category", EntitlementUpserted, `{"ent_id":"e","category":1}`, BadField, "category"},
		{"ext_ref", EntitlementUpserted, `{"ent_id":"e","ext_ref":1}`, BadField, "ext_ref"},
		{"ent_owner_id", EntitlementUpserted, `{"ent_id":"e","ent_owner_id":1}`, BadField, "ent_owner_id"},
		{"app_id of an entitlement", EntitlementUpserted, `{"ent_id":"e","app_id":1}`, BadField, "app_id"},
		{"secret_params is text", EntitlementUpserted, `{"ent_id":"e","secret_params":"pw"}`, BadField, "secret_params"},
		{"secret_params of numbers", EntitlementUpserted, `{"ent_id":"e","secret_params":["a",1]}`, BadField, "secret_params/1"},
		{"application without id", ApplicationUpserted, `{"app_name":"P"}`, BadField, "app_id"},
		{"app_name", ApplicationUpserted, `{"app_id":"p","app_name":1}`, BadField, "app_name"},
		{"app_type", ApplicationUpserted, `{"app_id":"p","app_type":1}`, BadField, "app_type"},
		{"app_owner_id", ApplicationUpserted, `{"app_id":"p","app_owner_id":1}`, BadField, "app_owner_id"},
		// not one JSON object
		{"nothing", AssignmentUpserted, ``, BadJSON, ""},
		{"white space", AssignmentUpserted, " \n", BadJSON, ""},
		{"a list", AssignmentUpserted, `[{` + who + `}]`, BadJSON, ""},
		{"null", AssignmentUpserted, `null`, BadJSON, ""},
		{"text", AssignmentUpserted, `"{}"`, BadJSON, ""},
		{"cut off", AssignmentUpserted, `{` + who, BadJSON, ""},
		{"cut off in a text", AssignmentUpserted, `{"usr_id":"u`, BadJSON, "usr_id"},
		{"two objects", AssignmentUpserted, `{` + who + `} {}`, BadJSON, ""},
		{"a comma too many", AssignmentUpserted, `{` + who + `,}`, BadJSON, ""},
		{"single quotes", AssignmentUpserted, `{'usr_id':'u'}`, BadJSON, ""},
		{"a comment", AssignmentUpserted, `{` + who + `/* x */}`, BadJSON, ""},
		{"a byte order mark", AssignmentUpserted, "\uFEFF{" + who + `}`, BadJSON, ""},
		{"repeated name", AssignmentUpserted, `{` + who + `,"ent_id":"f"}`, BadJSON, "ent_id"},
		{"repeated name, escaped", AssignmentUpserted, `{` + who + `,"ent\u005fid":"f"}`, BadJSON, "ent_id"},
		{"repeated unknown name", AssignmentUpserted, `{` + who + `,"x":1,"x":1}`, BadJSON, "x"},
		{"repeated name inside an attribute", AssignmentUpserted, `{` + who + `,"x":{"y":1,"y":2}}`, BadJSON, "x/y"},
		{"invalid UTF-8 in an id", AssignmentUpserted, "{\"usr_id\":\"u\xff\",\"ent_id\":\"e\"}", BadJSON, "usr_id"},
		{"invalid UTF-8 in an attribute", AssignmentUpserted, "{" + who + ",\"x\":\"\xc3\x28\"}", BadJSON, "x"},
		{"invalid UTF-8 in a name", AssignmentUpserted, "{" + who + ",\"x\xff\":1}", BadJSON, ""},
		{"an encoded surrogate", AssignmentUpserted, "{\"usr_id\":\"\xed\xa0\x80\",\"ent_id\":\"e\"}", BadJSON, "usr_id"},
		{"a lone high surrogate", AssignmentUpserted, `{"usr_id":"\ud800","ent_id":"e"}`, BadJSON, "usr_id"},
		{"a lone low surrogate", AssignmentUpserted, `{"usr_id":"u","ent_id":"\udc00"}`, BadJSON, "ent_id"},
		{"swapped surrogates", AssignmentUpserted, `{` + who + `,"x":"\udc00\ud800"}`, BadJSON, "x"},
		{"a bad escape", AssignmentUpserted, `{` + who + `,"x":"\x41"}`, BadJSON, "x"},
		{"a raw control character", AssignmentUpserted, "{" + who + ",\"x\":\"\n\"}", BadJSON, "x"},
		{"not a number", AssignmentUpserted, `{` + who + `,"score":NaN}`, BadJSON, "score"},
		{"leading zero", AssignmentUpserted, `{` + who + `,"x":01}`, BadJSON, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			rej := mustReject(t, bare(c.typ, c.data), c.code, c.field)
			if c.field != "" && !strings.Contains(rej.Error(), c.field) {
				t.Errorf("%q does not name %s", rej.Error(), c.field)
			}
			if !strings.Contains(rej.Error(), rej.Problem) || !strings.Contains(rej.Error(), rej.Remedy) {
				t.Errorf("%q leaves out problem or remedy", rej.Error())
			}
			if _, err := DecodeData("acme", c.typ, []byte(c.data)); !reflect.DeepEqual(asRejection(t, err), rej) {
				t.Errorf("DecodeData says %v, Decode %v", err, rej)
			}
			if ev, _ := Decode(bare(c.typ, c.data)); ev.Type != c.typ || ev.Tenant != "acme" {
				t.Errorf("the rejected event has type %q and tenant %q, the quarantine needs both", ev.Type, ev.Tenant)
			}
		})
	}
}

// A removal must take effect whatever else its publisher got wrong.
func TestRemovalsReadNothingElse(t *testing.T) {
	const broken = `,"app_id":[],"score":"high","justification":1,"rights":{},"params":"x","valid_from":"soon","valid_until":7,` +
		`"email":[],"usr_name":1,"ent_type":"?","sub_type":0,"secret_params":{},"attributes":null`
	for typ, id := range map[Type]string{
		AssignmentRevoked: `"usr_id":"x","ent_id":"y"`, UserDeleted: `"usr_id":"x"`, GroupDeleted: `"grp_id":"x"`, EntitlementDeleted: `"ent_id":"x"`,
	} {
		ev := mustDecode(t, bare(typ, `{`+id+broken+`}`))
		if ev.Assignment != nil && ev.Assignment.Attributes != nil || ev.User != nil && ev.User.Attributes != nil {
			t.Errorf("%s keeps attributes", typ)
		}
	}
	mustDecode(t, bare(ApplicationDeleted, `{"app_id":"x","app_name":1,"app_type":[],"app_owner_id":{}}`))
	// Depth is of no concern when nothing is kept.
	mustDecode(t, bare(AssignmentRevoked, `{"usr_id":"x","ent_id":"y","x":`+nested(MaxDepth+1)+`}`))
}

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

func TestLimits(t *testing.T) {
	long := strings.Repeat("i", MaxIDBytes)
	wide := strings.Repeat("é", MaxIDBytes/2) // the limit counts bytes
	for _, c := range []struct {
		typ    Type
		fields string // around the field
		field  string
	}{
		{AssignmentUpserted, `"ent_id":"e"`, "usr_id"},
		{AssignmentUpserted, `"usr_id":"u"`, "ent_id"},
		{AssignmentUpserted, `"usr_id":"u","ent_id":"e"`, "app_id"},
		{AssignmentUpserted, `"type":"GROUP","ent_id":"e"`, "grp_id"},
		{AssignmentRevoked, `"ent_id":"e"`, "usr_id"},
		{AssignmentRevoked, `"usr_id":"u"`, "ent_id"},
		{AssignmentRevoked, `"type":"DYNAMIC_GROUP","ent_id":"e"`, "grp_id"},
		{UserUpserted, `"x":1`, "usr_id"},
		{UserUpserted, `"usr_id":"u"`, "usr_manager_id"},
		{UserUpserted, `"usr_id":"u"`, "grp_id"},
		{UserDeleted, `"x":1`, "usr_id"},
		{GroupUpserted, `"x":1`, "grp_id"},
		{GroupDeleted, `"x":1`, "grp_id"},
		{EntitlementUpserted, `"x":1`, "ent_id"},
		{EntitlementUpserted, `"ent_id":"e"`, "app_id"},
		{EntitlementUpserted, `"ent_id":"e"`, "ent_owner_id"},
		{EntitlementDeleted, `"x":1`, "ent_id"},
		{ApplicationUpserted, `"x":1`, "app_id"},
		{ApplicationUpserted, `"app_id":"p"`, "app_owner_id"},
		{ApplicationDeleted, `"x":1`, "app_id"},
	} {
		for _, id := range []string{"i", long, wide} {
			mustDecode(t, bare(c.typ, `{`+c.fields+`,"`+c.field+`":"`+id+`"}`))
		}
		for _, id := range []string{long + "i", wide + "é"} {
			rej := mustReject(t, bare(c.typ, `{`+c.fields+`,"`+c.field+`":"`+id+`"}`), TooLarge, c.field)
			if !strings.Contains(rej.Problem, "1024") {
				t.Errorf("%s does not name the limit", rej)
			}
		}
		// An escaped text counts as what it says.
		mustDecode(t, bare(c.typ, `{`+c.fields+`,"`+c.field+`":"`+strings.Repeat(`\u0041`, MaxIDBytes)+`"}`))
	}

	body := func(size int) string {
		const start, end = `{"usr_id":"u","ent_id":"e","x":"`, `"}`
		return start + strings.Repeat("x", size-len(start)-len(end)) + end
	}
	mustDecode(t, bare(AssignmentUpserted, body(MaxEventBytes)))
	mustDecode(t, binary(body(MaxEventBytes)))
	if rej := mustReject(t, bare(AssignmentUpserted, body(MaxEventBytes+1)), TooLarge, "body"); !strings.Contains(rej.Problem, "262144") {
		t.Errorf("%s does not name the limit", rej)
	}
	mustReject(t, bare(AssignmentRevoked, body(MaxEventBytes+1)), TooLarge, "body")
	mustReject(t, binary(body(MaxEventBytes+1)), TooLarge, "body")
	mustReject(t, structured(body(MaxEventBytes+1)), TooLarge, "body")
	if _, err := DecodeData("acme", AssignmentUpserted, []byte(body(MaxEventBytes))); err != nil {
		t.Error(err)
	}
	if _, err := DecodeData("acme", AssignmentUpserted, []byte(body(MaxEventBytes+1))); asRejection(t, err).Code != TooLarge {
		t.Error(err)
	}

	for field, element := range map[string]string{"justification": `{"id":"i","value":1}`, "rights": `{"name":"n"}`} {
		of := func(count int) Message {
			return bare(AssignmentUpserted, `{"usr_id":"u","ent_id":"e","`+field+`":[`+strings.Repeat(element+",", count-1)+element+`]}`)
		}
		mustDecode(t, of(MaxElements))
		mustReject(t, of(MaxElements+1), TooLarge, field)
	}

	for _, field := range []string{"x", "params"} {
		at := func(depth int) Message { // of the whole
			inner := nested(depth - 1)
			if field == "params" {
				inner = `{"p":` + nested(depth-2) + `}`
			}
			return bare(AssignmentUpserted, `{"usr_id":"u[[","ent_id":"e\"{{","`+field+`":`+inner+`}`)
		}
		mustDecode(t, at(MaxDepth))
		mustReject(t, at(MaxDepth+1), TooLarge, "body")
	}
	mustDecode(t, bare(AssignmentUpserted, `{"usr_id":"u","ent_id":"e","x":"`+strings.Repeat("[", 20_000)+`"}`))
	mustDecode(t, bare(AssignmentUpserted, `{"usr_id":"u","ent_id":"e","x":[`+strings.Repeat("[],", 20_000)+`1]}`))
}

func TestScores(t *testing.T) {
	for text, want := range map[string]float64{"0": 0, "0.0": 0, "-0": 0, "1": 1, "1.0": 1, "1e0": 1, "0.98": 0.98, "6e-1": 0.6, "1e-7": 1e-7, "1e-400": 0} {
		ev := mustDecode(t, bare(AssignmentUpserted, `{"usr_id":"u","ent_id":"e","score":`+text+`}`))
		if s := ev.Assignment.Score; s == nil || *s != want {
			t.Errorf("score %s was read as %v", text, s)
		}
	}
}

func TestRevisions(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "-1": -1, "9223372036854775807": 1<<63 - 1, "-9223372036854775808": -1 << 63, "9007199254740993": 1<<53 + 1,
	} {
		for _, typ := range Types {
			if typ == QuarantineDropped {
				continue // has none
			}
			ev := mustDecode(t, bare(typ, `{"usr_id":"u","ent_id":"e"`+map[bool]string{true: `,"grp_id":"g","app_id":"p"`}[!strings.HasPrefix(string(typ), "assignment")]+`,"revision":`+text+`}`))
			if ev.Revision == nil || *ev.Revision != want {
				t.Errorf("%s: revision %s was read as %v", typ, text, ev.Revision)
			}
		}
	}
}

func TestAttributes(t *testing.T) {
	for _, c := range []struct{ data, want string }{
		{`"x":12345678901234567890123`, `{"x":12345678901234567890123}`},
		{`"x":9007199254740993,"y":-9223372036854775809`, `{"x":9007199254740993,"y":-9223372036854775809}`},
		{`"x":1.10,"y":1E400,"z":-0`, `{"x":1.10,"y":1E400,"z":-0}`},
		{`"b" : [ 1 , 2 ], "a":{"d":null, "c":true}`, `{"a":{"c":true,"d":null},"b":[1,2]}`},
		{`"x":"\u0041\u00e9\/\ud83d\ude00\u0000\u001f"`, `{"x":"Aé/😀\u0000\u001f"}`},
		{`"\u0078":1`, `{"x":1}`},
		{`"attributes":{"a":1}`, `{"attributes":{"a":1}}`},
		{`"":1`, `{"":1}`},
		{`"usr_name":"not of an assignment","secret_params":7`, `{"secret_params":7,"usr_name":"not of an assignment"}`},
		{`"Score":2,"ENT_ID":[]`, `{"ENT_ID":[],"Score":2}`},
		{`"data":1,"specversion":"0.1"`, `{"data":1,"specversion":"0.1"}`},
	} {
		ev := mustDecode(t, bare(AssignmentUpserted, `{"usr_id":"u",`+c.data+`,"ent_id":"e"}`))
		if got := string(ev.Assignment.Attributes); got != c.want {
			t.Errorf("attributes of %s = %s, want %s", c.data, got, c.want)
		}
	}
	if ev := mustDecode(t, bare(GroupUpserted, `{"grp_id":"g"}`)); ev.Group.Attributes != nil {
		t.Errorf("attributes of nothing = %s", ev.Group.Attributes)
	}
}

// Two events that say the same are read the same, however they are written.
func TestSpellingsAreEqual(t *testing.T) {
	a := mustDecode(t, bare(AssignmentUpserted, `{"usr_id":"u","ent_id":"é","score":0.50,"params":{"p":{"a":1,"b":"\u0041"},"q":[1,2]},"x":"\/"}`))
	b := mustDecode(t, bare(AssignmentUpserted, "\n{ \"x\" : \"/\",\"params\":{\"q\":[ 1,2 ],\"p\":{\"b\":\"A\",\"a\":1}},\"score\":5e-1,\"ent_id\":\"\\u00e9\",\"usr_id\":\"u\" }\n"))
	if !reflect.DeepEqual(a, b) {
		t.Errorf("\n%s\n%s", show(a), show(b))
	}
}

// A parameter may be a secret, so no rejection repeats any part of its value.
func TestRejectionsKeepSecrets(t *testing.T) {
	const secret = "hunter2"
	for _, params := range []string{
		`"hunter2"`, `["hunter2"]`, `hunter2`, `{"pw":hunter2}`, `{"pw":"hunter2}`, `{"pw":"x"hunter2"}`, `{"pw":"\hunter2"}`,
		`{"pw":"\ud800hunter2"}`, `{"pw":"\ud800\uhunter2"}`, `{"pw":{"hunter2":1,"hunter2":2}}`, `{"pw":[{"hunter2":1,"hunter2":2}]}`, `{"pw":["hunter2" "x"]}`,
		"{\"pw\":\"hunter2\xff\"}", "{\"pw\":{\"hunter2\":\"\xff\"}}", "{\"pw\":\"hunter2\n\"}", `{"pw":{"hunter2":nope}}`, `{"pw":1hunter2}`, `{"pw":trhunter2}`,
		`{"pw":"hunter2","pw":"hunter2"}`, `{"pw":"hunter2"},"score":7`, `{"pw":"hunter2"},"revision":"x"`, `{"pw":"hunter2"},"if":"x"`, `{"pw":"hunter2"},"params":1`,
		`{"pw":{"hunter2":` + nested(10_001) + `}}`,
	} {
		data := `{"usr_id":"u","ent_id":"e","params":` + params + `}`
		for _, m := range []Message{
			bare(AssignmentUpserted, data),
			binary(data),
			structured(`{"specversion":"1.0","type":"assignment.upserted","id":"1","source":"/s","data":` + data + `}`),
		} {
			_, err := Decode(m)
			if err == nil {
				t.Errorf("accepted %.200s", data)
				continue
			}
			rej := asRejection(t, err)
			for _, part := range []string{secret, "hunter", "hun", "'h'", `\h`} {
				if s := rej.Error() + rej.Field; strings.Contains(s, part) {
					t.Errorf("the rejection of %.200s repeats %q: %s", data, part, s)
				}
			}
		}
	}
}

func TestLongNamesAreCut(t *testing.T) {
	name := strings.Repeat("ü", 50_000)
	rej := mustReject(t, bare(AssignmentUpserted, `{"`+name+`":1,"`+name+`":2}`), BadJSON, strings.Repeat("ü", 64)+"…")
	if len(rej.Error()) > 400 {
		t.Errorf("a rejection of %d bytes", len(rej.Error()))
	}
	if !strings.Contains(rej.Problem, "repeated name") {
		t.Errorf("%s does not say what is wrong", rej)
	}
}

// A decoded event must not change when the same message is decoded again.
func TestDecodeLeavesTheMessageAlone(t *testing.T) {
	m := bare(AssignmentUpserted, `{ "usr_id" : "u" , "ent_id" : "e", "params" : { "b" : { "z":1, "a" : "\u0041" } }, "x" : [ 1 , "\/" ] }`)
	before := string(m.Data)
	first := mustDecode(t, m)
	if string(m.Data) != before {
		t.Fatalf("the message became %s", m.Data)
	}
	if second := mustDecode(t, m); !reflect.DeepEqual(first, second) {
		t.Errorf("%s\n%s", show(first), show(second))
	}
}
