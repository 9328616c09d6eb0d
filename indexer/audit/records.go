package audit

import (
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

// Records checks that entities, guards and what is quarantined can be read.
func Records(src Source, limit int) (Check, error) {
	check := NewCheck(CheckRecords)
	for _, family := range []struct {
		tag     keys.Tag
		problem func(key, value []byte) string
	}{
		{keys.EntityTag, entityProblem}, {keys.GuardTag, guardProblem}, {keys.QuarantineTag, quarantinedProblem},
	} {
		err := src.Range([]byte{byte(family.tag)}, nil, func(key, value []byte) bool {
			check.Checked++
			if text := family.problem(key, value); text != "" {
				check.Find(limit, Describe(key), text)
			}
			return true
		})
		if err != nil {
			return check, err
		}
	}
	return check, nil
}

const notAKey = "the key cannot be read"

func entityProblem(key, value []byte) string {
	_, class, _, err := keys.ParseEntity(key)
	if err != nil {
		return notAKey
	}
	e, err := rows.DecodeEntity(value)
	if err != nil || !isRecord(class, e.Record) {
		return "the record cannot be read"
	}
	return ""
}

func guardProblem(key, value []byte) string {
	if _, err := keys.ParseGuard(key); err != nil {
		return notAKey
	}
	if len(value) != 8 {
		return "the revision cannot be read"
	}
	return ""
}

func quarantinedProblem(key, value []byte) string {
	if _, err := keys.ParseQuarantine(key); err != nil {
		return notAKey
	}
	if _, err := rows.DecodeQuarantined(value); err != nil {
		return "the reason cannot be read"
	}
	return ""
}

// Log is an index at one sequence with the changes that led to it.
type Log interface {
	Source
	// ChangedAt reports whether a key was written or deleted at a sequence.
	ChangedAt(key []byte, seq uint64) bool
	// Floor is the lowest sequence that can be read now.
	Floor() uint64
}

// Changes checks that every change that is logged above the floor is one: that it
// names an assignment which was written or revoked at its sequence, and that none
// before it at that sequence is missing.
func Changes(src Log, limit int) (Check, error) {
	check := NewCheck(CheckChanges)
	var tenantBefore string
	var before keys.Change
	err := src.Range([]byte{byte(keys.ChangeTag)}, nil, func(key, value []byte) bool {
		tenant, at, err := keys.ParseChange(key)
		if err != nil {
			check.Checked++
			check.Find(limit, Describe(key), notAKey)
			return true
		}
		following := tenant == tenantBefore && at.Seq == before.Seq && at.N == before.N+1
		tenantBefore, before = tenant, at
		if at.Seq <= src.Floor() {
			return true // it may be pruned in parts
		}
		check.Checked++
		problem := ""
		if logged, err := keys.ParseLogged(tenant, value); err != nil {
			problem = "the change cannot be read"
		} else if row := logged.Row.Make(keys.ByAssignee); !src.ChangedAt(row, at.Seq) {
			problem = "nothing changed then in " + Describe(row)
		}
		if problem == "" && at.N > 0 && !following {
			problem = "the change before it is missing"
		}
		if problem != "" && at.Seq > src.Floor() { // the floor has not passed it meanwhile
			check.Find(limit, Describe(key), problem)
		}
		return true
	})
	return check, err
}
