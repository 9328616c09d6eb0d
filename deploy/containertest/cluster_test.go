package containertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	mobynetwork "github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/network"
)

// clusterConfig is that of each server. Servers talk to each other in a network of
// their own, so that one can be cut off from the others while clients still reach it:
// it must not tell of other ways. Connections of a network that is gone are given up soon.
const clusterConfig = `
server_name: nats-%[1]d
port: 4222
ping_interval: "2s"
ping_max: 2
write_deadline: "2s"
jetstream { store_dir: /data, sync_interval: always }
cluster {
  name: chaos
  port: 6222
  no_advertise: true
  routes: [nats://route-1:6222, nats://route-2:6222, nats://route-3:6222]
}
accounts {
  SYS { users: [{user: sys, password: sys}] }
  APP { jetstream: enabled, users: [{user: app, password: app}] }
}
system_account: SYS
no_auth_user: app
`

// natsCluster is three NATS servers in containers, each on a port of this machine's
// loopback for as long as the test lasts.
type natsCluster struct {
	docker client.APIClient
	routes *testcontainers.DockerNetwork
	nodes  [3]natsNode
	js     jetstream.JetStream
	system *nats.Conn // of the system account
}

type natsNode struct {
	name, route, url string
	container        testcontainers.Container
}

func startCluster(t *testing.T, provider *testcontainers.DockerProvider) *natsCluster {
	t.Helper()
	image := natsImage(t, provider)
	front, err := network.New(t.Context())
	testcontainers.CleanupNetwork(t, front)
	if err != nil {
		t.Fatal(err)
	}
	routes, err := network.New(t.Context(), network.WithInternal())
	testcontainers.CleanupNetwork(t, routes)
	if err != nil {
		t.Fatal(err)
	}
	c := &natsCluster{docker: provider.Client(), routes: routes}
	for i := range c.nodes {
		c.nodes[i] = startNode(t, image, i+1, front.Name, routes.Name)
	}
	c.js = c.connect(t)
	c.system = c.dial(t, nats.UserInfo("sys", "sys"))
	waitUntil(t, "the cluster has a leader", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // nobody answers what was asked before
		defer cancel()
		_, err := c.js.AccountInfo(ctx)
		return err
	})
	return c
}

func startNode(t *testing.T, image string, number int, front, routes string) natsNode {
	t.Helper()
	n := natsNode{name: fmt.Sprintf("nats-%d", number), route: fmt.Sprintf("route-%d", number)}
	port := freePort(t)
	request := testcontainers.ContainerRequest{
		Image:        image,
		ExposedPorts: []string{natsPort},
		Cmd:          []string{"--config", "/nats-test.conf"},
		Files: []testcontainers.ContainerFile{{
			Reader: strings.NewReader(fmt.Sprintf(clusterConfig, number)), ContainerFilePath: "/nats-test.conf", FileMode: 0o644,
		}},
		Networks:       []string{front, routes},
		NetworkAliases: map[string][]string{routes: {n.route}},
		HostConfigModifier: func(c *container.HostConfig) {
			c.PortBindings = mobynetwork.PortMap{
				mobynetwork.MustParsePort(natsPort): {{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: strconv.Itoa(port)}},
			}
		},
	}
	var err error
	n.container, err = testcontainers.GenericContainer(t.Context(), testcontainers.GenericContainerRequest{ContainerRequest: request, Started: true})
	testcontainers.CleanupContainer(t, n.container)
	if err != nil {
		t.Fatalf("start %s: %v", n.name, err)
	}
	logOnFailure(t, n.name, n.container)
	n.url = "nats://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	return n
}

func (c *natsCluster) urls() string {
	var urls []string
	for _, n := range c.nodes {
		urls = append(urls, n.url)
	}
	return strings.Join(urls, ",")
}

// dial connects to any of the servers, and again for as long as the test lasts.
func (c *natsCluster) dial(t *testing.T, options ...nats.Option) *nats.Conn {
	t.Helper()
	options = append([]nats.Option{
		nats.MaxReconnects(-1), nats.ReconnectWait(100 * time.Millisecond), nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(1),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // the default writes to standard error
	}, options...)
	var nc *nats.Conn
	waitUntil(t, "NATS takes connections", func(context.Context) (err error) {
		nc, err = nats.Connect(c.urls(), options...)
		return err
	})
	t.Cleanup(nc.Close)
	return nc
}

func (c *natsCluster) connect(t *testing.T) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(c.dial(t))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// leader gives the number of the server that leads the stream.
func (c *natsCluster) leader(t *testing.T) (leader int) {
	t.Helper()
	waitUntil(t, "the stream has a leader", func(ctx context.Context) error {
		info, err := c.info(ctx, streamName)
		if err != nil {
			return err
		}
		for i, n := range c.nodes {
			if n.name == info.Cluster.Leader {
				leader = i
				return nil
			}
		}
		return fmt.Errorf("the leader is %q", info.Cluster.Leader)
	})
	return leader
}

const streamName = "ASSIGNMENTS"

func (c *natsCluster) info(ctx context.Context, stream string) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	s, err := c.js.Stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	return s.CachedInfo(), nil
}

// inSync waits until every server has all of the streams.
func (c *natsCluster) inSync(t *testing.T) {
	t.Helper()
	for _, stream := range []string{streamName, "KV_assigndex-keys"} {
		waitUntil(t, "all servers have all of "+stream, func(ctx context.Context) error {
			info, err := c.info(ctx, stream)
			switch {
			case err != nil:
				return err
			case info.Config.Replicas != len(c.nodes) || len(info.Cluster.Replicas) != len(c.nodes)-1 || info.Cluster.Leader == "":
				return fmt.Errorf("it has %d copies: %+v", info.Config.Replicas, *info.Cluster)
			}
			for _, peer := range info.Cluster.Replicas {
				if !peer.Current || peer.Offline || peer.Active == 0 || peer.Active > 2*time.Second {
					return fmt.Errorf("%+v", *peer)
				}
			}
			return nil
		})
	}
}

// stop ends a server, by a signal that it may answer or by one that it cannot.
func (c *natsCluster) stop(t *testing.T, node int, kill bool) {
	t.Helper()
	signal := "TERM"
	if kill {
		signal = "KILL"
	}
	n := c.nodes[node]
	if _, err := c.docker.ContainerKill(t.Context(), n.container.GetContainerID(), client.ContainerKillOptions{Signal: signal}); err != nil {
		t.Fatalf("stop %s: %v", n.name, err)
	}
	waitUntil(t, n.name+" has ended", func(ctx context.Context) error {
		state, err := n.container.State(ctx)
		if err == nil && state.Running {
			return errors.New("it runs")
		}
		return err
	})
}

func (c *natsCluster) start(t *testing.T, node int) {
	t.Helper()
	if err := c.nodes[node].container.Start(t.Context()); err != nil {
		t.Fatalf("start %s: %v", c.nodes[node].name, err)
	}
}

func (c *natsCluster) pause(t *testing.T, node int) {
	t.Helper()
	// A busy machine may fail to freeze processes the first time.
	waitUntil(t, c.nodes[node].name+" is paused", func(ctx context.Context) error {
		_, err := c.docker.ContainerPause(ctx, c.nodes[node].container.GetContainerID(), client.ContainerPauseOptions{})
		if state, asked := c.nodes[node].container.State(ctx); asked == nil && state.Status == container.StatePaused {
			return nil
		}
		return err
	})
}

func (c *natsCluster) unpause(t *testing.T, node int) {
	t.Helper()
	if _, err := c.docker.ContainerUnpause(t.Context(), c.nodes[node].container.GetContainerID(), client.ContainerUnpauseOptions{}); err != nil {
		t.Fatalf("go on with %s: %v", c.nodes[node].name, err)
	}
}

// cut takes a server out of the network of the servers. Clients still reach it.
func (c *natsCluster) cut(t *testing.T, node int) {
	t.Helper()
	o := client.NetworkDisconnectOptions{Container: c.nodes[node].container.GetContainerID(), Force: true}
	if _, err := c.docker.NetworkDisconnect(t.Context(), c.routes.ID, o); err != nil {
		t.Fatalf("cut %s off: %v", c.nodes[node].name, err)
	}
}

// join puts it back, maybe at another address.
func (c *natsCluster) join(t *testing.T, node int) {
	t.Helper()
	o := client.NetworkConnectOptions{
		Container:      c.nodes[node].container.GetContainerID(),
		EndpointConfig: &mobynetwork.EndpointSettings{Aliases: []string{c.nodes[node].route}},
	}
	if _, err := c.docker.NetworkConnect(t.Context(), c.routes.ID, o); err != nil {
		t.Fatalf("put %s back: %v", c.nodes[node].name, err)
	}
}

// stepDown asks a leader to give way. That it answers late, or not at all since it has
// given way, is no failure.
func stepDown(t *testing.T, nc *nats.Conn, subject string) {
	t.Helper()
	waitUntil(t, "a leader takes "+subject, func(context.Context) error {
		_, err := nc.Request(subject, nil, 2*time.Second)
		if errors.Is(err, nats.ErrTimeout) {
			return nil
		}
		return err
	})
}
