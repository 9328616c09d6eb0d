package client

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ChangesRequest picks which changes to read. Empty fields select any; they mean what
// they mean in a Request.
type ChangesRequest struct {
	// Since is a position: that of a page or a change, a sequence in digits (such as
	// that of a listing), or Earliest. A page needs one; a watch without begins with
	// what changes from now on.
	Since string

	UsrID    string
	EntID    string
	AppID    string
	GrpID    string
	Type     string
	MinScore *float64
	MaxScore *float64
	Scored   *bool
	Level    string
	Include  []string

	AtLeast uint64 // wait until this sequence is applied, such as that of a position from another replica
	Limit   int    // changes of a page, 1 to the server's maximum; 0: the server's default; of no matter to a watch
	Stream  string // the incarnation of the stream that Since is of, as that of Request
}

// Earliest is the position where the server's history window begins.
const Earliest = "earliest"

// parameters gives the request as the part of a URL behind the question mark.
func (r *ChangesRequest) parameters() url.Values {
	v := url.Values{}
	for name, text := range map[string]string{
		"since": r.Since, "usr_id": r.UsrID, "ent_id": r.EntID, "app_id": r.AppID, "grp_id": r.GrpID, "type": r.Type, "level": r.Level,
		"min_score": numberText(r.MinScore), "max_score": numberText(r.MaxScore), "include": strings.Join(r.Include, ","),
		"at_least": sequenceText(r.AtLeast),
	} {
		if text != "" {
			v.Set(name, text)
		}
	}
	if r.Scored != nil {
		v.Set("scored", strconv.FormatBool(*r.Scored))
	}
	return v
}

func numberText(n *float64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatFloat(*n, 'g', -1, 64)
}

// Change is a change of one row by one event, as the request's filters see it.
type Change struct {
	Seq        uint64 // of the event
	Op         string // OpUpserted or OpRevoked
	Assignment Assignment
	Next       string         // position behind the change; of a watch only
	Raw        jsontext.Value // the change as the server sent it
}

// What became of a row.
const (
	OpUpserted = "upserted"
	OpRevoked  = "revoked" // it is gone, or not in the filters any more; Assignment is as it was before
)

// parseChange reads a change as the server sends it, in a page or as an event.
func parseChange(raw jsontext.Value) (Change, error) {
	c := Change{Raw: raw}
	var sent struct {
		Seq        uint64         `json:"seq"`
		Op         string         `json:"op"`
		Assignment jsontext.Value `json:"assignment"`
		Next       string         `json:"next"`
	}
	if err := json.Unmarshal(raw, &sent); err != nil {
		return c, malformed("it is no change", err)
	}
	if sent.Seq == 0 || (sent.Op != OpUpserted && sent.Op != OpRevoked) {
		return c, malformed("a change has no sequence, or none of the operations", nil)
	}
	c.Seq, c.Op, c.Next = sent.Seq, sent.Op, sent.Next
	if err := json.Unmarshal(sent.Assignment, &c.Assignment); err != nil {
		return c, malformed("the row of a change", err)
	}
	if c.Assignment.EntID == "" || (c.Assignment.UsrID == "" && c.Assignment.Type == "") {
		return c, malformed("the row of a change names no entitlement or nobody", nil)
	}
	c.Assignment.Raw = sent.Assignment
	return c, nil
}

// ChangePage is one page of changes.
type ChangePage struct {
	Changes []Change
	Next    string // position to go on from
	Seq     uint64 // the last applied sequence; the page goes no further
	Stream  string // the incarnation of the stream that Seq counts
}

// Ended reports whether there were no more changes when the server answered.
func (p *ChangePage) Ended() bool { return p.Next == strconv.FormatUint(p.Seq, 10) }

// ChangePage gives one page of changes.
func (c *Client) ChangePage(ctx context.Context, r ChangesRequest) (*ChangePage, error) {
	params := r.parameters()
	if r.Limit != 0 {
		params.Set("limit", strconv.Itoa(r.Limit))
	}
	var page *ChangePage
	err := c.exchange(ctx, http.MethodGet, c.changes+"?"+params.Encode(), r.Stream, nil, func(a answer) (err error) {
		page, err = parseChangePage(a)
		return err
	})
	return page, err
}

func parseChangePage(a answer) (*ChangePage, error) {
	var body struct {
		Changes []jsontext.Value `json:"changes"`
		Next    string           `json:"next"`
	}
	if err := json.Unmarshal(a.content, &body); err != nil {
		return nil, malformed("it is no page of changes", err)
	}
	if body.Changes == nil {
		return nil, malformed("it has no changes", nil)
	}
	if _, err := parsePosition(body.Next); err != nil {
		return nil, err
	}
	page := &ChangePage{Changes: make([]Change, len(body.Changes)), Next: body.Next}
	for i, raw := range body.Changes {
		var err error
		if page.Changes[i], err = parseChange(raw); err != nil {
			return nil, err
		}
	}
	var err error
	page.Seq, page.Stream, err = a.place()
	return page, err
}

// Changes gives the pages of changes up to what is applied when the last one is
// asked for. A page may be short or empty. With an error, which is the last, the page
// is nil; go on from the Next of the page before. Pages are of one incarnation of the
// stream.
func (c *Client) Changes(ctx context.Context, r ChangesRequest) iter.Seq2[*ChangePage, error] {
	return func(yield func(*ChangePage, error) bool) {
		for {
			page, err := c.ChangePage(ctx, r)
			if err == nil && !page.Ended() && page.Next == r.Since {
				err = fmt.Errorf("%w: its position leads back to itself", ErrMalformed)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(page, nil) || page.Ended() {
				return
			}
			r.Since, r.Stream = page.Next, page.Stream
		}
	}
}

// parsePosition checks a position and gives its sequence.
func parsePosition(text string) (seq uint64, err error) {
	whole, inside, divided := strings.Cut(text, ".")
	if seq, err = strconv.ParseUint(whole, 10, 64); err != nil {
		return 0, malformed("it has no position to go on from", err)
	}
	if divided {
		if _, err := strconv.ParseUint(inside, 10, 32); err != nil {
			return 0, malformed("it has no position to go on from", err)
		}
	}
	return seq, nil
}
