package indexer_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
)

func TestPublishedEventsAreListed(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	n := s.node()
	if seq, incarnation := n.index.Applied(); seq != 0 || incarnation != "" {
		t.Errorf("a new index is at %d of %q", seq, incarnation)
	}
	n.start(indexer.Options{})
	last := s.publish(
		say(events.EntitlementUpserted, `{"ent_id":"e","app_id":"p"}`),
		say(events.AssignmentUpserted, `{"usr_id":"u","ent_id":"e","score":0.5}`),
		say(events.AssignmentUpserted, `{"usr_id":"v","ent_id":"e"}`),
		say(events.AssignmentUpserted, `{"usr_id":"v","ent_id":"f"}`),
	)
	n.wait(last)
	seq, incarnation := n.index.Applied()
	if seq != last || incarnation == "" {
		t.Errorf("applied %d of %q, want %d", seq, incarnation, last)
	}
	u := `{"ent_id":"e","usr_id":"u","score":0.5,"justification":[]}`
	v := `{"ent_id":"e","usr_id":"v","score":null,"justification":[]}`
	if got := n.list(last, listing.Selector{Tenant: "t", AppID: "p"}, 1); !slices.Equal(got, []string{u, v}) {
		t.Errorf("listed: %q", got)
	}
	// Where it was before, and not where it will be.
	if got := n.list(2, listing.Selector{Tenant: "t"}, 1); !slices.Equal(got, []string{u}) {
		t.Errorf("listed at 2: %q", got)
	}
	if _, err := n.index.List(t.Context(), last+1, listing.Selector{Tenant: "t", Kinds: events.Kinds}, nil, 1, nil); !errors.Is(err, listing.ErrAhead) {
		t.Errorf("listed above what is applied: %v", err)
	}
	last = s.publish(say(events.UserDeleted, `{"usr_id":"v"}`))
	n.wait(last)
	if got := n.list(last, listing.Selector{Tenant: "t"}, 10); !slices.Equal(got, []string{u}) {
		t.Errorf("listed after a deletion: %q", got)
	}
}

const secret = "hunter2-SECRET"

// notEvents are messages that must be quarantined. Most of them have a secret in
// their params.
var notEvents = []struct {
	message events.Message
	code    events.Code
	field   string
}{
	{say(events.AssignmentUpserted, `{"usr_id":"u","ent_id":"e","params":{"pw":"`+secret+`"},"score":7}`), events.BadField, "score"},
	{say(events.AssignmentUpserted, `{"usr_id":"u","ent_id":"e","params":{"pw":"`+secret+`"`), events.BadJSON, "params"},
	{say(events.AssignmentUpserted, `{"usr_id":"u","ent_id":"e","params":{"pw":`+secret+`}}`), events.BadJSON, "params/pw"},
	{say(events.AssignmentUpserted, `{"usr_id":"u","ent_id":"e","params":{"pw":"1","pw":"`+secret+`"}}`), events.BadJSON, "params/pw"},
	{say(events.AssignmentUpserted, `{"usr_id":"u","ent_id":"e","params":"`+secret+`"}`), events.BadField, "params"},
	{say(events.AssignmentUpserted, `{"usr_id":"u","ent_id":"e","params":["`+secret+`"]}`), events.BadField, "params"},
	{say(events.AssignmentUpserted, `{"usr_id":"u","ent_id":"e","params":{"pw":{"`+secret+`":1,"`+secret+`":2}}}`), events.BadJSON, "params/pw"},
	{say(events.AssignmentUpserted, `{"params":{"pw":"`+secret+`"},"usr_id":"u"}`), events.BadField, "ent_id"},
	{say(events.AssignmentUpserted, "{\"usr_id\":\"u\",\"ent_id\":\"e\",\"params\":{\"pw\":\""+secret+"\xff\"}}"), events.BadJSON, "params/pw"},
	{say("assignment.made", `{"usr_id":"u","ent_id":"e","params":{"pw":"`+secret+`"}}`), events.UnknownType, "type"},
	{say("", `{"usr_id":"u","ent_id":"e","params":{"pw":"`+secret+`"}}`), events.BadEnvelope, events.TypeHeader},
	{say(events.AssignmentUpserted, `{"usr_id":"u","ent_id":"e","params":{"pw":"`+secret+strings.Repeat("x", events.MaxEventBytes)+`"}}`), events.TooLarge, "body"},
	{say(events.UserUpserted, ""), events.BadJSON, ""},
	{events.Message{Subject: "assignments.t"}, events.BadSubject, "subject"},
	{events.Message{Subject: "assignments.\xff.x", Data: []byte(secret)}, events.BadSubject, "subject"},
	{events.Message{Subject: "assignments.t.x", Header: map[string][]string{"Status": {"409"}, "Description": {"Consumer Deleted"}}}, events.BadEnvelope, events.TypeHeader},
}

func TestQuarantine(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	n := s.node()
	n.start(indexer.Options{})
	codes := make(map[string]int)
	for i, m := range notEvents {
		s.publish(m.message, say(events.AssignmentUpserted, `{"usr_id":"u%d","ent_id":"e","params":{"pw":%q}}`, i, secret))
		codes[string(m.code)]++
	}
	last := uint64(2 * len(notEvents))
	n.wait(last)

	// None stopped the line.
	if got := n.list(last, listing.Selector{Tenant: "t"}, 100); len(got) != len(notEvents) {
		t.Errorf("%d assignments are listed, want %d", len(got), len(notEvents))
	}
	// Each is kept with its sequence and reason, and counted.
	kept := n.quarantine(last)
	if len(kept) != len(notEvents) {
		t.Errorf("%d messages are in quarantine, want %d", len(kept), len(notEvents))
	}
	for i, m := range notEvents {
		q := kept[uint64(2*i+1)]
		if q.Code != m.code || q.Field != m.field || q.Reason == "" || q.Remedy == "" || q.Bytes != len(m.message.Data) || q.Time.IsZero() {
			t.Errorf("message %d is kept as %+v, want %s %s", i, q, m.code, m.field)
		}
	}
	if got := n.counts("assigndex_events_quarantined_total"); !maps.Equal(got, codes) {
		t.Errorf("counted %v, want %v", got, codes)
	}
	// It is there as of each sequence, and survives a restart.
	if got := n.quarantined(4); !slices.Equal(got, []uint64{1, 3}) {
		t.Errorf("as of 4 there are %v", got)
	}
	log := n.log.String()
	if got := strings.Count(log, "quarantined"); got != len(notEvents) {
		t.Errorf("%d log lines, want %d", got, len(notEvents))
	}
	n.close()
	if strings.Contains(log, secret) {
		t.Errorf("the log holds a secret:\n%s", log)
	}
	holdsNo(t, n.dir, secret)
	n.open()
	if again := n.quarantine(last); !maps.EqualFunc(again, kept, func(a, b rows.Quarantined) bool { return a == b }) {
		t.Errorf("after a restart: %+v, want %+v", again, kept)
	}
	n.start(indexer.Options{})
	n.wait(s.publish(say(events.GroupDeleted, "[]")))
	if got := n.quarantined(last + 1); len(got) != len(notEvents)+1 {
		t.Errorf("after a restart and another one: %v", got)
	}
	// A drop takes it out, and leaves it as it was at the sequences before.
	n.wait(s.publish(say(events.QuarantineDropped, `{"seq":3,"note":%q}`, secret), say(events.QuarantineDropped, `{"seq":3}`)))
	if got := n.quarantined(last + 3); len(got) != len(notEvents) || slices.Contains(got, 3) || !slices.Contains(n.quarantined(last+1), 3) {
		t.Errorf("after a drop: %v", got)
	}
	if got := n.counts("assigndex_events_applied_total"); got["changed,quarantine.dropped"] != 1 || got["unchanged,quarantine.dropped"] != 1 {
		t.Errorf("counted %v", got)
	}
	if log := n.log.String(); strings.Count(log, "dropped from the quarantine") != 1 || strings.Contains(log, secret) {
		t.Errorf("the log of a drop: %s", log)
	}
	if size, err := n.index.QuarantineSize(1000); size != len(notEvents) || err != nil {
		t.Errorf("%d are in the quarantine, %v", size, err)
	}
}

// holdsNo checks that no file holds a text. Tables are compressed, logs of writes
// are not.
func holdsNo(t *testing.T, dir, text string) {
	t.Helper()
	looked := 0
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		looked++
		if bytes.Contains(content, []byte(text)) {
			t.Errorf("%s holds %q", path, text)
		}
		return err
	}); err != nil || looked == 0 {
		t.Fatalf("looked at %d files: %v", looked, err)
	}
}

func TestOutcomesAreCounted(t *testing.T) {
	t.Parallel()
	seed, _ := random(t)
	s := newSource(t)
	n := s.node()
	n.start(indexer.Options{})
	messages := randomMessages(seed, 300)
	last := s.publish(messages...)
	n.wait(last)
	model := modeltest.New()
	want := make(map[string]int)
	for i, m := range messages {
		want[string(model.Apply(modeltest.Moment{Seq: uint64(i + 1)}, m))]++
	}
	got := make(map[string]int)
	for labels, count := range n.counts("assigndex_events_applied_total") {
		outcome, _, _ := strings.Cut(labels, ",")
		got[outcome] += count
	}
	for _, count := range n.counts("assigndex_events_quarantined_total") {
		got["quarantined"] += count
	}
	if !maps.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}

// A cascade that is larger than what a batch remembers, with events right before
// and after it that say something about its rows.
func TestCascadeBeyondTheMemoryOfABatch(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	const users = 10_500 // five writes each when they move
	var messages []events.Message
	messages = append(messages, say(events.EntitlementUpserted, `{"ent_id":"e","app_id":"p"}`))
	for u := range users {
		messages = append(messages, say(events.AssignmentUpserted, `{"usr_id":"u%05d","ent_id":"e"}`, u))
	}
	messages = append(messages,
		say(events.AssignmentUpserted, `{"usr_id":"u00000","ent_id":"e","score":1}`),
		say(events.EntitlementUpserted, `{"ent_id":"e","app_id":"q"}`),
		say(events.AssignmentRevoked, `{"usr_id":"u00001","ent_id":"e"}`),
		say(events.AssignmentUpserted, `{"usr_id":"u00002","ent_id":"e","app_id":"p"}`),
		say(events.EntitlementUpserted, `{"ent_id":"e","app_id":"r"}`),
	)
	moved := s.publish(messages...)
	deleted := s.publish(
		say(events.EntitlementDeleted, `{"ent_id":"e"}`),
		say(events.AssignmentUpserted, `{"usr_id":"u00003","ent_id":"e"}`),
		say(events.ApplicationDeleted, `{"app_id":"p"}`),
	)
	n := s.node()
	n.start(indexer.Options{})
	n.wait(deleted)
	for app, want := range map[string]int{"p": 1, "q": 0, "r": users - 2} {
		if got := n.list(moved, listing.Selector{Tenant: "t", AppID: app}, 5000); len(got) != want {
			t.Errorf("application %s lists %d, want %d", app, len(got), want)
		}
	}
	if got := n.list(moved-1, listing.Selector{Tenant: "t", AppID: "q"}, 5000); len(got) != users-2 {
		t.Errorf("before the second move %d are listed, want %d", len(got), users-2)
	}
	if got := n.list(deleted, listing.Selector{Tenant: "t"}, 5000); len(got) != 1 {
		t.Errorf("after the deletion %d are listed, want 1", len(got))
	}
	one := s.node()
	one.start(indexer.Options{BatchEvents: 100})
	one.wait(deleted)
	for _, seq := range []uint64{moved - 4, moved - 3, moved - 2, moved - 1, moved, deleted - 2, deleted - 1, deleted} {
		if n.digest(seq) != one.digest(seq) {
			t.Errorf("at %d the digest depends on the batches", seq)
		}
	}
}

// A fault of our own storage stops Run; no event is skipped.
func TestStoreFaultStopsRun(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	s.publish(say(events.GroupUpserted, `{"grp_id":"g"}`))

	t.Run("corrupt row", func(t *testing.T) {
		n := s.node()
		n.start(indexer.Options{})
		n.wait(1)
		n.stop()
		batch := n.store.NewBatch(nil)
		batch.At(1)
		bad := keys.Row{Tenant: "t", Assignee: events.Assignee{Kind: events.KindUser, ID: "u"}, EntID: "e"}
		if err := batch.Put(bad.Make(keys.ByAssignee), []byte("not a row")); err != nil {
			t.Fatal(err)
		}
		if err := batch.Commit(n.store.Applied()); err != nil {
			t.Fatal(err)
		}
		last := s.publish(
			say(events.GroupUpserted, `{"grp_id":"h"}`),
			say(events.AssignmentRevoked, `{"usr_id":"u","ent_id":"e"}`),
			say(events.GroupUpserted, `{"grp_id":"i"}`),
		)
		for range 2 {
			n.start(indexer.Options{})
			if err := n.fails(); !errors.Is(err, rows.ErrCorrupt) || !strings.Contains(err.Error(), fmt.Sprint("sequence ", last-1)) {
				t.Errorf("Run gave %v", err)
			}
			if at := n.store.Applied().Seq; at >= last-1 {
				t.Errorf("the watermark is %d, the event at %d was skipped", at, last-1)
			}
		}
	})
	t.Run("closed store", func(t *testing.T) {
		n := s.node()
		n.start(indexer.Options{})
		n.wait(1)
		st := n.store
		n.store = nil
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		last := s.publish(say(events.GroupUpserted, `{"grp_id":"j"}`))
		err := n.fails()
		t.Log(err)
		if at := st.Applied().Seq; at >= last {
			t.Errorf("the watermark is %d, but nothing can have been written", at)
		}
	})
}

func TestForeignStreamIsNotRead(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	s.publish(say(events.GroupUpserted, `{"grp_id":"g"}`))
	n := s.node()
	n.start(indexer.Options{})
	n.wait(1)
	n.close()

	other := newSource(t)
	other.publish(say(events.GroupUpserted, `{"grp_id":"g"}`), say(events.GroupUpserted, `{"grp_id":"h"}`))
	n.source = other
	n.open()
	n.start(indexer.Options{})
	for deadline := time.Now().Add(bounded); n.reader.Head().Parted == nil; {
		if time.Now().After(deadline) {
			t.Fatal("the foreign stream is not noticed")
		}
	}
	if at := n.store.Applied().Seq; at != 1 {
		t.Errorf("the watermark is %d", at)
	}
	n.close()

	n.source = s
	n.open()
	n.start(indexer.Options{})
	n.wait(s.publish(say(events.GroupUpserted, `{"grp_id":"h"}`)))
}

// A new index of a stream that lost its beginning is made on request only.
func TestTrimmedStream(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	last := s.publish(
		say(events.EntitlementUpserted, `{"ent_id":"e","app_id":"p"}`),
		say(events.AssignmentUpserted, `{"usr_id":"u","ent_id":"e"}`),
	)
	st, err := s.js.Stream(t.Context(), streamName)
	if err == nil {
		err = st.DeleteMsg(t.Context(), 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	n := s.node()
	n.start(indexer.Options{})
	if err := n.fails(); !errors.Is(err, stream.ErrTrimmed) {
		t.Errorf("Run gave %v", err)
	}
	n.start(indexer.Options{AcceptTrimmed: true})
	n.wait(last)
	if got := n.list(last, listing.Selector{Tenant: "t", AppID: "p"}, 10); len(got) != 0 {
		t.Errorf("listed under an application that nothing tells of: %q", got)
	}
	if got := n.list(last, listing.Selector{Tenant: "t"}, 10); len(got) != 1 {
		t.Errorf("listed %q", got)
	}
	n.stop()
	n.start(indexer.Options{}) // it is no new index any more
	n.wait(s.publish(say(events.AssignmentRevoked, `{"usr_id":"u","ent_id":"e"}`)))
}

// Erased messages do nothing and do not hold up the watermark.
func TestErasedMessages(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	var messages []events.Message
	for i := range 10 {
		messages = append(messages, say(events.AssignmentUpserted, `{"usr_id":"u%d","ent_id":"e"}`, i))
	}
	last := s.publish(messages...)
	st, err := s.js.Stream(t.Context(), streamName)
	if err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{3, 4, 8, 9, 10} {
		if err := st.DeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	n := s.node()
	n.start(indexer.Options{})
	n.wait(last)
	if got := n.list(last, listing.Selector{Tenant: "t"}, 3); len(got) != 5 {
		t.Errorf("listed %q", got)
	}
	if got := n.counts("assigndex_events_erased_total"); got[""] != 5 {
		t.Errorf("counted %v", got)
	}
	if lag := n.index.Lag(time.Now()); lag.Sequences != 0 || lag.Age != 0 {
		t.Errorf("the lag is %+v", lag)
	}
	if at := n.store.Applied(); len(at.Fingerprint) != 0 {
		t.Errorf("the watermark is %+v, a fingerprint of nothing", at)
	}
	n.close()
	n.open()
	n.start(indexer.Options{})
	n.wait(s.publish(messages[0]))
}

func TestLag(t *testing.T) {
	t.Parallel()
	st, err := store.Open(store.Options{Dir: t.TempDir(), Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	var end knownEnd
	x := indexer.NewIndex(st, &end)
	start := time.Unix(1_700_000_000, 0)
	grow := func(seq uint64, after time.Duration) {
		end.head = stream.Head{Seq: seq, Seen: start.Add(after), Moved: start.Add(after), Prev: end.head.Seq}
	}
	commit := func(seq uint64, at time.Time) {
		t.Helper()
		w := st.Applied()
		w.Seq, w.Nano = seq, at.UnixNano()
		if err := st.NewBatch(nil).Commit(w); err != nil {
			t.Fatal(err)
		}
	}
	check := func(step string, after time.Duration, want indexer.Lag) {
		t.Helper()
		if got := x.Lag(start.Add(after)); got != want {
			t.Errorf("%s: %+v, want %+v", step, got, want)
		}
	}
	check("nothing known", 0, indexer.Lag{})
	end.head.Seen = start
	check("an empty stream", time.Second, indexer.Lag{Known: true})
	grow(5, time.Second)
	check("new messages", 3*time.Second, indexer.Lag{Head: 5, Known: true, Sequences: 5, Age: 2 * time.Second})
	commit(3, start.Add(-time.Hour))
	check("old messages applied", 4*time.Second, indexer.Lag{Applied: 3, Head: 5, Known: true, Sequences: 2, Age: 3 * time.Second})
	commit(4, start.Add(4*time.Second))
	check("a new message applied", 6*time.Second, indexer.Lag{Applied: 4, Head: 5, Known: true, Sequences: 1, Age: 2 * time.Second})
	commit(5, start.Add(5*time.Second))
	check("caught up", 7*time.Second, indexer.Lag{Applied: 5, Head: 5, Known: true})
	commit(9, start.Add(5*time.Second))
	check("applied before it was seen", 8*time.Second, indexer.Lag{Applied: 9, Head: 5, Known: true})
	grow(9, 8*time.Second)
	grow(10, 9*time.Second)
	check("behind again", 10*time.Second, indexer.Lag{Applied: 9, Head: 10, Known: true, Sequences: 1, Age: time.Second})
	check("the clock went back", -time.Hour, indexer.Lag{Applied: 9, Head: 10, Known: true, Sequences: 1})
	commit(10, start.Add(9*time.Second))
	grow(11, time.Hour)
	check("a first message after a quiet hour", time.Hour+time.Second, indexer.Lag{Applied: 10, Head: 11, Known: true, Sequences: 1, Age: time.Second})
	commit(11, start.Add(time.Hour))
	check("nothing heard", time.Hour+time.Minute, indexer.Lag{Applied: 11, Head: 11, Known: true, Age: time.Minute, Silent: time.Minute})
	if troubles := x.Troubles(start.Add(time.Hour + time.Minute)); len(troubles) != 1 {
		t.Errorf("nothing heard: the troubles are %q", troubles)
	}
	if troubles := x.Troubles(start.Add(time.Hour + time.Second)); len(troubles) != 0 {
		t.Errorf("all is well: the troubles are %q", troubles)
	}
}

func TestLagOfARun(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	last := s.publish(say(events.GroupUpserted, `{"grp_id":"g"}`), say(events.GroupUpserted, `{"grp_id":"h"}`))
	n := s.node()
	if lag := n.index.Lag(time.Now()); lag.Known || lag.Sequences != 0 {
		t.Errorf("before the run: %+v", lag)
	}
	n.start(indexer.Options{})
	n.wait(last)
	if lag := n.index.Lag(time.Now()); lag != (indexer.Lag{Applied: last, Head: last, Known: true}) {
		t.Errorf("caught up: %+v", lag)
	}
}

// With a tiny window the floor follows the watermark, and reads below it are
// refused although nothing may have been dropped yet.
func TestFloorFollowsTheHistory(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	n := s.node()
	n.start(indexer.Options{History: time.Nanosecond})
	var last uint64
	for deadline := time.Now().Add(bounded); n.index.Floor() == 0; {
		if time.Now().After(deadline) {
			t.Fatalf("the floor stays at 0, applied are %d", last)
		}
		last = s.publish(say(events.AssignmentUpserted, `{"usr_id":"u%d","ent_id":"e"}`, last%50))
		n.wait(last)
	}
	n.stop()
	before := n.digest(last)
	if err := n.indexer.AdvanceFloor(time.Now()); err != nil {
		t.Fatal(err)
	}
	floor := n.index.Floor()
	if floor < 2 || floor > last {
		t.Fatalf("the floor is %d, applied are %d", floor, last)
	}
	list := func(seq uint64) error {
		_, err := n.index.List(t.Context(), seq, listing.Selector{Tenant: "t", Kinds: events.Kinds}, nil, 10, func(rows.Face) {})
		return err
	}
	if err := list(floor - 1); !errors.Is(err, listing.ErrPruned) {
		t.Errorf("below the floor: %v", err)
	}
	if _, _, err := n.index.Digest(floor - 1); !errors.Is(err, listing.ErrPruned) {
		t.Errorf("digest below the floor: %v", err)
	}
	if err := errors.Join(list(floor), list(last)); err != nil {
		t.Errorf("at the floor and above: %v", err)
	}
	if n.digest(last) != before {
		t.Error("the digest changed with the floor")
	}
	n.close()
	n.open()
	if got := n.index.Floor(); got != floor {
		t.Errorf("after a restart the floor is %d, want %d", got, floor)
	}
	if n.digest(last) != before {
		t.Error("the digest changed with a restart")
	}
}

// With an hour of history nothing is given up.
func TestFloorStaysInsideTheHistory(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	n := s.node()
	n.start(indexer.Options{History: time.Hour})
	last := s.publish(say(events.GroupUpserted, `{"grp_id":"g"}`), say(events.GroupUpserted, `{"grp_id":"h"}`))
	n.wait(last)
	n.stop()
	now := time.Now()
	for _, c := range []struct {
		later time.Duration
		moves bool
	}{{0, false}, {59 * time.Minute, false}, {61 * time.Minute, true}} {
		if err := n.indexer.AdvanceFloor(now.Add(c.later)); err != nil {
			t.Fatal(err)
		}
		if floor := n.index.Floor(); (floor > 0) != c.moves {
			t.Errorf("%s later the floor is %d", c.later, floor)
		}
	}
}
