package query

import (
	"bytes"
	"encoding/base64"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
)

func place(kind events.Kind, id, ent string) listing.Position {
	return listing.Position{Assignee: events.Assignee{Kind: kind, ID: id}, EntID: ent}
}

var testCursors = []cursor{
	{stream: "s1", seq: 7, query: hash{1, 2, 3}, at: place(events.KindUser, "aaron.fischer", "WEB user/Edit\x00")},
	{stream: "s1", seq: 0, at: place(events.KindAll, "", "e")},
	{stream: strings.Repeat("s", maxStreamBytes), seq: 1<<64 - 1, query: hash{15: 255},
		at: place(events.KindDynamicGroup, strings.Repeat("日", 341), strings.Repeat("e", events.MaxIDBytes))},
	{stream: "", seq: 1, at: place(events.KindGroup, "[", "]")},
}

func decodeText(text string) (cursor, bool) {
	raw, ok := unbase64(nil, text)
	if !ok {
		return cursor{}, false
	}
	return decodeCursor(raw)
}

func TestCursorRoundTrip(t *testing.T) {
	for _, c := range testCursors {
		text := c.encode()
		for _, spelling := range []string{text, strings.TrimRight(text, "=")} {
			if got, ok := decodeText(spelling); !ok || !reflect.DeepEqual(got, c) {
				t.Errorf("%q: %+v, %v; want %+v", spelling, got, ok, c)
			}
		}
		if len(text) > MaxCursorText {
			t.Errorf("%d bytes of text, more than %d", len(text), MaxCursorText)
		}
	}
}

// Changed in one bit, shortened or extended, a cursor is refused: in its bytes
// and in its text.
func TestCursorDamage(t *testing.T) {
	for _, c := range testCursors {
		text := c.encode()
		raw, _ := base64.StdEncoding.DecodeString(text)
		for i := range raw {
			for bit := range 8 {
				bad := bytes.Clone(raw)
				bad[i] ^= 1 << bit
				if _, ok := decodeCursor(bad); ok {
					t.Fatalf("accepted with bit %d of byte %d changed", bit, i)
				}
			}
			if _, ok := decodeCursor(raw[:i]); ok {
				t.Fatalf("accepted cut to %d bytes", i)
			}
		}
		if _, ok := decodeCursor(append(bytes.Clone(raw), 0)); ok {
			t.Fatal("accepted with a byte more")
		}
		body := strings.TrimRight(text, "=") // a flip in the padding may leave the same text without it
		for i := range body {
			for bit := range 8 {
				bad := []byte(text)
				bad[i] ^= 1 << bit
				if _, ok := decodeText(string(bad)); ok {
					t.Fatalf("accepted as %q for %q", bad, text)
				}
			}
		}
	}
}

func TestUnbase64IsStrict(t *testing.T) {
	for text, want := range map[string]string{"": "", "AQ==": "\x01", "AQ": "\x01", "AQI=": "\x01\x02", "AQI": "\x01\x02", "+/+/": "\xfb\xff\xbf"} {
		if got, ok := unbase64(nil, text); !ok || string(got) != want {
			t.Errorf("%q: %q, %v", text, got, ok)
		}
	}
	for _, text := range []string{
		"A", "AQ=", "AQ===", "AQ==\n", "AQ==\n\n\n\n", "AQ\n", "A\nQ==", "AQ\r\n", "AR==", "AR", "-_-_", " AQ==", "AQ== ", "AQ==AQ==", "AQ.=", "日本", "====", "AQI==",
	} {
		if got, ok := unbase64(nil, text); ok {
			t.Errorf("%q: accepted as %q", text, got)
		}
	}
}

// Bytes of no cursor are refused although the check is right.
func TestCursorStructure(t *testing.T) {
	c := testCursors[0]
	raw, _ := base64.StdEncoding.DecodeString(c.encode())
	body := raw[:len(raw)-checkBytes]
	checked := func(b []byte) []byte { return append(bytes.Clone(b), check(b)...) }
	if _, ok := decodeCursor(checked(body)); !ok {
		t.Fatal("refused whole")
	}
	for n := range body {
		if _, ok := decodeCursor(checked(body[:n])); ok {
			t.Fatalf("accepted cut to %d bytes", n)
		}
	}
	if _, ok := decodeCursor(checked(append(bytes.Clone(body), 0))); ok {
		t.Fatal("accepted with a byte more")
	}
	for _, version := range []byte{0, 2, 255} {
		other := bytes.Clone(body)
		other[0] = version
		if _, ok := decodeCursor(checked(other)); ok {
			t.Fatalf("accepted as version %d", version)
		}
	}
	long := bytes.Clone(body)
	long[1] = 255 // of an incarnation that is not there
	if _, ok := decodeCursor(checked(long)); ok {
		t.Fatal("accepted with a length beyond its end")
	}
}

// Positions that no page ends at are refused although the check is right.
func TestCursorPositions(t *testing.T) {
	for _, at := range []listing.Position{
		place(0, "u", "e"), place(5, "u", "e"), place(events.KindUser, "", "e"), place(events.KindUser, "u", ""),
		place(events.KindAll, "u", "e"), place(events.KindUser, "\xff", "e"), place(events.KindUser, "u", "\xff"),
		place(events.KindGroup, strings.Repeat("g", events.MaxIDBytes+1), "e"), place(events.KindUser, "u", strings.Repeat("e", events.MaxIDBytes+1)),
	} {
		c := cursor{stream: "s1", at: at}
		if _, ok := decodeText(c.encode()); ok {
			t.Errorf("accepted %+v", at)
		}
	}
}

func TestQueryHashTellsQueriesApart(t *testing.T) {
	base := listing.Selector{Tenant: "t", Kinds: userKinds}
	with := func(change func(*listing.Selector)) listing.Selector {
		sel := base
		change(&sel)
		return sel
	}
	seen := map[hash]int{}
	for i, q := range []struct {
		sel  listing.Selector
		asOf *AsOf
	}{
		{base, nil},
		{base, &AsOf{Seq: 0}},
		{base, &AsOf{Seq: 1}},
		{base, &AsOf{Instant: ptr(time.Unix(0, 0))}},
		{base, &AsOf{Instant: ptr(time.Unix(0, 1))}},
		{base, &AsOf{Instant: ptr(time.Unix(1, 0))}},
		{with(func(s *listing.Selector) { s.Tenant = "u" }), nil},
		{with(func(s *listing.Selector) { s.Kinds = groupKinds }), nil},
		{with(func(s *listing.Selector) { s.Kinds = events.Kinds[1:2] }), nil},
		{with(func(s *listing.Selector) { s.AssigneeID = "x" }), nil},
		{with(func(s *listing.Selector) { s.EntID = "x" }), nil},
		{with(func(s *listing.Selector) { s.AppID = "x" }), nil},
		{with(func(s *listing.Selector) { s.AssigneeID, s.EntID = "x", "y" }), nil},
		{with(func(s *listing.Selector) { s.AssigneeID, s.EntID = "y", "x" }), nil},
		{with(func(s *listing.Selector) { s.AssigneeID, s.EntID = "xy", "" }), nil},
		{with(func(s *listing.Selector) { s.AssigneeID, s.EntID = "", "xy" }), nil},
	} {
		h := queryHash(q.sel, q.asOf)
		if before, ok := seen[h]; ok {
			t.Errorf("queries %d and %d have one hash", before, i)
		}
		seen[h] = i
		if h != queryHash(q.sel, q.asOf) {
			t.Errorf("query %d has two hashes", i)
		}
	}
}

func TestDecodeSeed(t *testing.T) {
	for text, want := range map[string]listing.Position{
		`["aaron.fischer","WEB_user_Shared_Edit_ADMIN_II"]`: place(events.KindUser, "aaron.fischer", "WEB_user_Shared_Edit_ADMIN_II"),
		`[ "u" , "日本\u0000" ]`:                              place(events.KindUser, "u", "日本\x00"),
	} {
		if got, ok := decodeSeed([]byte(text)); !ok || got != want {
			t.Errorf("%s: %+v, %v", text, got, ok)
		}
	}
	for _, text := range []string{
		`[`, `[]`, `["u"]`, `["u","e","x"]`, `["",""]`, `["u",""]`, `["","e"]`, `["u",null]`, `["u",5]`, `[["u"],"e"]`, `["u","e"]x`, `["u","e"][]`,
		"[\"\xff\",\"e\"]", `["\ud800","e"]`, `["` + strings.Repeat("u", events.MaxIDBytes+1) + `","e"]`,
	} {
		if got, ok := decodeSeed([]byte(text)); ok {
			t.Errorf("%s: accepted as %+v", text, got)
		}
	}
}

// FuzzCursor gives a decoder what a stranger may send: a text, and bytes with a
// right check behind them, so that the fuzzer need not find one.
func FuzzCursor(f *testing.F) {
	sel := listing.Selector{Tenant: "t", Kinds: groupKinds, EntID: "e"}
	inside := cursor{stream: "s1", seq: 7, query: queryHash(sel, nil), at: place(events.KindGroup, "g", "e")}
	outside := inside
	outside.at.EntID = "f"
	for _, c := range append(testCursors, inside, outside) {
		raw, _ := base64.StdEncoding.DecodeString(c.encode())
		f.Add(c.encode(), raw[:len(raw)-checkBytes], uint32(3))
	}
	f.Add(seedCursors[0], []byte(`["u","e"]`), uint32(0))
	f.Add("", []byte{}, uint32(0))
	f.Fuzz(func(t *testing.T, text string, body []byte, flip uint32) {
		for _, text := range []string{text, base64.StdEncoding.EncodeToString(append(bytes.Clone(body), check(body)...))} {
			fuzzCursorText(t, text, flip)
			for _, s := range []listing.Selector{sel, {Tenant: "t", Kinds: userKinds}} {
				from, err := start(&Request{Cursor: text}, s, queryHash(s, nil), "s1")
				if text == "" {
					continue
				}
				if err != nil {
					if codeOf(err) == "" {
						t.Fatalf("%q: %v", text, err)
					}
					continue
				}
				if from.after == nil || !validPosition(*from.after) {
					t.Fatalf("%q: accepted at %+v", text, from.after)
				}
				// Only the seed's cursors may lie outside, and have no snapshot.
				if from.at != nil && !s.Contains(*from.after) {
					t.Fatalf("%q: accepted at %+v, outside the selection", text, from.after)
				}
			}
		}
	})
}

func fuzzCursorText(t *testing.T, text string, flip uint32) {
	c, ok := decodeText(text)
	if !ok {
		return
	}
	again := c.encode()
	if strings.TrimRight(again, "=") != strings.TrimRight(text, "=") {
		t.Fatalf("%q decodes to %+v, which is %q", text, c, again)
	}
	if d, ok := decodeText(again); !ok || !reflect.DeepEqual(c, d) {
		t.Fatalf("%+v reads back as %+v, %v", c, d, ok)
	}
	raw, _ := unbase64(nil, text)
	bit := int(flip) % (8 * len(raw))
	raw[bit/8] ^= 1 << (bit % 8)
	if _, ok := decodeCursor(raw); ok {
		t.Fatalf("%q is accepted with bit %d changed", text, bit)
	}
}
