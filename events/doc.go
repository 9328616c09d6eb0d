// Package events defines what upstream identity systems publish and turns a
// message of the stream into an Event, or into a Rejection that says which
// field is wrong and what to do about it.
//
// It owns the vocabulary that the whole program shares: event types, assignee
// kinds, the records of assignments, users, groups, entitlements and
// applications, the limits on them, and why a message is refused (REJECTIONS.md
// has every reason with its remedy).
//
// It refuses to know how messages travel or how records are kept: it imports
// nothing of ours, neither NATS nor Badger, and holds no state.
//
// Concurrency: every function is pure (no clock, no I/O, no goroutine) and may
// be called from any goroutine. An Event may share memory with the message that
// it was decoded from; the message must not be changed afterwards.
package events
