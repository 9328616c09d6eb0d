package query

import (
	"encoding/base64"
	"reflect"
	"strings"
	"testing"

	"github.com/assigndex/assigndex/indexer/feed"
)

var testFeedCursors = []feedCursor{
	{version: diffVersion, stream: "s1", from: 3, to: 9, query: hash{1, 2, 3}, at: feed.Place{Seq: 9, N: 1<<32 - 1}},
	{version: diffVersion, stream: strings.Repeat("s", maxStreamBytes), from: 0, to: 1<<64 - 1, query: hash{15: 255}, at: feed.Place{Seq: 1}},
	{version: historyVersion, stream: "", from: 9, to: 9, at: feed.Place{Seq: 8}},
}

func TestFeedCursorRoundTrip(t *testing.T) {
	for _, c := range testFeedCursors {
		text := c.encode()
		for _, spelling := range []string{text, strings.TrimRight(text, "=")} {
			if got, ok := decodeFeedCursor(c.version, spelling); !ok || !reflect.DeepEqual(got, c) {
				t.Errorf("%q: %+v, %v; want %+v", spelling, got, ok, c)
			}
		}
		if _, ok := decodeFeedCursor(c.version^1, text); ok {
			t.Errorf("%+v is taken as of the other version", c)
		}
		if len(text) > MaxCursorText {
			t.Errorf("%d bytes of text, more than %d", len(text), MaxCursorText)
		}
	}
}

// Changed in one bit, shortened or extended, a cursor is refused; and so is one with a
// right check and a place that no page ends at.
func TestFeedCursorDamage(t *testing.T) {
	for _, c := range testFeedCursors {
		raw, _ := base64.StdEncoding.DecodeString(c.encode())
		refused := func(what string, b []byte) {
			t.Helper()
			if got, ok := decodeFeedCursor(c.version, base64.StdEncoding.EncodeToString(b)); ok {
				t.Fatalf("%s: accepted as %+v", what, got)
			}
		}
		for i := range raw {
			for bit := range 8 {
				bad := append([]byte(nil), raw...)
				bad[i] ^= 1 << bit
				refused("a bit changed", bad)
			}
			refused("cut", raw[:i])
			if i != len(raw)-checkBytes {
				refused("cut with a right check", append(raw[:i:i], check(raw[:i])...))
			}
		}
		refused("longer", append(raw[:len(raw):len(raw)], 0))
	}
	for _, c := range []feedCursor{
		{version: diffVersion, from: 3, to: 9, at: feed.Place{Seq: 3}}, {version: diffVersion, from: 3, to: 9, at: feed.Place{Seq: 10}},
		{version: diffVersion, from: 9, to: 3, at: feed.Place{Seq: 5}}, {version: diffVersion, from: 3, to: 3, at: feed.Place{Seq: 3}},
		{version: historyVersion, from: 9, to: 9, at: feed.Place{Seq: 9}}, {version: historyVersion, from: 9, to: 9, at: feed.Place{Seq: 3, N: 1}},
		{version: historyVersion, from: 8, to: 9, at: feed.Place{Seq: 3}},
	} {
		if _, ok := decodeFeedCursor(c.version, c.encode()); ok {
			t.Errorf("%+v is accepted", c)
		}
	}
}

// Whatever decodes is what encode writes, and lies where a page can end.
func FuzzFeedCursor(f *testing.F) {
	for _, c := range testFeedCursors {
		f.Add(c.version == diffVersion, c.encode())
	}
	f.Fuzz(func(t *testing.T, diff bool, text string) {
		version := byte(historyVersion)
		if diff {
			version = diffVersion
		}
		c, ok := decodeFeedCursor(version, text)
		if !ok {
			return
		}
		if strings.TrimRight(c.encode(), "=") != strings.TrimRight(text, "=") {
			t.Errorf("%q is read as %+v, which is %q", text, c, c.encode())
		}
		if c.at.Seq > c.to || (diff && c.at.Seq <= c.from) {
			t.Errorf("%+v", c)
		}
	})
}

func TestPositions(t *testing.T) {
	for text, want := range map[string]Position{
		"0": {}, "7": {Seq: 7}, "7.2": {7, 2}, "18446744073709551615": {Seq: 1<<64 - 1}, "1.4294967295": {1, 1<<32 - 1},
	} {
		if got, ok := ParsePosition(text); !ok || got != want || got.String() != text {
			t.Errorf("%s: %+v, %v, %s", text, got, ok, got)
		}
		if want.Seq < 1<<64-1 && positionOf(want.place()) != want {
			t.Errorf("%s: the place %+v is at %s", text, want.place(), positionOf(want.place()))
		}
	}
	for _, text := range []string{"", ".", "7.", ".2", "7.0", "0.1", "-1", "+1", "7.2.3", "7.4294967296", "18446744073709551616", "7,2", " 7", "earliest", "0x7", "7_0"} {
		if got, ok := ParsePosition(text); ok {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
}
