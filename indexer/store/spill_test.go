package store

// MaxPending is how many writes a batch remembers.
const MaxPending = maxPending

// Spill makes what the batch wrote durable and leaves the watermark where it is,
// as a crash between the two does. The store must be closed then.
func (b *Batch) Spill() error {
	b.txn.Discard()
	return b.wb.Flush()
}
