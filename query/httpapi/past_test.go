package httpapi

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/fold"
	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/query/apikey"
)

var (
	seedFlag   = flag.Uint64("seed", 0, "seed of the random tests; 0: a new one")
	roundsFlag = flag.Int("rounds", 2, "rounds of each random test")
)

// eachSeed runs a random test for each round's seed. A failed round is repeated with
// -seed and the seed in its name.
func eachSeed(t *testing.T, test func(t *testing.T, seed uint64)) {
	first := *seedFlag
	if first == 0 {
		first = uint64(time.Now().UnixNano()) % 1_000_000_000
	}
	for round := range uint64(*roundsFlag) {
		t.Run(fmt.Sprintf("seed=%d", first+round), func(t *testing.T) {
			t.Logf("again with -seed %d -rounds 1", first+round)
			test(t, first+round)
		})
	}
}

// past is an index with a model of every sequence that it has been at.
type past struct {
	*testIndex
	gen    *modeltest.Generator
	rng    *rand.Rand
	models []*modeltest.Model // by sequence, from 0 on
}

func newPast(tb testing.TB, seed uint64) *past {
	p := &past{
		testIndex: newIndex(tb).bind(), gen: modeltest.NewGenerator(seed), rng: rand.New(rand.NewPCG(seed, 5)),
		models: []*modeltest.Model{modeltest.New()},
	}
	p.head.Store(1)
	return p
}

// grow applies n messages in one batch. The models are there before the index says so.
func (p *past) grow(n int) {
	p.tb.Helper()
	mark := p.st.Applied()
	batch := p.st.NewBatch(nil)
	for range n {
		message := p.gen.Next()
		mark.Seq++
		mark.Nano = int64(mark.Seq) * int64(time.Second)
		model := p.models[mark.Seq-1].Clone()
		model.Apply(modeltest.Moment{Seq: mark.Seq, Nano: mark.Nano}, message)
		p.models = append(p.models, model)
		batch.At(mark.Seq)
		batch.Saw(mark.Nano)
		ev, err := events.Decode(message)
		if rejection := (*events.Rejection)(nil); errors.As(err, &rejection) {
			continue // which the indexer quarantines
		}
		if err == nil {
			_, err = fold.Apply(&ev, rows.Moment{Seq: mark.Seq, Nano: mark.Nano}, batch, batch)
		}
		if err != nil {
			p.tb.Fatal(err)
		}
	}
	if err := batch.Commit(mark); err != nil {
		p.tb.Fatal(err)
	}
}

// forget moves the floor, and removes what is logged below.
func (p *past) forget(floor uint64) {
	p.tb.Helper()
	if err := p.st.AdvanceFloor(floor); err != nil {
		p.tb.Fatal(err)
	}
	if _, err := p.st.PruneChanges(context.Background()); err != nil {
		p.tb.Fatal(err)
	}
}

// clients gives a client for each tenant of the generator.
func (p *past) clients(t *testing.T, change func(*Options)) map[string]*client {
	t.Helper()
	set, tokens := keySet(t, modeltest.Tenants...)
	return p.clientsOf(t, set, tokens, change)
}

func (p *past) clientsOf(t *testing.T, set *apikey.Set, tokens map[string]string, change func(*Options)) map[string]*client {
	t.Helper()
	o := p.options(set)
	if change != nil {
		change(&o)
	}
	addr := serve(t, newServer(t, o))
	all := map[string]*client{}
	for tenant, token := range tokens {
		all[tenant] = newClient(t, addr, token)
	}
	return all
}

// identity names an assignment.
type identity struct {
	events.Assignee
	ent string
}

func (i identity) compare(o identity) int {
	return cmp.Or(cmp.Compare(i.Kind, o.Kind), cmp.Compare(i.ID, o.ID), cmp.Compare(i.ent, o.ent))
}

// identityOf reads the identity of a row.
func identityOf(tb testing.TB, row []byte) identity {
	tb.Helper()
	var r struct {
		Ent  string `json:"ent_id"`
		Usr  string `json:"usr_id"`
		Grp  string `json:"grp_id"`
		Type string `json:"type"`
	}
	if err := json.Unmarshal(row, &r); err != nil {
		tb.Fatalf("%s: %v", row, err)
	}
	id := identity{events.Assignee{Kind: events.KindUser, ID: r.Usr}, r.Ent}
	if r.Usr == "" {
		id.Kind, _ = events.ParseKind(r.Type)
		id.ID = r.Grp
	}
	return id
}

// filter is a filter as a model and a request have it.
type filter struct {
	tenant string
	modeltest.Filter
	fields map[string]string // of a request
	level  string
	app    bool // include app_id
}

// anyFilter draws a filter.
func (p *past) anyFilter() filter {
	pick := func(ids []string) string { return append([]string{"", "", ""}, ids...)[p.rng.IntN(3+len(ids))] }
	f := filter{tenant: modeltest.Tenants[p.rng.IntN(len(modeltest.Tenants))], fields: map[string]string{}, app: p.rng.IntN(3) == 0}
	f.Kinds = []events.Kind{events.KindUser}
	switch p.rng.IntN(5) {
	case 0:
		f.AssigneeID = pick(p.gen.Users)
		f.set("usr_id", f.AssigneeID)
	case 1:
		f.AssigneeID = pick(p.gen.Groups)
		f.set("grp_id", f.AssigneeID)
		if f.AssigneeID != "" {
			f.Kinds = []events.Kind{events.KindGroup, events.KindDynamicGroup}
		}
	case 2:
		f.Kinds = events.Kinds[1+p.rng.IntN(3):][:1]
		f.set("type", f.Kinds[0].String())
	}
	f.EntID, f.AppID = pick(p.gen.Ents), pick(p.gen.Apps)
	f.set("ent_id", f.EntID)
	f.set("app_id", f.AppID)
	f.level = []string{"", "", "", "high", "low"}[p.rng.IntN(5)]
	f.set("level", f.level)
	return f
}

func (f *filter) set(name, value string) {
	if value != "" {
		f.fields[name] = value
	}
}

// parameters gives the filter as the part of a URL behind the question mark.
func (f *filter) parameters(more ...string) string {
	v := url.Values{}
	for name, value := range f.fields {
		v.Set(name, value)
	}
	if f.app {
		v.Set("include", "app_id")
	}
	for i := 0; i < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return "?" + v.Encode()
}

// body gives the filter as a JSON object, with further members.
func (f *filter) body(more ...string) string {
	members := slices.Clone(more)
	for name, value := range f.fields {
		members = append(members, quoted(name)+":"+quoted(value))
	}
	if f.app {
		members = append(members, `"include":["app_id"]`)
	}
	return "{" + strings.Join(members, ",") + "}"
}

func (f *filter) picks(r modeltest.Row) bool {
	if !f.Filter.Picks(r) {
		return false
	}
	switch f.level {
	case "high":
		return r.Score != nil && *r.Score >= 0.75
	case "low":
		return r.Score != nil && *r.Score < 0.35
	default:
		return true
	}
}

// tell prints a row as an answer has it.
func (f *filter) tell(r modeltest.Row) string {
	switch {
	case !f.app:
		return r.JSON
	case r.Application == "":
		return strings.TrimSuffix(r.JSON, "}") + `,"app_id":null}`
	default:
		return strings.TrimSuffix(r.JSON, "}") + `,"app_id":` + quoted(r.Application) + "}"
	}
}

// rows gives the rows at a sequence that the filter picks.
func (p *past) rows(seq uint64, f *filter) map[identity]modeltest.Row {
	picked := map[identity]modeltest.Row{}
	for _, r := range p.models[seq].Rows(f.tenant) {
		if f.picks(r) {
			picked[identity{r.Assignee, r.EntID}] = r
		}
	}
	return picked
}

// changed gives what the event of a sequence changed, whatever a filter says.
func (p *past) changed(seq uint64, tenant string) (ids []identity) {
	all := func(seq uint64) map[identity]modeltest.Row {
		m := map[identity]modeltest.Row{}
		for _, r := range p.models[seq].Rows(tenant) {
			m[identity{r.Assignee, r.EntID}] = r
		}
		return m
	}
	before, after := all(seq-1), all(seq)
	for id := range before {
		if _, there := after[id]; !there {
			ids = append(ids, id)
		}
	}
	for id, r := range after {
		if r.Updated.Seq == seq {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, identity.compare)
	return ids
}

// told is a change as an answer has it.
type told struct {
	Seq        uint64         `json:"seq"`
	Op         string         `json:"op"`
	Assignment jsontext.Value `json:"assignment"`
	Next       string         `json:"next,omitzero"` // of events only
	id         identity
}

// changes gives what is to be told between two sequences.
func (p *past) changes(from, upto uint64, f *filter) (all []told) {
	for seq := from + 1; seq <= upto; seq++ {
		before, after := p.rows(seq-1, f), p.rows(seq, f)
		for _, id := range p.changed(seq, f.tenant) {
			b, was := before[id]
			a, is := after[id]
			switch {
			case is:
				all = append(all, told{Seq: seq, Op: "upserted", Assignment: jsontext.Value(f.tell(a)), id: id})
			case was:
				all = append(all, told{Seq: seq, Op: "revoked", Assignment: jsontext.Value(f.tell(b)), id: id})
			}
		}
	}
	return all
}

// wantTold compares changes. Within a sequence they come in the order of a scan, which
// a test does not care for.
func wantTold(t *testing.T, what string, got, want []told) {
	t.Helper()
	if !slices.IsSortedFunc(got, func(a, b told) int { return cmp.Compare(a.Seq, b.Seq) }) {
		t.Fatalf("%s: not in the order of the stream: %+v", what, got)
	}
	sorted := slices.SortedStableFunc(slices.Values(got), func(a, b told) int {
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), a.id.compare(b.id))
	})
	for i := range max(len(sorted), len(want)) {
		if i >= len(sorted) || i >= len(want) || sorted[i].Seq != want[i].Seq || sorted[i].Op != want[i].Op ||
			string(sorted[i].Assignment) != string(want[i].Assignment) {
			t.Fatalf("%s: change %d of %d is\n got %+v\nwant %+v", what, i, len(want), sorted[i:min(i+1, len(sorted))], want[i:min(i+1, len(want))])
		}
	}
}
