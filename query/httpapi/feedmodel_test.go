package httpapi

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/modeltest"
)

// Listings, changes, differences and histories are at every sequence what a model of
// that sequence says, with writes going on between their pages and the floor moving.
func TestPastEqualsModels(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		p := newPast(t, seed)
		clients := p.clients(t, func(o *Options) { o.MaxPageSize = 7 })
		for range 12 {
			p.grow(1 + p.rng.IntN(30))
			if p.rng.IntN(4) == 0 {
				p.forget(p.between(p.Floor(), p.applied()))
			}
			for range 3 {
				f := p.anyFilter()
				c := clients[f.tenant]
				p.compareListing(t, c, &f)
				p.compareChanges(t, c, &f)
				p.compareDiff(t, c, &f)
				p.compareHistory(t, c, &f)
			}
		}
	})
}

func (p *past) applied() uint64 { return p.st.Applied().Seq }

func (p *past) between(low, high uint64) uint64 { return low + p.rng.Uint64N(high-low+1) }

// meanwhile writes at times.
func (p *past) meanwhile() {
	if p.rng.IntN(3) == 0 {
		p.grow(1 + p.rng.IntN(5))
	}
}

// state gives a sequence as a request may name it: by itself, or by the instant of
// its message. The floor is not named by its instant, which it may have forgotten.
func (p *past) state(seq uint64) string {
	if p.rng.IntN(2) == 0 && seq > p.Floor() && seq < p.applied() {
		return quoted(time.Unix(int64(seq), 0).UTC().Format(time.RFC3339))
	}
	return strconv.FormatUint(seq, 10)
}

// pageOf reads an answer that must be one at a sequence; 0: any.
func pageOf(t *testing.T, what string, a answer, seq uint64, into any) {
	t.Helper()
	if a.status != http.StatusOK || a.header.Get("Assigndex-Stream") != incarnation || a.header.Get("Content-Type") != "application/json" ||
		seq > 0 && a.header.Get("Assigndex-Seq") != strconv.FormatUint(seq, 10) {
		t.Fatalf("%s: %d %v %s", what, a.status, a.header, a.body)
	}
	if err := json.Unmarshal(a.body, into, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("%s: %s: %v", what, a.body, err)
	}
}

func cursorMember(cursor *string) []string {
	if cursor == nil {
		return nil
	}
	return []string{`"cursor":` + quoted(*cursor)}
}

func (p *past) compareListing(t *testing.T, c *client, f *filter) {
	t.Helper()
	seq := p.between(p.Floor(), p.applied())
	state := p.state(seq)
	what := fmt.Sprintf("listing of %+v as of %s", f, state)
	var want, got []string
	for _, r := range p.models[seq].Rows(f.tenant) {
		if f.picks(r) {
			want = append(want, f.tell(r))
		}
	}
	for cursor := (*string)(nil); ; p.meanwhile() {
		size := fmt.Sprintf(`"pageSize":%d`, 1+p.rng.IntN(7))
		var answer page
		pageOf(t, what, c.post(f.body(append(cursorMember(cursor), `"as_of":`+state, size)...)), seq, &answer)
		for _, row := range answer.Assignments {
			got = append(got, string(row))
		}
		if cursor = answer.Cursor; cursor == nil {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func (p *past) compareChanges(t *testing.T, c *client, f *filter) {
	t.Helper()
	from := p.between(p.Floor(), p.applied())
	since := strconv.FormatUint(from, 10)
	if p.rng.IntN(4) == 0 {
		from, since = p.Floor(), "earliest"
	}
	what := fmt.Sprintf("changes of %+v since %s", f, since)
	var got []told
	for least := uint64(0); ; p.meanwhile() {
		limit := 1 + p.rng.IntN(7)
		var answer struct {
			Changes []told `json:"changes"`
			Next    string `json:"next"`
		}
		a := c.do(http.MethodGet, "/api/changes"+f.parameters("since", since, "limit", strconv.Itoa(limit), "at_least", strconv.FormatUint(least, 10)), "")
		pageOf(t, what, a, 0, &answer)
		for i := range answer.Changes {
			answer.Changes[i].id = identityOf(t, answer.Changes[i].Assignment)
		}
		if got = append(got, answer.Changes...); len(answer.Changes) > limit {
			t.Fatalf("%s: %d changes, the limit is %d", what, len(answer.Changes), limit)
		}
		if answer.Next == a.header.Get("Assigndex-Seq") {
			if least > 0 {
				break
			}
			least = p.applied() // what was written meanwhile too
		} else if len(answer.Changes) == 0 && answer.Next == since {
			t.Fatalf("%s: it does not move on from %s", what, since)
		}
		since = answer.Next
	}
	wantTold(t, what, got, p.changes(from, p.applied(), f))
}

// difference is one of a page.
type difference struct {
	Op     string         `json:"op"`
	Seq    uint64         `json:"seq"`
	Before jsontext.Value `json:"before"`
	After  jsontext.Value `json:"after"`
}

func (d difference) String() string {
	return fmt.Sprintf("%s at %d: %s -> %s", d.Op, d.Seq, d.Before, d.After)
}

func (p *past) compareDiff(t *testing.T, c *client, f *filter) {
	t.Helper()
	from := p.between(p.Floor(), p.applied())
	to := p.between(from, p.applied())
	members := []string{`"from":` + p.state(from), `"to":` + p.state(to)}
	if to == p.applied() {
		members = members[:1]
	}
	what := fmt.Sprintf("difference of %+v, %v", f, members)
	got := map[identity]string{}
	last := uint64(0)
	for cursor := (*string)(nil); ; {
		size := fmt.Sprintf(`"pageSize":%d`, 1+p.rng.IntN(7))
		var answer struct {
			Cursor  *string      `json:"cursor"`
			From    uint64       `json:"from"`
			To      uint64       `json:"to"`
			Changes []difference `json:"changes"`
		}
		a := c.do(http.MethodPost, "/api/assignments/diff", f.body(slices.Concat(cursorMember(cursor), members, []string{size})...))
		pageOf(t, what, a, to, &answer)
		if answer.From != from || answer.To != to {
			t.Fatalf("%s: from %d to %d", what, answer.From, answer.To)
		}
		for _, d := range answer.Changes {
			row := d.After
			if d.After.Kind() == 'n' {
				row = d.Before
			}
			id := identityOf(t, row)
			if _, twice := got[id]; twice || d.Seq < last {
				t.Fatalf("%s: %s comes again, or late", what, d)
			}
			last = d.Seq
			got[id] = d.String()
		}
		if cursor = answer.Cursor; cursor == nil {
			break
		}
		p.meanwhile()
	}
	want := map[identity]string{}
	before, after := p.rows(from, f), p.rows(to, f)
	for seq := from + 1; seq <= to; seq++ {
		for _, id := range p.changed(seq, f.tenant) {
			b, was := before[id]
			a, is := after[id]
			d := difference{Op: "changed", Seq: seq, Before: jsontext.Value("null"), After: jsontext.Value("null")}
			if was {
				d.Before = jsontext.Value(f.tell(b))
			} else {
				d.Op = "added"
			}
			if is {
				d.After = jsontext.Value(f.tell(a))
			} else {
				d.Op = "removed"
			}
			if delete(want, id); (was || is) && !(was && is && sameRow(a, b)) {
				want[id] = d.String() // the last one counts
			}
		}
	}
	if !maps.Equal(got, want) {
		t.Fatalf("%s:\n got %v\nwant %v", what, got, want)
	}
}

// sameRow tells whether two rows say the same, whenever that was said.
func sameRow(a, b modeltest.Row) bool {
	a.Updated, b.Updated = modeltest.Moment{}, modeltest.Moment{}
	a.Score, b.Score = nil, nil // a pointer, and in the JSON as well
	return fmt.Sprint(a) == fmt.Sprint(b)
}

func (p *past) compareHistory(t *testing.T, c *client, f *filter) {
	t.Helper()
	id := identity{events.Assignee{Kind: events.KindUser, ID: p.gen.Users[p.rng.IntN(len(p.gen.Users))]}, p.gen.Ents[p.rng.IntN(len(p.gen.Ents))]}
	members := []string{`"usr_id":` + quoted(id.ID)}
	switch p.rng.IntN(4) {
	case 0:
		id.Assignee = events.Assignee{Kind: events.KindAll}
		members = []string{`"type":"ALL"`}
	case 1:
		id.Assignee = events.Assignee{Kind: events.KindDynamicGroup, ID: p.gen.Groups[p.rng.IntN(len(p.gen.Groups))]}
		members = []string{`"type":"DYNAMIC_GROUP"`, `"grp_id":` + quoted(id.ID)}
	}
	one := filter{tenant: f.tenant, fields: map[string]string{"ent_id": id.ent}, app: f.app}
	floor, upto := p.Floor(), p.between(p.Floor(), p.applied())
	what := fmt.Sprintf("history of %v %q as of %d down to %d", id.Kind, []string{id.ID, id.ent}, upto, floor)
	members = append(members, `"as_of":`+p.state(upto))

	var want, got []string
	version := func(seq uint64, r modeltest.Row, is bool) string {
		row, op := "null", "revoked"
		if is {
			row, op = one.tell(r), "upserted"
		}
		return fmt.Sprintf("%d %s %s %s", seq, time.Unix(int64(seq), 0).UTC().Format(time.RFC3339Nano), op, row)
	}
	for seq := upto; seq > floor; seq-- {
		if slices.Contains(p.changed(seq, one.tenant), id) {
			r, is := p.rows(seq, &one)[id]
			want = append(want, version(seq, r, is))
		}
	}
	if r, is := p.rows(floor, &one)[id]; is {
		want = append(want, version(r.Updated.Seq, r, true))
	}
	for cursor := (*string)(nil); ; {
		var answer struct {
			Cursor   *string `json:"cursor"`
			Versions []struct {
				Seq        uint64         `json:"seq"`
				Time       string         `json:"time"`
				Op         string         `json:"op"`
				Assignment jsontext.Value `json:"assignment"`
			} `json:"versions"`
		}
		size := fmt.Sprintf(`"pageSize":%d`, 1+p.rng.IntN(3))
		a := c.do(http.MethodPost, "/api/assignments/history", one.body(slices.Concat(cursorMember(cursor), members, []string{size})...))
		pageOf(t, what, a, upto, &answer)
		for _, v := range answer.Versions {
			got = append(got, fmt.Sprintf("%d %s %s %s", v.Seq, v.Time, v.Op, v.Assignment))
		}
		if cursor = answer.Cursor; cursor == nil {
			break
		}
		p.meanwhile()
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%s:\n got %q\nwant %q", what, got, want)
	}
}
