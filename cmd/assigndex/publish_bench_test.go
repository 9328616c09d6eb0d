package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/config"
)

// ingestBatch is how many items a request of BenchmarkPublish/http has.
const ingestBatch = 1000

// BenchmarkPublish brings assignments with scores and justifications into a server
// with its index: from a CSV file, from a file of NDJSON, and over HTTP in batches.
// It measures until the last one is acknowledged, which is when it is on disk, and
// until the index has applied it. Every iteration writes to a tenant of its own, so
// that none of them finds the rows of another.
func BenchmarkPublish(b *testing.B) {
	rows := 100_000
	if testing.Short() {
		rows = 2_000
	}
	dir := b.TempDir()
	batches := benchInput(b, dir, rows)
	for _, way := range []struct {
		name string
		send func(b *testing.B, n *node, key, tenant string)
	}{
		{"csv", func(b *testing.B, n *node, _, tenant string) {
			benchPublish(b, n, rows, "--tenant", tenant, "--format", "autoid-csv", dir)
		}},
		{"ndjson", func(b *testing.B, n *node, _, tenant string) {
			benchPublish(b, n, rows, "--tenant", tenant, filepath.Join(dir, "assignments.ndjson"))
		}},
		{"http", func(b *testing.B, n *node, key, tenant string) {
			for _, body := range batches {
				benchIngest(b, n, key, tenant, body)
			}
		}},
	} {
		b.Run(way.name, func(b *testing.B) {
			n := benchNode(b)
			key := benchCommand(b, n, "key", "create", "--name", "bench", "--tenant", "*", "--role", "writer")
			var acknowledged time.Duration
			done := uint64(0)
			for b.Loop() {
				began := time.Now()
				way.send(b, n, strings.TrimSpace(key), "t"+strconv.FormatUint(done, 10))
				acknowledged += time.Since(began)
				done += uint64(rows)
				if err := n.index.Wait(b.Context(), done); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(done)/acknowledged.Seconds(), "acknowledged/s")
			b.ReportMetric(float64(done)/b.Elapsed().Seconds(), "applied/s")
		})
	}
}

// benchInput writes the rows as files and gives them as bodies of requests.
func benchInput(b *testing.B, dir string, rows int) (batches []string) {
	b.Helper()
	var asCSV, asEvents, asBatch strings.Builder
	asCSV.WriteString("user_id,ent_id,score,justification\n")
	for i := range rows {
		usr, ent, reasons := fmt.Sprintf("aaron.%06d", i/10), fmt.Sprintf("WEB_Shared Edit %05d_Europe", i%500), `[{"id":"CITY","title":"city","value":"Jacksonville"}]`
		record := fmt.Sprintf(`{"usr_id":%q,"ent_id":%q,"score":0.98,"justification":%s}`, usr, ent, reasons)
		fmt.Fprintf(&asCSV, "%s,%s,0.98,\"%s\"\n", usr, ent, strings.ReplaceAll(reasons, `"`, `""`))
		asEvents.WriteString(record + "\n")
		if i%ingestBatch > 0 {
			asBatch.WriteByte(',')
		}
		asBatch.WriteString(record)
		if i%ingestBatch == ingestBatch-1 {
			batches = append(batches, `{"action":"upsert","assignments":[`+asBatch.String()+`]}`)
			asBatch.Reset()
		}
	}
	for name, text := range map[string]string{"assignments.csv": asCSV.String(), "assignments.ndjson": asEvents.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return batches
}

func benchPublish(b *testing.B, n *node, rows int, args ...string) {
	b.Helper()
	if out := benchCommand(b, n, append([]string{"publish"}, args...)...); !strings.HasPrefix(out, fmt.Sprintf("published %d events", rows)) {
		b.Fatal(out)
	}
}

// benchCommand runs a command against a node and gives its output.
func benchCommand(b *testing.B, n *node, args ...string) string {
	b.Helper()
	var out, errs bytes.Buffer
	p := program{args: args, environ: []string{"ASSIGNDEX_NATS_URL=" + n.natsURL()}, in: strings.NewReader(""), out: &out, err: &errs}
	if code := p.run(b.Context()); code != exitDone {
		b.Fatalf("%q: code %d, %q, %q", args, code, out.String(), errs.String())
	}
	return out.String()
}

func benchIngest(b *testing.B, n *node, key, tenant, body string) {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, n.url()+"/api/ingest/assignments", strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	for name, value := range map[string]string{"X-API-KEY": key, "Content-Type": "application/json", "Assigndex-Tenant": tenant} {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	content, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		b.Fatalf("%d %s, %v", res.StatusCode, content, err)
	}
}

// benchNode runs a node until the benchmark ends.
func benchNode(b *testing.B) *node {
	b.Helper()
	return benchNodeOf(b, config.DefaultServe())
}

// benchNodeOf is benchNode with other settings.
func benchNodeOf(b *testing.B, cfg config.Serve) *node {
	b.Helper()
	cfg.DataDir, cfg.Listen, cfg.NATSListen = b.TempDir(), "127.0.0.1:0", "127.0.0.1:0"
	ctx, stop := context.WithCancel(context.Background())
	n, err := openNode(ctx, cfg, zerolog.Nop())
	if err != nil {
		stop()
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.run(ctx) }()
	b.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, n.close()); err != nil {
			b.Errorf("the node ended with %v", err)
		}
	})
	return n
}
