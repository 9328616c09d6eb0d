package events

// MaxNoteBytes is the length of the longest note of a drop, in bytes.
const MaxNoteBytes = 256

// Drop is the data of quarantine.dropped: the message at a sequence need not be
// looked at any more. Dropping one that is not in the quarantine, or not any more,
// does nothing, so that a drop has neither a revision nor a condition: "revision"
// and "if" are passed over as other names are.
type Drop struct {
	Seq  uint64 // of the message in the quarantine, at least 1
	Note string // for people who read the stream, at most MaxNoteBytes; the index keeps none of it
}

func decodeDrop(data []byte, ev *Event) *Rejection {
	var d struct {
		Seq  *uint64 `json:"seq"`
		Note string  `json:"note"`
	}
	if rej := unmarshal(data, &d); rej != nil {
		return rej
	}
	if d.Seq == nil || *d.Seq == 0 {
		return reject(BadField, "seq", "send the sequence of a message in the quarantine, from 1 on", "missing or 0")
	}
	if len(d.Note) > MaxNoteBytes {
		return reject(TooLarge, "note", "send a shorter note", "%d bytes, the limit is %d", len(d.Note), MaxNoteBytes)
	}
	ev.Drop = &Drop{Seq: *d.Seq, Note: d.Note}
	return nil
}
