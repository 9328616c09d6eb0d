package config

import (
	"bytes"
	"os"
	"regexp"
	"testing"

	"github.com/rs/zerolog"
)

func TestLoggerFormatsAndLevels(t *testing.T) {
	const stamp = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)`
	for _, c := range []struct {
		format LogFormat
		want   string
	}{
		{LogConsole, `^` + stamp + ` WRN second seq=7\n$`},
		{LogJSON, `^\{"level":"warn","seq":7,"time":"` + stamp + `","message":"second"\}\n$`},
	} {
		var out bytes.Buffer
		log := NewLogger(&out, nil, zerolog.WarnLevel, c.format)
		log.Info().Msg("first")
		log.Warn().Int("seq", 7).Msg("second")
		if !regexp.MustCompile(c.want).Match(out.Bytes()) {
			t.Errorf("%s: got %q, want a match of %s", c.format, out.String(), c.want)
		}
	}
}

func TestColour(t *testing.T) {
	for _, c := range []struct {
		label    string
		terminal bool
		environ  []string
		want     bool
	}{
		{"terminal", true, []string{"TERM=xterm"}, true},
		{"no terminal", false, []string{"TERM=xterm"}, false},
		{"NO_COLOR", true, []string{"NO_COLOR=1"}, false},
		{"NO_COLOR that is empty", true, []string{"NO_COLOR="}, true},
		{"dumb terminal", true, []string{"TERM=dumb"}, false},
		{"a longer name", true, []string{"XNO_COLOR=1", "NO_COLORS=1"}, true},
	} {
		if got := colour(c.terminal, c.environ); got != c.want {
			t.Errorf("%s: got %v, want %v", c.label, got, c.want)
		}
	}
	file, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if isTerminal(file) || isTerminal(&bytes.Buffer{}) {
		t.Error("a file or a buffer passes for a terminal")
	}
}
