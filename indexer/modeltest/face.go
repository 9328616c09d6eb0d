package modeltest

import (
	"strconv"
	"strings"

	"github.com/assigndex/assigndex/events"
)

// face prints an assignment as the Autonomous Identity page does. Of other kinds
// than users it says which.
func face(a events.Assignment) string {
	var b strings.Builder
	b.WriteString(`{"ent_id":` + quote(a.EntID))
	switch a.Assignee.Kind {
	case events.KindUser:
		b.WriteString(`,"usr_id":` + quote(a.Assignee.ID))
	case events.KindGroup:
		b.WriteString(`,"grp_id":` + quote(a.Assignee.ID) + `,"type":"GROUP"`)
	case events.KindDynamicGroup:
		b.WriteString(`,"grp_id":` + quote(a.Assignee.ID) + `,"type":"DYNAMIC_GROUP"`)
	case events.KindAll:
		b.WriteString(`,"type":"ALL"`)
	}
	b.WriteString(`,"score":` + score(a.Score) + `,"justification":[`)
	for i, j := range a.Justification {
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString(`{"id":` + quote(j.ID) + `,"title":` + quote(j.Title) + `,"value":` + string(j.Value) + `}`)
	}
	b.WriteString(`]}`)
	return b.String()
}

// score prints a number as JavaScript would.
func score(s *float64) string {
	switch {
	case s == nil:
		return "null"
	case *s == 0:
		return "0"
	case *s >= 1e-6:
		return strconv.FormatFloat(*s, 'f', -1, 64)
	default:
		return strings.Replace(strconv.FormatFloat(*s, 'e', -1, 64), "e-0", "e-", 1)
	}
}

// short are the escapes of one letter.
var short = map[byte]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}

// quote prints a text in JSON with no escape that it can do without.
func quote(s string) string {
	const hex = "0123456789abcdef"
	b := make([]byte, 0, len(s)+2)
	b = append(b, '"')
	for i := range len(s) {
		c := s[i]
		if letter, ok := short[c]; ok {
			b = append(b, '\\', letter)
		} else if c < 0x20 {
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(append(b, '"'))
}
