package audit

import (
	"bytes"
	"fmt"
	"iter"
	"strings"

	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

// Compare compares what two indexes say at one sequence, the families of a digest,
// each walked once and side by side: this one, and one that was built afresh.
func Compare(this, fresh Source, limit int) (Check, error) {
	check := NewCheck(CheckRebuild)
	for _, family := range keys.DigestFamilies {
		if err := compareFamily(family, this, fresh, limit, &check); err != nil {
			return check, fmt.Errorf("compare family %q: %w", family, err)
		}
	}
	return check, nil
}

func compareFamily(family keys.Tag, this, fresh Source, limit int, check *Check) error {
	var failed [2]error
	nextA, stopA := iter.Pull2(all(this, family, &failed[0]))
	defer stopA()
	nextB, stopB := iter.Pull2(all(fresh, family, &failed[1]))
	defer stopB()
	keyA, valueA, moreA := nextA()
	keyB, valueB, moreB := nextB()
	for moreA || moreB {
		order := bytes.Compare(keyA, keyB)
		switch {
		case !moreB:
			order = -1
		case !moreA:
			order = 1
		}
		// An iteration that broke off looks like an end: what follows is not believed.
		for _, err := range failed {
			if err != nil {
				return err
			}
		}
		check.Checked++
		switch {
		case order < 0:
			check.Find(limit, Describe(keyA), "is not in an index built afresh")
		case order > 0:
			check.Find(limit, Describe(keyB), "is missing, an index built afresh has it")
		case !bytes.Equal(valueA, valueB):
			check.Find(limit, Describe(keyA), "an index built afresh tells it differently"+parts(family, valueA, valueB))
		}
		if order <= 0 {
			keyA, valueA, moreA = nextA()
		}
		if order >= 0 {
			keyB, valueB, moreB = nextB()
		}
	}
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}

// all gives what a family holds. Key and value are valid until the next step.
func all(src Source, family keys.Tag, failed *error) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		*failed = src.Range([]byte{byte(family)}, nil, yield)
	}
}

// parts names what of a record differs.
func parts(family keys.Tag, a, b []byte) string {
	var differ []string
	note := func(name string, same bool) {
		if !same {
			differ = append(differ, name)
		}
	}
	switch family {
	case keys.ByAssignee:
		x, errX := rows.DecodeRow(a)
		y, errY := rows.DecodeRow(b)
		if errX != nil || errY != nil {
			return ""
		}
		note("when it was created", x.Created == y.Created)
		note("when it was updated", x.Updated == y.Updated)
		note("application", x.AppID == y.AppID && x.OwnApp == y.OwnApp)
		note("score or justification", bytes.Equal(x.Face, y.Face))
		note("rights, parameters, validity or attributes", bytes.Equal(x.Detail, y.Detail))
	case keys.EntityTag:
		x, errX := rows.DecodeEntity(a)
		y, errY := rows.DecodeEntity(b)
		if errX != nil || errY != nil {
			return ""
		}
		note("when it was created", x.Created == y.Created)
		note("when it was updated", x.Updated == y.Updated)
		note("record", x.SameAs(&y))
	}
	if len(differ) == 0 {
		return ""
	}
	return ": " + strings.Join(differ, ", ")
}
