package semaphor

import (
	"testing"

	"github.com/assigndex/assigndex/query"
)

func TestErrors(t *testing.T) {
	for want, p := range map[string]query.Error{
		`{"ok":false,"error":{"code":"INVALID_REQUEST","message":"no \"parameter\"","details":{"field":"é"}}}`: {
			Code: query.UnknownField, Field: "é", Detail: `no "parameter"`,
		},
		`{"ok":false,"error":{"code":"INVALID_REQUEST","message":"x","details":{"field":"as_of"}}}`:                   {Code: query.InvalidField, Field: "as_of", Detail: "x"},
		`{"ok":false,"error":{"code":"INVALID_REQUEST","message":"x","details":{"field":"at_least"}}}`:                {Code: query.ConflictingFields, Field: "at_least", Detail: "x"},
		`{"ok":false,"error":{"code":"INVALID_REQUEST","message":"x","details":{"field":"Assigndex-Seq"}}}`:           {Code: "invalid_header", Field: "Assigndex-Seq", Detail: "x"},
		`{"ok":false,"error":{"code":"PROJECT_FORBIDDEN","message":"x","details":{}}}`:                                {Code: "tenant_forbidden", Detail: "x"},
		`{"ok":false,"error":{"code":"UNAUTHENTICATED","message":"x","details":{}}}`:                                  {Code: "unauthenticated", Detail: "x"},
		`{"ok":false,"error":{"code":"HISTORY_PRUNED","message":"x","details":{}}}`:                                   {Code: query.HistoryPruned, Detail: "x"},
		"{\"ok\":false,\"error\":{\"code\":\"NOT_READY\",\"message\":\"\uFFFD\",\"details\":{\"field\":\"\uFFFD\"}}}": {Code: query.NotReady, Detail: "\xff", Field: "\xff"},
	} {
		if got := string(AppendError([]byte("x"), &p)); got != "x"+want {
			t.Errorf("\n got %s\nwant x%s", got, want)
		}
	}
}
