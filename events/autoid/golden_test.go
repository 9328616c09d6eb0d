package autoid

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assigndex/assigndex/events"
)

var update = flag.Bool("update", false, "write the golden files of testdata anew")

// TestGolden reads each directory of testdata, with the options in its
// columns.txt, and compares all that comes out with its want.txt.
func TestGolden(t *testing.T) {
	dirs, err := filepath.Glob("testdata/*/*.csv")
	if err != nil || len(dirs) == 0 {
		t.Fatal(dirs, err)
	}
	done := make(map[string]bool)
	for _, name := range dirs {
		dir := filepath.Dir(name)
		if done[dir] || strings.HasPrefix(dir, "testdata/fuzz") {
			continue
		}
		done[dir] = true
		t.Run(filepath.Base(dir), func(t *testing.T) {
			opts := readOptions(t, filepath.Join(dir, "columns.txt"))
			var got strings.Builder
			for _, file := range Files {
				in, err := os.Open(filepath.Join(dir, file.Name()))
				if errors.Is(err, os.ErrNotExist) {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&got, "== %s: %s\n%s", file.Name(), file.Type(), readAll(t, in, file, opts))
				_ = in.Close()
			}
			golden := filepath.Join(dir, "want.txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got.String(), want)
			}
		})
	}
}

// readAll gives records and errors, one a line, as they come.
func readAll(t *testing.T, in io.Reader, file File, opts Options) string {
	t.Helper()
	r, err := NewReader(in, file.Name(), file, opts)
	if err != nil {
		return fmt.Sprintf("no rows: %v\n", err)
	}
	var out strings.Builder
	for {
		record, err := r.Read()
		var fault *Error
		switch {
		case errors.Is(err, io.EOF):
			return out.String()
		case errors.As(err, &fault):
			fmt.Fprintf(&out, "%v\n", fault)
		case err != nil:
			t.Fatal(err)
		default:
			if _, err := events.DecodeData("t", record.Type, record.Data); err != nil {
				t.Errorf("line %d is no event: %v", record.Line, err)
			}
			fmt.Fprintf(&out, "%d %s\n", record.Line, record.Data)
		}
	}
}

// readOptions reads lines "comma C" and "FILE.FIELD=HEADER".
func readOptions(t *testing.T, name string) (opts Options) {
	t.Helper()
	text, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return opts
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(strings.TrimSuffix(string(text), "\n")) {
		line = strings.TrimSuffix(line, "\n")
		if comma, ok := strings.CutPrefix(line, "comma "); ok {
			opts.Comma = comma[0]
		} else if err := opts.Columns.MapText(line); err != nil {
			t.Fatal(err)
		}
	}
	return opts
}
