package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/assigndex/assigndex/events/autoid"
	"github.com/assigndex/assigndex/events/publisher"
)

// csvFlags are the flags of --format autoid-csv.
type csvFlags struct {
	columns     []string
	columnsFile string
	comma       string
}

func (c *csvFlags) register(fs *pflag.FlagSet) {
	fs.StringArrayVar(&c.columns, "column", nil, "autoid-csv: take a column for a field, as `FILE.FIELD=HEADER`; may be repeated")
	fs.StringVar(&c.columnsFile, "columns-file", "", "autoid-csv: YAML `file` of such columns, as FILE: {FIELD: HEADER}")
	fs.StringVar(&c.comma, "comma", ",", "autoid-csv: `mark` between cells, such as \";\", or tab")
}

// given names a flag of c that was set, if any was.
func (c *csvFlags) given(fs *pflag.FlagSet) string {
	for _, name := range []string{"column", "columns-file", "comma"} {
		if fs.Changed(name) {
			return name
		}
	}
	return ""
}

// options reads the flags and the file that they name. An error is a usageError.
func (c *csvFlags) options() (opts autoid.Options, err error) {
	switch {
	case c.comma == "tab" || c.comma == `\t`:
		opts.Comma = '\t'
	case len(c.comma) == 1 && autoid.ValidComma(c.comma[0]):
		opts.Comma = c.comma[0]
	default:
		return opts, usageError{fmt.Errorf("--comma %q: use one punctuation mark, or tab", c.comma)}
	}
	if c.columnsFile != "" {
		if err := readColumns(c.columnsFile, &opts.Columns); err != nil {
			return opts, usageError{fmt.Errorf("--columns-file: %w", err)}
		}
	}
	for _, text := range c.columns {
		if err := opts.Columns.MapText(text); err != nil {
			return opts, usageError{fmt.Errorf("--column: %w", err)}
		}
	}
	return opts, nil
}

// csvInput is a directory of CSV files, of which every header was read.
type csvInput struct {
	*publishing
	files []csvFile // in the order of publishing
}

type csvFile struct {
	name   string // with its directory
	file   *os.File
	reader *autoid.Reader
}

// openCSV opens the files that the directory has and reads their headers, so that
// a fault in the last one is found before the first is published.
func (r *publishing) openCSV(ctx context.Context, dir string, flags csvFlags) (_ *csvInput, err error) {
	r.unit = "rows"
	opts, err := flags.options()
	if err != nil {
		return nil, err
	}
	found, err := findCSV(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(found))
	for i, f := range found {
		names[i] = filepath.Join(dir, f.Name())
	}
	r.bar = r.progress(totalBytes(names))
	for _, f := range autoid.Files {
		if !slices.Contains(found, f) {
			r.say("%s has no %s, which is passed over", dir, f.Name())
		}
	}
	in := &csvInput{publishing: r}
	defer func() {
		if err != nil {
			in.close()
		}
	}()
	var faults []error
	for i, f := range found {
		faults = append(faults, in.open(ctx, names[i], f, opts))
	}
	if err := errors.Join(faults...); err != nil {
		_ = r.bar.Clear() // only looks
		if unusable := (*autoid.Error)(nil); errors.As(err, &unusable) {
			return nil, fmt.Errorf("%w\nnothing was published; --column and --columns-file map columns, --comma sets their separator", err)
		}
		return nil, err
	}
	return in, nil
}

// findCSV lists the files that a directory has, in the order of publishing. That
// it has none is an error.
func findCSV(dir string) ([]autoid.File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []autoid.File
	var wanted []string
	for _, f := range autoid.Files {
		wanted = append(wanted, f.Name())
		if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == f.Name() }) {
			found = append(found, f)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s has none of %s", dir, strings.Join(wanted, ", "))
	}
	return found, nil
}

func (c *csvInput) open(ctx context.Context, name string, file autoid.File, opts autoid.Options) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	c.files = append(c.files, csvFile{name: name, file: f})
	c.files[len(c.files)-1].reader, err = autoid.NewReader(c.read(ctx, f), name, file, opts)
	return err
}

func (c *csvInput) close() {
	for _, f := range c.files {
		_ = f.file.Close() // only read
	}
}

func (c *csvInput) send(ctx context.Context) error {
	for _, f := range c.files {
		if err := c.rows(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

func (c *csvInput) rows(ctx context.Context, f csvFile) error {
	c.begin(f.name)
	for {
		record, err := f.reader.Read()
		var fault *autoid.Error
		switch {
		case errors.Is(err, io.EOF):
			return c.end(ctx, true)
		case errors.As(err, &fault):
			c.report(fault)
			continue
		case err != nil:
			return err
		}
		msg, err := publisher.NewRecord(record.Type, record.Data)
		if err != nil {
			return fmt.Errorf("%s:%d: %w", f.name, record.Line, err) // the reader gives only what is valid
		}
		if err := c.add(ctx, record.Line, msg); err != nil {
			return err
		}
	}
}
