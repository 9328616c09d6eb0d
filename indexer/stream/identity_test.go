package stream_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/indexer/stream/embedded"
)

// rawPublish sends a message past the client library, which would refuse or
// tidy some of these. An empty header block means no headers.
func (w *world) rawPublish(subject, header, body string) {
	w.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.server.ClientURL(), "nats://"))
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(bounded)); err != nil {
		w.Fatal(err)
	}
	pub := fmt.Sprintf("PUB %s %d\r\n%s\r\n", subject, len(body), body)
	if header != "" {
		pub = fmt.Sprintf("HPUB %s %d %d\r\n%s%s\r\n", subject, len(header), len(header)+len(body), header, body)
	}
	if _, err := conn.Write([]byte(`CONNECT {"verbose":false,"pedantic":false,"headers":true}` + "\r\n" + pub + "PING\r\n")); err != nil {
		w.Fatal(err)
	}
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		switch line := lines.Text(); {
		case line == "PONG":
			return
		case strings.HasPrefix(line, "-ERR"):
			w.Fatalf("publish: %s", line)
		}
	}
	w.Fatal("publish: no answer")
}

// stored waits until the stream holds a sequence: rawPublish gets no acknowledgement.
func (w *world) stored(seq uint64) {
	w.Helper()
	for deadline := time.Now().Add(bounded); ; {
		last := w.stream().CachedInfo().State.LastSeq
		if last == seq {
			return
		}
		if last > seq || time.Now().After(deadline) {
			w.Fatalf("the stream ends at %d, want %d", last, seq)
		}
	}
}

// hostile are messages that any publisher can send.
var hostile = []struct{ name, subject, header, body string }{
	{"no headers", "", "", "body"},
	{"no headers, no body", "", "", ""},
	{"no body", "", "NATS/1.0\r\nA: b\r\n\r\n", ""},
	{"header block without headers", "", "NATS/1.0\r\n\r\n", "body"},
	{"several values", "", "NATS/1.0\r\nA: 1\r\nB: x\r\nA: 2\r\nA: 1\r\n\r\n", "body"},
	{"odd cases", "", "NATS/1.0\r\naSSIGNDEX-tYPE: x\r\nAssigndex-Type: y\r\nASSIGNDEX-TYPE: z\r\n\r\n", "body"},
	{"empty value", "", "NATS/1.0\r\nA:\r\nB: \r\nC:\t\r\n\r\n", "body"},
	{"spaces", "", "NATS/1.0\r\nA:    leading\r\nB: trailing   \r\nC:\ttab\t\r\nD:in the  middle\r\n E: name\r\nF : name\r\n\r\n", "body"},
	{"empty name", "", "NATS/1.0\r\n: value\r\nA: b\r\n\r\n", "body"},
	{"odd bytes", "", "NATS/1.0\r\nA: \xff\xfe\x00\r\n\xc3: b\r\nB: 日本\r\n\r\n", "\xff\x00\xfe"},
	{"no colon", "", "NATS/1.0\r\nnothing\r\n\r\n", "body"},
	{"no colon after a header", "", "NATS/1.0\r\nA: b\r\nnothing\r\n\r\n", "body"},
	{"no version", "", "HELLO\r\nA: b\r\n\r\n", "body"},
	{"no end", "", "NATS/1.0\r\nA: b", "body"},
	{"subject that is not UTF-8", "assignments.t.\xff\xfe", "", "body"},
	{"subject of odd letters", "assignments.t.日本<>&\"\\\x01\x7f", "", "body"},
	{"inline status", "", "NATS/1.0 404 No Messages\r\n\r\n", ""},
	{"inline heartbeat", "", "NATS/1.0 100 Idle Heartbeat\r\n\r\n", ""},
	{"inline status and body", "", "NATS/1.0 503\r\n\r\n", "body"},
	{"heartbeat", "", "NATS/1.0\r\nStatus: 100\r\n\r\n", ""},
	{"end of the consumer", "", "NATS/1.0\r\nStatus: 409\r\nDescription: Consumer Deleted\r\n\r\n", ""},
	{"bad request", "", "NATS/1.0\r\nStatus: 400\r\n\r\n", ""},
	{"end of a pull", "", "NATS/1.0\r\nStatus: 408\r\nNats-Pending-Messages: 1000000\r\nNats-Pending-Bytes: x\r\n\r\n", ""},
	{"pin id", "", "NATS/1.0\r\nNats-Pin-Id: x\r\n\r\n", "body"},
	{"schedule of another time", "", "NATS/1.0\r\nNats-Sequence: 1\r\nNats-Time-Stamp: x\r\nNats-Subject: y\r\n\r\n", "body"},
	{"rollup that is not allowed", "", "NATS/1.0\r\nNats-Something: all\r\n\r\n", "body"},
	{"largest", "", "NATS/1.0\r\nA: b\r\n\r\n", strings.Repeat("x", embedded.MaxPayload-32)},
}

func subjectOf(s string) string {
	if s == "" {
		return events.Subject("t")
	}
	return s
}

// Every message is delivered once, none stops the line, and a reader that goes
// on after any of them knows it again.
func TestHostileMessages(t *testing.T) {
	w := newWorld(t)
	begin := w.begin()
	for i, h := range hostile {
		w.rawPublish(subjectOf(h.subject), h.header, h.body)
		w.stored(uint64(i + 1))
	}
	f := w.follow(begin)
	last := uint64(len(hostile))
	f.complete(last)
	f.stop()
	for i, m := range f.got {
		if m.Subject != subjectOf(hostile[i].subject) || string(m.Data) != hostile[i].body {
			t.Errorf("%s: delivered as %q with %d bytes", hostile[i].name, m.Subject, len(m.Data))
		}
		at := begin
		at.Seq, at.Nano, at.Fingerprint = m.Seq, m.Time.UnixNano(), m.Fingerprint()
		t.Run(hostile[i].name, func(t *testing.T) {
			v := *w
			v.T = t
			g := v.follow(at)
			if m.Seq < last {
				g.complete(last)
				return
			}
			g.complete(w.publish(1))
		})
	}
}

// The last message of a stream is the one that nothing comes after.
func TestHostileMessageAtTheEnd(t *testing.T) {
	for _, h := range hostile {
		if h.header == "" || h.body != "" {
			continue
		}
		t.Run(h.name, func(t *testing.T) {
			w := newWorld(t)
			f := w.follow(w.begin())
			f.complete(w.publish(1))
			w.rawPublish(subjectOf(h.subject), h.header, h.body)
			f.complete(2)
		})
	}
}

func TestHeadersArriveAsSent(t *testing.T) {
	w := newWorld(t)
	begin := w.begin()
	want := nats.Header{"Assigndex-Type": {"group.upserted"}, "x-MiXed": {"a", "b"}, "Empty": {""}}
	if _, err := w.js.PublishMsg(t.Context(), &nats.Msg{Subject: events.Subject("t"), Header: want, Data: []byte(`{"grp_id":"g"}`)}); err != nil {
		t.Fatal(err)
	}
	f := w.follow(begin)
	f.complete(1)
	m := f.got[0]
	for name, values := range want {
		if !slices.Equal(m.Header[name], values) {
			t.Errorf("header %s is %q, want %q", name, m.Header[name], values)
		}
	}
	if ev, err := events.Decode(m.Message); err != nil || ev.Group.GrpID != "g" {
		t.Errorf("it decodes to %+v, %v", ev, err)
	}
}

func TestFingerprintTellsMessagesApart(t *testing.T) {
	at := time.Unix(1_700_000_000, 1)
	base := stream.Message{Time: at, Message: events.Message{
		Subject: "assignments.t.x", Header: nats.Header{"A": {"1", "2"}, "B": {"3"}}, Data: []byte("body"),
	}}
	change := func(f func(*stream.Message)) []byte {
		m := base
		m.Header = nats.Header{}
		for k, v := range base.Header {
			m.Header[k] = slices.Clone(v)
		}
		f(&m)
		return m.Fingerprint()
	}
	same := change(func(m *stream.Message) { m.Seq = 9; m.Time = m.Time.UTC() })
	if !bytes.Equal(same, base.Fingerprint()) || len(same) != 16 {
		t.Fatalf("the same message has fingerprints %x and %x", same, base.Fingerprint())
	}
	seen := map[string]string{string(same): "the message"}
	for name, f := range map[string]func(*stream.Message){
		"time":             func(m *stream.Message) { m.Time = m.Time.Add(1) },
		"subject":          func(m *stream.Message) { m.Subject += "y" },
		"body":             func(m *stream.Message) { m.Data = []byte("bodies") },
		"no body":          func(m *stream.Message) { m.Data = nil },
		"no header":        func(m *stream.Message) { m.Header = nil },
		"a value":          func(m *stream.Message) { m.Header["B"] = []string{"4"} },
		"a value more":     func(m *stream.Message) { m.Header["B"] = []string{"3", ""} },
		"order":            func(m *stream.Message) { m.Header["A"] = []string{"2", "1"} },
		"joined":           func(m *stream.Message) { m.Header["A"] = []string{"12"} },
		"value as a name":  func(m *stream.Message) { m.Header = nats.Header{"A": {"1"}, "2": {"B", "3"}} },
		"name as a value":  func(m *stream.Message) { m.Header = nats.Header{"A": {"1", "2", "B", "3"}} },
		"case":             func(m *stream.Message) { delete(m.Header, "B"); m.Header["b"] = []string{"3"} },
		"header as body":   func(m *stream.Message) { delete(m.Header, "B"); m.Data = []byte("B3body") },
		"subject and body": func(m *stream.Message) { m.Subject, m.Data = "assignments.t.", []byte("xbody") },
	} {
		fp := string(change(f))
		if other, ok := seen[fp]; ok {
			t.Errorf("%s has the fingerprint of %s", name, other)
		}
		seen[fp] = name
	}
}

func TestIncarnationsDiffer(t *testing.T) {
	w := newWorld(t)
	seen := make(map[string]position.Identity)
	for range 4 {
		id := w.begin().Stream
		if other, ok := seen[id.Incarnation]; ok {
			t.Fatalf("%+v and %+v share an incarnation", id, other)
		}
		seen[id.Incarnation] = id
		w.recreate()
	}
}
