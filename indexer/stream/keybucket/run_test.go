package keybucket

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/indexer/stream/streamtest"
	"github.com/assigndex/assigndex/query/apikey"
)

func TestRunGivesTheWholeSetAndThenEveryChange(t *testing.T) {
	s := streamtest.Start(t)
	admin, _ := bucketOn(t, s, Options{})
	a, tokenA := newKey(t, admin, "a")
	b, _ := newKey(t, admin, "b")
	c, _ := newKey(t, admin, "c")
	revoke(t, admin, c)

	served, _ := bucketOn(t, s, Options{}) // confirms too rarely to help
	set := newRecorder()
	select {
	case <-served.Synced():
		t.Fatal("synced before Run")
	default:
	}
	run(t, served, set)
	<-served.Synced()
	if got := set.replaced[0]; got != "a b" {
		t.Fatalf("the first set is %q", got)
	}
	if got, err := set.Verify(tokenA); err != nil || got != a {
		t.Fatalf("Verify = %+v, %v", got, err)
	}
	newKey(t, admin, "d")
	set.waitFor(t, "a", "b", "d")
	revoke(t, admin, a)
	set.waitFor(t, "b", "d")
	if _, err := set.Verify(tokenA); !errors.Is(err, apikey.ErrUnknownKey) {
		t.Fatalf("a revoked key: %v", err)
	}
	revoke(t, admin, b)
	set.waitFor(t, "d")
	if err := admin.Create(t.Context(), b); err != nil { // an id may come back
		t.Fatal(err)
	}
	set.waitFor(t, "b", "d")
}

func TestRunMakesAnAbsentBucket(t *testing.T) {
	s := streamtest.Start(t)
	b, js := bucketOn(t, s, quick)
	set := newRecorder()
	run(t, b, set)
	<-b.Synced()
	set.waitFor(t)
	if _, err := js.KeyValue(t.Context(), Name); err != nil {
		t.Fatal(err)
	}
	newKey(t, b, "a")
	set.waitFor(t, "a")
	set.waitConfirmed(t)
}

func TestLastKeysServeWhileNATSIsAway(t *testing.T) {
	s := streamtest.Start(t)
	b, js := bucketOn(t, s, quick)
	_, token := newKey(t, b, "a")
	set := newRecorder()
	run(t, b, set)
	set.waitFor(t, "a")
	set.waitConfirmed(t)

	streamtest.Stop(t, s)
	awaitStatus(t, js.Conn(), nats.RECONNECTING)
	replaced, confirms := set.counts()
	if _, err := set.Verify(token); err != nil {
		t.Fatalf("while NATS is away: %v", err)
	}
	stopped := time.Now()
	if age, ok := set.Age(stopped.Add(time.Minute)); !ok || age < time.Minute {
		t.Fatalf("a minute later the age is %v, %v", age, ok)
	}

	streamtest.StartAgain(t, s)
	newReplaced := func() bool { return len(set.replaced) > replaced && len(set.confirms) > confirms }
	set.wait(t, "the set after the restart", newReplaced)
	set.waitFor(t, "a")
	set.mu.Lock()
	for _, at := range set.confirms[confirms:] {
		// One that was under way when the server went may still come.
		if at.Before(stopped) && at.After(stopped.Add(-time.Second)) {
			continue
		}
		if at.Before(stopped) {
			t.Errorf("confirmed as of %v, before the restart at %v", at, stopped)
		}
	}
	set.mu.Unlock()
	newKey(t, b, "b")
	set.waitFor(t, "a", "b")
}

// What happens while the connection is away is there when it is back, at once
// and as one set.
func TestChangesWhileDisconnected(t *testing.T) {
	s := streamtest.Start(t)
	admin, adminJS := bucketOn(t, s, Options{})
	a, tokenA := newKey(t, admin, "a")
	newKey(t, admin, "b")
	for name, change := range map[string]func(){
		"keys": func() {
			revoke(t, admin, a)
			newKey(t, admin, "c")
		},
		"bucket deleted and made anew": func() {
			if err := adminJS.DeleteKeyValue(t.Context(), Name); err != nil {
				t.Fatal(err)
			}
			// More messages than before: a position in the old bucket would skip some.
			newKey(t, admin, "b")
			for range 10 {
				k, _ := newKey(t, admin, "gone")
				revoke(t, admin, k)
			}
			newKey(t, admin, "c")
		},
	} {
		t.Run(name, func(t *testing.T) {
			var link gate
			b, js := bucketOn(t, s, Options{}, nats.SetCustomDialer(&link))
			before, err := admin.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			set := newRecorder()
			run(t, b, set)
			set.wait(t, "the set before", func() bool { return set.last() == namesOf(before) })
			link.cut()
			awaitStatus(t, js.Conn(), nats.RECONNECTING)
			replaced, _ := set.counts()
			change()
			if n, _ := set.counts(); n != replaced {
				t.Fatal("the set changed while disconnected")
			}
			link.mend()
			set.waitFor(t, "b", "c")
			if n, _ := set.counts(); n != replaced+1 {
				t.Errorf("it took more than one step: %q", set.replaced[replaced:])
			}
			if _, err := set.Verify(tokenA); !errors.Is(err, apikey.ErrUnknownKey) {
				t.Errorf("the revoked key: %v", err)
			}
		})
		// The next case begins as this one did.
		keys, err := admin.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			if k.Name == "c" {
				revoke(t, admin, k)
			}
		}
		if err := admin.Create(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDeletedBucketMeansNoKeys(t *testing.T) {
	s := streamtest.Start(t)
	b, js := bucketOn(t, s, Options{})
	newKey(t, b, "a")
	set := newRecorder()
	run(t, b, set)
	set.waitFor(t, "a")
	if err := js.DeleteKeyValue(t.Context(), Name); err != nil {
		t.Fatal(err)
	}
	set.waitFor(t)
	newKey(t, b, "b")
	set.waitFor(t, "b")
}

// noCreate is an account that may not make buckets.
type noCreate struct{ jetstream.JetStream }

func (noCreate) CreateKeyValue(context.Context, jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	return nil, errors.New("not allowed")
}

func TestAbsentBucketThatCannotBeMade(t *testing.T) {
	s := streamtest.Start(t)
	admin, js := bucketOn(t, s, Options{})
	newKey(t, admin, "a")
	var log logBuffer
	b := New[apikey.Key](noCreate{js}, apikey.Codec{}, Options{Logger: logTo(&log)})
	set := newRecorder()
	run(t, b, set)
	set.waitFor(t, "a")
	if err := js.DeleteKeyValue(t.Context(), Name); err != nil {
		t.Fatal(err)
	}
	set.waitFor(t)
	newKey(t, admin, "b") // makes the bucket
	set.waitFor(t, "b")
	if !strings.Contains(log.String(), "does not exist and cannot be made: not allowed") {
		t.Errorf("the log says %s", log.String())
	}
}

// A purge sends no message: the confirmation finds it.
func TestPurgedStreamMeansNoKeys(t *testing.T) {
	s := streamtest.Start(t)
	b, js := bucketOn(t, s, quick)
	a, _ := newKey(t, b, "a")
	newKey(t, b, "b")
	set := newRecorder()
	run(t, b, set)
	set.waitFor(t, "a", "b")
	stream, err := js.Stream(t.Context(), streamName)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSubject(subjectPrefix+a.ID)); err != nil {
		t.Fatal(err)
	}
	set.waitFor(t, "b")
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	set.waitFor(t)
	set.waitConfirmed(t)
}

func TestCorruptRecordsHarmNobodyElse(t *testing.T) {
	s := streamtest.Start(t)
	var log logBuffer
	b, js := bucketOn(t, s, Options{Logger: logTo(&log), ConfirmEvery: quick.ConfirmEvery})
	a, _ := newKey(t, b, "a")
	newKey(t, b, "b")
	kv, err := js.KeyValue(t.Context(), Name)
	if err != nil {
		t.Fatal(err)
	}
	put := func(id, value string) {
		t.Helper()
		if _, err := kv.Put(t.Context(), id, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	recordOfA, err := apikey.Encode(a)
	if err != nil {
		t.Fatal(err)
	}
	put("garbage", "\xff\x00{")
	put("empty", "")
	put("two.tokens", string(recordOfA))
	put("aaaaaaaa", string(recordOfA)) // would open with a's secret under an id that nobody revokes

	set := newRecorder()
	run(t, b, set)
	set.waitFor(t, "a", "b")
	set.waitConfirmed(t)
	put("bbbbbbbb", "later garbage")
	newKey(t, b, "c")
	set.waitFor(t, "a", "b", "c")
	put(a.ID, "overwritten")
	set.waitFor(t, "b", "c")
	set.waitConfirmed(t)
	for _, id := range []string{"garbage", "empty", "two.tokens", "aaaaaaaa", "bbbbbbbb", a.ID} {
		if !strings.Contains(log.String(), `"key_id":"`+id+`"`) {
			t.Errorf("the log does not name %s", id)
		}
	}
	if strings.Contains(log.String(), "overwritten") || strings.Contains(log.String(), "garbage\"}") {
		t.Error("the log holds a record")
	}
}

// Requests that went out over a lost connection must not be waited for.
func TestLinkEndsWithItsConnection(t *testing.T) {
	s := streamtest.Start(t)
	var dialer gate
	_, js := bucketOn(t, s, Options{}, nats.SetCustomDialer(&dialer))
	nc := js.Conn()
	changes := nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING)
	defer nc.RemoveStatusListener(changes)
	first := linkOf(nc)
	ctx, stop := whileLinked(t.Context(), nc, first, changes)
	defer stop()
	if ctx.Err() != nil {
		t.Fatalf("while connected: %v", context.Cause(ctx))
	}
	dialer.cut()
	<-ctx.Done()
	if cause := context.Cause(ctx); cause != errDisconnected {
		t.Fatalf("the cause is %v", cause)
	}
	dialer.mend()
	second, err := awaitLink(t.Context(), nc, changes)
	if err != nil || second == first || !second.connected {
		t.Fatalf("after the reconnect: %+v, %v; before: %+v", second, err, first)
	}
	ended, _ := whileLinked(t.Context(), nc, first, changes) // a reconnect that nobody saw
	<-ended.Done()
	ctx, stop = whileLinked(t.Context(), nc, second, changes)
	stop()
	if cause := context.Cause(ctx); cause != context.Canceled {
		t.Fatalf("after stop: %v", cause)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	s := streamtest.Start(t)
	for name, prepare := range map[string]func(*testing.T, jetstream.JetStream, *gate){
		"connected": func(*testing.T, jetstream.JetStream, *gate) {},
		"disconnected": func(t *testing.T, js jetstream.JetStream, g *gate) {
			g.cut()
			awaitStatus(t, js.Conn(), nats.RECONNECTING)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var link gate
			b, js := bucketOn(t, s, quick, nats.SetCustomDialer(&link))
			stop := run(t, b, newRecorder())
			<-b.Synced()
			prepare(t, js, &link)
			if err := stop(); err != nil {
				t.Fatalf("Run gave %v", err)
			}
		})
	}
}

// Run and List are called again and again on a connection that stays.
func TestNothingIsLeftOnTheConnection(t *testing.T) {
	s := streamtest.Start(t)
	b, js := bucketOn(t, s, quick)
	newKey(t, b, "a") // the connection keeps a subscription for answers
	before := js.Conn().NumSubscriptions()
	set := newRecorder()
	stop := run(t, b, set)
	set.waitConfirmed(t)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if n := js.Conn().NumSubscriptions(); n != before {
		t.Errorf("Run left %d subscriptions, there were %d", n, before)
	}
	if _, err := b.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := js.Conn().NumSubscriptions(); n != before {
		t.Errorf("List left %d subscriptions, there were %d", n, before)
	}
}

func TestRunEndsWithItsConnection(t *testing.T) {
	s := streamtest.Start(t)
	b, js := bucketOn(t, s, quick)
	result := make(chan error)
	go func() { result <- b.Run(t.Context(), newRecorder()) }()
	<-b.Synced()
	js.Conn().Close()
	if err := <-result; !errors.Is(err, nats.ErrConnectionClosed) {
		t.Fatalf("Run gave %v", err)
	}
}
