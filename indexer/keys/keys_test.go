package keys

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/assigndex/assigndex/events"
)

// hostile are texts that break careless encodings. They are in bytewise order.
var hostile = []string{
	"", "\x00", "\x00\x00", "\x00\x01", "\x00\xff", "\x01", "\x01\x00", "\x02", "\x03", "\x04", " ", "\"", "/", "ALL", "USER", "\\",
	"a", "a\x00", "a\x00\x00", "a\x00\x01", "a\x00b", "a\x00\xff", "a\x01", "a ", "a/b", "aa", "ab", "a\xff", "a\xff\xff", "b", "\x7f", "é", "日", "日本", "😀", "\xff", "\xff\xff",
}

// The examples of the key table in the package documentation.
func TestKeyTable(t *testing.T) {
	const term = "\x00\x01"
	row := Row{"t", events.Assignee{Kind: events.KindUser, ID: "u"}, "e", "p"}
	for _, c := range []struct {
		name string
		key  []byte
		want string
	}{
		{"by assignee", row.Make(ByAssignee), "at" + term + "\x01u" + term + "e" + term},
		{"by entitlement", row.Make(ByEntitlement), "et" + term + "e" + term + "\x01u" + term},
		{"by application", row.Make(ByApp), "pt" + term + "p" + term + "\x01u" + term + "e" + term},
		{"by application and entitlement", row.Make(ByAppAndEnt), "qt" + term + "p" + term + "e" + term + "\x01u" + term},
		{"user", Entity("t", ClassUser, "u"), "nt" + term + "\x01u" + term},
		{"group", Entity("t", ClassGroup, "g"), "nt" + term + "\x02g" + term},
		{"entitlement", Entity("t", ClassEntitlement, "e"), "nt" + term + "\x03e" + term},
		{"application", Entity("t", ClassApplication, "p"), "nt" + term + "\x04p" + term},
		{"assignment guard", AssignmentGuard("t", row.Assignee, "e"), "gt" + term + "\x00\x01u" + term + "e" + term},
		{"entity guard", EntityGuard("t", ClassEntitlement, "e"), "gt" + term + "\x03e" + term},
		{"quarantine", Quarantine(7), "z\x00\x00\x00\x00\x00\x00\x00\x07"},
		{"meta", Meta("watermark"), "mwatermark"},
		{"an escaped zero", Append(nil, "a\x00b"), "a\x00\xffb" + term},
		{"everyone", AppendAssignee(nil, events.Assignee{Kind: events.KindAll}), "\x04" + term},
	} {
		if string(c.key) != c.want {
			t.Errorf("%s: %q, want %q", c.name, c.key, c.want)
		}
	}
}

func TestAppendKeepsWhatIsThere(t *testing.T) {
	buffer := make([]byte, 3, 100)
	copy(buffer, "abc")
	if got := string(Append(buffer, "x")); got != "abcx\x00\x01" {
		t.Errorf("%q", got)
	}
}

func TestCut(t *testing.T) {
	for _, a := range hostile {
		for _, b := range hostile {
			key := Append(Append(nil, a), b)
			first, rest, err := Cut(key)
			if err != nil || first != a {
				t.Fatalf("Cut(%q) = %q, %v, want %q", key, first, err, a)
			}
			second, rest, err := Cut(rest)
			if err != nil || second != b || len(rest) != 0 {
				t.Fatalf("after %q: %q, %q, %v, want %q", a, second, rest, err, b)
			}
			for cut := range Append(nil, a) {
				if _, _, err := Cut(key[:cut]); !errors.Is(err, ErrMalformed) {
					t.Fatalf("Cut(%q) = %v, want ErrMalformed", key[:cut], err)
				}
			}
		}
	}
	for _, malformed := range []string{"", "a", "\x00", "a\x00", "\x00\x02", "a\x00\x00", "\x00\xff", "\x00\xffa", "\x00\xff\x00", "a\x00\xff\x00\x02"} {
		if text, _, err := Cut([]byte(malformed)); !errors.Is(err, ErrMalformed) {
			t.Errorf("Cut(%q) = %q, %v, want ErrMalformed", malformed, text, err)
		}
	}
}

// sample gives rows over the hostile texts: every pair of ids, with the rest varied.
func sample() []Row {
	var all []Row
	for i, a := range hostile {
		for j, b := range hostile {
			k := events.Kinds[(i+j)%len(events.Kinds)]
			all = append(all, Row{hostile[(i*7+j)%len(hostile)], events.Assignee{Kind: k, ID: a}, b, hostile[(i+3*j)%len(hostile)]},
				Row{"t", events.Assignee{Kind: k, ID: a}, b, "p"}, Row{"t", events.Assignee{Kind: events.KindUser, ID: a}, b, hostile[j]})
		}
	}
	return all
}

// list gives the components of a row's key in a family, as the key table names them.
func (r Row) list(family Tag) []string {
	kind := string([]byte{byte(r.Assignee.Kind)})
	switch family {
	case ByAssignee:
		return []string{r.Tenant, kind, r.Assignee.ID, r.EntID}
	case ByEntitlement:
		return []string{r.Tenant, r.EntID, kind, r.Assignee.ID}
	case ByApp:
		return []string{r.Tenant, r.AppID, kind, r.Assignee.ID, r.EntID}
	case ByAppAndEnt:
		return []string{r.Tenant, r.AppID, r.EntID, kind, r.Assignee.ID}
	}
	panic(fmt.Sprintf("family %q", family))
}

func TestOrderLawOfRows(t *testing.T) {
	rows := sample()
	for _, family := range RowFamilies {
		byKey, byList := slices.Clone(rows), slices.Clone(rows)
		slices.SortStableFunc(byKey, func(a, b Row) int { return bytes.Compare(a.Make(family), b.Make(family)) })
		slices.SortStableFunc(byList, func(a, b Row) int { return slices.Compare(a.list(family), b.list(family)) })
		for i := range byKey {
			if !slices.Equal(byKey[i].list(family), byList[i].list(family)) {
				t.Fatalf("family %q: place %d is %q by key and %q by components", family, i, byKey[i].list(family), byList[i].list(family))
			}
		}
		for i := 1; i < len(byKey); i++ { // sorted: only a neighbour can be a prefix
			a, b := byKey[i-1].Make(family), byKey[i].Make(family)
			if !bytes.Equal(a, b) && bytes.HasPrefix(b, a) {
				t.Fatalf("family %q: key %q begins %q", family, a, b)
			}
			if bytes.Equal(a, b) != slices.Equal(byKey[i-1].list(family), byKey[i].list(family)) {
				t.Fatalf("family %q: %q and %q share a key", family, byKey[i-1].list(family), byKey[i].list(family))
			}
		}
	}
}

func TestRowsRoundTrip(t *testing.T) {
	for _, r := range sample() {
		for _, family := range RowFamilies {
			key := r.Make(family)
			gotFamily, got, err := ParseRow(key)
			want := r
			if family == ByAssignee || family == ByEntitlement {
				want.AppID = ""
			}
			if err != nil || gotFamily != family || got != want {
				t.Fatalf("ParseRow(%q) = %q %+v, %v, want %q %+v", key, gotFamily, got, err, family, want)
			}
			for cut := range key {
				if _, _, err := ParseRow(key[:cut]); !errors.Is(err, ErrMalformed) {
					t.Fatalf("ParseRow(%q) = %v, want ErrMalformed", key[:cut], err)
				}
			}
			if _, _, err := ParseRow(append(bytes.Clone(key), 0)); !errors.Is(err, ErrMalformed) {
				t.Fatalf("ParseRow of %q and a byte more: %v", key, err)
			}
		}
	}
	for _, kind := range []byte{0, 5, 0xff} {
		key := Append(append(Prefix(nil, ByAssignee, "t"), kind), "u")
		if _, _, err := ParseRow(Append(key, "e")); !errors.Is(err, ErrMalformed) {
			t.Errorf("kind %d: %v", kind, err)
		}
	}
	for tag := range 256 {
		if slices.Contains(RowFamilies, Tag(tag)) {
			continue
		}
		key := Row{"t", events.Assignee{Kind: events.KindUser, ID: "u"}, "e", ""}.Make(ByAssignee)
		key[0] = byte(tag)
		if _, _, err := ParseRow(key); !errors.Is(err, ErrMalformed) {
			t.Errorf("a row in family %q: %v", Tag(tag), err)
		}
	}
}

func TestEntitiesRoundTrip(t *testing.T) {
	seen := map[string]string{}
	for _, class := range []Class{ClassUser, ClassGroup, ClassEntitlement, ClassApplication} {
		for _, tenant := range hostile {
			for _, id := range hostile {
				key := Entity(tenant, class, id)
				gotTenant, gotClass, gotID, err := ParseEntity(key)
				if err != nil || gotTenant != tenant || gotClass != class || gotID != id {
					t.Fatalf("ParseEntity(%q) = %q %d %q, %v", key, gotTenant, gotClass, gotID, err)
				}
				for cut := range key {
					if _, _, _, err := ParseEntity(key[:cut]); !errors.Is(err, ErrMalformed) {
						t.Fatalf("ParseEntity(%q) = %v", key[:cut], err)
					}
				}
				if _, _, _, err := ParseEntity(append(key, 1)); !errors.Is(err, ErrMalformed) {
					t.Fatalf("ParseEntity of %q and a byte more: %v", key, err)
				}
				what := fmt.Sprintf("%q %d %q", tenant, class, id)
				for _, k := range [][]byte{Entity(tenant, class, id), EntityGuard(tenant, class, id)} {
					if other, taken := seen[string(k)]; taken {
						t.Fatalf("%s and %s share %q", what, other, k)
					}
					seen[string(k)] = what
				}
			}
		}
	}
	for _, class := range []Class{ClassAssignment, 5, 0xff} {
		if _, _, _, err := ParseEntity(Entity("t", class, "x")); !errors.Is(err, ErrMalformed) {
			t.Errorf("an entity of class %d: %v", class, err)
		}
	}
	// An assignment's guard is no entity's, whatever the ids.
	for _, a := range hostile {
		for _, b := range hostile {
			for _, k := range events.Kinds {
				key := AssignmentGuard("t", events.Assignee{Kind: k, ID: a}, b)
				if other, taken := seen[string(key)]; taken {
					t.Fatalf("the guard of (%v %q, %q) is %s", k, a, b, other)
				}
				seen[string(key)] = fmt.Sprintf("guard of %v %q %q", k, a, b)
			}
		}
	}
}

func TestQuarantineRoundTrip(t *testing.T) {
	numbers := []uint64{0, 1, 255, 256, 1 << 32, 1<<64 - 1}
	for i, n := range numbers {
		key := Quarantine(n)
		if got, err := ParseQuarantine(key); err != nil || got != n {
			t.Errorf("ParseQuarantine(%x) = %d, %v", key, got, err)
		}
		if i > 0 && bytes.Compare(Quarantine(numbers[i-1]), key) >= 0 {
			t.Errorf("%d does not sort before %d", numbers[i-1], n)
		}
	}
	for _, k := range [][]byte{nil, {'z'}, Quarantine(1)[:8], append(Quarantine(1), 0), append([]byte{'m'}, Quarantine(1)[1:]...)} {
		if _, err := ParseQuarantine(k); !errors.Is(err, ErrMalformed) {
			t.Errorf("ParseQuarantine(%x) = %v", k, err)
		}
	}
}

func TestEnd(t *testing.T) {
	for prefix, want := range map[string]string{"a": "b", "a\x00": "a\x01", "a\xff": "b", "a\xff\xff": "b", "a\xfeb\xff": "a\xfec", "\x00": "\x01"} {
		p := []byte(prefix)
		if got := End(p); string(got) != want {
			t.Errorf("End(%q) = %q, want %q", prefix, got, want)
		}
		if string(p) != prefix {
			t.Errorf("End changed its argument %q", prefix)
		}
	}
	for _, prefix := range []string{"", "\xff", "\xff\xff"} {
		if got := End([]byte(prefix)); got != nil {
			t.Errorf("End(%q) = %q, want nil", prefix, got)
		}
	}
	for _, p := range hostile { // between a prefix and its end is what has it, and nothing else
		end := End([]byte(p))
		for _, key := range hostile {
			within := key >= p && (end == nil || key < string(end))
			if within != strings.HasPrefix(key, p) {
				t.Errorf("%q is within %q…%q: %v", key, p, end, within)
			}
		}
	}
}

// FuzzOrderLaw: comparing keys compares their components in turn, and no key of
// a family begins another.
func FuzzOrderLaw(f *testing.F) {
	for i, a := range hostile {
		b := hostile[(i+1)%len(hostile)]
		f.Add("t", a, "e", "p", uint8(i), "t", b, "e", "p", uint8(i))
		f.Add(a, b, a, b, uint8(1), a+"\x00", b, a, b, uint8(1))
	}
	f.Fuzz(func(t *testing.T, tenantA, idA, entA, appA string, kindA uint8, tenantB, idB, entB, appB string, kindB uint8) {
		a := Row{tenantA, events.Assignee{Kind: events.Kinds[kindA%4], ID: idA}, entA, appA}
		b := Row{tenantB, events.Assignee{Kind: events.Kinds[kindB%4], ID: idB}, entB, appB}
		check := func(family Tag, keyA, keyB []byte, listA, listB []string) {
			if got, want := bytes.Compare(keyA, keyB), slices.Compare(listA, listB); got != want {
				t.Fatalf("family %q: keys %x and %x compare %d, components %q and %q %d", family, keyA, keyB, got, listA, listB, want)
			}
			if !bytes.Equal(keyA, keyB) && (bytes.HasPrefix(keyA, keyB) || bytes.HasPrefix(keyB, keyA)) {
				t.Fatalf("family %q: one of %x and %x begins the other", family, keyA, keyB)
			}
		}
		for _, family := range RowFamilies {
			check(family, a.Make(family), b.Make(family), a.list(family), b.list(family))
		}
		class := func(k uint8) Class { return ClassUser + Class(k%4) }
		text := func(c ...byte) string { return string(c) }
		entity := func(r Row, k uint8) []string { return []string{r.Tenant, text(byte(class(k))), r.Assignee.ID} }
		check(EntityTag, Entity(tenantA, class(kindA), idA), Entity(tenantB, class(kindB), idB), entity(a, kindA), entity(b, kindB))
		check(GuardTag, EntityGuard(tenantA, class(kindA), idA), EntityGuard(tenantB, class(kindB), idB), entity(a, kindA), entity(b, kindB))
		guard := func(r Row) []string {
			return []string{r.Tenant, text(byte(ClassAssignment)), text(byte(r.Assignee.Kind)), r.Assignee.ID, r.EntID}
		}
		check(GuardTag, AssignmentGuard(tenantA, a.Assignee, entA), AssignmentGuard(tenantB, b.Assignee, entB), guard(a), guard(b))
		check(GuardTag, AssignmentGuard(tenantA, a.Assignee, entA), EntityGuard(tenantB, class(kindB), idB), guard(a), entity(b, kindB))
		n, m := uint64(len(idA))<<(kindA%64), uint64(len(idB))<<(kindB%64)
		check(QuarantineTag, Quarantine(n), Quarantine(m), []string{number(n)}, []string{number(m)})
		if got, want := bytes.Compare(Quarantine(n), Quarantine(m)), cmp.Compare(n, m); got != want {
			t.Fatalf("quarantine of %d and %d compare %d", n, m, got)
		}
	})
}

func number(n uint64) string { return string(binary.BigEndian.AppendUint64(nil, n)) }

// FuzzParseRow: no bytes make the parsers panic, and what one of them accepts is
// exactly what the maker of such keys makes.
func FuzzParseRow(f *testing.F) {
	for _, r := range sample()[:40] {
		for _, family := range RowFamilies {
			f.Add(r.Make(family))
		}
		f.Add(Entity(r.Tenant, ClassEntitlement, r.EntID))
		f.Add(AssignmentGuard(r.Tenant, r.Assignee, r.EntID))
	}
	f.Add(Quarantine(1 << 40))
	f.Add([]byte("at\x00\x01\x01u\x00\xff\x00"))
	f.Fuzz(func(t *testing.T, key []byte) {
		before := bytes.Clone(key)
		if family, r, err := ParseRow(key); err == nil {
			if again := r.Make(family); !bytes.Equal(again, key) {
				t.Fatalf("%s was read as %q %+v, whose key is %s", hex.EncodeToString(key), family, r, hex.EncodeToString(again))
			}
		} else if !errors.Is(err, ErrMalformed) {
			t.Fatalf("ParseRow(%x): %v", key, err)
		}
		if tenant, class, id, err := ParseEntity(key); err == nil {
			if again := Entity(tenant, class, id); !bytes.Equal(again, key) {
				t.Fatalf("%x was read as %q %d %q, whose key is %x", key, tenant, class, id, again)
			}
		} else if !errors.Is(err, ErrMalformed) {
			t.Fatalf("ParseEntity(%x): %v", key, err)
		}
		if n, err := ParseQuarantine(key); err == nil && !bytes.Equal(Quarantine(n), key) {
			t.Fatalf("%x was read as %d", key, n)
		}
		if text, rest, err := Cut(key); err == nil && !bytes.Equal(append(Append(nil, text), rest...), key) {
			t.Fatalf("%x was cut into %q and %x", key, text, rest)
		}
		if a, rest, err := CutAssignee(key); err == nil && !bytes.Equal(append(AppendAssignee(nil, a), rest...), key) {
			t.Fatalf("%x was cut into %+v and %x", key, a, rest)
		}
		if !bytes.Equal(key, before) {
			t.Fatalf("%x was changed to %x", before, key)
		}
	})
}
