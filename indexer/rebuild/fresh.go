package rebuild

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/stream"
)

// fresh builds an index in a directory, which is absent, up to a sequence, 0: the end
// of the stream, and gives the sequence that it reached. like is of the index that it is
// to stand in for.
//
// A stream that lost its first messages is built on from the newest snapshot that it
// reaches, when there is one.
func (j *job) fresh(dir string, like *position.Identity, floor, upTo uint64) (uint64, error) {
	ctx, cancel := context.WithCancel(j.ctx)
	defer cancel()
	source, err := j.stream(ctx)
	if err != nil {
		return 0, err
	}
	defer source.Close()
	var told time.Time
	at, err := indexer.Build(ctx, source, indexer.BuildOptions{
		Dir: dir, UpTo: upTo, Floor: floor, AcceptTrimmed: j.AcceptTrimmed, Identity: like,
		Thresholds: j.Thresholds, Memory: j.Memory, Disk: j.Disk, Logger: j.Logger, Fault: j.Fault,
		Progress: func(p indexer.BuildProgress) {
			switch {
			case p.ToMake > 0:
				j.tell(audit.Progress{Check: StepWrite, Done: p.Written, Of: p.ToMake})
			case time.Since(told) > buildTells:
				told = time.Now()
				j.tell(audit.Progress{Check: StepBuild, Done: int64(p.Applied), Of: int64(p.Of)}) //nolint:gosec // sequences
			}
		},
	})
	if err != nil {
		return 0, buildError(err)
	}
	return at.Seq, nil
}

// buildTells is how often the progress of a build is told.
const buildTells = 100 * time.Millisecond

// buildError tells what no repetition will mend.
func buildError(err error) error {
	for _, final := range []error{stream.ErrTrimmed, stream.ErrMismatch, indexer.ErrStreamEnds} {
		if errors.Is(err, final) {
			return fmt.Errorf("%w: %w", ErrCannotBuild, err)
		}
	}
	return err
}
