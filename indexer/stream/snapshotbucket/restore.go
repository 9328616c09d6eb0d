package snapshotbucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/snapshot"
)

// ErrNoRoom is returned by RestoreNewest when the disk has no room for the index.
var ErrNoRoom = errors.New("the disk has no room for the index of a snapshot")

// RestoreOptions of RestoreNewest.
type RestoreOptions struct {
	// Suits refuses a snapshot with an error that wraps ErrUnsuited, and ends the restore
	// with any other; nil: all suit that this program can open.
	Suits func(Stored) error
	// Room reports whether so many more bytes may be written; nil: they may.
	Room   func(bytes int64) bool
	Logger zerolog.Logger
}

// RestoreNewest restores the newest snapshot that suits into a directory, as
// snapshot.Restore does: dir is absent, empty or left by a restore that was cut short.
// When it returns without an error the index there is durable, and its position is the
// header's. What does not suit, and what is damaged, is logged and passed over; with
// none left it returns ErrNone. After an error dir holds no index.
func (b *Bucket) RestoreNewest(ctx context.Context, dir string, o RestoreOptions) (snapshot.Header, error) {
	if o.Room == nil {
		o.Room = func(int64) bool { return true }
	}
	var header snapshot.Header
	_, err := b.Newest(ctx, func(s Stored) error {
		if o.Suits == nil {
			return nil
		}
		return o.Suits(s)
	}, func(s Stored, r io.Reader) (err error) {
		header, err = restoreOne(ctx, s, r, dir, o)
		return err
	})
	return header, err
}

func restoreOne(ctx context.Context, s Stored, r io.Reader, dir string, o RestoreOptions) (snapshot.Header, error) {
	log := o.Logger.With().Str("snapshot", s.Name).Logger()
	log.Info().Uint64("seq", s.At.Seq).Time("taken", s.Taken).Int64("bytes", s.Bytes).Msg("restoring a snapshot from the object store")
	began := time.Now()
	p := &progress{r: r, of: s.Bytes, began: began, told: began, room: o.Room, log: log}
	h, err := snapshot.Restore(ctx, p, dir, snapshot.RestoreOptions{Logger: o.Logger, Begin: func(h snapshot.Header) error {
		if err := s.describes(h); err != nil {
			return err
		}
		if !o.Room(h.IndexBytes) {
			return fmt.Errorf("%w: it takes about %d MiB", ErrNoRoom, h.IndexBytes>>20+1)
		}
		return nil
	}})
	switch {
	case errors.Is(err, snapshot.ErrDamaged):
		return h, fmt.Errorf("%w: %w", ErrDamaged, err)
	case errors.Is(err, snapshot.ErrVersion):
		return h, fmt.Errorf("%w: %w", ErrUnsuited, err)
	case err != nil:
		return h, err
	}
	log.Info().Uint64("seq", h.At.Seq).Int64("bytes", p.n).Dur("took", time.Since(began)).Str("rate", p.rate()).Msg("restored a snapshot")
	return h, nil
}

// describes makes sure that the headers of the object, by which it was chosen, are
// those of what is in it.
func (s *Stored) describes(h snapshot.Header) error {
	at, same := s.At, h.Index == s.Format && h.Fold == s.Fold && h.Floor == s.Floor
	if !same || h.At.Seq != at.Seq || !bytes.Equal(h.At.Fingerprint, at.Fingerprint) || h.At.Stream.Name != at.Stream.Name ||
		!h.At.Stream.Created.Equal(at.Stream.Created) || h.At.Stream.Incarnation != at.Stream.Incarnation || h.At.Stream.Partings != at.Stream.Partings {
		return fmt.Errorf("%w: its headers are of another snapshot than it holds, which is of sequence %d", ErrDamaged, h.At.Seq)
	}
	return nil
}

const (
	progressEvery = 5 * time.Second
	// roomEvery is how many bytes are read between two looks at the disk: more than ten
	// times as much may be written of them.
	roomEvery = 4 << 20
)

// progress tells how much was read, and ends the reading when the disk becomes full.
type progress struct {
	r     io.Reader
	n, of int64
	began time.Time
	told  time.Time
	next  int64 // at which the disk is looked at
	room  func(int64) bool
	log   zerolog.Logger
}

func (p *progress) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.n += int64(n)
	if p.n >= p.next {
		p.next = p.n + roomEvery
		if !p.room(0) {
			return n, ErrNoRoom
		}
	}
	if now := time.Now(); now.Sub(p.told) >= progressEvery {
		p.told = now
		p.log.Info().Int64("bytes", p.n).Int64("of", p.of).Str("rate", p.rate()).Msg("restoring")
	}
	return n, err
}

func (p *progress) rate() string {
	return fmt.Sprintf("%.1f MiB/s", float64(p.n)/(1<<20)/max(time.Since(p.began).Seconds(), 1e-3))
}
