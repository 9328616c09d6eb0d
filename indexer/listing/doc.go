// Package listing answers "who has what": the assignments that a selector picks,
// in their one total order, from a position on.
//
// Rows come in bytewise (kind, assignee id, entitlement id) order, whatever the
// selector. For every combination of user or group, entitlement and application
// each kind is one contiguous range of one key family, so no row is read that is
// not returned; the exceptions are the row after the last, which tells that there
// are more, rows that a test of scores drops, and keys that have no row at the
// sequence, deleted ones for the most part. Budgets bound the latter two.
//
// It refuses to know where the bytes come from (Source), and the form of
// requests and cursors, which is the query side's business.
//
// Concurrency: functions hold no state.
package listing
