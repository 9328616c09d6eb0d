package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/events/publisher"
	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/diskguard"
	"github.com/assigndex/assigndex/indexer/generation"
	"github.com/assigndex/assigndex/indexer/rebuild"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/indexer/stream/embedded"
	"github.com/assigndex/assigndex/indexer/stream/keybucket"
	"github.com/assigndex/assigndex/indexer/stream/snapshotbucket"
	"github.com/assigndex/assigndex/indexer/verify"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/admission"
	"github.com/assigndex/assigndex/query/apikey"
	"github.com/assigndex/assigndex/query/bearer"
	"github.com/assigndex/assigndex/query/httpapi"
)

// node is one server: the stream's connection, the index and the query API. The
// commands serve and demo run one, and so do the end-to-end tests, on free ports.
type node struct {
	cfg config.Serve
	log zerolog.Logger

	nats    *embedded.Server // nil: NATS is elsewhere
	nc      *nats.Conn
	js      jetstream.JetStream
	disk    *diskguard.Guard
	unlock  func() error  // gives the data directory back; nil: it was not claimed
	host    *indexer.Host // nil: no index was opened
	index   *indexer.Index
	metrics *indexer.Metrics
	frozen  *generation.Frozen // nil: the index is kept up with its stream
	upgrade *upgrade           // nil: the index is of this version
	// rebuilder makes the index again; nil for a frozen one.
	rebuilder *rebuild.Rebuilder
	keys      *keybucket.Bucket[apikey.Key]
	known     *apikey.Set
	tokens    *bearer.Tokens // nil: bearer tokens are off
	ingest    *ingestPublisher
	api       *httpapi.Server
	listener  net.Listener

	snapshotConn *nats.Conn
	bucket       *snapshotbucket.Bucket
	snapshots    *snapshotbucket.Keeper // nil for a frozen index
	// dial opens another connection to the node's NATS.
	dial func(name string, more ...nats.Option) (*nats.Conn, error)
}

// openNode opens all that a server needs, in the order in which each thing can
// fail without leaving another one half done. Nothing runs before run. Errors
// leave nothing open.
func openNode(ctx context.Context, cfg config.Serve, log zerolog.Logger) (_ *node, err error) {
	n := &node{cfg: cfg, log: log, known: new(apikey.Set)}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	if err := refuseRestoring(cfg.DataDir); err != nil {
		return nil, err
	}
	// The address first: a second server must fail before it touches the data.
	if n.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", cfg.Listen); err != nil {
		return nil, fmt.Errorf("listen for the HTTP API: %w", err)
	}
	if err := n.connect(ctx); err != nil {
		return nil, err
	}
	js, err := jetstream.New(n.nc)
	if err != nil {
		return nil, err
	}
	n.js, n.disk = js, n.newDiskGuard()
	reader := stream.NewReader(n.nc, js, cfg.Stream, log)
	if err := n.openIndex(ctx, reader); err != nil {
		return nil, err
	}
	err = stream.Ensure(ctx, js, n.streamConfig())
	if err != nil && !errors.Is(err, stream.ErrAbsent) { // the indexer tells of that, and what is there is served
		return nil, err
	}
	n.keys = keyBucket(js, n.replicas(), log)
	if err := verify.Sweep(cfg.DataDir); err != nil {
		return nil, fmt.Errorf("remove what an interrupted verification left: %w", err)
	}
	return n, n.assemble(reader)
}

// assemble puts together what runs.
func (n *node) assemble(reader *stream.Reader) (err error) {
	lag := func(now time.Time) query.Lag {
		l := n.index.Lag(now)
		return query.Lag{Applied: l.Applied, Head: l.Head, Known: l.Known, Sequences: l.Sequences, Age: l.Age}
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		n.disk,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), n.metrics,
		httpapi.Collector{Index: n.index, Lag: lag, Keys: n.known, Sizes: n.index.Sizes, Quarantine: n.index.QuarantineSize},
	)
	if n.frozen == nil {
		n.snapshots = n.newKeeper(reader)
		registry.MustRegister(n.snapshots)
	}
	auth := []httpapi.Authenticator{httpapi.Keys{Set: n.known, Lookup: httpapi.NewKeyLookup(n.keys, n.log)}}
	if t := n.cfg.Token; t.On() {
		n.tokens, err = bearer.New(bearer.Options{
			JWKSURL: t.JWKSURL, Issuer: t.Issuer, Audience: t.Audience, TenantClaim: t.TenantClaim,
			RoleClaim: t.RoleClaim, AdminRole: t.AdminRole, WriterRole: t.WriterRole, Logger: n.log,
		})
		if err != nil {
			return err
		}
		registry.MustRegister(n.tokens)
		auth = append(auth, n.tokens)
	}
	o := httpapi.Options{
		Index: n.index, Lag: lag, Auth: auth, Levels: n.levels(),
		Verifier:    n.verifier(),
		Snapshotter: snapshotter{n.index, n.keys},
		MaxPageSize: n.cfg.MaxPageSize, ReadyMaxLag: n.cfg.ReadyMaxLag, Registry: registry, Logger: n.log,
		Troubles: n.troubles, Limits: n.limits(), DiskFull: func() bool { return n.disk.Low("") },
	}
	if n.frozen == nil { // a frozen index is only read
		n.rebuilder = rebuild.New(n.host, n.rebuildOptions())
		o.SnapshotStore = snapshotStore{n.snapshots, n.log}
		o.Publisher, o.Presence, o.Rebuilder = n.ingest, n.index, n.rebuilder
		o.Quarantine, o.Settler = n.index, settler{reader: reader, publisher: n.ingest}
	}
	n.api, err = httpapi.New(o)
	return err
}

// verifier checks the store, and reads the stream over a connection of its own: what
// is built to compare with must not keep the index waiting.
func (n *node) verifier() *verify.Verifier {
	var open func(context.Context) (verify.Stream, error)
	if n.frozen == nil {
		open = func(context.Context) (verify.Stream, error) { return n.ownReader("assigndex verify") }
	}
	return verify.New(n.index.Hold, verify.Options{Stream: open, WorkDir: n.cfg.DataDir, Logger: n.log})
}

// replicas is how many copies NATS keeps; an embedded server has no others.
func (n *node) replicas() int {
	if n.cfg.EmbeddedNATS() {
		return 1
	}
	return n.cfg.StreamReplicas
}

func (n *node) limits() httpapi.Limits {
	l := n.cfg.Limits
	return httpapi.Limits{
		Reads: l.Reads, Ingests: l.Ingests, Connections: l.Connections,
		Caller: admission.Limits{PerSecond: l.CallerPerSecond, Burst: l.CallerBurst, AtOnce: l.CallerAtOnce},
	}
}

func (n *node) levels() *rows.Thresholds {
	t := rows.Thresholds(n.cfg.Score)
	return &t
}

// maxKeysAge is the age of the known API keys at which operators are told.
const maxKeysAge = 30 * time.Second

// troubles tells what is wrong although the server serves.
func (n *node) troubles() []string {
	now := time.Now()
	all := append(n.index.Troubles(now), n.disk.Troubles()...)
	if n.upgrade != nil {
		all = append(all, n.upgrade.troubles()...)
	}
	if n.snapshots != nil {
		all = append(all, n.snapshots.Troubles(now)...)
	}
	if age, known := n.known.Age(now); known && age > maxKeysAge {
		all = append(all, fmt.Sprintf("the API keys were last confirmed %s ago: a revocation may be missing", age.Round(time.Second)))
	}
	return all
}

// connect reaches NATS, starting it first when it is embedded. Events that come
// in over HTTP have a connection of their own: a publisher's must not keep
// messages while it is disconnected, and the readers' must not wait behind it.
func (n *node) connect(ctx context.Context) (err error) {
	url, creds := n.cfg.NATSURL, n.cfg.NATSCreds
	var inProcess []nats.Option
	if n.cfg.EmbeddedNATS() {
		n.nats = embedded.New(embedded.Options{
			StoreDir: filepath.Join(n.cfg.DataDir, "nats"), Listen: n.cfg.NATSListen, Logger: n.log,
		})
		if err := n.nats.Start(ctx); err != nil {
			return err
		}
		url, creds, inProcess = n.nats.ClientURL(), "", []nats.Option{n.nats.InProcess()}
	}
	n.dial = func(name string, more ...nats.Option) (*nats.Conn, error) {
		return stream.Connect(url, creds, name, n.log, append(slices.Clone(inProcess), more...)...)
	}
	if n.nc, err = n.dial("assigndex"); err != nil {
		return err
	}
	nc, err := n.dial("assigndex ingest", publisher.ConnectOptions()...)
	if err != nil {
		return err
	}
	n.ingest = newIngestPublisher(nc, n.cfg.Stream)
	return n.openSnapshots()
}

// run serves until the context ends, which is not an error, or something fails.
func (n *node) run(ctx context.Context) error {
	n.log.Info().Str("http", n.url()).Str("nats", n.natsURL()).Str("stream", n.cfg.Stream).Str("data", n.cfg.DataDir).
		Uint64("seq", n.applied()).Msg("serving")
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.host.Run(ctx) })
	if n.upgrade != nil {
		g.Go(func() error { return n.upgrade.run(ctx) })
	}
	g.Go(func() error { return n.keys.Run(ctx, n.known) })
	g.Go(func() error {
		if err := n.guardDisk(ctx); ctx.Err() == nil {
			return err
		}
		return nil
	})
	if n.snapshots != nil {
		g.Go(func() error { return n.snapshots.Run(ctx) })
	}
	if n.tokens != nil {
		g.Go(func() error { return n.tokens.Run(ctx) })
	}
	g.Go(func() error { return n.api.Run(ctx, n.listener) })
	return g.Wait()
}

// close releases everything, in the reverse order of opening.
func (n *node) close() error {
	var errs []error
	if n.host != nil {
		errs = append(errs, n.host.Close())
	}
	if n.unlock != nil {
		errs = append(errs, n.unlock())
	}
	if n.ingest != nil {
		errs = append(errs, n.ingest.close())
	}
	if n.snapshotConn != nil {
		n.snapshotConn.Close()
	}
	if n.nc != nil {
		n.nc.Close()
	}
	if n.nats != nil {
		errs = append(errs, n.nats.Close())
	}
	if n.listener != nil {
		if err := n.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) { // serving closed it
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// url is where the HTTP API answers.
func (n *node) url() string { return "http://" + n.listener.Addr().String() }

// natsURL is where publishers connect.
func (n *node) natsURL() string {
	if n.nats != nil {
		return n.nats.ClientURL()
	}
	return n.nc.ConnectedUrlRedacted()
}
