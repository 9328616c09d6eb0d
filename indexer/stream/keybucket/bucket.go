package keybucket

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// Name is the bucket's name.
const Name = "assigndex-keys"

// A bucket is a stream and a subject for each key.
const (
	streamName    = "KV_" + Name
	subjectPrefix = "$KV." + Name + "."
)

// listTimeout bounds List when its context has no deadline: without NATS it
// would wait for it to come back.
const listTimeout = 30 * time.Second

var (
	// ErrNotFound is wrapped by the error of Revoke for an id that is not stored.
	ErrNotFound = errors.New("no API key has this id")
	// ErrExists is wrapped by the error of Create when the record's id is taken.
	ErrExists = errors.New("an API key with this id exists")
)

// Codec names records of type K and turns them into bytes and back.
type Codec[K any] interface {
	// Encode gives the id under which record is stored, of letters, digits, '_',
	// '-', '=' and '/', and its bytes.
	Encode(record K) (id string, value []byte, err error)
	// Decode reads the record stored under id. Its error is logged: it must not
	// hold a secret.
	Decode(id string, value []byte) (K, error)
}

// Options configure a Bucket.
type Options struct {
	// Replicas is the number of copies that a new bucket has in a NATS cluster; 0
	// means 1. A bucket that exists is used as it is.
	Replicas int
	// ConfirmEvery is how often Run confirms its set with the bucket; 0 means
	// DefaultConfirmEvery.
	ConfirmEvery time.Duration
	// Logger gets what Run and List meet. The zero Logger drops it.
	Logger zerolog.Logger
}

// DefaultConfirmEvery costs a server two small requests each time.
const DefaultConfirmEvery = 5 * time.Second

// Bucket is the key-value bucket of records of type K.
type Bucket[K any] struct {
	js      jetstream.JetStream
	codec   Codec[K]
	options Options
	synced  *signal
}

// New gives the bucket that js reaches. It asks nothing of NATS: Create and Run
// make the bucket when it is absent.
func New[K any](js jetstream.JetStream, codec Codec[K], o Options) *Bucket[K] {
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	if o.ConfirmEvery == 0 {
		o.ConfirmEvery = DefaultConfirmEvery
	}
	return &Bucket[K]{js: js, codec: codec, options: o, synced: newSignal()}
}

// Create stores a new record. When it returns nil, the record is on disk. The
// error wraps ErrExists when the record's id is taken.
func (b *Bucket[K]) Create(ctx context.Context, record K) error {
	id, value, err := b.codec.Encode(record)
	if err != nil {
		return fmt.Errorf("store API key: %w", err)
	}
	if _, err := b.ensure(ctx); err != nil {
		return fmt.Errorf("store API key: %w", err)
	}
	kv, err := b.js.KeyValue(ctx, Name)
	if err != nil {
		return fmt.Errorf("store API key: %w", err)
	}
	if _, err := kv.Create(ctx, id, value); errors.Is(err, jetstream.ErrKeyExists) {
		return fmt.Errorf("store API key %s: %w", id, ErrExists)
	} else if err != nil {
		return fmt.Errorf("store API key %s: %w", id, err)
	}
	return nil
}

// Revoke removes the record of id, also one that cannot be decoded. Running
// servers learn of it at once. The error wraps ErrNotFound when there is none.
func (b *Bucket[K]) Revoke(ctx context.Context, id string) error {
	kv, err := b.js.KeyValue(ctx, Name)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return fmt.Errorf("revoke API key %q: %w", id, ErrNotFound)
	} else if err != nil {
		return fmt.Errorf("revoke API key %q: %w", id, err)
	}
	_, err = kv.Get(ctx, id)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrInvalidKey): // a deleted one is not found too
		return fmt.Errorf("revoke API key %q: %w", id, ErrNotFound)
	case err != nil:
		return fmt.Errorf("revoke API key %q: %w", id, err)
	}
	// Purge, and not delete: older values go too where somebody made the bucket
	// with a longer history.
	if err := kv.Purge(ctx, id); err != nil {
		return fmt.Errorf("revoke API key %q: %w", id, err)
	}
	return nil
}

// List gives all records that can be decoded, by id. No bucket is an empty one.
func (b *Bucket[K]) List(ctx context.Context) ([]K, error) {
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, listTimeout)
		defer cancel()
	}
	stream, err := b.js.Stream(ctx, streamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("list API keys: %w", err)
	}
	v, err := b.open(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("list API keys: %w", err)
	}
	defer v.close()
	for !v.complete {
		if err := v.next(ctx); err != nil {
			return nil, fmt.Errorf("list API keys: %w", err)
		}
	}
	return v.records(), nil
}

// ensure gives the bucket's stream, made anew when it is absent. When it cannot
// be made, the error wraps errAbsent.
func (b *Bucket[K]) ensure(ctx context.Context) (jetstream.Stream, error) {
	stream, err := b.js.Stream(ctx, streamName)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return stream, err
	}
	_, err = b.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: Name, Description: "API keys of assigndex: hashes, no secrets",
		History: 1, Storage: jetstream.FileStorage, Replicas: b.options.Replicas,
	})
	// Somebody else may have made it meanwhile, with other settings.
	if err != nil && !errors.Is(err, jetstream.ErrBucketExists) {
		return nil, fmt.Errorf("%w and cannot be made: %w", errAbsent, err)
	}
	return b.js.Stream(ctx, streamName)
}

// errAbsent says that NATS answered that there is no bucket.
var errAbsent = errors.New("the bucket " + Name + " does not exist")
