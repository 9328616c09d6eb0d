package keybucket

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/assigndex/assigndex/indexer/stream/streamtest"
	"github.com/assigndex/assigndex/query/apikey"
)

func TestLookup(t *testing.T) {
	s := streamtest.Start(t)
	admin, adminJS := bucketOn(t, s, Options{})
	server, _ := bucketOn(t, s, Options{}) // another connection, which follows nothing
	absent := func(what, id string) {
		t.Helper()
		if got, found, err := server.Lookup(t.Context(), id); found || err != nil || got != (apikey.Key{}) {
			t.Errorf("%s: %+v, %v, %v", what, got, found, err)
		}
	}
	present := func(want apikey.Key) {
		t.Helper()
		if got, found, err := server.Lookup(t.Context(), want.ID); !found || err != nil || got != want {
			t.Errorf("%+v, %v, %v; want %+v", got, found, err, want)
		}
	}
	absent("without a bucket", "abcdefgh")
	for range 20 { // at once, each time
		k, _ := newKey(t, admin, "k")
		present(k)
		revoke(t, admin, k)
		absent("revoked", k.ID)
		if err := admin.Create(t.Context(), k); err != nil {
			t.Fatal(err)
		}
		present(k)
	}
	for _, id := range []string{"abcdefgh", "", "*", ">", "a b", `a"b`, "a.b", strings.Repeat("a", 1000)} {
		absent(id, id)
	}

	kv, err := adminJS.KeyValue(t.Context(), Name)
	if err != nil {
		t.Fatal(err)
	}
	deleted, _ := newKey(t, admin, "deleted by another tool")
	if err := kv.Delete(t.Context(), deleted.ID); err != nil {
		t.Fatal(err)
	}
	absent("deleted", deleted.ID)
	if _, err := kv.Put(t.Context(), "zzzzzzzz", []byte(`{"v":1,"hash":"5ec2e7"`)); err != nil {
		t.Fatal(err)
	}
	_, found, err := server.Lookup(t.Context(), "zzzzzzzz")
	if found || !errors.Is(err, apikey.ErrCorrupt) || !strings.Contains(err.Error(), "zzzzzzzz") || strings.Contains(err.Error(), "5ec2e7") {
		t.Errorf("a corrupt record: %v, %v", found, err)
	}
	if err := adminJS.DeleteKeyValue(t.Context(), Name); err != nil {
		t.Fatal(err)
	}
	absent("the bucket is deleted", deleted.ID)
}

// Nobody waits for an answer that cannot come.
func TestLookupWhileNATSIsAway(t *testing.T) {
	s := streamtest.Start(t)
	var link gate
	b, js := bucketOn(t, s, Options{}, nats.SetCustomDialer(&link))
	k, _ := newKey(t, b, "k")
	link.cut()
	awaitStatus(t, js.Conn(), nats.RECONNECTING)
	if _, found, err := b.Lookup(t.Context(), k.ID); found || !errors.Is(err, errDisconnected) {
		t.Errorf("disconnected: %v, %v", found, err)
	}
	link.mend()
	awaitStatus(t, js.Conn(), nats.CONNECTED)
	if got, found, err := b.Lookup(t.Context(), k.ID); !found || err != nil || got != k {
		t.Errorf("connected again: %+v, %v, %v", got, found, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, found, err := b.Lookup(ended, k.ID); found || !errors.Is(err, context.Canceled) {
		t.Errorf("nobody asks any more: %v, %v", found, err)
	}
}
