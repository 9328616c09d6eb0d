package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// stream answers a watch with a text and ends the connection, in an orderly way or
// not.
func stream(text string, cut bool) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Assigndex-Seq", "7")
		w.Header().Set("Assigndex-Stream", "s1")
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, text)
		_ = http.NewResponseController(w).Flush()
		if cut {
			panic(http.ErrAbortHandler)
		}
	}
}

func change(seq int, next string) string {
	id := fmt.Sprintf("id: %d\n", seq)
	if strings.Contains(next, ".") {
		id = ""
	}
	return "event: change\n" + id + "data: " + changeJSON(seq, next) + "\n\n"
}

func changeJSON(seq int, next string) string {
	return fmt.Sprintf(`{"seq":%d,"op":"upserted","assignment":%s,"next":%q}`, seq, row, next)
}

const gone = "event: error\ndata: {\"status\":410,\"code\":\"history_pruned\",\"title\":\"T\",\"detail\":\"D\"}\n\n"

// A watch comes back to where it was, whatever ends its connections, and gives up
// when that is of no use.
func TestWatchResumes(t *testing.T) {
	var told []string
	c, s, waits := serve(t, Options{},
		stream(change(8, "8.1")+change(8, "8.2")+change(8, "8")[:30], true),
		stream(":\n\n"+change(8, "8")+"event: heartbeat\nid: 9\ndata: {\"seq\":9}\n\n"+"event: later\ndata: 1\n\n", false),
		refuse(503, "2"),
		stream("event: error\ndata: {\"status\":500,\"code\":\"internal\"}\n\n", false),
		stream(change(10, "10")+gone, false),
	)
	w := c.Watch(WatchRequest{
		ChangesRequest: ChangesRequest{UsrID: "u", Include: []string{"app_id", "type"}},
		Retry:          func(err error, wait time.Duration) { told = append(told, fmt.Sprint(wait, " ", err)) },
	})
	var got []string
	var last error
	for change, err := range w.All(t.Context()) {
		if err != nil {
			last = err
			break
		}
		got = append(got, change.Next)
		if string(change.Raw) != changeJSON(int(change.Seq), change.Next) || change.Op != OpUpserted || change.Assignment.UsrID != "u" || string(change.Assignment.Raw) != row {
			t.Errorf("%+v", change)
		}
	}
	problem, ok := errors.AsType[*Error](last)
	if !ok || problem.Code != "history_pruned" || !slices.Equal(got, []string{"8.1", "8.2", "8", "10"}) {
		t.Errorf("%q, then %v", got, last)
	}
	if position, stream := w.Position(); position != "10" || stream != "s1" {
		t.Errorf("ends at %s of %s", position, stream)
	}
	asked, headers := s.requests()
	filter := "/api/watch?include=app_id%2Ctype"
	want := []string{
		"GET " + filter + "&usr_id=u ", "GET /api/watch?at_least=8&include=app_id%2Ctype&since=8.2&usr_id=u ",
	}
	for range 3 {
		want = append(want, "GET /api/watch?at_least=9&include=app_id%2Ctype&since=9&usr_id=u ")
	}
	if !slices.Equal(asked, want) || headers[0].Get("Assigndex-Stream") != "" || headers[1].Get("Assigndex-Stream") != "s1" {
		t.Errorf("asked\n%q, want\n%q", asked, want)
	}
	if want := []time.Duration{100 * time.Millisecond, 100 * time.Millisecond, 2 * time.Second}; len(*waits) != 4 || !slices.Equal((*waits)[:3], want) || len(told) != 4 {
		t.Errorf("waited %v, told %q", *waits, told)
	}
}

// What ends a watch: the caller, the context, a refusal, and what is not the server's.
func TestWatchEnds(t *testing.T) {
	c, s, _ := serve(t, Options{}, stream(change(8, "8")+change(9, "9"), false))
	w := c.Watch(WatchRequest{})
	for _, err := range w.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	if position, _ := w.Position(); position != "8" || s.count() != 1 {
		t.Errorf("at %s after %d requests", position, s.count())
	}

	c, s, _ = serve(t, Options{}, stream("", false))
	ctx, cancel := context.WithCancel(t.Context())
	c.wait = func(context.Context, time.Duration) error { cancel(); return ctx.Err() }
	w = c.Watch(WatchRequest{})
	for change, err := range w.All(ctx) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%+v, %v", change, err)
		}
	}
	if position, _ := w.Position(); position != "7" || s.count() != 1 { // that of the answer
		t.Errorf("at %s after %d requests", position, s.count())
	}

	for name, answer := range map[string]func(http.ResponseWriter){
		"refused": refuse(400, ""), "no service of ours": func(w http.ResponseWriter) { _, _ = io.WriteString(w, "hello") },
		"no change": stream("event: change\ndata: {}\n\n", false), "no row": stream(strings.Replace(change(8, "8"), row, "{}", 1), false),
		"no operation": stream(strings.Replace(change(8, "8"), "upserted", "made", 1), false), "no position": stream(change(8, ""), false),
		"no sequence": stream("event: heartbeat\ndata: {}\n\n", false), "no problem": stream("event: error\ndata: 7\n\n", false),
	} {
		c, s, _ := serve(t, Options{}, answer)
		failed := 0
		for change, err := range c.Watch(WatchRequest{}).All(t.Context()) {
			if _, problem := errors.AsType[*Error](err); err == nil || problem != (name == "refused") || !problem && !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: %+v, %v", name, change, err)
			}
			failed++
		}
		if failed != 1 || s.count() != 1 {
			t.Errorf("%s: %d errors after %d requests", name, failed, s.count())
		}
	}

	c, s, _ = serve(t, Options{Retries: -1}, drop(false))
	for _, err := range c.Watch(WatchRequest{}).All(t.Context()) {
		if err == nil || s.count() != 1 {
			t.Errorf("%v after %d requests", err, s.count())
		}
	}
}

// A connection without a sign of life is given up.
func TestWatchSilence(t *testing.T) {
	hang := make(chan struct{})
	c, _, waits := serve(t, Options{}, func(w http.ResponseWriter) {
		stream(change(8, "8"), false)(w)
		<-hang
	}, stream(gone, false))
	c.silence = 20 * time.Millisecond
	var retried error
	w := c.Watch(WatchRequest{Retry: func(err error, _ time.Duration) { retried = err; close(hang) }})
	n := 0
	var last error
	for _, err := range w.All(t.Context()) {
		last = err
		n++
	}
	if n != 2 || last == nil || !errors.Is(retried, errSilent) || len(*waits) != 1 {
		t.Errorf("%d, %v, %v", n, retried, *waits)
	}
}

func TestChanges(t *testing.T) {
	page := func(next string, changes ...string) func(http.ResponseWriter) {
		return give("9", `{"changes":[`+strings.Join(changes, ",")+`],"next":"`+next+`"}`)
	}
	least, scored := 0.5, true
	c, s, _ := serve(t, Options{}, page("8.1", changeJSON(8, "")), page("8.5"), page("9", changeJSON(9, "")))
	var got []uint64
	for p, err := range c.Changes(t.Context(), ChangesRequest{Since: Earliest, MinScore: &least, Scored: &scored, Limit: 1, AtLeast: 3}) {
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range p.Changes {
			got = append(got, change.Seq)
		}
	}
	if !slices.Equal(got, []uint64{8, 9}) {
		t.Errorf("%v", got)
	}
	asked, headers := s.requests()
	const rest = "&min_score=0.5&scored=true&since="
	want := []string{"earliest", "8.1", "8.5"}
	for i := range want {
		want[i] = "GET /api/changes?at_least=3&limit=1" + rest[:len(rest)-6] + "since=" + want[i] + " "
	}
	if !slices.Equal(asked, want) || headers[2].Get("Assigndex-Stream") != "s1" {
		t.Errorf("asked\n%q, want\n%q", asked, want)
	}
	for _, body := range []string{
		``, `{}`, `{"changes":[]}`, `{"changes":[],"next":"x"}`, `{"changes":[],"next":"7.x"}`, `{"changes":[{}],"next":"7"}`, `{"changes":[7],"next":"7"}`,
		`{"changes":[],"next":"8"}`, // where it was asked for, and not the end
	} {
		c, _, _ := serve(t, Options{}, give("9", body))
		for p, err := range c.Changes(t.Context(), ChangesRequest{Since: "8"}) {
			if !errors.Is(err, ErrMalformed) || p != nil {
				t.Errorf("%s: %+v, %v", body, p, err)
			}
		}
	}
}
