package modeltest

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/assigndex/assigndex/events"
)

// Hostile are ids that break careless code: separators, terminators and escapes
// of any kind, ids that begin other ids, the names of kinds, and the longest.
var Hostile = []string{
	"a", "a/b", "a\x00b", "a\x00", "a\x00\x01", "a\x00\x00", "a\x01", "ab", "aa", "A",
	"\x00", "\x00\x00", "\x00\x01", "\x01", "\x02", "\x7f", "日本", "日", "é", "😀", "\u00ff", "\U0010FFFF",
	"USER", "GROUP", "DYNAMIC_GROUP", "ALL", "null", "***", " ", "a b", `"`, `\`, `a"b\c`, "{}", "%2F", "aaron.fischer", "0",
	strings.Repeat("x", events.MaxIDBytes), strings.Repeat("\x00", events.MaxIDBytes), strings.Repeat("é", events.MaxIDBytes/2),
}

// Tenants are those that a Generator writes to, the first most often. One name
// begins the other.
var Tenants = []string{"t", "t1"}

// Generator makes messages, the same for the same seed.
type Generator struct {
	rng     *rand.Rand
	made    []events.Message
	calls   uint64   // of Next: the sequence of the message that it makes, in a stream of its own
	bad     []uint64 // sequences of messages that are not events
	Users   []string
	Groups  []string
	Ents    []string
	Apps    []string
	secrets []string // names of parameters
}

// NewGenerator draws small pools of ids, so that messages are often about the
// same records.
func NewGenerator(seed uint64) *Generator {
	g := &Generator{rng: rand.New(rand.NewPCG(seed, 0x5eed))}
	g.Users, g.Groups, g.Ents, g.Apps = g.draw(4), g.draw(3), g.draw(5), g.draw(3)
	g.secrets = []string{"pw", "key", "level", "p\x00"}
	return g
}

// draw picks ids, half of them with a neighbour in the list, which is likely to
// begin like them.
func (g *Generator) draw(n int) []string {
	var ids []string
	for len(ids) < n {
		i := g.rng.IntN(len(Hostile) - 1)
		for _, id := range Hostile[i : i+1+g.rng.IntN(2)] {
			if len(ids) < n && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// Next makes the next message.
func (g *Generator) Next() events.Message {
	g.calls++
	m := g.next()
	if _, err := events.Decode(m); err != nil {
		g.bad = append(g.bad, g.calls)
	}
	return m
}

func (g *Generator) next() events.Message {
	var m events.Message
	switch {
	case len(g.made) > 0 && g.chance(10): // at least once means now and then twice, at once or late
		recent := g.made
		if g.chance(50) {
			recent = recent[max(0, len(recent)-3):]
		}
		return pick(g, recent)
	case g.chance(5):
		m = g.malformed()
	case g.chance(3):
		m = g.drop()
	default:
		t, fields := g.event()
		m = g.envelop(t, g.object(fields))
	}
	g.made = append(g.made, m)
	return m
}

// drop makes an event that settles a message in the quarantine, often one that is
// there.
func (g *Generator) drop() events.Message {
	seq := g.rng.Uint64N(g.calls + 2)
	if len(g.bad) > 0 && g.chance(80) {
		seq = pick(g, g.bad)
	}
	return g.envelop(events.QuarantineDropped, g.object([]field{{"seq", strconv.FormatUint(seq, 10)}, {"note", g.text(pick(g, Hostile[:9]))}}))
}

func (g *Generator) chance(percent int) bool { return g.rng.IntN(100) < percent }

func pick[T any](g *Generator, from []T) T { return from[g.rng.IntN(len(from))] }

// field is a name and a JSON value.
type field struct{ name, value string }

// event makes the data of a valid event.
func (g *Generator) event() (events.Type, []field) {
	var t events.Type
	var fields []field
	switch n := g.rng.IntN(100); {
	case n < 46:
		t, fields = events.AssignmentUpserted, append(g.assignee(), g.assignment()...)
	case n < 60:
		t, fields = events.AssignmentRevoked, append(g.assignee(), field{"ent_id", g.text(pick(g, g.Ents))})
		if g.chance(30) { // what a removal must not care about
			fields = append(fields, field{"score", `"high"`}, field{"rights", "7"}, field{"params", `"x"`})
		}
	case n < 78:
		t, fields = events.EntitlementUpserted, g.entitlement()
	case n < 82:
		t, fields = events.EntitlementDeleted, []field{{"ent_id", g.text(pick(g, g.Ents))}}
	case n < 85:
		t, fields = events.UserUpserted, []field{
			{"usr_id", g.text(pick(g, g.Users))}, {"usr_name", g.text(pick(g, Hostile[:3]))}, {"grp_id", g.text(pick(g, g.Groups[:2]))},
		}
		if g.chance(30) {
			fields = append(fields, field{"x", g.value()})
		}
	case n < 89:
		t, fields = events.UserDeleted, []field{{"usr_id", g.text(pick(g, g.Users))}}
	case n < 91:
		t, fields = events.GroupUpserted, []field{{"grp_id", g.text(pick(g, g.Groups))}, {"grp_name", g.text(pick(g, Hostile[:3]))}}
	case n < 94:
		t, fields = events.GroupDeleted, []field{{"grp_id", g.text(pick(g, g.Groups))}}
	case n < 97:
		t, fields = events.ApplicationUpserted, []field{
			{"app_id", g.text(pick(g, g.Apps))}, {"app_name", g.text(pick(g, Hostile))}, {"app_owner_id", g.text(pick(g, g.Users))}, {"y", g.value()},
		}
	default:
		t, fields = events.ApplicationDeleted, []field{{"app_id", g.text(pick(g, g.Apps))}}
	}
	if g.chance(35) { // slowly rising, so that lower, equal and higher ones occur
		fields = append(fields, field{"revision", strconv.Itoa(len(g.made)/40 + g.rng.IntN(6) - 2)})
	}
	if g.chance(12) && strings.HasPrefix(string(t), "assignment.") {
		fields = append(fields, field{"if", pick(g, []string{`"absent"`, `"present"`})})
	}
	return t, fields
}

func (g *Generator) assignee() []field {
	switch n := g.rng.IntN(20); {
	case n < 12:
		who := []field{{"usr_id", g.text(pick(g, g.Users))}}
		if g.chance(30) {
			who = append(who, field{"type", `"USER"`})
		}
		return who
	case n < 15:
		return []field{{"grp_id", g.text(pick(g, g.Groups))}, {"type", `"GROUP"`}}
	case n < 18:
		return []field{{"grp_id", g.text(pick(g, g.Groups))}, {"type", `"DYNAMIC_GROUP"`}}
	default:
		return []field{{"type", `"ALL"`}}
	}
}

func (g *Generator) assignment() []field {
	fields := []field{{"ent_id", g.text(pick(g, g.Ents))}}
	add := func(percent int, name string, value func() string) {
		if g.chance(percent) {
			fields = append(fields, field{name, value()})
		}
	}
	add(30, "app_id", func() string { return g.text(pick(g, append([]string{""}, g.Apps...))) })
	add(50, "score", func() string {
		return pick(g, []string{"null", "0", "-0", "1", "0.98", "0.75", "0.7499999999999999", "0.6", "0.60", "1e-7", "3.5E-1", "0.34999999999999997"})
	})
	add(30, "justification", func() string {
		return pick(g, []string{
			"[]", "null", `[{"id":"CITY","title":"city","value":"Bonn"}]`, `[{"id":"A","value":1.50},{"title":"\u0000","value":null}]`,
			`[{"id":"é","title":"\"","value":true},{}]`,
		})
	})
	add(20, "rights", func() string {
		return pick(g, []string{"[]", `[{"name":"r","values":["a","b"]}]`, `[{"name":"r"},{"values":["\n"]}]`})
	})
	add(50, "params", func() string {
		var all []field
		for _, name := range g.secrets {
			if g.chance(50) {
				all = append(all, field{name, g.value()})
			}
		}
		return g.object(all)
	})
	add(10, "valid_from", func() string { return pick(g, []string{`"2026-01-31"`, `"2026-01-31T12:00:00Z"`, `""`, "null"}) })
	add(10, "valid_until", func() string { return pick(g, []string{`"2027-01-31"`, `"2027-01-31T12:00:00+01:00"`}) })
	add(15, "cost_center", g.value)
	add(5, "attributes", g.value)
	return fields
}

func (g *Generator) entitlement() []field {
	fields := []field{{"ent_id", g.text(pick(g, g.Ents))}}
	if g.chance(75) {
		fields = append(fields, field{"app_id", g.text(pick(g, append([]string{""}, g.Apps...)))})
	}
	if g.chance(50) {
		var names []string
		for _, name := range g.secrets {
			if g.chance(40) {
				names = append(names, g.text(name))
			}
		}
		fields = append(fields, field{"secret_params", "[" + strings.Join(names, ",") + "]"})
	}
	if g.chance(30) {
		fields = append(fields, field{"ent_name", g.text(pick(g, Hostile))}, field{"ent_type", pick(g, []string{`"role"`, `"permission"`})})
	}
	if g.chance(10) {
		fields = append(fields, field{"z", g.value()})
	}
	return fields
}

// value makes any JSON value. Numbers of many digits must come out unharmed.
func (g *Generator) value() string {
	return pick(g, []string{
		`"s3cret"`, `"***"`, "12345678901234567890123", "1.10", "null", "true", `{"b":[1,{"a":"\u0041"}],"a":1E400}`, `{ "a" : 1e400 }`, "[]", `""`, `"\u0000\/é"`,
	})
}

// text writes a JSON string, with more escapes than needed at times.
func (g *Generator) text(s string) string {
	if !g.chance(20) {
		return quote(s)
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		if r < 0x10000 && r != '\uFFFD' && g.chance(50) {
			fmt.Fprintf(&b, `\u%04X`, r)
		} else {
			inner := quote(string(r))
			b.WriteString(inner[1 : len(inner)-1])
		}
	}
	b.WriteByte('"')
	return b.String()
}

// object writes fields in any order, loosely or tightly.
func (g *Generator) object(fields []field) string {
	g.rng.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	space := pick(g, []string{"", " ", "\n\t"})
	var b strings.Builder
	b.WriteString("{" + space)
	for i, f := range fields {
		if i > 0 {
			b.WriteString("," + space)
		}
		b.WriteString(quote(f.name) + space + ":" + space + f.value + space)
	}
	b.WriteString("}")
	return b.String()
}

// envelop puts data into one of the forms of a message.
func (g *Generator) envelop(t events.Type, data string) events.Message {
	tenant := Tenants[0]
	if g.chance(25) {
		tenant = Tenants[1]
	}
	m := events.Message{Subject: "assignments." + tenant + "." + pick(g, []string{"hr", "events", "a.b.c"}), Header: map[string][]string{}}
	id := strconv.Itoa(len(g.made))
	switch g.rng.IntN(4) {
	case 0:
		m.Header["Content-Type"] = []string{"application/cloudevents+json; charset=utf-8"}
		body := []field{{"specversion", `"1.0"`}, {"type", quote(string(t))}, {"id", quote(id)}, {"source", `"/gen"`}}
		if g.chance(30) {
			body = append(body, field{"data_base64", quote(base64.StdEncoding.EncodeToString([]byte(data)))})
		} else {
			body = append(body, field{"data", data})
		}
		data = g.object(body)
	case 1:
		for name, value := range map[string]string{"ce-specversion": "1.0", "ce-type": string(t), "ce-id": id, "ce-source": "%2Fgen"} {
			m.Header[name] = []string{value}
		}
	default:
		m.Header[pick(g, []string{events.TypeHeader, strings.ToLower(events.TypeHeader)})] = []string{string(t)}
	}
	m.Data = []byte(data)
	return m
}

// malformed makes a message that is to be quarantined. Some would do much harm
// if a part of them were applied.
func (g *Generator) malformed() events.Message {
	t, fields := g.event()
	switch g.rng.IntN(8) {
	case 0:
		return g.envelop("assignment.created", g.object(fields))
	case 1:
		return g.envelop(t, strings.TrimSuffix(g.object(fields), "}"))
	case 2:
		return g.envelop(events.AssignmentUpserted, g.object(append(append(g.assignee(), g.assignment()...), field{"score", "2"}, field{"score", "1"})))
	case 3:
		return g.envelop(events.UserDeleted, `{"usr_id":""}`)
	case 4:
		return g.envelop(events.AssignmentRevoked, g.object([]field{{"usr_id", g.text(pick(g, g.Users) + strings.Repeat("x", events.MaxIDBytes))}, {"ent_id", `"e"`}}))
	case 5:
		return g.envelop(t, g.object(append(fields, field{"revision", `"7"`}, field{"x", "\"\xff\""})))
	case 6:
		m := g.envelop(t, g.object(fields))
		m.Subject = "assignments.bad tenant.x"
		return m
	default:
		return g.envelop(events.EntitlementDeleted, "[]")
	}
}
