package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/events/publisher"
	"github.com/assigndex/assigndex/events/sample"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/query/apikey"
)

// demoTenant is the tenant that the sample data belongs to.
const demoTenant = "default"

func (p *program) demoCommand() *cobra.Command {
	company := sample.Company{Seed: 1}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Serve sample data from a temporary directory, and print lines to try",
		Long: `Serve sample data from a temporary directory, which is removed at the end.

The data is made up, published as events through the embedded stream, and indexed from there. The server
takes the usual addresses, or free ones where those are in use.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if company.Assignments < 1 {
				return usageError{fmt.Errorf("--assignments %d: must be at least 1", company.Assignments)}
			}
			return p.demo(cmd.Context(), company)
		},
	}
	cmd.Flags().IntVar(&company.Assignments, "assignments", 10_000, "how many assignments to make")
	return cmd
}

func (p *program) demo(ctx context.Context, company sample.Company) (err error) {
	dir, err := os.MkdirTemp("", "assigndex-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg := config.DefaultServe()
	cfg.DataDir, cfg.Listen, cfg.NATSListen = dir, freeOr(ctx, cfg.Listen), freeOr(ctx, cfg.NATSListen)
	cfg.MinFreeBytes = config.MinReserve // temporary directories are often small
	log := config.NewLogger(p.err, p.environ, cfg.LogLevel, cfg.LogFormat)
	n, err := openNode(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.run(ctx) })
	g.Go(func() error { return p.showDemo(ctx, n, company) })
	return g.Wait()
}

// showDemo fills a running node and says how to look at it.
func (p *program) showDemo(ctx context.Context, n *node, company sample.Company) error {
	began := time.Now()
	ack, err := publishSample(ctx, n, company)
	if err != nil {
		return ignoreEnd(ctx, err)
	}
	if err := n.index.Wait(ctx, ack.LastSeq); err != nil {
		return ignoreEnd(ctx, err)
	}
	took := time.Since(began)
	key, token, err := apikey.New("demo", apikey.Reader, demoTenant, time.Now())
	if err != nil {
		return err
	}
	if err := n.keys.Create(ctx, key); err != nil {
		return ignoreEnd(ctx, err)
	}
	usr, ent, app := sample.UsrID(1), sample.EntID(1), sample.AppID(1)
	_, err = fmt.Fprintf(p.out, `
%d events were published, made durable and indexed in %s.

API key of this demo: %s

Who has what, in another terminal:

  export ASSIGNDEX_URL=%s ASSIGNDEX_API_KEY=%s
  go run ./cmd/assigndex query --usr %s
  go run ./cmd/assigndex query --ent '%s'
  go run ./cmd/assigndex query --app %s --output ndjson

The same with curl:

  curl -s %s/api/assignments -H "X-API-KEY: $ASSIGNDEX_API_KEY" \
    -H 'Content-Type: application/json' -d '{"usr_id":"%s","pageSize":5}'

Change something, and read your own write:

  echo '{"usr_id":"%s","ent_id":"demo-grant","score":0.9}' | go run ./cmd/assigndex publish --nats-url %s
  go run ./cmd/assigndex query --usr %s --at-least %d

Ctrl-C ends the demo and removes its data.
`, ack.Count, took.Round(time.Millisecond), token, n.url(), token, usr, ent, app, n.url(), usr, usr, n.natsURL(), usr, ack.LastSeq+1)
	return err
}

// publishSample publishes the company's records as an upstream system would.
func publishSample(ctx context.Context, n *node, company sample.Company) (total publisher.Ack, err error) {
	nc, err := stream.Connect(n.natsURL(), "", "assigndex demo", n.log, publisher.ConnectOptions()...)
	if err != nil {
		return total, err
	}
	defer nc.Close()
	pub, err := publisher.New(ctx, nc, publisher.Options{Stream: n.cfg.Stream, Tenant: demoTenant})
	if err != nil {
		return total, err
	}
	defer func() { err = errors.Join(err, pub.Close()) }()
	w := pub.NewWriter()
	company.Each(func(r sample.Record) bool {
		var msg publisher.Message
		if msg, err = publisher.NewRecord(r.Type, r.Data); err != nil {
			return false
		}
		err = w.Add(ctx, msg)
		return err == nil
	})
	if err != nil {
		return w.Acked(), err
	}
	_, err = w.Flush(ctx)
	return w.Acked(), err
}

// ignoreEnd drops an error that is only the end of the demo.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // whatever it was, the demo was ended
	}
	return err
}

// freeOr gives the address, with a free port instead when it is in use.
func freeOr(ctx context.Context, addr string) string {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		host, _, _ := net.SplitHostPort(addr)
		return net.JoinHostPort(host, "0")
	}
	if err == nil {
		_ = l.Close() // only asked
	}
	return addr
}
