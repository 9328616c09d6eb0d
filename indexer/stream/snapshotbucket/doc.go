// Package snapshotbucket keeps snapshots of a stream's index in a JetStream object
// store, and takes them on a schedule.
//
// It owns the bucket's name and configuration, the names of the objects and the
// headers that say what is in one, the order of an upload, and which snapshots are
// kept. It writes the layout of every NATS tool, so that `nats object ls` and
// `nats object get` work; it sends and reads the chunks itself, since it must bound
// what is under way, read from the leader alone, and go on after a lost connection.
//
// A snapshot is there when its description is, which is stored last: chunks before it
// are nobody's. What a killed process has left of an upload is removed by the next Put
// or Prune of anybody once nothing has been added to it for a while. The description
// is removed first, so nothing that List shows was begun to be removed.
//
// It refuses to know what a snapshot holds: whoever puts one describes it, and whoever
// reads one compares. Open gives io.EOF only when every byte was read and the digest
// matches; what was read before that may be damaged and must not be used.
//
// Replicas share a bucket. Each looks at the newest snapshot before it takes one, so
// that together they take one in an interval; two that look at the same moment take
// two, and no more comes of it.
//
// A NATS account that may do this needs, with OBJ_<STREAM>-snapshots as <S>: publish to
// $JS.API.STREAM.INFO.<S> and $JS.API.STREAM.MSG.GET.<S>, which is all for
// `serve --bootstrap`; to take and remove snapshots also $JS.API.STREAM.PURGE.<S> and
// $O.<STREAM>-snapshots.>; to make the bucket $JS.API.STREAM.CREATE.<S>; and subscribe
// to its inbox.
//
// Concurrency: every method of Bucket and Keeper may be called from any goroutine, but
// Run of a Keeper once at a time. No goroutine outlives the call that began it.
package snapshotbucket
