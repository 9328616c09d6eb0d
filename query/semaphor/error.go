package semaphor

import (
	"strings"

	"github.com/assigndex/assigndex/query"
)

// InvalidRequest is the code that the page shows.
const InvalidRequest = "INVALID_REQUEST"

// codes are those that are not our own in capital letters: one for all that is
// wrong in a request, as on the page, and one that would speak of the other
// tenants.
var codes = map[query.Code]string{
	query.UnknownField:      InvalidRequest,
	query.InvalidField:      InvalidRequest,
	query.ConflictingFields: InvalidRequest,
	"invalid_header":        InvalidRequest,
	"tenant_forbidden":      "PROJECT_FORBIDDEN",
}

// CodeOf gives the code that stands for one of ours. It never changes.
func CodeOf(code query.Code) string {
	if c, ok := codes[code]; ok {
		return c
	}
	return strings.ToUpper(string(code))
}

// AppendError prints a refusal. Its details name the parameter or header at fault
// when there is one.
func AppendError(b []byte, p *query.Error) []byte {
	b = append(b, `{"ok":false,"error":{"code":"`...)
	b = append(b, CodeOf(p.Code)...)
	b = appendText(append(b, `","message":`...), strings.ToValidUTF8(p.Detail, "\uFFFD"))
	b = append(b, `,"details":{`...)
	if p.Field != "" {
		b = appendText(append(b, `"field":`...), strings.ToValidUTF8(p.Field, "\uFFFD"))
	}
	return append(b, "}}}"...)
}
