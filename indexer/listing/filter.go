package listing

import (
	"cmp"
	"fmt"

	"github.com/go-json-experiment/json"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

// EntFilter picks entitlements by what is known of them. An empty field picks
// any, and what is given must all be met, so an entitlement that is not known is
// never picked.
//
// Name, Type, Category, AppID and ExtRef are found through the index. SubType and
// Description are read off the entitlements that the others leave.
type EntFilter struct {
	Name        string
	Description string
	Type        string
	SubType     string
	Category    string
	AppID       string // the entitlement's application, which is not always the assignment's
	ExtRef      string

	// DefaultSubType is what an entitlement without a SubType counts as; empty: none.
	DefaultSubType string
}

// picks reports whether a known entitlement meets the filter.
func (f *EntFilter) picks(e *events.Entitlement) bool {
	for _, c := range [...][2]string{
		{f.Name, e.EntName}, {f.Description, e.Description}, {f.Type, e.EntType}, {f.SubType, cmp.Or(e.SubType, f.DefaultSubType)},
		{f.Category, e.Category}, {f.AppID, e.AppID}, {f.ExtRef, e.ExtRef},
	} {
		if c[0] != "" && c[0] != c[1] {
			return false
		}
	}
	return true
}

// attributes gives what the filter asks of the attributes that have an index.
func (f *EntFilter) attributes() []keys.AttributeValue {
	return keys.AttributesOf(&events.Entitlement{EntName: f.Name, EntType: f.Type, Category: f.Category, AppID: f.AppID, ExtRef: f.ExtRef})
}

// join gives the entitlements that are in every one of several ordered sets, by
// asking each in turn for the next one that could be in all.
type join struct {
	src    Source
	tenant string
	filter *EntFilter
	only   string // the one entitlement that is selected; empty: any
	sets   []idSet
	lister *lister // whose budgets the join spends
}

// idSet is a range of keys that end with the id of an entitlement, in order.
type idSet struct {
	prefix []byte
	parse  func(key []byte) (entID string, err error)
}

func (l *lister) join(src Source, sel Selector, kind events.Kind) *join {
	j := &join{src: src, tenant: sel.Tenant, filter: sel.Entitlements, only: sel.EntID, lister: l}
	for _, v := range j.filter.attributes() {
		if v.Value != "" {
			j.sets = append(j.sets, idSet{keys.AttributePrefix(sel.Tenant, v.Attribute, v.Value), func(key []byte) (string, error) {
				_, _, _, entID, err := keys.ParseAttribute(key)
				return entID, err
			}})
		}
	}
	if sel.AssigneeID != "" {
		theirs := sel
		theirs.EntID = ""
		j.sets = append(j.sets, idSet{theirs.rangeOf(kind).prefix, func(key []byte) (string, error) {
			_, row, err := keys.ParseRow(key)
			return row.EntID, err
		}})
	}
	if len(j.sets) == 0 {
		all := append(keys.Prefix(nil, keys.EntityTag, sel.Tenant), byte(keys.ClassEntitlement))
		j.sets = append(j.sets, idSet{all, func(key []byte) (string, error) {
			_, _, entID, err := keys.ParseEntity(key)
			return entID, err
		}})
	}
	return j
}

// next gives the first picked entitlement that is not below from. It reports
// false with the id that it came to when no more may be read, and with an empty
// id when there is none.
func (j *join) next(from string) (entID string, found bool, err error) {
	for {
		candidate := max(from, j.only)
		for agreed := 0; agreed < len(j.sets); {
			set := j.sets[agreed]
			if !j.lister.spend() {
				return candidate, false, nil
			}
			id, ok, err := j.seek(set, candidate)
			switch {
			case err != nil:
				return "", false, err
			case !ok:
				return id, false, nil
			case id == candidate:
				agreed++
			default:
				candidate, agreed = id, 0
			}
		}
		if j.only != "" && candidate != j.only {
			return "", false, nil
		}
		if !j.lister.spend() {
			return candidate, false, nil
		}
		value, err := j.src.Get(keys.Entity(j.tenant, keys.ClassEntitlement, candidate))
		if err != nil {
			return "", false, err
		}
		picked, err := j.picked(value)
		if err != nil || picked {
			return candidate, picked, err
		}
		from = candidate + "\x00" // the next possible id
	}
}

func (j *join) picked(value []byte) (bool, error) {
	if value == nil {
		return false, nil
	}
	entity, err := rows.DecodeEntity(value)
	if err != nil {
		return false, err
	}
	var e events.Entitlement
	if err := json.Unmarshal(entity.Record, &e); err != nil {
		return false, fmt.Errorf("entitlement: %w", rows.ErrCorrupt)
	}
	return j.filter.picks(&e), nil
}

// spend takes one read from the budget. It reports false when a budget is used up,
// or the context has ended.
func (l *lister) spend() bool {
	if !l.look(0) {
		return false
	}
	if l.page.Read == l.budget || l.page.Passed >= l.maxPassed {
		l.page.More, l.page.Spent = true, true
		return false
	}
	l.page.Read++
	return true
}

// seek gives the first id in a set that is not below from. It reports false
// without an id when there is none, and with the one it came to when it may pass
// over no more entries that have been deleted.
func (j *join) seek(set idSet, from string) (entID string, found bool, err error) {
	start := set.prefix
	if from != "" {
		start = keys.Append(set.prefix[:len(set.prefix):len(set.prefix)], from)
	}
	var parseErr error
	l := j.lister
	err = j.src.Walk(set.prefix, start, func(key, value []byte, passed int) bool {
		l.page.Passed += passed
		switch found = value != nil; {
		case !l.look(passed):
			return false
		case found:
		case l.page.Passed < l.maxPassed:
			return true
		default:
			l.page.More, l.page.Spent = true, true
		}
		entID, parseErr = set.parse(key)
		return false
	})
	if err == nil {
		err = cmp.Or(parseErr, l.err)
	}
	return entID, found, err
}

// filtered lists the rows of one kind whose entitlement the filter picks, in
// (entitlement, assignee) order.
func (l *lister) filtered(src Source, sel Selector, kind events.Kind, after *Position) error {
	j := l.join(src, sel, kind)
	from := ""
	if after != nil {
		from = after.EntID
	}
	for {
		entID, found, err := j.next(from)
		if err != nil {
			return err
		}
		if !found {
			if l.page.Spent {
				l.last, l.page.Last = nil, beforeRowsOf(kind, entID)
			}
			return l.err
		}
		if after != nil && after.EntID != entID {
			after = nil
		}
		one := sel
		one.EntID = entID
		read, passed := l.page.Read, l.page.Passed
		if err := l.scan(src, one, kind, after); err != nil {
			return err
		}
		if l.page.More {
			if l.page.Read == read && l.page.Passed == passed { // the join had left nothing to read rows with
				l.last, l.page.Last = nil, beforeRowsOf(kind, entID)
				if after != nil {
					l.page.Last = *after
				}
			}
			return nil
		}
		from = entID + "\x00"
	}
}

// beforeRowsOf is the place before the rows of an entitlement in a filtered
// listing.
func beforeRowsOf(kind events.Kind, entID string) Position {
	return Position{Assignee: events.Assignee{Kind: kind}, EntID: entID, Before: true}
}
