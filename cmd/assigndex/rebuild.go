package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/query/client"
)

// errNotEqual ends a rebuild that found a difference or could not compare, and was asked
// to keep the index then.
var errNotEqual = errors.New("the fresh index differs, or could not be compared: the index was kept")

type rebuildFlags struct {
	requireEqual  bool
	until         string
	acceptTrimmed bool
	output        string
	stream        string
	dataDir       string // of a stopped server; empty: the running server is asked
	natsURL       bool   // one was named
}

func (p *program) rebuildCommand() *cobra.Command {
	var flags rebuildFlags
	cmd := &cobra.Command{
		Use:   "rebuild",
		Short: "Make the index again from the stream, compare it with the one that is there, and swap it in",
		Long: "Builds a fresh index from the stream, beside the one that is there, compares the two at one sequence and swaps them. The\n" +
			"running server does it, asked with the key of an admin for all tenants, and serves on meanwhile; with --data-dir this\n" +
			"program does it in the data directory of a stopped one. Interrupted before the swap it leaves the index as it was.\n" +
			"With --until the index is built as it was then, in a data directory of its own, and nothing is swapped: serve it with\n" +
			"serve --data-dir. Exits with 3 when --require-equal keeps the index.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.check(cmd); err != nil {
				return err
			}
			c, err := p.client(cmd.Flags())
			if err != nil {
				return err
			}
			flags.natsURL = cmd.Flags().Changed("nats-url") || slices.ContainsFunc(p.environ, isNATSURL)
			if flags.until != "" {
				return p.buildUntil(cmd.Context(), c, flags)
			}
			return p.rebuild(cmd.Context(), c, flags)
		},
	}
	config.ClientFlags(cmd.Flags())
	f := cmd.Flags()
	f.BoolVar(&flags.requireEqual, "require-equal", false, "keep the index when the fresh one differs from it, or when the two cannot be compared")
	f.StringVar(&flags.until, "until", "", "the last sequence to apply, or an instant (RFC 3339)")
	f.StringVar(&flags.output, "output", "text", "text or json")
	f.StringVar(&flags.dataDir, "data-dir", "", "rebuild in the data directory of a stopped server")
	f.BoolVar(&flags.acceptTrimmed, "accept-trimmed-stream", false, "with --data-dir: build of a stream that has lost its first events what the rest says")
	f.StringVar(&flags.stream, "stream", "ASSIGNMENTS", "with --data-dir: the stream, for --until and for an index that cannot be read; others know their own")
	return cmd
}

// check refuses what does not go together.
func (f *rebuildFlags) check(cmd *cobra.Command) error {
	offline := cmd.Flags().Changed("data-dir")
	switch {
	case f.output != "text" && f.output != "json":
		return usageError{fmt.Errorf("--output %q: use text or json", f.output)}
	case f.dataDir == "" && offline:
		return usageError{errors.New("--data-dir is empty: name a directory")}
	case f.until == "" && cmd.Flags().Changed("until"), f.until != "" && !isUntil(f.until):
		return usageError{fmt.Errorf("--until %q: want a sequence of at least 1, or an instant such as 2026-01-31T12:00:00Z", f.until)}
	case f.until != "" && f.requireEqual:
		return usageError{errors.New("--require-equal is for a rebuild that swaps; with --until nothing is compared")}
	case !offline && (f.acceptTrimmed || cmd.Flags().Changed("stream")):
		return usageError{errors.New("--accept-trimmed-stream and --stream are for --data-dir; a running server has settings of its own")}
	}
	return nil
}

func isUntil(text string) bool {
	if seq, err := strconv.ParseUint(text, 10, 64); err == nil {
		return seq > 0
	}
	_, err := time.Parse(time.RFC3339Nano, text)
	return err == nil
}

func (p *program) rebuild(ctx context.Context, c config.Client, flags rebuildFlags) error {
	bar := p.verifyBar()
	request := client.RebuildRequest{RequireEqual: flags.requireEqual, Progress: bar.show}
	var result *client.Rebuilt
	var err error
	if flags.dataDir != "" {
		result, err = p.rebuildOffline(ctx, c, flags, request)
	} else {
		var cl *client.Client
		if cl, err = client.New(client.Options{URL: c.URL, APIKey: c.APIKey}); err == nil {
			result, err = cl.Rebuild(ctx, request)
		}
	}
	bar.end()
	if err != nil {
		return err
	}
	if err := p.printed(flags.output, result, func(out *bufio.Writer) { printRebuilt(out, result) }); err != nil {
		return err
	}
	if !result.Swapped {
		return errNotEqual
	}
	return nil
}

func (p *program) buildUntil(ctx context.Context, c config.Client, flags rebuildFlags) error {
	bar := p.verifyBar()
	request := client.BuildUntilRequest{Until: flags.until, Progress: bar.show}
	var result *client.BuiltUntil
	var err error
	if flags.dataDir != "" {
		result, err = p.buildUntilOffline(ctx, c, flags, request)
	} else {
		var cl *client.Client
		if cl, err = client.New(client.Options{URL: c.URL, APIKey: c.APIKey}); err == nil {
			result, err = cl.BuildUntil(ctx, request)
		}
	}
	bar.end()
	if err != nil {
		return err
	}
	return p.printed(flags.output, result, func(out *bufio.Writer) {
		fmt.Fprintf(out, "sequence     %d\nstream       %s\nassignments  %d\ndigest       %s\ndirectory    %s\n",
			result.Seq, printable(result.Stream), result.Assignments, result.Digest, printable(result.Dir))
	})
}

// printed writes a result to standard output, as JSON or by a function that writes text.
func (p *program) printed(form string, result any, text func(out *bufio.Writer)) error {
	out := bufio.NewWriter(p.out)
	if form == "json" {
		if err := json.MarshalWrite(out, result, jsontext.WithIndent(" ")); err != nil {
			return err
		}
		if err := out.WriteByte('\n'); err != nil {
			return err
		}
	} else {
		text(out)
	}
	return out.Flush()
}

func printRebuilt(out *bufio.Writer, r *client.Rebuilt) {
	fmt.Fprintf(out, "sequence     %d\nstream       %s\nassignments  %d\ndigest       %s\n", r.Seq, printable(r.Stream), r.Assignments, r.Digest)
	for _, c := range r.Checks {
		printCheck(out, c)
	}
	if r.From > 0 {
		fmt.Fprintf(out, "built        from the snapshot of sequence %d to %d in %.1f s\n", r.From, r.Built, r.Seconds)
	} else {
		fmt.Fprintf(out, "built        %d sequences in %.1f s\n", r.Built, r.Seconds)
	}
	if r.Swapped {
		fmt.Fprint(out, "swapped      the fresh index is the one that serves\n")
	} else {
		fmt.Fprint(out, "swapped      no, the index was kept\n")
	}
}
