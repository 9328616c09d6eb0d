package client

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// AsOf names the state to read: that at a sequence, or that at an instant, which
// is the one just before the first message with a later time stamp. The zero value
// is the present.
type AsOf struct{ text string }

// AtSequence is the state when a sequence had been applied.
func AtSequence(seq uint64) AsOf { return AsOf{strconv.FormatUint(seq, 10)} }

// AtInstant is the state at an instant, to the nanosecond. The server refuses years
// outside of 0 to 9999.
func AtInstant(t time.Time) AsOf { return AsOf{t.UTC().Format(time.RFC3339Nano)} }

// ParseAsOf reads a sequence, as digits, or an instant of RFC 3339 with its offset
// from UTC, such as 2026-01-31T12:00:00Z.
func ParseAsOf(text string) (AsOf, error) {
	if !strings.Contains(text, "T") {
		if _, err := strconv.ParseUint(text, 10, 64); err != nil {
			return AsOf{}, asOfError(text)
		}
		return AsOf{text}, nil
	}
	if _, err := time.Parse(time.RFC3339, text); err != nil {
		return AsOf{}, asOfError(text)
	}
	return AsOf{text}, nil
}

func asOfError(text string) error {
	return fmt.Errorf("%q: want a sequence, or an instant of RFC 3339 with its offset, such as 2026-01-31T12:00:00Z", text)
}

// String gives the sequence or the instant as it is sent; empty is the present.
func (a AsOf) String() string { return a.text }

// MarshalText is part of encoding.TextMarshaler.
func (a AsOf) MarshalText() ([]byte, error) { return []byte(a.text), nil }
