package client_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/assigndex/assigndex/query/client"
)

func TestSnapshot(t *testing.T) {
	var play http.HandlerFunc
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/api/snapshot" || r.Header.Get("X-API-KEY") != "adx_x" {
			t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
		}
		play(w, r)
	}))
	defer server.Close()
	c, err := client.New(client.Options{URL: server.URL, APIKey: "adx_x"})
	if err != nil {
		t.Fatal(err)
	}
	whole := func(w http.ResponseWriter) {
		w.Header().Set("Assigndex-Seq", "7")
		w.Header().Set("Assigndex-Stream", "abc")
		_, _ = io.WriteString(w, "content") // the client tells
	}
	play = func(w http.ResponseWriter, _ *http.Request) { whole(w) }
	s, err := c.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(s)
	if err != nil || string(content) != "content" || s.Seq != 7 || s.Stream != "abc" {
		t.Errorf("%q, %v, %d, %s", content, err, s.Seq, s.Stream)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}

	play = func(w http.ResponseWriter, _ *http.Request) {
		whole(w)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	if s, err = c.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if content, err := io.ReadAll(s); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut off: %q, %v", content, err)
	}
	_ = s.Close() // it is cut off

	play = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, `{"title":"t","status":409,"code":"snapshot_running"}`) // the client tells
	}
	var problem *client.Error
	if _, err := c.Snapshot(t.Context()); !errors.As(err, &problem) || problem.Status != 409 || problem.Code != "snapshot_running" {
		t.Errorf("refused: %v", err)
	}
	play = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") }
	if _, err := c.Snapshot(t.Context()); !errors.Is(err, client.ErrMalformed) {
		t.Errorf("without a sequence: %v", err)
	}
}
