// Package modeltest supports tests of the index: a model of what the index must
// say, and a generator of messages that make saying it hard.
//
// The model is written from the contract and not from the fold. It keeps plain
// maps, goes through everything for every event and every question, and shares
// nothing with the index but the types of the events package. Where both agree,
// two independent readings of the contract agree.
//
// The package refuses to check anything and does not know the testing package:
// whoever uses it compares.
//
// Concurrency: a Model and a Generator belong to one goroutine each.
package modeltest
