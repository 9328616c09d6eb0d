package keys

import (
	"bytes"
	"errors"
)

// ErrMalformed is returned when bytes are not a key of the family they are read as.
var ErrMalformed = errors.New("malformed key")

// A text component is its bytes with every 00 written as 00 FF, and then the
// terminator 00 01. The terminator sorts before every other byte and before an
// escaped 00, so a shorter text sorts before each text that it begins.
const (
	escape     = 0x00
	escaped    = 0xFF
	terminated = 0x01
)

// Append adds text as a component to key.
func Append(key []byte, text string) []byte {
	for i := range len(text) {
		key = append(key, text[i])
		if text[i] == escape {
			key = append(key, escaped)
		}
	}
	return append(key, escape, terminated)
}

// Cut reads the text component that key begins with and returns what follows it.
func Cut(key []byte) (text string, rest []byte, err error) {
	i := bytes.IndexByte(key, escape)
	if i < 0 || i+1 >= len(key) {
		return "", nil, ErrMalformed
	}
	if key[i+1] == terminated { // nothing escaped: the common case
		return string(key[:i]), key[i+2:], nil
	}
	out := make([]byte, 0, len(key))
	for {
		out = append(out, key[:i]...)
		switch key[i+1] {
		case terminated:
			return string(out), key[i+2:], nil
		case escaped:
			out = append(out, escape)
		default:
			return "", nil, ErrMalformed
		}
		key = key[i+2:]
		i = bytes.IndexByte(key, escape)
		if i < 0 || i+1 >= len(key) {
			return "", nil, ErrMalformed
		}
	}
}
