package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/quarantine"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/query/httpapi"
)

const hidden = "hunter2-SECRET"

// upstream publishes whatever it is given, as a sender without our library does.
type upstream struct {
	*running
	nc *nats.Conn
	js jetstream.JetStream
}

func newUpstream(r *running) *upstream {
	r.t.Helper()
	nc, err := nats.Connect(r.natsURL())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		r.t.Fatal(err)
	}
	return &upstream{r, nc, js}
}

// publish puts a message into the stream; typ is its header, empty for none.
func (u *upstream) publish(subject, typ, data string) (seq uint64) {
	u.t.Helper()
	m := &nats.Msg{Subject: subject, Data: []byte(data), Header: nats.Header{}}
	if typ != "" {
		m.Header.Set(events.TypeHeader, typ)
	}
	ack, err := u.js.PublishMsg(u.t.Context(), m)
	if err != nil {
		u.t.Fatal(err)
	}
	return ack.Sequence
}

// refused runs a command that must end with a code, and gives what it told.
func (r *running) refused(code int, args ...string) (errs string) {
	r.t.Helper()
	got, _, errs := r.command("", args...)
	if got != code {
		r.t.Fatalf("%q: code %d, %s; want %d", args, got, errs, code)
	}
	return errs
}

func TestQuarantineCommands(t *testing.T) {
	n := startNode(t, t.TempDir())
	u := newUpstream(n)
	admin := n.must("", "key", "create", "--name", "admin", "--role", "admin")
	writer := n.must("", "key", "create", "--name", "writer", "--role", "writer")
	stranger := n.must("", "key", "create", "--name", "stranger", "--role", "admin", "--tenant", "other")
	all := n.must("", "key", "create", "--name", "all", "--role", "admin", "--tenant", "*")
	as := func(key string, args ...string) []string {
		return append([]string{"quarantine", args[0], "--api-key", key}, args[1:]...)
	}

	secret := `"params":{"pw":"` + hidden + `"}`
	u.publish("assignments.default.hr", "assignment.upserted", `{"usr_id":"u1","ent_id":"e",`+secret+`,"score":7}`) // 1
	u.publish("assignments.default.hr", "", `{"usr_id":"u2","ent_id":"e",`+secret+`}`)                              // 2
	u.publish("assignments.default.hr", "", `{"usr_id":"u3","ent_id":"e"}`)                                         // 3
	u.publish("assignments.default.hr", "user.deleted", `{`+secret)                                                 // 4
	u.publish("assignments.other.hr", "user.deleted", `{}`)                                                         // 5
	u.publish("assignments.no%tenant.hr", "assignment.upserted", `{"usr_id":"u6","ent_id":"e"}`)                    // 6
	list := n.must("", as(admin, "list", "--at-least", "6")...)
	lines := strings.Split(list, "\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[0], "SEQ") || !strings.HasPrefix(lines[1], "1 ") || !strings.Contains(lines[1], "bad_field") ||
		!strings.Contains(lines[1], "score") || !strings.Contains(lines[1], "send a number from 0 to 1") || !strings.HasPrefix(lines[4], "4 ") {
		t.Errorf("list:\n%s", list)
	}
	if got := n.must("", as(admin, "list", "--code", "bad_envelope", "--output", "ndjson")...); strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, `{"seq":2,`) {
		t.Errorf("by code: %s", got)
	}
	if got := n.must("", as(stranger, "list", "--output", "json")...); strings.Count(got, `"seq"`) != 1 || !strings.HasPrefix(got, "[\n {\"seq\":5,") {
		t.Errorf("another tenant's: %s", got)
	}
	if got := n.must("", as(all, "list", "--tenant", "default", "--unattributed")...); strings.Count(got, "\n") != 1 || !strings.Contains(got, "\n6 ") {
		t.Errorf("of no tenant: %s", got)
	}
	show := n.must("", as(admin, "show", "1")...)
	for _, want := range []string{"subject   assignments.default.hr", "code      bad_field", "field     score", "reason    out of range", "remedy    send a number"} {
		if !strings.Contains(show, want) {
			t.Errorf("show lacks %q:\n%s", want, show)
		}
	}
	if strings.Contains(list+show, hidden) {
		t.Error("a secret is shown")
	}

	// Who may not.
	for _, args := range [][]string{
		as(writer, "list"), as(writer, "show", "1"), as(writer, "drop", "1"), as(writer, "show", "1", "--body"), as(stranger, "show", "1"),
		as(stranger, "show", "1", "--body"), as(stranger, "drop", "1"), as(stranger, "redrive", "1", "--type", "user.deleted"), as(admin, "show", "5"),
		as(admin, "show", "6"), as(admin, "list", "--unattributed"), as(admin, "drop", "6", "--unattributed"), as(all, "show", "6", "--tenant", "default"), as(all, "list"),
		as(admin, "redrive", "1"), as(admin, "redrive", "2", "--type", "group.deleted"), as(admin, "redrive", "4", "--type", "quarantine.dropped"),
	} {
		if errs := n.refused(exitFailed, args...); strings.Contains(errs, hidden) {
			t.Errorf("%q tells a secret: %s", args, errs)
		}
	}
	for _, args := range [][]string{
		as(admin, "drop"), as(admin, "drop", "--all"), as(admin, "drop", "x"), as(admin, "drop", "1", "--all", "--yes"), as(admin, "show"), as(admin, "list", "--code", "worse"),
		as(admin, "list", "--output", "xml"), as(admin, "redrive", "--all", "--data", "x"), as(admin, "redrive", "1", "--type", "x"), as(admin, "drop", "1", "--code", "bad_json"), {"quarantine"},
	} {
		n.refused(exitUsage, args...)
	}

	// The body only when it is asked for, with a warning; corrected, it is redriven.
	code, body, errs := n.command("", as(admin, "show", "1", "--body")...)
	if code != exitDone || !strings.Contains(body, hidden) || !strings.Contains(errs, "may hold secrets") || !strings.Contains(errs, "header Assigndex-Type: assignment.upserted") {
		t.Fatalf("show --body: %d, %s, %s", code, body, errs)
	}
	file := filepath.Join(t.TempDir(), "corrected.json")
	if err := os.WriteFile(file, []byte(strings.Replace(body, `"score":7`, `"score":0.7`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := n.must("", as(admin, "redrive", "1", "--data", file)...); got != "redriven 1, last sequence 8" {
		t.Errorf("redrive: %q", got)
	}
	if got := n.must("", as(admin, "redrive", "--all", "--code", "bad_envelope", "--type", "assignment.upserted")...); got != "redriven 2, last sequence 10\nredriven 3, last sequence 12" {
		t.Errorf("redrive --all: %q", got)
	}
	event := `{"specversion":"1.0","type":"assignment.upserted","id":"1","source":"/fix","data":{"usr_id":"u6","ent_id":"e"}}`
	if got := n.must(event, as(all, "redrive", "6", "--unattributed", "--tenant", "default", "--data", "-")...); got != "redriven 6, last sequence 14" {
		t.Errorf("redrive of no tenant's: %q", got)
	}
	want := `{"ent_id":"e","usr_id":"u1","score":0.7,"justification":[]}` + "\n" + `{"ent_id":"e","usr_id":"u2","score":null,"justification":[]}` + "\n" +
		`{"ent_id":"e","usr_id":"u3","score":null,"justification":[]}` + "\n" + `{"ent_id":"e","usr_id":"u6","score":null,"justification":[]}`
	if got := n.must("", "query", "--api-key", admin, "--ent", "e", "--at-least", "14", "--output", "ndjson"); got != want {
		t.Errorf("after redriving:\n%s\nwant\n%s", got, want)
	}
	if got := n.must("", as(admin, "drop", "4", "--note", "a test")...); got != "dropped 4, last sequence 15" {
		t.Errorf("drop: %q", got)
	}
	if got := n.must("", as(admin, "list", "--at-least", "15", "--output", "json")...); got != "[]" {
		t.Errorf("what is left: %s", got)
	}
	n.refused(exitFailed, as(admin, "drop", "4")...)
	if got := n.must("", as(stranger, "drop", "--all", "--yes")...); got != "dropped 5, last sequence 16" {
		t.Errorf("drop --all: %q", got)
	}
	n.must("", as(stranger, "list", "--at-least", "16")...)
	if metrics := n.send("", http.MethodGet, "/metrics", "").body; !strings.Contains(metrics, "\nassigndex_quarantined_messages 0\n") {
		t.Error("the metric is not 0")
	}
}

// What is dropped and redriven is so in every index of the stream, and asked twice
// it is done once.
func TestReplicasAgreeOnTheQuarantine(t *testing.T) {
	n := startNode(t, t.TempDir())
	u := newUpstream(n)
	admin := n.must("", "key", "create", "--name", "admin", "--role", "admin")
	for range 4 {
		u.publish("assignments.default.hr", "user.deleted", `{}`)
	}
	u.publish("assignments.other.hr", "", `{}`)
	n.must("", "quarantine", "list", "--api-key", admin, "--at-least", "5") // tries again until the index is ready

	// The same is asked again while the quarantine does not know yet: the answer was lost.
	at := mustStored(t, n, 2)
	event := httpapi.Settlement{Type: events.UserUpserted, Data: []byte(`{"usr_id":"u"}`), ID: "redrive 2"}
	settle := settler{reader: at, publisher: n.node.ingest}
	for i, want := range []uint64{6, 6} {
		last, repeated, err := settle.Settle(t.Context(), "default", []httpapi.Settlement{event})
		if last != want || repeated != (i == 1) || err != nil {
			t.Fatalf("%d: sequence %d, repeated %v, %v", i, last, repeated, err)
		}
	}
	n.must(`{"usr_id":"v"}`, "quarantine", "redrive", "--api-key", admin, "2", "--data", "-", "--type", "user.upserted") // 7 and 8
	n.must("", "quarantine", "drop", "--api-key", admin, "3")                                                            // 9
	u.publish("assignments.default.hr", "quarantine.dropped", `{"seq":5}`)                                               // 10: of another tenant
	u.publish("assignments.default.hr", "quarantine.dropped", `{"seq":"4"}`)                                             // 11: is none
	n.must("", "quarantine", "list", "--api-key", admin, "--at-least", "11")
	digest, seqs := contents(t, n.index)
	if !slices.Equal(seqs, []uint64{1, 4, 5, 11}) {
		t.Fatalf("in the quarantine are %v", seqs)
	}

	st, err := store.Open(store.Options{Dir: t.TempDir(), Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	reader := stream.NewReader(u.nc, u.js, n.cfg.Stream, zerolog.Nop())
	replica := indexer.NewIndex(st, reader)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- indexer.New(st, reader, indexer.Options{History: time.Hour, Logger: zerolog.Nop()}).Run(ctx)
	}()
	if err := replica.Wait(t.Context(), 11); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if other, same := contents(t, replica); other != digest || !slices.Equal(same, seqs) {
		t.Errorf("the replica has digest %s and %v in the quarantine; want %s and %v", other, same, digest, seqs)
	}
	if err := st.Close(); err != nil {
		t.Error(err)
	}
}

// mustStored gives a reader of the node's stream, which holds a sequence.
func mustStored(t *testing.T, n *running, seq uint64) *stream.Reader {
	t.Helper()
	js, err := jetstream.New(n.nc)
	if err != nil {
		t.Fatal(err)
	}
	reader := stream.NewReader(n.nc, js, n.cfg.Stream, zerolog.Nop())
	if m, err := reader.Stored(t.Context(), seq); err != nil || m.Seq != seq {
		t.Fatalf("sequence %d: %+v, %v", seq, m, err)
	}
	if _, _, err := (settler{reader: reader}).Stored(t.Context(), 1000); !errors.Is(err, httpapi.ErrGone) {
		t.Fatalf("a sequence beyond the end: %v", err)
	}
	return reader
}

// contents gives the digest of an index and what is in its quarantine.
func contents(t *testing.T, x *indexer.Index) (digest string, seqs []uint64) {
	t.Helper()
	at, _ := x.Applied()
	digest, _, err := x.Digest(at)
	if err != nil {
		t.Fatal(err)
	}
	for _, tenant := range []string{"default", "other", ""} {
		if _, err := x.Quarantine(t.Context(), at, quarantine.Selector{Tenant: tenant}, 0, 100, 100, func(seq uint64, _ *rows.Quarantined) error {
			seqs = append(seqs, seq)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(seqs)
	return digest, seqs
}
