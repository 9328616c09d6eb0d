package indexer

import (
	"context"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/fold"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

// target is what messages are applied to: a *store.Batch, or a *store.Builder.
type target interface {
	fold.State
	fold.Writer
	At(seq uint64)
	Saw(nano int64)
}

// applier applies messages, one after the other, whatever they are applied to.
type applier struct {
	metrics *Metrics
	// quarantineLog drops lines past a hundred a second: a sender may be wrong in
	// every message. The quarantine and its counter drop nothing.
	quarantineLog zerolog.Logger
	room          func(ctx context.Context) error // waits for room on the disk
	fault         fault.Hook
}

func newApplier(m *Metrics, log zerolog.Logger, h fault.Hook, room func(ctx context.Context) error) applier {
	return applier{metrics: m, quarantineLog: log.Sample(&zerolog.BurstSampler{Burst: 100, Period: time.Second}), room: room, fault: h}
}

// one applies one message.
func (a *applier) one(ctx context.Context, to target, it item) error {
	return a.fault.Step(fault.Fold, func() error { return a.apply(ctx, to, it) })
}

func (a *applier) apply(ctx context.Context, to target, it item) error {
	to.At(it.msg.Seq)
	if it.msg.Erased > 0 {
		a.metrics.erased(it.msg.Erased)
		return nil
	}
	to.Saw(it.msg.Time.UnixNano())
	if it.err != nil {
		return a.quarantine(to, it)
	}
	outcome, err := fold.Apply(&it.event, rows.Moment{Seq: it.msg.Seq, Nano: it.msg.Time.UnixNano()}, to,
		&paced{Writer: to, wait: func() error { return a.room(ctx) }})
	if err != nil {
		return err
	}
	a.metrics.applied(it.event.Type, outcome)
	if d := it.event.Drop; d != nil && outcome == fold.Changed {
		a.quarantineLog.Info().Uint64("seq", d.Seq).Uint64("by", it.msg.Seq).Str("tenant", it.event.Tenant).
			Msg("a message was dropped from the quarantine")
	}
	return nil
}

// quarantine keeps the reason why a message is not an event. The message stays
// in the stream: it may hold secrets, so no copy of it is made.
func (a *applier) quarantine(to target, it item) error {
	q := rows.Quarantined{
		Time: it.msg.Time.UTC(), Subject: clip(it.msg.Subject), Tenant: it.event.Tenant, Type: clip(string(it.event.Type)),
		Code: it.err.Code, Field: it.err.Field, Reason: it.err.Problem, Remedy: it.err.Remedy, Bytes: len(it.msg.Data),
	}
	value, err := q.Encode()
	if err != nil {
		return err
	}
	if err := to.Put(keys.Quarantine(it.msg.Seq), value); err != nil {
		return err
	}
	a.metrics.quarantined(it.err.Code)
	a.quarantineLog.Warn().Uint64("seq", it.msg.Seq).Str("subject", q.Subject).Str("code", string(it.err.Code)).
		Str("reason", it.err.Error()).Msg("a message was quarantined")
	return nil
}

// clip bounds a text that a sender chose.
func clip(text string) string {
	const most = 128
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
