package ibmverify

import (
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/query"
)

// Filter is the entitlement filter of a search. Empty fields are absent and what is
// given must all match, byte for byte. IBM's page marks name, type and application
// as required, since it shows the object that creates an entitlement: in a filter
// every field may be absent.
type Filter struct {
	Code        string
	Name        string
	Description string
	Type        string // role or permission
	SubType     string // regular or dynamic
	Application string // the entitlement's, which is not always the assignment's
	Category    string
	ExtRef      string
}

// defaultSubType is what an entitlement without a subtype is, as IBM's page says.
const defaultSubType = "regular"

const filterNames = "code, name, description, type, subType, application, category and extRef"

// filterBody is a filter as it is sent. A null is as good as an absent field.
type filterBody struct {
	Code        *string `json:"code"`
	Name        *string `json:"name"`
	Description *string `json:"description"`
	Type        *string `json:"type"`
	SubType     *string `json:"subType"`
	Application *string `json:"application"`
	Category    *string `json:"category"`
	ExtRef      *string `json:"extRef"`
}

// ParseFilter reads the body of a search. An empty one selects everything. Every
// error is a *query.Error.
func ParseFilter(data []byte) (Filter, error) {
	var f Filter
	var b filterBody
	if err := query.ParseObject(data, &b, filterNames); err != nil {
		return f, err
	}
	for _, field := range [...]struct {
		name string
		from *string
		into *string
	}{
		{"code", b.Code, &f.Code},
		{"name", b.Name, &f.Name},
		{"description", b.Description, &f.Description},
		{"type", b.Type, &f.Type},
		{"subType", b.SubType, &f.SubType},
		{"application", b.Application, &f.Application},
		{"category", b.Category, &f.Category},
		{"extRef", b.ExtRef, &f.ExtRef},
	} {
		if field.from == nil {
			continue
		}
		if *field.from == "" {
			return f, invalid(field.name, "must not be empty; leave the field out")
		}
		*field.into = *field.from
	}
	switch {
	case !isID(f.Code):
		return f, invalid("code", codeRule)
	case !isID(f.Application):
		return f, invalid("application", codeRule)
	case f.Type != "" && f.Type != "role" && f.Type != "permission":
		return f, invalid("type", "must be role or permission")
	case f.SubType != "" && f.SubType != "regular" && f.SubType != "dynamic":
		return f, invalid("subType", "must be regular or dynamic")
	}
	return f, nil
}

// entitlements gives what the filter asks of entitlements besides their code, nil
// when that is nothing.
func (f *Filter) entitlements() *listing.EntFilter {
	asked := listing.EntFilter{
		Name: f.Name, Description: f.Description, Type: f.Type, SubType: f.SubType,
		Category: f.Category, AppID: f.Application, ExtRef: f.ExtRef,
	}
	if asked == (listing.EntFilter{}) {
		return nil
	}
	asked.DefaultSubType = defaultSubType
	return &asked
}
