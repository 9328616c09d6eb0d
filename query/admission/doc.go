// Package admission decides which requests may run now: so many at once of each
// sort of work, and so many a second of each caller.
//
// It owns the two rules that keep latency in bounds when more is asked than can be
// done. A Pool lets a fixed number of requests run and a fixed number wait, for a
// short time; the rest are turned away at once, which costs next to nothing. What
// waits for something else than work, a sequence or a slow client, gives its place
// back for that time. Work
// of different sorts has pools of its own, so that a burst of one starves no other.
// Callers hold each caller to a rate and to a number of requests at once, so that
// one of them does not use up the pools of all.
//
// It refuses to know what a request is, and who sends it beyond a name.
//
// Concurrency: Pool and Callers may be used from any goroutine and start none.
package admission
