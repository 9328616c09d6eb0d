package store_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
)

// memberNames are what rows can tell beyond their faces, in the order of the
// documentation.
var memberNames = []string{
	"app_id", "type", "rights", "params", "attributes", "valid_from", "valid_until", "created_at", "updated_at",
	"user", "group", "entitlement", "application",
}

// knowledge is what a model knows beside its rows at one sequence.
type knowledge struct {
	records map[string]any      // of entities, by class and id
	secrets map[string][]string // parameters that were declared secret later, by entitlement
}

// knows gives what there was to know of a tenant at seq, with what was declared
// secret up to applied. Then are the models by sequence.
func knows(then []*modeltest.Model, tenant string, seq, applied uint64) knowledge {
	k := knowledge{records: map[string]any{}, secrets: map[string][]string{}}
	for _, e := range then[seq].Entities(tenant) {
		k.records[e.Class+" "+e.ID] = e.Record
	}
	for _, m := range then[seq+1 : applied+1] {
		for _, e := range m.Entities(tenant) {
			if ent, ok := e.Record.(events.Entitlement); ok {
				k.secrets[e.ID] = append(k.secrets[e.ID], ent.SecretParams...)
			}
		}
	}
	return k
}

// details lists random selections with random members, at a view's sequence.
func (v *verifier) details(t *testing.T, view *store.View, then []*modeltest.Model, applied uint64) {
	t.Helper()
	for _, tenant := range modeltest.Tenants {
		known := knows(then, tenant, view.Seq(), applied)
		all := then[view.Seq()].Rows(tenant)
		for i := range 8 {
			sel, filter := v.selection(tenant)
			if i < 2 { // everything of every row at least once
				sel, filter = listing.Selector{Tenant: tenant, Kinds: events.Kinds}, modeltest.Filter{}
			}
			names := memberNames
			if i > 0 {
				names = v.someNames()
			}
			sel.Include = included(t, names)
			var want []string
			for _, r := range all {
				if filter.Picks(r) {
					want = append(want, known.print(t, r, names))
				}
			}
			got := v.detailedPages(t, view, sel, 1+v.rng.IntN(20))
			if !slices.Equal(got, want) {
				for i := range max(len(got), len(want)) {
					if i >= len(got) || i >= len(want) || got[i] != want[i] {
						got, want = got[min(i, len(got)):], want[min(i, len(want)):]
						break
					}
				}
				t.Fatalf("at %d of %d: %s %+v with %q, from the first difference on:\n got %q\nwant %q", view.Seq(), applied, tenant, filter, names, got, want)
			}
		}
	}
}

// selection makes a random selection and the filter that says the same.
func (v *verifier) selection(tenant string) (listing.Selector, modeltest.Filter) {
	f := modeltest.Filter{Kinds: kindSets[v.rng.IntN(len(kindSets))]}
	some := func(ids ...string) string {
		if v.rng.IntN(2) == 0 {
			return ""
		}
		return ids[v.rng.IntN(len(ids))]
	}
	f.AssigneeID, f.EntID, f.AppID = some(slices.Concat(v.gen.Users, v.gen.Groups)...), some(v.gen.Ents...), some(v.gen.Apps...)
	return listing.Selector{Tenant: tenant, Kinds: f.Kinds, AssigneeID: f.AssigneeID, EntID: f.EntID, AppID: f.AppID}, f
}

func (v *verifier) someNames() []string {
	var names []string
	for len(names) == 0 {
		for _, name := range memberNames {
			if v.rng.IntN(3) == 0 {
				names = append(names, name)
			}
		}
	}
	return names
}

func included(t *testing.T, names []string) (all listing.Include) {
	t.Helper()
	for _, name := range names {
		i := slices.Index(memberNames, name)
		if listing.Members[i].Name != name {
			t.Fatalf("member %d is called %s, want %s", i, listing.Members[i].Name, name)
		}
		all |= listing.Members[i].Include
	}
	return all
}

func (v *verifier) detailedPages(t *testing.T, view *store.View, sel listing.Selector, size int) []string {
	t.Helper()
	var all []string
	var after *listing.Position
	for {
		before := len(all)
		page, err := listing.ListDetailed(t.Context(), view, sel, after, size, func(f rows.Face) { all = append(all, string(f.JSON())) })
		if err != nil {
			t.Fatalf("list %+v after %+v: %v", sel, after, err)
		}
		if got := len(all) - before; got != page.Rows || got > size || page.More && got != size {
			t.Fatalf("list %+v after %+v: %d rows were visited in a page of %d that says %+v", sel, after, got, size, page)
		}
		if !page.More {
			return all
		}
		after = &page.Last
	}
}

// print gives a row with members as an answer prints it.
func (k knowledge) print(t *testing.T, r modeltest.Row, names []string) string {
	t.Helper()
	object := strings.TrimSuffix(r.JSON, "}")
	for _, name := range names {
		if name == "type" && r.Assignee.Kind != events.KindUser {
			continue // the face has it
		}
		object += `,"` + name + `":` + k.member(t, r, name)
	}
	return object + "}"
}

func (k knowledge) member(t *testing.T, r modeltest.Row, name string) string {
	t.Helper()
	orNull := func(s string) string {
		if s == "" {
			return "null"
		}
		return quoteJSON(t, s)
	}
	at := func(m modeltest.Moment) string {
		return `"` + time.Unix(0, m.Nano).UTC().Format("2006-01-02T15:04:05.999999999Z") + `"`
	}
	user, _ := k.records["user "+r.Assignee.ID].(events.User)
	ofUser := r.Assignee.Kind == events.KindUser
	switch name {
	case "app_id":
		return orNull(r.Application)
	case "type":
		return `"USER"`
	case "rights":
		var all []string
		for _, right := range r.Rights {
			var values []string
			for _, v := range right.Values {
				values = append(values, quoteJSON(t, v))
			}
			all = append(all, `{"name":`+quoteJSON(t, right.Name)+`,"values":[`+strings.Join(values, ",")+`]}`)
		}
		return "[" + strings.Join(all, ",") + "]"
	case "params":
		var all []string
		for _, param := range slices.Sorted(maps.Keys(r.Params)) {
			value := r.Params[param]
			if slices.Contains(k.secrets[r.EntID], param) {
				value = `"***"`
			}
			all = append(all, quoteJSON(t, param)+":"+value)
		}
		return "{" + strings.Join(all, ",") + "}"
	case "attributes":
		if r.Attributes == "" {
			return "{}"
		}
		return r.Attributes
	case "valid_from":
		return orNull(r.ValidFrom)
	case "valid_until":
		return orNull(r.ValidUntil)
	case "created_at":
		return at(r.Created)
	case "updated_at":
		return at(r.Updated)
	case "user":
		if !ofUser {
			return "null"
		}
		return k.record(t, "user "+r.Assignee.ID)
	case "group":
		if ofUser {
			return k.record(t, "group "+user.GrpID)
		}
		return k.record(t, "group "+r.Assignee.ID)
	case "entitlement":
		return k.record(t, "entitlement "+r.EntID)
	case "application":
		return k.record(t, "application "+r.Application)
	}
	t.Fatalf("no member is called %s", name)
	return ""
}

func (k knowledge) record(t *testing.T, name string) string {
	t.Helper()
	record, ok := k.records[name]
	if !ok {
		return "null"
	}
	b, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func quoteJSON(t *testing.T, s string) string {
	t.Helper()
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestSecretsDeclaredLaterMaskOlderReads goes through what may happen to a
// declaration after it was made: none of it shows the value again.
func TestSecretsDeclaredLaterMaskOlderReads(t *testing.T) {
	const open, masked = `{"n":1,"pw":"hunter2"}`, `{"n":1,"pw":"***"}`
	give := func(usr string) string {
		return `assignment.upserted {"usr_id":"` + usr + `","ent_id":"e","app_id":"a","params":{"pw":"hunter2","n":1}}`
	}
	for _, c := range []struct {
		name    string
		records []string
		want    []string // params of user u by sequence, from 2 on, read after all was applied
	}{
		{"never", []string{`entitlement.upserted {"ent_id":"e"}`, give("u"), give("v")}, []string{open, open}},
		{"of another entitlement", []string{`entitlement.upserted {"ent_id":"e"}`, give("u"), `entitlement.upserted {"ent_id":"f","secret_params":["pw"]}`}, []string{open, open}},
		{"of another parameter", []string{`entitlement.upserted {"ent_id":"e"}`, give("u"), `entitlement.upserted {"ent_id":"e","secret_params":["x"]}`}, []string{open, open}},
		{"declared", []string{`entitlement.upserted {"ent_id":"e"}`, give("u"), give("v"), `entitlement.upserted {"ent_id":"e","secret_params":["pw"]}`}, []string{masked, masked, masked}},
		{"declared and withdrawn", []string{
			`entitlement.upserted {"ent_id":"e"}`, give("u"), `entitlement.upserted {"ent_id":"e","secret_params":["pw"]}`, `entitlement.upserted {"ent_id":"e"}`,
		}, []string{masked, masked, masked}},
		{"declared, withdrawn and sent again", []string{
			`entitlement.upserted {"ent_id":"e"}`, give("u"), `entitlement.upserted {"ent_id":"e","secret_params":["pw"]}`, `entitlement.upserted {"ent_id":"e"}`, give("u"),
		}, []string{masked, masked, masked, open}},
		{"declared and deleted", []string{
			`entitlement.upserted {"ent_id":"e"}`, give("u"), `entitlement.upserted {"ent_id":"e","secret_params":["pw"]}`, `entitlement.deleted {"ent_id":"e"}`,
		}, []string{masked, masked, ""}},
		{"declared after it was deleted", []string{
			`entitlement.upserted {"ent_id":"e"}`, give("u"), `entitlement.deleted {"ent_id":"e"}`, `entitlement.upserted {"ent_id":"e","secret_params":["pw"]}`,
		}, []string{masked, "", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := openIndex(t, t.TempDir())
			applyRecords(t, x.Store, c.records...)
			for _, reopened := range []bool{false, true} {
				if reopened {
					x.reopen() // the declarations lie in tables now
				}
				for i, want := range c.want {
					for _, sel := range []listing.Selector{ // one for each family
						{AssigneeID: "u"}, {EntID: "e"}, {AppID: "a"}, {EntID: "e", AppID: "a"},
					} {
						sel.Tenant, sel.Kinds, sel.Include = "t", events.Kinds, listing.IncludeParams
						if got := paramsOf(t, x.Store, uint64(i+2), sel); got != want {
							t.Errorf("at %d, %+v: %s, want %s", i+2, sel, got, want)
						}
					}
				}
			}
		})
	}
}

// paramsOf gives the parameters of user u's row, empty when there is no row.
func paramsOf(t *testing.T, st *store.Store, seq uint64, sel listing.Selector) (params string) {
	t.Helper()
	view, err := st.View(seq)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	if _, err := listing.ListDetailed(t.Context(), view, sel, nil, 10, func(f rows.Face) {
		var row struct {
			Usr    string         `json:"usr_id"`
			Params jsontext.Value `json:"params"`
		}
		if err := json.Unmarshal(f.JSON(), &row); err != nil {
			t.Fatal(err)
		}
		if row.Usr == "u" {
			params = string(row.Params)
		}
	}); err != nil {
		t.Fatal(err)
	}
	return params
}
