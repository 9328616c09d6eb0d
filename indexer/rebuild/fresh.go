package rebuild

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/store"
)

// INTERIM until the builder lands.
func (j *job) fresh(dir string, like *position.Identity, floor, upTo uint64) (uint64, error) {
	ctx, cancel := context.WithCancel(j.ctx)
	defer cancel()
	source, err := j.stream(ctx)
	if err != nil {
		return 0, err
	}
	defer source.Close()
	st, err := store.Open(store.Options{Dir: dir, Logger: zerolog.Nop(), Temporary: true})
	if err != nil {
		return 0, err
	}
	_, last, err := source.Extent(ctx)
	if err != nil {
		return 0, errors.Join(err, st.Close())
	}
	if upTo > 0 {
		last = upTo
	}
	x := indexer.New(st, source, indexer.Options{History: time.Hour, Logger: zerolog.Nop()})
	ended := make(chan error, 1)
	go func() { ended <- x.Run(ctx) }()
	err = st.Wait(ctx, last)
	cancel()
	err = errors.Join(err, <-ended)
	j.tell(audit.Progress{Check: StepBuild, Done: int64(last), Of: int64(last)})
	_ = like
	_ = floor
	if err != nil {
		err = fmt.Errorf("build: %w", err)
	}
	return last, errors.Join(err, st.Close())
}
