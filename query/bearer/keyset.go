package bearer

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"
)

// minRSABits is the least that RFC 7518 allows.
const minRSABits = 2048

// keySet is the keys of one answer of the issuer. Only its passes change.
type keySet struct {
	source []byte   // the answer, to tell whether the next one is the same
	count  int      // of keys that can be used
	unused []string // why other keys cannot be, one text for each
	lookup jwt.Keyfunc
	passes passes
}

var (
	// errNoSet is wrapped by parseKeySet's errors: the answer is not a set of keys
	// at all.
	errNoSet = errors.New("the answer is not a JSON Web Key Set")
	// errUnusable is wrapped by the reasons why a key of a set is left out.
	errUnusable = errors.New("cannot be used")
)

// parseKeySet reads a JSON Web Key Set. A key that cannot be used is left out
// and takes no other one with it: issuers publish keys for encryption beside
// those for signatures. A set without a usable key is a set all the same, and
// opens nothing.
func parseKeySet(source []byte) (*keySet, error) {
	var document struct {
		Keys *[]jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(source, &document); err != nil || document.Keys == nil {
		return nil, errNoSet // the error could repeat the answer, which may be anything
	}
	s := &keySet{source: source}
	storage := jwkset.NewMemoryStorage()
	var ids []string
	for i, raw := range *document.Keys {
		key, err := parseKey(raw)
		id := key.Marshal().KID
		if err == nil && slices.Contains(ids, id) {
			err = fmt.Errorf("%w: another key has its id", errUnusable)
		}
		if err != nil {
			s.unused = append(s.unused, fmt.Sprintf("key %d of the set %v", i+1, err))
			continue
		}
		ids = append(ids, id)
		if err := storage.KeyWrite(context.Background(), key); err != nil {
			return nil, err
		}
	}
	s.count = len(ids)
	k, err := keyfunc.New(keyfunc.Options{Storage: storage})
	if err != nil {
		return nil, err
	}
	s.lookup = k.Keyfunc
	return s, nil
}

// parseKey reads a key that can check signatures of tokens. The error wraps
// errUnusable.
func parseKey(raw jsontext.Value) (jwkset.JWK, error) {
	var m jwkset.JWKMarshal
	if err := json.Unmarshal(raw, &m); err != nil {
		return jwkset.JWK{}, fmt.Errorf("%w: not a public key that is understood", errUnusable)
	}
	// Without the option Private, private parts and symmetric keys are not read.
	key, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return jwkset.JWK{}, fmt.Errorf("%w: not a public key that is understood", errUnusable)
	}
	rsaKey, isRSA := key.Key().(*rsa.PublicKey)
	fitting := fittingAlgorithms(key.Key())
	switch {
	case m.KID == "":
		err = fmt.Errorf("%w: it has no id", errUnusable)
	case m.D != "":
		err = fmt.Errorf("%w: its private part is published, so anybody can sign with it", errUnusable)
	case m.USE != "" && m.USE != jwkset.UseSig,
		len(m.KEYOPS) > 0 && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify),
		len(fitting) == 0,
		m.ALG != "" && !slices.Contains(fitting, m.ALG.String()):
		err = fmt.Errorf("%w: it is not for the signatures of tokens", errUnusable)
	case isRSA && rsaKey.N.BitLen() < minRSABits:
		err = fmt.Errorf("%w: it has %d bits, %d are the least", errUnusable, rsaKey.N.BitLen(), minRSABits)
	}
	return key, err
}

// fittingAlgorithms lists the algorithms that a key is for. An elliptic curve is
// for one algorithm only.
func fittingAlgorithms(key any) []string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return slices.DeleteFunc(slices.Clone(algorithms), func(name string) bool {
			return !strings.HasPrefix(name, "RS") && !strings.HasPrefix(name, "PS")
		})
	case *ecdsa.PublicKey:
		switch k.Curve.Params().BitSize {
		case 256:
			return []string{"ES256"}
		case 384:
			return []string{"ES384"}
		case 521:
			return []string{"ES512"}
		}
	case ed25519.PublicKey:
		return []string{"EdDSA"}
	}
	return nil
}

// find is a jwt.Keyfunc. The error wraps jwkset.ErrKeyNotFound for an unknown
// id, and errKeyMismatch or keyfunc.ErrKeyfunc for a key that is not for the
// token's algorithm. The token has passed checkHeader.
func (s *keySet) find(t *jwt.Token) (any, error) {
	key, err := s.lookup(t)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(fittingAlgorithms(key), t.Method.Alg()) {
		return nil, errKeyMismatch
	}
	return key, nil
}
