package indexer_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/indexer/verify"
)

// onceReader is a reader of the source's stream that has no connection of its own.
type onceReader struct{ *stream.Reader }

func (onceReader) Close() {}

// verifier gives a verifier of the node's store.
func (n *node) verifier() *verify.Verifier {
	return verify.New(verify.Only(n.store), verify.Options{
		Stream: func(context.Context) (verify.Stream, error) {
			return onceReader{stream.NewReader(n.source.nc, n.source.js, streamName, zerolog.Nop())}, nil
		},
		WorkDir: n.TempDir(), Logger: zerolog.Nop(),
	})
}

// verify verifies the index and gives what was found, by check.
func (n *node) verify(at *uint64, rebuild bool) (*audit.Report, map[string]audit.Check) {
	n.Helper()
	report, err := n.verifier().Verify(n.Context(), at, rebuild, nil)
	if err != nil {
		n.Fatal(err)
	}
	checks := map[string]audit.Check{}
	for _, c := range report.Checks {
		checks[c.Name] = c
	}
	return report, checks
}

func TestVerifyASoundIndex(t *testing.T) {
	seed, rng := random(t)
	s := newSource(t)
	n := s.node()
	n.start(indexer.Options{})
	last := s.publish(randomMessages(seed, 400)...)
	n.wait(last)
	report, checks := n.verify(nil, true)
	if report.Differs() || report.Seq != last || report.Digest != n.digest(last) || len(report.Checks) != 6 || report.Stream == "" {
		t.Fatalf("%+v", report)
	}
	for name, c := range checks {
		if c.Checked == 0 || c.Skipped != "" {
			t.Errorf("%s: %+v", name, c)
		}
	}
	for range 3 {
		at := 1 + rng.Uint64N(last)
		report, checks := n.verify(&at, true)
		if report.Differs() || report.Seq != at || report.Digest != n.digest(at) {
			t.Fatalf("at %d: %+v", at, report)
		}
		if counters := checks[audit.CheckCounters]; (counters.Skipped == "") != (at == last) {
			t.Errorf("at %d: %+v", at, counters)
		}
	}

	// Events flow meanwhile.
	more := randomMessages(seed+1, 600)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for chunk := range slices.Chunk(more, 7) {
			publishBatch(t, s.nc, chunk)
		}
	}()
	for range 5 {
		if report, _ := n.verify(nil, false); report.Differs() {
			t.Fatalf("%+v", report)
		}
	}
	<-done
	n.wait(last + uint64(len(more)))
	n.stop()
	n.close()
	n.open()
	if report, _ := n.verify(nil, true); report.Differs() || report.Seq != last+uint64(len(more)) {
		t.Fatalf("opened again: %+v", report)
	}
}

func TestVerifyFindsWhatIsPlanted(t *testing.T) {
	s := newSource(t)
	n := s.node()
	n.start(indexer.Options{})
	last := s.publish(
		say("entitlement.upserted", `{"ent_id":"e","ent_name":"Edit","app_id":"p","revision":1}`), say("user.upserted", `{"usr_id":"u"}`),
		say("assignment.upserted", `{"usr_id":"u","ent_id":"e","score":0.9}`), say("assignment.upserted", `{"usr_id":"v","ent_id":"e"}`), say("nothing", `{}`),
	)
	n.wait(last)
	n.stop()
	row := keys.Row{Tenant: "t", Assignee: events.Assignee{Kind: events.KindUser, ID: "u"}, EntID: "e", AppID: "p"}
	stray := row
	stray.Assignee.ID = "w"
	whole := row
	whole.AppID = ""
	const name = `tenant "t" USER "u" entitlement "e"`
	for _, c := range []struct {
		key            []byte
		value          string // empty: the key is deleted
		check          string
		subject, about string
	}{
		{row.Make(keys.ByEntitlement), "", audit.CheckFamilies, name, "missing in family 'e'"},
		{row.Make(keys.ByApp), "", audit.CheckFamilies, name, "missing in family 'p'"},
		{row.Make(keys.ByAppAndEnt), "x", audit.CheckFamilies, name, "differently in family 'q'"},
		{stray.Make(keys.ByApp), "x", audit.CheckFamilies, `tenant "t" USER "w" entitlement "e" application "p"`, "without an assignment"},
		{whole.Make(keys.ByAssignee), "", audit.CheckFamilies, name, "without an assignment"},
		{keys.AttributeOf("t", keys.AttrName, "Edit", "e"), "", audit.CheckFamilies, `tenant "t" entitlement "e"`, "not found by its attribute"},
		{keys.AttributeOf("t", keys.AttrName, "Other", "e"), "x", audit.CheckFamilies, `entitlement "e" by attribute 1 "Other"`, "that the entitlement has not"},
		{keys.Entity("t", keys.ClassUser, "u"), "x", audit.CheckRecords, `tenant "t" user "u"`, "cannot be read"},
		{keys.EntityGuard("t", keys.ClassEntitlement, "e"), "x", audit.CheckRecords, `revision of tenant "t" entitlement "e"`, "cannot be read"},
		{keys.AssignmentGuard("t", row.Assignee, "e"), "x", audit.CheckRecords, "revision of " + name, "cannot be read"},
		{keys.Quarantine(5), "x", audit.CheckRecords, "quarantined message 5", "cannot be read"},
		{keys.ChangeOf("t", keys.Change{Seq: 3}), "x", audit.CheckChanges, `tenant "t" change 3.0`, "cannot be read"},
		{keys.ChangeOf("t", keys.Change{Seq: 4, N: 2}), string(keys.Logged{Row: row}.Encode()), audit.CheckChanges, `tenant "t" change 4.2`, "nothing changed then in " + name},
		{keys.ChangeOf("t", keys.Change{Seq: 3, N: 7}), string(keys.Logged{Row: row}.Encode()), audit.CheckChanges, `tenant "t" change 3.7`, "the change before it is missing"},
		{keys.Counter("t", keys.OfEntitlement, "e", events.KindUser), string(rows.Counts{1, 2, 3, 4}.Encode()), audit.CheckCounters,
			`counter of tenant "t" entitlement "e", USER`, "is 10 (high 4, medium 3, low 2, not scored 1), the rows are 2 (high 1"},
		{keys.Counter("t", keys.OfApplication, "z", events.KindAll), "x", audit.CheckCounters, `counter of tenant "t" application "z", ALL`, "is not a counter, the rows are 0"},
		{keys.Counter("t", keys.OfTenant, "", events.KindUser), "", audit.CheckCounters, `counter of tenant "t", USER`, "is not there, the rows are 2"},
	} {
		before, there := n.value(c.key)
		n.plant(c.key, c.value, c.value != "")
		report, checks := n.verify(nil, false)
		found := checks[c.check].Found
		if !report.Differs() || !slices.ContainsFunc(found, func(f audit.Finding) bool {
			return strings.Contains(f.Subject, c.subject) && strings.Contains(f.Problem, c.about)
		}) {
			t.Errorf("%q: want %s: %s; found %+v", c.key, c.subject, c.about, report)
		}
		n.plant(c.key, before, there)
		if report, _ := n.verify(nil, false); report.Differs() {
			t.Fatalf("%q was put right: %+v", c.key, report)
		}
	}
	if report, _ := n.verify(&last, true); report.Differs() {
		t.Errorf("what was planted later is found at %d: %+v", last, report)
	}
}

// value gives what is stored under a key.
func (n *node) value(key []byte) (value string, there bool) {
	n.Helper()
	view, err := n.store.View(n.store.Applied().Seq)
	if err != nil {
		n.Fatal(err)
	}
	defer view.Close()
	got, err := view.Get(key)
	if err != nil {
		n.Fatal(err)
	}
	return string(got), got != nil
}

// plant writes or deletes a key at the sequence after the last, past the fold.
func (n *node) plant(key []byte, value string, there bool) {
	n.Helper()
	at := n.store.Applied()
	at.Seq++
	b := n.store.NewBatch(nil)
	b.At(at.Seq)
	write := func() error { return b.Delete(key) }
	if there {
		write = func() error { return b.Put(key, []byte(value)) }
	}
	if err := errors.Join(write(), b.Commit(at)); err != nil {
		n.Fatal(err)
	}
}

// mutant is a stream whose events are changed on their way to the index: what a fold
// with other rules makes of it.
type mutant struct {
	indexer.Stream
	change func(m *stream.Message)
}

func (m mutant) Read(ctx context.Context, at position.Position, older stream.Ladder, deliver func(*stream.Message) error) error {
	return m.Stream.Read(ctx, at, older, func(msg *stream.Message) error {
		changed := *msg
		m.change(&changed)
		return deliver(&changed)
	})
}

func TestVerifyFindsAChangedFold(t *testing.T) {
	s := newSource(t)
	n := s.node()
	last := s.publish(
		say("entitlement.upserted", `{"ent_id":"e","app_id":"p"}`), say("assignment.upserted", `{"usr_id":"u","ent_id":"e","score":0.5}`),
		say("assignment.upserted", `{"usr_id":"v","ent_id":"e"}`), say("user.upserted", `{"usr_id":"v","revision":3}`), say("assignment.upserted", `{"usr_id":"w","ent_id":"e"}`),
		say("assignment.revoked", `{"usr_id":"w","ent_id":"e"}`),
	)
	x := indexer.New(n.store, mutant{n.reader, func(m *stream.Message) {
		switch m.Seq {
		case 2:
			m.Data = []byte(`{"usr_id":"u","ent_id":"e","score":0.6}`)
		case 3, 4, 6: // these are left out
			m.Data = []byte(`{"usr_id":"nobody","ent_id":"e","if":"present"}`)
		}
	}}, indexer.Options{History: time.Hour, Logger: zerolog.Nop()})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	n.wait(last)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if report, _ := n.verify(nil, false); report.Differs() {
		t.Fatalf("the families agree: %+v", report)
	}
	report, checks := n.verify(nil, true)
	want := []audit.Finding{
		{Subject: `tenant "t" USER "u" entitlement "e"`, Problem: "an index built afresh tells it differently: score or justification"},
		{Subject: `tenant "t" USER "v" entitlement "e"`, Problem: "is missing, an index built afresh has it"},
		{Subject: `tenant "t" USER "w" entitlement "e"`, Problem: "is not in an index built afresh"},
		{Subject: `tenant "t" user "v"`, Problem: "is missing, an index built afresh has it"},
		{Subject: `revision of tenant "t" user "v"`, Problem: "is missing, an index built afresh has it"},
	}
	if got := checks[audit.CheckRebuild]; !slices.Equal(got.Found, want) || got.Differences != len(want) {
		t.Errorf("%+v", report)
	}
	first := uint64(1)
	if report, _ := n.verify(&first, true); report.Differs() {
		t.Errorf("before the first difference: %+v", report)
	}
}

func TestVerifyThatCannotCompare(t *testing.T) {
	s := newSource(t)
	n := s.node()
	cannot := func(what string) {
		t.Helper()
		if report, err := n.verifier().Verify(t.Context(), nil, true, nil); !errors.Is(err, audit.ErrCannotRebuild) || report != nil {
			t.Errorf("%s: %+v, %v", what, report, err)
		}
	}
	cannot("an index without a stream")
	n.start(indexer.Options{})
	last := s.publish(randomMessages(7, 40)...)
	n.wait(last)
	st, err := s.js.Stream(t.Context(), streamName)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.DeleteMsg(t.Context(), 20); err != nil {
		t.Fatal(err)
	}
	if report, _ := n.verify(nil, true); report.Erased != 1 {
		t.Errorf("a message was erased: %+v", report)
	}
	n.stop()
	if err := st.Purge(t.Context(), jetstream.WithPurgeSequence(5)); err != nil {
		t.Fatal(err)
	}
	cannot("a stream that lost its first messages")
	if err := s.js.DeleteStream(t.Context(), streamName); err != nil {
		t.Fatal(err)
	}
	if err := stream.Ensure(t.Context(), s.js, stream.Config{Name: streamName}); err != nil {
		t.Fatal(err)
	}
	s.publish(randomMessages(7, 40)...)
	cannot("another stream")
	if report, _ := n.verify(nil, false); report.Differs() {
		t.Errorf("the index itself is sound: %+v", report)
	}
}

func TestVerifyIsRefusedAndStopped(t *testing.T) {
	s := newSource(t)
	n := s.node()
	n.start(indexer.Options{})
	last := s.publish(randomMessages(8, 60)...)
	n.wait(last)
	v := n.verifier()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	second := errors.New("not asked")
	_, err := v.Verify(ctx, nil, true, func(p audit.Progress) {
		if p.Done > p.Of || p.Check == "" {
			t.Errorf("%+v", p)
		}
		_, second = v.Verify(ctx, nil, false, nil)
		cancel()
	})
	if !errors.Is(err, context.Canceled) || !errors.Is(second, audit.ErrRunning) {
		t.Errorf("stopped: %v; a second one: %v", err, second)
	}
	above := last + 1
	if _, err := v.Verify(t.Context(), &above, false, nil); !errors.Is(err, listing.ErrAhead) {
		t.Errorf("above the last: %v", err)
	}
	n.stop()
	// The floor passes the view while it is read.
	passed := false
	at := last - 1
	_, err = v.Verify(t.Context(), &at, false, func(audit.Progress) {
		if !passed {
			passed = true
			if err := n.store.AdvanceFloor(last); err != nil {
				t.Error(err)
			}
		}
	})
	if !errors.Is(err, listing.ErrPruned) || !strings.Contains(err.Error(), "--history") {
		t.Errorf("the floor passed: %v", err)
	}
	if _, err := v.Verify(t.Context(), &at, false, nil); !errors.Is(err, listing.ErrPruned) {
		t.Errorf("below the floor: %v", err)
	}
	if report, _ := n.verify(nil, true); report.Differs() {
		t.Errorf("at the floor: %+v", report)
	}
}
