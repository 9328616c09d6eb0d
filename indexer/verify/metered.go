package verify

import (
	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/store"
)

// metered is a view whose reads end with the run's context and are told as progress.
type metered struct {
	view  *store.View
	run   *run
	about int64 // how many keys there are

	name string // of the check under way
	done int64  // keys that it has read
}

// toldEvery is how many keys are read between two looks at the context.
const toldEvery = 4096

func (m *metered) begin(name string) {
	m.name, m.done = name, 0
	m.run.tell(audit.Progress{Check: name, Of: m.about})
}

// Get is part of audit.Source.
func (m *metered) Get(key []byte) ([]byte, error) { return m.view.Get(key) }

// Range is part of audit.Source.
func (m *metered) Range(prefix, from []byte, visit func(key, value []byte) bool) error {
	var ended error
	err := m.view.Walk(prefix, from, func(key, value []byte, _ int) bool {
		if m.done++; m.done%toldEvery == 0 {
			m.run.tell(audit.Progress{Check: m.name, Done: m.done, Of: m.about})
			if ended = m.run.ctx.Err(); ended != nil {
				return false
			}
		}
		return value == nil || visit(key, value)
	})
	if ended != nil {
		return ended
	}
	if err == nil {
		err = m.run.ctx.Err()
	}
	return err
}

// ChangedAt is part of audit.Log.
func (m *metered) ChangedAt(key []byte, seq uint64) bool { return m.view.ChangedAt(key, seq) }

// Floor is part of audit.Log.
func (m *metered) Floor() uint64 { return m.view.Floor() }
