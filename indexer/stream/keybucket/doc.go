// Package keybucket keeps API keys in a JetStream key-value bucket and keeps a
// running server's set of keys equal to it.
//
// It owns the bucket's name and configuration, and the rule for being up to
// date: a set was confirmed at a time when the bucket, asked then, held nothing
// else. It uses the bucket as every NATS tool does, so that `nats kv` shows it.
//
// A set follows the bucket, so it is behind by a moment. Lookup asks the bucket
// itself for one record and tells no sink: a record that was read just before its
// revocation must not come back into a set just after it.
//
// It refuses to know what a key is. A Codec names a record and turns it into
// bytes and back; a Sink takes the records. A record that cannot be decoded is
// logged and left out, and counts for nothing else.
//
// While NATS is out of reach, the sink keeps what it has. When NATS answers that
// there is no bucket, there are no keys: the sink is emptied and the bucket made
// anew.
//
// A NATS account that may do only this needs, with KV_assigndex-keys as <S>:
// publish to $JS.API.STREAM.INFO.<S>, $JS.API.CONSUMER.CREATE.<S>.>,
// $JS.API.CONSUMER.INFO.<S>.> and $JS.API.CONSUMER.MSG.NEXT.<S>.>, to look keys up
// $JS.API.STREAM.MSG.GET.<S>, and subscribe to its inbox. To make the bucket it needs $JS.API.INFO and
// $JS.API.STREAM.CREATE.<S> too; to create and revoke keys,
// $JS.API.DIRECT.GET.<S>.> and $KV.assigndex-keys.>.
//
// Concurrency: every method of Bucket may be called from any goroutine. Run
// calls its sink from one goroutine only, and has ended its others when it
// returns.
package keybucket
