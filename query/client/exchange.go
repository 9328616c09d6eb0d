package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
)

const (
	// firstWait is the wait before the second try when the server names none. It
	// doubles with every further try.
	firstWait = 100 * time.Millisecond
	// maxDoublings keeps it from overflowing.
	maxDoublings = 16
)

// exchange sends a request, with an object as its body or none, until it is
// answered with 200 or trying again is of no use, and reads the answer.
func (c *Client) exchange(ctx context.Context, method, address, stream string, object any, read func(answer) error) error {
	var body []byte
	if object != nil {
		var err error
		if body, err = json.Marshal(object); err != nil {
			return err
		}
	}
	for attempt := 0; ; attempt++ {
		t := c.try(ctx, method, address, stream, body)
		if t.err == nil {
			return read(t.answer)
		}
		if !t.again || attempt >= c.opts.Retries {
			return t.err
		}
		wait := t.wait
		if wait <= 0 {
			wait = firstWait << min(attempt, maxDoublings)
		}
		if err := c.wait(ctx, min(wait, c.opts.MaxWait)); err != nil {
			return fmt.Errorf("%w while waiting to try again after: %w", err, t.err)
		}
	}
}

// sleep waits, or returns the context's error when that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// try is what one request came to.
type try struct {
	answer answer
	err    error         // nil: there is an answer
	again  bool          // trying again may help
	wait   time.Duration // how long the server asks to be left alone; 0: it does not say
}

func (c *Client) try(ctx context.Context, method, address, stream string, body []byte) try {
	req, err := c.request(ctx, method, address, stream, body)
	if err != nil {
		return try{err: err}
	}
	res, err := c.opts.HTTP.Do(req)
	if err != nil {
		return try{err: err, again: ctx.Err() == nil} // reading is safe to ask for again
	}
	defer func() { _ = res.Body.Close() }() // read to its end, or given up
	content, err := io.ReadAll(res.Body)
	if err != nil {
		return try{err: fmt.Errorf("read the answer: %w", err), again: ctx.Err() == nil}
	}
	switch res.StatusCode {
	case http.StatusOK:
		return try{answer: answer{res.Header, content}}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return try{err: problem(res, content), again: true, wait: c.retryAfter(res.Header)}
	default:
		return try{err: problem(res, content)}
	}
}

// request makes a request with its headers.
func (c *Client) request(ctx context.Context, method, address, stream string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, value := range map[string]string{"X-Api-Key": c.opts.APIKey, "Assigndex-Tenant": c.opts.Tenant, "Assigndex-Stream": stream} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	return req, nil
}

// retryAfter reads the header of this name: seconds, or an instant.
func (c *Client) retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	seconds, err := strconv.ParseUint(text, 10, 31) // of too large a number it gives the largest
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return at.Sub(c.now())
	}
	return 0
}

func problem(res *http.Response, content []byte) *Error {
	e := &Error{}
	media, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil || media != "application/problem+json" || json.Unmarshal(content, e) != nil {
		e = &Error{Title: http.StatusText(res.StatusCode)}
	}
	e.Status = res.StatusCode
	return e
}
