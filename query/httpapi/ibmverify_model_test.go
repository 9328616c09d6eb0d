package httpapi

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/assigndex/assigndex/query"
)

var verifySeed = flag.Uint64("ibmverify-seed", 0, "the seed of the random companies of IBM Verify; 0: any")

// hostileIDs are ids that a careless encoding confuses.
var hostileIDs = []string{"u", "u\x00", "u\x00\x01", "a/b", "..", "é", "日本", `q"\`, "a b+c%2F&d=e", "-", "null", strings.Repeat("x", 1024)}

// company is a random tenant, kept in the plainest way there is.
type company struct {
	rng          *rand.Rand
	entitlements map[string]map[string]string // by code: the entitlement object without what is empty
	held         []holding                    // now, in no order
	users        map[string]string            // names, by code
}

type holding struct {
	kind     string
	assignee string
	ent      string
	right    string // empty: none
	score    float64
}

func (c *company) pick(from ...string) string { return from[c.rng.IntN(len(from))] }

// newCompany makes one, and applies the events of it.
func newCompany(rng *rand.Rand, f *fixture) *company {
	c := &company{rng: rng, entitlements: map[string]map[string]string{}, users: map[string]string{}}
	values := []string{"", "x", "X", "x\x00", "é/"}
	for _, id := range hostileIDs[:6] {
		e := map[string]string{
			"name": c.pick(values...), "description": c.pick(values...), "type": c.pick("", "role", "permission"), "subType": c.pick("", "regular", "dynamic"),
			"application": c.pick(values...), "category": c.pick(values...), "extRef": c.pick(values...),
		}
		data := map[string]string{"ent_id": id}
		for field, name := range map[string]string{
			"name": "ent_name", "description": "description", "type": "ent_type", "subType": "sub_type", "application": "app_id", "category": "category", "extRef": "ext_ref",
		} {
			if e[field] == "" {
				delete(e, field)
			} else {
				data[name] = e[field]
			}
		}
		if e["subType"] == "" {
			e["subType"] = "regular" // what IBM's page has for one without
		}
		e["code"] = id
		c.entitlements[id] = e
		f.index.apply("acme", event{"entitlement.upserted", jsonOf(data)})
		f.index.apply("other", event{"entitlement.upserted", jsonOf(data)})
	}
	c.users["u"] = "Ulla"
	f.index.apply("acme", event{"user.upserted", `{"usr_id":"u","usr_name":"Ulla"}`})
	for range 60 {
		c.change(f)
	}
	return c
}

func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// change grants, or revokes what there is.
func (c *company) change(f *fixture) {
	h := holding{kind: c.pick("USER", "USER", "GROUP", "DYNAMIC_GROUP", "ALL"), assignee: c.pick(hostileIDs...), ent: c.pick(hostileIDs[:8]...), score: float64(c.rng.IntN(5)) / 4}
	data := map[string]any{"ent_id": h.ent, "type": h.kind, "score": h.score}
	switch h.kind {
	case "USER":
		data["usr_id"] = h.assignee
	case "ALL":
		h.assignee = ""
	default:
		data["grp_id"] = h.assignee
	}
	if h.right = c.pick("", "r", "s"); h.right != "" {
		data["rights"] = []any{map[string]any{"name": h.right}}
	}
	if c.rng.IntN(4) == 0 {
		data["app_id"] = "elsewhere"
	}
	at := slices.IndexFunc(c.held, func(o holding) bool { return o.kind == h.kind && o.assignee == h.assignee && o.ent == h.ent })
	if at >= 0 {
		c.held = slices.Delete(slices.Clone(c.held), at, at+1)
	}
	kind := "assignment.upserted"
	if at >= 0 && c.rng.IntN(2) == 0 {
		kind = "assignment.revoked"
	} else {
		c.held = append(slices.Clip(c.held), h)
	}
	f.index.apply("acme", event{kind, jsonOf(data)})
	if c.rng.IntN(3) == 0 {
		f.index.apply("other", event{"assignment.upserted", jsonOf(data)})
	}
}

// search is a random search, and what it asks for.
type modelSearch struct {
	params url.Values
	filter map[string]string
}

func (c *company) search() modelSearch {
	s := modelSearch{params: url.Values{}, filter: map[string]string{}}
	if c.rng.IntN(3) == 0 {
		s.params.Set("user", c.pick(hostileIDs...))
	}
	if c.rng.IntN(3) == 0 {
		s.params.Set("group", c.pick(hostileIDs...))
	}
	if c.rng.IntN(3) == 0 {
		s.params.Set("type", c.pick("USER", "GROUP", "DYNAMIC_GROUP"))
	}
	if c.rng.IntN(2) == 0 {
		s.params.Set("includeRights", c.pick("true", "false"))
	}
	if c.rng.IntN(3) == 0 {
		s.filter["code"] = c.pick(hostileIDs...)
	}
	likely := c.entitlements[c.pick(hostileIDs[:6]...)] // so that something is found
	for _, field := range []string{"name", "description", "type", "subType", "application", "category", "extRef"} {
		if value := likely[field]; value != "" && c.rng.IntN(4) == 0 {
			s.filter[field] = value
		}
	}
	return s
}

// contradicts reports whether no assignment could be of the user or group and of
// the type.
func (s *modelSearch) contradicts() bool {
	kind := s.params.Get("type")
	return kind != "" && (s.params.Has("user") && kind != "USER" || s.params.Has("group") && kind == "USER")
}

// answer gives the assignments that the search finds, as lines of text.
func (c *company) answer(s modelSearch) []string {
	var found []holding
	for _, h := range c.held {
		if h.kind == "ALL" || s.params.Has("type") && s.params.Get("type") != h.kind {
			continue
		}
		byUser := h.kind == "USER" && h.assignee == s.params.Get("user")
		byGroup := h.kind != "USER" && h.assignee == s.params.Get("group")
		if (s.params.Has("user") || s.params.Has("group")) && !byUser && !byGroup {
			continue
		}
		matches := true
		for field, value := range s.filter {
			e := c.entitlements[h.ent]
			if field == "code" {
				e = map[string]string{"code": h.ent} // known or not
			}
			matches = matches && e[field] == value
		}
		if matches {
			found = append(found, h)
		}
	}
	_, byCode := s.filter["code"]
	byEntitlement := len(s.filter) > 1 || len(s.filter) == 1 && !byCode
	order := map[string]int{"USER": 1, "GROUP": 2, "DYNAMIC_GROUP": 3}
	slices.SortFunc(found, func(a, b holding) int {
		first, second := cmp.Compare(a.assignee, b.assignee), cmp.Compare(a.ent, b.ent)
		if byEntitlement {
			first, second = second, first
		}
		return cmp.Or(cmp.Compare(order[a.kind], order[b.kind]), first, second)
	})
	lines := []string{}
	for _, h := range found {
		e := c.entitlements[h.ent]
		if e == nil {
			e = map[string]string{"code": h.ent}
		}
		who := map[string]string{"code": h.assignee}
		if name := c.users[h.assignee]; h.kind == "USER" && name != "" {
			who["name"] = name
		}
		rights := ""
		if s.params.Get("includeRights") == "true" && h.right != "" {
			rights = fmt.Sprintf(`[{"name":%q,"values":[]}]`, h.right)
		}
		lines = append(lines, fmt.Sprintf("%s %q %q %v %s", h.kind, who, e, h.score, rights))
	}
	return lines
}

func linesOf(p verifyPage) []string {
	lines := []string{}
	for _, a := range p.Assignments {
		who := a.User
		if a.Type != "USER" {
			who = a.Group
		}
		lines = append(lines, fmt.Sprintf("%s %q %q %v %s", a.Type, who, a.Entitlement, *a.Score, []byte(a.Rights)))
	}
	return lines
}

// Every parameter and field, alone and together, finds what a look at every
// assignment finds, and the pages of any size put together are the whole, also of a
// snapshot that is past. Each code is one assignment's.
func TestIBMVerifyModel(t *testing.T) {
	seed := cmp.Or(*verifySeed, rand.Uint64())
	t.Logf("-ibmverify-seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 4))
	found := 0
	for range 4 {
		f := newFixture(t, nil)
		c := newCompany(rng, f)
		past := *c
		pastSeq := strconv.FormatUint(f.index.apply("acme"), 10)
		for range 10 {
			c.change(f)
		}
		for range 60 {
			s := c.search()
			of := c
			if rng.IntN(3) == 0 {
				s.params.Set("as_of", pastSeq)
				of = &past
			}
			if s.contradicts() {
				a := f.do("POST", verifySearchPath+"?"+s.params.Encode(), jsonOf(s.filter))
				wantMessage(t, a, 400, query.ConflictingFields, "type")
				continue
			}
			want := of.answer(s)
			found += len(want)
			checkSearch(t, f, s, want, 1+rng.IntN(5))
		}
	}
	if found < 200 {
		t.Errorf("only %d assignments were found: the searches are of no use", found)
	}
}

func checkSearch(t *testing.T, f *fixture, s modelSearch, want []string, limit int) {
	t.Helper()
	whole := f.search("?"+s.params.Encode(), jsonOf(s.filter))
	if got := linesOf(whole); !slices.Equal(got, want) || whole.More {
		t.Fatalf("%v %q: %q, want %q", s.params, s.filter, got, want)
	}
	codes := whole.codes()
	if all := slices.Compact(slices.Sorted(slices.Values(codes))); len(all) != len(codes) {
		t.Fatalf("%v %q: codes are not unique: %q", s.params, s.filter, codes)
	}
	var together []string
	for number := 1; ; number++ {
		paged := url.Values{"limit": {strconv.Itoa(limit)}, "page": {strconv.Itoa(number)}}
		p := f.search("?"+s.params.Encode()+"&"+paged.Encode(), jsonOf(s.filter))
		together = append(together, p.codes()...)
		if p.More != (len(together) < len(codes)) || p.More && len(p.Assignments) != limit || p.Page != number || p.Limit != limit {
			t.Fatalf("%v %q %v: %d assignments, more: %v; %d of %d so far", s.params, s.filter, paged, len(p.Assignments), p.More, len(together), len(codes))
		}
		if !p.More {
			break
		}
	}
	if !slices.Equal(together, codes) {
		t.Fatalf("%v %q: pages of %d: %q, want %q", s.params, s.filter, limit, together, codes)
	}
}

// Each parameter and each field alone changes what is found, as the model has it.
func TestIBMVerifyEachAlone(t *testing.T) {
	seed := cmp.Or(*verifySeed, rand.Uint64())
	t.Logf("-ibmverify-seed %d", seed)
	f := newFixture(t, nil)
	c := newCompany(rand.New(rand.NewPCG(seed, 5)), f)
	one := func(name, value string) modelSearch {
		return modelSearch{params: url.Values{name: {value}}}
	}
	var all []modelSearch
	for _, id := range hostileIDs {
		all = append(all, one("user", id), one("group", id), modelSearch{filter: map[string]string{"code": id}})
	}
	for _, kind := range []string{"USER", "GROUP", "DYNAMIC_GROUP"} {
		all = append(all, one("type", kind))
	}
	all = append(all, one("includeRights", "true"), one("includeRights", "false"), modelSearch{})
	for _, e := range c.entitlements {
		for field, value := range e {
			all = append(all, modelSearch{filter: map[string]string{field: value}})
		}
		all = append(all, modelSearch{filter: e})
	}
	for _, s := range all {
		checkSearch(t, f, s, c.answer(s), 3)
	}
}
