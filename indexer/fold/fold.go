package fold

import (
	"encoding/binary"
	"fmt"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

// Version is the version of the rules. An index that was built by another one
// must be rebuilt, so every change of what Apply writes takes a new version and
// a line here.
//
//	1: the first
//	2: entitlements can be found by their attributes; every change is logged;
//	   messages in the quarantine can be dropped
const Version = 2

// State is the index just before the event.
type State interface {
	// Get returns the value of key, or nil when there is none. The value must
	// not be changed and stays valid until Apply returns.
	Get(key []byte) ([]byte, error)
	// Scan visits every key with the prefix in bytewise order, as it was before
	// the event whatever visit writes, and stops at the first error. Key and
	// value are valid until visit returns.
	Scan(prefix []byte, visit func(key, value []byte) error) error
}

// Writer takes the net changes of the event. The fold gives up ownership of
// what it passes.
type Writer interface {
	Put(key, value []byte) error
	Delete(key []byte) error
	// Changed tells that an assignment changes, for counters and the change log,
	// once for each that does. Before is nil for a new one and after for a revoked
	// one; neither is kept.
	Changed(at rows.Moment, id keys.Row, before, after *rows.Row) error
}

// Outcome says what an event did.
type Outcome uint8

// The outcomes of an event.
const (
	Changed   Outcome = iota // it changed the index
	Unchanged                // it said what the index already held
	Outdated                 // its revision was not above the last one
	Unmet                    // its condition did not hold
)

// String gives the outcome as metrics name it.
func (o Outcome) String() string { return [...]string{"changed", "unchanged", "outdated", "unmet"}[o] }

// Apply folds one event. An error is the state's or the writer's, or says that
// a stored value is corrupt; it is never the event's fault.
func Apply(ev *events.Event, at rows.Moment, state State, w Writer) (Outcome, error) {
	f := folding{ev: ev, at: at, state: state, w: w}
	if ev.Drop != nil {
		return f.drop()
	}
	subject := subjectOf(ev)
	if ev.Revision != nil {
		last, err := f.state.Get(subject.guard)
		if err != nil {
			return 0, err
		}
		if last != nil {
			if len(last) != 8 {
				return 0, fmt.Errorf("revision guard: %w", rows.ErrCorrupt)
			}
			if *ev.Revision <= int64(binary.BigEndian.Uint64(last)) {
				return Outdated, nil
			}
		}
	}
	old, err := f.state.Get(subject.key)
	if err != nil {
		return 0, err
	}
	if (ev.If == events.IfAbsent && old != nil) || (ev.If == events.IfPresent && old == nil) {
		return Unmet, nil
	}
	if err := f.change(subject, old); err != nil {
		return 0, err
	}
	if ev.Revision != nil {
		if err := f.put(subject.guard, binary.BigEndian.AppendUint64(nil, uint64(*ev.Revision))); err != nil {
			return 0, err
		}
	}
	if f.wrote {
		return Changed, nil
	}
	return Unchanged, nil
}

// folding is one call of Apply.
type folding struct {
	ev    *events.Event
	at    rows.Moment
	state State
	w     Writer
	wrote bool
}

func (f *folding) put(key, value []byte) error {
	f.wrote = true
	return f.w.Put(key, value)
}

func (f *folding) del(key []byte) error {
	f.wrote = true
	return f.w.Delete(key)
}

// subject is the record that an event is about.
type subject struct {
	class      keys.Class
	id         string // of an entity
	key, guard []byte
	record     any // of an entity
}

// RecordKey is the key of the record that an event is about.
func RecordKey(ev *events.Event) []byte {
	if ev.Drop != nil {
		return keys.Quarantine(ev.Drop.Seq)
	}
	return subjectOf(ev).key
}

func subjectOf(ev *events.Event) subject {
	tenant := ev.Tenant
	if a := ev.Assignment; a != nil {
		return subject{
			class: keys.ClassAssignment,
			key:   keys.Row{Tenant: tenant, Assignee: a.Assignee, EntID: a.EntID}.Make(keys.ByAssignee),
			guard: keys.AssignmentGuard(tenant, a.Assignee, a.EntID),
		}
	}
	var s subject
	switch {
	case ev.User != nil:
		s = subject{class: keys.ClassUser, id: ev.User.UsrID, record: ev.User}
	case ev.Group != nil:
		s = subject{class: keys.ClassGroup, id: ev.Group.GrpID, record: ev.Group}
	case ev.Entitlement != nil:
		s = subject{class: keys.ClassEntitlement, id: ev.Entitlement.EntID, record: ev.Entitlement}
	default:
		s = subject{class: keys.ClassApplication, id: ev.Application.AppID, record: ev.Application}
	}
	s.key, s.guard = keys.Entity(tenant, s.class, s.id), keys.EntityGuard(tenant, s.class, s.id)
	return s
}

func (f *folding) change(s subject, old []byte) error {
	switch {
	case f.ev.Type == events.AssignmentUpserted:
		return f.upsertAssignment(s, old)
	case f.ev.Type == events.AssignmentRevoked:
		if old == nil {
			return nil
		}
		return f.revoke(f.assignmentRow(), old)
	case f.ev.Type.Removes():
		return f.deleteEntity(s, old)
	default:
		return f.upsertEntity(s, old)
	}
}
