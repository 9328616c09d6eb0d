package containertest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/go-json-experiment/json"
)

const (
	entitlements = 12
	pageSize     = 7
)

// users are ids that a careless key, subject or path would mix up.
var users = []string{"aaron.fischer", "aaron", "a/b", "a b", "a", "zoë", "日本", ">", "*"}

// application is where the model puts an entitlement.
func application(ent string) string {
	number, err := strconv.Atoi(ent[len("ent-"):])
	if err != nil {
		return ""
	}
	return fmt.Sprintf("app-%d", number%2)
}

// model is what the index must hold, written down independently.
type model struct {
	live     map[row]bool
	sequence uint64 // the last one, in a stream that this test alone writes
	events   []byte // what was not yet published, as NDJSON
}

// add appends an event to the file to be.
func (m *model) add(t *testing.T, kind string, data map[string]any) {
	t.Helper()
	m.sequence++
	line, err := json.Marshal(map[string]any{
		"specversion": "1.0", "source": "containertest", "id": strconv.FormatUint(m.sequence, 10), "type": kind, "data": data,
	})
	if err != nil {
		t.Fatal(err)
	}
	m.events = append(append(m.events, line...), '\n')
}

func (m *model) assign(t *testing.T, r row) {
	t.Helper()
	m.add(t, "assignment.upserted", map[string]any{"usr_id": r.UsrID, "ent_id": r.EntID, "score": 0.5})
	m.live[r] = true
}

func (m *model) revoke(t *testing.T, r row) {
	t.Helper()
	m.add(t, "assignment.revoked", map[string]any{"usr_id": r.UsrID, "ent_id": r.EntID})
	delete(m.live, r)
}

// deleteUser revokes what the user has.
func (m *model) deleteUser(t *testing.T, usr string) {
	t.Helper()
	m.add(t, "user.deleted", map[string]any{"usr_id": usr})
	for r := range m.live {
		if r.UsrID == usr {
			delete(m.live, r)
		}
	}
}

// rows are the live rows that keep wants, in the order of a listing.
func (m *model) rows(keep func(row) bool) []row {
	var rows []row
	for r := range m.live {
		if keep(r) {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, byKey)
	return rows
}

// file writes the events since the last call to a file of the test.
func (m *model) file(t *testing.T) (path string, count int) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "events.ndjson")
	if err := os.WriteFile(path, m.events, 0o600); err != nil {
		t.Fatal(err)
	}
	count = bytes.Count(m.events, []byte("\n"))
	m.events = nil
	return path, count
}

// firstEvents declares the entitlements and gives most of them to every user.
func firstEvents(t *testing.T) *model {
	t.Helper()
	m := &model{live: make(map[row]bool)}
	for e := range entitlements {
		ent := fmt.Sprintf("ent-%02d", e)
		m.add(t, "entitlement.upserted", map[string]any{"ent_id": ent, "app_id": application(ent)})
	}
	for u, usr := range users {
		for e := range entitlements {
			if (u+e)%4 != 3 {
				m.assign(t, row{usr, fmt.Sprintf("ent-%02d", e)})
			}
		}
	}
	return m
}

// laterEvents changes a part of it: revocations, new rows, a user deleted.
func laterEvents(t *testing.T, m *model) {
	t.Helper()
	for e := range entitlements {
		ent := fmt.Sprintf("ent-%02d", e)
		m.revoke(t, row{users[0], ent})
		m.assign(t, row{"newcomer", ent})
	}
	m.deleteUser(t, users[3])
}
