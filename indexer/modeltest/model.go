package modeltest

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/assigndex/assigndex/events"
)

// Moment is a place in the stream.
type Moment struct {
	Seq  uint64
	Nano int64 // Unix time in nanoseconds
}

// Outcome is what a message did, in the words of the metrics.
type Outcome string

// The outcomes of a message.
const (
	Quarantined Outcome = "quarantined"
	Changed     Outcome = "changed"
	Unchanged   Outcome = "unchanged"
	Outdated    Outcome = "outdated"
	Unmet       Outcome = "unmet"
)

// Model is what the index must say.
type Model struct {
	tenants     map[string]*tenant
	quarantined []quarantined
}

// New gives the model of an empty index.
func New() *Model { return &Model{tenants: map[string]*tenant{}} }

// quarantined is a message that is not an event.
type quarantined struct {
	seq    uint64
	tenant string // empty: none could be read
}

// tenant is everything that one tenant has.
type tenant struct {
	rows     map[rowID]row
	entities map[entityID]entity
	guards   map[string]Guard
}

type rowID struct {
	kind events.Kind
	id   string
	ent  string
}

// row is an assignment. Its application is found when it is asked for: nothing
// can then be forgotten when an entitlement moves.
type row struct {
	created, updated Moment
	said             events.Assignment // what the event said
	face             string            // said, as a listing prints it
	params           map[string]string // what may be told of the parameters
}

type entityID struct {
	class string
	id    string
}

type entity struct {
	created, updated Moment
	record           any // events.User, Group, Entitlement or Application
}

// Clone gives a copy that later events leave as it is.
func (m *Model) Clone() *Model {
	c := &Model{tenants: make(map[string]*tenant, len(m.tenants)), quarantined: slices.Clone(m.quarantined)}
	for name, t := range m.tenants {
		c.tenants[name] = &tenant{rows: maps.Clone(t.rows), entities: maps.Clone(t.entities), guards: maps.Clone(t.guards)}
	}
	return c
}

// Apply takes the next message of the stream.
func (m *Model) Apply(at Moment, message events.Message) Outcome {
	ev, err := events.Decode(message)
	if err != nil {
		m.quarantined = append(m.quarantined, quarantined{at.Seq, ev.Tenant})
		return Quarantined
	}
	if ev.Drop != nil {
		return m.drop(ev.Tenant, ev.Drop.Seq)
	}
	t := m.tenants[ev.Tenant]
	if t == nil {
		t = &tenant{rows: map[rowID]row{}, entities: map[entityID]entity{}, guards: map[string]Guard{}}
		m.tenants[ev.Tenant] = t
	}
	return t.apply(at, ev)
}

// drop settles a message of the tenant, or one of nobody.
func (m *Model) drop(tenant string, seq uint64) Outcome {
	var left []quarantined // what copies hold stays as it is
	for _, q := range m.quarantined {
		if q.seq != seq || (q.tenant != "" && q.tenant != tenant) {
			left = append(left, q)
		}
	}
	if len(left) == len(m.quarantined) {
		return Unchanged
	}
	m.quarantined = left
	return Changed
}

func (t *tenant) apply(at Moment, ev events.Event) Outcome {
	g := guardOf(ev)
	if ev.Revision != nil {
		if last, seen := t.guards[g.name()]; seen && *ev.Revision <= last.Revision {
			return Outdated
		}
	}
	if exists := t.exists(ev); ev.If == "absent" && exists || ev.If == "present" && !exists {
		return Unmet
	}

	// Everything is compared with what it was, whatever the event is about.
	before := map[rowID]string{}
	for id := range t.rows {
		before[id] = t.tells(id)
	}
	entitiesBefore := maps.Clone(t.entities)

	t.change(at, ev)

	changed := len(t.rows) != len(before) || len(t.entities) != len(entitiesBefore)
	for id, r := range t.rows {
		told, existed := before[id]
		if existed && told == t.tells(id) {
			continue
		}
		changed = true
		r.updated = at
		t.rows[id] = r
	}
	for id, e := range t.entities {
		if was, existed := entitiesBefore[id]; !existed || was.updated != e.updated {
			changed = true
		}
	}
	if ev.Revision != nil {
		g.Revision = *ev.Revision
		t.guards[g.name()] = g
		changed = true
	}
	if changed {
		return Changed
	}
	return Unchanged
}

func (t *tenant) exists(ev events.Event) bool {
	if a := ev.Assignment; a != nil {
		_, ok := t.rows[rowID{a.Assignee.Kind, a.Assignee.ID, a.EntID}]
		return ok
	}
	id, _ := entityOf(ev)
	_, ok := t.entities[id]
	return ok
}

func (t *tenant) change(at Moment, ev events.Event) {
	switch ev.Type {
	case "assignment.upserted":
		t.upsert(at, *ev.Assignment)
	case "assignment.revoked":
		a := ev.Assignment
		delete(t.rows, rowID{a.Assignee.Kind, a.Assignee.ID, a.EntID})
	case "user.deleted":
		t.revoke(func(id rowID) bool { return id.kind == events.KindUser && id.id == ev.User.UsrID })
		t.forget(ev)
	case "group.deleted":
		t.revoke(func(id rowID) bool {
			return (id.kind == events.KindGroup || id.kind == events.KindDynamicGroup) && id.id == ev.Group.GrpID
		})
		t.forget(ev)
	case "entitlement.deleted":
		t.revoke(func(id rowID) bool { return id.ent == ev.Entitlement.EntID })
		t.forget(ev)
	case "application.deleted":
		t.revoke(func(id rowID) bool { return t.application(id) == ev.Application.AppID })
		t.forget(ev)
	case "entitlement.upserted":
		t.remember(at, ev)
		t.maskSecrets(ev.Entitlement.EntID)
	default:
		t.remember(at, ev)
	}
}

func (t *tenant) upsert(at Moment, a events.Assignment) {
	id := rowID{a.Assignee.Kind, a.Assignee.ID, a.EntID}
	r := row{created: at, updated: at, said: a, face: face(a), params: map[string]string{}}
	if old, ok := t.rows[id]; ok {
		r.created, r.updated = old.created, old.updated
	}
	ent, known := t.entitlement(a.EntID)
	for _, p := range a.Params {
		r.params[p.Name] = string(p.Value)
		if !known || slices.Contains(ent.SecretParams, p.Name) {
			r.params[p.Name] = `"***"`
		}
	}
	t.rows[id] = r
}

// maskSecrets hides what an entitlement now declares secret. What was hidden
// stays so, whatever is declared.
func (t *tenant) maskSecrets(entID string) {
	ent, _ := t.entitlement(entID)
	for id, r := range t.rows {
		if id.ent != entID {
			continue
		}
		params := maps.Clone(r.params)
		for name := range params {
			if slices.Contains(ent.SecretParams, name) {
				params[name] = `"***"`
			}
		}
		r.params = params
		t.rows[id] = r
	}
}

func (t *tenant) revoke(selected func(rowID) bool) {
	var gone []rowID
	for id := range t.rows {
		if selected(id) {
			gone = append(gone, id)
		}
	}
	for _, id := range gone {
		delete(t.rows, id)
	}
}

func (t *tenant) remember(at Moment, ev events.Event) {
	id, record := entityOf(ev)
	e := entity{created: at, updated: at, record: record}
	if old, ok := t.entities[id]; ok {
		e.created = old.created
		if reflect.DeepEqual(old.record, record) {
			e.updated = old.updated
		}
	}
	t.entities[id] = e
}

func (t *tenant) forget(ev events.Event) {
	id, _ := entityOf(ev)
	delete(t.entities, id)
}

func (t *tenant) entitlement(id string) (events.Entitlement, bool) {
	e, ok := t.entities[entityID{"entitlement", id}]
	if !ok {
		return events.Entitlement{}, false
	}
	return e.record.(events.Entitlement), true
}

// application is what a row is listed under: its own, otherwise its
// entitlement's, otherwise none.
func (t *tenant) application(id rowID) string {
	if own := t.rows[id].said.AppID; own != "" {
		return own
	}
	ent, _ := t.entitlement(id.ent)
	return ent.AppID
}

// tells prints all that can be known of a row but its moments.
func (t *tenant) tells(id rowID) string {
	r := t.rows[id]
	var b strings.Builder
	b.WriteString(r.face)
	b.WriteString("\napplication " + t.application(id) + "\nown " + r.said.AppID + "\n")
	for _, right := range r.said.Rights {
		b.WriteString("right " + quote(right.Name))
		for _, v := range right.Values {
			b.WriteString(quote(v))
		}
		b.WriteString("\n")
	}
	for _, name := range slices.Sorted(maps.Keys(r.params)) {
		b.WriteString("param " + quote(name) + r.params[name] + "\n")
	}
	b.WriteString(r.said.ValidFrom + "\n" + r.said.ValidUntil + "\n" + string(r.said.Attributes))
	return b.String()
}

// entityOf gives the entity that an event is about.
func entityOf(ev events.Event) (entityID, any) {
	switch {
	case ev.User != nil:
		return entityID{"user", ev.User.UsrID}, *ev.User
	case ev.Group != nil:
		return entityID{"group", ev.Group.GrpID}, *ev.Group
	case ev.Entitlement != nil:
		return entityID{"entitlement", ev.Entitlement.EntID}, *ev.Entitlement
	default:
		return entityID{"application", ev.Application.AppID}, *ev.Application
	}
}

// Guard is the last revision of a record, which never expires.
type Guard struct {
	Class    string          // assignment, user, group, entitlement or application
	Assignee events.Assignee // of an assignment
	EntID    string          // of an assignment
	ID       string          // of an entity
	Revision int64
}

func (g Guard) name() string {
	return g.Class + quote(g.Assignee.Kind.String()) + quote(g.Assignee.ID) + quote(g.EntID) + quote(g.ID)
}

func guardOf(ev events.Event) Guard {
	if a := ev.Assignment; a != nil {
		return Guard{Class: "assignment", Assignee: a.Assignee, EntID: a.EntID}
	}
	id, _ := entityOf(ev)
	return Guard{Class: id.class, ID: id.id}
}

// Guards lists a tenant's guards in no order.
func (m *Model) Guards(tenantName string) []Guard {
	if t := m.tenants[tenantName]; t != nil {
		return slices.Collect(maps.Values(t.guards))
	}
	return nil
}

// Tenants lists the tenants in order.
func (m *Model) Tenants() []string { return slices.Sorted(maps.Keys(m.tenants)) }

// Quarantine lists the sequences of the messages that are not events and were not
// dropped.
func (m *Model) Quarantine() (seqs []uint64) {
	for _, q := range m.quarantined {
		seqs = append(seqs, q.seq)
	}
	return seqs
}

// Entity is a user, group, entitlement or application.
type Entity struct {
	Class            string
	ID               string
	Created, Updated Moment
	Record           any // events.User, Group, Entitlement or Application
}

// Entities lists a tenant's entities in no order.
func (m *Model) Entities(tenantName string) []Entity {
	t := m.tenants[tenantName]
	if t == nil {
		return nil
	}
	var all []Entity
	for id, e := range t.entities {
		all = append(all, Entity{id.class, id.id, e.created, e.updated, e.record})
	}
	return all
}

// Row is one assignment.
type Row struct {
	Assignee         events.Assignee
	EntID            string
	JSON             string // as a listing prints it
	Application      string // that it is listed under; empty: none
	OwnApplication   bool   // the event named it
	Score            *float64
	Created, Updated Moment
	Rights           []events.Right
	Params           map[string]string // JSON values, masked where they must be
	ValidFrom        string
	ValidUntil       string
	Attributes       string // JSON; empty: none
}

// Compare orders rows as listings do: bytewise by kind, assignee id and
// entitlement id.
func (r Row) Compare(kind events.Kind, id, ent string) int {
	return cmp.Or(cmp.Compare(r.Assignee.Kind, kind), cmp.Compare(r.Assignee.ID, id), cmp.Compare(r.EntID, ent))
}

// Rows lists every assignment of a tenant in order.
func (m *Model) Rows(tenantName string) []Row {
	t := m.tenants[tenantName]
	if t == nil {
		return nil
	}
	var all []Row
	for id, r := range t.rows {
		all = append(all, Row{
			Assignee: events.Assignee{Kind: id.kind, ID: id.id}, EntID: id.ent, JSON: r.face,
			Application: t.application(id), OwnApplication: r.said.AppID != "",
			Score: r.said.Score, Created: r.created, Updated: r.updated, Rights: r.said.Rights, Params: r.params,
			ValidFrom: r.said.ValidFrom, ValidUntil: r.said.ValidUntil, Attributes: string(r.said.Attributes),
		})
	}
	slices.SortFunc(all, func(a, b Row) int { return a.Compare(b.Assignee.Kind, b.Assignee.ID, b.EntID) })
	return all
}

// Filter picks rows. An empty field picks any.
type Filter struct {
	Kinds      []events.Kind
	AssigneeID string
	EntID      string
	AppID      string
}

// Picks reports whether a row is in the selection.
func (f Filter) Picks(r Row) bool {
	return (len(f.Kinds) == 0 || slices.Contains(f.Kinds, r.Assignee.Kind)) &&
		(f.AssigneeID == "" || f.AssigneeID == r.Assignee.ID) &&
		(f.EntID == "" || f.EntID == r.EntID) &&
		(f.AppID == "" || f.AppID == r.Application)
}
