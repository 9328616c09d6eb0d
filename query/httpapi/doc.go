// Package httpapi is the HTTP face of the index: routes, credentials, limits,
// headers, problems (RFC 9457), probes and metrics. API.md beside package query
// is its reference.
//
// It owns everything that only HTTP knows. What a request means is package
// query's, which keys there are is package apikey's. One table maps every reason
// for a refusal to its status.
//
// It refuses a request before it does work for it: path, method, credentials,
// tenant, size and type of the body, in this order. It never repeats or logs a
// credential, and logs nothing for a single request above debug unless the
// server is at fault.
//
// Concurrency: a Server may be used from any goroutine. New starts nothing; Run
// blocks until its context ends and every request under way was answered, or the
// time for that is over.
package httpapi
