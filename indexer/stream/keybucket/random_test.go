package keybucket

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/indexer/stream/streamtest"
	"github.com/assigndex/assigndex/query/apikey"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0: a new one")

// Whatever is created and revoked, and however often connections are cut and the
// server is restarted meanwhile, in the end two followers hold what the bucket
// holds, and have confirmed it.
func TestRandomChangesAndDisturbances(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))

	s := streamtest.Start(t)
	admin, adminJS := bucketOn(t, s, Options{})
	links := []*gate{{}, {}}
	sets := []*recorder{newRecorder(), newRecorder()}
	for i, link := range links {
		b, _ := bucketOn(t, s, quick, nats.SetCustomDialer(link))
		run(t, b, sets[i])
		<-b.Synced()
	}
	// With another stream, the server keeps the directories above them.
	if _, err := adminJS.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"other"}}); err != nil {
		t.Fatal(err)
	}
	var keys []apikey.Key
	deletion := r.IntN(300)
	for i := range 300 {
		switch n := r.IntN(100); {
		case n < 50:
			k, _ := newKey(t, admin, fmt.Sprintf("k%03d", i))
			keys = append(keys, k)
		case n < 80 && len(keys) > 0:
			at := r.IntN(len(keys))
			revoke(t, admin, keys[at])
			keys = append(keys[:at], keys[at+1:]...)
		case n < 88:
			links[r.IntN(2)].cut()
		case n < 96:
			links[r.IntN(2)].mend()
		case n < 98:
			streamtest.Restart(t, s)
			awaitRoundTrip(t, adminJS)
		}
		// Once only: a server that deletes a stream again while it still removes the
		// files of the first one keeps the second one's, and recovers them.
		if i == deletion {
			if err := adminJS.DeleteKeyValue(t.Context(), Name); err != nil {
				t.Fatal(err)
			}
			keys = nil
		}
	}
	for i, link := range links {
		link.mend()
		want := namesOf(keys)
		sets[i].wait(t, "what the bucket holds: "+want, func() bool { return sets[i].last() == want })
		sets[i].waitConfirmed(t)
		if sets[i].Len() != len(keys) {
			t.Errorf("the set has %d keys, the bucket %d", sets[i].Len(), len(keys))
		}
	}
}
