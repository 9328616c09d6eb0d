package publisher

import (
	"errors"
	"fmt"
	"time"

	"github.com/assigndex/assigndex/events"
	"github.com/nats-io/nats.go"
)

// Limits and defaults of Options.
const (
	// MaxBatch is the number of messages that a server takes as one atomic batch.
	MaxBatch = 1000

	defaultStream     = "ASSIGNMENTS"
	defaultTenant     = "default"
	defaultBatchBytes = 8 << 20
	defaultAckTimeout = 5 * time.Second
	// maxBatchBytes stays clear of the 128 MiB that a server queues for a stream
	// before it drops messages.
	maxBatchBytes = 64 << 20
)

// Options are the settings of a Publisher. The zero value is a good start.
type Options struct {
	// Stream is the stream's name. Empty: ASSIGNMENTS.
	Stream string

	// Tenant is whose events they are. Empty: default.
	Tenant string

	// BatchMessages is the number of messages sent before an acknowledgement is
	// awaited, 1 to MaxBatch. Zero: MaxBatch.
	BatchMessages int

	// BatchBytes is the size of what is sent before an acknowledgement is awaited,
	// in bytes, headers included, up to 64 MiB; it bounds the memory of a Writer. A
	// message above it travels alone. Zero: 8 MiB.
	BatchBytes int

	// AckTimeout is how long an acknowledgement is awaited before the messages are
	// sent again, doubled by each time in vain while a batch is under way, at most
	// half of RetryFor. Zero: 5 s.
	AckTimeout time.Duration

	// RetryFor is how long messages are sent again, counted from the first time
	// they were sent. Zero, and anything above: half of the stream's duplicate
	// window.
	RetryFor time.Duration
}

// withDefaults fills in and checks the options.
func (o Options) withDefaults() (Options, error) {
	if o.Stream == "" {
		o.Stream = defaultStream
	}
	if o.Tenant == "" {
		o.Tenant = defaultTenant
	}
	if !events.ValidTenant(o.Tenant) {
		return o, fmt.Errorf("tenant %q: use 1 to %d letters, digits, '_' and '-'", o.Tenant, events.MaxTenantBytes)
	}
	if o.BatchMessages == 0 {
		o.BatchMessages = MaxBatch
	}
	if o.BatchMessages < 1 || o.BatchMessages > MaxBatch {
		return o, fmt.Errorf("a batch of %d messages: use 1 to %d", o.BatchMessages, MaxBatch)
	}
	if o.BatchBytes == 0 {
		o.BatchBytes = defaultBatchBytes
	}
	if o.BatchBytes < 1 || o.BatchBytes > maxBatchBytes {
		return o, fmt.Errorf("a batch of %d bytes: use 1 to %d", o.BatchBytes, maxBatchBytes)
	}
	if o.AckTimeout == 0 {
		o.AckTimeout = defaultAckTimeout
	}
	if o.AckTimeout < 0 || o.RetryFor < 0 {
		return o, errors.New("a negative duration")
	}
	return o, nil
}

// ConnectOptions are the options that a publisher's connection should be made
// with: nothing is kept while disconnected, reconnecting never gives up (the
// publisher's own bounds do), and a dead connection is noticed within 20 s.
func ConnectOptions() []nats.Option {
	return []nats.Option{
		nats.ReconnectBufSize(-1),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(1),
		nats.FlusherTimeout(10 * time.Second),
	}
}
