package query

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/indexer/listing"
)

// AsOf names the state that a request reads: that at a sequence, or that at an
// instant, which is the one at the last sequence before any message with a later
// time stamp.
type AsOf struct {
	Seq     uint64     // of no matter with an instant
	Instant *time.Time // nil: Seq
}

const (
	asOfRule = integerRule + ", as a number or as a string of digits; or " + instantRule
	// asOfParameterRule is the same for a parameter of a URL.
	asOfParameterRule = integerRule + "; or " + instantRule + " (a + in a URL is written %2B)"
	instantRule       = "an instant of RFC 3339 with the offset from UTC, such as 2026-01-31T12:00:00Z"
)

// ParseAsOf reads a sequence, as digits, or an instant of RFC 3339. It reports
// false for anything else, a day that is not in the calendar among it.
func ParseAsOf(text string) (*AsOf, bool) {
	if !strings.Contains(text, "T") {
		seq, err := strconv.ParseUint(text, 10, 64)
		return &AsOf{Seq: seq}, err == nil
	}
	instant, err := time.Parse(time.RFC3339, text)
	if err != nil || !instantForm.MatchString(text) {
		return nil, false
	}
	instant = instant.UTC()
	return &AsOf{Instant: &instant}, true
}

// instantForm is stricter than time.Parse, which takes more than RFC 3339 has: an
// hour of one digit, a comma before the fraction, an offset of days.
var instantForm = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`)

// parseAsOf reads the field of a body, nil when it is absent.
func parseAsOf(v jsontext.Value) (*AsOf, bool) {
	if absent(v) {
		return nil, true
	}
	text := string(v)
	switch v.Kind() {
	case '"':
		if json.Unmarshal(v, &text) != nil {
			return nil, false
		}
	case '0':
	default:
		return nil, false
	}
	return ParseAsOf(text)
}

// sequenceAt gives the sequence of an instant, and brings page up to date.
func (l *Lister) sequenceAt(ctx context.Context, page *Page, instant time.Time) (uint64, error) {
	seq, err := l.index.SequenceAt(ctx, instant)
	before := page.Stream
	if page.Seq, page.Stream = l.index.Applied(); page.Stream != before {
		return 0, replaced()
	}
	switch {
	case errors.Is(err, listing.ErrPruned):
		return 0, &Error{HistoryPruned, "", fmt.Sprintf(
			"the instant is below the history window, which begins at sequence %d; start a new listing", l.index.Floor())}
	case errors.Is(err, listing.ErrAhead):
		return 0, &Error{NotReached, "", "the index did not catch up in time with its stream, " +
			"which may hold more messages that are no later than the instant; try again"}
	default:
		return seq, err
	}
}
