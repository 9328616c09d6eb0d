package httpapi

import (
	"cmp"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/apikey"
	"github.com/assigndex/assigndex/query/ibmverify"
	"github.com/assigndex/assigndex/query/ingest"
)

// Options of a Server. Index, Lag, Registry and MaxPageSize must be given.
type Options struct {
	Index query.Index
	Lag   func(now time.Time) query.Lag
	// Publisher and Presence serve the ingest routes; nil: there are none.
	Publisher Publisher
	Presence  Presence
	// Quarantine serves what could not be applied, and Settler redrives and drops it;
	// nil: there are no such routes.
	Quarantine Quarantine
	Settler    Settler
	// Verifier checks the whole index; nil: there is no such route.
	Verifier Verifier
	// Rebuilder makes the index again; nil: there is no such route.
	Rebuilder Rebuilder
	// Snapshotter writes snapshots of the whole index; nil: there is no such route.
	Snapshotter Snapshotter
	// SnapshotStore keeps snapshots in the object store; nil: there are no such routes.
	SnapshotStore SnapshotStore
	// Auth are the kinds of credentials that requests may carry; the first one
	// that finds its kind decides. Empty: every request is refused.
	Auth        []Authenticator
	MaxPageSize int                  // rows, at least 1
	Levels      *rows.Thresholds     // of scores; nil: the default
	MaxWait     time.Duration        // how long at_least waits; 0: DefaultMaxWait
	ReadyMaxLag time.Duration        // a lag above makes /readyz answer 503; 0: none does
	Troubles    func() []string      // what /readyz tells operators; nil: nothing
	Limits      Limits               // of what is served at once, and of callers
	Watch       WatchOptions         // what watches may cost
	DiskFull    func() bool          // reports that no event may be published for want of room; nil: never
	Registry    *prometheus.Registry // gets the server's metrics, and is what /metrics shows
	Logger      zerolog.Logger

	// SearchBudget is how many rows and index keys a search by page number reads; 0:
	// ibmverify.DefaultBudget.
	SearchBudget int
}

// DefaultMaxWait is how long a request waits for a sequence.
const DefaultMaxWait = 5 * time.Second

// Server answers HTTP requests.
type Server struct {
	handlers    sync.WaitGroup // requests that are being answered
	limits      limits
	snapshots   sync.Mutex // held while one is written
	watches     *watches
	opts        Options
	publisher   Publisher
	presence    Presence
	lister      *query.Lister
	maxPageSize int
	maxWait     time.Duration
	publishWait time.Duration
	streamWait  time.Duration // for a client to take a piece of a streamed answer
	auth        []Authenticator
	challenges  []string // of auth, for WWW-Authenticate
	ready       readiness
	routes      map[string]*route // by path
	templates   []template        // of the other paths, by those that vary
	other       *route            // every other path
	metrics     *metrics
	log         zerolog.Logger
}

// New makes a server. The error is the registry's, or about the OpenAPI document
// that the program was built with.
func New(o Options) (*Server, error) {
	if o.MaxWait <= 0 {
		o.MaxWait = DefaultMaxWait
	}
	if o.Levels == nil {
		o.Levels = &rows.DefaultThresholds
	}
	o.SearchBudget = cmp.Or(o.SearchBudget, ibmverify.DefaultBudget)
	bounds := newLimits(o.Limits)
	if o.Settler != nil {
		o.Settler = pausingSettler{o.Settler, bounds.reads}
	}
	s := &Server{
		opts:        o,
		limits:      bounds,
		lister:      query.NewLister(pausing{o.Index, bounds.reads}, query.Options{MaxPageSize: o.MaxPageSize, MaxWait: o.MaxWait, Levels: *o.Levels}),
		maxPageSize: o.MaxPageSize,
		maxWait:     o.MaxWait,
		publishWait: publishWait,
		streamWait:  writeTimeout,
		watches:     newWatches(o.Watch),
		auth:        o.Auth,
		ready:       readiness{lag: o.Lag, maxLag: o.ReadyMaxLag, troubles: o.Troubles},
		log:         o.Logger,
	}
	for _, a := range o.Auth {
		s.challenges = append(s.challenges, a.Challenge())
	}
	s.routes = map[string]*route{
		"/api/assignments": {name: "assignments", methods: []string{http.MethodPost}, role: apikey.Reader, serve: s.assignments},
		"/api/companyview/assignmentStats": {
			name: "assignment_stats", methods: []string{http.MethodGet}, role: apikey.Reader, serve: s.assignmentStats,
		},
		"/livez":   {name: "livez", methods: probeMethods, serve: s.livez},
		"/readyz":  {name: "readyz", methods: probeMethods, serve: s.readyz},
		"/metrics": {name: "metrics", methods: probeMethods, serve: metricsOf(o.Registry)},
	}
	if o.Publisher != nil {
		s.publisher, s.presence = o.Publisher, o.Presence
		for _, r := range ingest.Resources {
			s.routes["/api/ingest/"+r.Name] = s.ingestRoute(r)
		}
	}
	s.templates = append(s.templates, newTemplate(semaphorPath, &route{
		name: "semaphor_assignments", methods: []string{http.MethodGet}, role: apikey.Reader, tenant: true, sort: streaming,
		problem: semaphorProblem, serve: s.semaphorAssignments,
	}))
	s.addIBMVerify()
	if o.Quarantine != nil {
		s.addQuarantine()
	}
	s.feedRoutes()
	if o.Verifier != nil {
		s.addVerify()
	}
	if o.Rebuilder != nil {
		s.addRebuild()
	}
	if o.Snapshotter != nil {
		s.addSnapshot()
	}
	if o.SnapshotStore != nil {
		s.addSnapshots()
	}
	if err := s.addDocs(); err != nil {
		return nil, err
	}
	s.other = &route{name: "other", serve: s.notFound}
	all := []*route{s.other}
	for _, r := range s.routes {
		all = append(all, r)
	}
	for _, t := range s.templates {
		all = append(all, t.route)
	}
	var err error
	if s.metrics, err = newMetrics(o.Registry, &s.ready, all); err != nil {
		return s, err
	}
	return s, s.limits.register(o.Registry)
}

var probeMethods = []string{http.MethodGet, http.MethodHead}

// route is what is served at a path.
type route struct {
	name    string            // for metrics
	methods []string          // empty: any
	maxBody int               // bytes; 0: maxQueryBody
	role    apikey.Role       // that a caller needs; 0: served without credentials
	all     bool              // it is about all tenants, and for credentials of all
	tenant  bool              // the varying segment of the path names the tenant
	sort    sort              // of work, for limits
	problem problemForm       // of what it refuses; nil: RFC 9457
	endless bool              // how long it is served tells nothing
	serve   func(x *exchange) // after the checks above
	seconds [classes]observer // by class of status
}

// ServeHTTP is part of http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at, segment := s.routeOf(r.URL)
	s.handlers.Add(1)
	defer s.handlers.Done()
	x := newExchange(w, r, at)
	x.segment = segment
	s.metrics.inFlight.Inc()
	defer s.finish(x)
	if err := s.admit(x); err != nil {
		s.refuse(x, err)
		return
	}
	if at.role != 0 {
		leave, err := s.limits.enter(r.Context(), at, x.caller.Name)
		if err != nil {
			s.refuse(x, err)
			return
		}
		defer leave()
		x.pools = s.limits.bySort[at.sort]
	}
	at.serve(x)
}

// finish ends a request, in whatever way its handler did.
func (s *Server) finish(x *exchange) {
	fault := recover()
	if fault != nil && fault != http.ErrAbortHandler { //nolint:errorlint // a panic's value, as net/http compares it
		s.log.Error().Interface("panic", fault).Str("route", x.route.name).Bytes("stack", debug.Stack()).
			Msg("a request made the server panic")
		if x.status == 0 {
			s.refuseWith(x, internal(), nil)
			fault = nil
		} else {
			fault = http.ErrAbortHandler // half an answer must not look whole
			x.status = http.StatusInternalServerError
		}
	}
	took := time.Since(x.began)
	s.metrics.inFlight.Dec()
	x.route.observe(x.status, took)
	s.log.Debug().Str("method", x.r.Method).Str("path", x.r.URL.Path).Int("status", x.status).Dur("took", took).
		Str("caller", x.caller.Name).Str("tenant", x.tenant).Msg("request")
	if fault != nil {
		panic(fault)
	}
	x.free()
}

func (s *Server) notFound(x *exchange) {
	s.refuse(x, &query.Error{Code: NotFound, Detail: "there is nothing at this path"})
}
