// Command mutants breaks the program in small ways, one at a time, and runs the
// tests that must notice:
//
//	go run ./cmd/mutants                  all of them; about a quarter of an hour
//	go run ./cmd/mutants -only 'keys|fold'  those whose name matches
//
// A mutant that no test notices is a rule that no test holds. Nothing in the
// checkout is changed: the go command is given the broken file in place of the
// whole one (-overlay). The exit is 1 when a mutant survived, or could not be tried
// because the code that it breaks is no longer there.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

func main() {
	only := flag.String("only", "", "regular expression: try only the mutants whose name it matches")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *only); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, only string) error {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary directory
	tried, caught := 0, 0
	for _, m := range mutants {
		if !wanted.MatchString(m.name) {
			continue
		}
		tried++
		began := time.Now()
		by, err := m.try(ctx, dir)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			fmt.Fprintf(out, "FAILED    %s: %v\n", m.name, err)
			continue
		}
		caught++
		fmt.Fprintf(out, "caught    %s, by %s (%.0f s)\n", m.name, by, time.Since(began).Seconds())
	}
	fmt.Fprintf(out, "%d mutants, %d caught\n", tried, caught)
	if caught < tried || tried == 0 {
		return fmt.Errorf("%d of %d mutants were not caught", tried-caught, tried)
	}
	return nil
}

// mutant is one breakage, and the tests that must notice it.
type mutant struct {
	name     string
	file     string // from the root of the checkout
	old, new string // old is in the file exactly once
	pkg      string // whose tests are run
	tests    string // regular expression of their names
}

var (
	errSurvived = errors.New("it survived: every test passed")
	errBuild    = errors.New("it does not compile, so nothing was tried")
)

// testTimeout bounds the tests of one mutant: a breakage may well hang them, which
// is noticing it too.
const testTimeout = "4m"

// try runs the tests on the broken program and gives the first test that failed.
func (m mutant) try(ctx context.Context, dir string) (by string, err error) {
	content, err := os.ReadFile(m.file)
	if err != nil {
		return "", err
	}
	if n := bytes.Count(content, []byte(m.old)); n != 1 {
		return "", fmt.Errorf("%s holds %q %d times, not once: mend the mutant", m.file, m.old, n)
	}
	broken := filepath.Join(dir, filepath.Base(m.file))
	if err := os.WriteFile(broken, bytes.Replace(content, []byte(m.old), []byte(m.new), 1), 0o600); err != nil {
		return "", err
	}
	whole, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {whole: broken}})
	if err != nil {
		return "", err
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return "", err
	}
	args := []string{"test", "-overlay", list, "-vet=off", "-count=1", "-failfast", "-timeout", testTimeout, "-run", m.tests, m.pkg}
	output, err := exec.CommandContext(ctx, "go", args...).CombinedOutput() //nolint:gosec // from the table of mutants
	switch {
	case err == nil:
		return "", errSurvived
	case strings.Contains(string(output), "[build failed]"), strings.Contains(string(output), "[setup failed]"):
		return "", fmt.Errorf("%w:\n%s", errBuild, output)
	}
	return noticed(string(output)), nil
}

var failed = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// noticed names what failed first.
func noticed(output string) string {
	if m := failed.FindStringSubmatch(output); m != nil {
		return m[1]
	}
	switch {
	case strings.Contains(output, "panic: test timed out"):
		return "its time being over"
	case strings.Contains(output, "panic:"):
		return "a panic"
	}
	return "the test binary's exit"
}
