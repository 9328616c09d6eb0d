package keybucket

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/indexer/stream/streamtest"
	"github.com/assigndex/assigndex/query/apikey"
)

func TestCreateListRevoke(t *testing.T) {
	s := streamtest.Start(t)
	b, js := bucketOn(t, s, Options{})

	// Reading makes no bucket.
	if keys, err := b.List(t.Context()); err != nil || len(keys) != 0 {
		t.Fatalf("List without a bucket: %v, %v", keys, err)
	}
	if err := b.Revoke(t.Context(), "abcdefgh"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("Revoke without a bucket: %v", err)
	}
	if _, err := js.Stream(t.Context(), streamName); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Fatalf("the bucket: %v", err)
	}

	one, _ := newKey(t, b, "one")
	two, _ := newKey(t, b, "two")
	if err := b.Create(t.Context(), one); !errors.Is(err, ErrExists) {
		t.Fatalf("an id that is taken: %v", err)
	}
	if err := b.Create(t.Context(), apikey.Key{}); !errors.Is(err, apikey.ErrInvalid) {
		t.Fatalf("a key that cannot be encoded: %v", err)
	}
	keys, err := b.List(t.Context())
	if err != nil || len(keys) != 2 || keys[0].ID > keys[1].ID || namesOf(keys) != "one two" {
		t.Fatalf("List: %+v, %v", keys, err)
	}
	for _, k := range keys {
		if k != one && k != two {
			t.Fatalf("List gave %+v, which nobody stored", k)
		}
	}

	revoke(t, b, one)
	for _, id := range []string{one.ID, "abcdefgh", "", "*", ">", "a b", strings.ToUpper(two.ID)} {
		if err := b.Revoke(t.Context(), id); !errors.Is(err, ErrNotFound) {
			t.Errorf("Revoke(%q): %v", id, err)
		}
	}
	if keys, err := b.List(t.Context()); err != nil || len(keys) != 1 || keys[0] != two {
		t.Fatalf("List after a revocation: %+v, %v", keys, err)
	}

	stream, err := js.Stream(t.Context(), streamName)
	if err != nil {
		t.Fatal(err)
	}
	c := stream.CachedInfo().Config
	if c.MaxMsgsPerSubject != 1 || c.Storage != jetstream.FileStorage || c.Replicas != 1 {
		t.Errorf("the bucket is configured as %+v", c)
	}
}

func TestKeysSurviveARestart(t *testing.T) {
	s := streamtest.Start(t)
	b, js := bucketOn(t, s, Options{})
	want, _ := newKey(t, b, "kept")
	streamtest.Restart(t, s)
	awaitRoundTrip(t, js)
	if keys, err := b.List(t.Context()); err != nil || len(keys) != 1 || keys[0] != want {
		t.Fatalf("List after a restart: %+v, %v", keys, err)
	}
}

// awaitRoundTrip waits until js answers: after a restart the client may not have
// noticed yet that its connection is gone.
func awaitRoundTrip(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	for limit := time.Now().Add(patience); ; {
		if err := js.Conn().FlushTimeout(patience); err == nil {
			return
		} else if time.Now().After(limit) {
			t.Fatal(err)
		}
	}
}

func TestReplicasNeedACluster(t *testing.T) {
	b, _ := bucketOn(t, streamtest.Start(t), Options{Replicas: 3})
	k, _, err := apikey.New("k", apikey.Reader, "acme", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Create(t.Context(), k); !errors.Is(err, errAbsent) || !strings.Contains(err.Error(), "replicas") {
		t.Fatalf("Create gave %v", err)
	}
}

// Corrupt records keep nobody from listing, and can be revoked.
func TestListSkipsCorruptRecords(t *testing.T) {
	s := streamtest.Start(t)
	var log logBuffer
	b, js := bucketOn(t, s, Options{Logger: logTo(&log)})
	good, _ := newKey(t, b, "good")
	kv, err := js.KeyValue(t.Context(), Name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), "zzzzzzzz", []byte(`{"v":1,"hash":"5ec2e7"`)); err != nil {
		t.Fatal(err)
	}
	if keys, err := b.List(t.Context()); err != nil || len(keys) != 1 || keys[0] != good {
		t.Fatalf("List: %+v, %v", keys, err)
	}
	if !strings.Contains(log.String(), `"key_id":"zzzzzzzz"`) || strings.Contains(log.String(), "5ec2e7") {
		t.Errorf("the log says %s", log.String())
	}
	if err := b.Revoke(t.Context(), "zzzzzzzz"); err != nil {
		t.Errorf("revoke a corrupt record: %v", err)
	}
}
