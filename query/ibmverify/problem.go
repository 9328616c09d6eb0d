package ibmverify

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/query"
)

// messagePrefix begins the ids of messages. Those of IBM begin otherwise, so the
// two cannot be taken for one another.
const messagePrefix = "ADX_"

// MessageID gives the id of a refusal: ADX_ and its code in capitals. It is as
// stable as the code.
func MessageID(code query.Code) string { return messagePrefix + strings.ToUpper(string(code)) }

// AppendProblem prints a refusal as the API does. The description begins with the
// field at fault, when there is one.
func AppendProblem(b []byte, _ string, p *query.Error) []byte {
	description := p.Detail
	if p.Field != "" {
		description = p.Field + ": " + description
	}
	b = append(b, `{"messageId":"`...)
	b = append(b, MessageID(p.Code)...)
	b = append(b, `","messageDescription":`...)
	return append(appendQuote(b, description), '}')
}

func appendQuote(b []byte, s string) []byte {
	out, err := jsontext.AppendQuote(b, strings.ToValidUTF8(s, "\uFFFD"))
	if err != nil {
		return append(b, `""`...)
	}
	return out
}
