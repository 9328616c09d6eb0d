// Package ibmverify speaks the assignment search of IBM Verify: its parameters, its
// entitlement filter, its pages by number, and the form of its errors. The source of the names and their meanings is IBM's reference page
// "Search the assignments". That page does not show the JSON of an answer: the one
// here is this project's own, and query/API.md is its reference.
//
// It translates onto the one listing core and reads nothing by itself: a Search
// becomes listing.Selectors, and a Reader, which is a *query.Lister, reads them. It
// refuses what that page has no words for (an unknown, repeated, empty or
// contradicting parameter), and a page that lies behind more keys than one request
// may read. It knows nothing of HTTP. Codes of assignments are those of package
// assignmentcode.
//
// Concurrency: functions hold no state. A Search belongs to one request.
package ibmverify
