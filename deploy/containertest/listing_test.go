package containertest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

// row is an assignment, as far as this test looks.
type row struct {
	UsrID string `json:"usr_id"`
	EntID string `json:"ent_id"`
}

// byKey is the order of a listing: bytewise user, then entitlement.
func byKey(a, b row) int {
	if c := strings.Compare(a.UsrID, b.UsrID); c != 0 {
		return c
	}
	return strings.Compare(a.EntID, b.EntID)
}

// api is the HTTP API of one server with one key.
type api struct{ base, key string }

// post sends one request of a listing and gives the status and the body.
func (a api) post(ctx context.Context, request map[string]any) (int, []byte, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.base+"/api/assignments", bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if a.key != "" {
		req.Header.Set("X-API-KEY", a.key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	return res.StatusCode, answer, err
}

// list follows the cursor of a listing to its end. It waits for the sequence
// atLeast on the first page.
func (a api) list(ctx context.Context, filter map[string]any, atLeast uint64) (rows []row, pages int, err error) {
	request := map[string]any{"pageSize": pageSize, "at_least": atLeast}
	for name, value := range filter {
		request[name] = value
	}
	for {
		status, answer, err := a.post(ctx, request)
		if err != nil {
			return nil, 0, err
		}
		var page struct {
			Cursor      *string `json:"cursor"`
			Assignments []row   `json:"assignments"`
		}
		if status != http.StatusOK {
			return nil, 0, fmt.Errorf("status %d: %s", status, answer)
		}
		if err := json.Unmarshal(answer, &page); err != nil {
			return nil, 0, fmt.Errorf("%w in %s", err, answer)
		}
		if len(page.Assignments) > pageSize {
			return nil, 0, fmt.Errorf("a page of %d rows, %d were asked for", len(page.Assignments), pageSize)
		}
		rows = append(rows, page.Assignments...)
		pages++
		if page.Cursor == nil {
			return rows, pages, nil
		}
		delete(request, "at_least")
		request["cursor"] = *page.Cursor
	}
}

// ready asks the server whether its index has caught up.
func (a api) ready(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+"/readyz", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	return nil
}

// wantListings compares every kind of listing with the model at a sequence.
func wantListings(t *testing.T, a api, m *model) {
	t.Helper()
	for _, c := range []struct {
		label  string
		filter map[string]any
		keep   func(row) bool
	}{
		{"everything", nil, func(row) bool { return true }},
		{"a user", map[string]any{"usr_id": users[1]}, func(r row) bool { return r.UsrID == users[1] }},
		{"an entitlement", map[string]any{"ent_id": "ent-03"}, func(r row) bool { return r.EntID == "ent-03" }},
		{"an application", map[string]any{"app_id": "app-1"}, func(r row) bool { return application(r.EntID) == "app-1" }},
		{
			"a user's entitlement in an application", map[string]any{"usr_id": users[2], "ent_id": "ent-05", "app_id": "app-1"},
			func(r row) bool { return r == row{users[2], "ent-05"} },
		},
		{"nobody", map[string]any{"usr_id": "nobody"}, func(row) bool { return false }},
	} {
		want := m.rows(c.keep)
		var got []row
		var pages int
		waitUntil(t, "the listing of "+c.label+" is answered", func(ctx context.Context) (err error) {
			got, pages, err = a.list(ctx, c.filter, m.sequence)
			return err
		})
		if !slices.Equal(got, want) {
			t.Errorf("%s at %d: got %d rows %q\nwant %d rows %q", c.label, m.sequence, len(got), got, len(want), want)
		}
		if least := (len(want) + pageSize - 1) / pageSize; pages < least {
			t.Errorf("%s: %d rows came in %d pages of %d", c.label, len(want), pages, pageSize)
		}
	}
}
