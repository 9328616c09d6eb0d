package containertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

const (
	defaultNATSImage = "nats:2.15-alpine"
	natsImageEnv     = "ASSIGNDEX_TEST_NATS_IMAGE"
	reaperEnv        = "TESTCONTAINERS_RYUK_DISABLED"
	natsPort         = "4222/tcp"
	healthPort       = "8222/tcp"
	natsAlias        = "nats" // the server's name in the containers' network
	imageUser        = "65532:65532"

	// natsConfig makes an acknowledgement mean that the message is on disk.
	natsConfig = `
port: 4222
http_port: 8222
jetstream { store_dir: /data, sync_interval: always }
`
)

// engine connects to the Docker engine, and skips the test where none answers.
func engine(t *testing.T) *testcontainers.DockerProvider {
	t.Helper()
	// Everything that is started is removed by the test's own clean-up, so the reaper, one more image to pull, is
	// left out unless somebody asks for it.
	if _, set := os.LookupEnv(reaperEnv); !set {
		t.Setenv(reaperEnv, "true")
	}
	provider, err := connect(t.Context())
	if err != nil {
		t.Skipf("no Docker engine answers: %v", err)
	}
	t.Cleanup(func() { provider.Close() })
	return provider
}

// connect turns the panic of a machine without Docker into an error.
func connect(ctx context.Context) (provider *testcontainers.DockerProvider, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	provider, err = testcontainers.NewDockerProvider()
	if err != nil {
		return nil, err
	}
	return provider, provider.Health(ctx)
}

// natsImage gives the image of the NATS server.
func natsImage(t *testing.T, provider *testcontainers.DockerProvider) string {
	t.Helper()
	return pulled(t, provider, natsImageEnv, defaultNATSImage)
}

// natsServer is a NATS server in a container, on one port of this machine for
// as long as the test lasts, restarts included.
type natsServer struct {
	container testcontainers.Container
	url       string
}

// startNATS runs a NATS server with JetStream in the network nw.
func startNATS(t *testing.T, image, nw string) natsServer {
	t.Helper()
	port := freePort(t)
	request := testcontainers.ContainerRequest{
		Image:        image,
		ExposedPorts: []string{natsPort, healthPort},
		Cmd:          []string{"--config", "/nats-test.conf"},
		Files: []testcontainers.ContainerFile{{
			Reader: strings.NewReader(natsConfig), ContainerFilePath: "/nats-test.conf", FileMode: 0o644,
		}},
		Networks:       []string{nw},
		NetworkAliases: map[string][]string{nw: {natsAlias}},
		HostConfigModifier: func(c *container.HostConfig) {
			// A port that the engine picks would be another one after a restart.
			c.PortBindings = network.PortMap{
				network.MustParsePort(natsPort): {{HostPort: strconv.Itoa(port)}},
			}
		},
		// Asked again after a restart; the log would still hold the first start.
		WaitingFor: wait.ForHTTP("/healthz").WithPort(healthPort).WithStartupTimeout(time.Minute),
	}
	c, err := testcontainers.GenericContainer(t.Context(), testcontainers.GenericContainerRequest{ContainerRequest: request, Started: true})
	testcontainers.CleanupContainer(t, c)
	if err != nil {
		t.Fatalf("start the NATS server: %v", err)
	}
	host, err := c.Host(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	logOnFailure(t, "the NATS server", c)
	return natsServer{container: c, url: "nats://" + net.JoinHostPort(host, strconv.Itoa(port))}
}

// kill ends the server with SIGKILL; its files stay.
func (n natsServer) kill(t *testing.T, provider *testcontainers.DockerProvider) {
	t.Helper()
	_, err := provider.Client().ContainerKill(t.Context(), n.container.GetContainerID(), client.ContainerKillOptions{Signal: "KILL"})
	if err != nil {
		t.Fatalf("kill the NATS server: %v", err)
	}
	waitUntil(t, "the NATS server is dead", func(ctx context.Context) error {
		state, err := n.container.State(ctx)
		if err == nil && state.Running {
			return errors.New("it runs")
		}
		return err
	})
}

// restart starts the killed server on the files that it left.
func (n natsServer) restart(t *testing.T) {
	t.Helper()
	if err := n.container.Start(t.Context()); err != nil {
		t.Fatalf("restart the NATS server: %v", err)
	}
}

// startImage builds the image of Dockerfile.binary and runs it in the network
// nw with nothing writable but its volume. It returns the API's base URL.
func startImage(t *testing.T, provider *testcontainers.DockerProvider, nw string) (testcontainers.Container, string) {
	t.Helper()
	request := testcontainers.ContainerRequest{
		FromDockerfile: testcontainers.FromDockerfile{Context: imageContext(t, provider), Dockerfile: "Dockerfile.binary"},
		ExposedPorts:   []string{"8080/tcp"},
		Env:            map[string]string{"ASSIGNDEX_NATS_URL": "nats://" + natsAlias + ":4222"},
		Networks:       []string{nw},
		HostConfigModifier: func(c *container.HostConfig) {
			c.ReadonlyRootfs = true
			c.CapDrop = []string{"ALL"}
			c.SecurityOpt = []string{"no-new-privileges"}
		},
	}
	c, err := testcontainers.GenericContainer(t.Context(), testcontainers.GenericContainerRequest{ContainerRequest: request, Started: true})
	testcontainers.CleanupContainer(t, c)
	if err != nil {
		t.Fatalf("build and start our image: %v", err)
	}
	logOnFailure(t, "our image", c)
	base, err := c.PortEndpoint(t.Context(), "8080/tcp", "http")
	if err != nil {
		t.Fatal(err)
	}
	return c, base
}

// imageContext lays out what Dockerfile.binary copies.
func imageContext(t *testing.T, provider *testcontainers.DockerProvider) string {
	t.Helper()
	version, err := provider.Client().ServerVersion(t.Context(), client.ServerVersionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	build(t, filepath.Join(dir, "assigndex"), "GOOS=linux", "GOARCH="+version.Arch)
	dockerfile, err := os.ReadFile(filepath.Join("..", "Dockerfile.binary"))
	if err != nil {
		t.Fatal(err)
	}
	// The test speaks no TLS, so it does without certificates where the machine has none at the usual place.
	certificates, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"Dockerfile.binary": dockerfile, "ca-certificates.crt": certificates} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// logOnFailure shows what the container printed when the test has failed.
func logOnFailure(t *testing.T, name string, c testcontainers.Container) {
	t.Helper()
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		logs, err := c.Logs(ctx)
		if err != nil {
			t.Logf("no log of %s: %v", name, err)
			return
		}
		defer logs.Close()
		text, err := io.ReadAll(logs)
		t.Logf("log of %s (%v):\n%s", name, err, text)
	})
}
