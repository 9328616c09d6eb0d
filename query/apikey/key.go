package apikey

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/assigndex/assigndex/events"
)

// AllTenants is the Tenant of a key that opens every tenant.
const AllTenants = "*"

// MaxNameBytes bounds the name of a key.
const MaxNameBytes = 128

// ErrInvalid is wrapped by the errors of New and Encode when a field of a key
// is not allowed; the text names the field and says what is.
var ErrInvalid = errors.New("invalid API key field")

// Key is one API key, without its secret.
type Key struct {
	ID        string // see IDLen
	Name      string // for people: 1 to MaxNameBytes of printable UTF-8
	Role      Role
	Tenant    string // AllTenants, or a name that events.ValidTenant takes
	Hash      [sha256.Size]byte
	CreatedAt time.Time // UTC, in whole milliseconds
}

// New makes a key and the token that opens it. The token cannot be had again.
// Ids are random and short: whoever stores the key must refuse an id that is
// taken (one chance in 10^12 for each stored key) and call New again.
// The error wraps ErrInvalid.
func New(name string, role Role, tenant string, now time.Time) (Key, string, error) {
	id, secret := idAlphabet.random(IDLen), secretAlphabet.random(SecretLen)
	k := Key{
		ID: id, Name: name, Role: role, Tenant: tenant,
		Hash: hashOf(secret), CreatedAt: now.UTC().Truncate(time.Millisecond),
	}
	if err := k.check(); err != nil {
		return Key{}, "", err
	}
	return k, prefix + id + separator + secret, nil
}

// Opens reports whether the key is for tenant.
func (k Key) Opens(tenant string) bool {
	return events.ValidTenant(tenant) && (k.Tenant == AllTenants || k.Tenant == tenant)
}

func (k Key) check() error {
	switch {
	case !idAlphabet.spells(k.ID, IDLen):
		return fmt.Errorf("%w: id: must be %d lower-case base32 characters", ErrInvalid, IDLen)
	case !validName(k.Name):
		return fmt.Errorf("%w: name: must be 1 to %d bytes of printable UTF-8", ErrInvalid, MaxNameBytes)
	case !k.Role.Valid():
		return fmt.Errorf("%w: role: must be reader, writer or admin", ErrInvalid)
	case k.Tenant != AllTenants && !events.ValidTenant(k.Tenant):
		return fmt.Errorf("%w: tenant: must be '*' for all, or 1 to %d letters, digits, '_' and '-'", ErrInvalid, events.MaxTenantBytes)
	case k.CreatedAt.IsZero() || k.CreatedAt.Year() < 1 || k.CreatedAt.Year() > 9999:
		return fmt.Errorf("%w: created_at: must be a time of the years 1 to 9999", ErrInvalid)
	}
	return nil
}

// validName keeps control and formatting characters out of terminals and logs.
func validName(s string) bool {
	if s == "" || len(s) > MaxNameBytes || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
