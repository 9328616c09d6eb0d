package apikey

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 987654321, time.FixedZone("x", 3600))

// newKey makes a key, or ends the test.
func newKey(tb testing.TB, name string, role Role, tenant string) (Key, string) {
	tb.Helper()
	k, token, err := New(name, role, tenant, now)
	if err != nil {
		tb.Fatal(err)
	}
	return k, token
}

func TestNewTokenHasTheDocumentedForm(t *testing.T) {
	form := regexp.MustCompile(`^adx_[a-z2-7]{8}_[0-9A-Za-z]{43}$`)
	seen := map[string]bool{}
	for range 200 {
		k, token := newKey(t, "ci", Writer, "acme")
		if !form.MatchString(token) {
			t.Fatalf("token %q has another form", token)
		}
		id, secret, err := Parse(token)
		if err != nil || id != k.ID {
			t.Fatalf("Parse: id %q, %v; want id %q", id, err, k.ID)
		}
		if k.Hash != hashOf(secret) {
			t.Fatal("the key's hash is not that of its token's secret")
		}
		if seen[k.ID] || seen[secret] {
			t.Fatal("an id or a secret came twice")
		}
		seen[k.ID], seen[secret] = true, true
	}
}

func TestRandomUsesTheWholeAlphabetEvenly(t *testing.T) {
	const n = 62 * 2000
	count := map[rune]int{}
	for _, c := range secretAlphabet.random(n) {
		count[c]++
	}
	for _, c := range secretAlphabet.chars {
		// 2,000 expected, standard deviation 44: 8 of them never happen by chance;
		// taking remainders of whole bytes would give the first 8 characters 2,400.
		if got := count[c]; got < 1640 || got > 2360 {
			t.Errorf("%q was drawn %d times of %d", c, got, n)
		}
	}
}

func TestNewChecksItsFields(t *testing.T) {
	for name, c := range map[string]struct {
		name   string
		role   Role
		tenant string
		field  string
	}{
		"no name":         {"", Reader, "acme", "name"},
		"long name":       {strings.Repeat("n", MaxNameBytes+1), Reader, "acme", "name"},
		"control in name": {"a\x1b[2Jb", Reader, "acme", "name"},
		"direction":       {"a\u202eb", Reader, "acme", "name"},
		"bad utf-8":       {"a\xff", Reader, "acme", "name"},
		"no role":         {"n", 0, "acme", "role"},
		"unknown role":    {"n", Admin + 1, "acme", "role"},
		"no tenant":       {"n", Reader, "", "tenant"},
		"bad tenant":      {"n", Reader, "a.b", "tenant"},
		"stars":           {"n", Reader, "**", "tenant"},
	} {
		k, token, err := New(c.name, c.role, c.tenant, now)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), " "+c.field+":") || token != "" || k != (Key{}) {
			t.Errorf("%s: New gave %v, %q, %v; want ErrInvalid that names %s", name, k, token, err, c.field)
		}
	}
	if _, _, err := New("n", Reader, "acme", time.Time{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a zero time gave %v", err)
	}
	if _, _, err := New(strings.Repeat("n", MaxNameBytes), Admin, AllTenants, now); err != nil {
		t.Errorf("the longest name: %v", err)
	}
	if _, _, err := New("Bob’s 日本 key", Reader, "a_b-C9", now); err != nil {
		t.Errorf("a name in UTF-8: %v", err)
	}
}

func TestKeyOpensItsTenantOnly(t *testing.T) {
	one, _ := newKey(t, "one", Reader, "acme")
	all, _ := newKey(t, "all", Reader, AllTenants)
	for _, c := range []struct {
		k      Key
		tenant string
		want   bool
	}{
		{one, "acme", true}, {one, "acm", false}, {one, "Acme", false}, {one, "", false}, {one, "*", false},
		{all, "acme", true}, {all, "other", true}, {all, "", false}, {all, "*", false}, {all, "a.b", false},
	} {
		if got := c.k.Opens(c.tenant); got != c.want {
			t.Errorf("key of %q opens %q: %v", c.k.Tenant, c.tenant, got)
		}
	}
}

func TestRolesAreOrdered(t *testing.T) {
	roles := []Role{Reader, Writer, Admin}
	for i, has := range roles {
		for j, needed := range roles {
			if got := has.Allows(needed); got != (i >= j) {
				t.Errorf("%v allows %v: %v", has, needed, got)
			}
		}
		if has.Allows(0) || Role(0).Allows(has) || (Admin + 1).Allows(has) || has.Allows(Admin+1) {
			t.Errorf("an invalid role and %v", has)
		}
		back, err := ParseRole(has.String())
		if err != nil || back != has {
			t.Errorf("ParseRole(%v) = %v, %v", has, back, err)
		}
	}
	for _, bad := range []string{"", "Reader", "root"} {
		if r, err := ParseRole(bad); err == nil || r != 0 {
			t.Errorf("ParseRole(%q) = %v, %v", bad, r, err)
		}
	}
}

func TestParseRefusesWhatIsNoToken(t *testing.T) {
	_, good := newKey(t, "n", Reader, "acme")
	for _, bad := range []string{
		"", "adx_", good[:len(good)-1], good + "a", " " + good[:len(good)-1], good[:len(good)-1] + "\n",
		"ADX" + good[3:], strings.ToUpper(good),
		good[:4] + "1" + good[5:],        // not of the id's alphabet
		good[:12] + "-" + good[13:],      // another separator
		good[:11] + "_" + good[12:],      // the separator too early
		good[:20] + "_" + good[21:],      // a separator in the secret
		good[:len(good)-2] + "é",         // two bytes outside ASCII
		strings.Repeat("_", len(good)),   // separators only
		good[:4] + "\x00\x00" + good[6:], // NUL
		strings.Replace(good, "_", "__", 1)[:len(good)],
	} {
		if id, secret, err := Parse(bad); err != ErrMalformed || id != "" || secret != "" {
			t.Errorf("Parse(%q) = %q, %q, %v", bad, id, secret, err)
		}
	}
}
