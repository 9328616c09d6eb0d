// Command assigndex is an event-driven index of access assignments: the server,
// and the tools of its operators and of those who publish to it and read from it.
//
// It owns the wiring: what is opened in which order, and how it ends. Data goes
// to standard output, everything else to standard error. It refuses to hold any
// logic that a package could hold.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/indexer/fault"
)

// Exit codes, as the contract has them.
const (
	exitDone       = 0
	exitFailed     = 1
	exitUsage      = 2
	exitDifference = 3 // a verification found one
)

func main() {
	// The second signal kills: a drain that hangs must not hold the operator up.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	p := program{args: os.Args[1:], environ: os.Environ(), in: os.Stdin, out: os.Stdout, err: os.Stderr}
	os.Exit(p.run(ctx))
}

// program is one call of the command, with all that it takes from outside.
type program struct {
	args    []string
	environ []string
	in      io.Reader
	out     io.Writer // data
	err     io.Writer // logs, progress, errors

	fault fault.Hook // of snapshot and restore; nil in production
}

// usageError is wrong use of the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func (p *program) run(ctx context.Context) int {
	root := p.root()
	root.SetArgs(p.args)
	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	_, _ = fmt.Fprintf(p.err, "assigndex: %v\n", err) // nowhere else to report to
	var usage usageError
	var setting *config.Error
	if errors.Is(err, errDifference) || errors.Is(err, errNotEqual) {
		return exitDifference
	}
	if errors.As(err, &usage) || errors.As(err, &setting) {
		return exitUsage
	}
	return exitFailed
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "assigndex",
		Short:         "An event-driven index of access assignments",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Usage()
			return usageError{errors.New("name a command")}
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{config.FlagError(cmd.Flags(), err)}
	})
	root.AddCommand(p.serveCommand(), p.demoCommand(), p.publishCommand(), p.keyCommand(), p.queryCommand(), p.watchCommand(),
		p.quarantineCommand(), p.verifyCommand(), p.rebuildCommand(), p.snapshotCommand(), p.restoreCommand(),
		p.versionCommand())
	return root
}

// noArgs refuses arguments, by name.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no argument, got %q; see %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())}
	}
	return nil
}

// client loads the settings of a command that talks to a running server.
func (p *program) client(fs *pflag.FlagSet) (config.Client, error) {
	c, warnings, err := config.LoadClient(fs, p.environ)
	for _, w := range warnings {
		_, _ = fmt.Fprintf(p.err, "assigndex: warning: %s\n", w) // nowhere else to report to
	}
	return c, err
}
