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
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/snapshot"
	"github.com/assigndex/assigndex/indexer/stream/keybucket"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/apikey"
	"github.com/assigndex/assigndex/query/client"
)

// snapshotter is what the API writes snapshots with.
type snapshotter struct {
	index *indexer.Index
	keys  *keybucket.Bucket[apikey.Key]
}

// Snapshot is part of httpapi.Snapshotter.
func (s snapshotter) Snapshot(ctx context.Context, begin func(seq uint64, stream string) io.Writer) error {
	keys, err := storedKeys(ctx, s.keys)
	if err != nil {
		away := &query.Error{Code: query.NotReady, Detail: "the API keys, which belong to a snapshot, cannot be read: NATS does not answer; ask again"}
		return errors.Join(away, err)
	}
	var to later
	_, err = s.index.Snapshot(ctx, &to, snapshot.WriteOptions{Keys: keys, Begin: func(h snapshot.Header) error {
		to.Writer = begin(h.At.Seq, h.At.Stream.Incarnation)
		return nil
	}})
	if errors.Is(err, snapshot.ErrVersion) {
		upgrading := &query.Error{Code: query.NotReady, Detail: "the index was written by an older version and is made again; ask again after that"}
		return errors.Join(upgrading, err)
	}
	return err
}

// later is a writer that is known when the first byte is to be written.
type later struct{ io.Writer }

// keysWait is how long API keys are waited for.
const keysWait = 10 * time.Second

// storedKeys gives the API keys as they are stored.
func storedKeys(ctx context.Context, bucket *keybucket.Bucket[apikey.Key]) ([]snapshot.Key, error) {
	ctx, cancel := context.WithTimeout(ctx, keysWait)
	defer cancel()
	all, err := bucket.List(ctx)
	if err != nil {
		return nil, err
	}
	keys := make([]snapshot.Key, len(all))
	for i, k := range all {
		if keys[i].Name, keys[i].Value, err = (apikey.Codec{}).Encode(k); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

type snapshotFlags struct {
	file    string // "-": standard output
	force   bool
	dataDir string // of a stopped server; empty: the running server is asked
	natsURL bool   // one was named
}

func (p *program) snapshotCommand() *cobra.Command {
	var flags snapshotFlags
	cmd := &cobra.Command{
		Use:   "snapshot FILE",
		Short: "Copy the whole index at one sequence into a file, history and hashed API keys included",
		Long: "Writes a snapshot of the index at its last applied sequence to FILE, - for standard output, while the server goes on.\n" +
			"The running server is asked with the key of an admin for all tenants; with --data-dir this program reads the data\n" +
			"directory of a stopped one. FILE appears when it is whole and on disk. It says who holds what: keep it safe.",
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if flags.dataDir == "" && cmd.Flags().Changed("data-dir") {
				return usageError{errors.New("--data-dir is empty: name a directory")}
			}
			c, err := p.client(cmd.Flags())
			if err != nil {
				return err
			}
			flags.file = args[0]
			flags.natsURL = cmd.Flags().Changed("nats-url") || slices.ContainsFunc(p.environ, isNATSURL)
			return p.snapshot(cmd.Context(), c, flags)
		},
	}
	config.ClientFlags(cmd.Flags())
	cmd.Flags().BoolVar(&flags.force, "force", false, "replace FILE when it exists")
	cmd.Flags().StringVar(&flags.dataDir, "data-dir", "", "copy the data directory of a stopped server")
	return p.withStore(cmd)
}

// oneFile wants one argument, the name of a snapshot.
func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return usageError{fmt.Errorf("%s takes one argument, the FILE of the snapshot; see %s --help", cmd.CommandPath(), cmd.CommandPath())}
	}
	return nil
}

func (p *program) snapshot(ctx context.Context, c config.Client, flags snapshotFlags) error {
	write := func(w io.Writer) (snapshot.Summary, error) {
		bar := p.bytesBar("snapshot", -1)
		defer bar.end()
		w = io.MultiWriter(w, bar)
		if flags.dataDir != "" {
			return p.snapshotOffline(ctx, c, flags, w)
		}
		return snapshotOnline(ctx, c, w)
	}
	if flags.file == "-" {
		summary, err := write(p.out)
		if err != nil {
			return err
		}
		return printSnapshot(p.err, "", summary) // standard output has the data
	}
	summary, err := writeWhole(flags.file, flags.force, write)
	if err != nil {
		return err
	}
	return printSnapshot(p.out, flags.file, summary)
}

func printSnapshot(out io.Writer, file string, s snapshot.Summary) error {
	_, err := fmt.Fprintf(out, "sequence     %d\nstream       %s\nfloor        %d\nassignments  %d\nentries      %d\nkeys         %d\nbytes        %d\n",
		s.At.Seq, printable(s.At.Stream.Incarnation), s.Floor, s.Assignments, s.Entries, s.Keys, s.Bytes)
	if err == nil && file != "" {
		_, err = fmt.Fprintf(out, "file         %s\n", printable(file))
	}
	return err
}

// writeWhole has a file written under another name beside it, and names it when it is
// whole and durable.
func writeWhole(path string, force bool, write func(io.Writer) (snapshot.Summary, error)) (_ snapshot.Summary, err error) {
	if err := refuseExisting(path, force); err != nil {
		return snapshot.Summary{}, err
	}
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return snapshot.Summary{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeIfThere(path+".tmp"))
		}
	}()
	summary, err := write(f)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return snapshot.Summary{}, err
	}
	if err := refuseExisting(path, force); err != nil { // it took a while
		return snapshot.Summary{}, err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return snapshot.Summary{}, err
	}
	return summary, syncDir(filepath.Dir(path))
}

func refuseExisting(path string, force bool) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.IsDir():
		return fmt.Errorf("%s is a directory: name a file in it", path)
	case !force:
		return fmt.Errorf("%s exists: name another file, or replace it with --force", path)
	}
	return nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// snapshotOnline asks the running server, and checks what comes to its end.
func snapshotOnline(ctx context.Context, c config.Client, w io.Writer) (_ snapshot.Summary, err error) {
	cl, err := client.New(client.Options{URL: c.URL, APIKey: c.APIKey})
	if err != nil {
		return snapshot.Summary{}, err
	}
	s, err := cl.Snapshot(ctx)
	if err != nil {
		return snapshot.Summary{}, err
	}
	defer func() { _ = s.Close() }() // read to its end, or given up
	from := &noted{Reader: s}
	summary, err := snapshot.Check(ctx, io.TeeReader(from, w))
	if from.err != nil {
		err = fmt.Errorf("the snapshot was cut off, the server's log may say why: %w", from.err)
	}
	return summary, err
}

// noted is a reader that keeps the error that ended it.
type noted struct {
	io.Reader
	err error // nil: none, or the end
}

// Read is part of io.Reader.
func (r *noted) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// bytesBar shows how many bytes were handled, when standard error is a terminal.
type bytesBar struct{ bar *progressbar.ProgressBar } // nil: it is none

// bytesBar makes a bar for so many bytes; -1: nobody knows how many.
func (p *program) bytesBar(what string, of int64) bytesBar {
	f, ok := p.err.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) { //nolint:gosec // a file descriptor fits an int
		return bytesBar{}
	}
	return bytesBar{progressbar.NewOptions64(of, progressbar.OptionSetWriter(p.err), progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())}
}

// Write is part of io.Writer.
func (b bytesBar) Write(piece []byte) (int, error) {
	if b.bar != nil {
		_ = b.bar.Add64(int64(len(piece))) // only looks
	}
	return len(piece), nil
}

func (b bytesBar) end() {
	if b.bar != nil {
		_ = b.bar.Finish() // only looks
	}
}
