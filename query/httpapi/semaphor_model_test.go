package httpapi

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/query/assignmentcode"
)

var semaphorSeed = flag.Uint64("semaphor-seed", 0, "seed of TestSemaphorModel; 0: a new one")

// What an item must say, as the page's sample has it, and in its order.
type (
	modelItem struct {
		Assignment modelAssignment  `json:"assignment"`
		Definition modelDefinition  `json:"definition"`
		Connection *modelConnection `json:"connection"`
		OrgUser    *modelUser       `json:"orgUser"`
		Tenant     *modelTenant     `json:"tenant"`
		TenantUser *modelTenantUser `json:"tenantUser"`
	}
	modelAssignment struct {
		ID           string                    `json:"id"`
		DefinitionID string                    `json:"definitionId"`
		ScopeType    string                    `json:"scopeType"`
		OrgUserID    *string                   `json:"orgUserId"`
		TenantID     *string                   `json:"tenantId"`
		TenantUserID *string                   `json:"tenantUserId"`
		Params       map[string]jsontext.Value `json:"params"`
		CreatedAt    string                    `json:"createdAt"`
		UpdatedAt    string                    `json:"updatedAt"`
	}
	modelDefinition struct {
		ID        string  `json:"id"`
		ProjectID string  `json:"projectId"`
		Name      *string `json:"name"`
	}
	modelConnection struct {
		ID   string  `json:"id"`
		Name *string `json:"name"`
		Type *string `json:"type"`
	}
	modelUser struct {
		ID    string  `json:"id"`
		Name  *string `json:"name"`
		Email *string `json:"email"`
	}
	modelTenant struct {
		ID   string  `json:"id"`
		Name *string `json:"name"`
	}
	modelTenantUser struct {
		ID       string      `json:"id"`
		Name     *string     `json:"name"`
		Email    *string     `json:"email"`
		TenantID string      `json:"tenantId"`
		Tenant   modelTenant `json:"tenant"`
	}
)

// modelAnswer is what the answer for a project must be, by going through all that
// the model knows.
func modelAnswer(t *testing.T, m *modeltest.Model, project string) string {
	t.Helper()
	known := map[string]any{}
	for _, e := range m.Entities(project) {
		known[e.Class+"\xff"+e.ID] = e.Record
	}
	items := []modelItem{}
	for _, r := range m.Rows(project) {
		items = append(items, modelItemOf(project, r, known))
	}
	answer, err := json.Marshal(map[string]any{"ok": true, "data": map[string]any{"assignments": items}}, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func modelItemOf(project string, r modeltest.Row, known map[string]any) modelItem {
	ent, _ := known["entitlement\xff"+r.EntID].(events.Entitlement)
	item := modelItem{
		Assignment: modelAssignment{
			ID:           assignmentcode.Encode(project, listing.Position{Assignee: r.Assignee, EntID: r.EntID}),
			DefinitionID: r.EntID, Params: map[string]jsontext.Value{},
			CreatedAt: time.Unix(0, r.Created.Nano).UTC().Format(time.RFC3339Nano), UpdatedAt: time.Unix(0, r.Updated.Nano).UTC().Format(time.RFC3339Nano),
		},
		Definition: modelDefinition{r.EntID, project, orNull(ent.EntName)},
	}
	for name, value := range r.Params {
		item.Assignment.Params[name] = jsontext.Value(value)
	}
	if r.Application != "" {
		app, _ := known["application\xff"+r.Application].(events.Application)
		item.Connection = &modelConnection{r.Application, orNull(app.AppName), orNull(app.AppType)}
	}
	group := func(id string) modelTenant {
		g, _ := known["group\xff"+id].(events.Group)
		return modelTenant{id, orNull(g.GrpName)}
	}
	a := &item.Assignment
	switch id := r.Assignee.ID; r.Assignee.Kind {
	case events.KindUser:
		u, _ := known["user\xff"+id].(events.User)
		if u.GrpID == "" {
			a.ScopeType, a.OrgUserID = "ORG_USER", &id
			item.OrgUser = &modelUser{id, orNull(u.UsrName), orNull(u.Email)}
		} else {
			a.ScopeType, a.TenantUserID = "TENANT_USER", &id
			item.TenantUser = &modelTenantUser{id, orNull(u.UsrName), orNull(u.Email), u.GrpID, group(u.GrpID)}
		}
	case events.KindAll:
		a.ScopeType = "ALL_TENANTS"
	default:
		a.ScopeType, a.TenantID = "TENANT", &id
		g := group(id)
		item.Tenant = &g
	}
	return item
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// The answers for a random small company, between events that are hard to follow,
// are what a model says that goes through everything.
func TestSemaphorModel(t *testing.T) {
	seed := cmp.Or(*semaphorSeed, rand.Uint64())
	t.Logf("-semaphor-seed=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	g, m := modeltest.NewGenerator(seed), modeltest.New()
	f := newFixture(t, nil)
	everyone := f.as("*")
	scopes, then := map[string]bool{}, map[string]string{}
	for range 400 {
		message := g.Next()
		if rng.IntN(4) == 0 {
			message = richEvent(rng, g)
		}
		ev, err := events.Decode(message)
		if err != nil {
			continue // quarantined
		}
		stamp := time.Unix(0, int64(f.index.st.Applied().Seq)*1_234_567_891).UTC()
		seq := f.index.applyEvents(func(uint64) time.Time { return stamp }, ev)
		m.Apply(modeltest.Moment{Seq: seq, Nano: stamp.UnixNano()}, message)
		if rng.IntN(8) != 0 {
			continue
		}
		for _, project := range append(slices.Clone(modeltest.Tenants), "nobody") {
			a := everyone.do(http.MethodGet, semaphorOf(project), "")
			if want := modelAnswer(t, m, project); a.status != http.StatusOK || canonical(t, a.body) != canonical(t, []byte(want)) {
				t.Fatalf("%s at sequence %d: %d\n got %s\nwant %s", project, seq, a.status, a.body, want)
			}
			for _, r := range m.Rows(project) {
				scopes[r.Assignee.Kind.String()] = true
			}
			then[fmt.Sprintf("%s?as_of=%d", semaphorOf(project), seq)] = string(a.body)
		}
	}
	if len(scopes) != len(events.Kinds) {
		t.Errorf("only %v occurred", scopes)
	}
	// Later answers of then are those of then, but for what was declared secret since.
	for path, was := range then {
		a := everyone.do(http.MethodGet, path, "")
		if a.status != http.StatusOK || withoutParams(t, a.body) != withoutParams(t, []byte(was)) {
			t.Fatalf("%s: %d\n got %s\nwant %s", path, a.status, a.body, was)
		}
	}
}

// richEvent has what the generator's events do not: all that an item tells of a user
// and an application, and users without a group.
func richEvent(rng *rand.Rand, g *modeltest.Generator) events.Message {
	pick := func(from []string) string { return quoted(from[rng.IntN(len(from))]) }
	kind := "user.upserted"
	var data string
	switch rng.IntN(3) {
	case 0:
		data = fmt.Sprintf(`{"usr_id":%s,"usr_name":%s,"email":%s}`, pick(g.Users), pick(modeltest.Hostile), pick(modeltest.Hostile))
	case 1:
		data = fmt.Sprintf(`{"usr_id":%s,"email":"u@example.org","grp_id":%s}`, pick(g.Users), pick(g.Groups))
	default:
		kind = "application.upserted"
		data = fmt.Sprintf(`{"app_id":%s,"app_name":%s,"app_type":%s}`, pick(g.Apps), pick(modeltest.Hostile), pick(modeltest.Hostile))
	}
	return events.Message{
		Subject: "assignments." + modeltest.Tenants[0] + ".x", Header: map[string][]string{events.TypeHeader: {kind}}, Data: []byte(data),
	}
}

// canonical gives a document with the members of its objects in one order.
func canonical(t *testing.T, doc []byte) string {
	t.Helper()
	v := jsontext.Value(slices.Clone(doc))
	if err := v.Format(jsontext.ReorderRawObjects(true)); err != nil {
		t.Fatalf("%s: %v", doc, err)
	}
	return string(v)
}

func withoutParams(t *testing.T, body []byte) string {
	t.Helper()
	var doc struct {
		Data struct {
			Assignments []modelItem `json:"assignments"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatal(err)
	}
	for i := range doc.Data.Assignments {
		for name := range doc.Data.Assignments[i].Assignment.Params {
			doc.Data.Assignments[i].Assignment.Params[name] = nil
		}
	}
	out, err := json.Marshal(doc, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
