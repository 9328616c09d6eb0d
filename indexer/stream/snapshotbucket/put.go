package snapshotbucket

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

const (
	// window is how many chunks are under way. With the default size of one it bounds
	// what an upload holds in memory, and what it makes a server queue, to 2 MiB.
	window = 16
	// ackTimeout is how long a server may take to store a chunk.
	ackTimeout = 30 * time.Second
)

// Put stores what write writes, and describes it as write says in the end. When it
// returns nil, the snapshot is stored as safely as the bucket's copies make it. After
// an error List does not show it. Memory is bounded whatever the size.
func (b *Bucket) Put(ctx context.Context, write func(io.Writer) (Meta, error)) (Stored, error) {
	stored, err := b.put(ctx, write)
	if err != nil {
		return stored, fmt.Errorf("store a snapshot in bucket %s: %w", b.name, err)
	}
	return stored, nil
}

func (b *Bucket) put(ctx context.Context, write func(io.Writer) (Meta, error)) (Stored, error) {
	s, err := b.ensure(ctx)
	if err != nil {
		return Stored{}, err
	}
	if err := b.sweep(ctx, s); err != nil {
		return Stored{}, err
	}
	js, err := jetstream.New(b.js.Conn(), jetstream.WithPublishAsyncMaxPending(2*window), jetstream.WithPublishAsyncTimeout(ackTimeout))
	if err != nil {
		return Stored{}, err
	}
	defer js.CleanupPublisher()
	u := &upload{ctx: ctx, js: js, size: b.chunkBytes(), id: nuid.Next(), sum: sha256.New()}
	u.subject = b.chunksOf(u.id)
	stored, err := b.finish(ctx, s, u, write)
	if err != nil {
		b.giveUp(ctx, s, u, stored.Name)
	}
	return stored, err
}

// chunkBytes is the size of a chunk, which has to fit into a message.
func (b *Bucket) chunkBytes() int {
	if most := b.js.Conn().MaxPayload() / 2; most > 0 {
		return int(min(int64(b.options.ChunkBytes), most))
	}
	return b.options.ChunkBytes
}

// finish sends the chunks and then the description. A result with a name tells that
// the description may be stored.
func (b *Bucket) finish(ctx context.Context, s jetstream.Stream, u *upload, write func(io.Writer) (Meta, error)) (Stored, error) {
	meta, err := write(u)
	if err != nil {
		return Stored{}, err
	}
	if err := u.end(); err != nil {
		return Stored{}, err
	}
	// An upload that stood still may have been taken for abandoned.
	have, err := b.subjects(ctx, s, u.subject)
	if err != nil {
		return Stored{}, err
	}
	if n := have.counts[u.subject]; n != uint64(u.chunks) {
		return Stored{}, fmt.Errorf("%d chunks were stored and %d are there", u.chunks, n)
	}
	info := jetstream.ObjectInfo{
		ObjectMeta: jetstream.ObjectMeta{
			Name: meta.name(), Description: "a snapshot of the assigndex index", Headers: meta.headers(),
			Opts: &jetstream.ObjectMetaOptions{ChunkSize: uint32(u.size)}, //nolint:gosec // bounded by a message
		},
		Bucket: b.name, NUID: u.id, Size: uint64(u.bytes), Chunks: u.chunks, Digest: jetstream.GetObjectDigestValue(u.sum), //nolint:gosec // grows from 0
	}
	body, err := json.Marshal(&info)
	if err != nil {
		return Stored{}, err
	}
	m := newMessage(b.descriptionOf(info.Name), body)
	m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	limited, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	_, err = b.js.PublishMsg(limited, m)
	return Stored{Meta: meta, Name: info.Name, Bytes: u.bytes, object: info}, err
}

// giveUp removes what was stored of an upload that failed. What it cannot remove, a
// sweep will.
func (b *Bucket) giveUp(ctx context.Context, s jetstream.Stream, u *upload, name string) {
	u.wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	var err error
	if name != "" {
		err = purge(ctx, s, b.descriptionOf(name))
	}
	if err == nil {
		err = purge(ctx, s, u.subject)
	}
	if err != nil {
		b.options.Logger.Warn().Err(err).Str("bucket", b.name).Msg("what was stored of a snapshot could not be removed; it will be, later")
	}
}

// upload sends chunks in order. It is used by one goroutine.
type upload struct {
	ctx     context.Context //nolint:containedctx // of one call
	js      jetstream.JetStream
	size    int // of a chunk
	id      string
	subject string

	buf    []byte // the chunk that is being filled
	spare  [][]byte
	sent   []sent // oldest first
	sum    hash.Hash
	bytes  int64
	chunks uint32
}

// sent is a chunk that is not acknowledged yet.
type sent struct {
	ack  jetstream.PubAckFuture
	data []byte // must not change before
}

// Write is part of io.Writer.
func (u *upload) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		if u.buf == nil {
			u.buf = u.fresh()
		}
		n := min(len(rest), u.size-len(u.buf))
		u.buf = append(u.buf, rest[:n]...)
		rest = rest[n:]
		if len(u.buf) == u.size {
			if err := u.send(); err != nil {
				return 0, err
			}
		}
	}
	return len(p), nil
}

func (u *upload) fresh() []byte {
	if n := len(u.spare); n > 0 {
		buf := u.spare[n-1]
		u.spare = u.spare[:n-1]
		return buf[:0]
	}
	return make([]byte, 0, u.size)
}

// send sends the chunk that was filled, when there are not too many under way.
func (u *upload) send() error {
	if err := u.ctx.Err(); err != nil {
		return err
	}
	for len(u.sent) >= window {
		if err := u.acknowledged(); err != nil {
			return err
		}
	}
	ack, err := u.js.PublishMsgAsync(newMessage(u.subject, u.buf))
	if err != nil {
		return err
	}
	u.sum.Write(u.buf)
	u.bytes += int64(len(u.buf))
	u.chunks++
	u.sent = append(u.sent, sent{ack, u.buf})
	u.buf = nil
	return nil
}

// acknowledged waits for the oldest chunk that is under way.
func (u *upload) acknowledged() error {
	first := u.sent[0]
	select {
	case <-first.ack.Ok():
		u.sent = u.sent[1:]
		u.spare = append(u.spare, first.data)
		return nil
	case err := <-first.ack.Err():
		u.sent = u.sent[1:]
		return err
	case <-u.ctx.Done():
		return u.ctx.Err()
	}
}

// end sends the rest and waits for all.
func (u *upload) end() error {
	if len(u.buf) > 0 {
		if err := u.send(); err != nil {
			return err
		}
	}
	if u.chunks == 0 {
		return errors.New("nothing was written")
	}
	for len(u.sent) > 0 {
		if err := u.acknowledged(); err != nil {
			return err
		}
	}
	return nil
}

// wait waits for what is under way, so that none of it is stored after a purge.
func (u *upload) wait() {
	done := time.NewTimer(requestTimeout)
	defer done.Stop()
	select {
	case <-u.js.PublishAsyncComplete():
	case <-done.C:
	}
}
