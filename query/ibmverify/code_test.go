package ibmverify

import (
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/query/assignmentcode"
)

// Every kind that answers show has codes, and the kind ALL, which other systems'
// answers show, has none here.
func TestParseCode(t *testing.T) {
	for _, kind := range events.Kinds {
		at := listing.Position{Assignee: events.Assignee{Kind: kind, ID: "u/\x00"}, EntID: "é"}
		if kind == events.KindAll {
			at.Assignee.ID = ""
		}
		code := assignmentcode.Encode("acme", at)
		if got, ok := ParseCode("acme", code); ok != (kind != events.KindAll) || got != at {
			t.Errorf("%v: %+v, %v", kind, got, ok)
		}
		for _, bad := range []string{"", code[1:], code + "A"} {
			if _, ok := ParseCode("acme", bad); ok {
				t.Errorf("%v: %q is taken", kind, bad)
			}
		}
		if _, ok := ParseCode("other", code); ok {
			t.Errorf("%v: a code of another tenant is taken", kind)
		}
	}
}

// Clients keep codes, so they may not change.
func TestCodesStayTheSame(t *testing.T) {
	a := &listing.Assignment{Assignee: events.Assignee{Kind: events.KindUser, ID: "aaron.fischer"}, EntID: "Web_Shared_Edit"}
	if got := codeOf("acme", a); got != "AQEADWFhcm9uLmZpc2NoZXIAD1dlYl9TaGFyZWRfRWRpdPs67766Hmnz" {
		t.Errorf("%s", got)
	}
}
