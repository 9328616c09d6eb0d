package snapshotbucket

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

var (
	// ErrDamaged is wrapped by the error of a read that met other bytes, or fewer, than
	// were put.
	ErrDamaged = errors.New("the snapshot in the object store is damaged")
	// ErrGone is wrapped by the error of Open and Remove for a snapshot that is not there.
	ErrGone = errors.New("there is no such snapshot in the object store")
)

// Options of a Bucket.
type Options struct {
	// Replicas is the number of copies that a new bucket has in a NATS cluster; 0 means
	// 1. A bucket that exists is used as it is.
	Replicas int
	// ChunkBytes is the size of a message; 0: 128 KiB, as NATS tools have it.
	ChunkBytes int
	// Abandoned is how long nothing was added to an upload that is taken for one that
	// nobody goes on with; 0: 15 minutes, longer than any that is alive stands still.
	Abandoned time.Duration
	// Patience is how long a read tries again while NATS does not answer; 0: a minute.
	Patience time.Duration
	Logger   zerolog.Logger
}

const (
	defaultChunk     = 128 << 10
	defaultAbandoned = 15 * time.Minute
	defaultPatience  = time.Minute
	requestTimeout   = 5 * time.Second
	// maxName is how long a stream's name may be that a bucket is named by: JetStream
	// allows 255 bytes, and adds to them.
	maxName = 200
)

// Bucket holds the snapshots of one stream's index.
type Bucket struct {
	js      jetstream.JetStream
	name    string
	options Options
}

var plainName = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

// NameFor gives the name of the bucket of a stream: <STREAM>-snapshots, with a hash in
// place of a name that a bucket cannot have.
func NameFor(stream string) string {
	if !plainName.MatchString(stream) || len(stream) > maxName {
		sum := sha256.Sum256([]byte(stream))
		stream = hex.EncodeToString(sum[:8])
	}
	return stream + "-snapshots"
}

// New gives the bucket of a stream that js reaches. It asks nothing of NATS: Put makes
// the bucket when it is absent.
func New(js jetstream.JetStream, stream string, o Options) *Bucket {
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	if o.ChunkBytes == 0 {
		o.ChunkBytes = defaultChunk
	}
	if o.Abandoned == 0 {
		o.Abandoned = defaultAbandoned
	}
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	return &Bucket{js: js, name: NameFor(stream), options: o}
}

// Name is the name of the bucket, as NATS tools take it.
func (b *Bucket) Name() string { return b.name }

// A bucket is a stream, with subjects for the chunks of each upload and for the
// description of each object.
func (b *Bucket) streamName() string                 { return "OBJ_" + b.name }
func (b *Bucket) chunksOf(upload string) string      { return "$O." + b.name + ".C." + upload }
func (b *Bucket) descriptionOf(object string) string { return b.description(encodeName(object)) }
func (b *Bucket) description(token string) string    { return "$O." + b.name + ".M." + token }

func encodeName(object string) string { return base64.URLEncoding.EncodeToString([]byte(object)) }

// open gives the bucket's stream, nil when there is none.
func (b *Bucket) open(ctx context.Context) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := b.js.Stream(ctx, b.streamName())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	return s, err
}

// ensure gives the bucket's stream, made when it is absent.
func (b *Bucket) ensure(ctx context.Context) (jetstream.Stream, error) {
	s, err := b.open(ctx)
	if s != nil || err != nil {
		return s, err
	}
	made, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err = b.js.CreateObjectStore(made, jetstream.ObjectStoreConfig{
		Bucket: b.name, Description: "snapshots of the assigndex index", Storage: jetstream.FileStorage, Replicas: b.options.Replicas,
	})
	// Another replica may have made it meanwhile.
	if err != nil && !errors.Is(err, jetstream.ErrBucketExists) {
		return nil, fmt.Errorf("make bucket %s: %w", b.name, err)
	}
	if s, err = b.open(ctx); s == nil && err == nil {
		err = jetstream.ErrBucketNotFound // deleted at this moment
	}
	return s, err
}

// List gives the snapshots in the bucket, newest first: by sequence, and of those at
// one sequence by time. No bucket is an empty one. Objects of others are left out.
func (b *Bucket) List(ctx context.Context) ([]Stored, error) {
	s, err := b.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	if s == nil {
		return nil, nil
	}
	all, err := b.objects(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	return b.snapshots(all), nil
}

// snapshots gives those objects that are snapshots, in the order of List.
func (b *Bucket) snapshots(all []jetstream.ObjectInfo) []Stored {
	var list []Stored
	for i := range all {
		meta, err := parseMeta(all[i].Headers)
		if err != nil {
			b.options.Logger.Debug().Err(err).Str("bucket", b.name).Str("name", all[i].Name).Msg("an object is not a snapshot of assigndex")
			continue
		}
		list = append(list, Stored{Meta: meta, Name: all[i].Name, Bytes: int64(all[i].Size), object: all[i]}) //nolint:gosec // of a disk
	}
	slices.SortFunc(list, func(x, y Stored) int {
		if x.At.Seq != y.At.Seq {
			if x.At.Seq > y.At.Seq {
				return -1
			}
			return 1
		}
		if c := y.Taken.Compare(x.Taken); c != 0 {
			return c
		}
		return strings.Compare(y.Name, x.Name)
	})
	return list
}

// objects gives the description of every object that is not deleted.
func (b *Bucket) objects(ctx context.Context, s jetstream.Stream) ([]jetstream.ObjectInfo, error) {
	subjects, err := b.subjects(ctx, s, b.description(">"))
	if err != nil {
		return nil, err
	}
	var all []jetstream.ObjectInfo
	for subject := range subjects.counts {
		m, err := b.last(ctx, subject)
		if errors.Is(err, errNoMessage) {
			continue // removed at this moment
		}
		if err != nil {
			return nil, err
		}
		var info jetstream.ObjectInfo
		if err := json.Unmarshal(m.Data, &info); err != nil {
			b.options.Logger.Debug().Err(err).Str("subject", subject).Msg("the description of an object cannot be read")
			continue
		}
		if !info.Deleted {
			all = append(all, info)
		}
	}
	return all, nil
}

// subjects are those of a bucket's stream that hold messages.
type subjects struct {
	counts map[string]uint64
	now    time.Time // by the server's clock
}

func (b *Bucket) subjects(ctx context.Context, s jetstream.Stream, filter string) (subjects, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return subjects{}, fmt.Errorf("look at bucket %s: %w", b.name, err)
	}
	now := info.TimeStamp
	if now.IsZero() { // a server that does not tell its time
		now = time.Now()
	}
	return subjects{info.State.Subjects, now}, nil
}

// Remove removes a snapshot. The error wraps ErrGone when there is none of the name.
func (b *Bucket) Remove(ctx context.Context, name string) error {
	s, err := b.open(ctx)
	if err != nil {
		return fmt.Errorf("remove snapshot %s: %w", name, err)
	}
	if s == nil {
		return fmt.Errorf("remove snapshot %s: %w", name, ErrGone)
	}
	info, err := b.find(ctx, name)
	if err != nil {
		return fmt.Errorf("remove snapshot %s: %w", name, err)
	}
	if err := b.removeObject(ctx, s, info); err != nil {
		return fmt.Errorf("remove snapshot %s: %w", name, err)
	}
	return nil
}

// find gives the description of an object.
func (b *Bucket) find(ctx context.Context, name string) (jetstream.ObjectInfo, error) {
	var info jetstream.ObjectInfo
	m, err := b.last(ctx, b.descriptionOf(name))
	if errors.Is(err, errNoMessage) {
		return info, ErrGone
	}
	if err != nil {
		return info, err
	}
	if err := json.Unmarshal(m.Data, &info); err != nil {
		return info, fmt.Errorf("%w: its description cannot be read", ErrDamaged)
	}
	if info.Deleted {
		return info, ErrGone
	}
	return info, nil
}

// removeObject removes the description, and then the chunks. Cut off in between it
// leaves chunks of nobody.
func (b *Bucket) removeObject(ctx context.Context, s jetstream.Stream, info jetstream.ObjectInfo) error {
	if err := purge(ctx, s, b.descriptionOf(info.Name)); err != nil {
		return err
	}
	return purge(ctx, s, b.chunksOf(info.NUID))
}

func purge(ctx context.Context, s jetstream.Stream, subject string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return s.Purge(ctx, jetstream.WithPurgeSubject(subject))
}

// Prune removes snapshots past a number and an age; 0: any number, any age. The newest
// is kept whatever its age. Those of a stream that was created at another time are
// counted apart: were it restored, they would be all that an index could begin with.
// It tells the names that it removed, and removes what killed uploads have left.
func (b *Bucket) Prune(ctx context.Context, keep int, maxAge time.Duration, now time.Time) (removed []string, err error) {
	s, err := b.open(ctx)
	if s == nil || err != nil {
		return nil, err
	}
	all, err := b.objects(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("prune snapshots: %w", err)
	}
	for _, old := range outdated(b.snapshots(all), keep, maxAge, now) {
		if err := b.removeObject(ctx, s, old.object); err != nil {
			return removed, fmt.Errorf("prune snapshots: %w", err)
		}
		removed = append(removed, old.Name)
	}
	return removed, b.sweep(ctx, s)
}

// outdated gives those of a list, newest first, that are not to be kept.
func outdated(list []Stored, keep int, maxAge time.Duration, now time.Time) (old []Stored) {
	counts := map[string]int{}
	for _, one := range list {
		stream := one.At.Stream.Created.UTC().Format(time.RFC3339Nano)
		n := counts[stream]
		counts[stream]++
		if n == 0 {
			continue
		}
		if (keep > 0 && n >= keep) || (maxAge > 0 && now.Sub(one.Taken) > maxAge) {
			old = append(old, one)
		}
	}
	return old
}

// sweep removes chunks of uploads that were not ended and that nobody goes on with.
func (b *Bucket) sweep(ctx context.Context, s jetstream.Stream) error {
	// The chunks first: an upload that ends meanwhile has its description then.
	chunks, err := b.subjects(ctx, s, b.chunksOf(">"))
	if err != nil {
		return err
	}
	if len(chunks.counts) == 0 {
		return nil
	}
	all, err := b.objects(ctx, s)
	if err != nil {
		return err
	}
	for _, info := range all {
		delete(chunks.counts, b.chunksOf(info.NUID))
	}
	for subject := range chunks.counts {
		m, err := b.last(ctx, subject)
		if errors.Is(err, errNoMessage) || err == nil && chunks.now.Sub(m.Time) < b.options.Abandoned {
			continue
		}
		if err == nil {
			err = purge(ctx, s, subject)
		}
		if err != nil {
			return fmt.Errorf("remove what an upload has left in bucket %s: %w", b.name, err)
		}
		b.options.Logger.Info().Str("bucket", b.name).Uint64("chunks", chunks.counts[subject]).Msg("removed what an interrupted upload of a snapshot had left")
	}
	return nil
}

// message is what the bucket's stream holds at a sequence.
type message struct {
	Seq    uint64    `json:"seq"`
	Data   []byte    `json:"data"`
	Time   time.Time `json:"time"`
	Header []byte    `json:"hdrs"`
}

var errNoMessage = errors.New("no message")

// last reads the last message of a subject.
func (b *Bucket) last(ctx context.Context, subject string) (*message, error) {
	return b.get(ctx, map[string]any{"last_by_subj": subject})
}

// next reads the first message of a subject at a sequence or after it.
func (b *Bucket) next(ctx context.Context, subject string, seq uint64) (*message, error) {
	return b.get(ctx, map[string]any{"seq": seq, "next_by_subj": subject})
}

// get asks the leader: a follower, which may answer the client library, may lag.
func (b *Bucket) get(ctx context.Context, request map[string]any) (*message, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	reply, err := b.js.Conn().RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+b.streamName(), body)
	if err != nil {
		return nil, fmt.Errorf("read from bucket %s: %w", b.name, err)
	}
	var raw struct {
		Message *message            `json:"message"`
		Error   *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &raw); err != nil {
		return nil, fmt.Errorf("read from bucket %s: %w", b.name, err)
	}
	switch {
	case raw.Error != nil && (raw.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound || raw.Error.ErrorCode == jetstream.JSErrCodeStreamNotFound):
		return nil, errNoMessage
	case raw.Error != nil:
		return nil, fmt.Errorf("read from bucket %s: %w", b.name, raw.Error)
	case raw.Message == nil:
		return nil, fmt.Errorf("read from bucket %s: an answer without a message", b.name)
	}
	return raw.Message, nil
}

// newMessage is a message on a subject.
func newMessage(subject string, data []byte) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Data = data
	return m
}
