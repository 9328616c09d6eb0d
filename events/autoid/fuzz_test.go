package autoid

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"testing"

	"github.com/assigndex/assigndex/events"
)

// FuzzRows reads any bytes as any file: it never panics and always ends, every
// record is an event, errors are in the file, and places only move forward.
func FuzzRows(f *testing.F) {
	for i := range Files {
		f.Add(uint8(i), byte(0), "usr_id,ent_id,app_id,ent_name,app_name,usr_name,usr_manager_id,app_owner_id,ent_owner_id,score,justification\nu,e,a,,,,,,,.5,[]\n", "")
	}
	f.Add(uint8(3), byte(0), "\xef\xbb\xbfuser_id,ent_id,x,\r\na,\"b\r\n\"\"c\",\"\",\r\n,,,\r\n\r\na,5\"b,,\r\na,b\r\n", "")
	f.Add(uint8(3), byte(';'), "no;ent_id;params\na;b;\"{\"\"a\"\":1}\"\na;b;\"{}}\"\n;;\"\n", "assignments.usr_id=no")
	f.Add(uint8(3), byte('\t'), "usr_id\tent_id\tNo\n\xff\tb\tc\n", "assignments.ignore=no")
	f.Fuzz(func(t *testing.T, which, comma uint8, text, mapping string) {
		file := Files[int(which)%len(Files)]
		opts := Options{Comma: comma}
		_ = opts.Columns.MapText(mapping) // a mapping or none
		lines := 1 + bytes.Count([]byte(text), []byte("\n"))
		check := func(e *Error, least int) {
			if e.Line < least || e.Line > lines || e.Column < 0 || e.Column > len(text)+1 || e.Name != "f" || e.Problem == "" {
				t.Fatalf("%d lines, the last record in line %d: %+v", lines, least, *e)
			}
		}
		r, err := NewReader(bytes.NewReader([]byte(text)), "f", file, opts)
		if err != nil {
			if fault := (*Error)(nil); errors.As(err, &fault) {
				check(fault, 1)
			} else if comma == 0 || ValidComma(comma) {
				t.Fatalf("neither a reader nor an *Error: %v", err)
			}
			return
		}
		last := 1
		for n := 0; ; n++ {
			record, err := r.Read()
			if errors.Is(err, io.EOF) {
				return
			}
			if n > lines {
				t.Fatal("more rows than lines")
			}
			if fault := (*Error)(nil); errors.As(err, &fault) {
				check(fault, last)
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if record.Line <= last && n > 0 || record.Line > lines || record.Type != file.Type() {
				t.Fatalf("a record in line %d after one in line %d", record.Line, last)
			}
			last = record.Line
			if _, err := events.DecodeData("t", record.Type, record.Data); err != nil {
				t.Fatalf("%s: %v", record.Data, err)
			}
		}
	})
}

// FuzzSplitter reads any bytes with encoding/csv, once whole and once as the
// splitter hands them out: cells, faults and lines must be the same.
func FuzzSplitter(f *testing.F) {
	f.Add(byte(','), "a,b\n\"c\nd\",\"e\"\"\"\r\n\r\nf\"g,\"h\ni\"\n\"j\"k,\"l\n\"m\r\n\"")
	f.Add(byte(','), "\"a\"\r\"\n\"b\"\r")
	f.Add(byte(';'), ";\";\n;\";\n\"\"\"\n\"\n")
	f.Fuzz(func(t *testing.T, comma byte, text string) {
		if !ValidComma(comma) || len(text) > MaxRecordBytes {
			return
		}
		split := newSplitter(bytes.NewReader([]byte(text)), comma)
		got, want := newCSV(split, comma), newCSV(bytes.NewReader([]byte(text)), comma)
		for {
			cells, err := got.Read()
			wanted, wantedErr := want.Read()
			if len(split.rest) > 0 {
				t.Fatalf("%q of the record is left", split.rest)
			}
			if errors.Is(err, io.EOF) && errors.Is(wantedErr, io.EOF) {
				return
			}
			if (err == nil) != (wantedErr == nil) || len(cells) != len(wanted) {
				t.Fatalf("got %q, %v; want %q, %v", cells, err, wanted, wantedErr)
			}
			var fault, wantedFault *csv.ParseError
			if errors.As(err, &fault) && errors.As(wantedErr, &wantedFault) {
				if !errors.Is(fault.Err, wantedFault.Err) || fault.Column != wantedFault.Column ||
					split.line != wantedFault.StartLine || fault.Line-fault.StartLine != wantedFault.Line-wantedFault.StartLine {
					t.Fatalf("line %d: got %v, want %v", split.line, err, wantedErr)
				}
				continue
			}
			for i := range cells {
				line, column := got.FieldPos(i)
				first, _ := got.FieldPos(0)
				wantedLine, wantedColumn := want.FieldPos(i)
				if cells[i] != wanted[i] || split.line+line-first != wantedLine || column != wantedColumn {
					t.Fatalf("cell %d: got %q at %d:%d, want %q at %d:%d", i, cells[i], split.line+line-first, column, wanted[i], wantedLine, wantedColumn)
				}
			}
		}
	})
}
