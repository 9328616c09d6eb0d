package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/assigndex/assigndex/events/publisher"
)

// publishing is one run of the command: where valid events go, and what is said
// about the others, whatever the form of the input. It belongs to one goroutine.
type publishing struct {
	*program
	writer     *publisher.Writer // nil: a dry run
	bar        *progressbar.ProgressBar
	showErrors int    // of each file
	unit       string // what one event is in the input, in the plural

	valid, invalid int     // of the whole run
	part           partial // of the file under way
}

// partial counts within one file.
type partial struct {
	name           string
	valid, invalid int
	acked          int // of the whole run, when the file was begun
}

// begin starts a file.
func (r *publishing) begin(name string) {
	r.part = partial{name: name}
	if r.writer != nil {
		r.part.acked = r.writer.Acked().Count
	}
}

// add takes a valid event that stands at a line of the file. Its error ends the run.
func (r *publishing) add(ctx context.Context, line int, msg publisher.Message) error {
	if r.writer != nil {
		err := r.writer.Add(ctx, msg)
		if errors.Is(err, publisher.ErrTooLarge) { // the server's limit is below ours
			r.report(fmt.Errorf("%s:%d: %w", r.part.name, line, err))
			return nil
		}
		if err != nil {
			return err
		}
	}
	r.valid++
	r.part.valid++
	return nil
}

// report tells of a line or row that is left out, by an error that says where it is.
func (r *publishing) report(err error) {
	r.invalid++
	r.part.invalid++
	if r.part.invalid <= r.showErrors {
		r.say("%v", err)
	}
}

// end makes durable what the file held, and says what it did not show of the
// errors. With summarize it also says how many events there were.
func (r *publishing) end(ctx context.Context, summarize bool) error {
	if hidden := r.part.invalid - r.showErrors; hidden > 0 {
		r.say("%s: %d more %s were not valid", r.part.name, hidden, r.unit)
	}
	count, done := r.part.valid, "valid"
	if r.writer != nil {
		if _, err := r.writer.Flush(ctx); err != nil {
			return err
		}
		count, done = r.writer.Acked().Count-r.part.acked, "published"
	}
	if summarize || r.writer == nil {
		r.say("%s: %d %s, %d left out", r.part.name, count, done, r.part.invalid)
	}
	return nil
}

// finish prints the result of a run that ended with err, and gives the error of
// the command.
func (r *publishing) finish(err error) error {
	_ = r.bar.Finish() // only looks
	var outErr error
	if r.writer != nil {
		acked := r.writer.Acked()
		_, outErr = fmt.Fprintf(r.out, "published %d events, last sequence %d\n", acked.Count, acked.LastSeq)
	} else {
		_, outErr = fmt.Fprintf(r.out, "%d events are valid, nothing was published\n", r.valid)
	}
	switch {
	case err != nil:
		return err
	case outErr != nil:
		return outErr
	case r.invalid > 0:
		return fmt.Errorf("%d %s were not valid and were left out", r.invalid, r.unit)
	}
	return nil
}

// say writes a line to standard error, beside the progress bar.
func (r *publishing) say(format string, args ...any) {
	_ = r.bar.Clear()                                             // only looks
	_, _ = fmt.Fprintf(r.err, "assigndex: "+format+"\n", args...) // nowhere else to report to
}

// read gives in as it is, shows what is read of it on the bar, and ends with the
// context.
func (r *publishing) read(ctx context.Context, in io.Reader) io.Reader {
	return &metered{in: in, bar: r.bar, ended: ctx.Err}
}

type metered struct {
	in    io.Reader
	bar   *progressbar.ProgressBar
	ended func() error
}

func (m *metered) Read(p []byte) (int, error) {
	if err := m.ended(); err != nil {
		return 0, err
	}
	n, err := m.in.Read(p)
	_ = m.bar.Add(n) // only looks
	return n, err
}

// progress makes a bar, which shows nothing when standard error is not a terminal.
func (p *program) progress(total int64) *progressbar.ProgressBar {
	f, ok := p.err.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) { //nolint:gosec // a file descriptor fits an int
		return progressbar.DefaultBytesSilent(total)
	}
	return progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(p.err), progressbar.OptionShowBytes(true), progressbar.OptionSetDescription("publishing"),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(true))
}
