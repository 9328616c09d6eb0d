package httpapi

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"strconv"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
)

var rowsFlag = flag.Int("rows", 50_000, "rows that TestSemaphorMillion lists; the name's number takes a minute")

// Bounds in bytes, for any number of rows.
const (
	// semaphorLimit is the memory setting (GOMEMLIMIT) that the process must stay
	// within: the store with its caches and its work behind the scenes, the server and
	// the client together.
	semaphorLimit = 384 << 20
	// semaphorKept is how much more than before may be in use all through the second
	// half of an answer. It is less than half of an answer has at the default of -rows,
	// so that a server that keeps what it sends is found out by that already.
	semaphorKept = 10 << 20
)

// A project of any size is listed in memory that does not grow with it.
func TestSemaphorMillion(t *testing.T) {
	x := manyItems(t, *rowsFlag)
	report := listMany(t, x, *rowsFlag)
	t.Logf("%d rows: %s", *rowsFlag, report)
	// The store's cache and its work behind the scenes can only add to what an answer
	// keeps: a server that keeps it does so every time.
	for again := 0; again < 3 && report.kept > semaphorKept; again++ {
		report = listMany(t, x, *rowsFlag)
		t.Logf("again: %s", report)
	}
	if report.bytes < 2*semaphorKept {
		t.Errorf("the answer has only %d bytes: %d that are kept show nothing", report.bytes, semaphorKept)
	}
	if report.kept > semaphorKept {
		t.Errorf("%d bytes were kept, more than %d", report.kept, semaphorKept)
	}
	if report.peak > semaphorLimit {
		t.Errorf("the process took %d bytes, more than its setting of %d", report.peak, semaphorLimit)
	}
}

// BenchmarkSemaphor lists a project of 40,000 rows, or of ASSIGNDEX_BENCH_ROWS.
func BenchmarkSemaphor(b *testing.B) {
	count := 40_000
	if text := os.Getenv("ASSIGNDEX_BENCH_ROWS"); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil {
			b.Fatalf("ASSIGNDEX_BENCH_ROWS: %v", err)
		}
	}
	x := manyItems(b, count)
	var took time.Duration
	var kept, peak int64
	for b.Loop() {
		report := listMany(b, x, count)
		took += report.took
		kept, peak = max(kept, report.kept), max(peak, report.peak)
	}
	b.ReportMetric(float64(b.N)*float64(count)/took.Seconds(), "rows/s")
	b.ReportMetric(float64(kept)/(1<<20), "kept-MiB")
	b.ReportMetric(float64(peak)/(1<<20), "process-MiB")
}

// usage is what an answer took. Memory is in bytes.
type usage struct {
	took   time.Duration
	bytes  int64 // of the answer
	pieces int64 // that it was read in
	idle   int64 // in use before
	most   int64 // in use at most while it was sent, above idle
	kept   int64 // in use at least in the second half, above idle: the store's own work comes and goes
	peak   int64 // of the process at most, as its memory setting counts
}

func (u usage) String() string {
	const mib = 1 << 20
	return fmt.Sprintf("%.1f s, %d MiB in %d pieces; %d MiB in use before, %.1f MiB more at most, and %.1f MiB kept; %d MiB of the process at most",
		u.took.Seconds(), u.bytes/mib, u.pieces, u.idle/mib, float64(u.most)/mib, float64(u.kept)/mib, u.peak/mib)
}

// listMany sends a project's answer to a client that checks and counts its items,
// with the memory setting, and measures it.
func listMany(tb testing.TB, x *testIndex, count int) (report usage) {
	tb.Helper()
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(semaphorLimit))
	report.idle, report.kept = quiet(tb, x, count), math.MaxInt64
	const samples = 16 // each is a collection, which takes time
	pieceCount := int64(count) / pieceRows
	p := &pieces{Index: x}
	p.before = func(piece int64) error {
		report.peak = max(report.peak, ofProcess())
		if piece%max(1, pieceCount/samples) == 0 {
			runtime.GC()
			more := inUse() - report.idle
			report.most = max(report.most, more)
			if piece > pieceCount/2 {
				report.kept = min(report.kept, more)
			}
		}
		return nil
	}
	set, tokens := keySet(tb, "acme")
	o := x.options(set)
	o.Index = p
	addr, stop := start(tb, newServer(tb, o))
	began := time.Now()
	sent, items, err := countItems(tb, addr, tokens["acme"])
	report.took, report.bytes, report.pieces = time.Since(began), sent, p.count.Load()
	report.peak = max(report.peak, ofProcess())
	if err := errors.Join(err, stop()); err != nil || items != count {
		tb.Fatalf("%d items of %d: %v", items, count, err)
	}
	return report
}

// quiet reads the rows until that leaves no more memory in use than the time before:
// the store's cache is full then, and its work at open is done.
func quiet(tb testing.TB, x *testIndex, count int) (idle int64) {
	tb.Helper()
	const enough = 1 << 20
	for before := int64(0); ; before = idle {
		_, err := x.List(tb.Context(), x.st.Applied().Seq, listing.Selector{Tenant: "acme", Kinds: events.Kinds}, nil, count, func(rows.Face) {})
		if err != nil {
			tb.Fatal(err)
		}
		debug.FreeOSMemory()
		if idle = inUse(); max(idle-before, before-idle) < enough {
			return idle
		}
	}
}

// countItems reads a project's answer without keeping it.
func countItems(tb testing.TB, addr, token string) (sent int64, items int, err error) {
	r, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, "http://"+addr+semaphorOf("acme"), http.NoBody)
	if err != nil {
		return 0, 0, err
	}
	r.Header.Set("X-Api-Key", token)
	res, err := newClient(tb, addr, token).http.Do(r)
	if err != nil {
		return 0, 0, err
	}
	defer res.Body.Close()
	d := jsontext.NewDecoder(res.Body)
	for d.StackDepth() < 3 { // to the beginning of the array
		if _, err := d.ReadToken(); err != nil {
			return 0, 0, err
		}
	}
	for ; d.PeekKind() == '{'; items++ {
		if err := d.SkipValue(); err != nil {
			return 0, items, err
		}
	}
	for {
		if _, err := d.ReadToken(); errors.Is(err, io.EOF) {
			return d.InputOffset(), items, nil
		} else if err != nil {
			return 0, items, err
		}
	}
}

// manyItems fills an index with so many assignments of acme: ten entitlements for
// each user, half of whom belong to groups, with all that an item tells.
func manyItems(tb testing.TB, count int) *testIndex {
	tb.Helper()
	const ents, apps, groups, each, batch = 1000, 40, 200, 10, 5000
	x := newIndex(tb).bind()
	var list []event
	add := func(kind, data string, values ...any) {
		if list = append(list, event{kind, fmt.Sprintf(data, values...)}); len(list) == batch {
			x.apply("acme", list...)
			list = list[:0]
		}
	}
	for a := range apps {
		add("application.upserted", `{"app_id":"app-%03d","app_name":"Warehouse %d","app_type":"postgres"}`, a, a)
	}
	for e := range ents {
		add("entitlement.upserted", `{"ent_id":"policy-%05d","ent_name":"Sales by region %d","app_id":"app-%03d","secret_params":["password"]}`, e, e, e%apps)
	}
	for g := range groups {
		add("group.upserted", `{"grp_id":"customer-%04d","grp_name":"Customer %d"}`, g, g)
	}
	for row := range count {
		user := row / each
		if row%each == 0 {
			group := ""
			if user%2 == 0 {
				group = fmt.Sprintf(`,"grp_id":"customer-%04d"`, user%groups)
			}
			add("user.upserted", `{"usr_id":"user-%07d","usr_name":"User Number %d","email":"user-%07d@example.com"%s}`, user, user, user, group)
		}
		add("assignment.upserted", `{"usr_id":"user-%07d","ent_id":"policy-%05d","params":{"region":"north-%d","password":"secret"}}`,
			user, (user*7+row%each*101)%ents, row%9)
	}
	x.apply("acme", list...)
	// What the writing left in memory, and has still to tidy up, is not the answer's.
	x.close()
	x.open()
	return x
}

// inUse gives the bytes of the heap that are in use, some of which the next
// collection frees.
func inUse() int64 { return sample("/memory/classes/heap/objects:bytes") }

// ofProcess gives the memory that the setting is about.
func ofProcess() int64 {
	return sample("/memory/classes/total:bytes") - sample("/memory/classes/heap/released:bytes")
}

func sample(name string) int64 {
	s := []runtimemetrics.Sample{{Name: name}}
	runtimemetrics.Read(s)
	return int64(s[0].Value.Uint64())
}
