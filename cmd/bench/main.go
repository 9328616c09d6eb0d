// Command bench runs the project's benchmarks and prints BENCHMARKS.md:
//
//	go run ./cmd/bench > BENCHMARKS.md
//
// Figures of different runs, or of different machines, are not to be compared;
// ratios within one run are. So each section measures what it is compared with
// in the same run.
package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// section is one question and the benchmarks that answer it.
type section struct {
	title   string
	text    string
	pkg     string
	pattern string
	time    string // -benchtime
	rows    string // ASSIGNDEX_BENCH_ROWS; empty: the benchmark's own
	long    bool   // it is run with -long only
}

var sections = []section{
	{
		title: "From the stream to the durable index",
		text: "Events a second from a filled embedded stream to the durable index, and what a bare Badger write batch " +
			"of the same keys reaches. Aim: ratio/bare of at least 0.60.",
		pkg: "./indexer", pattern: "^BenchmarkStreamToIndex$", time: "5x",
	},
	{
		title: "Rebuild",
		text: "A million events from a filled embedded stream to a fresh index that is durable, as a rebuild makes it, and by the " +
			"live path in the same run, in events a second. rss-MB is the most memory of the whole process, the stream's server " +
			"included. Aim: ratio/live of at least 2.",
		pkg: "./indexer", pattern: "^BenchmarkBuild$", time: "1x", rows: "1000000",
	},
	{
		title: "Rebuild of ten million events",
		text:  "The same; a quarter of an hour, and 10 GB of disk.",
		pkg:   "./indexer", pattern: "^BenchmarkBuild$", time: "1x", rows: "10000000", long: true,
	},
	{
		title: "Covering or pointing entries",
		text:  "Filling an index whose second to fourth family carry what a listing prints, or only point at it.",
		pkg:   "./indexer/store", pattern: "^BenchmarkLayoutWrite$", time: "1x", rows: "300000",
	},
	{
		title: "A page",
		text: "A first page of 20 and of 500 rows in each filter: covering entries, pointing entries, and a bare Badger " +
			"iteration of the same range. Aim: covering pages of 20 within 2× of bare.",
		pkg: "./indexer/store", pattern: "^BenchmarkPage", time: "500ms", rows: "300000",
	},
	{
		title: "Deleted rows",
		text: "A first page of 20 with half a million deleted rows in front of it: as a request reads it, which ends at its budget " +
			"with a cursor, and without a budget. Aim: a request within 20 ms.",
		pkg: "./indexer/store", pattern: "^BenchmarkDeletedRows$", time: "1s", rows: "500000",
	},
	{
		title: "Space",
		text: "Giving room back while the index is read and written: nine of ten assignments were revoked and the history window " +
			"has passed. MB-slim is an index that never held them. What is written meanwhile comes on top. Aim: within 2× of it.",
		pkg: "./indexer/store", pattern: "^BenchmarkReclaim$", time: "1x", rows: "300000",
	},
	{
		title: "A page over HTTP",
		text: "Requests on loopback, with keep-alive: the API, and a handler that sends the same bytes with no work behind it. " +
			"Aim: a page of 20 at 60% of that handler's rate or more.",
		pkg: "./query/httpapi", pattern: "^BenchmarkPage", time: "2s",
	},
	{
		title: "A listing of Semaphor",
		text: "A project of a million rows in one answer, streamed on loopback to a client that checks it, within a memory setting of " +
			"384 MiB: kept is the memory that grew with the answer, process all that the setting counts, the store's caches included.",
		pkg: "./query/httpapi", pattern: "^BenchmarkSemaphor$", time: "1x", rows: "1000000",
	},
	{
		title: "A batch, folded and written",
		text:  "Batches of new assignments, one after the other, and what a bare Badger write batch of the same keys reaches.",
		pkg:   "./indexer/store", pattern: "^BenchmarkBatch$", time: "300x",
	},
	{
		title: "Ingest",
		text: "100,000 assignments through the commands and over HTTP, each to acknowledged and to applied, with the index " +
			"running in the same process.",
		pkg: "./cmd/assigndex", pattern: "^BenchmarkPublish$", time: "1x",
	},
	{
		title: "Freshness",
		text: "Milliseconds from the acknowledgement of an event to the answer over HTTP that shows it (`at_least`): while nothing " +
			"else goes on, and while another publisher sends half of the highest rate that the same server just reached. Aim at " +
			"half load: p50 of at most 5, p99 of at most 25.",
		pkg: "./cmd/assigndex", pattern: "^BenchmarkFreshness$", time: "3x",
	},
	{
		title: "Soak",
		text: "Events over NATS and HTTP, listings, changes, a watch and counts at once, as fast as they go, for 20 s over the same " +
			"20,000 assignments. What the server takes at rest, warm and at the end: it fails when memory, goroutines or open files " +
			"grow past their bounds. Disk grows by the stream and by the history window of a minute.",
		pkg: "./cmd/assigndex", pattern: "^BenchmarkSoak$", time: "1x",
	},
	{
		title: "An older sequence",
		text: "A page at the last sequence, and the same page at a sequence before half of all rows were changed, an eighth " +
			"revoked and an eighth added. Aim: the older one within 2× of the same page now.",
		pkg: "./indexer/store", pattern: "^BenchmarkThen$", time: "500ms", rows: "300000",
	},
	{
		title: "Overload",
		text: "Four times what the server can do, asked over 1,024 connections, with the default limits: pages of 500 rows, and filters on " +
			"scores that read 20,000 rows and find none. What it can do (own) is measured first, with 8 connections. The client shares " +
			"the processors: where an answer costs little more than its question, it does not come to ask for as much (offered).",
		pkg: "./query/httpapi", pattern: "^BenchmarkOverload$", time: "2x",
	},
	{
		title: "Reads and ingest together",
		text: "Reads while ingest is flooded with four times what it takes alone, and the other way round, in one server with the " +
			"stream, the index and the clients on the same processors. Aim: none of what is not the flood is refused.",
		pkg: "./cmd/assigndex", pattern: "^BenchmarkTogether$", time: "1x",
	},
	{
		title: "Publishing",
		text:  "Acknowledged, and on disk: atomic batches, and single publishes that are awaited together.",
		pkg:   "./events/publisher", pattern: "^Benchmark", time: "1s",
	},
}

func main() {
	only := flag.String("only", "", "regular expression: run only the sections whose title it matches")
	quick := flag.Bool("quick", false, "run everything once, on little data: a test that it runs, not a measurement")
	long := flag.Bool("long", false, "also run what takes more than ten minutes and much of the disk")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *only, *quick, *long); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, only string, quick, long bool) error {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	var page bytes.Buffer
	fmt.Fprintf(&page, "# Benchmarks\n\nPrinted by `go run ./cmd/bench` on %s, %s %s/%s, %d cores%s.\n"+
		"Compare figures within a section only: machines and runs differ.\n",
		time.Now().UTC().Format(time.DateOnly), runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), cpuModel())
	var failed error
	for _, s := range sections {
		if !wanted.MatchString(s.title) || (s.long && !long) {
			continue
		}
		if quick {
			s.time, s.rows = "1x", "1000"
		}
		fmt.Fprintf(os.Stderr, "bench: %s\n", s.title)
		fmt.Fprintf(&page, "\n## %s\n\n%s\n\n", s.title, s.text)
		results, err := s.measure(ctx)
		if err != nil { // the other sections took their time, and count all the same
			fmt.Fprintf(&page, "This failed.\n")
			failed = errors.Join(failed, fmt.Errorf("%s: %w", s.title, err))
			continue
		}
		table(&page, results)
	}
	_, err = out.Write(page.Bytes())
	return errors.Join(err, failed)
}

// result is one line of a benchmark's output.
type result struct {
	name    string
	metrics map[string]float64 // by unit
}

func (s section) measure(ctx context.Context) ([]result, error) {
	args := []string{"test", "-run", "^$", "-bench", s.pattern, "-benchtime", s.time, "-timeout", "60m", s.pkg}
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // from the table above
	cmd.Env = os.Environ()
	if s.rows != "" {
		cmd.Env = append(cmd.Env, "ASSIGNDEX_BENCH_ROWS="+s.rows)
	}
	var stdout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, stdout.String())
	}
	results := parse(stdout.String())
	if len(results) == 0 {
		return nil, fmt.Errorf("no benchmark of %s matches %s", s.pkg, s.pattern)
	}
	return results, nil
}

var procsSuffix = regexp.MustCompile(`-\d+$`)

// parse reads the lines "BenchmarkName-2  10  123 ns/op  4 unit …".
func parse(output string) []result {
	var results []result
	for line := range strings.Lines(output) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		r := result{name: procsSuffix.ReplaceAllString(strings.TrimPrefix(fields[0], "Benchmark"), ""), metrics: map[string]float64{}}
		for i := 2; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				r.metrics[fields[i+1]] = v
			}
		}
		results = append(results, r)
	}
	return results
}

// table prints results with a column for every unit that any of them has.
func table(w io.Writer, results []result) {
	var units []string
	for _, r := range results {
		for unit := range r.metrics {
			if !slices.Contains(units, unit) {
				units = append(units, unit)
			}
		}
	}
	rank := func(unit string) int { // the usual ones last
		return slices.Index([]string{"ns/op", "B/op", "allocs/op"}, unit)
	}
	slices.SortFunc(units, func(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) })
	fmt.Fprintf(w, "| benchmark | %s |\n|---|%s\n", strings.Join(units, " | "), strings.Repeat("---:|", len(units)))
	for _, r := range results {
		fmt.Fprintf(w, "| %s |", r.name)
		for _, unit := range units {
			v, ok := r.metrics[unit]
			if !ok {
				fmt.Fprint(w, " |")
				continue
			}
			fmt.Fprintf(w, " %s |", number(v))
		}
		fmt.Fprintln(w)
	}
}

// number prints three significant digits, and no exponent.
func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}

// cpuModel names the processor where the system tells it.
func cpuModel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return " of " + strings.TrimSpace(value)
		}
	}
	return ""
}
