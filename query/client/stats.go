package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/go-json-experiment/json"
)

// StatsRequest picks what to count. Empty fields select any.
type StatsRequest struct {
	UsrID   string
	EntID   string
	AppID   string
	GrpID   string
	Type    string // USER (default), GROUP, DYNAMIC_GROUP or ALL
	AsOf    AsOf   // the state of then; zero: now
	AtLeast uint64 // wait until this sequence is applied, to read one's own write
	Stream  string // as that of Request
}

// Stats are numbers of assignments by the level of their score.
type Stats struct {
	Total    int64
	High     int64
	Medium   int64
	Low      int64
	Unscored int64
	Seq      uint64 // the sequence that they are true at
	Stream   string // the incarnation of the stream that Seq counts
}

// Stats counts assignments.
func (c *Client) Stats(ctx context.Context, r StatsRequest) (*Stats, error) {
	params := url.Values{}
	for name, text := range map[string]string{
		"usr_id": r.UsrID, "ent_id": r.EntID, "app_id": r.AppID, "grp_id": r.GrpID, "type": r.Type,
		"as_of": r.AsOf.String(), "at_least": sequenceText(r.AtLeast),
	} {
		if text != "" {
			params.Set(name, text)
		}
	}
	address := c.stats
	if len(params) > 0 {
		address += "?" + params.Encode()
	}
	var stats *Stats
	err := c.exchange(ctx, http.MethodGet, address, r.Stream, nil, func(a answer) (err error) {
		stats, err = parseStats(a)
		return err
	})
	return stats, err
}

// sequenceText gives a sequence in decimal digits, and 0, which stands for none,
// as no text.
func sequenceText(seq uint64) string {
	if seq == 0 {
		return ""
	}
	return strconv.FormatUint(seq, 10)
}

func parseStats(a answer) (*Stats, error) {
	var counts struct {
		Total    *int64 `json:"total"`
		High     *int64 `json:"high"`
		Medium   *int64 `json:"medium"`
		Low      *int64 `json:"low"`
		Unscored *int64 `json:"unscored"`
	}
	if err := json.Unmarshal(a.content, &counts); err != nil {
		return nil, malformed("it is no object of counts", err)
	}
	s := &Stats{}
	for name, count := range map[string]struct{ from, into *int64 }{
		"total": {counts.Total, &s.Total}, "high": {counts.High, &s.High}, "medium": {counts.Medium, &s.Medium},
		"low": {counts.Low, &s.Low}, "unscored": {counts.Unscored, &s.Unscored},
	} {
		if count.from == nil {
			return nil, malformed("it has no "+name, nil)
		}
		*count.into = *count.from
	}
	var err error
	if s.Seq, s.Stream, err = a.place(); err != nil {
		return nil, err
	}
	return s, nil
}
