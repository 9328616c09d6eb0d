package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"strings"
)

// A token is "adx_", the id, "_" and the secret; secret scanners find it with
//
//	adx_[a-z2-7]{8}_[0-9A-Za-z]{43}
//
// No part contains "_" or "-", so a double click selects all of it.
const (
	prefix    = "adx_"
	separator = "_"

	// IDLen is the length of an id: 40 random bits in lower-case base32.
	IDLen = 8
	// SecretLen is the length of a secret: 43 random characters of 62 hold 256 bits.
	SecretLen = 43
	// TokenLen is the length of every token, in bytes.
	TokenLen = len(prefix) + IDLen + len(separator) + SecretLen
)

var (
	idAlphabet     = newAlphabet("abcdefghijklmnopqrstuvwxyz234567")
	secretAlphabet = newAlphabet("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
)

// ErrMalformed is returned by Parse and Set.Verify for a text that cannot be a
// token of any key. It does not repeat the text: it may be a mistyped secret.
var ErrMalformed = errors.New("malformed API key")

// Parse splits a token. The id and secret share the token's memory.
// The error is ErrMalformed.
func Parse(token string) (id, secret string, err error) {
	if len(token) != TokenLen || !strings.HasPrefix(token, prefix) {
		return "", "", ErrMalformed
	}
	id, secret, found := strings.Cut(token[len(prefix):], separator)
	if !found || !idAlphabet.spells(id, IDLen) || !secretAlphabet.spells(secret, SecretLen) {
		return "", "", ErrMalformed
	}
	return id, secret, nil
}

// hashOf hashes the SecretLen characters of a secret, so that one secret has one spelling.
// The copy has a fixed size and stays on the stack: every request pays for it.
func hashOf(secret string) [sha256.Size]byte {
	var buf [SecretLen]byte
	return sha256.Sum256(buf[:copy(buf[:], secret)])
}

// alphabet is a set of ASCII characters.
type alphabet struct {
	chars string
	has   [256]bool // by character: every request is checked against it
}

func newAlphabet(chars string) *alphabet {
	a := &alphabet{chars: chars}
	for i := range len(chars) {
		a.has[chars[i]] = true
	}
	return a
}

// spells reports whether s has n bytes, all of the alphabet.
func (a *alphabet) spells(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for i := range len(s) {
		if !a.has[s[i]] {
			return false
		}
	}
	return true
}

// random draws n characters, each equally likely.
func (a *alphabet) random(n int) string {
	// A byte at or above the largest multiple of the alphabet's length is drawn
	// again: its remainder would favour the first characters.
	limit := 256 - 256%len(a.chars)
	out := make([]byte, 0, n)
	var buf [64]byte
	for len(out) < n {
		rand.Read(buf[:]) // never fails: the runtime ends the process instead
		for _, b := range buf {
			if int(b) < limit && len(out) < n {
				out = append(out, a.chars[int(b)%len(a.chars)])
			}
		}
	}
	return string(out)
}
