package containertest

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	chaosRounds = flag.Int("chaos.rounds", 0, "rounds of all faults of the cluster; 0: a few faults, for less than a minute")
	chaosSeed   = flag.Uint64("chaos.seed", 0, "seed of the order of faults and of what is published; 0: a new one")
)

// fewFaults is how many there are in the short form.
const fewFaults = 2

// TestChaos publishes events into a stream on three servers, lists them from two
// replicas, and meanwhile stops, pauses and cuts off the servers, changes leaders,
// and restarts everything in turn. Nothing acknowledged is lost or doubled, every
// complete listing is the state at its sequence, and in the end both replicas say the
// same.
func TestChaos(t *testing.T) {
	provider := engine(t)
	seed := *chaosSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 1_000_000_000
	}
	t.Logf("-chaos.seed %d -chaos.rounds %d", seed, *chaosRounds)
	c := &chaos{T: t, rng: rand.New(rand.NewPCG(seed, 0)), cluster: startCluster(t, provider)}
	c.startReplicas()
	c.cluster.inSync(t)
	c.source = c.cluster.publish(t, seed)
	listed := read(t, seed, c.replicas[:]...)
	began := time.Now()
	for _, f := range c.faults() {
		at := time.Now()
		c.source.ahead(t, 50)
		what := f.inject()
		c.cluster.inSync(t)
		c.caughtUp(c.source.ahead(t, 50))
		t.Logf("%6.1fs %s: %s (%.1fs)", time.Since(began).Seconds(), f.name, what, time.Since(at).Seconds())
		if t.Failed() {
			break
		}
	}
	bySeq := c.source.end(t)
	c.caughtUp(uint64(len(bySeq)))
	listed.end(t, bySeq)
	c.wantSame(bySeq)
}

// chaos is the scene of the test.
type chaos struct {
	*testing.T
	rng      *rand.Rand
	cluster  *natsCluster
	replicas [2]*replica
	source   *source
	admin    string // a key for all tenants
}

func (c *chaos) startReplicas() {
	c.Helper()
	binary := program{filepath.Join(c.TempDir(), "assigndex")}
	build(c.T, binary.path)
	for i := range c.replicas {
		listen := fmt.Sprintf("127.0.0.1:%d", freePort(c.T))
		r := &replica{name: fmt.Sprintf("replica %d", i+1), binary: binary, api: api{base: "http://" + listen}}
		r.args = []string{"--nats-url", c.cluster.urls(), "--stream-replicas", "3", "--data-dir", c.TempDir(), "--listen", listen}
		r.server = binary.serve(c.T, r.args...)
		waitUntil(c.T, r.name+" is ready", r.ready)
		c.replicas[i] = r
	}
	c.cluster.inSync(c.T) // the bucket of keys is made
	key := createKey(c.T, binary, c.cluster.urls())
	c.admin = strings.TrimSpace(binary.run(c.T, "key", "create", "--name", "admin", "--role", "admin", "--tenant", "*", "--nats-url", c.cluster.urls()))
	for _, r := range c.replicas {
		r.key = key
	}
}

// caughtUp waits until both replicas have applied a sequence.
func (c *chaos) caughtUp(seq uint64) {
	c.Helper()
	for _, r := range c.replicas {
		waitUntil(c.T, fmt.Sprintf("%s has applied %d", r.name, seq), func(ctx context.Context) error {
			r.server.running(c.T)
			h, err := r.health(ctx)
			if err == nil && h.Applied < seq {
				return fmt.Errorf("it has applied %d, and says %q", h.Applied, h.Troubles)
			}
			return err
		})
	}
}

// wantSame wants both replicas to agree with an index that is built afresh, and with
// each other, and to have neither undone nor passed over anything.
func (c *chaos) wantSame(bySeq []change) {
	c.Helper()
	m := &model{live: make(map[row]bool), sequence: uint64(len(bySeq))}
	for _, change := range bySeq {
		change.apply(m.live)
	}
	var said [2]string
	for i, r := range c.replicas {
		status, _, answer, err := r.page(c.Context(), map[string]any{"pageSize": len(users)*entitlements + 1, "at_least": m.sequence})
		if err != nil || status != http.StatusOK {
			c.Fatalf("%s: status %d, %v: %s", r.name, status, err, answer)
		}
		wantListed(c.T, r.api, m)
		said[i] = r.binary.run(c.T, "verify", "--url", r.base, "--api-key", c.admin, "--at", strconv.FormatUint(m.sequence, 10), "--rebuild")
		for _, sign := range []string{"were erased", "is undone", "is not the one that was read, and nothing"} {
			if strings.Contains(r.server.log.String(), sign) {
				c.Errorf("the log of %s says that something %s", r.name, sign)
			}
		}
	}
	if said[0] != said[1] || !strings.Contains(said[0], strconv.FormatUint(m.sequence, 10)) {
		c.Errorf("verified at %d, the replicas say\n%s\n%s", m.sequence, said[0], said[1])
	}
}

// wantListed compares the whole listing with the model.
func wantListed(t *testing.T, a api, m *model) {
	t.Helper()
	rows, _, err := a.list(t.Context(), nil, m.sequence)
	want := m.rows(func(row) bool { return true })
	if err != nil || len(rows) != len(want) {
		t.Fatalf("%d rows, %v; want %d", len(rows), err, len(want))
	}
	for i := range rows {
		if rows[i] != want[i] {
			t.Fatalf("row %d is %q, want %q", i, rows[i], want[i])
		}
	}
}
