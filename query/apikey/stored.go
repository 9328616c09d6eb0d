package apikey

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
)

// recordVersion is the layout of the stored record.
//
//	1: id, name, role, tenant, hash (hex), created_at (RFC 3339); no other member
const recordVersion = 1

// ErrCorrupt is wrapped by the errors of Decode: the bytes are not a record of
// a version that this program knows, or a field of it is not allowed.
var ErrCorrupt = errors.New("not a usable API key record")

type record struct {
	V         int       `json:"v"`
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Role      string    `json:"role"`
	Tenant    string    `json:"tenant"`
	Hash      string    `json:"hash"`
	CreatedAt time.Time `json:"created_at"`
}

// Encode gives the stored record of k, as JSON. The error wraps ErrInvalid.
func Encode(k Key) ([]byte, error) {
	if err := k.check(); err != nil {
		return nil, err
	}
	return json.Marshal(record{
		V: recordVersion, ID: k.ID, Name: k.Name, Role: k.Role.String(), Tenant: k.Tenant,
		Hash: hex.EncodeToString(k.Hash[:]), CreatedAt: k.CreatedAt.UTC(),
	})
}

// Decode reads what Encode wrote, strictly: every member, no other one, each
// once. The error wraps ErrCorrupt; it never contains the hash.
func Decode(data []byte) (Key, error) {
	var version struct {
		V int `json:"v"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return Key{}, fmt.Errorf("%w: not a JSON object with a version", ErrCorrupt)
	}
	// The version comes before strictness: a newer layout is to be named as such
	// and not by its first new member.
	if version.V != recordVersion {
		return Key{}, fmt.Errorf("%w: layout %d, this program knows layout %d", ErrCorrupt, version.V, recordVersion)
	}
	var r record
	if err := json.Unmarshal(data, &r, json.RejectUnknownMembers(true)); err != nil {
		return Key{}, fmt.Errorf("%w: a member is unknown or of a wrong type", ErrCorrupt)
	}
	k := Key{ID: r.ID, Name: r.Name, Tenant: r.Tenant, CreatedAt: r.CreatedAt.UTC()}
	if n, err := hex.Decode(k.Hash[:], hexOf(r.Hash)); err != nil || n != len(k.Hash) {
		return Key{}, fmt.Errorf("%w: hash: must be %d hexadecimal digits", ErrCorrupt, 2*len(k.Hash))
	}
	var err error
	if k.Role, err = ParseRole(r.Role); err != nil {
		return Key{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err := k.check(); err != nil {
		return Key{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return k, nil
}

// hexOf gives s when it has the length of a hash, and otherwise nothing: a
// longer text would overrun the array that it is decoded into.
func hexOf(s string) []byte {
	if len(s) != hex.EncodedLen(len(Key{}.Hash)) {
		return nil
	}
	return []byte(s)
}

// Codec stores a key under its id.
type Codec struct{}

// Encode gives the name and the bytes under which k is stored.
func (Codec) Encode(k Key) (id string, value []byte, err error) {
	value, err = Encode(k)
	return k.ID, value, err
}

// Decode reads the record that is stored under id. A record of another id is
// corrupt: revoking what is listed must revoke what opens.
func (Codec) Decode(id string, value []byte) (Key, error) {
	k, err := Decode(value)
	if err != nil {
		return Key{}, err
	}
	if k.ID != id {
		return Key{}, fmt.Errorf("%w: it is the record of another id", ErrCorrupt)
	}
	return k, nil
}
