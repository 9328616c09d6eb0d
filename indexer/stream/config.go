package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/events"
)

// Config is how the stream is made. A stream that exists keeps its limits,
// unless Own says that they are ours to set.
type Config struct {
	Name     string
	MaxAge   time.Duration // 0: unlimited
	MaxBytes int64         // 0 or less: unlimited
	Replicas int           // 0: 1
	Own      bool          // the embedded server's: its limits follow this configuration
	Present  bool          // the index has applied some of it: it is not made when it is absent
	FirstSeq uint64        // the first sequence of a stream that is made; 0: 1
}

// duplicateWindow is how long the server remembers message ids.
const duplicateWindow = 2 * time.Minute

// ErrAbsent is returned by Ensure when the stream should be there and is not: an empty
// one in its place would hide the loss.
var ErrAbsent = errors.New("the stream that the index was built from is gone")

// ErrUnfit is returned by Ensure for a stream that exists with a configuration
// that would lose events or mix in others.
var ErrUnfit = errors.New("the stream's configuration does not fit")

func (c Config) jetstream() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        c.Name,
		Description: "assignment events, the source of the assigndex index",
		Subjects:    []string{events.AllSubjects},
		Retention:   jetstream.LimitsPolicy,
		// At its size limit the stream refuses new events instead of losing old ones.
		Discard:            jetstream.DiscardNew,
		MaxAge:             c.MaxAge,
		MaxBytes:           max(c.MaxBytes, 0),
		MaxMsgs:            -1,
		Storage:            jetstream.FileStorage,
		Replicas:           max(c.Replicas, 1),
		Duplicates:         c.window(),
		AllowAtomicPublish: true,
		FirstSeq:           c.FirstSeq,
	}
}

// window is the duplicate window, which must not exceed the maximum age.
func (c Config) window() time.Duration {
	if c.MaxAge > 0 {
		return min(duplicateWindow, c.MaxAge)
	}
	return duplicateWindow
}

// Ensure makes the stream if it does not exist and checks it if it does. With Present
// it does not make one and returns ErrAbsent.
func Ensure(ctx context.Context, js jetstream.JetStream, c Config) error {
	want := c.jetstream()
	if want.MaxBytes == 0 {
		want.MaxBytes = -1
	}
	existing, err := js.Stream(ctx, c.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) && c.Present {
		return fmt.Errorf("stream %s: %w", c.Name, ErrAbsent)
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if _, err = js.CreateStream(ctx, want); err == nil {
			return nil
		}
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // otherwise another replica was faster
			return fmt.Errorf("make stream %s: %w", c.Name, err)
		}
		existing, err = js.Stream(ctx, c.Name)
	}
	if err != nil {
		return fmt.Errorf("look up stream %s: %w", c.Name, err)
	}
	have := existing.CachedInfo().Config
	if err := fits(have); err != nil {
		return fmt.Errorf("stream %s: %w", c.Name, err)
	}
	if c.Own && (have.MaxAge != want.MaxAge || have.MaxBytes != want.MaxBytes || have.Discard != want.Discard ||
		!have.AllowAtomicPublish || have.Duplicates != want.Duplicates) {
		have.MaxAge, have.MaxBytes, have.Discard = want.MaxAge, want.MaxBytes, want.Discard
		have.Duplicates, have.AllowAtomicPublish = want.Duplicates, true
		if _, err := js.UpdateStream(ctx, have); err != nil {
			return fmt.Errorf("set the limits of stream %s: %w", c.Name, err)
		}
	}
	return nil
}

// fits checks what an index relies on.
func fits(have jetstream.StreamConfig) error {
	switch {
	case have.Retention != jetstream.LimitsPolicy:
		return fmt.Errorf("%w: retention is %s; it must be limits, or read events would vanish", ErrUnfit, have.Retention)
	case !slices.Equal(have.Subjects, []string{events.AllSubjects}):
		return fmt.Errorf("%w: subjects are %v; they must be [%s]", ErrUnfit, have.Subjects, events.AllSubjects)
	case have.MaxMsgsPerSubject > 0:
		return fmt.Errorf("%w: it keeps only %d messages of a subject; events share subjects, so there must be no such limit", ErrUnfit, have.MaxMsgsPerSubject)
	case have.Discard != jetstream.DiscardNew && (have.MaxBytes > 0 || have.MaxMsgs > 0):
		return fmt.Errorf("%w: it discards old messages at its size limit; set discard to new, so that it refuses events instead of losing them", ErrUnfit)
	}
	return nil
}
