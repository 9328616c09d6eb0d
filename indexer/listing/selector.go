package listing

import (
	"slices"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

// Selector picks assignments of one tenant. An empty id selects any.
type Selector struct {
	Tenant     string
	Kinds      []events.Kind // in ascending order, without repeats, at least one
	AssigneeID string
	EntID      string
	AppID      string // the application that the assignment is listed under

	// Entitlements picks rows by their entitlements; nil: any. The rows of a kind
	// then come in bytewise (entitlement id, assignee id) order.
	Entitlements *EntFilter
	// Scores tests rows; nil: none. Rows that it drops are read all the same.
	Scores *Scores
	// Budget is how many keys one call may read when Scores tests rows or
	// Entitlements picks them, so that what few rows pass cannot hold a request up; 0:
	// DefaultBudget.
	Budget int
	// MaxPassed is how many stored versions that give no row one call may pass over,
	// so that neither can very many deleted rows; 0: DefaultMaxPassed.
	MaxPassed int
	// Include is what rows tell beyond their faces.
	Include Include
}

// Scores is a test of scores. A row without a score passes only a test that asks
// for none.
type Scores struct {
	Unscored bool     // pass rows without a score, and no others
	Least    *float64 // nil: any
	Most     *float64 // nil: any
	Below    *float64 // the score must be less; nil: any
}

// Pass reports whether a face passes the test.
func (s *Scores) Pass(f rows.Face) bool {
	score, scored := f.Score()
	if s.Unscored || !scored {
		return s.Unscored && !scored
	}
	return (s.Least == nil || score >= *s.Least) && (s.Most == nil || score <= *s.Most) && (s.Below == nil || score < *s.Below)
}

// Position is a place between two rows: after the row of this identity, whether
// or not there is one.
type Position struct {
	Assignee events.Assignee
	EntID    string
	// Before means before every row of the kind and entitlement. Only listings by
	// EntFilter end there.
	Before bool
}

// Contains reports whether a row at p could be in the selection, as far as its
// identity tells.
func (s Selector) Contains(p Position) bool {
	return slices.Contains(s.Kinds, p.Assignee.Kind) &&
		(s.AssigneeID == "" || s.AssigneeID == p.Assignee.ID) &&
		(s.EntID == "" || s.EntID == p.EntID)
}

// Picks reports whether a row of an identity that the selector contains is in the
// selection. It does not look at Entitlements.
func (s Selector) Picks(r *rows.Row) bool {
	return (s.AppID == "" || s.AppID == r.AppID) && (s.Scores == nil || s.Scores.Pass(r.Face))
}

// keyRange is the contiguous range that holds the selection's rows of one kind.
type keyRange struct {
	family keys.Tag
	prefix []byte
}

// rangeOf gives the range of kind. See the table in the package documentation
// of keys for the families.
func (s Selector) rangeOf(kind events.Kind) keyRange {
	family := s.family()
	prefix := keys.Prefix(make([]byte, 0, 32+len(s.Tenant)+len(s.AppID)+len(s.EntID)+len(s.AssigneeID)), family, s.Tenant)
	if s.AppID != "" {
		prefix = keys.Append(prefix, s.AppID)
	}
	if family == keys.ByEntitlement || family == keys.ByAppAndEnt {
		return keyRange{family, keys.AppendKind(keys.Append(prefix, s.EntID), kind)}
	}
	prefix = keys.AppendKind(prefix, kind)
	if s.AssigneeID != "" {
		prefix = keys.Append(prefix, s.AssigneeID)
		if s.EntID != "" {
			prefix = keys.Append(prefix, s.EntID)
		}
	}
	return keyRange{family, prefix}
}

func (s Selector) family() keys.Tag {
	byEnt := s.EntID != "" && s.AssigneeID == ""
	switch {
	case s.AppID != "" && byEnt:
		return keys.ByAppAndEnt
	case s.AppID != "":
		return keys.ByApp
	case byEnt:
		return keys.ByEntitlement
	default:
		return keys.ByAssignee
	}
}

// after gives the lowest key of the range's family above p.
func (r keyRange) after(s Selector, p Position) []byte {
	row := keys.Row{Tenant: s.Tenant, Assignee: p.Assignee, EntID: p.EntID, AppID: s.AppID}
	if r.family == keys.ByEntitlement || r.family == keys.ByAppAndEnt {
		// The range holds one entitlement, which need not be the position's.
		row.EntID = s.EntID
		if s.EntID > p.EntID {
			return row.Make(r.family) // the assignee's own row is above the position
		}
	}
	// No key begins another, so a byte more is above the row's own and below the next.
	return append(row.Make(r.family), 0)
}
