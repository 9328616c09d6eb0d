package snapshotbucket

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// retryWait is how long a read waits before it asks again.
const retryWait = 250 * time.Millisecond

// Open reads a snapshot. The reader gives io.EOF only when all of it was read and its
// digest matches, and otherwise an error that wraps ErrDamaged, ErrGone when it was
// removed meanwhile, or tells why NATS did not answer. It holds one chunk.
func (b *Bucket) Open(ctx context.Context, name string) (io.Reader, Stored, error) {
	info, err := b.find(ctx, name)
	if err != nil {
		return nil, Stored{}, fmt.Errorf("open snapshot %s: %w", name, err)
	}
	meta, err := parseMeta(info.Headers)
	if err != nil {
		return nil, Stored{}, fmt.Errorf("open snapshot %s: %w: %w", name, ErrDamaged, err)
	}
	stored := Stored{Meta: meta, Name: name, Bytes: int64(info.Size), object: info} //nolint:gosec // of a disk
	return &download{ctx: ctx, bucket: b, info: info, next: 1, sum: sha256.New()}, stored, nil
}

// download reads chunks in order. It is used by one goroutine.
type download struct {
	ctx    context.Context //nolint:containedctx // of one snapshot's reading
	bucket *Bucket
	info   jetstream.ObjectInfo

	next  uint64 // the lowest sequence of the next chunk
	rest  []byte // of the chunk that was read last
	read  uint64 // chunks
	bytes uint64
	sum   hash.Hash
	err   error // the last one, which stays
}

// Read is part of io.Reader.
func (d *download) Read(p []byte) (int, error) {
	for len(d.rest) == 0 && d.err == nil {
		d.err = d.chunk()
	}
	if len(d.rest) == 0 {
		return 0, d.err
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// chunk reads the next chunk. It gives io.EOF after the last one.
func (d *download) chunk() error {
	if d.read == uint64(d.info.Chunks) {
		return d.end()
	}
	m, err := d.fetch()
	if errors.Is(err, errNoMessage) {
		return d.missing()
	}
	if err != nil {
		return fmt.Errorf("read snapshot %s: %w", d.info.Name, err)
	}
	d.next, d.rest = m.Seq+1, m.Data
	d.read++
	d.bytes += uint64(len(m.Data))
	d.sum.Write(m.Data)
	if d.bytes > d.info.Size {
		d.rest = nil
		return d.damaged("it is longer than it was")
	}
	return nil
}

// fetch asks for the next chunk, and again for a while when NATS does not answer.
func (d *download) fetch() (*message, error) {
	subject := d.bucket.chunksOf(d.info.NUID)
	until := time.Now().Add(d.bucket.options.Patience)
	for {
		m, err := d.bucket.next(d.ctx, subject, d.next)
		if err == nil || errors.Is(err, errNoMessage) || d.ctx.Err() != nil || time.Now().After(until) || d.bucket.js.Conn().IsClosed() {
			return m, err
		}
		d.bucket.options.Logger.Debug().Err(err).Str("snapshot", d.info.Name).Msg("reading a snapshot was interrupted; trying again")
		select {
		case <-d.ctx.Done():
			return nil, d.ctx.Err()
		case <-time.After(retryWait):
		}
	}
}

// missing tells a snapshot that was removed while it was read from one that has lost a
// part.
func (d *download) missing() error {
	now, err := d.bucket.find(d.ctx, d.info.Name)
	switch {
	case errors.Is(err, ErrGone), err == nil && now.NUID != d.info.NUID:
		return fmt.Errorf("read snapshot %s: %w: it was removed meanwhile", d.info.Name, ErrGone)
	case err != nil:
		return fmt.Errorf("read snapshot %s: %w", d.info.Name, err)
	}
	return d.damaged(fmt.Sprintf("chunk %d of %d is missing", d.read+1, d.info.Chunks))
}

func (d *download) end() error {
	if d.bytes != d.info.Size {
		return d.damaged(fmt.Sprintf("it has %d bytes of %d", d.bytes, d.info.Size))
	}
	if jetstream.GetObjectDigestValue(d.sum) != d.info.Digest {
		return d.damaged("its digest does not match")
	}
	return io.EOF
}

func (d *download) damaged(what string) error {
	return fmt.Errorf("read snapshot %s: %w: %s", d.info.Name, ErrDamaged, what)
}
