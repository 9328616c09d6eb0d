package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/generation"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/indexer/stream/embedded"
	"github.com/assigndex/assigndex/indexer/verify"
	"github.com/assigndex/assigndex/query/client"
)

// ownReader reads a stream over a connection of its own.
type ownReader struct {
	*stream.Reader
	js      jetstream.JetStream
	name    string // of the stream
	closers []func()
}

// newOwnReader makes a reader that closes its connection, and then what else is given.
func newOwnReader(nc *nats.Conn, name string, log zerolog.Logger, closers ...func()) (*ownReader, error) {
	js, err := jetstream.New(nc)
	r := &ownReader{js: js, name: name, closers: append([]func(){nc.Close}, closers...)}
	if err != nil {
		r.Close()
		return nil, err
	}
	r.Reader = stream.NewReader(nc, js, name, log)
	return r, nil
}

// Close is part of verify.Stream.
func (r *ownReader) Close() {
	for _, end := range r.closers {
		end()
	}
}

// verifyOffline verifies the data directory of a stopped server.
func (p *program) verifyOffline(ctx context.Context, c config.Client, flags verifyFlags, r client.VerifyRequest) (_ *client.Verification, err error) {
	dir, err := stoppedIndex(flags.dataDir)
	if err != nil {
		return nil, err
	}
	// The files first: a store whose tables are damaged may not open.
	files, damaged, err := store.CheckFiles(ctx, dir, func(done, of int64) { r.Progress(audit.CheckFiles, done, of) })
	if err != nil {
		return nil, err
	}
	if len(damaged) > 0 {
		return damagedFiles(files, damaged), nil
	}
	log := config.NewLogger(p.err, p.environ, zerolog.WarnLevel, config.LogConsole)
	st, err := store.Open(store.Options{Dir: dir, StoredThresholds: true, Logger: log})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	o := verify.Options{WorkDir: flags.workDir, Logger: log}
	if o.WorkDir == "" {
		o.WorkDir = flags.dataDir
		if err := verify.Sweep(o.WorkDir); err != nil {
			return nil, err
		}
	}
	o.Stream = func(ctx context.Context) (verify.Stream, error) {
		return offlineReader(ctx, c, flags.dataDir, flags.natsURL, st.Applied().Stream.Name, log)
	}
	report, err := verify.New(verify.Only(st), o).Verify(ctx, r.At, r.Rebuild, func(p audit.Progress) { r.Progress(p.Check, p.Done, p.Of) })
	if err != nil {
		return nil, err
	}
	return verification(report), nil
}

// stoppedIndex gives the directory of the index of a stopped server, which must be of
// this version.
func stoppedIndex(dataDir string) (dir string, err error) {
	if err := refuseRestoring(dataDir); err != nil {
		return "", err
	}
	if dir, err = generation.Current(dataDir); err != nil {
		return "", err
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s has no index: name the --data-dir of a server", dataDir)
	}
	err = store.Idle(dir)
	if errors.Is(err, store.ErrBusy) {
		return "", fmt.Errorf("a server has %s open: stop it, or ask it with --url and --api-key and without --data-dir: %w", dataDir, err)
	}
	return dir, err
}

// offlineReader opens the stream of a stopped server: in the NATS server that is
// named, or in the one that is embedded.
func offlineReader(ctx context.Context, c config.Client, dataDir string, natsURL bool, name string, log zerolog.Logger) (*ownReader, error) {
	dir := filepath.Join(dataDir, "nats")
	_, err := os.Stat(dir)
	if natsURL || errors.Is(err, fs.ErrNotExist) {
		nc, err := stream.Connect(c.NATSURL, c.NATSCreds, "assigndex offline", log)
		if err != nil {
			return nil, err
		}
		return newOwnReader(nc, name, log)
	}
	if err != nil {
		return nil, err
	}
	server := embedded.New(embedded.Options{StoreDir: dir, Listen: "127.0.0.1:0", Logger: log})
	if err := server.Start(ctx); err != nil {
		return nil, err
	}
	stop := func() {
		if err := server.Close(); err != nil {
			log.Error().Err(err).Msg("the embedded NATS server did not stop cleanly")
		}
	}
	nc, err := stream.Connect(server.ClientURL(), "", "assigndex offline", log, server.InProcess())
	if err != nil {
		stop()
		return nil, err
	}
	return newOwnReader(nc, name, log, stop)
}

// damagedFiles is the result for an index that was not opened.
func damagedFiles(files int, damaged []store.Damage) *client.Verification {
	check := audit.NewCheck(audit.CheckFiles)
	check.Checked = int64(files)
	for _, d := range damaged {
		check.Find(verify.DefaultLimit, d.File, d.Problem)
	}
	return verification(&audit.Report{Checks: []audit.Check{check}})
}

// verification is a report in the form that a server sends it in.
func verification(r *audit.Report) *client.Verification {
	return &client.Verification{
		Seq: r.Seq, Stream: r.Stream, Assignments: r.Assignments, Digest: r.Digest, Erased: r.Erased, Checks: clientChecks(r.Checks),
	}
}

func clientChecks(checks []audit.Check) []client.Check {
	all := []client.Check{}
	for _, c := range checks {
		check := client.Check{Name: c.Name, Skipped: c.Skipped, Checked: c.Checked, Differences: c.Differences, Found: []client.Finding{}}
		for _, f := range c.Found {
			check.Found = append(check.Found, client.Finding(f))
		}
		all = append(all, check)
	}
	return all
}
