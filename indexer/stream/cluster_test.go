package stream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/events/publisher"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/indexer/stream/streamtest"
)

// cluster are three servers in this process, with a stream on all of them.
type cluster struct {
	*world
	servers  []*server.Server
	cuttable [2]*streamtest.Proxy // between the last server and the others
}

// last is the server that can be cut off.
const last = 2

func newCluster(t *testing.T) *cluster {
	t.Helper()
	t.Parallel()
	c := &cluster{world: &world{T: t}}
	var routes []*url.URL
	for range 3 {
		routes = append(routes, &url.URL{Scheme: "nats", Host: freeAddress(t)})
	}
	for i := range c.cuttable {
		c.cuttable[i] = streamtest.NewProxy(t, routes[i].Host)
	}
	for i, route := range routes {
		host, port, err := net.SplitHostPort(route.Host)
		if err != nil {
			t.Fatal(err)
		}
		o := &server.Options{
			ServerName: fmt.Sprintf("n%d", i+1), Host: host, Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(), Routes: routes[:last],
			PingInterval: time.Second, MaxPingsOut: 3, // routes that are held are given up soon
		}
		// The last server connects to the others, and no other way is told that works.
		o.Cluster.Name, o.Cluster.Host, o.Cluster.NoAdvertise = "test", host, true
		if _, err := fmt.Sscan(port, &o.Cluster.Port); err != nil {
			t.Fatal(err)
		}
		if i == last {
			o.Routes, o.Cluster.Advertise = nil, "127.0.0.1:1"
			for _, p := range c.cuttable {
				o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: strings.TrimPrefix(p.URL(), "nats://")})
			}
		}
		c.start(o)
	}
	var urls []string
	for _, s := range c.servers[:last] {
		urls = append(urls, s.ClientURL())
	}
	c.url = strings.Join(urls, ",")
	c.connect(c.url)
	c.until("the stream is made", func() error {
		return stream.Ensure(t.Context(), c.js, stream.Config{Name: name, Replicas: 3})
	})
	return c
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// connect connects what acts on the stream from outside.
func (c *cluster) connect(urls string) {
	c.Helper()
	nc, err := nats.Connect(urls, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.IgnoreDiscoveredServers(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(nc.Close)
	c.nc, c.js = nc, jetStream(c.T, nc)
}

// start starts a server until the test ends.
func (c *cluster) start(o *server.Options) {
	c.Helper()
	s, err := server.NewServer(o)
	if err != nil {
		c.Fatal(err)
	}
	s.Start()
	c.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	c.servers = append(c.servers, s)
	if !s.ReadyForConnections(bounded) {
		c.Fatalf("server %s does not take connections", o.ServerName)
	}
}

// cut cuts the last server off until what it returns is called.
func (c *cluster) cut() (heal func()) {
	one, two := c.cuttable[0].Hold(), c.cuttable[1].Hold()
	return func() { one(); two() }
}

// lead makes a server the stream's leader.
func (c *cluster) lead(preferred string) {
	c.Helper()
	c.until(preferred+" leads the stream", func() error {
		info, err := c.stream().Info(c.Context())
		if err != nil || info.Cluster.Leader == preferred {
			return err
		}
		request := fmt.Appendf(nil, `{"placement":{"preferred":%q}}`, preferred)
		if _, err := c.nc.Request("$JS.API.STREAM.LEADER.STEPDOWN."+name, request, bounded); err != nil {
			return err
		}
		return fmt.Errorf("it was %s", info.Cluster.Leader)
	})
}

// until waits for a condition.
func (c *cluster) until(what string, ask func() error) {
	c.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(4 * bounded)
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			c.Fatalf("waited in vain until %s: %v", what, err)
		case <-tick.C:
		}
	}
}

// A server that has lost sight of the two others answers for the stream with what it
// has itself, whether it was its leader or not. That is neither the stream's end nor a
// stream that has lost messages.
func TestAServerThatIsCutOffIsNotBelieved(t *testing.T) {
	for was, leader := range map[string]string{"the leader": "n3", "a follower": "n1"} {
		t.Run(was, func(t *testing.T) {
			c := newCluster(t)
			begin := c.begin()
			c.publish(5)
			c.lead(leader)
			heal := c.cut()
			defer heal()
			more := func() (last uint64) {
				c.until("more is published", func() error {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					ack, err := c.js.PublishMsg(ctx, message("more"))
					if err == nil {
						last = ack.Sequence
					}
					return err
				})
				return last
			}
			f := c.follow(begin, nats.IgnoreDiscoveredServers())
			f.wait(more())
			at := f.stop()

			outside := c.world.url
			c.world.url = c.servers[last].ClientURL()
			r, nc := c.reader(nats.IgnoreDiscoveredServers())
			c.until("the server that is cut off answers for the stream", func() error {
				s, err := jetStream(t, nc).Stream(t.Context(), name)
				if err == nil && s.CachedInfo().State.LastSeq >= at.Seq {
					t.Fatal("it does not lag")
				}
				return err
			})
			to, err := r.Rejoin(t.Context(), at, 0, nil)
			if _, parted := errors.AsType[*stream.Parting](err); err == nil || parted || to.Stream != at.Stream || r.Head().Parted != nil {
				t.Errorf("Rejoin gave %+v, %v, and the head is %+v", to, err, r.Head())
			}
			if at, err := r.Begin(t.Context(), false); err == nil {
				t.Errorf("a new index begins at %+v", at)
			}
			c.world.url = outside
			heal()
			last := more()
			g := c.follow(at, nats.IgnoreDiscoveredServers())
			g.complete(last)
			c.until("it is the stream that was read", func() error {
				to, err = r.Rejoin(t.Context(), at, 0, nil)
				return err
			})
			if to.Stream != at.Stream {
				t.Errorf("Rejoin gave %+v", to)
			}
		})
	}
}

// Clients stay connected to a server that was cut off from the others. They leave it
// when it cannot reach the stream's leader.
func TestAServerThatIsCutOffIsLeft(t *testing.T) {
	c := newCluster(t)
	c.publish(5)
	c.lead("n1")
	c.world.url = c.servers[last].ClientURL() + "," + c.world.url
	f := c.follow(c.begin(), nats.DontRandomize(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	f.wait(5)
	nc, err := nats.Connect(c.world.url, append(publisher.ConnectOptions(), nats.DontRandomize())...)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	p, err := publisher.New(t.Context(), nc, publisher.Options{AckTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.cut()()
	m, err := publisher.NewRecord(events.GroupUpserted, []byte(`{"grp_id":"g"}`))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*bounded)
	defer cancel()
	ack, err := p.Publish(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	f.wait(ack.LastSeq)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// What was erased from a replicated stream, its last messages too, is passed over.
func TestErasedFromAReplicatedStream(t *testing.T) {
	c := newCluster(t)
	f := c.follow(c.begin())
	f.complete(c.publish(12))
	at := f.stop()
	last := c.publish(8)
	c.erase(14, 15, 19, 20)
	g := c.follow(at)
	g.complete(last, [2]uint64{14, 15}, [2]uint64{19, 20})
	// An idle stream keeps a leader that can speak for it.
	r, _ := c.reader()
	for range 5 {
		if _, err := r.Begin(t.Context(), false); err != nil {
			t.Fatal(err)
		}
	}
}
