package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/query/client"
)

type watchFlags struct {
	request client.WatchRequest
	since   string
	tenant  string
	output  string
}

func (p *program) watchCommand() *cobra.Command {
	var flags watchFlags
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Follow changes of assignments, one a line, until stopped",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.client(cmd.Flags())
			if err != nil {
				return err
			}
			return p.watch(cmd.Context(), c, flags)
		},
	}
	config.ClientFlags(cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&flags.since, "since", "now", "a sequence, a position that was printed as next, earliest or now")
	f.StringVar(&flags.request.UsrID, "usr", "", "only of this user")
	f.StringVar(&flags.request.EntID, "ent", "", "only of this entitlement")
	f.StringVar(&flags.request.AppID, "app", "", "only of this application")
	f.StringVar(&flags.request.GrpID, "grp", "", "only of this group")
	f.StringVar(&flags.request.Type, "type", "", "kind of assignee: USER, GROUP, DYNAMIC_GROUP or ALL (default USER, or the kinds of --grp)")
	f.StringSliceVar(&flags.request.Include, "include", nil, "what rows tell beyond, such as app_id,updated_at")
	f.StringVar(&flags.tenant, "tenant", "", "tenant, needed with a key for all tenants")
	f.StringVar(&flags.output, "output", "ndjson", "ndjson or table")
	return cmd
}

// watch prints changes until the context ends, which is no error.
func (p *program) watch(ctx context.Context, c config.Client, flags watchFlags) error {
	if flags.output != "ndjson" && flags.output != "table" {
		return usageError{fmt.Errorf("--output %q: use ndjson or table", flags.output)}
	}
	if flags.since != "now" {
		if !isPosition(flags.since) {
			return usageError{fmt.Errorf("--since %q: want a sequence, a position such as 7.2, earliest or now", flags.since)}
		}
		flags.request.Since = flags.since
	}
	cl, err := client.New(client.Options{URL: c.URL, APIKey: c.APIKey, Tenant: flags.tenant})
	if err != nil {
		return err
	}
	flags.request.Retry = func(err error, wait time.Duration) {
		p.note("connecting again in %v: %v", wait, err)
	}
	out := bufio.NewWriter(p.out)
	w := cl.Watch(flags.request)
	for change, err := range w.All(ctx) {
		if err != nil {
			return p.watchEnded(ctx, w, err)
		}
		if err := printChange(out, flags.output, change); err != nil {
			return err
		}
	}
	return nil
}

// watchEnded says where to go on, and why a watch that was not stopped has ended.
func (p *program) watchEnded(ctx context.Context, w *client.Watch, err error) error {
	position, _ := w.Position()
	if ctx.Err() != nil {
		if position != "" {
			p.note("stopped; go on with --since %s", position)
		}
		return nil
	}
	if problem, ok := errors.AsType[*client.Error](err); ok && problem.Status == http.StatusGone {
		return fmt.Errorf("changes since %s cannot be told: %w; list anew with \"assigndex query\", and watch --since its sequence", position, err)
	}
	if position != "" {
		p.note("the last position is %s", position)
	}
	return err
}

// note tells people something beside the data.
func (p *program) note(format string, values ...any) {
	_, _ = fmt.Fprintf(p.err, "assigndex: "+format+"\n", values...) // nowhere else to report to
}

// printChange prints a change and sends it on its way: who reads the line may wait
// for it.
func printChange(out *bufio.Writer, form string, c client.Change) error {
	var err error
	if form == "table" {
		score := "-"
		if s := c.Assignment.Score; s != nil {
			score = strconv.FormatFloat(*s, 'f', -1, 64)
		}
		_, err = fmt.Fprintf(out, "%-10s %-8s %-30s %-40s %s\n", c.Next, c.Op, printable(assignee(c.Assignment)), printable(c.Assignment.EntID), score)
	} else {
		_, err = fmt.Fprintf(out, "%s\n", c.Raw)
	}
	if err != nil {
		return err
	}
	return out.Flush()
}

// isPosition reports whether a text can be a position.
func isPosition(text string) bool {
	if text == client.Earliest {
		return true
	}
	seq, inside, divided := strings.Cut(text, ".")
	_, err := strconv.ParseUint(seq, 10, 64)
	if err == nil && divided {
		_, err = strconv.ParseUint(inside, 10, 32)
	}
	return err == nil
}
