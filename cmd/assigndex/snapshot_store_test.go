package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/indexer/stream/snapshotbucket"
	"github.com/assigndex/assigndex/indexer/stream/streamtest"
	"github.com/assigndex/assigndex/query/client"
)

func TestSnapshotStoreCommands(t *testing.T) {
	dir := t.TempDir()
	n := startNode(t, dir)
	operator := n.must("", "key", "create", "--name", "operator", "--role", "admin", "--tenant", "*")
	admin := n.must("", "key", "create", "--name", "admin", "--role", "admin")
	if code, _, errs := n.command("", "snapshot", "--store", "--api-key", operator); code != exitFailed || !strings.Contains(errs, "nothing_applied") {
		t.Errorf("of nothing: %d, %s", code, errs)
	}
	if out := n.must("", "snapshot", "list", "--api-key", operator); strings.Count(out, "\n") != 0 || !strings.HasPrefix(out, "SEQUENCE  FLOOR") {
		t.Errorf("none: %s", out)
	}
	if out := n.must("", "snapshot", "list", "--api-key", operator, "--output", "json"); out != "[]" {
		t.Errorf("none: %s", out)
	}
	n.publishGrants(1, 30)
	first := n.must("", "snapshot", "--store", "--api-key", operator)
	n.publishGrants(31, 3)
	second := n.must("", "snapshot", "--store", "--api-key", operator)
	for seq, out := range map[string]string{"30": first, "33": second} {
		if !strings.HasPrefix(out, "sequence     "+seq+"\n") || !strings.Contains(out, "\nname         000000000000000000"+seq+"-2") {
			t.Errorf("taken: %s", out)
		}
	}
	var list []client.StoredSnapshot
	if err := json.Unmarshal([]byte(n.must("", "snapshot", "list", "--api-key", operator, "--output", "json")), &list); err != nil ||
		len(list) != 2 || list[0].Seq != 33 || list[1].Seq != 30 || list[0].Bytes == 0 || list[0].Format == 0 ||
		list[0].Stream != n.stored().Applied().Stream.Incarnation || time.Since(list[0].Taken) > time.Hour {
		t.Errorf("%+v, %v", list, err)
	}
	table := n.must("", "snapshot", "list", "--api-key", operator)
	if lines := strings.Split(table, "\n"); len(lines) != 3 || !strings.HasPrefix(lines[1], "33 ") || !strings.HasSuffix(lines[2], list[1].Name) {
		t.Errorf("table: %s", table)
	}
	for _, args := range [][]string{{"--store"}, {"list"}} {
		args = append([]string{"snapshot"}, args...)
		if code, out, errs := n.command("", append(args, "--api-key", admin)...); code != exitFailed || out != "" || !strings.Contains(errs, "tenant") {
			t.Errorf("%q by an admin of a tenant: %d, %s, %s", args, code, out, errs)
		}
	}
	for _, args := range [][]string{{"--store", "file"}, {"--store", "--force"}, {"--store", "--data-dir", dir}, {"list", "more"}, {"list", "--output", "xml"}} {
		if code, _, errs := n.command("", append([]string{"snapshot"}, args...)...); code != exitUsage {
			t.Errorf("%q: %d, %s", args, code, errs)
		}
	}
	// Without NATS: a problem, and no hanging.
	n.snapshotConn.Close()
	if code, _, errs := n.command("", "snapshot", "--store", "--api-key", operator); code != exitFailed || !strings.Contains(errs, "object_store_unavailable") {
		t.Errorf("without a connection: %d, %s", code, errs)
	}
}

// Two replicas with a schedule take one snapshot between them. The schedule itself is
// tested with the keeper.
func TestServeTakesSnapshots(t *testing.T) {
	s := streamtest.Start(t)
	scheduled := func(c *config.Serve) { c.Snapshots.Every = time.Hour }
	a, _ := startReplica(t, t.TempDir(), s, nil)
	a.publishGrants(1, 30)
	dirs := []string{t.TempDir(), t.TempDir()}
	// Their first look comes when they start: with something applied it is due.
	for _, dir := range dirs {
		n, _ := startReplica(t, dir, s, nil)
		n.waitFor(30)
		n.stopNode()
	}
	b, _ := startReplica(t, dirs[0], s, scheduled)
	b.await("/metrics", func(s sent) bool { return strings.Contains(s.body, "\nassigndex_snapshot_last_sequence 30\n") })
	c, _ := startReplica(t, dirs[1], s, scheduled)
	c.await("/metrics", func(s sent) bool { return strings.Contains(s.body, "\nassigndex_snapshot_last_sequence 30\n") })
	if metrics := c.send("", http.MethodGet, "/metrics", "").body; !strings.Contains(metrics, "\nassigndex_snapshots_taken_total 0\n") ||
		!strings.Contains(metrics, "\nassigndex_snapshots 1\n") {
		t.Error("the second one took another one")
	}
	list, err := a.bucket.List(t.Context())
	if err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}

// A server tells when the stream begins after the newest snapshot ends.
func TestReadyTellsOfAStreamOutOfReach(t *testing.T) {
	dir := t.TempDir()
	n := startNode(t, dir)
	n.publishGrants(1, 10)
	n.take()
	n.publishGrants(11, 10)
	n.trim(13)
	n.stopNode()
	n = startNode(t, dir)
	ready := n.await("/readyz", func(s sent) bool {
		return s.status == http.StatusOK && strings.Contains(s.body, "the newest snapshot ends at 10")
	})
	if !strings.Contains(ready.body, "no index could be built anew; take one with assigndex snapshot --store") {
		t.Errorf("ready: %s", ready.body)
	}
	n.take()
	n.await("/readyz", func(s sent) bool { return s.status == http.StatusOK && strings.Contains(s.body, `"troubles":[]`) })
}

// On the embedded server's disk none is stored while it is almost full.
func TestNoSnapshotOnAFullDisk(t *testing.T) {
	cfg := config.DefaultServe()
	cfg.DataDir, cfg.Listen, cfg.NATSListen, cfg.MinFreeBytes = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0", 1<<62
	n := startWith(t, cfg, zerolog.Nop(), func(*node) {})
	if _, err := n.snapshots.Take(t.Context(), nil); fmt.Sprint(err) != fmt.Sprint(snapshotbucket.ErrFull) {
		t.Errorf("got %v", err)
	}
	if all := n.troubles(); !slices.ContainsFunc(all, func(s string) bool { return strings.Contains(s, "almost full") }) {
		t.Errorf("troubles: %q", all)
	}
}
