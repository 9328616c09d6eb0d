package assignmentcode

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
)

func at(kind events.Kind, id, ent string) listing.Position {
	return listing.Position{Assignee: events.Assignee{Kind: kind, ID: id}, EntID: ent}
}

var (
	longest = strings.Repeat("e", events.MaxIDBytes)
	samples = []listing.Position{
		at(events.KindUser, "aaron.fischer", "WEB user/Edit\x00"), at(events.KindUser, "u", "e"), at(events.KindUser, "ue", "e"), at(events.KindUser, "u", "ee"),
		at(events.KindGroup, "u", "e"), at(events.KindDynamicGroup, "u", "e"), at(events.KindAll, "", "e"), at(events.KindGroup, "日本\x00\x01", "é/?#"),
		at(events.KindDynamicGroup, longest, longest),
	}
)

func refused(t *testing.T, why, tenant, text string) {
	t.Helper()
	if got, err := Decode(tenant, text); !errors.Is(err, ErrInvalid) || got != (listing.Position{}) {
		t.Fatalf("%s: %q of %s gives %+v, %v", why, text, tenant, got, err)
	}
}

// Every identity has one code, which no other one has and which reads back.
func TestRoundTrip(t *testing.T) {
	codes := map[string]bool{}
	for _, tenant := range []string{"t", "T", "acme", strings.Repeat("t", events.MaxTenantBytes)} {
		for _, p := range samples {
			text := Encode(tenant, p)
			if got, err := Decode(tenant, text); err != nil || got != p {
				t.Errorf("%s %+v: %q gives %+v, %v", tenant, p, text, got, err)
			}
			if codes[text] {
				t.Errorf("%q is the code of two assignments", text)
			}
			codes[text] = true
			if strings.Trim(text, "-_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") != "" || len(text) > MaxText {
				t.Errorf("%q needs escaping in a URL, or has more than %d bytes", text, MaxText)
			}
			if again := string(Append([]byte("x"), tenant, p)); again != "x"+text {
				t.Errorf("%q is appended as %q", text, again)
			}
		}
	}
	if n := len(Encode("t", samples[len(samples)-1])); n != MaxText {
		t.Errorf("the longest code has %d bytes, not %d", n, MaxText)
	}
}

// A code that is out in the world stays what it is.
func TestStable(t *testing.T) {
	const want = "AQEADWFhcm9uLmZpc2NoZXIABEVkaXQ3EozGLMEGtA"
	if got := Encode("acme", at(events.KindUser, "aaron.fischer", "Edit")); got != want {
		t.Errorf("%s, not %s", got, want)
	}
}

// The code of one tenant is nothing to another.
func TestBoundToTenant(t *testing.T) {
	for _, p := range samples {
		text := Encode("acme", p)
		for _, other := range []string{"", "acm", "acmee", "Acme", "other"} {
			refused(t, "another tenant", other, text)
		}
	}
}

// Changed in one bit, shortened or extended, a code is refused: in its bytes and in
// its text.
func TestDamage(t *testing.T) {
	for _, p := range samples[:8] {
		text := Encode("acme", p)
		raw, err := encoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		for i := range raw {
			for bit := range 8 {
				bad := bytes.Clone(raw)
				bad[i] ^= 1 << bit
				refused(t, "a bit of the bytes", "acme", encoding.EncodeToString(bad))
			}
			refused(t, "cut bytes", "acme", encoding.EncodeToString(raw[:i]))
		}
		refused(t, "a byte more", "acme", encoding.EncodeToString(append(bytes.Clone(raw), 0)))
		for i := range text {
			for bit := range 8 {
				bad := []byte(text)
				bad[i] ^= 1 << bit
				refused(t, "a bit of the text", "acme", string(bad))
			}
			refused(t, "cut text", "acme", text[:i])
		}
		for _, more := range []string{"=", "==", "\n", "\r\n", "A", " ", "."} {
			refused(t, "more text", "acme", text+more)
			refused(t, "more text", "acme", more+text)
		}
	}
}

// checked gives the code of bytes with a right check.
func checked(tenant string, b []byte) string {
	sum := check(tenant, b)
	return encoding.EncodeToString(append(bytes.Clone(b), sum[:]...))
}

// Bytes that Encode never makes are refused although the check is right.
func TestStructure(t *testing.T) {
	raw, err := encoding.DecodeString(Encode("acme", samples[0]))
	if err != nil {
		t.Fatal(err)
	}
	body := raw[:len(raw)-checkBytes]
	if _, err := Decode("acme", checked("acme", body)); err != nil {
		t.Fatal("refused whole")
	}
	for n := range body {
		refused(t, "cut", "acme", checked("acme", body[:n]))
	}
	refused(t, "a byte more", "acme", checked("acme", append(bytes.Clone(body), 0)))
	for _, v := range []byte{0, 2, 255} {
		other := bytes.Clone(body)
		other[0] = v
		refused(t, "another version", "acme", checked("acme", other))
	}
	for _, p := range []listing.Position{
		at(0, "u", "e"), at(5, "u", "e"), at(events.KindUser, "", "e"), at(events.KindUser, "u", ""), at(events.KindAll, "u", "e"), at(events.KindAll, "", ""),
		at(events.KindUser, "\xff", "e"), at(events.KindUser, "u", "\xff"), at(events.KindGroup, longest+"e", "e"), at(events.KindUser, "u", longest+"e"),
	} {
		refused(t, "no identity", "acme", Encode("acme", p))
	}
}

// FuzzDecode gives a decoder what a stranger may send: a text, and bytes with a
// right check behind them, so that the fuzzer need not find one.
func FuzzDecode(f *testing.F) {
	for _, p := range samples {
		text := Encode("acme", p)
		raw, _ := encoding.DecodeString(text)
		f.Add("acme", text, raw[:len(raw)-checkBytes], uint32(3))
	}
	f.Add("", "", []byte{}, uint32(0))
	f.Fuzz(func(t *testing.T, tenant, text string, body []byte, flip uint32) {
		for _, text := range []string{text, checked(tenant, body)} {
			p, err := Decode(tenant, text)
			if err != nil {
				if !errors.Is(err, ErrInvalid) || p != (listing.Position{}) {
					t.Fatalf("%q: %+v, %v", text, p, err)
				}
				continue
			}
			if again := Encode(tenant, p); again != text {
				t.Fatalf("%q decodes to %+v, which is %q", text, p, again)
			}
			if _, err := Decode(tenant+"x", text); err == nil {
				t.Fatalf("%q is of two tenants", text)
			}
			raw, _ := encoding.DecodeString(text)
			bit := int(flip) % (8 * len(raw))
			raw[bit/8] ^= 1 << (bit % 8)
			if _, err := Decode(tenant, encoding.EncodeToString(raw)); err == nil {
				t.Fatalf("%q is accepted with bit %d changed", text, bit)
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	b.ReportAllocs()
	p := at(events.KindUser, "aaron.fischer", "WEB_user_Shared_Edit_ADMIN_II")
	var buf []byte
	for b.Loop() {
		buf = Append(buf[:0], "acme", p)
	}
}

func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	text := Encode("acme", at(events.KindUser, "aaron.fischer", "WEB_user_Shared_Edit_ADMIN_II"))
	for b.Loop() {
		if _, err := Decode("acme", text); err != nil {
			b.Fatal(err)
		}
	}
}
