package stream

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// heldMore is what a stream may still take after Hold, in bytes: a publisher's
// largest batch. JetStream checks a batch against the limit as a whole before it
// stores its first message, but it looks at the limit again with every message: were
// it set to what the stream holds, a batch that is being stored at that moment would
// be cut in two.
const heldMore = 64 << 20

// Hold makes a stream refuse messages past what it holds and 64 MiB more, because
// the disk has no room for them; it is less when a quarter of the bytes that are
// free is, so that no number of restarts leads to a full disk. Publishers are told
// that the maximum of bytes is exceeded (JetStream error 10077). Only the limit of
// size is changed, and only down. Ensure with the same configuration lifts it, which
// must have Own.
func Hold(ctx context.Context, js jetstream.JetStream, c Config, free int64) error {
	s, err := js.Stream(ctx, c.Name)
	if err != nil {
		return fmt.Errorf("hold stream %s: %w", c.Name, err)
	}
	info := s.CachedInfo()
	limit := int64(info.State.Bytes) + max(1, min(heldMore, free/4)) // 0 would be no limit
	have := info.Config
	if have.MaxBytes > 0 && have.MaxBytes <= limit {
		return nil
	}
	have.MaxBytes, have.Discard = limit, jetstream.DiscardNew
	if _, err := js.UpdateStream(ctx, have); err != nil {
		return fmt.Errorf("hold stream %s: %w", c.Name, err)
	}
	return nil
}
