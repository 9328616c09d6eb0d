// Package fold decides what an event changes. It is a function of the state
// just before the event, the event, and the event's moment in the stream, and
// of nothing else: no clock, no configuration, no order of maps. Applied to the
// same stream it writes the same keys, values and sequences, whatever the batch
// splits, restarts and redeliveries.
//
// It owns the rules: revisions, conditions, where an assignment's application
// comes from, which rows follow a moved or deleted entity, which parameter values
// may be kept, and who may drop what from the quarantine.
//
// It refuses to judge input (events.Decode did that), to know how state is
// stored, and to write anything when nothing changes. Within one event no key
// is written twice and no key is read after it was written.
//
// Concurrency: functions hold no state; State and Writer are used from the
// calling goroutine only.
package fold
