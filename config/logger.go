package config

import (
	"io"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/term"
)

// LogFormat is how a line of the log looks.
type LogFormat string

// The formats of the log.
const (
	LogConsole LogFormat = "console" // for people: time, level, message, name=value
	LogJSON    LogFormat = "json"    // for machines: one JSON object a line
)

// NewLogger makes a logger that writes lines of at least the level to w, which
// is standard error outside tests: standard output is for data. The console
// format is coloured when w is a terminal that takes colour and environ (as of
// os.Environ) holds no NO_COLOR.
func NewLogger(w io.Writer, environ []string, level zerolog.Level, format LogFormat) zerolog.Logger {
	if format == LogConsole {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.RFC3339, NoColor: !colour(isTerminal(w), environ)}
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger()
}

// colour decides by https://no-color.org and by TERM.
func colour(terminal bool, environ []string) bool {
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		if name == "NO_COLOR" && value != "" || name == "TERM" && value == "dumb" {
			return false
		}
	}
	return terminal
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
