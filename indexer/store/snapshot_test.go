package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/indexer/snapshot"
	"github.com/assigndex/assigndex/indexer/store"
)

// turning is a context that is asked between the turns of an export, when the test does
// something else to the index.
type turning struct {
	context.Context
	turn func()
}

func (c *turning) Err() error {
	c.turn()
	return c.Context.Err()
}

// snapshotRun applies a stream to an index and takes snapshots meanwhile.
type snapshotRun struct {
	*testing.T
	rng    *rand.Rand
	v      *verifier
	x      *index
	stream []message
	next   int
	model  *modeltest.Model
	then   []*modeltest.Model

	turns, shots int
}

// TestSnapshotModel takes snapshots while batches are committed, the floor is asked to
// move, the change log is pruned and room is given back, restores from each, and
// compares the restored index at every sequence with the source and with the model.
// Then the restored one applies the rest of the stream, and stays equal.
func TestSnapshotModel(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 7))
		gen := modeltest.NewGenerator(seed)
		r := &snapshotRun{
			T: t, rng: rng, v: &verifier{rng, gen}, x: openIndex(t, t.TempDir()), stream: makeStream(gen, rng, 240),
			model: modeltest.New(), then: []*modeltest.Model{modeltest.New()},
		}
		defer store.LowerExportKeys(1 + rng.IntN(200))()
		r.snapshot() // of nothing
		for r.next < len(r.stream) {
			for range rng.IntN(4) {
				r.step()
			}
			r.snapshot()
		}
		r.snapshot()
		if r.turns == 0 {
			t.Error("nothing happened during a snapshot")
		}
		t.Logf("%d snapshots, %d steps meanwhile", r.shots, r.turns)
	})
}

// step does one thing that an index at work does.
func (r *snapshotRun) step() {
	r.Helper()
	if r.next < len(r.stream) {
		batch := r.x.NewBatch(nil)
		for size := 1 + r.rng.IntN(12); size > 0 && r.next < len(r.stream) && !batch.Full(); size-- {
			m := r.stream[r.next]
			batch.At(m.at.Seq)
			batch.Saw(m.at.Nano)
			r.model.Apply(m.at, m.Message)
			apply(r.T, batch, m)
			r.then = append(r.then, r.model.Clone())
			r.next++
		}
		if err := batch.Commit(watermark(r.stream[r.next-1])); err != nil {
			r.Fatal(err)
		}
	}
	var err error
	switch r.rng.IntN(6) {
	case 0, 1:
		floor, applied := r.x.Floor(), r.x.Applied().Seq
		err = r.x.AdvanceFloor(floor + r.rng.Uint64N(applied-floor+1))
	case 2:
		_, err = r.x.PruneChanges(r.Context())
	case 3:
		if r.rng.IntN(4) == 0 {
			err = r.x.Reclaim(r.Context())
		}
	}
	if err != nil {
		r.Fatal(err)
	}
}

func (r *snapshotRun) snapshot() {
	r.Helper()
	r.shots++
	ctx := &turning{r.Context(), func() {
		if r.rng.IntN(3) == 0 {
			r.turns++
			r.step()
		}
	}}
	before := r.x.Applied()
	var file bytes.Buffer
	taken, err := snapshot.Write(ctx, &file, r.x.Store, snapshot.WriteOptions{})
	if err != nil {
		r.Fatal(err)
	}
	if taken.At.Seq != before.Seq || taken.Bytes != int64(file.Len()) {
		r.Fatalf("taken at %d of %d bytes, the index was at %d, the file has %d", taken.At.Seq, taken.Bytes, before.Seq, file.Len())
	}
	if floor := r.x.Floor(); floor > taken.Floor {
		r.Fatalf("the floor went from %d to %d meanwhile", taken.Floor, floor)
	}
	checked, err := snapshot.Check(r.Context(), bytes.NewReader(file.Bytes()))
	if err != nil || fmt.Sprintf("%+v", checked) != fmt.Sprintf("%+v", taken) {
		r.Fatalf("checked: %v, %+v\nwant %+v", err, checked, taken)
	}
	dir := filepath.Join(r.TempDir(), "index")
	if _, err := snapshot.Restore(r.Context(), &file, dir, snapshot.RestoreOptions{}); err != nil {
		r.Fatal(err)
	}
	restored := openIndex(r.T, dir)
	defer restored.close()
	if at := restored.Applied(); fmt.Sprintf("%+v", at) != fmt.Sprintf("%+v", before) || restored.Floor() != taken.Floor {
		r.Fatalf("restored at %+v, floor %d; want %+v, %d", at, restored.Floor(), before, taken.Floor)
	}
	r.equal(restored, taken)
	r.instants(restored)
	r.catchUp(restored)
}

// equal compares at every sequence that can be read in both.
func (r *snapshotRun) equal(restored *index, taken snapshot.Summary) {
	r.Helper()
	for seq := taken.Floor; seq <= taken.At.Seq; seq++ {
		digest, assignments := digestAt(r.T, restored, seq)
		want, wantAssignments := digestAt(r.T, r.x, seq)
		if digest != want || assignments != wantAssignments {
			r.Fatalf("sequence %d of %d to %d: digest %s of %d, want %s of %d", seq, taken.Floor, taken.At.Seq, digest, assignments, want, wantAssignments)
		}
		rung, ok, err := restored.RungAt(seq)
		wantRung, wantOK, wantErr := r.x.RungAt(seq)
		if err != nil || wantErr != nil || ok != wantOK || !reflect.DeepEqual(rung, wantRung) {
			r.Fatalf("sequence %d of %d to %d: rung %+v, %v, %v; want %+v, %v, %v",
				seq, taken.Floor, taken.At.Seq, rung, ok, err, wantRung, wantOK, wantErr)
		}
		if seq == taken.At.Seq && taken.Assignments != uint64(assignments) {
			r.Fatalf("the summary tells of %d assignments, there are %d", taken.Assignments, assignments)
		}
		if seq == taken.Floor || seq == taken.At.Seq || r.rng.IntN(12) == 0 {
			view, err := restored.View(seq)
			if err != nil {
				r.Fatal(err)
			}
			r.v.all(r.T, view, r.then[seq], 1+r.rng.IntN(9))
			r.v.details(r.T, view, r.then, taken.At.Seq)
			r.v.scores(r.T, view, r.then[seq])
			view.Close()
		}
	}
	if _, err := restored.View(taken.Floor - 1); taken.Floor > 0 && !errors.Is(err, store.ErrPruned) {
		r.Fatalf("below the floor: %v", err)
	}
	if err := restored.CheckCounters(); err != nil {
		r.Fatal(err)
	}
	r.v.counters(r.T, restored.Store, r.then[taken.At.Seq])
	r.v.changes(r.T, restored.Store, r.then[:taken.At.Seq+1])
	view, err := restored.View(taken.At.Seq)
	if err != nil {
		r.Fatal(err)
	}
	defer view.Close()
	for name, check := range map[string]func() (audit.Check, error){
		"records": func() (audit.Check, error) { return audit.Records(view, 3) },
		"changes": func() (audit.Check, error) { return audit.Changes(view, 3) },
	} {
		if found, err := check(); err != nil || found.Differences > 0 {
			r.Fatalf("%s: %v, %+v", name, err, found)
		}
	}
}

// digestAt gives the digest at a sequence, where all families must agree.
func digestAt(t *testing.T, x *index, seq uint64) (digest string, assignments int) {
	t.Helper()
	view, err := x.View(seq)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	check, err := audit.Families(view, 3)
	if err != nil || check.Differences > 0 {
		t.Fatalf("sequence %d: %v, %+v", seq, err, check)
	}
	if digest, assignments, err = audit.Digest(view); err != nil {
		t.Fatal(err)
	}
	return digest, assignments
}

// instants compares the sequences of instants.
func (r *snapshotRun) instants(restored *index) {
	r.Helper()
	last := restored.Applied().Seq
	for _, m := range r.stream[:last] {
		for _, nano := range []int64{m.at.Nano - 1, m.at.Nano} {
			want, latest, wantErr := r.x.SequenceAt(nano)
			if wantErr == nil && want >= last {
				want, latest = last, true
			}
			got, gotLatest, err := restored.SequenceAt(nano)
			if got != want || gotLatest != latest || errors.Is(err, store.ErrPruned) != errors.Is(wantErr, store.ErrPruned) {
				r.Fatalf("instant %d: %d, %v, %v; want %d, %v, %v", nano, got, gotLatest, err, want, latest, wantErr)
			}
		}
	}
}

// catchUp applies what the source has applied since.
func (r *snapshotRun) catchUp(restored *index) {
	r.Helper()
	if r.rng.IntN(2) == 0 {
		restored.reopen()
	}
	for seq := restored.Applied().Seq; seq < r.x.Applied().Seq; seq++ {
		restored.commitOne(r.stream[seq])
	}
	last := r.x.Applied().Seq
	digest, _ := digestAt(r.T, restored, last)
	if want, _ := digestAt(r.T, r.x, last); digest != want {
		r.Fatalf("caught up to %d: digest %s, want %s", last, digest, want)
	}
	if err := restored.CheckCounters(); err != nil {
		r.Fatal(err)
	}
	r.v.changes(r.T, restored.Store, r.then[:last+1])
}

// An undo during a snapshot is an error: what was written before it and after it is
// not one sequence.
func TestSnapshotOfAnIndexThatIsUndone(t *testing.T) {
	x := filled(t, 3, 60)
	defer store.LowerExportKeys(10)()
	turns := 0
	ctx := &turning{t.Context(), func() {
		if turns++; turns == 2 {
			to := watermark(message{at: modeltest.Moment{Seq: 40, Nano: x.Applied().Nano}})
			to.Stream.Incarnation = "another"
			if err := x.UndoTo(to); err != nil {
				t.Error(err)
			}
		}
	}}
	if _, err := snapshot.Write(ctx, new(bytes.Buffer), x.Store, snapshot.WriteOptions{}); !errors.Is(err, store.ErrReplaced) {
		t.Fatalf("the snapshot gave %v after %d turns", err, turns)
	}
	// It let go of the floor.
	if err := x.AdvanceFloor(40); err != nil || x.Floor() != 40 {
		t.Fatalf("the floor is %d, %v", x.Floor(), err)
	}
	x.restoredIsEqual(t)
}

// restoredIsEqual takes a snapshot and restores from it.
func (x *index) restoredIsEqual(t *testing.T) {
	t.Helper()
	var file bytes.Buffer
	taken, err := snapshot.Write(t.Context(), &file, x.Store, snapshot.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := snapshot.Restore(t.Context(), &file, dir, snapshot.RestoreOptions{Logger: zerolog.Nop()}); err != nil {
		t.Fatal(err)
	}
	restored := openIndex(t, dir)
	for seq := taken.Floor; seq <= taken.At.Seq; seq++ {
		digest, _ := digestAt(t, restored, seq)
		if want, _ := digestAt(t, x, seq); digest != want {
			t.Fatalf("sequence %d: digest %s, want %s", seq, digest, want)
		}
	}
}
