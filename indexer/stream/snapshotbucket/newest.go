package snapshotbucket

import (
	"context"
	"errors"
	"fmt"
	"io"
)

var (
	// ErrUnsuited is for the functions that Newest is given: the snapshot is of no use,
	// and an older one may be.
	ErrUnsuited = errors.New("the snapshot does not suit")
	// ErrNone is returned by Newest when no snapshot in the bucket is of use.
	ErrNone = errors.New("no snapshot in the object store suits")
)

// Newest restores the newest snapshot that suits. Each that does not is logged with the
// reason: suits wraps ErrUnsuited for it, or restore, which must undo what it has done
// then, or the bytes turn out to be damaged or to be removed meanwhile. Any other error
// ends it, since an older snapshot would meet it too. Restored is what was read to its
// end, with the digest that it was put with. There is nothing to undo after ErrNone.
func (b *Bucket) Newest(ctx context.Context, suits func(Stored) error, restore func(Stored, io.Reader) error) (Stored, error) {
	tried := map[string]bool{}
	for {
		// Listed anew each time: one may have been put, and others removed, meanwhile.
		list, err := b.List(ctx)
		if err != nil {
			return Stored{}, err
		}
		next := -1
		for i := range list {
			if !tried[list[i].Name] {
				next = i
				break
			}
		}
		if next < 0 {
			return Stored{}, fmt.Errorf("%w: %d were looked at in bucket %s", ErrNone, len(tried), b.name)
		}
		one := list[next]
		tried[one.Name] = true
		err = suits(one)
		if err == nil {
			err = b.read(ctx, one, restore)
		}
		if err == nil {
			return one, nil
		}
		log := b.options.Logger.With().Str("bucket", b.name).Str("snapshot", one.Name).Logger()
		switch {
		case ctx.Err() != nil:
			return one, ctx.Err()
		case errors.Is(err, ErrDamaged), errors.Is(err, ErrGone):
			log.Error().Err(err).Msg("a snapshot could not be restored; an older one is tried")
		case errors.Is(err, ErrUnsuited):
			log.Warn().Err(err).Msg("a snapshot does not suit; an older one is tried")
		default:
			return one, fmt.Errorf("snapshot %s in bucket %s: %w", one.Name, b.name, err)
		}
	}
}

// read hands a snapshot to restore and reads what that leaves, up to the digest.
func (b *Bucket) read(ctx context.Context, one Stored, restore func(Stored, io.Reader) error) error {
	r, now, err := b.Open(ctx, one.Name)
	if err != nil {
		return err
	}
	met := &lastError{r: r}
	err = restore(now, met)
	if met.err != nil && !errors.Is(met.err, io.EOF) {
		return met.err // it tells more than what restore made of it
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, met)
	return err
}

// lastError keeps the error that reading ended with.
type lastError struct {
	r   io.Reader
	err error
}

func (l *lastError) Read(p []byte) (n int, err error) {
	n, err = l.r.Read(p)
	if err != nil {
		l.err = err
	}
	return n, err
}
