package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/query/client"
)

type queryFlags struct {
	request client.Request
	asOf    string
	tenant  string
	output  string
	onePage bool
}

func (p *program) queryCommand() *cobra.Command {
	var flags queryFlags
	cmd := &cobra.Command{
		Use:   "query",
		Short: "List assignments, all pages, at one snapshot",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.client(cmd.Flags())
			if err != nil {
				return err
			}
			return p.query(cmd.Context(), c, flags)
		},
	}
	config.ClientFlags(cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&flags.request.UsrID, "usr", "", "only of this user")
	f.StringVar(&flags.request.EntID, "ent", "", "only of this entitlement")
	f.StringVar(&flags.request.AppID, "app", "", "only of this application")
	f.StringVar(&flags.request.GrpID, "grp", "", "only of this group")
	f.StringVar(&flags.request.Type, "type", "", "kind of assignee: USER, GROUP, DYNAMIC_GROUP or ALL (default USER, or the kinds of --grp)")
	f.StringVar(&flags.asOf, "as-of", "", "as it was at this sequence or instant, such as 2026-01-31T12:00:00Z (default now)")
	f.Uint64Var(&flags.request.AtLeast, "at-least", 0, "wait until this sequence is applied")
	f.StringVar(&flags.tenant, "tenant", "", "tenant, needed with a key for all tenants")
	f.StringVar(&flags.output, "output", "table", "table, json or ndjson")
	f.IntVar(&flags.request.PageSize, "page-size", 100, "rows a request")
	f.BoolVar(&flags.onePage, "one-page", false, "print one page as the server sends it, with the cursor of the next one")
	f.StringVar(&flags.request.Cursor, "cursor", "", "go on from here, with the same filters")
	return cmd
}

func (p *program) query(ctx context.Context, c config.Client, flags queryFlags) (err error) {
	out := bufio.NewWriter(p.out)
	var form printer
	switch flags.output {
	case "table":
		form = &tablePrinter{w: tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	case "json":
		form = &jsonPrinter{w: out}
	case "ndjson":
		form = ndjsonPrinter{w: out}
	default:
		return usageError{fmt.Errorf("--output %q: use table, json or ndjson", flags.output)}
	}
	if flags.asOf != "" {
		if flags.request.AsOf, err = client.ParseAsOf(flags.asOf); err != nil {
			return usageError{fmt.Errorf("--as-of %w", err)}
		}
	}
	cl, err := client.New(client.Options{URL: c.URL, APIKey: c.APIKey, Tenant: flags.tenant})
	if err != nil {
		return err
	}
	if flags.onePage {
		page, err := cl.Page(ctx, flags.request)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.out, "%s\n", page.Raw)
		return err
	}
	for page, err := range cl.Pages(ctx, flags.request) {
		if err != nil {
			// What was listed before is right, but it is not all: say so by ending.
			_ = out.Flush()
			return err
		}
		if err := form.page(page); err != nil {
			return err
		}
	}
	if err := form.end(); err != nil {
		return err
	}
	return out.Flush()
}

// printer writes pages in one of the forms of --output.
type printer interface {
	page(p *client.Page) error
	end() error
}

// ndjsonPrinter writes a row a line, as the server sent it.
type ndjsonPrinter struct{ w io.Writer }

func (n ndjsonPrinter) page(p *client.Page) error {
	for _, a := range p.Assignments {
		if _, err := fmt.Fprintf(n.w, "%s\n", a.Raw); err != nil {
			return err
		}
	}
	return nil
}

func (n ndjsonPrinter) end() error { return nil }

// jsonPrinter writes one array. A listing that fails leaves it unclosed, so that
// no reader takes a part for the whole.
type jsonPrinter struct {
	w    io.Writer
	rows int
}

func (j *jsonPrinter) page(p *client.Page) error {
	for _, a := range p.Assignments {
		before := ",\n "
		if j.rows == 0 {
			before = "[\n "
		}
		j.rows++
		if _, err := fmt.Fprintf(j.w, "%s%s", before, a.Raw); err != nil {
			return err
		}
	}
	return nil
}

func (j *jsonPrinter) end() error {
	end := "\n]\n"
	if j.rows == 0 {
		end = "[]\n"
	}
	_, err := io.WriteString(j.w, end)
	return err
}

// tablePrinter aligns the rows of the whole listing, which it keeps until the end.
type tablePrinter struct {
	w    *tabwriter.Writer
	head bool
}

func (t *tablePrinter) page(p *client.Page) error {
	if !t.head {
		t.head = true
		if _, err := fmt.Fprintln(t.w, "ASSIGNEE\tENTITLEMENT\tSCORE\tJUSTIFICATION"); err != nil {
			return err
		}
	}
	for _, a := range p.Assignments {
		score := "-"
		if a.Score != nil {
			score = strconv.FormatFloat(*a.Score, 'f', -1, 64)
		}
		reasons := make([]string, len(a.Justification))
		for i, r := range a.Justification {
			reasons[i] = r.Title + "=" + strings.Trim(string(r.Value), `"`)
		}
		_, err := fmt.Fprintf(t.w, "%s\t%s\t%s\t%s\n", printable(assignee(a)), printable(a.EntID), score, printable(strings.Join(reasons, ", ")))
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tablePrinter) end() error { return t.w.Flush() }

func assignee(a client.Assignment) string {
	switch {
	case a.UsrID != "":
		return a.UsrID
	case a.GrpID != "":
		return a.Type + " " + a.GrpID
	default:
		return a.Type
	}
}

// printable keeps an id that holds control characters from moving the cursor or
// the columns of a terminal.
func printable(s string) string {
	if strconv.CanBackquote(s) && !strings.ContainsRune(s, '\t') {
		return s
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}
