package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/query/client"
)

// quarantineFlags are those that the commands of the quarantine share.
type quarantineFlags struct {
	request client.QuarantineRequest
	tenant  string
	output  string
}

func (p *program) quarantineCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "quarantine",
		Short: "Look at messages that could not be applied, publish them again or drop them",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Usage()
			return usageError{errors.New("name what to do: list, show, redrive or drop")}
		},
	}
	cmd.AddCommand(p.quarantineListCommand(), p.quarantineShowCommand(), p.quarantineRedriveCommand(), p.quarantineDropCommand())
	return cmd
}

// register adds the shared flags.
func (f *quarantineFlags) register(cmd *cobra.Command) {
	config.ClientFlags(cmd.Flags())
	cmd.Flags().StringVar(&f.tenant, "tenant", "", "tenant, needed with a key for all tenants")
	cmd.Flags().BoolVar(&f.request.Unattributed, "unattributed", false, "messages whose tenant could not be read, for a key for all tenants")
	cmd.Flags().Uint64Var(&f.request.AtLeast, "at-least", 0, "wait until this sequence is applied")
}

func (f *quarantineFlags) registerCode(cmd *cobra.Command, usage string) {
	cmd.Flags().StringVar(&f.request.Code, "code", "", usage)
}

// open checks the shared flags and gives a client.
func (f *quarantineFlags) open(p *program, cmd *cobra.Command) (*client.Client, error) {
	c, err := p.client(cmd.Flags())
	if err != nil {
		return nil, err
	}
	if f.request.Code != "" && !events.Code(f.request.Code).Known() {
		return nil, usageError{fmt.Errorf("--code %q: use one of %v", f.request.Code, events.Codes)}
	}
	return client.New(client.Options{URL: c.URL, APIKey: c.APIKey, Tenant: f.tenant})
}

func (p *program) quarantineListCommand() *cobra.Command {
	var flags quarantineFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the messages that could not be applied, the oldest first",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains([]string{"table", "json", "ndjson"}, flags.output) {
				return usageError{fmt.Errorf("--output %q: use table, json or ndjson", flags.output)}
			}
			cl, err := flags.open(p, cmd)
			if err != nil {
				return err
			}
			return p.listQuarantine(cmd.Context(), cl, flags)
		},
	}
	flags.register(cmd)
	flags.registerCode(cmd, "only those refused for this reason, such as bad_field")
	cmd.Flags().StringVar(&flags.output, "output", "table", "table, json or ndjson")
	return cmd
}

func (p *program) listQuarantine(ctx context.Context, cl *client.Client, flags quarantineFlags) error {
	out := bufio.NewWriter(p.out)
	var form quarantinePrinter
	switch flags.output {
	case "json":
		form = &quarantineArray{w: out}
	case "ndjson":
		form = quarantineLines{out}
	default:
		form = &quarantineTable{w: tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	}
	for q, err := range cl.Quarantine(ctx, flags.request) {
		if err == nil {
			err = form.print(q)
		}
		if err != nil {
			// What was listed before is right, but it is not all: say so by ending.
			_ = out.Flush()
			return err
		}
	}
	if err := form.end(); err != nil {
		return err
	}
	return out.Flush()
}

// quarantinePrinter writes messages in one of the forms of --output.
type quarantinePrinter interface {
	print(q *client.Quarantined) error
	end() error
}

// quarantineLines writes a message a line, as the server sent it.
type quarantineLines struct{ w io.Writer }

func (l quarantineLines) print(q *client.Quarantined) error {
	_, err := fmt.Fprintf(l.w, "%s\n", q.Raw)
	return err
}

func (quarantineLines) end() error { return nil }

// quarantineArray writes one array. A listing that fails leaves it unclosed.
type quarantineArray struct {
	w     io.Writer
	begun bool
}

func (a *quarantineArray) print(q *client.Quarantined) error {
	before := ",\n "
	if !a.begun {
		before, a.begun = "[\n ", true
	}
	_, err := fmt.Fprintf(a.w, "%s%s", before, q.Raw)
	return err
}

func (a *quarantineArray) end() error {
	end := "[]\n"
	if a.begun {
		end = "\n]\n"
	}
	_, err := io.WriteString(a.w, end)
	return err
}

// quarantineTable aligns the whole listing, which it keeps until the end.
type quarantineTable struct {
	w    *tabwriter.Writer
	head bool
}

func (t *quarantineTable) print(q *client.Quarantined) error {
	if !t.head {
		t.head = true
		if _, err := fmt.Fprintln(t.w, "SEQ\tTIME\tCODE\tFIELD\tREASON\tREMEDY"); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(t.w, "%d\t%s\t%s\t%s\t%s\t%s\n", q.Seq, q.Time.Format(time.RFC3339), printable(q.Code),
		printable(orDash(q.Field)), printable(q.Reason), printable(q.Remedy))
	return err
}

func (t *quarantineTable) end() error { return t.w.Flush() }

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func (p *program) quarantineShowCommand() *cobra.Command {
	var flags quarantineFlags
	var body bool
	cmd := &cobra.Command{
		Use:   "show SEQ",
		Short: "Show why one message could not be applied, and what to do",
		Long: `Show why one message could not be applied, and what to do about it. The message itself is not shown: it may
hold secrets. With --body its body alone is printed on standard output, as the stream holds it, to be corrected
and given back with redrive --data; where it was published and its headers are told on standard error.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("name one message by its sequence, see assigndex quarantine list")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			seqs, err := sequences(args)
			if err != nil {
				return err
			}
			if flags.output != "table" && flags.output != "json" {
				return usageError{fmt.Errorf("--output %q: use table or json", flags.output)}
			}
			cl, err := flags.open(p, cmd)
			if err != nil {
				return err
			}
			if body {
				return p.showBody(cmd.Context(), cl, seqs[0], flags.request)
			}
			q, err := cl.Quarantined(cmd.Context(), seqs[0], flags.request)
			if err != nil {
				return err
			}
			return p.showRecord(q, flags.output)
		},
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&body, "body", false, "print the body as the stream holds it, secrets included")
	cmd.Flags().StringVar(&flags.output, "output", "table", "table or json")
	return cmd
}

func (p *program) showRecord(q *client.Quarantined, output string) error {
	if output == "json" {
		_, err := fmt.Fprintf(p.out, "%s\n", q.Raw)
		return err
	}
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{"sequence", strconv.FormatUint(q.Seq, 10)}, {"time", q.Time.Format(time.RFC3339Nano)}, {"subject", q.Subject}, {"tenant", orDash(q.Tenant)},
		{"type", orDash(q.Type)}, {"bytes", strconv.Itoa(q.Bytes)}, {"code", q.Code}, {"field", orDash(q.Field)}, {"reason", q.Reason}, {"remedy", q.Remedy},
	} {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", line[0], printable(line[1])) // Flush reports
	}
	return w.Flush()
}

// showBody prints a message as the stream holds it.
func (p *program) showBody(ctx context.Context, cl *client.Client, seq uint64, r client.QuarantineRequest) error {
	m, err := cl.QuarantinedMessage(ctx, seq, r)
	if err != nil {
		return err
	}
	p.warn("the message is printed as the stream holds it: it may hold secrets")
	p.warn("subject " + printable(m.Subject))
	for _, name := range slices.Sorted(maps.Keys(m.Header)) {
		p.warn("header " + printable(name) + ": " + printable(strings.Join(m.Header[name], ", ")))
	}
	data := m.Data()
	if f, ok := p.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) { //nolint:gosec // a file descriptor fits an int
		data = []byte(printable(string(data)) + "\n") // a sender must not move the cursor
	}
	_, err = p.out.Write(data)
	return err
}

// warn writes a line to standard error.
func (p *program) warn(text string) {
	_, _ = fmt.Fprintf(p.err, "assigndex: %s\n", text) // nowhere else to report to
}

// sequences reads arguments that name messages.
func sequences(args []string) ([]uint64, error) {
	seqs := make([]uint64, len(args))
	for i, arg := range args {
		var err error
		if seqs[i], err = strconv.ParseUint(arg, 10, 64); err != nil || seqs[i] == 0 {
			return nil, usageError{fmt.Errorf("%q is not a sequence, see assigndex quarantine list", arg)}
		}
	}
	return seqs, nil
}
