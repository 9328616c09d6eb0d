// Package publisher puts events into the stream for the owners of upstream
// systems: in order, each one once, and quickly although the server writes
// every acknowledged event to disk.
//
// # What it owns
//
// Messages travel in atomic batches of up to 1,000 (JetStream atomic batch
// publish): all of a batch or nothing of it is stored, and one write to disk
// serves all of it. A stream that does not allow this gets one message at a time.
//
// Order is never changed. One batch is under way at a time: were a lost batch
// sent again after its successor, an old upsert could bring back a revoked
// assignment.
//
// Every message has an id (see Message), by which the stream recognises a
// repetition for as long as its duplicate window (two minutes unless configured).
// So a batch whose acknowledgement was lost is sent again and is neither doubled
// nor revived. Repeating stops at half the window: what is then still
// unacknowledged is reported as ErrUnknownOutcome and never sent again, since a
// stream that has forgotten the ids would store it a second time.
// An id that the stream already knows costs only its own message, not the batch.
//
// # What it refuses
//
// Connections that keep messages while disconnected: they would be delivered
// later, possibly after the window. Connect with ConnectOptions. (Bytes that the
// operating system holds for a network that heals after more than half a window,
// on the same TCP connection, are beyond the package's reach. ConnectOptions makes
// such a connection end sooner.)
//
// Servers of a cluster that were cut off from the others: when the connected one does
// not reach the stream's leader, the connection is made to another one it knows of.
//
// It publishes only what events.Decode accepts, never creates or changes a stream,
// logs nothing, and never sends events in an order other than the caller's.
//
// # Concurrency
//
// The package starts no goroutine. A Publisher may be used by many goroutines;
// they take turns, one batch or one Publish call at a time. A Writer belongs to
// one goroutine. A Message is a value and is not changed after it was made.
package publisher
