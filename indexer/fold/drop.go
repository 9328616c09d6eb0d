package fold

import (
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

// drop removes the reason why a message could not be applied, if it is there and
// not of another tenant. One whose tenant could not be read is nobody's, so every
// tenant's event may drop it; who may send such events is decided before the
// stream. A sequence is quarantined once and dropped once: that needs no guard.
func (f *folding) drop() (Outcome, error) {
	key := keys.Quarantine(f.ev.Drop.Seq)
	value, err := f.state.Get(key)
	if value == nil || err != nil {
		return Unchanged, err
	}
	q, err := rows.DecodeQuarantined(value)
	if err != nil {
		return 0, err
	}
	if q.Tenant != "" && q.Tenant != f.ev.Tenant {
		return Unchanged, nil
	}
	return Changed, f.del(key)
}
