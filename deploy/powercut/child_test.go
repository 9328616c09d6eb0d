//go:build linux

package powercut_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/events/publisher"
	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/indexer/stream/embedded"
)

// The test binary is also the program whose power is cut.
const (
	childDir  = "ASSIGNDEX_TEST_CUT_DIR"  // says that this process is the child
	childSeed = "ASSIGNDEX_TEST_CUT_SEED" // of what it publishes
	childLie  = "ASSIGNDEX_TEST_CUT_LIE"  // which system calls lie: fsync, msync or none
)

// Lines of the child.
const (
	lineReady   = "ready"
	lineAcked   = "acked"   // first and last sequence, hash of the messages' data
	lineApplied = "applied" // sequence
)

const streamName = "ASSIGNMENTS"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		err := child(dir)
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// parts are what a node consists of, but for its HTTP API.
type parts struct {
	server *embedded.Server
	nc     *nats.Conn
	js     jetstream.JetStream
	reader *stream.Reader
	store  *store.Store
	index  *indexer.Index
}

// open opens what is in a directory, and makes it when it is new.
func open(ctx context.Context, dir string) (p *parts, err error) {
	p = &parts{server: embedded.New(embedded.Options{StoreDir: filepath.Join(dir, "nats"), Listen: "127.0.0.1:0"})}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if err := p.server.Start(ctx); err != nil {
		return p, err
	}
	if p.nc, err = stream.Connect(p.server.ClientURL(), "", "powercut", zerolog.Nop(), p.server.InProcess()); err != nil {
		return p, err
	}
	if p.js, err = jetstream.New(p.nc); err != nil {
		return p, err
	}
	if err := stream.Ensure(ctx, p.js, stream.Config{Name: streamName, Own: true}); err != nil {
		return p, err
	}
	p.reader = stream.NewReader(p.nc, p.js, streamName, zerolog.Nop())
	if p.store, err = store.Open(store.Options{Dir: filepath.Join(dir, "index"), Logger: zerolog.Nop()}); err != nil {
		return p, err
	}
	p.index = indexer.NewIndex(p.store, p.reader)
	return p, nil
}

func (p *parts) close() error {
	var errs []error
	if p.store != nil {
		errs = append(errs, p.store.Close())
	}
	if p.nc != nil {
		p.nc.Close()
	}
	return errors.Join(append(errs, p.server.Close())...)
}

// child publishes and indexes until it is killed, or its parent is gone.
func child(dir string) error {
	var seed uint64
	if _, err := fmt.Sscan(os.Getenv(childSeed), &seed); err != nil {
		return err
	}
	ctx := context.Background()
	p, err := open(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { _ = p.close() }()
	nc, err := nats.Connect(p.server.ClientURL(), append(publisher.ConnectOptions(), p.server.InProcess())...)
	if err != nil {
		return err
	}
	defer nc.Close()
	pub, err := publisher.New(ctx, nc, publisher.Options{})
	if err != nil {
		return err
	}
	var out sync.Mutex
	tell := func(parts ...any) {
		out.Lock()
		defer out.Unlock()
		fmt.Println(parts...)
	}
	if err := lie(os.Getenv(childLie)); err != nil {
		return fmt.Errorf("lie about syncing: %w", err)
	}
	tell(lineReady)
	failed := make(chan error, 3)
	go func() { failed <- indexer.New(p.store, p.reader, indexer.Options{History: time.Hour}).Run(ctx) }()
	go func() {
		for seq := uint64(0); p.index.Wait(ctx, seq+1) == nil; tell(lineApplied, seq) {
			seq, _ = p.index.Applied()
		}
	}()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		failed <- errors.New("the parent is gone")
	}()
	go func() { failed <- publish(ctx, pub, rand.New(rand.NewPCG(seed, 11)), tell) }()
	return <-failed
}

// publish publishes batches and tells what was acknowledged.
func publish(ctx context.Context, pub *publisher.Publisher, rng *rand.Rand, tell func(...any)) error {
	for {
		h := sha256.New()
		var batch []publisher.Message
		for range 1 + rng.IntN(100) {
			typ, data := event(rng)
			m, err := publisher.NewRecord(typ, data)
			if err != nil {
				return err
			}
			batch = append(batch, m)
			h.Write(data)
		}
		ack, err := pub.Publish(ctx, batch...)
		if err != nil {
			return err
		}
		tell(lineAcked, ack.LastSeq-uint64(len(batch))+1, ack.LastSeq, fmt.Sprintf("%x", h.Sum(nil)))
	}
}

// event makes one event of a small company, in which everything changes often.
func event(rng *rand.Rand) (events.Type, []byte) {
	usr, ent := fmt.Sprintf("u%d", rng.IntN(100)), fmt.Sprintf("e%d", rng.IntN(30))
	switch n := rng.IntN(100); {
	case n < 3:
		return events.UserDeleted, fmt.Appendf(nil, `{"usr_id":%q}`, usr)
	case n < 6: // takes its assignments along
		return events.EntitlementUpserted, fmt.Appendf(nil, `{"ent_id":%q,"app_id":"a%d"}`, ent, rng.IntN(5))
	case n < 20:
		return events.AssignmentRevoked, fmt.Appendf(nil, `{"usr_id":%q,"ent_id":%q}`, usr, ent)
	default:
		return events.AssignmentUpserted, fmt.Appendf(nil, `{"usr_id":%q,"ent_id":%q,"score":0.%d,"note":"%x"}`, usr, ent, rng.IntN(1000), rng.Uint64())
	}
}
