// Package openapi describes the HTTP API in OpenAPI 3.1, and holds the page that
// shows this description in a browser.
//
// It owns the files below document, where people write: openapi.yaml is the root,
// and every other file adds the paths of an area with the components that only
// they use. A new route is a new entry there; a test of package httpapi compares
// the paths with the routes of the server, and real requests and answers with
// what is written. Places in double braces are the settings of a server.
//
// It refuses to invent anything: what a field means is written by hand, not
// guessed from Go types. A name that two files define is an error.
//
// The page loads its own files and nothing else, so that it works without a
// network; Policy makes browsers hold it to that.
//
// Concurrency: functions hold no state and start no goroutine.
package openapi
