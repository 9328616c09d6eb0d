package embedded

import (
	"math"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events"
)

// DefaultListen is where NATS clients look when they are told nothing.
const DefaultListen = "127.0.0.1:4222"

// MaxPayload bounds one message with its headers, in bytes. It is four times
// the largest event: an event that is over the limit still reaches the stream,
// where it is quarantined with a reason that its publisher can read.
const MaxPayload = 4 * events.MaxEventBytes

// Limits of each client and of all. Clients are local: these bound what a faulty one
// costs, and keep the server's own defaults from changing under us.
const (
	maxConnections   = 1024
	maxControlLine   = 4096             // bytes of a protocol line
	maxPending       = 64 << 20         // bytes that a client has not read yet
	maxSubscriptions = 10_000           // of one connection
	writeDeadline    = 10 * time.Second // for a client to read what was sent
)

// maxStore bounds what all streams together may store, in bytes: the disk is the
// limit. By itself the server would take three quarters of what was free when it
// started. That refuses writes while a quarter is still free, and it refuses a
// stream whose own size limit (which our flags set from the free space) is above
// it. The half of the largest integer leaves room for sums.
const maxStore = math.MaxInt64 / 2

// Options configure a Server.
type Options struct {
	// StoreDir is the directory of the streams, created when absent. Required.
	StoreDir string
	// Listen is host:port on loopback; empty means DefaultListen. Port 0 (or -1)
	// takes a free port at the first Start and keeps it at the later ones.
	Listen string
	// Logger gets the server's log lines. The zero Logger drops them.
	Logger zerolog.Logger
}

func (o Options) server(host string, port int) *server.Options {
	if port == 0 {
		port = server.RANDOM_PORT // 0 would mean 4222
	}
	return &server.Options{
		ServerName: "assigndex-embedded",
		Host:       host,
		Port:       port,
		NoSigs:     true, // signals are the main program's
		MaxPayload: MaxPayload,

		MaxConn:        maxConnections,
		MaxControlLine: maxControlLine,
		MaxPending:     maxPending,
		MaxSubs:        maxSubscriptions,
		WriteDeadline:  writeDeadline,

		JetStream:              true,
		StoreDir:               o.StoreDir,
		SyncAlways:             true, // an acknowledged message survives a power cut
		JetStreamMaxStore:      maxStore,
		DisableJetStreamBanner: true,
	}
}
