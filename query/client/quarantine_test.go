package client

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

func TestQuarantineFollowsPages(t *testing.T) {
	const one, two = `{"seq":3,"code":"bad_field","field":"score","time":"2026-01-31T12:00:00Z"}`, `{"seq":9,"code":"bad_json"}`
	c, s, _ := serve(t, Options{Tenant: "acme"}, give("9", `{"next":5,"quarantined":[`+one+`]}`), refuse(503, ""),
		give("9", `{"next":8,"quarantined":[]}`), give("9", `{"next":null,"quarantined":[`+two+`]}`))
	var raw []string
	var seqs []uint64
	for q, err := range c.Quarantine(t.Context(), QuarantineRequest{Code: "bad_field", Unattributed: true, AtLeast: 7}) {
		if err != nil {
			t.Fatal(err)
		}
		raw, seqs = append(raw, string(q.Raw)), append(seqs, q.Seq)
	}
	if !slices.Equal(raw, []string{one, two}) || !slices.Equal(seqs, []uint64{3, 9}) {
		t.Errorf("%q %v", raw, seqs)
	}
	const path = "GET /api/quarantine?"
	s.wantAsked(path+"at_least=7&code=bad_field&unattributed=true ", path+"after=5&at_least=7&code=bad_field&unattributed=true ",
		path+"after=5&at_least=7&code=bad_field&unattributed=true ", path+"after=8&at_least=7&code=bad_field&unattributed=true ")
	if _, headers := s.requests(); headers[0].Get("Assigndex-Tenant") != "acme" {
		t.Errorf("%v", headers[0])
	}
}

func TestQuarantineMalformed(t *testing.T) {
	for _, body := range []string{`[]`, `{}`, `{"next":1}`, `{"quarantined":[{}]}`, `{"quarantined":[7]}`, `{"next":"x","quarantined":[]}`} {
		c, _, _ := serve(t, Options{}, give("9", body))
		ended := 0
		for q, err := range c.Quarantine(t.Context(), QuarantineRequest{}) {
			if ended++; !errors.Is(err, ErrMalformed) || q != nil {
				t.Errorf("%s: %+v, %v", body, q, err)
			}
		}
		if ended != 1 {
			t.Errorf("%s: %d results", body, ended)
		}
	}
	c, _, _ := serve(t, Options{}, give("9", `{"next":5,"quarantined":[]}`), give("9", `{"next":5,"quarantined":[]}`))
	for _, err := range c.Quarantine(t.Context(), QuarantineRequest{}) {
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("a page that leads to itself: %v", err)
		}
	}
}

func TestOneQuarantined(t *testing.T) {
	c, s, _ := serve(t, Options{}, give("9", `{"seq":7,"code":"bad_json","reason":"r","remedy":"s"}`), refuse(404, ""),
		give("9", `{"subject":"s","header":{"a":["b"]},"body":"{"}`), give("9", `{"subject":"s","header":{},"body_base64":"/w=="}`), give("9", `{"subject":"hunter2`))
	q, err := c.Quarantined(t.Context(), 7, QuarantineRequest{Code: "too_large", Unattributed: true})
	if err != nil || q.Seq != 7 || q.Reason != "r" || q.Remedy != "s" {
		t.Errorf("%+v, %v", q, err)
	}
	var problem *Error
	if _, err := c.Quarantined(t.Context(), 8, QuarantineRequest{}); !errors.As(err, &problem) || problem.Status != http.StatusNotFound {
		t.Errorf("%v", err)
	}
	for _, want := range []string{"{", "\xff"} {
		if m, err := c.QuarantinedMessage(t.Context(), 7, QuarantineRequest{}); err != nil || string(m.Data()) != want {
			t.Errorf("%+v, %v", m, err)
		}
	}
	if _, err := c.QuarantinedMessage(t.Context(), 7, QuarantineRequest{}); !errors.Is(err, ErrMalformed) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
	const message = "GET /api/quarantine/7/message "
	s.wantAsked("GET /api/quarantine/7?unattributed=true ", "GET /api/quarantine/8 ", message, message, message)
}

func TestSettle(t *testing.T) {
	done := give("12", `{"seq":7,"sequence":12,"repeated":false}`)
	c, s, _ := serve(t, Options{}, done, done, done, done, done, done)
	for _, correction := range []Correction{
		{}, {Type: "user.deleted"}, {Data: jsontext.Value(`{"a":1}`)}, {Event: jsontext.Value(`{"specversion":"1.0"}`)},
	} {
		if last, err := c.Redrive(t.Context(), 7, QuarantineRequest{}, correction); last != 12 || err != nil {
			t.Errorf("%d, %v", last, err)
		}
	}
	for _, note := range []string{"", "n"} {
		if last, err := c.Drop(t.Context(), 7, QuarantineRequest{Unattributed: true}, note); last != 12 || err != nil {
			t.Errorf("%d, %v", last, err)
		}
	}
	const redrive, drop = "POST /api/quarantine/7/redrive ", "POST /api/quarantine/7/drop?unattributed=true "
	s.wantAsked(redrive+`{}`, redrive+`{"type":"user.deleted"}`, redrive+`{"data":{"a":1}}`, redrive+`{"specversion":"1.0"}`, drop+`{}`, drop+`{"note":"n"}`)
}
