package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/events"
)

// csvData has directories of CSV files, beside the package that reads them.
const csvData = "../../events/autoid/testdata"

// csvDir makes a directory of files.
func csvDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPublishCSV(t *testing.T) {
	n := startNode(t, t.TempDir())
	key := n.must("", "key", "create", "--name", "test")
	dir := filepath.Join(csvData, "company")
	code, out, errs := n.command("", "publish", "--format", "autoid-csv", dir)
	if code != exitDone || out != "published 9 events, last sequence 9\n" {
		t.Fatalf("code %d, %q, %q", code, out, errs)
	}
	want := ""
	for _, file := range []string{"applications.csv: 2", "entitlements.csv: 2", "identities.csv: 2", "assignments.csv: 3"} {
		want += "assigndex: " + dir + "/" + file + " published, 0 left out\n"
	}
	if errs != want {
		t.Errorf("got %q, want %q", errs, want)
	}

	js, err := jetstream.New(n.nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "ASSIGNMENTS")
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for seq := uint64(1); seq <= 9; seq++ {
		msg, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, strings.TrimSuffix(msg.Header.Get(events.TypeHeader), ".upserted"))
	}
	const order = "application application entitlement entitlement user user assignment assignment assignment"
	if got := strings.Join(types, " "); got != order {
		t.Errorf("published in the order %s", got)
	}

	// The application of the row comes from entitlements.csv.
	got := n.must("", "query", "--api-key", key, "--app", "dir", "--at-least", "9", "--output", "ndjson")
	if got != `{"ent_id":"DIR_Admin","usr_id":"ada.000001","score":1,"justification":[]}` {
		t.Errorf("the listing is %s", got)
	}
}

func TestPublishCSVReportsBadRowsAndPublishesTheOthers(t *testing.T) {
	n := startNode(t, t.TempDir())
	dir := csvDir(t, map[string]string{
		"identities.csv":  "usr_id,usr_name,usr_manager_id\n,nobody,\nu1,One,\n",
		"assignments.csv": "usr_id,ent_id,score\nu1,e1,high\nu1,e2\nu1,e3,2\nu1,e4,0.5\nu1,e5\n",
	})
	code, out, errs := n.command("", "publish", "--format", "autoid-csv", "--show-errors", "2", dir)
	if code != exitFailed || out != "published 2 events, last sequence 2\n" {
		t.Errorf("code %d, %q", code, out)
	}
	want := []string{
		"identities.csv:2:1: usr_id: missing or empty; send 1 to 1024 bytes of UTF-8",
		"identities.csv: 1 published, 1 left out",
		"assignments.csv:2:7: score: not a number; ",
		"assignments.csv:3:4: a row of 2 cells, where the header has 3; ",
		"assignments.csv: 2 more rows were not valid",
		"assignments.csv: 1 published, 4 left out",
		"5 rows were not valid and were left out",
	}
	for i, line := range strings.Split(strings.TrimSuffix(errs, "\n"), "\n")[2:] { // two say what is missing
		if i >= len(want) || !strings.Contains(line, want[i]) {
			t.Errorf("line %d is %q", i, line)
		}
	}
	if t.Failed() {
		t.Log(errs)
	}
}

func TestPublishCSVFindsFaultyHeadersBeforeItPublishes(t *testing.T) {
	n := startNode(t, t.TempDir())
	dir := csvDir(t, map[string]string{
		"applications.csv": "app_id,app_name,app_owner_id\na,A,\n",
		"identities.csv":   "usr_id;user_name;usr_manager_id\nu;U;\n",
		"assignments.csv":  "EMPNO,ent_id\nu,e\n",
	})
	code, out, errs := n.command("", "publish", "--format", "autoid-csv", dir)
	for _, want := range []string{"identities.csv:1: the columns seem to be separated by ';'", "assignments.csv:1: usr_id: there is no such column", "usr_id or user_id", "--column", "--comma"} {
		if !strings.Contains(errs, want) {
			t.Errorf("the errors lack %q: %s", want, errs)
		}
	}
	if code != exitFailed || out != "" {
		t.Errorf("code %d, %q", code, out)
	}
	// The next event is the first.
	if out := n.must(`{"usr_id":"u","ent_id":"e"}`, "publish"); out != "published 1 events, last sequence 1" {
		t.Error(out)
	}
}

func TestPublishCSVWithMappedColumns(t *testing.T) {
	dir := csvDir(t, map[string]string{
		"identities.csv":  "usr_id;EMPNO;Full Name;boss\n1;e1;One;\n",
		"assignments.csv": "BOSS;ROLE\ne1;edit\n",
		"columns.yaml": "# names of the directory\nidentities:\n  usr_id: [EMPLOYEE_NUMBER, empno]\n  usr_manager_id: boss\n  ignore: usr_id\n" +
			"entitlements:\nassignments:\n  usr_id: boss\n",
	})
	args := []string{"publish", "--dry-run", "--format", "autoid-csv", "--comma", ";", "--columns-file", filepath.Join(dir, "columns.yaml"), "--column", "assignments.ent_id=Role"}
	code, out, errs := runProgram(t, "", nil, append(args, "--column", "identities.usr_name=FULL NAME", dir)...)
	if code != exitDone || out != "2 events are valid, nothing was published\n" {
		t.Errorf("code %d, %q, %q", code, out, errs)
	}
	if code, _, errs := runProgram(t, "", nil, append(args, dir)...); code != exitFailed || !strings.Contains(errs, "usr_name or user_name") {
		t.Errorf("without a name for usr_name: code %d, %q", code, errs)
	}
}

func TestPublishDryRunNeedsNoServer(t *testing.T) {
	environ := []string{"ASSIGNDEX_NATS_URL=nats://127.0.0.1:1"}
	code, out, errs := runProgram(t, "", environ, "publish", "--dry-run", "--format", "autoid-csv", filepath.Join(csvData, "faulty"))
	if code != exitFailed || out != "2 events are valid, nothing was published\n" ||
		!strings.Contains(errs, "faulty/assignments.csv: 2 valid, 20 left out\n") || !strings.Contains(errs, "20 rows were not valid") {
		t.Errorf("code %d, %q, %q", code, out, errs)
	}
	code, out, errs = runProgram(t, "{\"usr_id\":\"u\",\"ent_id\":\"e\"}\n\nx\nx\n", environ, "publish", "--dry-run", "--show-errors", "1")
	if code != exitFailed || out != "1 events are valid, nothing was published\n" || strings.Contains(errs, "standard input:4:") {
		t.Errorf("code %d, %q, %q", code, out, errs)
	}
	for _, want := range []string{"standard input:3: ", "standard input: 1 more lines were not valid", "standard input: 1 valid, 2 left out", "2 lines were not valid"} {
		if !strings.Contains(errs, want) {
			t.Errorf("the errors lack %q: %s", want, errs)
		}
	}
	if code, out, errs := runProgram(t, `{"usr_id":"u","ent_id":"e"}`, environ, "publish", "--dry-run"); code != exitDone || out != "1 events are valid, nothing was published\n" {
		t.Errorf("code %d, %q, %q", code, out, errs)
	}
}

func TestPublishCSVMisuse(t *testing.T) {
	dir := csvDir(t, map[string]string{
		"assignments.csv": "usr_id,ent_id\n", "empty.yaml": "# nothing\n", "two.yaml": "identities: {}\n---\nidentities: {}\n",
		"list.yaml": "- identities\n", "deep.yaml": "identities:\n  usr_id:\n    - [x]\n", "field.yaml": "identities:\n  usr_id: x\n  usr_namee: y\n",
		"text.yaml": "identities: usr_id\n", "broken.yaml": "identities: [\n", "null.yaml": "identities:\n  usr_id:\n",
	})
	file := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{}, exitUsage, "takes one directory, got 0"},
		{[]string{dir, dir}, exitUsage, "takes one directory, got 2"},
		{[]string{"-"}, exitUsage, "takes one directory"},
		{[]string{"--type", "user.upserted", dir}, exitUsage, "--type"},
		{[]string{"--show-errors", "-1", dir}, exitUsage, "--show-errors"},
		{[]string{"--comma", "", dir}, exitUsage, "--comma"},
		{[]string{"--comma", "::", dir}, exitUsage, "--comma"},
		{[]string{"--comma", `"`, dir}, exitUsage, "--comma"},
		{[]string{"--column", "usr_id=EMPNO", dir}, exitUsage, "FILE.FIELD=HEADER"},
		{[]string{"--column", "identities.usr_idd=EMPNO", dir}, exitUsage, `no field "usr_idd"`},
		{[]string{"--columns-file", file("absent.yaml"), dir}, exitUsage, "absent.yaml"},
		{[]string{"--columns-file", file("empty.yaml"), dir}, exitUsage, "is empty"},
		{[]string{"--columns-file", file("two.yaml"), dir}, exitUsage, "more than one document"},
		{[]string{"--columns-file", file("list.yaml"), dir}, exitUsage, "list.yaml:1: not a map"},
		{[]string{"--columns-file", file("text.yaml"), dir}, exitUsage, "text.yaml:1: not a map"},
		{[]string{"--columns-file", file("deep.yaml"), dir}, exitUsage, "deep.yaml:3: identities.usr_id is neither"},
		{[]string{"--columns-file", file("null.yaml"), dir}, exitUsage, "null.yaml:2: identities.usr_id is neither"},
		{[]string{"--columns-file", file("field.yaml"), dir}, exitUsage, `field.yaml:3: not a mapping of a column: identities.csv has no field "usr_namee"`},
		{[]string{"--columns-file", file("broken.yaml"), dir}, exitUsage, "broken.yaml"},
		{[]string{filepath.Join(dir, "assignments.csv")}, exitFailed, "not a directory"},
		{[]string{filepath.Join(dir, "absent")}, exitFailed, "no such file"},
		{[]string{t.TempDir()}, exitFailed, "has none of applications.csv, entitlements.csv, identities.csv, assignments.csv"},
	} {
		code, out, errs := runProgram(t, "", nil, append([]string{"publish", "--dry-run", "--format", "autoid-csv"}, c.args...)...)
		if code != c.code || out != "" || !strings.Contains(errs, c.want) {
			t.Errorf("%q: code %d, %q, %q; want code %d and %q", c.args, code, out, errs, c.code, c.want)
		}
	}
	code, _, errs := runProgram(t, "", nil, "publish", "--comma", ";", "x")
	if code != exitUsage || !strings.Contains(errs, "--comma: only with --format autoid-csv") {
		t.Errorf("code %d, %q", code, errs)
	}
}

// TestPublishEndsWithItsContext sees that an interrupt ends what only reads, too.
func TestPublishEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{{filepath.Join(csvData, "seed", "events.ndjson")}, {"--format", "autoid-csv", filepath.Join(csvData, "company")}} {
		var out, errs bytes.Buffer
		p := program{args: append([]string{"publish", "--dry-run"}, args...), in: strings.NewReader(""), out: &out, err: &errs}
		if code := p.run(ctx); code != exitFailed || !strings.Contains(errs.String(), "context canceled") {
			t.Errorf("%q: code %d, %q", args, code, errs.String())
		}
	}
}
