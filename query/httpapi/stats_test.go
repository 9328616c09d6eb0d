package httpapi

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/query"
)

func (c *client) stats(params string, headers ...string) answer {
	c.tb.Helper()
	if params != "" {
		params = "?" + params
	}
	return c.do(http.MethodGet, "/api/companyview/assignmentStats"+params, "", headers...)
}

// counts is what statistics are made of.
type counts struct {
	Total    int `json:"total"`
	High     int `json:"high"`
	Medium   int `json:"medium"`
	Low      int `json:"low"`
	Unscored int `json:"unscored"`
}

// count gives statistics that must be answered.
func (c *client) count(params string, headers ...string) (counts, answer) {
	c.tb.Helper()
	a := c.stats(params, headers...)
	var got counts
	if err := json.Unmarshal(a.body, &got, json.RejectUnknownMembers(true)); err != nil || a.status != http.StatusOK {
		c.tb.Fatalf("%s: %d %s", params, a.status, a.body)
	}
	if a.header.Get("Content-Type") != "application/json" || a.header.Get("Assigndex-Stream") != incarnation || a.header.Get("Cache-Control") != "no-store" {
		c.tb.Fatalf("%s: headers %v", params, a.header)
	}
	return got, a
}

// counted lists all pages of a request and counts their rows.
func (c *client) counted(fields string) (n counts) {
	c.tb.Helper()
	cursor := ""
	for {
		p, _ := c.list(`{"pageSize":7` + fields + cursor + `}`)
		for _, raw := range p.Assignments {
			var row struct {
				Score *float64 `json:"score"`
			}
			if err := json.Unmarshal(raw, &row); err != nil {
				c.tb.Fatal(err)
			}
			n.Total++
			switch s := row.Score; {
			case s == nil:
				n.Unscored++
			case *s >= 0.75:
				n.High++
			case *s >= 0.35:
				n.Medium++
			default:
				n.Low++
			}
		}
		if p.Cursor == nil {
			return n
		}
		cursor = `,"cursor":"` + *p.Cursor + `"`
	}
}

func TestStatsForm(t *testing.T) {
	f := newFixture(t, nil)
	f.index.apply("acme",
		event{"assignment.upserted", `{"usr_id":"a","ent_id":"e","score":0.75}`}, event{"assignment.upserted", `{"usr_id":"b","ent_id":"e","score":1}`},
		event{"assignment.upserted", `{"usr_id":"c","ent_id":"e","score":1}`}, event{"assignment.upserted", `{"usr_id":"d","ent_id":"e","score":0.35}`},
		event{"assignment.upserted", `{"usr_id":"e","ent_id":"e","score":0.7499}`}, event{"assignment.upserted", `{"usr_id":"f","ent_id":"e","score":0.34}`},
		event{"assignment.upserted", `{"usr_id":"g","ent_id":"e"}`}, event{"assignment.upserted", `{"type":"ALL","ent_id":"e"}`},
	)
	if a := f.stats(""); string(a.body) != `{"total":7,"high":3,"medium":2,"low":1,"unscored":1}` || a.header.Get("Assigndex-Seq") != "8" {
		t.Errorf("%s %v", a.body, a.header)
	}
	if a := f.as("other").stats(""); string(a.body) != `{"total":0,"high":0,"medium":0,"low":0,"unscored":0}` || a.header.Get("Assigndex-Seq") != "8" {
		t.Errorf("%s %v", a.body, a.header)
	}
}

// In every scope, now and as of then, the statistics are a count of the rows that
// the same filters list.
func TestStatsAreACountOfTheRows(t *testing.T) {
	f := newFixture(t, nil)
	r := rand.New(rand.NewPCG(1, 2))
	some := func(prefix string, n int) string { return fmt.Sprint(prefix, r.IntN(n)) }
	scores := []string{"null", "0", "0.34", "0.35", "0.74", "0.75", "1"}
	for range 20 {
		var batch []event
		for range 30 {
			who := `"usr_id":"` + some("u", 9) + `"`
			switch r.IntN(5) {
			case 0:
				who = `"type":"GROUP","grp_id":"` + some("g", 3) + `"`
			case 1:
				who = `"type":"DYNAMIC_GROUP","grp_id":"` + some("g", 3) + `"`
			}
			switch r.IntN(10) {
			case 0:
				batch = append(batch, event{"entitlement.upserted", `{"ent_id":"` + some("e", 6) + `","app_id":"` + some("a", 3) + `"}`})
			case 1, 2:
				batch = append(batch, event{"assignment.revoked", `{` + who + `,"ent_id":"` + some("e", 6) + `"}`})
			case 3:
				batch = append(batch, event{"user.deleted", `{"usr_id":"` + some("u", 9) + `"}`})
			default:
				batch = append(batch, event{"assignment.upserted", `{` + who + `,"ent_id":"` + some("e", 6) + `","score":` + scores[r.IntN(len(scores))] + `}`})
			}
		}
		tenant := "acme"
		if r.IntN(5) == 0 {
			tenant = "other"
		}
		f.index.apply(tenant, batch...)
	}
	for _, asOf := range []string{"", "311", "600"} {
		for _, filter := range []map[string]string{
			{}, {"app_id": "a1"}, {"ent_id": "e1"}, {"usr_id": "u1"}, {"grp_id": "g1"}, {"type": "GROUP"}, {"type": "ALL"}, {"type": "GROUP", "app_id": "a1"},
			{"usr_id": "u1", "app_id": "a1"}, {"ent_id": "e1", "app_id": "a1"}, {"usr_id": "u1", "ent_id": "e1"}, {"grp_id": "g1", "type": "GROUP"}, {"usr_id": "nobody"}, {"app_id": "none"},
		} {
			params, fields := url.Values{}, ""
			for name, value := range filter {
				params.Set(name, value)
				fields += `,"` + name + `":"` + value + `"`
			}
			if asOf != "" {
				params.Set("as_of", asOf)
				fields += `,"as_of":` + asOf
			}
			for _, tenant := range []string{"acme", "other"} {
				got, a := f.as(tenant).count(params.Encode())
				if want := f.as(tenant).counted(fields); got != want || got.Total != got.High+got.Medium+got.Low+got.Unscored {
					t.Errorf("%s %v as of %q: %+v, the rows are %+v", tenant, filter, asOf, got, want)
				}
				if seq := a.header.Get("Assigndex-Seq"); seq != asOf && (asOf != "" || seq != "600") {
					t.Errorf("%s %v as of %q is of sequence %s", tenant, filter, asOf, seq)
				}
			}
		}
	}
}

func TestRefusedStats(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxWait = time.Millisecond })
	f.index.apply("acme", give("u", "e", "a"), give("u", "f", "a"), give("u", "g", "a"))
	if err := f.index.st.AdvanceFloor(2); err != nil {
		t.Fatal(err)
	}
	f.server.lister = query.NewLister(f.index, query.Options{MaxPageSize: 10, MaxWait: time.Millisecond, Levels: rows.DefaultThresholds, MaxCounted: 2})
	for name, c := range map[string]struct {
		params  string
		headers []string
		status  int
		code    query.Code
		field   string
	}{
		"unknown":               {"user_id=u", nil, 400, query.UnknownField, "user_id"},
		"of the listing":        {"level=high", nil, 400, query.UnknownField, "level"},
		"empty":                 {"usr_id=", nil, 400, query.InvalidField, "usr_id"},
		"twice":                 {"usr_id=u&usr_id=u", nil, 400, query.InvalidField, "usr_id"},
		"not encoded":           {"usr_id=%", nil, 400, query.InvalidField, ""},
		"no UTF-8":              {"usr_id=%ff", nil, 400, query.InvalidField, "usr_id"},
		"long id":               {"app_id=" + strings.Repeat("x", 1025), nil, 400, query.InvalidField, "app_id"},
		"unknown type":          {"type=user", nil, 400, query.InvalidField, "type"},
		"user and group":        {"usr_id=u&grp_id=g", nil, 400, query.ConflictingFields, "grp_id"},
		"no instant":            {"as_of=1970-01-01T00:00:03+01:00", nil, 400, query.InvalidField, "as_of"}, // the plus is a space
		"at_least above then":   {"as_of=1970-01-01T00:00:02Z&at_least=3", nil, 400, query.ConflictingFields, "at_least"},
		"pruned by instant":     {"as_of=1970-01-01T00:00:01.999999999Z", nil, 410, query.HistoryPruned, ""},
		"no sequence":           {"as_of=now", nil, 400, query.InvalidField, "as_of"},
		"at_least above as_of":  {"as_of=2&at_least=3", nil, 400, query.ConflictingFields, "at_least"},
		"too many":              {"usr_id=u", nil, 422, query.TooManyRows, ""},
		"too many as of then":   {"as_of=3", nil, 422, query.TooManyRows, ""},
		"pruned":                {"as_of=1", nil, 410, query.HistoryPruned, ""},
		"another stream":        {"", []string{"Assigndex-Stream", "fedcba9876543210"}, 410, query.StreamChanged, ""},
		"never reached":         {"at_least=4", nil, 503, query.NotReached, ""},
		"another tenant":        {"", []string{"Assigndex-Tenant", "other"}, 403, TenantForbidden, ""},
		"nobody":                {"", []string{"X-API-KEY", ""}, 401, Unauthenticated, ""},
		"nobody with a bad one": {"user_id=u", []string{"X-API-KEY", ""}, 401, Unauthenticated, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := f.stats(c.params, c.headers...)
			wantProblem(t, a, c.status, c.code, c.field)
			if got := a.header.Get("Assigndex-Seq"); (got == "3") != (c.status != 401 && c.status != 403) {
				t.Errorf("Assigndex-Seq %q", got)
			}
		})
	}
	// A counter has no limit, and what belongs together is accepted.
	if got, _ := f.count("app_id=a&at_least=3", "Assigndex-Stream", incarnation); got.Total != 3 {
		t.Errorf("%+v", got)
	}
	if got, _ := f.as("*").count("as_of=2&at_least=2&ent_id=e", "Assigndex-Tenant", "acme"); got.Total != 1 {
		t.Errorf("%+v", got)
	}
	wantProblem(t, f.do(http.MethodPost, "/api/companyview/assignmentStats", ""), 405, MethodNotAllowed, "")
	wantProblem(t, f.do(http.MethodGet, "/api/companyview/", ""), 404, NotFound, "")
}

// While the index has not caught up there are no counts either.
func TestStatsBeforeTheIndexIsReady(t *testing.T) {
	f := newFixture(t, nil)
	f.index.head.Store(5)
	wantProblem(t, f.stats(""), 503, query.NotReady, "")
	f.index.apply("acme", give("a", "e", ""), give("b", "e", ""), give("c", "e", ""), give("d", "e", ""))
	wantProblem(t, f.stats(""), 503, query.NotReady, "")
	f.index.apply("acme", give("e", "e", ""))
	if got, _ := f.count(""); got.Total != 5 {
		t.Errorf("%+v", got)
	}
}
