package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/query/client"
)

// errDifference ends a verification that found a difference.
var errDifference = errors.New("the verification found a difference; rebuild makes the index again from the stream")

type verifyFlags struct {
	at      int64
	rebuild bool
	output  string
	dataDir string // of a stopped server; empty: the running server is asked
	workDir string
	natsURL bool // one was named
}

func (f *verifyFlags) request() client.VerifyRequest {
	r := client.VerifyRequest{Rebuild: f.rebuild}
	if f.at >= 0 {
		at := uint64(f.at)
		r.At = &at
	}
	return r
}

func (p *program) verifyCommand() *cobra.Command {
	var flags verifyFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check a whole index, and compare it with one built afresh from the stream",
		Long: "Checks that the files of the index hold what was written to them and that every family agrees with every other, and\n" +
			"prints sequence and digest. The running server does it, asked with the key of an admin for all tenants; with --data-dir\n" +
			"this program does it on the data directory of a stopped one. Exits with 3 when a difference is found.",
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
			return p.verify(cmd.Context(), c, flags)
		},
	}
	config.ClientFlags(cmd.Flags())
	f := cmd.Flags()
	f.Int64Var(&flags.at, "at", -1, "the sequence to verify; -1: the last applied one")
	f.BoolVar(&flags.rebuild, "rebuild", false, "also build an index afresh from the stream, and compare")
	f.StringVar(&flags.output, "output", "text", "text or json")
	f.StringVar(&flags.dataDir, "data-dir", "", "verify the data directory of a stopped server")
	f.StringVar(&flags.workDir, "work-dir", "", "with --data-dir and --rebuild: where the other index is built (default: in the data directory)")
	return cmd
}

func isNATSURL(variable string) bool {
	const name = "ASSIGNDEX_NATS_URL="
	return len(variable) > len(name) && variable[:len(name)] == name
}

// check refuses what does not go together.
func (f *verifyFlags) check(cmd *cobra.Command) error {
	switch {
	case f.output != "text" && f.output != "json":
		return usageError{fmt.Errorf("--output %q: use text or json", f.output)}
	case f.at < -1:
		return usageError{fmt.Errorf("--at %d: want a sequence, or -1 for the last applied one", f.at)}
	case f.dataDir == "" && cmd.Flags().Changed("data-dir"):
		return usageError{errors.New("--data-dir is empty: name a directory")}
	case f.workDir != "" && (f.dataDir == "" || !f.rebuild):
		return usageError{errors.New("--work-dir is for --rebuild with --data-dir; a server builds in its own data directory")}
	}
	return nil
}

func (p *program) verify(ctx context.Context, c config.Client, flags verifyFlags) error {
	request := flags.request()
	bar := p.verifyBar()
	request.Progress = bar.show
	var result *client.Verification
	var err error
	if flags.dataDir != "" {
		result, err = p.verifyOffline(ctx, c, flags, request)
	} else {
		var cl *client.Client
		if cl, err = client.New(client.Options{URL: c.URL, APIKey: c.APIKey}); err == nil {
			result, err = cl.Verify(ctx, request)
		}
	}
	bar.end()
	if err != nil {
		return err
	}
	out := bufio.NewWriter(p.out)
	if err := printVerification(out, flags.output, result); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	for _, check := range result.Checks {
		if check.Differences > 0 {
			return errDifference
		}
	}
	return nil
}

func printVerification(out *bufio.Writer, form string, v *client.Verification) error {
	if form == "json" {
		if err := json.MarshalWrite(out, v, jsontext.WithIndent(" ")); err != nil {
			return err
		}
		return out.WriteByte('\n')
	}
	switch {
	case v.Digest != "":
		fmt.Fprintf(out, "sequence     %d\nstream       %s\nassignments  %d\ndigest       %s\n", v.Seq, printable(v.Stream), v.Assignments, v.Digest)
	case v.Stream != "":
		fmt.Fprintf(out, "sequence     %d\nstream       %s\nassignments  -\ndigest       -\n", v.Seq, printable(v.Stream))
	default: // the index was not opened
		fmt.Fprint(out, "sequence     -\nstream       -\nassignments  -\ndigest       -\n")
	}
	for _, c := range v.Checks {
		printCheck(out, c)
		if c.Name == audit.CheckRebuild && v.Erased > 0 {
			fmt.Fprintf(out, "  %d messages were erased from the stream: what they said is in no index that is built from it now\n", v.Erased)
		}
	}
	return nil
}

// printCheck writes what one check found.
func printCheck(out *bufio.Writer, c client.Check) {
	switch {
	case c.Skipped != "":
		fmt.Fprintf(out, "%-11s  not checked: %s\n", c.Name, c.Skipped)
	case c.Differences == 0:
		fmt.Fprintf(out, "%-11s  equal, %d checked\n", c.Name, c.Checked)
	default:
		fmt.Fprintf(out, "%-11s  %d differences, %d checked\n", c.Name, c.Differences, c.Checked)
	}
	for _, f := range c.Found {
		fmt.Fprintf(out, "  %s: %s\n", printable(f.Subject), printable(f.Problem))
	}
	if more := c.Differences - len(c.Found); more > 0 && c.Skipped == "" {
		fmt.Fprintf(out, "  and %d more\n", more)
	}
}

// verifyBar shows how far a verification is, a bar for each check.
type verifyBar struct {
	p     *program
	check string
	bar   *progressbar.ProgressBar // nil: standard error is not a terminal, or nothing was shown yet
}

func (p *program) verifyBar() *verifyBar { return &verifyBar{p: p} }

func (b *verifyBar) show(check string, done, of int64) {
	f, ok := b.p.err.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) { //nolint:gosec // a file descriptor fits an int
		return
	}
	if check != b.check {
		b.end()
		b.check = check
		b.bar = progressbar.NewOptions64(max(of, 1), progressbar.OptionSetWriter(b.p.err), progressbar.OptionSetDescription(check),
			progressbar.OptionShowBytes(check == audit.CheckFiles), progressbar.OptionShowCount(), progressbar.OptionShowIts(),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(true))
	}
	b.bar.ChangeMax64(max(of, 1))
	_ = b.bar.Set64(min(done, max(of-1, 0))) // only looks
}

func (b *verifyBar) end() {
	if b.bar != nil {
		_ = b.bar.Finish() // only looks
	}
}
