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

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/indexer/diskguard"
	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/generation"
	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/snapshot"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/query/apikey"
)

type restoreFlags struct {
	file    string // "-": standard input
	dataDir string
	natsURL bool // one was named: the stream is there
}

func (p *program) restoreCommand() *cobra.Command {
	var flags restoreFlags
	cmd := &cobra.Command{
		Use:   "restore FILE --data-dir DIR",
		Short: "Make a data directory of a snapshot",
		Long: "Makes a data directory of a snapshot, FILE or - for standard input. DIR must be absent or empty, or left by a restore that\n" +
			"was cut short. The server that is then started on it serves the snapshot's sequence and its history, with its API keys.\n\n" +
			"Without --nats-url that server has an embedded NATS, whose stream is made here: it begins behind the snapshot's sequence and\n" +
			"has a new incarnation, so cursors of before are refused. With --nats-url the index goes on with the stream that it is of.",
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if flags.dataDir == "" {
				return usageError{errors.New("--data-dir is needed: name the directory to make")}
			}
			c, err := p.client(cmd.Flags())
			if err != nil {
				return err
			}
			flags.file = args[0]
			flags.natsURL = cmd.Flags().Changed("nats-url") || slices.ContainsFunc(p.environ, isNATSURL)
			return p.restore(cmd.Context(), c, flags)
		},
	}
	config.ClientFlags(cmd.Flags())
	cmd.Flags().StringVar(&flags.dataDir, "data-dir", "", "the data directory to make (required)")
	return cmd
}

func (p *program) restore(ctx context.Context, c config.Client, flags restoreFlags) (err error) {
	from, size := p.in, int64(-1)
	if flags.file != "-" {
		f, err := os.Open(flags.file)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // only read
		if st, err := f.Stat(); err == nil {
			size = st.Size()
		}
		from = f
	}
	bar := p.bytesBar("restore", size)
	r := restoring{program: p, client: c, flags: flags}
	h, err := r.restore(ctx, io.TeeReader(from, bar))
	bar.end()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.out, "sequence     %d\nstream       %s\nfloor        %d\nkeys         %d\n", h.At.Seq, printable(r.stream), h.Floor, r.keys)
	return err
}

// restoring is one call of the command.
type restoring struct {
	*program
	client config.Client
	flags  restoreFlags

	unlock  func() error // gives the directory back; nil: it was not locked
	claimed bool         // the directory is ours to clear
	stream  string       // the incarnation that the index goes on with
	keys    int          // API keys that were stored
}

func (r *restoring) restore(ctx context.Context, from io.Reader) (_ snapshot.Header, err error) {
	dir := r.flags.dataDir
	defer func() {
		if err != nil && r.claimed {
			err = errors.Join(err, clearRestoring(dir), removeIfThere(filepath.Join(dir, restoringFile)))
		}
		if r.unlock != nil {
			err = errors.Join(err, r.unlock())
		}
	}()
	h, err := snapshot.Restore(ctx, from, filepath.Join(dir, "index"), snapshot.RestoreOptions{
		Begin: func(h snapshot.Header) error { return r.begin(ctx, h) }, Bind: r.bind, Logger: r.clientLog(), Fault: r.fault,
	})
	if err != nil {
		return h, err
	}
	return h, r.fault.Step(fault.RestoreRelease, func() error {
		if err := syncDir(dir); err != nil {
			return err
		}
		return errors.Join(os.Remove(filepath.Join(dir, restoringFile)), syncDir(dir))
	})
}

// begin looks at what the snapshot needs before anything is written.
func (r *restoring) begin(ctx context.Context, h snapshot.Header) error {
	if r.flags.natsURL {
		if err := r.checkStream(ctx, h); err != nil {
			return err
		}
	}
	free, err := diskguard.FreeBytes(r.flags.dataDir)
	if err == nil && free < h.IndexBytes {
		return fmt.Errorf("the index took %d bytes, and the disk of %s has %d free: make room, or name a directory on another disk",
			h.IndexBytes, r.flags.dataDir, free)
	}
	if err := os.MkdirAll(r.flags.dataDir, 0o700); err != nil {
		return err
	}
	// What another restore makes now looks like what one has left that was cut short.
	if r.unlock, err = generation.Lock(r.flags.dataDir); err != nil {
		return err
	}
	if err := claimable(r.flags.dataDir); err != nil {
		return err
	}
	r.claimed = true
	if err := r.fault.Step(fault.RestoreClaim, func() error { return claim(r.flags.dataDir) }); err != nil {
		return err
	}
	return clearRestoring(r.flags.dataDir)
}

// checkStream refuses a stream that a server could not go on with by itself, and warns
// of one that it would have to undo the index for.
func (r *restoring) checkStream(ctx context.Context, h snapshot.Header) error {
	if h.At.Stream.Name == "" {
		return nil // the index never had one
	}
	nc, err := stream.Connect(r.client.NATSURL, r.client.NATSCreds, "assigndex restore", r.clientLog())
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	err = stream.NewReader(nc, js, h.At.Stream.Name, r.clientLog()).Reaches(ctx, h.At)
	parting, parted := errors.AsType[*stream.Parting](err)
	switch {
	case !parted:
		return err
	case parting.Kind == stream.Missing || parting.Kind == stream.Trimmed:
		return fmt.Errorf("%w; take a later snapshot, or leave --nats-url out for an embedded NATS with a stream of its own", err)
	}
	_, _ = fmt.Fprintf(r.err, "assigndex: warning: %s; the server undoes the index to what both have in common, if that is in the history window\n",
		parting.What()) // nowhere else to report to
	return nil
}

// bind gives the index its stream.
func (r *restoring) bind(ctx context.Context, h snapshot.Header, keys []snapshot.Key) (at position.Position, err error) {
	at = h.At
	if !r.flags.natsURL {
		err = withEmbedded(ctx, filepath.Join(r.flags.dataDir, "nats"), "assigndex restore", r.clientLog(),
			func(nc *nats.Conn, js jetstream.JetStream) error {
				if err := r.storeKeys(ctx, js, keys); err != nil {
					return err
				}
				at, err = r.newStream(ctx, nc, js, h)
				return err
			})
	}
	r.stream = at.Stream.Incarnation
	return at, err
}

// newStream makes a stream that begins behind what the index has applied.
func (r *restoring) newStream(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, h snapshot.Header) (position.Position, error) {
	at := h.At
	if at.Stream.Name == "" {
		return at, nil // the index is empty: the server makes the first stream
	}
	if err := stream.Ensure(ctx, js, stream.Config{Name: at.Stream.Name, Own: true, FirstSeq: at.Seq + 1}); err != nil {
		return at, err
	}
	begins, err := stream.NewReader(nc, js, at.Stream.Name, r.clientLog()).Begin(ctx, true)
	if err != nil {
		return at, err
	}
	if begins.Seq != at.Seq {
		return at, fmt.Errorf("stream %s was made to begin at sequence %d and begins at %d", at.Stream.Name, at.Seq+1, begins.Seq+1)
	}
	// The times stay, since instants are looked up by them.
	at.Stream, at.Fingerprint = begins.Stream, nil
	return at, nil
}

func (r *restoring) storeKeys(ctx context.Context, js jetstream.JetStream, keys []snapshot.Key) error {
	bucket := keyBucket(js, 1, r.clientLog())
	for _, k := range keys {
		key, err := apikey.Codec{}.Decode(k.Name, k.Value)
		if err != nil {
			return fmt.Errorf("API key %q of the snapshot: %w", k.Name, err)
		}
		if err := bucket.Create(ctx, key); err != nil {
			return err
		}
		r.keys++
	}
	return nil
}

// restoringFile lies in a data directory from the beginning of a restore to its end.
const restoringFile = "RESTORING"

// refuseRestoring refuses a data directory that a restore was cut short in.
func refuseRestoring(dir string) error {
	_, err := os.Stat(filepath.Join(dir, restoringFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("the restore of %s was cut short: run assigndex restore with --data-dir %s again, or remove the directory", dir, dir)
	}
	return err
}

// claimable makes sure that a data directory is absent, empty or left by a restore that
// was cut short.
func claimable(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	ours := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == restoringFile })
	for _, e := range entries {
		if !ours || !fromRestore(e.Name()) {
			return fmt.Errorf("%s is not empty, it holds %q: name an empty directory, or one that does not exist", dir, e.Name())
		}
	}
	return nil
}

func fromRestore(name string) bool {
	return slices.Contains([]string{restoringFile, "index", "nats"}, name)
}

// claim makes a data directory and marks it.
func claim(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, restoringFile), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close(), syncDir(dir), syncDir(filepath.Dir(filepath.Clean(dir))))
}

// clearRestoring removes what an unfinished restore has left, but for its mark.
func clearRestoring(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.Name() != restoringFile && fromRestore(e.Name()) {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(append(errs, syncDir(dir))...)
}
