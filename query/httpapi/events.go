package httpapi

import (
	"bytes"
	"strconv"

	"github.com/assigndex/assigndex/query"
)

// appendEvent prints a change as a server-sent event. Only the last change of a
// sequence has an id: a client that comes back with an id has seen all up to it.
func appendEvent(b []byte, c *query.Change) []byte {
	b = append(b, "event: change\n"...)
	if c.Next.N == 0 {
		b = appendID(b, c.Next.Seq)
	}
	b = append(b, "data: "...)
	at := len(b)
	b = appendChange(b, c)
	oneLine(b[at:])
	b = append(b, `,"next":"`...)
	b = append(b, c.Next.String()...)
	return append(b, "\"}\n\n"...)
}

// appendHeartbeat prints the event that says that nothing else up to a sequence is
// to be told.
func appendHeartbeat(b []byte, seq uint64) []byte {
	b = appendID(append(b, "event: heartbeat\n"...), seq)
	b = append(b, `data: {"seq":`...)
	b = strconv.AppendUint(b, seq, 10)
	return append(b, "}\n\n"...)
}

func appendID(b []byte, seq uint64) []byte {
	return append(strconv.AppendUint(append(b, "id: "...), seq, 10), '\n')
}

// oneLine puts JSON on one line, which an event's data is. Line breaks stand between
// its tokens only, if anywhere.
func oneLine(b []byte) {
	for _, end := range []byte{'\n', '\r'} {
		for at := bytes.IndexByte(b, end); at >= 0; at = bytes.IndexByte(b, end) {
			b[at] = ' '
		}
	}
}
