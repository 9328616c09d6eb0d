package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assigndex/assigndex/query/client"
)

func TestPublishQueryRevoke(t *testing.T) {
	dir := t.TempDir()
	n := startNode(t, dir)
	key := n.must("", "key", "create", "--name", "test")
	n.must(`{"usr_id":"u1","ent_id":"e1","score":0.5}`+"\n"+`{"usr_id":"u2","ent_id":"e1","app_id":"a"}`+"\n", "publish", "-")
	got := n.must("", "query", "--api-key", key, "--ent", "e1", "--at-least", "2", "--output", "ndjson")
	want := `{"ent_id":"e1","usr_id":"u1","score":0.5,"justification":[]}` + "\n" +
		`{"ent_id":"e1","usr_id":"u2","score":null,"justification":[]}`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for output, want := range map[string]string{
		"json":  "[\n {\"ent_id\":\"e1\",\"usr_id\":\"u2\",\"score\":null,\"justification\":[]}\n]",
		"table": "ASSIGNEE  ENTITLEMENT  SCORE  JUSTIFICATION\nu2        e1           -      ",
	} {
		if got := n.must("", "query", "--api-key", key, "--app", "a", "--output", output); got != want {
			t.Errorf("%s: got %q, want %q", output, got, want)
		}
	}
	if got := n.must("", "query", "--api-key", key, "--usr", "nobody", "--output", "json"); got != "[]" {
		t.Errorf("an empty listing prints %q", got)
	}
	n.stopNode()

	// The index and the keys survive a restart.
	n = startNode(t, dir)
	if got := n.must("", "query", "--api-key", key, "--ent", "e1", "--at-least", "2", "--output", "ndjson"); got != want {
		t.Errorf("after a restart: got\n%s\nwant\n%s", got, want)
	}
	id := strings.Split(key, "_")[1]
	if list := n.must("", "key", "list"); !strings.Contains(list, id) || strings.Contains(list, key) {
		t.Errorf("key list: %s", list)
	}
	n.must("", "key", "revoke", id)
	waitForRefusal(t, n, key)
	if code, _, errs := n.command("", "key", "revoke", id); code != exitFailed || !strings.Contains(errs, id) {
		t.Errorf("revoking a revoked key: code %d, %s", code, errs)
	}
}

// waitForRefusal asks until the key is refused. The revocation travels through
// NATS, so the first requests may still pass; none may pass after a refusal.
func waitForRefusal(t *testing.T, n *running, key string) {
	t.Helper()
	cl, err := client.New(client.Options{URL: n.url(), APIKey: key})
	if err != nil {
		t.Fatal(err)
	}
	for {
		_, err := cl.Page(t.Context(), client.Request{})
		if problem := (*client.Error)(nil); errors.As(err, &problem) && problem.Status == http.StatusUnauthorized {
			return
		}
		if t.Context().Err() != nil {
			t.Fatalf("the revoked key still opens: %v", err)
		}
	}
}

func TestPublishReportsBadLinesAndPublishesTheOthers(t *testing.T) {
	n := startNode(t, t.TempDir())
	file := filepath.Join(t.TempDir(), "records.ndjson")
	lines := `{"usr_id":"u","ent_id":"e1"}

{"usr_id":"u"}
not json
{"specversion":"1.0","type":"user.upserted","id":"1","source":"s","data":{"usr_id":"u"}}
{"usr_id":"u","ent_id":"` + strings.Repeat("x", 600<<10) + `"}
{"usr_id":"u","ent_id":"e2"}`
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := n.command("", "publish", file)
	if code != exitFailed || out != "published 3 events, last sequence 3\n" {
		t.Errorf("code %d, %q", code, out)
	}
	for _, want := range []string{":3: ent_id", ":4:", ":6: the line is longer", "3 lines were not valid"} {
		if !strings.Contains(errs, want) {
			t.Errorf("the errors lack %q: %s", want, errs)
		}
	}
	code, out, errs = n.command("", "publish", filepath.Join(t.TempDir(), "absent"))
	if code != exitFailed || !strings.Contains(errs, "absent") || out != "published 0 events, last sequence 0\n" {
		t.Errorf("an absent file: code %d, %q, %q", code, out, errs)
	}
}

func TestPublishOnePageByCursor(t *testing.T) {
	n := startNode(t, t.TempDir())
	key := n.must("", "key", "create", "--name", "test", "--tenant", "*")
	var in strings.Builder
	for i := range 5 {
		fmt.Fprintf(&in, `{"usr_id":"u","ent_id":"e%d"}`+"\n", i)
	}
	n.must(in.String(), "publish", "--tenant", "acme")
	args := []string{"query", "--api-key", key, "--tenant", "acme", "--page-size", "2", "--one-page"}
	pages := 0
	cursor := []string{"--at-least", "5"}
	for rows := 0; ; pages++ {
		page := n.must("", append(args[:len(args):len(args)], cursor...)...)
		rows += strings.Count(page, "ent_id")
		_, rest, ok := strings.Cut(page, `{"cursor":"`)
		if !ok {
			if rows != 5 || pages != 2 {
				t.Errorf("%d rows on %d pages, the last %s", rows, pages+1, page)
			}
			break
		}
		next, _, _ := strings.Cut(rest, `"`)
		cursor = []string{"--cursor", next}
	}
	// A key for all tenants must name one.
	if code, _, errs := n.command("", "query", "--api-key", key); code != exitFailed || !strings.Contains(errs, "tenant") {
		t.Errorf("without a tenant: code %d, %s", code, errs)
	}
}

func TestSecondServerIsRefusedBeforeItTouchesData(t *testing.T) {
	dir := t.TempDir()
	n := startNode(t, dir)
	code, _, errs := runProgram(t, "", nil, "serve", "--data-dir", dir, "--listen", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0")
	if code != exitFailed || !strings.Contains(errs, "in use") {
		t.Errorf("code %d: %s", code, errs)
	}
	code, _, errs = runProgram(t, "", nil, "serve", "--data-dir", t.TempDir(), "--listen", n.listener.Addr().String(), "--nats-listen", "127.0.0.1:0")
	if code != exitFailed || !strings.Contains(errs, "address already in use") {
		t.Errorf("code %d: %s", code, errs)
	}
}
