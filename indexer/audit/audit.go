// Package audit looks at a whole index at one sequence: a digest that two
// indexes share exactly when they say the same, and a check that the families of
// one index agree with each other.
//
// It refuses to repair anything, and to look at what is local to one index
// (watermark, floor, timeline), but for whether it can be read. Functions hold no
// state.
package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

// Source is the index at one sequence.
type Source interface {
	Get(key []byte) ([]byte, error)
	Range(prefix, from []byte, visit func(key, value []byte) bool) error
}

// Digest is a SHA-256 over the live assignments, entities and revision guards,
// in hexadecimal, and the number of assignments.
func Digest(src Source) (digest string, assignments int, err error) {
	h := sha256.New()
	var frame [16]byte
	for _, family := range keys.DigestFamilies {
		err := src.Range([]byte{byte(family)}, nil, func(key, value []byte) bool {
			binary.BigEndian.PutUint64(frame[:], uint64(len(key)))
			binary.BigEndian.PutUint64(frame[8:], uint64(len(value)))
			h.Write(frame[:])
			h.Write(key)
			h.Write(value)
			if family == keys.ByAssignee {
				assignments++
			}
			return true
		})
		if err != nil {
			return "", 0, fmt.Errorf("digest of family %q: %w", family, err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), assignments, nil
}

// Difference is a row that two families tell differently.
type Difference struct {
	Key     []byte
	Problem string
}

// String names the row and the problem.
func (d Difference) String() string { return fmt.Sprintf("%q: %s", d.Key, d.Problem) }

// Agree compares every family of rows with the family by assignee, and the
// attributes with the entitlements, and returns at most limit differences.
func Agree(src Source, limit int) ([]Difference, error) {
	a, err := agree(src, limit)
	if err != nil {
		return nil, err
	}
	return a.found, nil
}

// Families is Agree as a check, which counts what is beyond its limit.
func Families(src Source, limit int) (Check, error) {
	check := NewCheck(CheckFamilies)
	a, err := agree(src, limit)
	if err != nil {
		return check, err
	}
	for _, d := range a.found {
		check.Find(limit, Describe(d.Key), d.Problem)
	}
	check.Checked, check.Differences = a.checked, a.reported
	return check, nil
}

func agree(src Source, limit int) (*agreement, error) {
	a := &agreement{src: src, limit: limit, expected: make(map[keys.Tag]int)}
	if err := src.Range([]byte{byte(keys.ByAssignee)}, nil, a.row); err != nil {
		return nil, err
	}
	if a.err != nil {
		return nil, a.err
	}
	// Each row was found where it should be, so a family that holds more keys
	// than that holds rows that are not assignments.
	for _, family := range keys.RowFamilies[1:] {
		if err := a.strays(family); err != nil {
			return nil, err
		}
	}
	if err := a.attributes(); err != nil {
		return nil, err
	}
	return a, a.err
}

type agreement struct {
	src      Source
	limit    int
	expected map[keys.Tag]int // keys that were found where they should be, by family
	found    []Difference
	reported int   // found and more
	checked  int64 // rows and attributes that were looked for or looked at
	err      error
}

func (a *agreement) report(key []byte, problem string, args ...any) {
	a.reported++
	if len(a.found) < a.limit {
		a.found = append(a.found, Difference{bytes.Clone(key), fmt.Sprintf(problem, args...)})
	}
}

func (a *agreement) row(key, value []byte) bool {
	a.checked++
	_, id, err := keys.ParseRow(key)
	if err != nil {
		a.report(key, "not a key: %v", err)
		return true
	}
	row, err := rows.DecodeRow(value)
	if err != nil {
		a.report(key, "not a row: %v", err)
		return true
	}
	families := keys.RowFamilies[1:2]
	if row.AppID != "" {
		id.AppID, families = row.AppID, keys.RowFamilies[1:]
	}
	for _, family := range families {
		listed := id.Make(family)
		a.checked++
		face, err := a.src.Get(listed)
		if err != nil {
			a.err = err
			return false
		}
		switch {
		case face == nil:
			a.report(key, "missing in family %q", family)
		case !bytes.Equal(face, row.Face):
			a.expected[family]++
			a.report(key, "told differently in family %q", family)
		default:
			a.expected[family]++
		}
	}
	return true
}

// strays reports the rows of a family that no assignment stands behind.
func (a *agreement) strays(family keys.Tag) error {
	count := 0
	if err := a.src.Range([]byte{byte(family)}, nil, func(_, _ []byte) bool { count++; return true }); err != nil {
		return err
	}
	if count == a.expected[family] {
		return nil
	}
	var visitErr error
	err := a.src.Range([]byte{byte(family)}, nil, func(key, _ []byte) bool {
		_, id, err := keys.ParseRow(key)
		if err != nil {
			a.report(key, "not a key: %v", err)
			return true
		}
		listedUnder := id.AppID
		id.AppID = ""
		value, err := a.src.Get(id.Make(keys.ByAssignee))
		if err != nil {
			visitErr = err
			return false
		}
		if value == nil {
			a.report(key, "listed without an assignment")
		} else if row, err := rows.DecodeRow(value); err == nil && family != keys.ByEntitlement && row.AppID != listedUnder {
			a.report(key, "listed under application %q, the assignment's is %q", listedUnder, row.AppID)
		}
		return true
	})
	if err != nil {
		return err
	}
	return visitErr
}
