package indexer_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
)

// TestKill kills the server and the indexer with SIGKILL, again and again, at
// random moments under load. After each restart every event that was
// acknowledged is applied, nothing is doubled, and the index is the one that was
// never killed, which is the model's.
func TestKill(t *testing.T) {
	t.Parallel()
	seed, rng := random(t)
	k := &killing{
		T: t, rng: rng, dir: t.TempDir(), made: newWorkload(seed),
		acked: make(map[uint64]events.Message), model: modeltest.New(),
	}
	k.witness = k.openWitness()
	defer func() { _ = k.witness.Close() }()
	kills, undone, ahead := 0, 0, 0
	// Which moments are hit is up to the machine: go on for a while if none was in
	// the middle of a batch.
	for ; kills < *killsFlag || undone == 0 && kills < 5**killsFlag; kills++ {
		p := k.start()
		if p.undone > 0 {
			undone++
		}
		if p.opened < k.lastAcked {
			ahead++
		}
		k.check(p)
		k.load(p)
	}
	p := k.start()
	k.check(p)
	p.kill()
	k.afresh()

	t.Logf("%d kills, %d events acknowledged, %d in the stream; %d kills left versions above the watermark, %d left acknowledged events to apply",
		kills, len(k.acked), k.checked, undone, ahead)
	if undone == 0 {
		t.Errorf("-seed %d: no kill hit a batch between its first write and the watermark", seed)
	}
}

type killing struct {
	*testing.T
	rng       *rand.Rand
	dir       string
	made      *workload
	acked     map[uint64]events.Message // what the server has acknowledged
	lastAcked uint64

	// What the stream says, read by a consumer of our own.
	checked uint64 // up to this sequence
	model   *modeltest.Model
	witness *store.Store // built from the stream by an indexer that is never killed
}

// process is one life of the child.
type process struct {
	*testing.T
	cmd    *exec.Cmd
	input  io.WriteCloser
	url    string
	opened uint64 // the watermark that it found
	undone int    // versions above it

	ended   chan struct{} // closed when the output has ended
	stderr  *syncBuffer
	mu      sync.Mutex
	applied uint64
	digest  string
	changed chan struct{} // closed and replaced when one of them changes
}

func (k *killing) start() *process {
	k.Helper()
	// Small batches have more gaps between batch and watermark, large ones more writes.
	batch := []int{1, 5, 20, 200}[k.rng.IntN(4)]
	p := &process{T: k.T, ended: make(chan struct{}), changed: make(chan struct{}), stderr: &syncBuffer{}}
	p.cmd = exec.Command(os.Args[0], "-test.run=^$")
	p.cmd.Env = append(os.Environ(), childDir+"="+k.dir, fmt.Sprintf("%s=%d", childBatch, batch))
	p.cmd.Stderr = p.stderr
	var err error
	if p.input, err = p.cmd.StdinPipe(); err != nil {
		k.Fatal(err)
	}
	output, err := p.cmd.StdoutPipe()
	if err != nil {
		k.Fatal(err)
	}
	forks.Lock()
	err = p.cmd.Start()
	forks.Unlock()
	if err != nil {
		k.Fatal(err)
	}
	k.Cleanup(p.kill)
	go p.listen(output)
	p.await("its start", func() bool { return p.url != "" })
	return p
}

func (p *process) listen(output io.Reader) {
	defer close(p.ended)
	for lines := bufio.NewScanner(output); lines.Scan(); {
		p.mu.Lock()
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case lineReady:
			_, _ = fmt.Sscan(rest, &p.url, &p.opened, &p.undone)
			p.applied = p.opened
		case lineApplied:
			_, _ = fmt.Sscan(rest, &p.applied)
		case lineDigest:
			p.digest = rest
		}
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
}

// await waits until a condition on what the child told holds.
func (p *process) await(what string, holds func() bool) {
	p.Helper()
	timeout := time.After(bounded)
	for {
		p.mu.Lock()
		ok, changed := holds(), p.changed
		p.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-p.ended:
			p.Fatalf("the child ended before %s: %s", what, p.stderr)
		case <-timeout:
			p.Fatalf("waited %s for %s, applied are %d: %s", bounded, what, p.applied, p.stderr)
		}
	}
}

// kill ends the child with SIGKILL. It may be called again.
func (p *process) kill() {
	if p.cmd.ProcessState != nil {
		return
	}
	if err := p.cmd.Process.Kill(); err != nil {
		p.Errorf("kill: %v", err)
	}
	<-p.ended
	if err := p.cmd.Wait(); p.cmd.ProcessState.ExitCode() != -1 {
		p.Errorf("the child was not killed but ended: %v: %s", err, p.stderr)
	}
}

// connect opens a connection of the parent's own, that ends with the child.
func (p *process) connect() (nc *nats.Conn, js jetstream.JetStream, gone <-chan struct{}) {
	p.Helper()
	closed := make(chan struct{})
	nc, err := nats.Connect(p.url, nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		p.Fatal(err)
	}
	js, err = jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(100_000))
	if err != nil {
		p.Fatal(err)
	}
	return nc, js, closed
}

// load publishes, and kills the child at a random moment.
func (k *killing) load(p *process) {
	k.Helper()
	nc, js, gone := p.connect()
	defer nc.Close()
	messages := k.made.burst(k.rng)
	if k.rng.IntN(3) == 0 {
		k.whilePublishing(p, js, gone, messages)
	} else {
		k.whileApplying(p, nc, messages)
	}
}

// whilePublishing kills the child when a random number of events was
// acknowledged, while the rest of them is under way.
func (k *killing) whilePublishing(p *process, js jetstream.JetStream, gone <-chan struct{}, messages []events.Message) {
	k.Helper()
	futures := make([]jetstream.PubAckFuture, len(messages))
	for i, m := range messages {
		var err error
		if futures[i], err = js.PublishMsgAsync(natsMessage(m)); err != nil {
			k.Fatal(err)
		}
	}
	enough := 1 + k.rng.IntN(len(messages))
	k.collect(messages[:enough], futures, nil)
	p.kill()
	// What was acknowledged while it was being killed counts as well.
	k.collect(messages[enough:], futures[enough:], gone)
}

// whileApplying publishes all events at once, and kills the child when it has
// applied up to a random one and answered a random number of pings, so that it
// is somewhere in a later batch.
func (k *killing) whileApplying(p *process, nc *nats.Conn, messages []events.Message) {
	k.Helper()
	first := publishBatch(k.T, nc, messages)
	if first <= k.lastAcked {
		k.Fatalf("sequence %d was acknowledged after %d", first, k.lastAcked)
	}
	for i, m := range messages {
		k.lastAcked = first + uint64(i)
		k.acked[k.lastAcked] = m
	}
	target := first + k.rng.Uint64N(uint64(len(messages)))
	p.await("the load", func() bool { return p.applied >= target })
	for range k.rng.IntN(20) {
		if err := nc.FlushTimeout(bounded); err != nil {
			k.Fatal(err)
		}
	}
	p.kill()
}

// collect takes the acknowledgements of messages, of all of them or until the
// connection is gone.
func (k *killing) collect(messages []events.Message, futures []jetstream.PubAckFuture, gone <-chan struct{}) {
	k.Helper()
	for i, m := range messages {
		select {
		case ack := <-futures[i].Ok():
			if ack.Sequence <= k.lastAcked {
				k.Fatalf("sequence %d was acknowledged after %d", ack.Sequence, k.lastAcked)
			}
			k.lastAcked = ack.Sequence
			k.acked[ack.Sequence] = m
		case <-futures[i].Err(): //nolint:errcheck // the child was killed: the message is not acknowledged
			return
		case <-gone:
			return
		case <-time.After(bounded):
			k.Fatalf("no acknowledgement in %s", bounded)
		}
	}
}

// check waits until what was acknowledged is applied, and compares stream,
// index, witness and model.
func (k *killing) check(p *process) {
	k.Helper()
	nc, js, _ := p.connect()
	defer nc.Close()
	st, err := js.Stream(k.Context(), streamName)
	if err != nil {
		k.Fatal(err)
	}
	last := st.CachedInfo().State.LastSeq
	if last < k.lastAcked {
		k.Fatalf("the stream ends at %d, %d was acknowledged", last, k.lastAcked)
	}
	p.await(fmt.Sprintf("sequence %d", last), func() bool { return p.applied >= last })
	k.readOn(js, nc, last)
	if last == 0 {
		return
	}

	if _, err := fmt.Fprintln(p.input, last); err != nil {
		k.Fatal(err)
	}
	var got string
	p.await("the digest", func() bool { got = p.digest; return got != "" })
	witness := indexer.NewIndex(k.witness, nil)
	digest, assignments, err := witness.Digest(last)
	if err != nil {
		k.Fatal(err)
	}
	if want := fmt.Sprint(last, " ", digest, " ", assignments); got != want {
		k.Fatalf("the index says %s, the witness %s", got, want)
	}
	(&node{T: k.T, store: k.witness, index: witness}).says(last, k.model)
}

// readOn brings model and witness up to the end of the stream, and checks that
// every acknowledged event is in it at its sequence.
func (k *killing) readOn(js jetstream.JetStream, nc *nats.Conn, last uint64) {
	k.Helper()
	if k.checked == last {
		return
	}
	reader := stream.NewReader(nc, js, streamName, zerolog.Nop())
	at, err := reader.Begin(k.Context(), false)
	if err != nil {
		k.Fatal(err)
	}
	at.Seq = k.checked
	end := errors.New("the end")
	err = reader.Read(k.Context(), at, nil, func(m *stream.Message) error {
		if want, ok := k.acked[m.Seq]; ok && (!bytes.Equal(m.Data, want.Data) || m.Subject != natsMessage(want).Subject ||
			!maps.EqualFunc(sent(m.Header), want.Header, slices.Equal)) {
			k.Fatalf("sequence %d holds %s %q, not what was acknowledged", m.Seq, m.Subject, m.Data)
		}
		if m.Erased > 0 || m.Seq != k.checked+1 {
			k.Fatalf("sequence %d after %d, erased %d", m.Seq, k.checked, m.Erased)
		}
		k.model.Apply(modeltest.Moment{Seq: m.Seq, Nano: m.Time.UnixNano()}, m.Message)
		if k.checked = m.Seq; m.Seq == last {
			return end
		}
		return nil
	})
	if !errors.Is(err, end) {
		k.Fatal(err)
	}
	k.build(k.witness, reader, last)
}

// build applies the stream to a store up to a sequence.
func (k *killing) build(st *store.Store, reader *stream.Reader, last uint64) {
	k.Helper()
	ctx, cancel := context.WithTimeout(k.Context(), bounded)
	defer cancel()
	done := make(chan error, 1)
	run, stop := context.WithCancel(ctx)
	go func() { done <- indexer.New(st, reader, indexer.Options{History: time.Hour}).Run(run) }()
	err := st.Wait(ctx, last)
	stop()
	if err = errors.Join(err, <-done); err != nil {
		k.Fatal(err)
	}
}

func (k *killing) openWitness() *store.Store {
	k.Helper()
	st, err := store.Open(store.Options{Dir: k.TempDir(), Logger: zerolog.Nop()})
	if err != nil {
		k.Fatal(err)
	}
	return st
}

// afresh compares the index that was killed so often, opened here, with one that
// is built from the stream in one go, at several sequences.
func (k *killing) afresh() {
	k.Helper()
	p := k.start()
	nc, js, _ := p.connect()
	fresh := k.openWitness()
	defer func() { _ = fresh.Close() }()
	k.build(fresh, stream.NewReader(nc, js, streamName, zerolog.Nop()), k.checked)
	nc.Close()
	p.kill()
	forks.RLock()
	killed, err := store.Open(store.Options{Dir: k.dir + "/index", Logger: zerolog.Nop()})
	forks.RUnlock()
	if err != nil {
		k.Fatal(err)
	}
	defer func() { _ = killed.Close() }()
	// Counters only ever add up, so one that a kill made wrong stays wrong.
	if err := killed.CheckCounters(); err != nil {
		k.Error(err)
	}
	for range 20 {
		seq := 1 + k.rng.Uint64N(k.checked)
		got, _, err := indexer.NewIndex(killed, nil).Digest(seq)
		if err != nil {
			k.Fatal(err)
		}
		want, _, err := indexer.NewIndex(fresh, nil).Digest(seq)
		if err != nil {
			k.Fatal(err)
		}
		if got != want {
			k.Errorf("at %d of %d the index is not the one that is built afresh", seq, k.checked)
		}
	}
}

// workload makes events: those of the model's generator, and between them large
// cascades.
type workload struct {
	gen *modeltest.Generator
	n   int
}

func newWorkload(seed uint64) *workload { return &workload{gen: modeltest.NewGenerator(seed)} }

// crowd is how many assignments follow the entitlement of the cascades.
const crowd = 60

func (w *workload) burst(rng *rand.Rand) []events.Message {
	var messages []events.Message
	for range 1 + rng.IntN(4) {
		for range rng.IntN(60) {
			messages = append(messages, w.gen.Next())
		}
		w.n++
		switch rng.IntN(5) {
		case 0, 1:
			for u := range crowd {
				messages = append(messages, say(events.AssignmentUpserted, `{"usr_id":"crowd%d","ent_id":"crowd","score":0.%d}`, u, w.n))
			}
		case 2:
			messages = append(messages, say(events.EntitlementDeleted, `{"ent_id":"crowd"}`))
		default:
			messages = append(messages, say(events.EntitlementUpserted, `{"ent_id":"crowd","app_id":"app%d"}`, w.n%3))
		}
	}
	return messages
}
