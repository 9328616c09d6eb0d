package httpapi

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/fold"
	"github.com/assigndex/assigndex/indexer/rows"
)

// The reference's examples of what changed are what a server answers.
func TestReferenceExamples(t *testing.T) {
	f := newFixture(t, nil)
	mark := f.index.st.Applied()
	batch := f.index.st.NewBatch(nil)
	for _, e := range []event{
		{"application.upserted", `{"app_id":"web"}`},
		{"assignment.upserted", `{"usr_id":"aaron.fischer","ent_id":"Web_Shared_Edit","score":0.6}`},
		give("aaron.fischer", "Web_Audit", "web"),
		{"assignment.upserted", `{"usr_id":"aaron.foltz","ent_id":"Web_Shared_Edit","score":0.98}`},
		{"user.deleted", `{"usr_id":"aaron.fischer"}`},
		{"application.upserted", `{"app_id":"web","app_name":"Web"}`},
	} {
		mark.Seq++
		mark.Nano = time.Date(2026, 1, 31, 12, 0, int(mark.Seq), 0, time.UTC).UnixNano()
		ev, err := events.DecodeData("acme", events.Type(e.kind), []byte(e.data))
		if err != nil {
			t.Fatal(err)
		}
		batch.At(mark.Seq)
		batch.Saw(mark.Nano)
		if _, err := fold.Apply(&ev, rows.Moment{Seq: mark.Seq, Nano: mark.Nano}, batch, batch); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Commit(mark); err != nil {
		t.Fatal(err)
	}
	f.index.head.Store(mark.Seq)

	reference, err := os.ReadFile("../API.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, title := range []string{"`GET /api/changes`", "`GET /api/watch`", "`POST /api/assignments/diff`", "`POST /api/assignments/history`"} {
		_, section, _ := strings.Cut(string(reference), "\n## "+title+"\n")
		blocks := regexp.MustCompile("(?s)```(?:sh|json|)\n(.*?)```").FindAllStringSubmatch(section, 2)
		if len(blocks) < 2 {
			t.Fatalf("%s has no example", title)
		}
		command, promised := blocks[0][1], blocks[1][1]
		path := regexp.MustCompile(`http://127.0.0.1:8080([^" ]*)`).FindStringSubmatch(command)[1]
		var got string
		switch body := regexp.MustCompile(`-d '(.*)'`).FindStringSubmatch(command); {
		case body != nil:
			got = string(f.do(http.MethodPost, path, body[1]).body) + "\n"
		case strings.HasPrefix(path, "/api/watch"):
			w := f.follow(strings.TrimPrefix(path, "/api/watch"))
			for range strings.Count(promised, "\n") {
				line, err := w.lines.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				got += line
			}
		default:
			got = string(f.do(http.MethodGet, path, "").body) + "\n"
		}
		if got != promised {
			t.Errorf("%s: the reference promises\n%s\nand the server answers\n%s", title, promised, got)
		}
	}
}
