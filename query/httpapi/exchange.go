package httpapi

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/query/admission"
)

// exchange is a request and its answer. It belongs to the goroutine that serves
// the request, and goes back to the pool when that is done.
type exchange struct {
	w     http.ResponseWriter
	r     *http.Request
	route *route
	began time.Time

	segment string // of the path, where it varies

	caller Caller // zero before it is known, and on routes that need none
	tenant string

	pools []*admission.Pool // in which it has a place

	status int    // of the answer; 0: nothing was sent yet
	in     []byte // the request's body
	out    []byte // the answer's
	visit  func(rows.Face)
}

var exchanges = sync.Pool{New: func() any {
	x := &exchange{in: make([]byte, 0, 1<<10), out: make([]byte, 0, 16<<10)}
	x.visit = x.row
	return x
}}

func newExchange(w http.ResponseWriter, r *http.Request, at *route) *exchange {
	x := exchanges.Get().(*exchange) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	x.w, x.r, x.route, x.began, x.status = w, r, at, time.Now(), 0
	return x
}

// maxPooled bounds the buffers that are kept: few answers are larger.
const maxPooled = 1 << 20

func (x *exchange) free() {
	x.w, x.r, x.route, x.caller, x.tenant, x.segment, x.pools = nil, nil, nil, Caller{}, "", "", nil
	if cap(x.in) <= maxPooled && cap(x.out) <= maxPooled {
		exchanges.Put(x)
	}
}

// Header values that every answer shares. Nothing changes them.
var (
	typeJSON    = []string{"application/json"}
	typeProblem = []string{"application/problem+json"}
	typeEvents  = []string{"text/event-stream"}
	typeLines   = []string{"application/x-ndjson"}
	typeBytes   = []string{"application/octet-stream"}
	typeText    = []string{"text/plain; charset=utf-8"}
	noStore     = []string{"no-store"} // who holds what is nothing for shared caches
)

// send answers with a whole body.
func (x *exchange) send(status int, contentType []string, body []byte) {
	x.status = status
	h := x.w.Header()
	h["Content-Type"] = contentType
	h["Cache-Control"] = noStore
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	if status != http.StatusOK {
		x.w.WriteHeader(status)
	}
	if len(body) <= quicklySent {
		_, _ = x.w.Write(body) // an error says that the client is gone
		return
	}
	_ = x.aside(func() error {
		_, err := x.w.Write(body)
		return err
	})
}

// quicklySent is the size of answers, in bytes, that the system takes whole however
// slowly the client reads.
const quicklySent = 64 << 10

// aside runs f, which waits for the client, without holding on to places for long.
func (x *exchange) aside(f func() error) error {
	for _, p := range x.pools {
		inner := f
		f = func() error { return p.Aside(slowClient, inner) }
	}
	return f()
}

// place names the position in the stream that the answer is from.
func (x *exchange) place(seq uint64, stream string) {
	if stream == "" {
		return // the index never had a stream
	}
	values := []string{strconv.FormatUint(seq, 10), stream}
	h := x.w.Header()
	h[headerSeq], h[headerStream] = values[:1:1], values[1:]
}

// The headers of this service, in the form that net/http keeps them.
const (
	headerKey    = "X-Api-Key"
	headerTenant = "Assigndex-Tenant"
	headerStream = "Assigndex-Stream"
	headerSeq    = "Assigndex-Seq"

	headerLastEvent = "Last-Event-Id" // of server-sent events
)
