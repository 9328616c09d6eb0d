// Package apikey defines the API keys that open the query API: what a key is,
// the token its holder sends, the record that is stored of it, and the set of
// known keys that a running server checks requests against.
//
// A token is seen once, by who creates it. Only the SHA-256 of its secret is
// kept. The secret is drawn at random with 256 bits, so no dictionary can be run
// against a stolen hash and a deliberately slow hash would only make every
// request slow.
//
// It refuses to know where records are stored and how requests arrive: it
// imports neither NATS nor HTTP, reads no clock and does no I/O.
//
// Concurrency: Set may be used from any goroutine; Verify takes no lock.
// Everything else is a function of its arguments, except that New draws random
// bytes.
package apikey
