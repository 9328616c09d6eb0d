package ibmverify

import (
	"slices"

	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/query/assignmentcode"
)

// ParseCode reads the code that an answer names an assignment of the tenant by. It
// reports false for anything else, and for codes of assignments that the API does
// not show.
func ParseCode(tenant, code string) (at listing.Position, ok bool) {
	at, err := assignmentcode.Decode(tenant, code)
	return at, err == nil && slices.Contains(Kinds, at.Assignee.Kind)
}

// codeOf gives the code of an assignment.
func codeOf(tenant string, a *listing.Assignment) string {
	return assignmentcode.Encode(tenant, listing.Position{Assignee: a.Assignee, EntID: a.EntID})
}
