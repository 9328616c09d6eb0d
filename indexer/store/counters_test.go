package store_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/fold"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
)

// applyRecords applies records as one batch after the watermark.
func applyRecords(t *testing.T, st *store.Store, records ...string) {
	t.Helper()
	mark := st.Applied()
	batch := st.NewBatch(nil)
	commit := func() {
		if err := batch.Commit(mark); err != nil {
			t.Fatal(err)
		}
	}
	for _, record := range records {
		typ, data, _ := strings.Cut(record, " ")
		ev, err := events.DecodeData("t", events.Type(typ), []byte(data))
		if err != nil {
			t.Fatal(err)
		}
		if batch.Full() {
			commit()
			batch = st.NewBatch(nil)
		}
		mark.Seq++
		batch.At(mark.Seq)
		if _, err := fold.Apply(&ev, rows.Moment{Seq: mark.Seq, Nano: int64(mark.Seq)}, batch, batch); err != nil {
			t.Fatal(err)
		}
	}
	commit()
}

func wantCounts(t *testing.T, st *store.Store, scope keys.Scope, id string, want rows.Counts) {
	t.Helper()
	got, mark, err := st.Counts("t", scope, id, events.Kinds)
	if err != nil {
		t.Fatal(err)
	}
	if got != want || mark.Seq != st.Applied().Seq {
		t.Errorf("scope %d %q: %v at %d, want %v at %d", scope, id, got, mark.Seq, want, st.Applied().Seq)
	}
	if err := st.CheckCounters(); err != nil {
		t.Error(err)
	}
}

func TestOtherThresholdsCountAnew(t *testing.T) {
	dir := t.TempDir()
	open := func(th *rows.Thresholds) *store.Store {
		st, err := store.Open(store.Options{Dir: dir, Logger: zerolog.Nop(), Thresholds: th})
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	st := open(nil)
	applyRecords(t, st,
		`assignment.upserted {"usr_id":"u","ent_id":"e","app_id":"a","score":0.75}`,
		`assignment.upserted {"usr_id":"v","ent_id":"e","score":0.35}`,
		`assignment.upserted {"usr_id":"w","ent_id":"e","score":0.34}`,
		`assignment.upserted {"grp_id":"g","type":"GROUP","ent_id":"e"}`)
	wantCounts(t, st, keys.OfEntitlement, "e", rows.Counts{rows.High: 1, rows.Medium: 1, rows.Low: 1, rows.Unscored: 1})
	wantCounts(t, st, keys.OfApplication, "a", rows.Counts{rows.High: 1})
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = open(&rows.Thresholds{High: 0.9, Medium: 0.5})
	wantCounts(t, st, keys.OfTenant, "", rows.Counts{rows.Medium: 1, rows.Low: 2, rows.Unscored: 1})
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = open(&rows.Thresholds{High: 0.9, Medium: 0.5})
	wantCounts(t, st, keys.OfTenant, "", rows.Counts{rows.Medium: 1, rows.Low: 2, rows.Unscored: 1})
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

// A cascade over more entitlements than a transaction can count, and over more
// than a batch holds counters of.
func TestCascadesOverManyEntitlements(t *testing.T) {
	t.Run("in several transactions", countWideCascade)
	t.Run("counted anew", func(t *testing.T) {
		defer store.LowerMaxCounterBytes(1 << 20)()
		countWideCascade(t)
	})
}

func countWideCascade(t *testing.T) {
	x := openIndex(t, t.TempDir())
	long := strings.Repeat("e", 1000)
	records := make([]string, 0, 2301)
	for i := range 2300 { // of 1000 bytes each: more than maxTransactionBytes together
		records = append(records, fmt.Sprintf(`assignment.upserted {"usr_id":"u%d","ent_id":"%s%d","app_id":"a"}`, i%7, long, i))
	}
	applyRecords(t, x.Store, records...)
	wantCounts(t, x.Store, keys.OfApplication, "a", rows.Counts{rows.Unscored: 2300})
	applyRecords(t, x.Store, `assignment.upserted {"usr_id":"v","ent_id":"last"}`, `application.deleted {"app_id":"a"}`)
	wantCounts(t, x.Store, keys.OfTenant, "", rows.Counts{rows.Unscored: 1})
	wantCounts(t, x.Store, keys.OfEntitlement, long+"1", rows.Counts{})
}
