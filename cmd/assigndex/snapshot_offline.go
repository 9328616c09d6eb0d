package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/indexer/generation"
	"github.com/assigndex/assigndex/indexer/snapshot"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/indexer/stream/embedded"
)

// snapshotOffline copies the data directory of a stopped server.
func (p *program) snapshotOffline(ctx context.Context, c config.Client, flags snapshotFlags, w io.Writer) (_ snapshot.Summary, err error) {
	if err := refuseRestoring(flags.dataDir); err != nil {
		return snapshot.Summary{}, err
	}
	dir, err := generation.Current(flags.dataDir)
	if err != nil {
		return snapshot.Summary{}, err
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return snapshot.Summary{}, fmt.Errorf("%s has no index: name the --data-dir of a server", flags.dataDir)
	}
	err = store.Idle(dir)
	if errors.Is(err, store.ErrBusy) {
		err = fmt.Errorf("a server has %s open: stop it, or ask it with --url and --api-key and without --data-dir: %w", flags.dataDir, err)
	}
	if err != nil {
		return snapshot.Summary{}, err
	}
	keys, err := p.offlineKeys(ctx, c, flags)
	if err != nil {
		return snapshot.Summary{}, fmt.Errorf("read the API keys: %w", err)
	}
	st, err := store.Open(store.Options{Dir: dir, StoredThresholds: true, Logger: p.clientLog()})
	if err != nil {
		return snapshot.Summary{}, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return snapshot.Write(ctx, w, st, snapshot.WriteOptions{Keys: keys, Fault: p.fault})
}

// offlineKeys reads the API keys of a stopped server: from the NATS server that is
// named, or from the one that is embedded.
func (p *program) offlineKeys(ctx context.Context, c config.Client, flags snapshotFlags) (keys []snapshot.Key, err error) {
	dir := filepath.Join(flags.dataDir, "nats")
	_, err = os.Stat(dir)
	if flags.natsURL || errors.Is(err, fs.ErrNotExist) {
		nc, err := stream.Connect(c.NATSURL, c.NATSCreds, "assigndex snapshot", p.clientLog())
		if err != nil {
			return nil, err
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			return nil, err
		}
		return storedKeys(ctx, keyBucket(js, 1, p.clientLog()))
	}
	if err != nil {
		return nil, err
	}
	err = withEmbedded(ctx, dir, "assigndex snapshot", p.clientLog(), func(_ *nats.Conn, js jetstream.JetStream) (err error) {
		keys, err = storedKeys(ctx, keyBucket(js, 1, p.clientLog()))
		return err
	})
	return keys, err
}

// withEmbedded runs f with the embedded NATS server of a data directory, which listens
// on a free port meanwhile.
func withEmbedded(ctx context.Context, dir, name string, log zerolog.Logger, f func(*nats.Conn, jetstream.JetStream) error) (err error) {
	server := embedded.New(embedded.Options{StoreDir: dir, Listen: "127.0.0.1:0", Logger: log})
	if err := server.Start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	nc, err := stream.Connect(server.ClientURL(), "", name, log, server.InProcess())
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	return f(nc, js)
}
