package query

// Code says for programs why a request was refused. A code never changes its
// meaning.
type Code string

// The codes of this package.
const (
	// InvalidJSON is for a body that is not one JSON object in valid UTF-8 with
	// each name once.
	InvalidJSON Code = "invalid_json"
	// UnknownField is for a name that no field has.
	UnknownField Code = "unknown_field"
	// InvalidField is for a field with a value of a wrong type or out of range.
	InvalidField Code = "invalid_field"
	// ConflictingFields is for fields that contradict each other.
	ConflictingFields Code = "conflicting_fields"
	// InvalidCursor is for a cursor that is damaged or was not made by an index.
	InvalidCursor Code = "invalid_cursor"
	// CursorMismatch is for a cursor of another query or another tenant.
	CursorMismatch Code = "cursor_mismatch"
	// StreamChanged is for a cursor, or a request, of another incarnation of the
	// stream than the index follows.
	StreamChanged Code = "stream_changed"
	// HistoryPruned is for a sequence below the history window.
	HistoryPruned Code = "history_pruned"
	// BeyondEnd is for a position in the order of changes that is above what is applied.
	BeyondEnd Code = "beyond_end"
	// NotReady is for any request before the index can answer one.
	NotReady Code = "not_ready"
	// NotReached is for a sequence that was not applied in the time that a request
	// waits.
	NotReached Code = "not_reached"
	// TooManyRows is for a count, or a page of another system, that would read more
	// than a request may.
	TooManyRows Code = "too_many_rows"
)

// Error is a refused request.
type Error struct {
	Code   Code
	Field  string // the field at fault; empty: none
	Detail string // for people: what is wrong and what to do; repeats no value that was sent
}

// Error is part of error.
func (e *Error) Error() string {
	if e.Field == "" {
		return string(e.Code) + ": " + e.Detail
	}
	return string(e.Code) + ": " + e.Field + ": " + e.Detail
}
