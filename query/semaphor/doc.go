// Package semaphor prints assignments, and refusals, as the Semaphor page "List
// assignments" has them. API.md beside package query says what its members mean
// here.
//
// It owns the mapping and nothing else: a Semaphor project is a tenant, a
// definition is an entitlement, a connection is an application, a tenant is a
// group, an org user is a user, and a tenant user is a user that belongs to a
// group. Which rows there are, and in which order, is the listing's.
//
// It refuses to leave members out: every item has all of them, and null stands for
// what does not apply to it or is not known.
//
// Concurrency: functions hold no state and start no goroutine.
package semaphor
