package httpapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/apikey"
)

func TestMetrics(t *testing.T) {
	reading := make(chan struct{})
	release := make(chan struct{})
	hold := false
	var keys *apikey.Set
	f := newFixture(t, func(o *Options) {
		keys = o.Auth[0].(Keys).Set
		index := o.Index
		o.Registry.MustRegister(Collector{Index: index, Lag: o.Lag, Keys: keys, Sizes: func() (int64, int64) { return 123, 45 }})
		o.Index = &hooked{Index: index, list: func() {
			if hold {
				close(reading)
				<-release
			}
		}}
	})
	f.index.apply("acme", give("u", "e", "a"), give("u", "f", "a"))
	if err := f.index.st.AdvanceFloor(1); err != nil {
		t.Fatal(err)
	}
	keys.Confirm(time.Now().Add(-time.Hour))
	f.list(`{}`)
	f.list(`{}`)
	f.post(`{`)
	f.do(http.MethodGet, "/nowhere", "")
	f.index.head.Store(9)
	hold = true
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		if _, err := f.send(t.Context(), http.MethodPost, "/api/assignments", strings.NewReader(`{}`)); err != nil {
			t.Error(err)
		}
	}()
	<-reading
	probe := *f.client
	probe.token = ""
	a := probe.do(http.MethodGet, "/metrics", "")
	close(release)
	<-answered
	if a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
		t.Fatalf("%d %v", a.status, a.header)
	}
	for _, line := range []string{
		`assigndex_http_request_seconds_count{route="assignments",status="2xx"} 2`,
		`assigndex_http_request_seconds_count{route="assignments",status="4xx"} 1`,
		`assigndex_http_request_seconds_count{route="assignments",status="5xx"} 0`,
		`assigndex_http_request_seconds_count{route="other",status="4xx"} 1`,
		`assigndex_http_requests_in_flight 2`,
		`assigndex_ready 1`,
		`assigndex_applied_sequence 2`,
		`assigndex_floor_sequence 1`,
		`assigndex_stream_head_sequence 9`,
		`assigndex_lag_sequences 7`,
		`assigndex_api_keys 3`,
		`assigndex_store_bytes{part="tree"} 123`,
		`assigndex_store_bytes{part="value_log"} 45`,
	} {
		if !strings.Contains(string(a.body), "\n"+line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	for _, name := range []string{"assigndex_lag_seconds", "assigndex_api_keys_age_seconds 36"} { // an hour is 3600 s and a bit
		if !strings.Contains(string(a.body), "\n"+name) {
			t.Errorf("no %s", name)
		}
	}
	if t.Failed() {
		t.Logf("%s", a.body)
	}
}

// What is not known is left out: zero would look like all is well.
func TestMetricsLeaveOutWhatIsNotKnown(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.Lag = func(time.Time) query.Lag { return query.Lag{} }
		o.Registry.MustRegister(Collector{Index: o.Index, Lag: o.Lag, Keys: &apikey.Set{}, Sizes: func() (int64, int64) { return 0, 0 }})
	})
	body := string(f.do(http.MethodGet, "/metrics", "").body)
	for _, name := range []string{"assigndex_lag_seconds", "assigndex_lag_sequences", "assigndex_stream_head_sequence", "assigndex_api_keys", "assigndex_api_keys_age_seconds"} {
		if strings.Contains(body, "\n"+name+" ") {
			t.Errorf("%s is there", name)
		}
	}
	if !strings.Contains(body, "\nassigndex_ready 0\n") {
		t.Error("assigndex_ready is not 0")
	}
}
