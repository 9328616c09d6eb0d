package autoid

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
)

// BenchmarkCSV reads assignments.csv with scores and justifications, half of them
// scored, into checked records.
func BenchmarkCSV(b *testing.B) {
	const rows = 10_000
	var in bytes.Buffer
	in.WriteString("user_id,ent_id,score,justification,city\n")
	for i := range rows {
		score, reasons := "", ""
		if i%2 == 0 {
			score, reasons = "0.98", `"[{""id"":""CITY"",""title"":""city"",""value"":""Jacksonville""},{""id"":""USR_EMP_TYPE"",""title"":""usr_emp_type"",""value"":""Employee""}]"`
		}
		fmt.Fprintf(&in, "aaron.%06d,WEB_Shared Edit %05d_Europe,%s,%s,Oslo\n", i/10, i%500, score, reasons)
	}
	b.SetBytes(int64(in.Len()))
	b.ReportAllocs()
	for b.Loop() {
		r, err := NewReader(bytes.NewReader(in.Bytes()), "assignments.csv", Assignments, Options{})
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for ; err == nil; n++ {
			_, err = r.Read()
		}
		if n-1 != rows || !errors.Is(err, io.EOF) {
			b.Fatalf("%d rows, then %v", n-1, err)
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
