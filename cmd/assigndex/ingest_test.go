package main

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/query/client"
)

// seedPage is the answer that the page of Autonomous Identity shows, and
// seedCursor the cursor of its request.
const (
	seedPage   = "../../indexer/rows/testdata/autonomous_identity_response.json"
	seedCursor = "WyJhYXJvbi5maXNjaGVyIiwiV0VCX3VzZXJfU2hhcmVkX0VkaXRfQURNSU5fSUkiXQ=="
)

// seedRequest is the example of that page as it is printed, but for the indent.
const seedRequest = `curl -k -X POST \
https://autoid-ui.forgerock.com/api/assignments \
-H 'X-API-KEY: <api key value>' \
-H 'Content-Type: application/json' \
-d '{
  "pageSize": 20,
  "cursor": "` + seedCursor + `"
}'
`

// seedRows gives the rows that the page shows, without white space.
func seedRows(t *testing.T) []jsontext.Value {
	t.Helper()
	page, err := os.ReadFile(seedPage)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Assignments []jsontext.Value `json:"assignments"`
	}
	if err := json.Unmarshal(page, &answer); err != nil || len(answer.Assignments) != 4 {
		t.Fatalf("%d rows, %v", len(answer.Assignments), err)
	}
	for i := range answer.Assignments {
		if err := answer.Assignments[i].Compact(); err != nil {
			t.Fatal(err)
		}
	}
	return answer.Assignments
}

// sent is the answer to a request.
type sent struct {
	status int
	header http.Header
	body   string
}

// send sends a request to the node.
func (r *running) send(key, method, path, body string, headers ...string) sent {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url()+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("X-API-KEY", key)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	content, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return sent{res.StatusCode, res.Header, string(content)}
}

// ingest sends items, which must all be published, and gives the sequence of the
// answer.
func (r *running) ingest(key, resource, body string, headers ...string) string {
	r.t.Helper()
	a := r.send(key, http.MethodPost, "/api/ingest/"+resource, body, headers...)
	seq := a.header.Get("Assigndex-Seq")
	if a.status != http.StatusOK || !strings.HasPrefix(a.body, `{"message":"ok","sequence":`+seq+`,`) {
		r.t.Fatalf("%s: %d %v %s", resource, a.status, a.header, a.body)
	}
	return seq
}

// TestSampleRowsArriveThreeWays brings the sample rows of Autonomous Identity into
// three tenants: by CSV, by ingest and as events. The answers are equal byte for
// byte, and are the page that its documentation shows.
func TestSampleRowsArriveThreeWays(t *testing.T) {
	n := startNode(t, t.TempDir())
	key := n.must("", "key", "create", "--name", "test", "--tenant", "*", "--role", "writer")
	rows := seedRows(t)

	code, out, errs := n.command("", "publish", "--tenant", "csv", "--format", "autoid-csv", filepath.Join(csvData, "seed"))
	if code != exitDone || out != "published 4 events, last sequence 4\n" ||
		!strings.Contains(errs, "seed has no applications.csv") || !strings.Contains(errs, "seed has no identities.csv") || strings.Contains(errs, "no assignments.csv") {
		t.Fatalf("code %d, %q, %q", code, out, errs)
	}
	n.must("", "publish", "--tenant", "events", filepath.Join(csvData, "seed", "events.ndjson"))
	var items []string
	for _, row := range rows {
		items = append(items, string(row))
	}
	if last := n.ingest(key, "assignments", `{"action":"create","assignments":[`+strings.Join(items, ",")+`]}`, "Assigndex-Tenant", "ingest"); last != "12" {
		t.Fatalf("the last sequence is %s", last)
	}

	n.must("", "query", "--api-key", key, "--tenant", "ingest", "--at-least", "12") // tries again until the index is ready
	want := `{"cursor":null,"assignments":[` + strings.Join(items, ",") + `]}`
	for _, tenant := range []string{"csv", "ingest", "events"} {
		for _, body := range []string{`{}`, `{"usr_id":"aaron.fischer"}`, `{"cursor":"` + seedCursor + `","pageSize":20}`} {
			if got := n.send(key, http.MethodPost, "/api/assignments", body, "Assigndex-Tenant", tenant); got.body != want || got.status != http.StatusOK {
				t.Errorf("%s, %s: %d\n got %s\nwant %s", tenant, body, got.status, got.body, want)
			}
		}
		if got := n.send(key, http.MethodGet, "/api/companyview/assignmentStats", "", "Assigndex-Tenant", tenant); got.body != `{"total":4,"high":1,"medium":1,"low":0,"unscored":2}` {
			t.Errorf("%s: %s", tenant, got.body)
		}
	}
	// What is beyond the page is equal, too.
	const all = `{"include":["app_id","type","rights","params","attributes","valid_from","valid_until","user","group","entitlement","application"]}`
	byCSV := n.send(key, http.MethodPost, "/api/assignments", all, "Assigndex-Tenant", "csv").body
	for _, tenant := range []string{"ingest", "events"} {
		if got := n.send(key, http.MethodPost, "/api/assignments", all, "Assigndex-Tenant", tenant).body; got != byCSV || strings.Count(got, `"type":"USER"`) != 4 {
			t.Errorf("%s: %s\nby CSV: %s", tenant, got, byCSV)
		}
	}
}

// TestSeedRequest sends the example of Autonomous Identity's page with curl, as it
// is printed but for the host and the key.
func TestSeedRequest(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("there is no curl on PATH, with which the example is sent as it is printed")
	}
	n := startNode(t, t.TempDir())
	key := n.must("", "key", "create", "--name", "test")
	n.must("", "publish", filepath.Join(csvData, "seed", "events.ndjson"))
	n.must("", "query", "--api-key", key, "--at-least", "4") // tries again until the index is ready
	line := strings.NewReplacer("https://autoid-ui.forgerock.com", n.url(), "<api key value>", key).Replace(seedRequest)
	ask := func() string {
		t.Helper()
		var errs bytes.Buffer
		cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
		cmd.Stderr = &errs
		got, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, errs.String())
		}
		return string(got)
	}
	var rows []string
	for _, row := range seedRows(t) {
		rows = append(rows, string(row))
	}
	if got := ask(); got != `{"cursor":null,"assignments":[`+strings.Join(rows, ",")+`]}` {
		t.Errorf("%s", got)
	}

	// With more rows than a page, the cursor leads on.
	var more strings.Builder
	for i := range 30 {
		more.WriteString(`{"usr_id":"aaron.foltz","ent_id":"e` + strconv.Itoa(100+i) + `"}` + "\n")
	}
	n.must(more.String(), "publish")
	n.must("", "query", "--api-key", key, "--at-least", "34")
	var page struct {
		Cursor      *string          `json:"cursor"`
		Assignments []jsontext.Value `json:"assignments"`
	}
	total := 0
	for cursor := seedCursor; ; {
		got := ask()
		page.Cursor, page.Assignments = nil, nil
		if err := json.Unmarshal([]byte(got), &page, json.RejectUnknownMembers(true)); err != nil {
			t.Fatalf("%v: %s", err, got)
		}
		total += len(page.Assignments)
		if page.Cursor == nil {
			break
		}
		if len(page.Assignments) != 20 {
			t.Fatalf("a page of %d rows", len(page.Assignments))
		}
		line, cursor = strings.Replace(line, cursor, *page.Cursor, 1), *page.Cursor
	}
	if total != 34 {
		t.Errorf("%d rows", total)
	}
}

// TestIngestEndToEnd goes from ingest through the stream and the fold to what the
// client package reads.
func TestIngestEndToEnd(t *testing.T) {
	n := startNode(t, t.TempDir())
	writer := n.must("", "key", "create", "--name", "hr", "--role", "writer")
	reader := n.must("", "key", "create", "--name", "portal")
	n.ingest(writer, "applications", `{"action":"create","apps":[{"app_id":"web","app_name":"Web","app_owner_id":"o"}]}`)
	n.ingest(writer, "entitlements", `{"action":"create","entitlements":[{"ent_id":"edit","ent_name":"Edit","app_id":"web","secret_params":["pw"]}]}`)
	n.ingest(writer, "identities", `{"action":"create","identities":[{"usr_id":"u1","usr_name":"One","grp_id":"staff"},{"usr_id":"u2","usr_name":"Two"}]}`)
	last := n.ingest(writer, "assignments", `{"action":"create","assignments":[{"usr_id":"u1","ent_id":"edit","score":0.9,"params":{"pw":"hunter2","room":7}},{"usr_id":"u2","ent_id":"edit"}]}`)
	seq, err := strconv.ParseUint(last, 10, 64)
	if err != nil || seq != 6 {
		t.Fatalf("sequence %s, %v", last, err)
	}
	cl, err := client.New(client.Options{URL: n.url(), APIKey: reader})
	if err != nil {
		t.Fatal(err)
	}
	list := func(r client.Request) (all []client.Assignment) {
		t.Helper()
		r.PageSize = 1
		for a, err := range cl.All(t.Context(), r) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, a)
		}
		return all
	}
	got := list(client.Request{AppID: "web", AtLeast: seq, Include: []string{"app_id", "user", "entitlement", "application", "params", "created_at"}})
	if len(got) != 2 || got[0].User.UsrName != "One" || got[0].Entitlement.EntName != "Edit" || got[0].Application.AppName != "Web" || got[0].CreatedAt.IsZero() ||
		string(got[0].Params["pw"]) != `"***"` || string(got[0].Params["room"]) != "7" || got[1].UsrID != "u2" {
		t.Fatalf("%+v", got)
	}
	if got := list(client.Request{Level: "high"}); len(got) != 1 || got[0].UsrID != "u1" {
		t.Errorf("%+v", got)
	}
	stats, err := cl.Stats(t.Context(), client.StatsRequest{AppID: "web"})
	if err != nil || stats.Total != 2 || stats.High != 1 || stats.Unscored != 1 || stats.Seq != 6 {
		t.Errorf("%+v, %v", stats, err)
	}

	// The fold decides what create and update come to.
	n.ingest(writer, "assignments", `{"action":"create","assignments":[{"usr_id":"u1","ent_id":"edit","score":0.1}]}`)
	n.ingest(writer, "assignments", `{"action":"update","assignments":[{"usr_id":"u3","ent_id":"edit","score":0.1}]}`)
	n.ingest(writer, "assignments", `{"action":"update","assignments":[{"usr_id":"u2","ent_id":"edit","score":0.4}]}`)
	last = n.ingest(writer, "identities", `{"action":"delete","identities":[{"usr_id":"u1"}]}`)
	if last != "10" {
		t.Fatalf("sequence %s", last)
	}
	got = list(client.Request{AtLeast: 10})
	if len(got) != 1 || got[0].UsrID != "u2" || *got[0].Score != 0.4 {
		t.Errorf("%+v", got)
	}
	if then := list(client.Request{AsOf: client.AtSequence(8)}); len(then) != 2 || *then[0].Score != 0.9 {
		t.Errorf("as of 8: %+v", then)
	}
	// An instant comes to the sequence that the stream's stamps say.
	changed := list(client.Request{Include: []string{"updated_at"}})[0].UpdatedAt // at 9
	for _, c := range []struct {
		at   time.Time
		want uint64
	}{{changed, 9}, {changed.Add(-1), 8}, {time.Now().Add(time.Hour), 10}} {
		page, err := cl.Page(t.Context(), client.Request{AsOf: client.AtInstant(c.at)})
		if err != nil || page.Seq != c.want {
			t.Errorf("%s: %+v, %v; want sequence %d", c.at, page, err, c.want)
		}
		stats, err := cl.Stats(t.Context(), client.StatsRequest{AsOf: client.AtInstant(c.at)})
		if err != nil || stats.Seq != c.want {
			t.Errorf("%s: %+v, %v; want sequence %d", c.at, stats, err, c.want)
		}
		then := c.at.In(time.FixedZone("", 5400)).Format(time.RFC3339Nano)
		got := n.must("", "query", "--api-key", reader, "--output", "ndjson", "--page-size", "1", "--as-of", then)
		if want := n.must("", "query", "--api-key", reader, "--output", "ndjson", "--as-of", strconv.FormatUint(c.want, 10)); got != want || got == "" {
			t.Errorf("as of %s:\n%s\nas of %d:\n%s", then, got, c.want, want)
		}
	}
	for _, bad := range []string{"yesterday", "2026-02-30", "-1"} {
		if code, _, errs := n.command("", "query", "--api-key", reader, "--as-of="+bad); code != exitUsage || !strings.Contains(errs, "RFC 3339") {
			t.Errorf("--as-of %s: code %d, %s", bad, code, errs)
		}
	}
	if a := n.send(reader, http.MethodPost, "/api/ingest/identities", `{}`); a.status != http.StatusForbidden {
		t.Errorf("a reader ingests: %d %s", a.status, a.body)
	}
	// A batch of more messages than the stream takes at once.
	var items []string
	for i := range 2500 {
		items = append(items, `{"usr_id":"many`+strconv.Itoa(i)+`","ent_id":"edit"}`)
	}
	last = n.ingest(writer, "assignments", `{"action":"upsert","assignments":[`+strings.Join(items, ",")+`]}`)
	if stats, err = cl.Stats(t.Context(), client.StatsRequest{EntID: "edit", AtLeast: 2510}); last != "2510" || err != nil || stats.Total != 2501 {
		t.Errorf("sequence %s: %+v, %v", last, stats, err)
	}
}
