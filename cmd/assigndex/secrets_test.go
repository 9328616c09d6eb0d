package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// secret is a value of a parameter that must not come out.
type secret string

func newSecret(t *testing.T) secret {
	t.Helper()
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never fails
	return secret(hex.EncodeToString(b))
}

// fragment is how much of a secret is looked for: compression may cut it anywhere.
const fragment = 12

// in reports whether a part of the secret that cannot be there by chance is in b.
func (s secret) in(b []byte) bool {
	for i := 0; i+fragment <= len(s); i++ {
		if bytes.Contains(b, []byte(s[i:i+fragment])) {
			return true
		}
	}
	return false
}

// written collects what a log writes.
type written struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(p)
}

func (w *written) bytes() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.buf.Bytes())
}

// Values of secret parameters, whenever they are declared so, are in no answer and
// no log line; those that were secret or unknown when they came are in no file of
// the index either, nor is anything of a message that was quarantined.
func TestSecrets(t *testing.T) {
	dir, log := t.TempDir(), new(written)
	n := startLogging(t, dir, zerolog.New(log).Level(zerolog.TraceLevel), func(*node) {})
	key := n.must("", "key", "create", "--name", "reader", "--role", "admin")
	before, with, unknown, after, malformed, notParams := newSecret(t), newSecret(t), newSecret(t), newSecret(t), newSecret(t), newSecret(t)
	open := newSecret(t) // of a parameter that is never secret: it is looked for to know that looking works
	entitlement := func(id, secrets string) {
		n.raw("entitlement.upserted", fmt.Sprintf(`{"ent_id":%q,"secret_params":[%s]}`, id, secrets))
	}
	assignment := func(ent string, password secret) {
		n.raw("assignment.upserted", fmt.Sprintf(`{"usr_id":"u","ent_id":%q,"params":{"password":%q,"room":%q}}`, ent, password, open))
	}
	entitlement("before", `"password"`)
	assignment("before", before)
	entitlement("with", `"password"`)
	assignment("with", with)
	assignment("later known", unknown)
	entitlement("later known", `"password"`)
	entitlement("after", ``)
	assignment("after", after)
	n.must("", "query", "--api-key", key, "--at-least", "8") // tries again until the index is ready
	if got := n.params(key, 8, ""); !strings.Contains(got, string(after)) {
		t.Fatalf("before it is declared secret: %s", got)
	}
	entitlement("after", `"password"`)
	entitlement("before", ``) // no longer declared: what was masked stays so
	entitlement("after", ``)
	n.raw("assignment.upserted", fmt.Sprintf(`{"usr_id":"u","ent_id":"x","score":7,"params":{"password":%q}}`, malformed))
	n.raw("assignment.upserted", fmt.Sprintf(`{"usr_id":"u","ent_id":"x","params":%q}`, notParams))
	n.raw("assignment.upserted", fmt.Sprintf(`{"usr_id":"u","ent_id":"x","params":{"password":%q}`, malformed)) // cut short
	const last = 14

	secrets := map[string]secret{
		"declared before": before, "declared with it": with, "declared when the entitlement became known": unknown,
		"declared after": after, "of a malformed event": malformed, "in the place of all parameters": notParams,
	}
	telling := 0 // answers that tell of parameters at all
	for seq := uint64(1); seq <= last; seq++ {
		for _, answer := range n.everything(key, last, seq) {
			if strings.Contains(answer, string(open)) {
				telling++
			}
			for what, s := range secrets {
				if s.in([]byte(answer)) {
					t.Errorf("%s, as of %d: %s", what, seq, answer)
				}
			}
		}
	}
	if telling < 4*8 {
		t.Errorf("only %d answers tell of parameters", telling)
	}
	if got := n.params(key, last, ""); strings.Count(got, `"***"`) != 5 || strings.Count(got, string(open)) != 3 {
		t.Errorf("at last: %s", got)
	}
	n.stopNode()
	logged := log.bytes()
	for what, s := range secrets {
		if s.in(logged) {
			t.Errorf("%s: in the log", what)
		}
	}
	files := 0
	found := map[string]bool{}
	delete(secrets, "declared after") // it was stored when nothing said that it is secret
	secrets["open"] = open
	err := filepath.WalkDir(filepath.Join(dir, "index"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		content, err := os.ReadFile(path)
		for what, s := range secrets {
			found[what] = found[what] || s.in(content)
		}
		return err
	})
	if err != nil || files < 3 || !found["open"] {
		t.Fatalf("looked into %d files, found %v, %v", files, found, err)
	}
	for what, there := range found {
		if there && what != "open" {
			t.Errorf("%s: in a file of the index", what)
		}
	}
}

// params asks for the user's parameters.
func (r *running) params(key string, atLeast uint64, more string) string {
	r.t.Helper()
	return r.answer(key, http.MethodPost, "/api/assignments", fmt.Sprintf(`{"usr_id":"u","at_least":%d,"include":["params","attributes"]%s}`, atLeast, more))
}

// answer gives the body and the headers of an answer, whatever its status.
func (r *running) answer(key, method, path, body string) string {
	r.t.Helper()
	a := r.send(key, method, path, body)
	return fmt.Sprint(a)
}

// everything asks every route that tells of assignments, as of a sequence where it
// can be named. The one that gives a quarantined message as the stream holds it is
// left out: that is what an admin asks it for.
func (r *running) everything(key string, last, seq uint64) (answers []string) {
	r.t.Helper()
	const include = `"include":["params","attributes","entitlement"]`
	answers = append(answers, r.params(key, last, fmt.Sprintf(`,"as_of":%d`, seq)))
	for _, path := range []string{
		"/metrics", "/readyz", fmt.Sprintf("/api/companyview/assignmentStats?as_of=%d", seq),
		fmt.Sprintf("/api/changes?since=%d&include=params,attributes", seq-1),
		fmt.Sprintf("/api/management/v1/projects/default/unified-security/assignments?as_of=%d", seq),
		"/api/quarantine", fmt.Sprintf("/api/quarantine/%d", seq),
		fmt.Sprintf("/api/quarantine/%d/redrive", seq),
	} {
		answers = append(answers, r.answer(key, http.MethodGet, path, ""))
	}
	for path, body := range map[string]string{
		"/api/assignments/diff":    fmt.Sprintf(`{"from":0,"to":%d,%s}`, seq, include),
		"/api/assignments/history": fmt.Sprintf(`{"usr_id":"u","ent_id":"after","as_of":%d,%s}`, seq, include),
		fmt.Sprintf("/v1.0/entitlements/assignments/search?includeRights=true&as_of=%d", seq): `{}`,
		fmt.Sprintf("/api/quarantine/%d/redrive", seq):                                        `{}`, // refused: what it holds is still no event
	} {
		answers = append(answers, r.answer(key, http.MethodPost, path, body))
	}
	return answers
}

// raw puts a message into the stream as it is.
func (r *running) raw(eventType, body string) {
	r.t.Helper()
	msg := nats.NewMsg("assignments.default.raw")
	msg.Header.Set("Assigndex-Type", eventType)
	msg.Data = []byte(body)
	js, err := jetstream.New(r.nc)
	if err == nil {
		_, err = js.PublishMsg(r.t.Context(), msg)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}
