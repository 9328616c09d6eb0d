package query

import (
	"github.com/go-json-experiment/json"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
)

// seedMark begins the cursors of the Autonomous Identity pages: they are base64
// of a JSON array of two strings, the user and the entitlement of the last row.
const seedMark = '['

// decodeSeed reads such a cursor. It says where to go on and nothing else, not
// even of which listing it is.
func decodeSeed(b []byte) (listing.Position, bool) {
	var ids []string
	if err := json.Unmarshal(b, &ids); err != nil || len(ids) != 2 {
		return listing.Position{}, false
	}
	at := listing.Position{Assignee: events.Assignee{Kind: events.KindUser, ID: ids[0]}, EntID: ids[1]}
	return at, validPosition(at)
}
