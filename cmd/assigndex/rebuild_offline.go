package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/generation"
	"github.com/assigndex/assigndex/indexer/rebuild"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream/snapshotbucket"
	"github.com/assigndex/assigndex/indexer/verify"
	"github.com/assigndex/assigndex/query/client"
)

// rebuildOffline rebuilds in the data directory of a stopped server. Its index may be
// damaged, or of another version.
func (p *program) rebuildOffline(ctx context.Context, c config.Client, flags rebuildFlags, r client.RebuildRequest) (*client.Rebuilt, error) {
	o, unlock, err := p.offlineOptions(c, flags)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unlock() }() // of a directory that was only read
	report, err := rebuild.Offline(ctx, o, rebuild.Request{RequireEqual: r.RequireEqual}, func(p audit.Progress) { r.Progress(p.Check, p.Done, p.Of) })
	if report == nil {
		return nil, err
	}
	if err != nil {
		o.Logger.Error().Err(err).Msg("the index was swapped, and something failed after that")
	}
	return &client.Rebuilt{
		Seq: report.Seq, Stream: report.Stream, Assignments: report.Assignments, Digest: report.Digest, Checks: clientChecks(report.Checks),
		Swapped: report.Swapped, From: report.From, Built: report.Built, Seconds: report.Seconds,
	}, nil
}

// buildUntilOffline builds an index as it was in the data directory of a stopped server.
func (p *program) buildUntilOffline(ctx context.Context, c config.Client, flags rebuildFlags, r client.BuildUntilRequest) (*client.BuiltUntil, error) {
	o, unlock, err := p.offlineOptions(c, flags)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unlock() }() // of a directory that was only read
	var u rebuild.Until
	if u.Seq, err = strconv.ParseUint(r.Until, 10, 64); err != nil {
		if u.Time, err = time.Parse(time.RFC3339Nano, r.Until); err != nil {
			return nil, fmt.Errorf("--until: %w", err)
		}
	}
	report, err := rebuild.BuildUntil(ctx, o, u, filepath.Join(flags.dataDir, u.Name()), func(p audit.Progress) { r.Progress(p.Check, p.Done, p.Of) })
	if err != nil {
		return nil, err
	}
	result := client.BuiltUntil(*report)
	return &result, nil
}

// offlineOptions make sure that no server has the data directory open, and none opens it
// before unlock.
func (p *program) offlineOptions(c config.Client, flags rebuildFlags) (_ rebuild.Options, unlock func() error, err error) {
	log := config.NewLogger(p.err, p.environ, zerolog.WarnLevel, config.LogConsole)
	if _, err := stoppedIndex(flags.dataDir); err != nil && !errors.Is(err, store.ErrFormat) { // one of another version is rebuilt as well
		return rebuild.Options{}, nil, err
	}
	// An index that is damaged or of another version is not opened, so that its own lock
	// keeps nobody away.
	if unlock, err = generation.Lock(flags.dataDir); err != nil {
		return rebuild.Options{}, nil, err
	}
	var source *ownReader // the last one, of which one is open at a time
	return rebuild.Options{
		DataDir: flags.dataDir, AcceptTrimmed: flags.acceptTrimmed, Logger: log,
		Store: func(dir string) (*store.Store, error) {
			return store.Open(store.Options{Dir: dir, StoredThresholds: true, Logger: log})
		},
		Stream: func(ctx context.Context, known string) (verify.Stream, error) {
			var err error
			source, err = offlineReader(ctx, c, flags.dataDir, flags.natsURL, cmp.Or(known, flags.stream), log)
			return source, err
		},
		Restore: func(ctx context.Context, dir string, atMost uint64) (uint64, error) {
			bucket := snapshotbucket.New(source.js, source.name, snapshotbucket.Options{Logger: log})
			return restoreNewest(ctx, bucket, source.Reader, dir, atMost, snapshotbucket.RestoreOptions{Logger: log})
		},
	}, unlock, nil
}
