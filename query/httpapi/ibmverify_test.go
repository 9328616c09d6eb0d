package httpapi

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/ibmverify"
)

// verifyPage is the answer to a search.
type verifyPage struct {
	Page        int                `json:"page"`
	Limit       int                `json:"limit"`
	Assignments []verifyAssignment `json:"assignments"`
	More        bool               `json:"more"`

	seq string
}

type verifyAssignment struct {
	Code        string            `json:"code"`
	Type        string            `json:"type"`
	User        map[string]string `json:"user"`
	Group       map[string]string `json:"group"`
	Entitlement map[string]string `json:"entitlement"`
	Score       *float64          `json:"score"`
	CreatedAt   string            `json:"createdAt"`
	UpdatedAt   string            `json:"updatedAt"`
	Rights      jsontext.Value    `json:"rights"`
}

// search sends a search that must be answered.
func (c *client) search(params, body string, headers ...string) verifyPage {
	c.tb.Helper()
	a := c.do(http.MethodPost, verifySearchPath+params, body, headers...)
	var p verifyPage
	if err := json.Unmarshal(a.body, &p, json.RejectUnknownMembers(true)); err != nil || a.status != http.StatusOK {
		c.tb.Fatalf("%s %s: %d %s", params, body, a.status, a.body)
	}
	p.seq = a.header.Get("Assigndex-Seq")
	return p
}

// rights asks for the rights of an assignment.
func (c *client) rights(code, params string) answer {
	c.tb.Helper()
	return c.do(http.MethodGet, strings.Replace(verifyRightsPath, "{code}", url.PathEscape(code), 1)+params, "")
}

// codes gives what the assignments of a page are named by.
func (p *verifyPage) codes() (codes []string) {
	for _, a := range p.Assignments {
		codes = append(codes, a.Code)
	}
	return codes
}

// A code stays the same through an update, and after a revocation and a new grant.
// Between them there is no such assignment.
func TestIBMVerifyCodesAreStable(t *testing.T) {
	f := newFixture(t, nil)
	first := f.index.apply("acme", event{"assignment.upserted", `{"usr_id":"u/\u0000","ent_id":"é/..","rights":[{"name":"a"}]}`})
	code := f.search("", "").Assignments[0].Code
	want := func(status int, rights string) {
		t.Helper()
		a := f.rights(code, "")
		if status == 404 {
			wantMessage(t, a, 404, NotFound, "")
			return
		}
		if p := f.search("", ""); a.status != status || string(a.body) != `{"code":"`+code+`","rights":[`+rights+`]}` || !slices.Equal(p.codes(), []string{code}) {
			t.Fatalf("%d %s; codes %q", a.status, a.body, p.codes())
		}
	}
	want(200, `{"name":"a","values":[]}`)
	f.index.apply("acme", event{"assignment.upserted", `{"usr_id":"u/\u0000","ent_id":"é/..","score":1,"rights":[{"name":"b","values":["c"]}]}`})
	want(200, `{"name":"b","values":["c"]}`)
	f.index.apply("acme", event{"assignment.revoked", `{"usr_id":"u/\u0000","ent_id":"é/.."}`})
	want(404, "")
	f.index.apply("acme", event{"assignment.upserted", `{"usr_id":"u/\u0000","ent_id":"é/.."}`})
	want(200, "")
	if a := f.rights(code, "?as_of=1"); first != 1 || string(a.body) != `{"code":"`+code+`","rights":[{"name":"a","values":[]}]}` || a.header.Get("Assigndex-Seq") != "1" {
		t.Fatalf("%v %s", a.header, a.body)
	}
}

// A code opens nothing in another tenant, also where there is an assignment of the
// same user and entitlement; and a code that is damaged in any place opens nothing.
func TestIBMVerifyCodesOfOthers(t *testing.T) {
	f := newFixture(t, nil)
	f.index.apply("acme", give("u", "e", "a"), event{"assignment.upserted", `{"type":"ALL","ent_id":"e"}`})
	f.index.apply("other", give("u", "e", "a"))
	mine, theirs := f.search("", "").Assignments[0].Code, f.as("other").search("", "").Assignments[0].Code
	if mine == theirs {
		t.Fatal("two tenants have one code")
	}
	nothing := f.rights(verifyCode("acme", "u", "nothing"), "")
	wantMessage(t, nothing, 404, NotFound, "")
	codes := []string{theirs, mine + "=", mine + "A", mine[:len(mine)-1], strings.ToUpper(mine), " " + mine, mine + "\n", "\x00", "é", "..", strings.Repeat("A", 20_000)}
	for i := range mine {
		for _, letter := range "Az9-_" {
			if damaged := mine[:i] + string(letter) + mine[i+1:]; damaged != mine {
				codes = append(codes, damaged)
			}
		}
	}
	for _, code := range codes {
		if a := f.rights(code, ""); a.status != 404 || string(a.body) != string(nothing.body) || a.header.Get("Assigndex-Seq") != nothing.header.Get("Assigndex-Seq") {
			t.Fatalf("%q: %d %s", code, a.status, a.body)
		}
	}
	if a := f.as("other").rights(theirs, ""); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
}

// All pages with the sequence of the first one are one snapshot; without it each
// is its own.
func TestIBMVerifyPagesOfOneSnapshot(t *testing.T) {
	f := newFixture(t, nil)
	f.index.apply("acme", give("b", "e", ""), give("d", "e", ""), give("f", "e", ""))
	first := f.search("?limit=2", "")
	f.index.apply("acme", give("a", "e", ""), give("c", "e", ""))
	for params, want := range map[string][]string{"?limit=2&page=2": {"c", "d"}, "?limit=2&page=2&as_of=" + first.seq: {"f"}} {
		p := f.search(params, "", "Assigndex-Stream", incarnation)
		var users []string
		for _, a := range p.Assignments {
			users = append(users, a.User["code"])
		}
		if !slices.Equal(users, want) || p.More != (len(want) == 2) || p.Page != 2 || p.Limit != 2 {
			t.Errorf("%s: %q, %+v", params, users, p)
		}
	}
}

// What a request may read is bounded, and the refusal says what to do. A budget
// that is just enough is enough.
func TestIBMVerifyBudget(t *testing.T) {
	const budget = 10
	f := newFixture(t, func(o *Options) { o.SearchBudget = budget })
	for i := range 12 {
		id := fmt.Sprint("e", i)
		f.index.apply("acme", event{"entitlement.upserted", fmt.Sprintf(`{"ent_id":%q,"ent_name":"n","category":"c"}`, id)}, give("u", id, ""))
		if i < 6 {
			f.index.apply("acme", give("v", id, ""), event{"assignment.upserted", fmt.Sprintf(`{"grp_id":"g","type":"GROUP","ent_id":%q}`, id)})
		}
	}
	for params, enough := range map[string]bool{
		"?limit=10": true, "?limit=5&page=2": true, "?limit=9&page=1": true, "?limit=11": false, "?limit=5&page=3": false, "?limit=11&page=2": false,
		"?page=2147483647&limit=5000": false, "?user=nobody&page=2147483647&limit=5000": true, "?user=v&page=2147483647&limit=5000": true, "?user=nobody&group=g&limit=1": true,
		"?user=v&group=g&limit=10": true, "?user=v&group=g&limit=9&page=2": false, "?user=v&group=g&limit=11": false, "?user=v&group=g": false,
	} {
		a := f.do(http.MethodPost, verifySearchPath+params, "")
		if enough && a.status == 200 {
			continue
		}
		if enough {
			t.Fatalf("%s: %d %s", params, a.status, a.body)
		}
		if said := wantMessage(t, a, 422, query.TooManyRows, ""); !strings.Contains(said, "narrow the filter") || !strings.Contains(said, "smaller page") ||
			!strings.Contains(said, "/api/assignments") {
			t.Errorf("%s: %s", params, said)
		}
	}
	// A filter reads keys to find what it picks.
	wantMessage(t, f.do(http.MethodPost, verifySearchPath+"?limit=9", `{"category":"c"}`), 422, query.TooManyRows, "")
	if p := f.search("?limit=1", `{"category":"c"}`); len(p.Assignments) != 1 || !p.More {
		t.Errorf("%+v", p)
	}
	if p := f.search("", `{"name":"other"}`); len(p.Assignments) != 0 || p.More {
		t.Errorf("%+v", p)
	}
}

// Revoked assignments are passed over within the same budget, and end no page
// before it is spent.
func TestIBMVerifyRevokedRows(t *testing.T) {
	f := newFixture(t, nil)
	var grants, revocations []event
	for i := range listing.DefaultMaxPassed/2 + 1000 {
		grants = append(grants, give("a", fmt.Sprint("e", i), ""))
		revocations = append(revocations, event{"assignment.revoked", fmt.Sprintf(`{"usr_id":"a","ent_id":"e%d"}`, i)})
	}
	f.index.apply("acme", append(grants, give("b", "e", ""), give("c", "e", ""))...)
	seq := f.index.apply("acme", revocations...)
	for number, user := range map[int]string{1: "b", 2: "c"} {
		p := f.search(fmt.Sprintf("?limit=1&page=%d", number), "")
		if len(p.Assignments) != 1 || p.Assignments[0].User["code"] != user || p.More != (number == 1) {
			t.Errorf("page %d: %+v", number, p)
		}
	}
	s := ibmverify.Search{Page: 1, Limit: 1, Budget: 1000}
	_, err := s.Read(t.Context(), f.server.lister, "acme", seq, nil)
	if refused, ok := errors.AsType[*query.Error](err); !ok || refused.Code != query.TooManyRows {
		t.Errorf("a budget of 1000 was enough: %v", err)
	}
}

// With any budget a page is refused or the same as without one, what comes after
// it included.
func TestIBMVerifyBudgetChangesNoAnswer(t *testing.T) {
	f := newFixture(t, nil)
	for i := range 8 {
		f.index.apply("acme", event{"entitlement.upserted", fmt.Sprintf(`{"ent_id":"e%d","category":"c"}`, i)})
	}
	f.index.apply("acme", give("u", "e1", ""), give("v", "e1", ""), give("u", "e4", ""), event{"assignment.upserted", `{"grp_id":"g","type":"GROUP","ent_id":"e1"}`})
	seq, _ := f.index.Applied()
	for _, s := range []ibmverify.Search{
		{Limit: 1}, {Limit: 2}, {Limit: 1, Filter: ibmverify.Filter{Category: "c"}}, {Limit: 2, Filter: ibmverify.Filter{SubType: "regular"}},
		{Limit: 2, User: "u", Group: "g"}, {Limit: 1, User: "u", Group: "g", Filter: ibmverify.Filter{Category: "c"}},
	} {
		for s.Page = 1; s.Page <= 5; s.Page++ {
			s.Budget = 0
			want, err := s.Read(t.Context(), f.server.lister, "acme", seq, nil)
			if err != nil {
				t.Fatal(err)
			}
			enough := 0
			for s.Budget = 1; s.Budget <= 100; s.Budget++ {
				got, err := s.Read(t.Context(), f.server.lister, "acme", seq, nil)
				refused, ok := errors.AsType[*query.Error](err)
				switch {
				case err == nil && string(got) == string(want):
					enough = cmp.Or(enough, s.Budget)
				case !ok || refused.Code != query.TooManyRows || enough > 0:
					t.Fatalf("%+v: %s, %v; want %s; a budget of %d was enough", s, got, err, want, enough)
				}
			}
			if enough == 0 || enough == 1 && s.Page > 2 {
				t.Errorf("%+v: a budget of %d was enough", s, enough)
			}
		}
	}
}

// Pages are bounded in size as well: one by number cannot end early.
func TestIBMVerifyLargePages(t *testing.T) {
	f := newFixture(t, nil)
	right := `{"name":"` + strings.Repeat("x", 250_000) + `"}`
	for i := range 80 {
		f.index.apply("acme", event{"assignment.upserted", fmt.Sprintf(`{"usr_id":"u","ent_id":"e%d","rights":[%s]}`, i, right)})
	}
	wantMessage(t, f.do(http.MethodPost, verifySearchPath+"?includeRights=true", ""), 422, query.TooManyRows, "limit")
	if p := f.search("?includeRights=true&limit=40&page=2", ""); len(p.Assignments) != 40 {
		t.Errorf("%d", len(p.Assignments))
	}
	if p := f.search("", ""); len(p.Assignments) != 80 {
		t.Errorf("%d", len(p.Assignments))
	}
}

// The default of limit is 500, or the maximum where that is lower.
func TestIBMVerifyDefaultLimit(t *testing.T) {
	for most, want := range map[int]int{5000: 500, 500: 500, 7: 7} {
		f := newFixture(t, func(o *Options) { o.MaxPageSize = most })
		f.index.apply("acme", give("u", "e", ""))
		if p := f.search("", ""); p.Limit != want || p.Page != 1 {
			t.Errorf("at most %d: %+v", most, p)
		}
	}
}
