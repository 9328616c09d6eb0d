// Package assignmentcode names an assignment by one opaque text, for the pages of
// systems whose assignments have an id of their own.
//
// A code is a function of the tenant and of the assignment's identity (assignee
// and entitlement) and of nothing else, so it stays the same over changes,
// revocations and rebuilds, every replica gives the same one, and nothing is kept
// to resolve it.
//
// A code is bound to its tenant and refused for any other. It is no credential and
// no secret: whoever knows the tenant and the identity can make it.
//
// Every function is pure and may be called from any goroutine.
package assignmentcode
