package keybucket

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/query/apikey"
)

// The permissions that the package's documentation names are enough. What is
// denied would show as a time-out.
func TestDocumentedPermissionsAreEnough(t *testing.T) {
	follow := []string{
		"$JS.API.STREAM.INFO." + streamName, "$JS.API.CONSUMER.CREATE." + streamName + ".>",
		"$JS.API.CONSUMER.INFO." + streamName + ".>", "$JS.API.CONSUMER.MSG.NEXT." + streamName + ".>",
		"$JS.API.STREAM.MSG.GET." + streamName,
	}
	manage := append([]string{
		"$JS.API.INFO", "$JS.API.STREAM.CREATE." + streamName, "$JS.API.DIRECT.GET." + streamName + ".>", subjectPrefix + ">",
	}, follow...)
	user := func(name string, publish []string) *server.User {
		return &server.User{Username: name, Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: publish}, Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
		}}
	}
	ns, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
		Users: []*server.User{user("follower", follow), user("manager", manage)},
	})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() {
		ns.Shutdown()
		ns.WaitForShutdown()
	})
	connect := func(user string) *Bucket[apikey.Key] {
		nc, err := nats.Connect(ns.ClientURL(), nats.UserInfo(user, ""), nats.ErrorHandler(
			func(_ *nats.Conn, _ *nats.Subscription, err error) { t.Errorf("%s: %v", user, err) }))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		return New(js, apikey.Codec{}, quick)
	}
	manager, follower := connect("manager"), connect("follower")
	a, _ := newKey(t, manager, "a")
	set := newRecorder()
	run(t, follower, set)
	set.waitFor(t, "a")
	set.waitConfirmed(t)
	if err := manager.Create(t.Context(), a); err == nil {
		t.Error("an id was taken twice")
	}
	if keys, err := follower.List(t.Context()); err != nil || len(keys) != 1 {
		t.Errorf("List: %v, %v", keys, err)
	}
	if got, found, err := follower.Lookup(t.Context(), a.ID); err != nil || !found || got != a {
		t.Errorf("Lookup: %+v, %v, %v", got, found, err)
	}
	revoke(t, manager, a)
	set.waitFor(t)
}
