package containertest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/network"
)

// The NATS server is killed, paused and killed again while one command publishes a
// file. The command tries again until all is acknowledged; every event is in the
// stream once, and the index is what the file says.
func TestServerInTroubleWhileEventsArePublished(t *testing.T) {
	provider := engine(t)
	image := natsImage(t, provider)
	containers, err := network.New(t.Context())
	testcontainers.CleanupNetwork(t, containers)
	if err != nil {
		t.Fatal(err)
	}
	nats := startNATS(t, image, containers.Name)
	binary := program{filepath.Join(t.TempDir(), "assigndex")}
	build(t, binary.path)
	listen := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	serve := binary.serve(t, "--nats-url", nats.url, "--data-dir", t.TempDir(), "--listen", listen)
	local := api{base: "http://" + listen}
	waitUntil(t, "serve is ready", local.ready)
	local.key = createKey(t, binary, nats.url)

	m := firstEvents(t)
	for m.sequence < troubledEvents { // the same rows come and go
		for _, usr := range users {
			r := row{usr, fmt.Sprintf("ent-%02d", m.sequence%entitlements)}
			if m.live[r] {
				m.revoke(t, r)
			} else {
				m.assign(t, r)
			}
		}
	}
	path, count := m.file(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	command := exec.CommandContext(ctx, binary.path, "publish", "--nats-url", nats.url, "--tenant", "default", path)
	command.Env = cleanEnv()
	var printed, complained output
	command.Stdout, command.Stderr = &printed, &complained
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	published := make(chan error, 1)
	go func() { published <- command.Wait() }()
	for i, trouble := range []func(){
		func() { nats.kill(t, provider); nats.restart(t) },
		func() { nats.pause(t, provider, local) },
		func() { nats.kill(t, provider); nats.restart(t) },
	} {
		waitUntil(t, "a part of the events is applied", func(ctx context.Context) error {
			h, err := local.health(ctx)
			if from := uint64(i+1) * troubledEvents / 8; err == nil && h.Applied < from {
				return fmt.Errorf("applied are %d, not yet %d", h.Applied, from)
			}
			return err
		})
		select {
		case err := <-published:
			t.Fatalf("trouble %d came when all was published: %v %s", i+1, err, &complained)
		default:
		}
		trouble()
	}
	if err := <-published; err != nil {
		t.Fatalf("publish: %v %s", err, &complained)
	}
	wantPublished(t, printed.String(), count, m)
	serve.running(t)
	wantListings(t, local, m)
}

// troubledEvents is how many events are published at least: some seconds of them. The
// last trouble comes before the half, since publishing is ahead of the index.
const troubledEvents = 150_000

// pause stops the server without ending it, until serve tells that it hears nothing.
func (n natsServer) pause(t *testing.T, provider *testcontainers.DockerProvider, a api) {
	t.Helper()
	id := n.container.GetContainerID()
	if _, err := provider.Client().ContainerPause(t.Context(), id, client.ContainerPauseOptions{}); err != nil {
		t.Fatalf("pause the NATS server: %v", err)
	}
	state, err := n.container.State(t.Context())
	if err != nil || state.Status != container.StatePaused {
		t.Errorf("the NATS server is not paused: %+v, %v", state, err)
	}
	waitUntil(t, "serve tells that it hears nothing", func(ctx context.Context) error {
		h, err := a.health(ctx)
		if err == nil && len(h.Troubles) == 0 {
			return errors.New("there is no trouble")
		}
		return err
	})
	if _, err := provider.Client().ContainerUnpause(t.Context(), id, client.ContainerUnpauseOptions{}); err != nil {
		t.Fatalf("go on with the NATS server: %v", err)
	}
}

// health is what the server says of itself.
type health struct {
	Applied  uint64   `json:"applied"`
	Troubles []string `json:"troubles"`
}

func (a api) health(ctx context.Context) (h health, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+"/readyz", nil)
	if err != nil {
		return h, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return h, err
	}
	defer res.Body.Close()
	return h, json.UnmarshalRead(res.Body, &h)
}
