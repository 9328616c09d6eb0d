package httpapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/quarantine"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/query"
)

// stub is a stream of messages that a test makes up. It publishes by applying at
// once, and knows repetitions by their ids.
type stub struct {
	index  *testIndex
	stored map[uint64]events.Message
	ids    map[string]uint64
	fails  error
}

// stamp is the time of the message at a sequence.
func stamp(seq uint64) time.Time { return time.Unix(int64(seq), 5).UTC() }

func (s *stub) Stored(_ context.Context, seq uint64) (events.Message, time.Time, error) {
	if m, ok := s.stored[seq]; ok && s.fails == nil {
		return m, stamp(seq), nil
	}
	return events.Message{}, time.Time{}, cmpErr(s.fails, ErrGone)
}

func cmpErr(first, otherwise error) error {
	if first != nil {
		return first
	}
	return otherwise
}

func (s *stub) Settle(_ context.Context, tenant string, all []Settlement) (last uint64, repeated bool, err error) {
	if s.fails != nil {
		return 0, false, s.fails
	}
	repeated = true
	for _, e := range all {
		seq, known := s.ids[tenant+e.ID]
		if !known {
			if e.Type == "" {
				var ce struct {
					Type events.Type    `json:"type"`
					Data jsontext.Value `json:"data"`
				}
				if err := json.Unmarshal(e.Data, &ce); err != nil {
					return 0, false, err
				}
				e.Type, e.Data = ce.Type, ce.Data
			}
			seq, repeated = s.index.apply(tenant, event{string(e.Type), string(e.Data)}), false
			s.ids[tenant+e.ID] = seq
		}
		last = max(last, seq)
	}
	return last, repeated, nil
}

// reject puts a message into the stream that is not an event, and its reason into
// the index.
func (s *stub) reject(m events.Message) (seq uint64) {
	x := s.index
	x.tb.Helper()
	ev, err := events.Decode(m)
	var rej *events.Rejection
	if !errors.As(err, &rej) {
		x.tb.Fatalf("%s is an event", m.Data)
	}
	mark := x.st.Applied()
	mark.Seq++
	s.stored[mark.Seq] = m
	q := rows.Quarantined{
		Time: stamp(mark.Seq), Subject: m.Subject, Tenant: ev.Tenant, Type: string(ev.Type), Code: rej.Code, Field: rej.Field,
		Reason: rej.Problem, Remedy: rej.Remedy, Bytes: len(m.Data),
	}
	value, err := q.Encode()
	if err != nil {
		x.tb.Fatal(err)
	}
	batch := x.st.NewBatch(nil)
	batch.At(mark.Seq)
	if err := errors.Join(batch.Put(keys.Quarantine(mark.Seq), value), batch.Commit(mark)); err != nil {
		x.tb.Fatal(err)
	}
	x.head.Store(max(x.head.Load(), mark.Seq))
	return mark.Seq
}

// bad gives a message of a tenant that is not an event, with a secret in it.
func bad(tenant string) events.Message {
	return events.Message{
		Subject: events.Subject(tenant), Header: map[string][]string{"assigndex-type": {"assignment.upserted"}, "Nats-Msg-Id": {"1"}},
		Data: []byte(`{"usr_id":"u","params":{"pw":"hunter2-SECRET"}}`),
	}
}

// untyped gives a message that lacks nothing but its type.
func untyped(tenant string) events.Message {
	return events.Message{Subject: events.Subject(tenant), Data: []byte(`{"usr_id":"u","ent_id":"e"}`)}
}

// seqsIn gives the sequences of a page of the quarantine, and that of the next.
func seqsIn(t *testing.T, a answer) (seqs []uint64, next *uint64) {
	t.Helper()
	var page struct {
		Next        *uint64 `json:"next"`
		Quarantined []struct {
			Seq uint64 `json:"seq"`
		} `json:"quarantined"`
	}
	if err := json.Unmarshal(a.body, &page); err != nil || a.status != http.StatusOK {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	for _, q := range page.Quarantined {
		seqs = append(seqs, q.Seq)
	}
	return seqs, page.Next
}

func TestQuarantineIsListedByTenant(t *testing.T) {
	f := newContractFixture(t, nil)
	lost := bad("acme")
	lost.Subject = "assignments.a b.c"
	for i := range 6 {
		f.stub.reject([]events.Message{bad("acme"), bad("other"), lost}[i%3])
	}
	f.stub.reject(untyped("acme")) // 7
	list := func(c *client, params string, headers ...string) ([]uint64, *uint64) {
		t.Helper()
		return seqsIn(t, c.do(http.MethodGet, quarantinePath+params, "", headers...))
	}
	for params, want := range map[string][]uint64{
		"": {1, 4, 7}, "?after=1": {4, 7}, "?code=bad_field": {1, 4}, "?code=bad_envelope": {7}, "?code=too_large": nil, "?after=18446744073709551615": nil,
		"?at_least=7": {1, 4, 7},
	} {
		if got, next := list(f.admin, params); !slices.Equal(got, want) || next != nil {
			t.Errorf("%s: %v, next %v; want %v", params, got, next, want)
		}
	}
	if got, _ := list(f.operator, "", headerTenant, "other"); !slices.Equal(got, []uint64{2, 5}) {
		t.Errorf("of another tenant: %v", got)
	}
	if got, _ := list(f.operator, "?unattributed=true", headerTenant, "other"); !slices.Equal(got, []uint64{3, 6}) {
		t.Errorf("of no tenant: %v", got)
	}
	var paged []uint64
	for params := "?limit=1"; ; {
		got, next := list(f.admin, params)
		paged = append(paged, got...)
		if next == nil {
			break
		}
		params = fmt.Sprintf("?limit=1&after=%d", *next)
	}
	if !slices.Equal(paged, []uint64{1, 4, 7}) {
		t.Errorf("in pages: %v", paged)
	}
}

// What is another tenant's is not there, whatever is asked of it.
func TestQuarantineOfOthers(t *testing.T) {
	f := newContractFixture(t, nil)
	lost := bad("acme")
	lost.Subject = "assignments."
	mine, foreign, nobodys := f.stub.reject(bad("acme")), f.stub.reject(bad("other")), f.stub.reject(lost)
	for _, what := range []struct{ method, suffix string }{{"GET", ""}, {"GET", "/message"}, {"POST", "/redrive"}, {"POST", "/drop"}} {
		path := func(seq any, params string) string {
			return fmt.Sprintf("%s/%v%s%s", quarantinePath, seq, what.suffix, params)
		}
		for _, seq := range []any{foreign, nobodys, 99, "0", "01", "x", "-1", "1%2F"} {
			wantProblem(t, f.admin.do(what.method, path(seq, ""), ""), 404, NotFound, "")
		}
		wantProblem(t, f.admin.do(what.method, path(nobodys, "?unattributed=true"), ""), 403, TenantForbidden, "unattributed")
		wantProblem(t, f.operator.do(what.method, path(nobodys, ""), "", headerTenant, "acme"), 404, NotFound, "")
		wantProblem(t, f.operator.do(what.method, path(mine, "?unattributed=true"), "", headerTenant, "acme"), 404, NotFound, "")
		for _, c := range []*client{f.reader, f.writer} {
			wantProblem(t, c.do(what.method, path(mine, ""), ""), 403, RoleForbidden, "")
		}
	}
	if n, err := f.index.QuarantineSize(10); n != 3 || err != nil {
		t.Errorf("%d are left, %v", n, err)
	}
	a := f.operator.do(http.MethodPost, fmt.Sprintf("%s/%d/redrive?unattributed=true", quarantinePath, nobodys), `{"data":{"usr_id":"u","ent_id":"e"},"type":"assignment.upserted"}`,
		headerTenant, "acme")
	if p, _ := f.reader.list(`{}`); a.status != 200 || len(p.Assignments) != 1 {
		t.Errorf("of no tenant: %d %s, %s", a.status, a.body, p.Assignments)
	}
}

func TestRedrive(t *testing.T) {
	binary := bad("acme")
	binary.Header = map[string][]string{"Ce-Specversion": {"1.0"}, "ce-type": {"user.upserted"}, "ce-id": {"7"}, "ce-source": {"s"}}
	untypedBinary := binary
	untypedBinary.Header = maps.Clone(binary.Header)
	untypedBinary.Header["ce-type"] = []string{"assignment.made"}
	whole := func(m events.Message, body string) events.Message { m.Data = []byte(body); return m }
	const good = `{"usr_id":"u","ent_id":"e"}`
	const event = `{"specversion":"1.0","type":"assignment.upserted","id":"1","source":"s","data":` + good + `}`
	for name, c := range map[string]struct {
		message events.Message
		body    string
		code    query.Code // of the problem; empty: redriven
		field   string
	}{
		"as it is":              {bad("acme"), "", NotAnEvent, "ent_id"},
		"corrected data":        {bad("acme"), `{"data":` + good + `}`, "", ""},
		"a corrected event":     {bad("acme"), event, "", ""},
		"only its type":         {untyped("acme"), `{"type":"assignment.upserted"}`, "", ""},
		"no type at all":        {untyped("acme"), `{"data":` + good + `}`, NotAnEvent, events.TypeHeader},
		"wrong again":           {bad("acme"), `{"data":{"usr_id":"u","ent_id":"e","score":7}}`, NotAnEvent, "score"},
		"an unknown type":       {bad("acme"), `{"type":"assignment.made"}`, NotAnEvent, "type"},
		"a broken event":        {bad("acme"), `{"specversion":"2.0"}`, NotAnEvent, "specversion"},
		"a drop":                {bad("acme"), `{"type":"quarantine.dropped","data":{"seq":1}}`, NotAnEvent, "type"},
		"not a correction":      {bad("acme"), `{"usr_id":"u","ent_id":"e"}`, query.UnknownField, "usr_id"},
		"a type that is none":   {bad("acme"), `{"type":7}`, query.InvalidField, "type"},
		"no object":             {bad("acme"), `[]`, query.InvalidJSON, ""},
		"twice":                 {bad("acme"), `{"type":"a","type":"b"}`, query.InvalidJSON, ""},
		"binary mode, typed":    {whole(untypedBinary, good), `{"type":"assignment.upserted"}`, "", ""},
		"the stored one, again": {whole(binary, `{"usr_id":7}`), ``, NotAnEvent, "usr_id"},
	} {
		log := &lockedBuffer{}
		f := newContractFixture(t, func(o *Options) { o.Logger = zerolog.New(log) })
		seq := f.stub.reject(c.message)
		a := f.admin.do(http.MethodPost, fmt.Sprintf("%s/%d/redrive", quarantinePath, seq), c.body)
		left, _ := seqsIn(t, f.admin.do(http.MethodGet, quarantinePath, ""))
		p, _ := f.reader.list(`{}`)
		if strings.Contains(string(a.body)+log.String(), "hunter2") {
			t.Errorf("%s: a secret is told: %s %s", name, a.body, log)
		}
		if c.code != "" {
			wantProblem(t, a, kinds[c.code].status, c.code, c.field)
			if len(left) != 1 || len(p.Assignments) != 0 {
				t.Errorf("%s: it was refused, but something was published", name)
			}
			continue
		}
		if want := `{"seq":1,"sequence":3,"repeated":false}`; string(a.body) != want || a.header.Get(headerSeq) != "3" || a.status != 200 {
			t.Errorf("%s: %d %s, want %s", name, a.status, a.body, want)
		}
		if len(left) != 0 || len(p.Assignments) != 1 {
			t.Errorf("%s: %v are left, %d rows", name, left, len(p.Assignments))
		}
	}
}

// What was quarantined by an older program may be an event by now: it is published
// as it was meant, without the headers of its publisher.
func TestRedriveOfWhatIsAnEventByNow(t *testing.T) {
	const good = `{"usr_id":"u","ent_id":"e"}`
	for name, c := range map[string]struct {
		header map[string][]string
		body   string
		want   Settlement
	}{
		"bare": {map[string][]string{"ASSIGNDEX-TYPE": {"assignment.upserted"}, "Nats-Expected-Last-Sequence": {"1"}}, good,
			Settlement{Type: "assignment.upserted", Data: []byte(good)}},
		"binary": {map[string][]string{"CE-Type": {"assignment.upserted"}, "ce-specversion": {"1.0"}, "ce-id": {"7"}, "ce-source": {"%2Fs"}}, good,
			Settlement{Data: []byte(`{"specversion":"1.0","id":"7","source":"/s","type":"assignment.upserted","data":` + good + `}`)}},
		"structured": {nil, `{"specversion":"1.0","id":"7","source":"/s","type":"assignment.upserted","data":` + good + `}`,
			Settlement{Data: []byte(`{"specversion":"1.0","id":"7","source":"/s","type":"assignment.upserted","data":` + good + `}`)}},
	} {
		f := newContractFixture(t, nil)
		seq := f.stub.reject(bad("acme"))
		f.stub.stored[seq] = events.Message{Subject: "assignments.acme.x", Header: c.header, Data: []byte(c.body)}
		x := &exchange{tenant: "acme", r: f.request(t, question{method: http.MethodPost})}
		if err := f.server.limits.reads.Enter(t.Context()); err != nil { // as its route does
			t.Fatal(err)
		}
		got, err := f.server.eventOf(x, &quarantined{seq, rows.Quarantined{Time: stamp(seq), Tenant: "acme"}}, corrected{})
		if err != nil || got.Type != c.want.Type || string(got.Data) != string(c.want.Data) || got.ID == "" {
			t.Errorf("%s: %s %s, %v", name, got.Type, got.Data, err)
		}
		f.server.limits.reads.Leave()
		if a := f.admin.do(http.MethodPost, fmt.Sprintf("%s/%d/redrive", quarantinePath, seq), ""); a.status != 200 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

// The ids by which the stream knows a repetition tell what was asked, and of which
// message.
func TestSettlementIDs(t *testing.T) {
	ids := map[string]bool{}
	for _, seq := range []uint64{1, 2} {
		for _, at := range []uint64{1, 2} { // a recreated stream gives sequences anew
			q := &quarantined{seq, rows.Quarantined{Time: stamp(at)}}
			for _, body := range []string{"", "a"} {
				ids[idOf(q, "redrive user.upserted", []byte(body))] = true
				ids[idOf(q, "redrive user.deleted", []byte(body))] = true
			}
			ids[dropOf(q, "a").ID] = true
			ids[dropOf(q, "b").ID] = true // a drop is a drop
		}
	}
	if len(ids) != 4*5 {
		t.Errorf("%d ids: %q", len(ids), slices.Sorted(maps.Keys(ids)))
	}
}

// The stream may be gone, or hold another message under the sequence.
func TestMessagesThatAreGone(t *testing.T) {
	f := newContractFixture(t, nil)
	gone, other := f.stub.reject(bad("acme")), f.stub.reject(bad("acme"))
	delete(f.stub.stored, gone)
	if err := f.server.limits.reads.Enter(t.Context()); err != nil { // as its routes do
		t.Fatal(err)
	}
	if _, err := f.server.stored(t.Context(), &quarantined{other, rows.Quarantined{Time: stamp(other + 1)}}); errorCode(err) != MessageGone {
		t.Errorf("another message: %v", err)
	}
	f.server.limits.reads.Leave()
	path := func(seq uint64, suffix string) string { return fmt.Sprintf("%s/%d/%s", quarantinePath, seq, suffix) }
	wantProblem(t, f.admin.do(http.MethodGet, path(gone, "message"), ""), 410, MessageGone, "")
	wantProblem(t, f.admin.do(http.MethodPost, path(gone, "redrive"), ""), 410, MessageGone, "")
	if a := f.admin.do(http.MethodPost, path(gone, "redrive"), `{"data":{"usr_id":"u","ent_id":"e"}}`); a.status != 200 {
		t.Errorf("corrected: %d %s", a.status, a.body)
	}
	a := f.admin.do(http.MethodGet, path(other, "message"), "")
	var m storedMessage
	if err := json.Unmarshal(a.body, &m); err != nil || m.Body == nil || *m.Body != string(bad("acme").Data) || m.Header["Nats-Msg-Id"][0] != "1" {
		t.Errorf("%s, %v", a.body, err)
	}
	f.stub.stored[other] = events.Message{Subject: "s", Data: []byte("\xff")}
	if a := f.admin.do(http.MethodGet, path(other, "message"), ""); !strings.Contains(string(a.body), `"header":{},"body_base64":"/w=="}`) {
		t.Errorf("no UTF-8: %s", a.body)
	}
	f.stub.fails = errors.New("no stream hunter2")
	wantProblem(t, f.admin.do(http.MethodGet, path(other, "message"), ""), 503, StreamUnavailable, "")
	if p := wantProblem(t, f.admin.do(http.MethodPost, path(other, "drop"), ""), 503, StreamUnavailable, ""); strings.Contains(p.Detail, "hunter2") {
		t.Error(p.Detail)
	}
}

func errorCode(err error) query.Code {
	if e, ok := errors.AsType[*query.Error](err); ok {
		return e.Code
	}
	return ""
}

// failing is a quarantine that cannot be read.
type failing struct{ err error }

func (f failing) Quarantine(context.Context, uint64, quarantine.Selector, uint64, int, int, func(uint64, *rows.Quarantined) error) (quarantine.Page, error) {
	return quarantine.Page{}, f.err
}

func (f failing) Quarantined(uint64, quarantine.Selector, uint64) (*rows.Quarantined, error) {
	return nil, f.err
}
