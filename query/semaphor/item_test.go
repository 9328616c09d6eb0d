package semaphor

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/query/assignmentcode"
)

var (
	created = time.Date(2019, 8, 24, 14, 15, 22, 0, time.UTC)
	updated = created.Add(36*time.Hour + 5*time.Millisecond)
)

const moments = `,"createdAt":"2019-08-24T14:15:22Z","updatedAt":"2019-08-26T02:15:22.005Z"}`

func code(kind events.Kind, id string) string {
	return assignmentcode.Encode("p", listing.Position{Assignee: events.Assignee{Kind: kind, ID: id}, EntID: "e"})
}

// Each kind of assignee in its scope, with all that is known and with nothing.
func TestItems(t *testing.T) {
	entitlement := &events.Entitlement{EntID: "e", EntName: "Edit"}
	application := &events.Application{AppID: "a", AppName: "Web", AppType: "postgres"}
	const known = `"definition":{"id":"e","projectId":"p","name":"Edit"},"connection":{"id":"a","name":"Web","type":"postgres"},`
	const unknown = `"definition":{"id":"e","projectId":"p","name":null},"connection":null,`
	for name, c := range map[string]struct {
		item Item
		want string // behind the assignment's id and definitionId
	}{
		"org user": {
			Item{
				Assignee: events.Assignee{Kind: events.KindUser, ID: "u"}, AppID: "a", Entitlement: entitlement, Application: application,
				User: &events.User{UsrID: "u", UsrName: "U", Email: "u@example.org", UsrManagerID: "m"},
			},
			`"scopeType":"ORG_USER","orgUserId":"u","tenantId":null,"tenantUserId":null,"params":{}` + moments + "," + known +
				`"orgUser":{"id":"u","name":"U","email":"u@example.org"},"tenant":null,"tenantUser":null}`,
		},
		"unknown user": {
			Item{Assignee: events.Assignee{Kind: events.KindUser, ID: "u"}},
			`"scopeType":"ORG_USER","orgUserId":"u","tenantId":null,"tenantUserId":null,"params":{}` + moments + "," + unknown +
				`"orgUser":{"id":"u","name":null,"email":null},"tenant":null,"tenantUser":null}`,
		},
		"tenant user": {
			Item{
				Assignee: events.Assignee{Kind: events.KindUser, ID: "u"}, AppID: "a", Entitlement: entitlement, Application: application,
				User: &events.User{UsrID: "u", UsrName: "U", Email: "u@example.org", GrpID: "g"}, Group: &events.Group{GrpID: "g", GrpName: "G"},
			},
			`"scopeType":"TENANT_USER","orgUserId":null,"tenantId":null,"tenantUserId":"u","params":{}` + moments + "," + known +
				`"orgUser":null,"tenant":null,"tenantUser":{"id":"u","name":"U","email":"u@example.org","tenantId":"g","tenant":{"id":"g","name":"G"}}}`,
		},
		"tenant user of an unknown group": {
			Item{Assignee: events.Assignee{Kind: events.KindUser, ID: "u"}, User: &events.User{UsrID: "u", GrpID: "g"}},
			`"scopeType":"TENANT_USER","orgUserId":null,"tenantId":null,"tenantUserId":"u","params":{}` + moments + "," + unknown +
				`"orgUser":null,"tenant":null,"tenantUser":{"id":"u","name":null,"email":null,"tenantId":"g","tenant":{"id":"g","name":null}}}`,
		},
		"group": {
			Item{
				Assignee: events.Assignee{Kind: events.KindGroup, ID: "g"}, AppID: "a", Entitlement: entitlement, Application: application,
				Group: &events.Group{GrpID: "g", GrpName: "G"},
			},
			`"scopeType":"TENANT","orgUserId":null,"tenantId":"g","tenantUserId":null,"params":{}` + moments + "," + known +
				`"orgUser":null,"tenant":{"id":"g","name":"G"},"tenantUser":null}`,
		},
		"unknown dynamic group": {
			Item{Assignee: events.Assignee{Kind: events.KindDynamicGroup, ID: "d"}, AppID: "a"},
			`"scopeType":"TENANT","orgUserId":null,"tenantId":"d","tenantUserId":null,"params":{}` + moments + "," +
				`"definition":{"id":"e","projectId":"p","name":null},"connection":{"id":"a","name":null,"type":null},` +
				`"orgUser":null,"tenant":{"id":"d","name":null},"tenantUser":null}`,
		},
		"everyone": {
			Item{
				Assignee: events.Assignee{Kind: events.KindAll}, AppID: "a", Entitlement: entitlement, Application: application,
				Params: rows.Params{"z": jsontext.Value(`"***"`), "a\"": jsontext.Value(`"é"`), "n": jsontext.Value(`[1,{"x":null}]`)},
			},
			`"scopeType":"ALL_TENANTS","orgUserId":null,"tenantId":null,"tenantUserId":null,"params":{"a\"":"é","n":[1,{"x":null}],"z":"***"}` +
				moments + "," + known + `"orgUser":null,"tenant":null,"tenantUser":null}`,
		},
	} {
		i := c.item
		i.Project, i.EntID, i.Created, i.Updated = "p", "e", created, updated
		got, err := i.Append([]byte("["))
		want := `[{"assignment":{"id":"` + code(i.Assignee.Kind, i.Assignee.ID) + `","definitionId":"e",` + c.want
		if err != nil || string(got) != want {
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, got, want)
		}
		if !jsontext.Value(got[1:]).IsValid() {
			t.Errorf("%s: no JSON: %s", name, got)
		}
	}
}

func TestBrokenParameter(t *testing.T) {
	i := Item{Assignee: events.Assignee{Kind: events.KindAll}, EntID: "e", Params: rows.Params{"a": jsontext.Value(`{`)}}
	if got, err := i.Append(nil); err == nil {
		t.Errorf("%s", got)
	}
}

func TestTextIsQuoted(t *testing.T) {
	const odd = "\"\\\n\x00é日/<"
	i := Item{
		Project: "p", Assignee: events.Assignee{Kind: events.KindUser, ID: odd}, EntID: odd, AppID: odd,
		User: &events.User{UsrName: odd, Email: odd, GrpID: odd}, Group: &events.Group{GrpName: odd},
		Entitlement: &events.Entitlement{EntName: odd}, Application: &events.Application{AppName: odd, AppType: odd},
	}
	got, err := i.Append(nil)
	if err != nil || !jsontext.Value(got).IsValid() {
		t.Errorf("%v: %s", err, got)
	}
}
