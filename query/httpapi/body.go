package httpapi

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"

	"github.com/assigndex/assigndex/query"
)

// maxQueryBody bounds the body of a query, in bytes.
const maxQueryBody = 64 << 10

// readJSON reads the body of a query into x.in. A request without a body needs
// no type.
func (x *exchange) readJSON() error {
	media := x.r.Header["Content-Type"]
	if len(media) > 0 && !isJSON(media) {
		return &query.Error{Code: UnsupportedMedia, Field: "Content-Type", Detail: "send application/json"}
	}
	if coding := x.r.Header["Content-Encoding"]; len(coding) > 0 && (len(coding) > 1 || coding[0] != "identity") {
		return &query.Error{Code: UnsupportedMedia, Field: "Content-Encoding", Detail: "send the body as it is, not compressed"}
	}
	if err := x.readBody(); err != nil {
		return err
	}
	if len(media) == 0 && len(x.in) > 0 {
		return &query.Error{Code: UnsupportedMedia, Field: "Content-Type", Detail: "send this header with the value application/json"}
	}
	return nil
}

func isJSON(values []string) bool {
	if len(values) != 1 {
		return false
	}
	if values[0] == "application/json" {
		return true
	}
	media, _, err := mime.ParseMediaType(values[0])
	return err == nil && media == "application/json"
}

func (x *exchange) readBody() error {
	x.in = x.in[:0]
	limit := x.route.bodyLimit()
	if x.r.ContentLength > int64(limit) {
		return tooLarge(limit)
	}
	if x.r.ContentLength >= 0 {
		x.in = slices.Grow(x.in, int(x.r.ContentLength))[:x.r.ContentLength]
		if len(x.in) == 0 {
			return nil
		}
		return bodyError(x.aside(func() error {
			_, err := io.ReadFull(x.r.Body, x.in)
			return err
		}))
	}
	body := bytes.NewBuffer(x.in)
	err := x.aside(func() error {
		_, err := body.ReadFrom(io.LimitReader(x.r.Body, int64(limit)+1))
		return err
	})
	x.in = body.Bytes()
	if len(x.in) > limit {
		return tooLarge(limit)
	}
	return bodyError(err)
}

// bodyLimit is the size of the largest body that the route takes, in bytes.
func (r *route) bodyLimit() int { return cmp.Or(r.maxBody, maxQueryBody) }

func tooLarge(limit int) *query.Error {
	return &query.Error{Code: BodyTooLarge, Detail: fmt.Sprintf("the body of this request has at most %d bytes", limit)}
}

func bodyError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &query.Error{Code: RequestTimeout, Detail: "the body did not arrive in time"}
	case errors.Is(err, http.ErrBodyReadAfterClose):
		return err
	default:
		return &query.Error{Code: query.InvalidJSON, Detail: "the body ended early or its transfer coding is broken"}
	}
}
