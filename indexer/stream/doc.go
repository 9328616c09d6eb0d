// Package stream reads the JetStream stream that is the truth of the index, and
// makes sure that it is the stream that the index was built from.
//
// It owns the connection to NATS, the stream's configuration, its identity and
// incarnation, and one consumer: ephemeral, without acknowledgements, by start
// sequence. The position lives in the index and nowhere else.
//
// It refuses to believe a server of a cluster that cannot speak for the stream: one
// that was cut off from the others, or leads no more. It leaves such a server for
// another one.
//
// It refuses to pass over anything in silence. Each time the consumer is made,
// the stream's name, creation time, bounds and the message at the index's
// watermark are compared with what the index remembers; then every message must
// be the one after the last. A sequence that is missing is confirmed with the
// server. A stream that is not the index's ends Read with a Parting, and
// Rejoin finds what both have in common; faults that pass (a lost connection, a
// server that restarts) are retried. It refuses to let a publisher speak for the
// server: no header of a message ends a request.
//
// Concurrency: a Reader runs one Read or Rejoin at a time; Head, Ask and Stored may be
// called from any goroutine.
package stream
