package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/query/client"
)

// withStore lets the command snapshot store one in the server's object store, and adds
// the command that lists what is there.
func (p *program) withStore(cmd *cobra.Command) *cobra.Command {
	var store bool
	cmd.Flags().BoolVar(&store, "store", false, "have the running server take the snapshot into its JetStream object store; no FILE then")
	cmd.Use = "snapshot FILE | --store"
	cmd.Long += "\n\nWith --store the running server takes it into the JetStream object store, where `serve --bootstrap` finds it."
	args, run := cmd.Args, cmd.RunE
	cmd.Args = func(cmd *cobra.Command, given []string) error {
		if store {
			return noArgs(cmd, given)
		}
		return args(cmd, given)
	}
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if !store {
			return run(cmd, given)
		}
		for _, other := range []string{"force", "data-dir"} {
			if cmd.Flags().Changed(other) {
				return usageError{fmt.Errorf("--%s is for a snapshot in a FILE, and --store for one in the object store", other)}
			}
		}
		return p.storeSnapshot(cmd)
	}
	cmd.AddCommand(p.snapshotListCommand())
	return cmd
}

// storeSnapshot has the running server store a snapshot.
func (p *program) storeSnapshot(cmd *cobra.Command) error {
	cl, err := p.snapshotClient(cmd)
	if err != nil {
		return err
	}
	bar := p.bytesBar("snapshot", -1)
	stored, err := cl.TakeSnapshot(cmd.Context(), bar.set)
	bar.end()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.out, "sequence     %d\nstream       %s\nfloor        %d\nbytes        %d\nname         %s\n",
		stored.Seq, printable(stored.Stream), stored.Floor, stored.Bytes, printable(stored.Name))
	return err
}

func (p *program) snapshotClient(cmd *cobra.Command) (*client.Client, error) {
	c, err := p.client(cmd.Flags())
	if err != nil {
		return nil, err
	}
	return client.New(client.Options{URL: c.URL, APIKey: c.APIKey})
}

func (p *program) snapshotListCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the snapshots in the server's object store, newest first",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != outputTable && output != outputJSON {
				return usageError{fmt.Errorf("--output %q: use table or json", output)}
			}
			cl, err := p.snapshotClient(cmd)
			if err != nil {
				return err
			}
			return p.listSnapshots(cmd.Context(), cl, output)
		},
	}
	config.ClientFlags(cmd.Flags())
	cmd.Flags().StringVar(&output, "output", outputTable, "table or json")
	return cmd
}

const (
	outputTable = "table"
	outputJSON  = "json"
)

func (p *program) listSnapshots(ctx context.Context, cl *client.Client, output string) error {
	list, err := cl.StoredSnapshots(ctx)
	if err != nil {
		return err
	}
	if output == outputJSON {
		if err := json.MarshalWrite(p.out, list, jsontext.WithIndent(" ")); err != nil {
			return err
		}
		_, err := fmt.Fprintln(p.out)
		return err
	}
	table := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	_, err = fmt.Fprintln(table, "SEQUENCE\tFLOOR\tTAKEN\tBYTES\tFORMAT\tFOLD\tSTREAM\tNAME")
	for _, s := range list {
		_, more := fmt.Fprintf(table, "%d\t%d\t%s\t%d\t%d\t%d\t%s\t%s\n", s.Seq, s.Floor, s.Taken.UTC().Format(time.RFC3339), s.Bytes,
			s.Format, s.Fold, printable(s.Stream), printable(s.Name))
		err = errors.Join(err, more)
	}
	return errors.Join(err, table.Flush())
}

// set shows how many bytes were handled in all.
func (b bytesBar) set(bytes int64) {
	if b.bar != nil {
		_ = b.bar.Set64(bytes) // only looks
	}
}
