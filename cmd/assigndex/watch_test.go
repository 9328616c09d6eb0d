package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
)

// watching is a running "assigndex watch".
type watching struct {
	t     *testing.T
	lines *bufio.Reader
	errs  bytes.Buffer // complete once stop has returned
	end   context.CancelFunc
	code  chan int
}

func (r *running) watch(args ...string) *watching {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	out, in := io.Pipe()
	w := &watching{t: r.t, lines: bufio.NewReader(out), end: cancel, code: make(chan int, 1)}
	p := program{
		args: append([]string{"watch"}, args...), environ: []string{"ASSIGNDEX_URL=" + r.url(), "ASSIGNDEX_NATS_URL=" + r.natsURL()},
		in: strings.NewReader(""), out: in, err: &w.errs,
	}
	go func() {
		w.code <- p.run(ctx)
		_ = in.Close() // always nil
	}()
	r.t.Cleanup(cancel)
	return w
}

func (w *watching) want(lines ...string) {
	w.t.Helper()
	for _, want := range lines {
		line, err := w.lines.ReadString('\n')
		if err != nil || line != want+"\n" {
			w.t.Fatalf("printed %q, %v; want %q", line, err, want)
		}
	}
}

// stop stops it as a signal does, and gives what it said.
func (w *watching) stop() (code int, errs string) {
	w.end()
	code = <-w.code
	return code, w.errs.String()
}

func TestWatch(t *testing.T) {
	n := startNode(t, t.TempDir())
	key := n.must("", "key", "create", "--name", "test")
	n.must(`{"usr_id":"u1","ent_id":"e1"}`+"\n"+`{"usr_id":"u1","ent_id":"e2","score":0.5}`+"\n", "publish", "-")
	n.must("", "query", "--api-key", key, "--at-least", "2")
	line := func(seq, op, ent, score, next string) string {
		return `{"seq":` + seq + `,"op":"` + op + `","assignment":{"ent_id":"` + ent + `","usr_id":"u1","score":` + score + `,"justification":[]},"next":"` + next + `"}`
	}
	w := n.watch("--api-key", key, "--since", "earliest")
	w.want(line("1", "upserted", "e1", "null", "1"), line("2", "upserted", "e2", "0.5", "2"))
	n.must(`{"specversion":"1.0","type":"user.deleted","id":"1","source":"s","data":{"usr_id":"u1"}}`+"\n", "publish", "-")
	w.want(line("3", "revoked", "e1", "null", "3.1"), line("3", "revoked", "e2", "0.5", "3"))
	if code, errs := w.stop(); code != exitDone || !strings.Contains(errs, "go on with --since 3\n") {
		t.Errorf("code %d, %s", code, errs)
	}

	w = n.watch("--api-key", key, "--since", "3.1", "--output", "table")
	w.want("3          revoked  u1                             e2                                       0.5")
	if code, errs := w.stop(); code != exitDone {
		t.Errorf("code %d, %s", code, errs)
	}

	if code, out, errs := n.command("", "watch", "--api-key", key, "--since", "1000"); code != exitFailed || out != "" || !strings.Contains(errs, "beyond_end") {
		t.Errorf("code %d, %s%s", code, out, errs)
	}
	st, release := n.index.Hold()
	defer release()
	if err := st.AdvanceFloor(3); err != nil {
		t.Fatal(err)
	}
	code, out, errs := n.command("", "watch", "--api-key", key, "--since", "1")
	if code != exitFailed || out != "" || !strings.Contains(errs, "since 1 cannot be told") || !strings.Contains(errs, "assigndex query") {
		t.Errorf("code %d, %s%s", code, out, errs)
	}
}
