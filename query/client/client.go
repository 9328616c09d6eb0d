// Package client reads assignments from an assigndex server, for services
// downstream, and looks at and settles its quarantine, for operators.
//
// It follows cursors, so that a listing is one snapshot whatever its length;
// waits and tries again when the server asks for it (429, 503) or the connection
// was lost; and gives the server's problem as an *Error otherwise. It reads and
// follows changes from a position, and comes back to where it was.
//
// It refuses to guess: an answer that is not the server's form is ErrMalformed, and
// a listing that ended early never looks like one that ended.
//
// Concurrency: a Client may be used from any goroutine and starts none. A Watch is one
// goroutine's.
package client

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// Options of a Client.
type Options struct {
	URL    string // base URL of the server, such as http://127.0.0.1:8080
	APIKey string // empty: HTTP adds other credentials, such as a bearer token
	Tenant string // needed with a key for all tenants, otherwise empty

	// HTTP sends the requests; nil: a client with a time limit of 30 s a request
	// that follows no redirection, since a key must not travel to another host.
	HTTP *http.Client

	Retries int           // how often a request is tried again after 429, 503 or a lost connection; 0: 5, negative: never
	MaxWait time.Duration // the longest wait before trying again, whatever the server asks for; 0: 10 s
}

// Client reads from one server.
type Client struct {
	listing   string // URLs
	stats     string
	bad       string // the quarantine
	changes   string
	watch     string
	verify    string
	rebuild   string
	snapshot  string
	snapshots string
	opts      Options

	// The clock and how to wait for it, which tests replace.
	now  func() time.Time
	wait func(ctx context.Context, d time.Duration) error
	// How long a watch believes in a connection without a sign of life.
	silence time.Duration
}

// New makes a client. It returns an error for a URL that is not http or https.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("URL %q: want http://HOST:PORT or https://HOST", o.URL)
	}
	if o.HTTP == nil {
		o.HTTP = &http.Client{
			Timeout:       30 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	if o.Retries == 0 {
		o.Retries = 5
	}
	if o.MaxWait == 0 {
		o.MaxWait = 10 * time.Second
	}
	return &Client{
		listing:   u.JoinPath("/api/assignments").String(),
		stats:     u.JoinPath("/api/companyview/assignmentStats").String(),
		bad:       u.JoinPath("/api/quarantine").String(),
		changes:   u.JoinPath("/api/changes").String(),
		watch:     u.JoinPath("/api/watch").String(),
		verify:    u.JoinPath("/api/verify").String(),
		rebuild:   u.JoinPath("/api/rebuild").String(),
		snapshot:  u.JoinPath("/api/snapshot").String(),
		snapshots: u.JoinPath("/api/snapshots").String(),
		opts:      o, now: time.Now, wait: sleep, silence: watchSilence,
	}, nil
}

// Request picks what to list. Empty fields select any.
type Request struct {
	UsrID string `json:"usr_id,omitzero"`
	EntID string `json:"ent_id,omitzero"`
	AppID string `json:"app_id,omitzero"`
	GrpID string `json:"grp_id,omitzero"`
	Type  string `json:"type,omitzero"` // USER (default), GROUP, DYNAMIC_GROUP or ALL

	MinScore *float64 `json:"min_score,omitzero"` // rows with at least this score, 0 to 1
	MaxScore *float64 `json:"max_score,omitzero"` // rows with at most this score, 0 to 1
	Scored   *bool    `json:"scored,omitzero"`    // rows with a score, or without one
	Level    string   `json:"level,omitzero"`     // rows whose score is high, medium or low

	// Include names what rows tell beyond identity, score and justification: app_id,
	// type, rights, params, attributes, valid_from, valid_until, created_at,
	// updated_at, user, group, entitlement and application.
	Include []string `json:"include,omitzero"`

	AsOf     AsOf   `json:"as_of,omitzero"`    // the state of then; zero: now
	AtLeast  uint64 `json:"at_least,omitzero"` // wait until this sequence is applied, to read one's own write
	PageSize int    `json:"pageSize,omitzero"` // rows a request, 1 to the server's maximum; 0: the server's default
	Cursor   string `json:"cursor,omitzero"`   // where to go on; empty: at the beginning

	// Stream is the incarnation of the stream that sequences in AsOf and AtLeast are
	// of; another one is an *Error with status 410. Empty: whichever it is.
	Stream string `json:"-"`
}

// All gives every row of a listing, in order, at one snapshot. After an error it
// ends: rows given before are right, but there are more.
func (c *Client) All(ctx context.Context, r Request) iter.Seq2[Assignment, error] {
	return func(yield func(Assignment, error) bool) {
		for page, err := range c.Pages(ctx, r) {
			if err != nil {
				yield(Assignment{}, err)
				return
			}
			for _, a := range page.Assignments {
				if !yield(a, nil) {
					return
				}
			}
		}
	}
}

// Pages gives every page of a listing, in order, at one snapshot. A page may be
// short or empty; only the end of the sequence is the end of the listing. With an
// error, which is the last, the page is nil.
func (c *Client) Pages(ctx context.Context, r Request) iter.Seq2[*Page, error] {
	return func(yield func(*Page, error) bool) {
		var first *Page
		for {
			page, err := c.Page(ctx, r)
			if err == nil {
				if first == nil {
					first = page
				}
				err = follows(page, first, r.Cursor)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(page, nil) || page.Cursor == "" {
				return
			}
			// The listing's snapshot is in its cursor.
			r.Cursor, r.AtLeast = page.Cursor, 0
		}
	}
}

// follows checks that a page belongs to the listing that began with first, and
// leads on from the cursor that it was asked for with.
func follows(page, first *Page, cursor string) error {
	switch {
	case page.Seq != first.Seq || page.Stream != first.Stream:
		return fmt.Errorf("%w: a page is of sequence %d of stream %s, the first was of %d of %s",
			ErrMalformed, page.Seq, page.Stream, first.Seq, first.Stream)
	case page.Cursor != "" && page.Cursor == cursor:
		return fmt.Errorf("%w: its cursor leads back to itself", ErrMalformed)
	}
	return nil
}

// Page gives one page.
func (c *Client) Page(ctx context.Context, r Request) (*Page, error) {
	var page *Page
	err := c.exchange(ctx, http.MethodPost, c.listing, r.Stream, &r, func(a answer) (err error) {
		page, err = parsePage(a)
		return err
	})
	return page, err
}
