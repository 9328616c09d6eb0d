package containertest

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/network"
)

func TestWholePathAgainstARealNATSServer(t *testing.T) {
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

	// A server, a key, a file of events, and every listing of them.
	dataDir, listen := t.TempDir(), fmt.Sprintf("127.0.0.1:%d", freePort(t))
	serveArgs := []string{"--nats-url", nats.url, "--data-dir", dataDir, "--listen", listen}
	serve := binary.serve(t, serveArgs...)
	local := api{base: "http://" + listen}
	waitUntil(t, "serve is ready", local.ready)

	local.key = createKey(t, binary, nats.url)
	waitUntil(t, "the new key is known", func(ctx context.Context) error {
		status, answer, err := local.post(ctx, map[string]any{})
		if err == nil && status != http.StatusOK {
			return fmt.Errorf("status %d: %s", status, answer)
		}
		return err
	})
	m := firstEvents(t)
	publish(t, binary, nats.url, m)
	wantListings(t, local, m)
	wantQuery(t, binary, local, m)
	wantRefused(t, local)

	// The NATS server dies: what is indexed is served all the same.
	nats.kill(t, provider)
	serve.running(t)
	wantListings(t, local, m)

	// It comes back with its files: the same serve goes on from where it was.
	nats.restart(t)
	laterEvents(t, m)
	publish(t, binary, nats.url, m)
	wantListings(t, local, m)
	serve.running(t)

	// A new process on the same directory says the same.
	serve.stop(t)
	again := binary.serve(t, serveArgs...)
	waitUntil(t, "serve is ready again", local.ready)
	wantListings(t, local, m)
	again.stop(t)

	// So does our image, with an index of its own, built from the same stream.
	c, base := startImage(t, provider, containers.Name)
	wantNoRights(t, c)
	inContainer := api{base: base, key: local.key}
	waitUntil(t, "our image is ready", inContainer.ready)
	wantListings(t, inContainer, m)
	wantQuery(t, binary, inContainer, m)
}

// createKey wants the new key alone on standard output.
func createKey(t *testing.T, binary program, natsURL string) string {
	t.Helper()
	printed := binary.run(t, "key", "create", "--name", "containertest", "--role", "reader", "--tenant", "default", "--nats-url", natsURL)
	key := strings.TrimSuffix(printed, "\n")
	if key == "" || strings.ContainsAny(key, " \n\t") {
		t.Fatalf("key create printed %d bytes, which are not one key alone on a line", len(printed))
	}
	return key
}

// publish sends what the model has not yet published, and wants to be told how
// many events that were and the last sequence.
func publish(t *testing.T, binary program, natsURL string, m *model) {
	t.Helper()
	path, count := m.file(t)
	wantPublished(t, binary.run(t, "publish", "--nats-url", natsURL, "--tenant", "default", path), count, m)
}

// wantPublished wants the number of events and the last sequence, which are the
// model's.
func wantPublished(t *testing.T, printed string, count int, m *model) {
	t.Helper()
	numbers := strings.FieldsFunc(printed, func(r rune) bool { return r < '0' || r > '9' })
	if !slices.Contains(numbers, strconv.Itoa(count)) || !slices.Contains(numbers, strconv.FormatUint(m.sequence, 10)) {
		t.Errorf("publish printed %q, without the number of events %d or the last sequence %d", printed, count, m.sequence)
	}
}

// wantQuery reads all pages through the command.
func wantQuery(t *testing.T, binary program, a api, m *model) {
	t.Helper()
	printed := binary.run(t, "query", "--url", a.base, "--api-key", a.key, "--usr", users[1], "--output", "ndjson")
	var got []row
	for line := range strings.Lines(printed) {
		var r row
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("query printed %q: %v", line, err)
		}
		got = append(got, r)
	}
	if want := m.rows(func(r row) bool { return r.UsrID == users[1] }); !slices.Equal(got, want) {
		t.Errorf("query: got %q\nwant %q", got, want)
	}
}

// wantRefused asks without a key, with a wrong one, and with a misspelt filter.
func wantRefused(t *testing.T, a api) {
	t.Helper()
	for _, c := range []struct {
		label   string
		api     api
		request map[string]any
		want    int
	}{
		{"no key", api{base: a.base}, nil, http.StatusUnauthorized},
		{"a wrong key", api{base: a.base, key: a.key + "x"}, nil, http.StatusUnauthorized},
		{"a misspelt filter", a, map[string]any{"user_id": "a"}, http.StatusBadRequest},
	} {
		status, answer, err := c.api.post(t.Context(), c.request)
		if err != nil || status != c.want {
			t.Errorf("%s: status %d (%v), want %d: %s", c.label, status, err, c.want, answer)
		}
	}
}

// wantNoRights wants the container to run as a user without rights. That it
// runs at all shows that it writes nowhere but to its volume.
func wantNoRights(t *testing.T, c testcontainers.Container) {
	t.Helper()
	inspected, err := c.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if inspected.Config.User != imageUser || !inspected.HostConfig.ReadonlyRootfs {
		t.Errorf("the container runs as %q, read-only root %v", inspected.Config.User, inspected.HostConfig.ReadonlyRootfs)
	}
}
