package client

import (
	"errors"
	"fmt"
	"strings"
)

// ErrMalformed is returned for an answer that is not of the server's form: the URL
// is another service's, or something between changed it.
var ErrMalformed = errors.New("the answer is not of the form of an assigndex server")

func malformed(problem string, cause error) error {
	if cause == nil {
		return fmt.Errorf("%w: %s", ErrMalformed, problem)
	}
	return fmt.Errorf("%w: %s: %w", ErrMalformed, problem, cause)
}

// Error is a problem that the server reported.
type Error struct {
	Status int    `json:"status"`
	Code   string `json:"code"` // stable; empty: the answer is not from the server itself, but from something before it
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Field  string `json:"field"` // of the request, where one is at fault
}

// Error gives status, code, field and detail in one line.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the server answered %d", e.Status)
	if e.Code != "" {
		b.WriteString(" " + e.Code)
	}
	text := e.Detail
	if text == "" {
		text = e.Title
	}
	for _, part := range []string{e.Field, text} {
		if part != "" {
			b.WriteString(": " + part)
		}
	}
	return b.String()
}
