package ingest

import (
	"reflect"
	"strings"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/query"
)

func resource(t *testing.T, name string) Resource {
	t.Helper()
	for _, r := range Resources {
		if r.Name == name {
			return r
		}
	}
	t.Fatalf("there is no resource %s", name)
	return Resource{}
}

// samples are an item of each resource, with and without what only upserts need.
var samples = map[string]struct{ array, item, id, upserted, removed string }{
	"applications": {"apps", `{"app_id":"a","app_name":"A","app_owner_id":"o"}`, `{"app_id":"a"}`, "application.upserted", "application.deleted"},
	"entitlements": {"entitlements", `{"ent_id":"e","ent_name":"E","ent_owner_id":"o","app_id":"a"}`, `{"ent_id":"e"}`, "entitlement.upserted", "entitlement.deleted"},
	"identities":   {"identities", `{"usr_id":"u","usr_name":"U","usr_manager_id":"m"}`, `{"usr_id":"u"}`, "user.upserted", "user.deleted"},
	"assignments":  {"assignments", `{"usr_id":"u","ent_id":"e","score":0.5}`, `{"usr_id":"u","ent_id":"e"}`, "assignment.upserted", "assignment.revoked"},
}

func TestEveryActionOfEveryResource(t *testing.T) {
	if len(Resources) != len(samples) {
		t.Fatalf("%d resources", len(Resources))
	}
	for name, s := range samples {
		r := resource(t, name)
		for _, c := range []struct{ action, typ, item, condition string }{
			{"create", s.upserted, s.item, "absent"}, {"update", s.upserted, s.item, "present"}, {"upsert", s.upserted, s.item, ""}, {"delete", s.removed, s.id, ""},
		} {
			body := []byte(` {"` + s.array + `": [` + c.item + `, ` + c.item + `],"action":"` + c.action + `"}` + "\n")
			items, err := r.Parse("t", body)
			if err != nil || len(items) != 2 {
				t.Fatalf("%s %s: %d items, %v", c.action, name, len(items), err)
			}
			clear(body) // items keep nothing of it
			want := c.item
			if c.condition != "" {
				want = strings.TrimSuffix(want, "}") + `,"if":"` + c.condition + `"}`
			}
			for _, it := range items {
				if it.Err != nil || string(it.Record.Type) != c.typ || string(it.Record.Data) != want || string(it.Event.If) != c.condition {
					t.Errorf("%s %s: %s %s, if %q, %v; want %s %s", c.action, name, it.Record.Type, it.Record.Data, it.Event.If, it.Err, c.typ, want)
				}
				// What is published is what was judged.
				ev, err := events.DecodeData("t", it.Record.Type, it.Record.Data)
				if err != nil || !reflect.DeepEqual(ev, it.Event) || ev.Tenant != "t" {
					t.Errorf("%s %s: published is %+v, %v; judged was %+v", c.action, name, ev, err, it.Event)
				}
			}
		}
	}
}

func TestRefusedBatches(t *testing.T) {
	for _, c := range []struct {
		body  string
		code  query.Code
		field string
	}{
		{``, query.InvalidJSON, ""},
		{`null`, query.InvalidJSON, ""},
		{`[]`, query.InvalidJSON, ""},
		{`{`, query.InvalidJSON, ""},
		{`{"action"`, query.InvalidJSON, ""},
		{`{"action":`, query.InvalidJSON, ""},
		{`{"action":"create","assignments":[{}]`, query.InvalidJSON, ""},
		{`{"action":"create","assignments":[{]}`, query.InvalidJSON, ""},
		{`{"action":"create","assignments":[{}],}`, query.InvalidJSON, ""},
		{`{"action":"create","assignments":[{}]}{}`, query.InvalidJSON, ""},
		{`{"action":"create","assignments":[{}]} x`, query.InvalidJSON, ""},
		{`{"action":"create","action":"create","assignments":[{}]}`, query.InvalidJSON, "action"},
		{`{"action":"create","assignments":[{}],"assignments":[]}`, query.InvalidJSON, "assignments"},
		{`{"action":"create","assignments":[{}],"assign\u006dents":[{}]}`, query.InvalidJSON, "assignments"},

		{`{"action":"create","assignment":[{}]}`, query.UnknownField, "assignment"},
		{`{"action":"create","apps":[{"app_id":"a"}]}`, query.UnknownField, "apps"},
		{`{"Action":"create","assignments":[{}]}`, query.UnknownField, "Action"},
		{`{"action":"create","assignments":[{}],"dry_run":true}`, query.UnknownField, "dry_run"},
		{`{"":1}`, query.UnknownField, ""},
		{"{\"\xff\":1}", query.UnknownField, "\uFFFD"},
		{`{"` + strings.Repeat("x", 200) + `":1}`, query.UnknownField, strings.Repeat("x", 64) + "…"},

		{`{}`, query.InvalidField, "action"},
		{`{"assignments":[{}]}`, query.InvalidField, "action"},
		{`{"action":"","assignments":[{}]}`, query.InvalidField, "action"},
		{`{"action":null,"assignments":[{}]}`, query.InvalidField, "action"},
		{`{"action":7,"assignments":[{}]}`, query.InvalidField, "action"},
		{`{"action":"CREATE","assignments":[{}]}`, query.InvalidField, "action"},
		{`{"action":"patch","assignments":[{}]}`, query.InvalidField, "action"},

		{`{"action":"create"}`, query.InvalidField, "assignments"},
		{`{"action":"create","assignments":null}`, query.InvalidField, "assignments"},
		{`{"action":"create","assignments":[]}`, query.InvalidField, "assignments"},
		{`{"action":"create","assignments":{}}`, query.InvalidField, "assignments"},
		{`{"action":"create","assignments":{"usr_id":"u","ent_id":"e"}}`, query.InvalidField, "assignments"},
		{`{"action":"create","assignments":"x"}`, query.InvalidField, "assignments"},
	} {
		items, err := resource(t, "assignments").Parse("t", []byte(c.body))
		e, ok := err.(*query.Error) //nolint:errorlint // refusals are never wrapped
		if !ok || e.Code != c.code || e.Field != c.field || e.Detail == "" || items != nil {
			t.Errorf("%s: %v, %d items; want %s of %q", c.body, err, len(items), c.code, c.field)
		}
	}
}

// A bad item is refused alone, and the text speaks of what was sent.
func TestBadItemsStandInNobodysWay(t *testing.T) {
	const good = `{"usr_id":"u","ent_id":"e"}`
	for _, action := range []string{"create", "update", "upsert"} {
		for _, c := range []struct {
			item  string
			code  events.Code
			field string
		}{
			{`{}`, events.BadField, "usr_id"},
			{`{ }`, events.BadField, "usr_id"},
			{`{"usr_id":"u"}`, events.BadField, "ent_id"},
			{`{"usr_id":"","ent_id":"e"}`, events.BadField, "usr_id"},
			{`{"usr_id":"u","ent_id":"e","score":2}`, events.BadField, "score"},
			{`{"usr_id":7,"ent_id":"e"}`, events.BadField, "usr_id"},
			{`{"usr_id":"u","ent_id":"e","if":"maybe"}`, events.BadField, "if"},
			{`{"usr_id":"u","usr_id":"u","ent_id":"e"}`, events.BadJSON, "usr_id"},
			{`{"usr_id":"u","ent_id":"e","x":{"a":1,"a":2}}`, events.BadJSON, "x"},
			{"{\"usr_id\":\"\xff\",\"ent_id\":\"e\"}", events.BadJSON, "usr_id"},
			{`{"usr_id":"` + strings.Repeat("u", events.MaxIDBytes+1) + `","ent_id":"e"}`, events.TooLarge, "usr_id"},
			{`{"usr_id":"u","ent_id":"e","x":"` + strings.Repeat("x", events.MaxEventBytes) + `"}`, events.TooLarge, "body"},
			{`null`, events.BadJSON, ""}, {`7`, events.BadJSON, ""}, {`"u"`, events.BadJSON, ""}, {`[]`, events.BadJSON, ""}, {`[` + good + `]`, events.BadJSON, ""},
		} {
			items, err := resource(t, "assignments").Parse("t", []byte(`{"action":"`+action+`","assignments":[`+good+`,`+c.item+`,`+good+`]}`))
			if err != nil || len(items) != 3 || items[0].Err != nil || items[2].Err != nil {
				t.Fatalf("%s %.80s: %d items, %v", action, c.item, len(items), err)
			}
			rej := items[1].Err
			if rej == nil || rej.Code != c.code || !strings.HasPrefix(rej.Field, c.field) || (c.field == "") != (rej.Field == "") || rej.Problem == "" || rej.Remedy == "" {
				t.Errorf("%s %.80s: %+v, want %s of %q", action, c.item, rej, c.code, c.field)
			}
		}
	}
}

// An item may have a condition of its own where the action has none.
func TestConditionsOfItems(t *testing.T) {
	for _, c := range []struct {
		action, item string
		want         events.Condition
		refused      bool
	}{
		{"upsert", `{"usr_id":"u","ent_id":"e","if":"absent"}`, events.IfAbsent, false},
		{"delete", `{"usr_id":"u","ent_id":"e","if":"present"}`, events.IfPresent, false},
		{"upsert", `{"usr_id":"u","ent_id":"e","if":null}`, "", false},
		{"create", `{"usr_id":"u","ent_id":"e","if":"absent"}`, "", true},
		{"create", `{"usr_id":"u","ent_id":"e","if":"present"}`, "", true},
		{"create", `{"if":"absent","usr_id":"u","ent_id":"e"}`, "", true},
		{"update", `{"usr_id":"u","ent_id":"e","\u0069f":"present"}`, "", true},
		{"update", `{"usr_id":"u","ent_id":"e","if":""}`, "", true},
		{"update", `{"usr_id":"u","ent_id":"e","if":null}`, "", true},
		// Elsewhere it is a name like any other.
		{"create", `{"usr_id":"u","ent_id":"e","x":{"if":"present"},"params":{"if":1}}`, events.IfAbsent, false},
		{"create", `{"usr_id":"if}","ent_id":"\"if\":"}`, events.IfAbsent, false},
	} {
		items, err := resource(t, "assignments").Parse("t", []byte(`{"action":"`+c.action+`","assignments":[`+c.item+`]}`))
		if err != nil || len(items) != 1 {
			t.Fatalf("%s %s: %v", c.action, c.item, err)
		}
		it := items[0]
		if !c.refused {
			if it.Err != nil || it.Event.If != c.want {
				t.Errorf("%s %s: if %q, %v", c.action, c.item, it.Event.If, it.Err)
			}
			continue
		}
		if it.Err == nil || it.Err.Code != events.BadField || it.Err.Field != "if" || !strings.Contains(it.Err.Error(), c.action) {
			t.Errorf("%s %s: %v", c.action, c.item, it.Err)
		}
	}
}

// The condition counts for the size of an event.
func TestLargestItem(t *testing.T) {
	item := func(size int) string {
		const empty = `{"usr_id":"u","ent_id":"e","x":""}`
		return strings.Replace(empty, `""`, `"`+strings.Repeat("x", size-len(empty))+`"`, 1)
	}
	const condition = `,"if":"absent"`
	for _, c := range []struct {
		action string
		size   int
		fits   bool
	}{
		{"upsert", events.MaxEventBytes, true}, {"upsert", events.MaxEventBytes + 1, false},
		{"create", events.MaxEventBytes - len(condition), true}, {"create", events.MaxEventBytes - len(condition) + 1, false},
	} {
		items, err := resource(t, "assignments").Parse("t", []byte(`{"action":"`+c.action+`","assignments":[`+item(c.size)+`]}`))
		if err != nil {
			t.Fatal(err)
		}
		if rej := items[0].Err; (rej == nil) != c.fits || rej != nil && rej.Code != events.TooLarge {
			t.Errorf("%s of %d bytes: %v", c.action, c.size, rej)
		}
	}
}

// FuzzParse: no body makes Parse panic, every item is judged, and what is judged
// valid decodes to what was judged.
func FuzzParse(f *testing.F) {
	for _, s := range samples {
		for _, action := range []string{"create", "update", "upsert", "delete", "x"} {
			f.Add([]byte(`{"action":"` + action + `","` + s.array + `":[` + s.item + `,{},null,{"if":"absent"}]}`))
		}
	}
	f.Add([]byte(`{"action":"create","assignments":[{"usr_id":"u","ent_id":"e"}]`))
	f.Add([]byte("{\"\xff\":{}}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, r := range Resources {
			items, err := r.Parse("t", body)
			if err != nil {
				e, ok := err.(*query.Error) //nolint:errorlint // refusals are never wrapped
				if !ok || e.Detail == "" || items != nil {
					t.Fatalf("%v, %d items", err, len(items))
				}
				continue
			}
			for _, it := range items {
				ev, err := events.DecodeData("t", it.Record.Type, it.Record.Data)
				if it.Err == nil && (err != nil || !reflect.DeepEqual(ev, it.Event)) {
					t.Fatalf("%s: judged valid, published %v", it.Record.Data, err)
				}
			}
		}
	})
}
