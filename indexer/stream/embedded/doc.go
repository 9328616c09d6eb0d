// Package embedded runs a NATS server with JetStream inside this process, for
// installations that have no NATS of their own.
//
// It owns the server's configuration: every acknowledged message is on disk
// (sync always), no monitoring or profiling port, no signal handling, its log
// lines in ours. It owns a lock on the store directory, so that two of our
// processes never write to one.
//
// It refuses to listen on anything but loopback, since the server asks nobody
// for a password: every local user can publish and make API keys. Whoever needs
// more runs a NATS server and names it with --nats-url.
//
// A full disk: after a failed write the server refuses every later one, or turns
// JetStream off, and stays so when space was freed. Close and Start make it
// whole again; clients reconnect by themselves. Check tells, and Heal does it. Keeping
// space free is the business of the limits of the streams (stream.Hold), not of this
// package.
//
// Concurrency: every method of Server may be called from any goroutine. Start
// and Close exclude each other.
package embedded
