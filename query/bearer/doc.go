// Package bearer authenticates requests by a JSON Web Token in the header
// Authorization, checked against the public keys that its issuer publishes (a
// JWKS).
//
// It owns the rules for a token and the copy of the issuer's keys. A token is
// accepted when it is signed with one of these keys by an algorithm of the list
// in header.go, comes from the issuer, is meant for the audience, is inside its
// time, and names a tenant. Everything else is refused, with one error for all
// reasons; which one it was is told to the metrics and the debug log, never with
// a part of the token.
//
// The issuer is asked when Run starts, every five minutes from then on, and when
// a token that is otherwise good names a key that is not in the set. However many
// such tokens come, the issuer is asked at most once in ten seconds for them, by
// one request at a time; a request whose key is known never waits. When the
// issuer cannot be reached, its last set goes on serving however old it is, and
// tokens that name another key can be neither accepted nor refused:
// httpapi.ErrCannotJudge. A set that arrives replaces the old one whole, so a key
// that the issuer has removed opens nothing from then on.
//
// It refuses symmetric and unsigned tokens, keys that published their private
// part, RSA keys below 2,048 bits, and an issuer over plain HTTP anywhere but on
// this machine. It fetches nothing that a token or a key names (jku, x5u).
//
// The libraries underneath parse keys and tokens only. Their own HTTP client is
// not used: it starts a goroutine in its constructor, reads an answer of any
// length, lets requests queue for its rate limit, and gives up a whole set for
// one key that it cannot read.
//
// Concurrency: New starts nothing. Run blocks and makes every request to the
// issuer itself; it keeps no connection open between two of them. The other
// methods of Tokens may be used from any goroutine.
package bearer
