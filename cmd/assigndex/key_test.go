package main

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/indexer/stream/keybucket"
	"github.com/assigndex/assigndex/query/apikey"
)

// unread takes every record for a corrupt one.
type unread struct{ apikey.Codec }

func (unread) Decode(string, []byte) (apikey.Key, error) { return apikey.Key{}, errors.New("unread") }

// A key opens the server once key create has returned, and no more once key
// revoke has, however far the server's set of keys is behind: here it never
// learns of a key.
func TestKeysDoNotWaitForTheSet(t *testing.T) {
	n := startChanged(t, t.TempDir(), func(n *node) {
		js, err := jetstream.New(n.nc)
		if err != nil {
			t.Fatal(err)
		}
		n.keys = keybucket.New(js, unread{}, keybucket.Options{})
	})
	<-n.keys.Synced()
	const body = `{"action":"create","apps":[{"app_id":"web"}]}`
	key := n.must("", "key", "create", "--name", "hr", "--role", "writer")
	n.ingest(key, "applications", body)

	other := n.must("", "key", "create", "--name", "other")
	split := len(key) - apikey.SecretLen
	id := strings.Split(key, "_")[1]
	n.must("", "key", "revoke", id)
	for name, token := range map[string]string{"revoked": key, "a wrong secret": other[:split] + key[split:]} {
		if a := n.send(token, http.MethodPost, "/api/ingest/applications", body); a.status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if n.known.Len() != 0 {
		t.Errorf("the set holds %d keys", n.known.Len())
	}
}
