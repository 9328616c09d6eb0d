// Package keys is the schema of the index: every key that is written to Badger
// is made and read here. The store's own values share the tag 'm' and are named in
// package store.
//
// # The key table
//
// A key is a tag byte and then components. Text components are escaped and
// terminated (see Append), a kind is one byte, a number is eight bytes, big
// endian. Example bytes are for tenant "t", user "u", entitlement "e",
// application "p"; "␀" stands for the terminator 00 01.
//
//	tag  family                 components after the tag          example            value            timestamp
//	'a'  by assignee            tenant kind assignee entitlement  a t␀ 01 u␀ e␀      rows.Row         the event's sequence
//	'e'  by entitlement         tenant entitlement kind assignee  e t␀ e␀ 01 u␀      rows.Face        the event's sequence
//	'p'  by application         tenant app kind assignee ent      p t␀ p␀ 01 u␀ e␀   rows.Face        the event's sequence
//	'q'  by app and entitlement tenant app entitlement kind asg   q t␀ p␀ e␀ 01 u␀   rows.Face        the event's sequence
//	'n'  entity                 tenant class id                   n t␀ 03 e␀         rows.Entity      the event's sequence
//	'g'  revision guard         tenant class [kind] id [ent]      g t␀ 00 01 u␀ e␀   8 bytes          the event's sequence
//	'x'  entitlement attribute  tenant attribute value ent       x t␀ 01 Edit␀ e␀   empty            the event's sequence
//	'c'  change log             tenant sequence number           c t␀ 00…07 00…00   Logged           the event's sequence
//	'k'  counter                tenant scope id kind             k t␀ 02 e␀ 01      rows.Counts      constant
//	'z'  quarantine             sequence                          z 00…07            rows.Quarantined the event's sequence
//	'm'  meta                   name                              m watermark        see store        constant
//	                            "timeline/" and a sequence        m timeline/ 00…07  store.Rung       constant
//
// Writers: the fold writes a, e, p, q, n, x and g, and removes from z what an event
// drops; the indexer writes z; the store writes c, k and m. Readers: the fold reads
// a, e, p, n, g and z; listings read a, e, p, q, n and x; the change feed reads c and
// a; statistics read k; operators read z.
//
// The change log names what changed and nothing more: the row before and after is
// what family a holds at the sequences before and at the change, inside the window
// that the log is kept for.
//
// Keys at the constant timestamp are rewritten in place and have no snapshots. At
// that timestamp the store also writes tombstones under keys of this table with
// bytes behind them, which are nobody's (see the order law), to have Badger compact
// their ranges: store.Reclaim.
//
// The first four say the same four times: every combination of filters is one
// contiguous range of one family, and in each range rows of a kind come in
// bytewise (assignee, entitlement) order.
//
// # The order law
//
// Comparing two encoded keys of a family byte by byte gives the same result as
// comparing their components in turn, and no key of one component list is a
// prefix of another's. Ids may hold any byte, the terminator's included.
//
// The package refuses to know what values mean and does no I/O. Every function
// is pure and may be called from any goroutine.
package keys
