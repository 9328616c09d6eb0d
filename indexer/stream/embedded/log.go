package embedded

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"
)

// natsLog takes the server's log lines into ours. It never ends the process: a
// fatal line is logged as an error and kept for Start to return.
//
// Notices are Info while the server runs (a slow consumer is one) and Debug
// while it starts and stops, where they are two dozen lines about itself.
type natsLog struct {
	log     zerolog.Logger
	running atomic.Bool

	mu    sync.Mutex
	fatal error // the first fatal line; guarded by mu
}

func (l *natsLog) Noticef(format string, v ...any) {
	if l.running.Load() {
		l.log.Info().Msgf(format, v...)
		return
	}
	l.log.Debug().Msgf(format, v...)
}

func (l *natsLog) Warnf(format string, v ...any)  { l.log.Warn().Msgf(format, v...) }
func (l *natsLog) Errorf(format string, v ...any) { l.log.Error().Msgf(format, v...) }
func (l *natsLog) Debugf(format string, v ...any) { l.log.Debug().Msgf(format, v...) }

// Tracef exists for the server's interface. The server is never asked to trace,
// since its trace lines hold what was published, secret parameters included.
func (l *natsLog) Tracef(format string, v ...any) { l.log.Trace().Msgf(format, v...) }

func (l *natsLog) Fatalf(format string, v ...any) {
	l.log.Error().Msgf(format, v...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal != nil {
		return
	}
	l.fatal = &fatalLine{text: fmt.Sprintf(format, v...)}
	for _, arg := range v {
		if err, ok := arg.(error); ok { // keeps the cause for errors.Is
			l.fatal = &fatalLine{text: fmt.Sprintf(format, v...), cause: err}
		}
	}
}

// failure gives the first fatal line, or nil.
func (l *natsLog) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

type fatalLine struct {
	text  string
	cause error // nil when the line had no error
}

func (f *fatalLine) Error() string { return f.text }
func (f *fatalLine) Unwrap() error { return f.cause }
