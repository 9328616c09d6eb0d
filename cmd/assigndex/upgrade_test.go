package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/indexer/rebuild"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/verify"
)

// The fixtures are data directories that versions of this program have written, each
// with the same ten events and a key of an admin for all tenants. One is added for each
// new format, and none is ever changed.
var fixtures = map[int]string{ // keys of their admins by format
	1: "adx_2rx57bql_6mSTy2jDfM340iI7Mzr50duSarqlK8gKVXjxRURNICS",
	2: "adx_gmfgndau_56C2yVlyPdTAocGda48UTtCsuDPVwMvxhX0F60AF8Iw",
}

// fixture unpacks the data directory of a format.
func fixture(t *testing.T, format int) (dir, key string) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", fmt.Sprintf("data-format-%d.tar.gz", format)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	plain, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for entries := tar.NewReader(plain); ; {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return dir, fixtures[format]
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.FileInfo().IsDir() {
			err = os.MkdirAll(path, 0o700)
		} else {
			var content []byte
			if content, err = io.ReadAll(entries); err == nil {
				err = os.WriteFile(path, content, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// rows lists the assignments of users.
func (r *running) rows(key string) (status int, text string) {
	r.t.Helper()
	code, out, errs := r.command("", "query", "--api-key", key, "--tenant", "default", "--output", "ndjson")
	if code != exitDone {
		return code, errs
	}
	return code, out
}

func saysFixture(out string) error {
	for _, want := range []string{`"usr_id":"ann"`, `"usr_id":"bob/1 x"`, `"usr_id":"carl"`} {
		if strings.Count(out, want) != 1 {
			return fmt.Errorf("%s is not there once: %s", want, out)
		}
	}
	if n := strings.Count(out, `"usr_id"`); n != 3 {
		return fmt.Errorf("%d rows: %s", n, out)
	}
	return nil
}

func TestFixturesOfEveryFormat(t *testing.T) {
	if len(fixtures) != store.Format {
		t.Fatalf("%d fixtures; each of the %d formats has one, made by the first program that wrote it", len(fixtures), store.Format)
	}
	for format := range fixtures {
		t.Run(fmt.Sprint(format), func(t *testing.T) {
			dir, key := fixture(t, format)
			n := startNode(t, dir)
			eventually(t, "the rows are served", func() error {
				code, out := n.rows(key)
				if code != exitDone {
					return errors.New(out)
				}
				return saysFixture(out)
			})
			out := n.must("", "verify", "--api-key", key, "--rebuild")
			if !strings.Contains(out, "sequence     10\n") || strings.Contains(out, "differences") {
				t.Errorf("after the upgrade: %s", out)
			}
			want := "index"
			if format < store.Format {
				want = "index-2"
			}
			if got := generations(t, dir); len(got) != 1 || got[0] != want {
				t.Errorf("generations are %v, want %s", got, want)
			}
			n.must(`{"usr_id":"dora","ent_id":"edit"}`, "publish", "-")
			if out := n.must("", "query", "--api-key", key, "--tenant", "default", "--usr", "dora", "--at-least", "11"); !strings.Contains(out, "dora") {
				t.Errorf("after the upgrade: %s", out)
			}
			n.stopNode()
			n = startNode(t, dir) // it is one of this version now
			if n.upgrade != nil {
				t.Error("the index is upgraded again")
			}
			if out := n.must("", "query", "--api-key", key, "--tenant", "default", "--usr", "dora", "--at-least", "11"); !strings.Contains(out, "dora") {
				t.Errorf("after a restart: %s", out)
			}
		})
	}
}

// remark changes what the marker of a data directory's index says.
func remark(t *testing.T, dir string, format, fold int) {
	t.Helper()
	content := fmt.Appendf(nil, `{"format":%d,"fold":%d}`, format, fold)
	if err := os.WriteFile(filepath.Join(dir, "index", "ASSIGNDEX"), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// An index of older rules answers what it did until it has been made again, and what is
// published meanwhile is seen after that.
func TestOldRulesServeOn(t *testing.T) {
	dir, key := fixture(t, store.Format)
	remark(t, dir, store.Format, 1)
	goOn := make(chan struct{})
	n := startChanged(t, dir, func(n *node) {
		o := n.rebuildOptions()
		open := o.Stream
		o.Stream = func(ctx context.Context, name string) (verify.Stream, error) {
			select {
			case <-goOn:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			return open(ctx, name)
		}
		n.rebuilder = rebuild.New(n.host, o)
	})
	eventually(t, "the old answers are served", func() error {
		code, out := n.rows(key)
		if code != exitDone {
			return errors.New(out)
		}
		return saysFixture(out)
	})
	n.must(`{"usr_id":"dora","ent_id":"edit"}`, "publish", "-")
	eventually(t, "the lag is seen", func() error {
		if status, body := n.get("/readyz"); status != 200 || !strings.Contains(body, `"lag_sequences":1,`) || !strings.Contains(body, "older version") {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	if code, out, errs := n.command("", "snapshot", "--api-key", key, filepath.Join(t.TempDir(), "s")); code != exitFailed || !strings.Contains(errs, "older version") {
		t.Errorf("a snapshot of an index of older rules: %d, %s, %s", code, out, errs)
	}
	close(goOn)
	if err := n.index.Wait(t.Context(), 11); err != nil {
		t.Fatal(err)
	}
	if out := n.must("", "query", "--api-key", key, "--tenant", "default", "--usr", "dora"); !strings.Contains(out, "dora") {
		t.Errorf("after the upgrade: %s", out)
	}
	eventually(t, "the upgrade is over", func() error {
		if _, body := n.get("/readyz"); strings.Contains(body, "older version") || !strings.Contains(body, `"lag_sequences":0,`) {
			return errors.New(body)
		}
		return nil
	})
	if out := n.must("", "verify", "--api-key", key, "--rebuild"); strings.Contains(out, "differences") {
		t.Errorf("after the upgrade: %s", out)
	}
}

// An upgrade that nobody asked for never loses what the stream has lost, whatever a
// server may build of it otherwise.
func TestAnUpgradeLosesNothing(t *testing.T) {
	dir, key := fixture(t, store.Format)
	remark(t, dir, store.Format, 1)
	cfg := config.DefaultServe()
	cfg.DataDir, cfg.Listen, cfg.NATSListen, cfg.AcceptTrimmed = dir, "127.0.0.1:0", "127.0.0.1:0", true
	n := startWith(t, cfg, zerolog.Nop(), func(n *node) {
		s, err := n.js.Stream(t.Context(), cfg.Stream)
		if err == nil {
			err = s.Purge(t.Context(), jetstream.WithPurgeSequence(7))
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	eventually(t, "the failure is told", func() error {
		if _, body := n.get("/readyz"); !strings.Contains(body, "lost its first messages") {
			return errors.New(body)
		}
		return nil
	})
	if _, out := n.rows(key); saysFixture(out) != nil {
		t.Errorf("the old answers: %s", out)
	}
	if got := generations(t, dir); len(got) != 1 || got[0] != "index" {
		t.Errorf("generations are %v", got)
	}
}

// An index that cannot be read is no reason to answer anything.
func TestAnUnreadableIndexAnswersNothing(t *testing.T) {
	dir, key := fixture(t, 1)
	n := startChanged(t, dir, func(n *node) {
		o := n.rebuildOptions()
		o.Stream = func(context.Context, string) (verify.Stream, error) { return nil, errors.New("not now") }
		n.rebuilder = rebuild.New(n.host, o)
	})
	eventually(t, "the failure is told", func() error {
		if status, body := n.get("/readyz"); status != 503 || !strings.Contains(body, "not now") {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	if status, body := n.ask(key, `{}`); status != http.StatusServiceUnavailable || !strings.Contains(body, "not_ready") {
		t.Errorf("%d, %s", status, body)
	}
	n.stopNode()
	if got := generations(t, dir); len(got) != 1 || got[0] != "index" {
		t.Errorf("the old index is not there any more: %v", got)
	}
}

func TestANewerIndexIsRefused(t *testing.T) {
	for _, m := range [][2]int{{store.Format + 1, 1}, {store.Format, 99}} {
		dir, _ := fixture(t, store.Format)
		remark(t, dir, m[0], m[1])
		cfg := config.DefaultServe()
		cfg.DataDir, cfg.Listen, cfg.NATSListen = dir, "127.0.0.1:0", "127.0.0.1:0"
		n, err := openNode(t.Context(), cfg, zerolog.Nop())
		if !errors.Is(err, store.ErrFormat) || !strings.Contains(err.Error(), "rebuild --data-dir") {
			t.Errorf("%v: %v", m, err)
		}
		if n != nil {
			t.Error("a node")
		}
		// The remedy that it names.
		if code, out, errs := runProgram(t, "", nil, "rebuild", "--data-dir", dir); code != exitDone || !strings.Contains(out, "assignments  4\n") {
			t.Errorf("%v: %d, %s, %s", m, code, out, errs)
		}
	}
}
