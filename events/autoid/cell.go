package autoid

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// cellFault says why a cell cannot be taken.
type cellFault struct{ problem, remedy string }

// appendCell appends a cell that is not empty as the value of a member. What it
// appends is one JSON value, so that no cell can reach beyond its own member.
func appendCell(dst []byte, as form, cell string) ([]byte, *cellFault) {
	switch as {
	case formNumber:
		number := strings.TrimSpace(cell)
		if strings.HasPrefix(number, ".") {
			number = "0" + number // as some databases export it
		}
		v := jsontext.Value(number)
		if k := v.Kind(); (k != '0' && k != 'n') || !v.IsValid() {
			return dst, &cellFault{"not a number", "write it with a point and without signs of thousands, such as 0.98, or leave the cell empty"}
		}
		return append(dst, number...), nil
	case formJSON:
		v := jsontext.Value(cell)
		if !v.IsValid() {
			return dst, &cellFault{"not valid JSON", `write one JSON value into the cell, in quotes, each quote of its own doubled, or leave the cell empty`}
		}
		return append(dst, cell...), nil
	case formUnnamed:
		return dst, &cellFault{"a cell in a column without a name", "name the column in the header, or empty the cell"}
	default:
		quoted, err := jsontext.AppendQuote(dst, cell)
		if err != nil {
			return dst, &cellFault{"not valid UTF-8", "save the file as UTF-8"}
		}
		return quoted, nil
	}
}
