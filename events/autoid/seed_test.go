package autoid

import (
	"bufio"
	"os"
	"reflect"
	"testing"

	"github.com/assigndex/assigndex/events"
)

// TestSeedRowsAreTheSameByCSVAndByEvent reads the sample rows of the API's
// documentation in both forms.
func TestSeedRowsAreTheSameByCSVAndByEvent(t *testing.T) {
	in, err := os.Open("testdata/seed/assignments.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	lines, err := os.Open("testdata/seed/events.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	defer lines.Close()
	r, err := NewReader(in, "assignments.csv", Assignments, Options{})
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for scan := bufio.NewScanner(lines); scan.Scan(); rows++ {
		record, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		got, want := decode(t, record.Type, record.Data), decode(t, events.AssignmentUpserted, scan.Bytes())
		if len(got.Assignment.Justification) == 0 && len(want.Assignment.Justification) == 0 {
			got.Assignment.Justification = want.Assignment.Justification // none and an empty list say the same
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("row %d:\n got %+v\nwant %+v", rows, *got.Assignment, *want.Assignment)
		}
	}
	if _, err := r.Read(); rows != 4 || err == nil {
		t.Errorf("%d events, then %v", rows, err)
	}
}

func decode(t *testing.T, typ events.Type, data []byte) events.Event {
	t.Helper()
	ev, err := events.DecodeData("t", typ, append([]byte(nil), data...))
	if err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return ev
}
