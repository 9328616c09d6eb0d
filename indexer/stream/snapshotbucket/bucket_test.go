package snapshotbucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/indexer/stream/streamtest"
)

func TestPutListOpenRemove(t *testing.T) {
	b := bucketOn(t, streamtest.Start(t), small)
	if list, err := b.List(t.Context()); err != nil || len(list) != 0 {
		t.Fatalf("no bucket: %v, %v", list, err)
	}
	if _, err := read(t, b, "none"); !errors.Is(err, ErrGone) {
		t.Errorf("reading from no bucket: %v", err)
	}
	if err := b.Remove(t.Context(), "none"); !errors.Is(err, ErrGone) {
		t.Errorf("removing from no bucket: %v", err)
	}
	sizes := map[uint64]int{7: 1, 100_000: 100, 20: 100*window*3 + 17, 21: 5000}
	stored := map[uint64]Stored{}
	for seq, n := range sizes {
		stored[seq] = put(t, b, metaAt(seq, 0), n)
	}
	later := put(t, b, metaAt(20, time.Second), 10)
	wantSeqs(t, b, 100_000, 21, 20, 20, 7)
	if all := names(t, b); all[2] != later.Name || !slices.IsSortedFunc(all, func(x, y string) int { return strings.Compare(y, x) }) {
		t.Errorf("in the order of %q", all)
	}
	for seq, n := range sizes {
		wantContent(t, b, stored[seq], n)
		_, got, err := b.Open(t.Context(), stored[seq].Name)
		if err != nil || !reflect.DeepEqual(got.Meta, metaAt(seq, 0)) || got.Bytes != int64(n) {
			t.Errorf("%d: %+v, %v", seq, got, err)
		}
	}
	if err := b.Remove(t.Context(), stored[20].Name); err != nil {
		t.Fatal(err)
	}
	if err := b.Remove(t.Context(), stored[20].Name); !errors.Is(err, ErrGone) {
		t.Errorf("a second time: %v", err)
	}
	wantSeqs(t, b, 100_000, 21, 20, 7)
	for _, one := range []uint64{100_000, 21, 7} {
		if err := b.Remove(t.Context(), stored[one].Name); err != nil {
			t.Fatal(err)
		}
	}
	if n := messages(t, b); n != 2 {
		t.Errorf("%d messages are left of one snapshot of one chunk", n)
	}
}

// What is stored is an object of a bucket as every NATS tool has them.
func TestOtherToolsReadIt(t *testing.T) {
	b := bucketOn(t, streamtest.Start(t), small)
	one := put(t, b, metaAt(7, 0), 12345)
	objects, err := b.js.ObjectStore(t.Context(), "ASSIGNMENTS-snapshots")
	if err != nil {
		t.Fatal(err)
	}
	got, err := objects.GetBytes(t.Context(), one.Name)
	if err != nil || !bytes.Equal(got, content(7, 12345)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	list, err := objects.List(t.Context())
	if err != nil || len(list) != 1 || list[0].Size != 12345 || list[0].Headers.Get("Assigndex-Seq") != "7" {
		t.Errorf("%+v, %v", list, err)
	}
	// What others put there is left alone, and one that another tool has deleted is gone.
	if _, err := objects.PutString(t.Context(), "note", "of somebody else"); err != nil {
		t.Fatal(err)
	}
	b.options.Abandoned = time.Nanosecond
	if _, err := b.Prune(t.Context(), 1, time.Nanosecond, time.Now()); err != nil {
		t.Fatal(err)
	}
	if note, err := objects.GetString(t.Context(), "note"); note != "of somebody else" || err != nil {
		t.Errorf("%q, %v", note, err)
	}
	wantSeqs(t, b, 7)
	if err := objects.Delete(t.Context(), one.Name); err != nil {
		t.Fatal(err)
	}
	wantSeqs(t, b)
	if _, err := read(t, b, one.Name); !errors.Is(err, ErrGone) {
		t.Errorf("a deleted one: %v", err)
	}
}

func TestUploadThatFailsLeavesNothing(t *testing.T) {
	b := bucketOn(t, streamtest.Start(t), small)
	failure := errors.New("the index failed")
	_, err := b.Put(t.Context(), func(w io.Writer) (Meta, error) {
		if _, err := w.Write(content(1, 10_000)); err != nil {
			t.Fatal(err)
		}
		return metaAt(7, 0), failure
	})
	if !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = b.Put(ctx, func(w io.Writer) (Meta, error) {
		_, err := w.Write(content(1, 10_000))
		if err == nil {
			cancel()
			_, err = w.Write(content(1, 10_000))
		}
		return metaAt(7, 0), err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err = b.Put(t.Context(), func(io.Writer) (Meta, error) { return metaAt(7, 0), nil }); err == nil {
		t.Error("nothing at all was stored")
	}
	if n := messages(t, b); n != 0 {
		t.Errorf("%d messages are left", n)
	}
	wantSeqs(t, b)
}

// Chunks that were taken away during an upload are no snapshot.
func TestUploadThatLosesChunks(t *testing.T) {
	b := bucketOn(t, streamtest.Start(t), small)
	_, err := b.Put(t.Context(), func(w io.Writer) (Meta, error) {
		_, err := w.Write(content(1, 100*window*4))
		if err == nil {
			err = underlying(t, b).Purge(t.Context())
		}
		if err == nil {
			_, err = w.Write(content(1, 1000))
		}
		return metaAt(7, 0), err
	})
	if err == nil || !strings.Contains(err.Error(), "are there") {
		t.Errorf("got %v", err)
	}
	wantSeqs(t, b)
}

// What a killed process has left goes when nobody has added to it for a while, and not
// before: it may be another replica's upload.
func TestChunksOfAKilledUpload(t *testing.T) {
	s := streamtest.Start(t)
	b := bucketOn(t, s, small)
	first := put(t, b, metaAt(1, 0), 150)
	abandon(t, b, 5)
	wantSeqs(t, b, 1)
	put(t, b, metaAt(2, 0), 50)
	if n := messages(t, b); n != 3+5+2 {
		t.Errorf("%d messages while the upload may be alive", n)
	}
	impatient := bucketOn(t, s, Options{ChunkBytes: 100, Abandoned: time.Nanosecond})
	put(t, impatient, metaAt(3, 0), 50)
	if n := messages(t, b); n != 3+2+2 {
		t.Errorf("%d messages after a put", n)
	}
	abandon(t, b, 5)
	if removed, err := impatient.Prune(t.Context(), 0, 0, began); err != nil || len(removed) != 0 {
		t.Errorf("%v, %v", removed, err)
	}
	if n := messages(t, b); n != 3+2+2 {
		t.Errorf("%d messages after pruning", n)
	}
	wantContent(t, b, first, 150)
}

func TestDamage(t *testing.T) {
	b := bucketOn(t, streamtest.Start(t), small)
	damage := func(what string, do func(one Stored)) {
		t.Helper()
		one := put(t, b, metaAt(1, 0), 1000)
		do(one)
		if got, err := read(t, b, one.Name); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: read %d bytes, %v", what, len(got), err)
		}
	}
	erase := func(nth uint64) func(Stored) {
		return func(one Stored) {
			info, err := underlying(t, b).Info(t.Context())
			if err == nil {
				err = underlying(t, b).DeleteMsg(t.Context(), info.State.LastSeq-11+nth) // ten chunks and the description
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	damage("the first chunk is missing", erase(1))
	damage("one in the middle is missing", erase(5))
	damage("the last one is missing", erase(10))
	damage("a chunk more", func(one Stored) {
		erase(10)(one)
		if _, err := b.js.Publish(t.Context(), b.chunksOf(one.object.NUID), content(3, 101)); err != nil {
			t.Fatal(err)
		}
	})
	damage("a chunk is another one", func(one Stored) {
		erase(10)(one)
		if _, err := b.js.Publish(t.Context(), b.chunksOf(one.object.NUID), content(3, 100)); err != nil {
			t.Fatal(err)
		}
	})
	one := put(t, b, metaAt(2, 0), 1000)
	r, _, err := b.Open(t.Context(), one.Name)
	if err == nil {
		err = b.Remove(t.Context(), one.Name)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, ErrGone) {
		t.Errorf("removed while it is read: %v", err)
	}
}

// A server that is away for a while interrupts no read, and one that stays away ends it.
func TestReadOverAnOutage(t *testing.T) {
	s := streamtest.Start(t)
	b := bucketOn(t, s, small)
	one := put(t, b, metaAt(1, 0), 1000)
	r, _, err := b.Open(t.Context(), one.Name)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 500)
	if _, err := io.ReadFull(r, got); err != nil {
		t.Fatal(err)
	}
	streamtest.Restart(t, s)
	rest, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(slices.Concat(got, rest), content(1, 1000)) {
		t.Errorf("%d bytes more, %v", len(rest), err)
	}
	b.options.Patience = time.Nanosecond
	if r, _, err = b.Open(t.Context(), one.Name); err != nil {
		t.Fatal(err)
	}
	streamtest.Stop(t, s)
	if _, err := io.ReadAll(r); err == nil || errors.Is(err, ErrDamaged) || errors.Is(err, ErrGone) {
		t.Errorf("without a server: %v", err)
	}
	streamtest.StartAgain(t, s)
}

func TestPrune(t *testing.T) {
	hour := time.Hour
	other := metaAt(50, -9*hour)
	other.At.Stream.Created = made.Add(-hour)
	for _, c := range []struct {
		keep   int
		maxAge time.Duration
		after  time.Duration // now
		want   []uint64
	}{
		{0, 0, 100 * hour, []uint64{50, 40, 30, 20, 10, 9}},
		{3, 0, 5 * hour, []uint64{50, 40, 30, 20}},
		{1, 0, 5 * hour, []uint64{50, 40}},
		{0, 2*hour + time.Minute, 5 * hour, []uint64{50, 40, 30}},
		{0, time.Minute, 100 * hour, []uint64{50, 40}},
		{2, 3*hour + time.Minute, 5 * hour, []uint64{50, 40, 30}},
	} {
		t.Run(fmt.Sprint(c.keep, c.maxAge), func(t *testing.T) {
			b := bucketOn(t, streamtest.Start(t), small)
			put(t, b, other, 10)
			for i, seq := range []uint64{9, 10, 20, 30, 40} {
				put(t, b, metaAt(seq, time.Duration(i)*hour), 10)
			}
			removed, err := b.Prune(t.Context(), c.keep, c.maxAge, began.Add(c.after))
			if err != nil || len(removed) != 6-len(c.want) {
				t.Errorf("removed %v, %v", removed, err)
			}
			wantSeqs(t, b, c.want...)
			if n := messages(t, b); n != 2*uint64(len(c.want)) {
				t.Errorf("%d messages are left", n)
			}
		})
	}
}

func TestNames(t *testing.T) {
	for stream, want := range map[string]string{
		"ASSIGNMENTS": "ASSIGNMENTS-snapshots", "a_b-1": "a_b-1-snapshots",
		"größe": "60d7ec8e", strings.Repeat("x", 255): "3ad1f7b5",
	} {
		got := NameFor(stream)
		if plainName.MatchString(stream) && len(stream) < 100 {
			if got != want {
				t.Errorf("%q: %s", stream, got)
			}
		} else if len(got) != 16+len("-snapshots") || !plainName.MatchString(got) {
			t.Errorf("%q: %s", stream, got)
		}
	}
}

// The permissions that the package's documentation names are enough.
func TestDocumentedPermissionsAreEnough(t *testing.T) {
	const s = "OBJ_ASSIGNMENTS-snapshots"
	read := []string{"$JS.API.STREAM.INFO." + s, "$JS.API.STREAM.MSG.GET." + s}
	write := append([]string{"$JS.API.STREAM.PURGE." + s, "$O.ASSIGNMENTS-snapshots.>", "$JS.API.STREAM.CREATE." + s}, read...)
	user := func(name string, publish []string) *server.User {
		return &server.User{Username: name, Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: publish}, Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
		}}
	}
	ns, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
		Users: []*server.User{user("reader", read), user("writer", write)},
	})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() {
		ns.Shutdown()
		ns.WaitForShutdown()
	})
	connect := func(user string) *Bucket {
		nc, err := nats.Connect(ns.ClientURL(), nats.UserInfo(user, ""), nats.ErrorHandler(
			func(_ *nats.Conn, _ *nats.Subscription, err error) { t.Errorf("%s: %v", user, err) }))
		if err != nil {
			t.Fatal(err)
		}
		closed := make(chan struct{})
		nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
		t.Cleanup(func() {
			nc.Close()
			<-closed
		})
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		return New(js, "ASSIGNMENTS", small)
	}
	writer, reader := connect("writer"), connect("reader")
	one := put(t, writer, metaAt(1, 0), 1000)
	put(t, writer, metaAt(2, 0), 1000)
	wantContent(t, reader, one, 1000)
	if removed, err := writer.Prune(t.Context(), 1, 0, began); err != nil || len(removed) != 1 {
		t.Errorf("%v, %v", removed, err)
	}
	wantSeqs(t, reader, 2)
}

func TestNewest(t *testing.T) {
	b := bucketOn(t, streamtest.Start(t), small)
	var restored []uint64
	var got []byte
	restore := func(s Stored, r io.Reader) (err error) {
		restored = append(restored, s.At.Seq)
		got, err = io.ReadAll(io.LimitReader(r, 900)) // not to the end
		return err
	}
	whichever := func(Stored) error { return nil }
	if _, err := b.Newest(t.Context(), whichever, restore); !errors.Is(err, ErrNone) {
		t.Errorf("no bucket: %v", err)
	}
	for _, seq := range []uint64{1, 2, 3, 4} {
		put(t, b, metaAt(seq, 0), 950)
	}
	suits := func(s Stored) error {
		if s.At.Seq == 4 {
			return fmt.Errorf("%w: it is the fourth", ErrUnsuited)
		}
		return nil
	}
	// The end of the third one is damaged: nobody but the digest sees it.
	info, err := underlying(t, b).Info(t.Context())
	if err == nil {
		err = underlying(t, b).DeleteMsg(t.Context(), info.State.LastSeq-11-1)
	}
	if err != nil {
		t.Fatal(err)
	}
	one, err := b.Newest(t.Context(), suits, restore)
	if err != nil || one.At.Seq != 2 || !slices.Equal(restored, []uint64{3, 2}) || !bytes.Equal(got, content(2, 950)[:900]) {
		t.Errorf("%+v, %v, restored %d", one, err, restored)
	}
	// A failure that is not the snapshot's ends it.
	broken := errors.New("the disk is broken")
	if _, err := b.Newest(t.Context(), whichever, func(Stored, io.Reader) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	// What was put meanwhile is seen, and what was removed meanwhile is passed over.
	restored = nil
	one, err = b.Newest(t.Context(), suits, func(s Stored, r io.Reader) error {
		if s.At.Seq == 3 {
			put(t, b, metaAt(5, 0), 950)
			if _, err := b.Prune(t.Context(), 1, 0, began); err != nil {
				t.Error(err)
			}
		}
		return restore(s, r)
	})
	if err != nil || one.At.Seq != 5 {
		t.Errorf("%+v, %v, restored %d", one, err, restored)
	}
}
