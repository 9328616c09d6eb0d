package indexer_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/indexer/stream/embedded"
)

// The test binary is also the program that TestKill kills: the embedded server
// and the indexer in one process, as "assigndex serve" runs them. It tells its
// state on standard output and takes questions on standard input.
const (
	childDir   = "ASSIGNDEX_TEST_CHILD_DIR"   // says that this process is the child
	childBatch = "ASSIGNDEX_TEST_CHILD_BATCH" // the most events in a batch

	// childServer says that this process is a NATS server and no more, and its address.
	childServer = "ASSIGNDEX_TEST_CHILD_SERVER"
)

// Lines of the child.
const (
	lineReady   = "ready"   // URL, the sequence it was opened at, and how many versions were undone
	lineApplied = "applied" // sequence
	lineDigest  = "digest"  // sequence, digest, number of assignments
)

// beKilled runs the child until it is killed, or its parent is gone.
func beKilled(dir string) int {
	if err := child(dir); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		return 1
	}
	return 0
}

func child(dir string) error {
	var batch int
	if _, err := fmt.Sscan(os.Getenv(childBatch), &batch); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	server := embedded.New(embedded.Options{StoreDir: filepath.Join(dir, "nats"), Listen: "127.0.0.1:0"})
	if err := server.Start(ctx); err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	nc, err := stream.Connect(server.ClientURL(), "", "child", zerolog.Nop(), server.InProcess())
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	if err := stream.Ensure(ctx, js, stream.Config{Name: streamName, Own: true}); err != nil {
		return err
	}
	undone := &undoneCount{}
	st, err := store.Open(store.Options{Dir: filepath.Join(dir, "index"), Logger: zerolog.New(undone)})
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	reader := stream.NewReader(nc, js, streamName, zerolog.Nop())
	index := indexer.NewIndex(st, reader)
	opened, _ := index.Applied()
	var out sync.Mutex
	tell := func(parts ...any) {
		out.Lock()
		defer out.Unlock()
		fmt.Fprintln(os.Stdout, parts...)
	}
	tell(lineReady, server.ClientURL(), opened, undone.Load())

	failed := make(chan error, 1)
	go func() {
		failed <- indexer.New(st, reader, indexer.Options{History: time.Hour, BatchEvents: batch}).Run(ctx)
	}()
	go func() {
		for seq := opened; index.Wait(ctx, seq+1) == nil; tell(lineApplied, seq) {
			seq, _ = index.Applied()
		}
	}()
	go func() {
		failed <- answer(index, tell)
	}()
	return <-failed
}

// answer answers questions for digests until the parent closes the input.
func answer(index *indexer.Index, tell func(...any)) error {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var seq uint64
		if _, err := fmt.Sscan(lines.Text(), &seq); err != nil {
			return err
		}
		digest, assignments, err := index.Digest(seq)
		if err != nil {
			return err
		}
		tell(lineDigest, seq, digest, assignments)
	}
	return errors.Join(lines.Err(), errors.New("the parent is gone"))
}

// undoneCount reads from the store's log how many versions it undid at open.
type undoneCount struct{ atomic.Int64 }

func (c *undoneCount) Write(line []byte) (int, error) {
	var l struct {
		Message string `json:"message"`
		Keys    int64  `json:"keys"`
	}
	if err := json.Unmarshal(line, &l); err == nil && strings.HasPrefix(l.Message, "undid ") {
		c.Add(l.Keys)
	}
	return len(line), nil
}

// beServer runs a NATS server alone, in a directory and on an address, until it is
// killed, or asked to end, or its parent is gone.
func beServer(dir, listen string) int {
	server := embedded.New(embedded.Options{StoreDir: dir, Listen: listen})
	if err := server.Start(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		return 1
	}
	fmt.Println(lineReady)
	_, _ = io.Copy(io.Discard, os.Stdin) // until it is closed, however
	if err := server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		return 1
	}
	return 0
}
