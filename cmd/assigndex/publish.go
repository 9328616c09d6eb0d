package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/events/publisher"
	"github.com/assigndex/assigndex/indexer/stream"
)

// The forms of --format.
const (
	formatNDJSON = "ndjson"
	formatCSV    = "autoid-csv"
)

type publishFlags struct {
	format     string
	tenant     string
	stream     string
	typ        string
	dryRun     bool
	showErrors int
	csv        csvFlags
}

func (p *program) publishCommand() *cobra.Command {
	var flags publishFlags
	cmd := &cobra.Command{
		Use:   "publish [FILE…] | publish --format autoid-csv DIR",
		Short: "Publish records as events",
		Long: `Publish records as events, from files or standard input (no file, or "-").

--format ndjson: one JSON object a line. A line with "specversion" is a CloudEvents event and says its own
type; any other line is the data of an event of --type.

--format autoid-csv: a directory of applications.csv, entitlements.csv, identities.csv and assignments.csv,
of which any may be missing. They are published in this order, as upserts. Each begins with a header; these
columns must be there, under these names in any case:

  applications.csv  app_id, app_name, app_owner_id
  entitlements.csv  ent_id, ent_name, ent_owner_id, app_id
  identities.csv    usr_id or user_id, usr_name or user_name, usr_manager_id or user_manager_id
  assignments.csv   usr_id or user_id, ent_id

Other names are given with --column identities.usr_id=EMPLOYEE_NUMBER, or many of them in a YAML file
(--columns-file), in which a field may have several:

  identities:
    usr_id: [EMPLOYEE_NUMBER, EMPNO]
    ignore: SSN

A column named like another field of the event (score, justification, email, ent_type, …) is that field, and
one that is mapped to "ignore" is left out. Further columns become attributes, as text. An empty cell is an
absent field. justification, rights, params and secret_params hold JSON. A header that cannot be used is
reported before anything is published.

Lines and rows that are not valid are reported with their place and left out; the others are published all
the same, and the exit code is 1. What is reported as published is on the server's disk. With --dry-run all
is read and checked, but nothing is published, and no server is needed.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := p.client(cmd.Flags())
			if err != nil {
				return err
			}
			if err := flags.check(cmd.Flags(), args); err != nil {
				return usageError{err}
			}
			return p.publish(cmd.Context(), c, flags, args)
		},
	}
	config.ClientFlags(cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&flags.format, "format", formatNDJSON, "form of the input: ndjson or autoid-csv")
	f.StringVar(&flags.tenant, "tenant", "default", "tenant whose records they are")
	f.StringVar(&flags.stream, "stream", "ASSIGNMENTS", "JetStream stream of the events")
	f.StringVar(&flags.typ, "type", string(events.AssignmentUpserted), "ndjson: event type of lines that are not CloudEvents")
	f.BoolVar(&flags.dryRun, "dry-run", false, "check and count, and publish nothing")
	f.IntVar(&flags.showErrors, "show-errors", 20, "how many errors of each file to print; the others are counted")
	flags.csv.register(f)
	return cmd
}

func (f *publishFlags) check(fs *pflag.FlagSet, args []string) error {
	switch f.format {
	case formatNDJSON:
		if name := f.csv.given(fs); name != "" {
			return fmt.Errorf("--%s: only with --format %s", name, formatCSV)
		}
	case formatCSV:
		if fs.Changed("type") {
			return fmt.Errorf("--type: only with --format %s; each CSV file has a type of its own", formatNDJSON)
		}
		if len(args) != 1 || args[0] == "-" {
			return fmt.Errorf("--format %s takes one directory, got %d arguments %q", formatCSV, len(args), args)
		}
	default:
		return fmt.Errorf("--format %q: use %s or %s", f.format, formatNDJSON, formatCSV)
	}
	if !events.ValidTenant(f.tenant) {
		return fmt.Errorf("--tenant %q: use 1 to 64 letters, digits, '_' and '-'", f.tenant)
	}
	if !events.Type(f.typ).Known() {
		return fmt.Errorf("--type %q: use one of %v", f.typ, events.Types)
	}
	if f.showErrors < 0 {
		return fmt.Errorf("--show-errors %d: must not be negative", f.showErrors)
	}
	return nil
}

// publish sends all that args name, in order.
func (p *program) publish(ctx context.Context, c config.Client, flags publishFlags, args []string) error {
	run := &publishing{program: p, showErrors: flags.showErrors}
	var send func(context.Context) error
	switch flags.format {
	case formatCSV:
		dir, err := run.openCSV(ctx, args[0], flags.csv)
		if err != nil {
			return err
		}
		defer dir.close()
		send = dir.send
	default:
		send = run.openNDJSON(args, events.Type(flags.typ)).send
	}
	defer func() { _ = run.bar.Clear() }() // an error is printed on a line of its own
	if !flags.dryRun {
		nc, err := p.connect(ctx, c, "assigndex publish")
		if err != nil {
			return err
		}
		defer nc.Close()
		pub, err := publisher.New(ctx, nc, publisher.Options{Stream: flags.stream, Tenant: flags.tenant})
		if err != nil {
			return err
		}
		defer func() { _ = pub.Close() }() // nothing is left in it after a flush
		run.writer = pub.NewWriter()
	}
	return run.finish(send(ctx))
}

// connectFor is how long the commands wait for a NATS server that is just
// being started.
const connectFor = 5 * time.Second

// connect opens a connection for a command that publishes or works on keys.
func (p *program) connect(ctx context.Context, c config.Client, name string) (*nats.Conn, error) {
	deadline := time.Now().Add(connectFor)
	for {
		nc, err := stream.Connect(c.NATSURL, c.NATSCreds, name, p.clientLog(), publisher.ConnectOptions()...)
		if err == nil || !errors.Is(err, nats.ErrNoServers) || time.Now().After(deadline) {
			return nc, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// clientLog is for what the commands have to tell beside their data.
func (p *program) clientLog() zerolog.Logger {
	return config.NewLogger(p.err, p.environ, zerolog.WarnLevel, config.LogConsole)
}

// totalBytes gives the size of what will be read, -1 when that is not known.
func totalBytes(files []string) int64 {
	if len(files) == 0 {
		return -1
	}
	var total int64
	for _, name := range files {
		st, err := os.Stat(name)
		if err != nil || !st.Mode().IsRegular() {
			return -1
		}
		total += st.Size()
	}
	return total
}
