package bearer

import (
	"errors"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
)

// outcome is what a check of a token came to. It is a label of a metric, so
// there are few and none has a part of a token in it.
type outcome string

const (
	accepted      outcome = "accepted"
	undecided     outcome = "undecided" // no keys yet, or another key is needed and the issuer is away
	malformed     outcome = "malformed"
	badAlgorithm  outcome = "algorithm" // not of the list, or not the key's
	unknownKey    outcome = "unknown_key"
	badSignature  outcome = "signature"
	expired       outcome = "expired"
	notYetValid   outcome = "not_yet_valid"
	wrongIssuer   outcome = "issuer"
	wrongAudience outcome = "audience"
	badTenant     outcome = "tenant" // none, not a tenant's name, or all without being an admin
)

var outcomes = []outcome{
	accepted, undecided, malformed, badAlgorithm, unknownKey, badSignature, expired, notYetValid, wrongIssuer, wrongAudience,
	badTenant,
}

// errKeyMismatch is returned by keySet.find for a key that the token's algorithm
// is not for.
var errKeyMismatch = errors.New("the key is not for this algorithm")

// outcomeOf sorts the errors of the parser and the validator. Several can be
// joined in one: the first that is listed here counts.
func outcomeOf(err error) outcome {
	if err == nil {
		return accepted
	}
	for _, known := range []struct {
		err error
		is  outcome
	}{
		{errKeyMismatch, badAlgorithm},
		{jwkset.ErrKeyNotFound, unknownKey},
		{keyfunc.ErrKeyfunc, badAlgorithm}, // but for an unknown key, it fails on the algorithm only
		{jwt.ErrTokenSignatureInvalid, badSignature},
		{jwt.ErrTokenInvalidIssuer, wrongIssuer},
		{jwt.ErrTokenInvalidAudience, wrongAudience},
		{jwt.ErrTokenExpired, expired},
		{jwt.ErrTokenNotValidYet, notYetValid},
		{jwt.ErrTokenUsedBeforeIssued, notYetValid},
	} {
		if errors.Is(err, known.err) {
			return known.is
		}
	}
	return malformed
}
