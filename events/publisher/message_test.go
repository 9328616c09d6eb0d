package publisher

import (
	"errors"
	"strings"
	"testing"

	"github.com/assigndex/assigndex/events"
)

func TestParseLine(t *testing.T) {
	const event = `{"specversion":"1.0","id":"7","source":"hr","type":"user.upserted","data":{"usr_id":"u"}}`
	for _, c := range []struct {
		name, line string
		kind       events.Type // empty: a whole event
		code       events.Code // empty: accepted
	}{
		{"a record", `{"usr_id":"u","ent_id":"e"}`, events.AssignmentUpserted, ""},
		{"a record with a line break", `{"usr_id":"u","ent_id":"e"}` + "\r\n", events.AssignmentUpserted, ""},
		{"an event", event, "", ""},
		{"an event with a line break", event + "\n", "", ""},
		{"an event with an escaped name", strings.Replace(event, "specversion", `\u0073pecversion`, 1), "", ""},
		{"a record that speaks of events", `{"usr_id":"u","ent_id":"specversion"}`, events.AssignmentUpserted, ""},
		{"a record with the name further down", `{"usr_id":"u","ent_id":"e","x":{"specversion":1}}`, events.AssignmentUpserted, ""},
		{"a record without its id", `{"usr_id":"u"}`, "", events.BadField},
		{"an event of another version", strings.Replace(event, "1.0", "0.3", 1), "", events.BadEnvelope},
		{"an event of an unknown type", strings.Replace(event, "user.upserted", "user.renamed", 1), "", events.UnknownType},
		{"an event without an id", strings.Replace(event, `"id":"7",`, "", 1), "", events.BadEnvelope},
		{"an empty line", "", "", events.BadJSON},
		{"an array", "[]", "", events.BadJSON},
		{"two records", `{"usr_id":"u","ent_id":"e"}{}`, "", events.BadJSON},
		{"a name twice", `{"usr_id":"u","ent_id":"e","ent_id":"e"}`, "", events.BadJSON},
		{"a large one", `{"usr_id":"u","ent_id":"e","x":"` + strings.Repeat("x", events.MaxEventBytes) + `"}`, "", events.TooLarge},
	} {
		m, err := ParseLine([]byte(c.line), events.AssignmentUpserted)
		var rejection *events.Rejection
		switch {
		case c.code != "":
			if !errors.As(err, &rejection) || rejection.Code != c.code {
				t.Errorf("%s: %v, want %s", c.name, err, c.code)
			}
			if m.body != nil {
				t.Errorf("%s: a message came with the error", c.name)
			}
		case err != nil || m.kind != c.kind || string(m.body) != strings.TrimSpace(c.line):
			t.Errorf("%s: kind %q, body %q, %v", c.name, m.kind, m.body, err)
		case c.kind == "" && (m.id != "7" || m.source != "hr"):
			t.Errorf("%s: id %q, source %q", c.name, m.id, m.source)
		}
	}
	if _, err := NewRecord("user.renamed", []byte(`{}`)); err == nil {
		t.Error("a record of an unknown type is accepted")
	}
}

func TestMessagesCopyWhatTheyAreGiven(t *testing.T) {
	line := assignment(1)
	want := string(line)
	m, err := ParseLine(line, events.AssignmentUpserted)
	if err != nil {
		t.Fatal(err)
	}
	clear(line)
	if string(m.body) != want {
		t.Errorf("the message changed to %q", m.body)
	}
}

func TestMessageIDsAreUnambiguous(t *testing.T) {
	triples := [][3]string{
		{"t", "a", "bc"}, {"t", "ab", "c"}, {"t", "abc", ""}, {"ta", "", "bc"}, {"t", "", "abc"}, {"ta", "b", "c"},
		{"t", "a\n", "b"}, {"t", "a", "\nb"}, {"t", "a ", "b"}, {"t", "a", " b"},
		{"t", strings.Repeat("x", 200), "y"}, {"t", strings.Repeat("x", 199), "xy"},
	}
	seen := map[string][3]string{}
	for _, x := range triples {
		id := messageID(x[0], x[1], x[2])
		if other, ok := seen[id]; ok {
			t.Errorf("%q and %q have the same id", x, other)
		}
		if seen[id] = x; len(id) != 43 {
			t.Errorf("id %q of %q", id, x)
		}
	}
}
