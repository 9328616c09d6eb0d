package autoid

import (
	"slices"
	"strings"

	"github.com/assigndex/assigndex/events"
)

// File is one of the four files, by its name without ".csv".
type File string

// The files. Applications come before the entitlements that name them, and
// assignments last, so that readers of the index meet no record without its
// details for longer than needed.
const (
	Applications File = "applications"
	Entitlements File = "entitlements"
	Identities   File = "identities"
	Assignments  File = "assignments"
)

// Files lists the files in the order in which they are to be published.
var Files = []File{Applications, Entitlements, Identities, Assignments}

// Name is the file's name in its directory, such as "identities.csv".
func (f File) Name() string { return string(f) + ".csv" }

// Type is the type of the events that the file's rows become.
func (f File) Type() events.Type { return layouts[f].event }

// form is how the cells of a column become JSON.
type form uint8

const (
	formText    form = iota // a string
	formNumber              // a number, as JSON writes it
	formJSON                // any JSON value
	formIgnored             // left out
	formUnnamed             // the header has no name for it, so its cells must be empty
)

// field is a member of the record that the event's type knows by name.
type field struct {
	name     string
	form     form
	required bool // the file must have the column, though cells may be empty
}

type layout struct {
	event  events.Type
	fields []field
}

// layouts is all that is known of the files. The required columns are those of
// the system's documentation, the others are what our events name.
var layouts = map[File]layout{
	Applications: {events.ApplicationUpserted, []field{
		{name: "app_id", required: true}, {name: "app_name", required: true}, {name: "app_owner_id", required: true},
		{name: "app_type"},
		{name: "revision", form: formNumber}, {name: "if"},
	}},
	Entitlements: {events.EntitlementUpserted, []field{
		{name: "ent_id", required: true}, {name: "ent_name", required: true}, {name: "ent_owner_id", required: true},
		{name: "app_id", required: true},
		{name: "description"}, {name: "ent_type"}, {name: "sub_type"}, {name: "category"}, {name: "ext_ref"},
		{name: "secret_params", form: formJSON},
		{name: "revision", form: formNumber}, {name: "if"},
	}},
	Identities: {events.UserUpserted, []field{
		{name: "usr_id", required: true}, {name: "usr_name", required: true}, {name: "usr_manager_id", required: true},
		{name: "email"}, {name: "grp_id"},
		{name: "revision", form: formNumber}, {name: "if"},
	}},
	Assignments: {events.AssignmentUpserted, []field{
		{name: "usr_id", required: true}, {name: "ent_id", required: true},
		{name: "app_id"}, {name: "grp_id"}, {name: "type"}, {name: "score", form: formNumber},
		{name: "justification", form: formJSON}, {name: "rights", form: formJSON}, {name: "params", form: formJSON},
		{name: "valid_from"}, {name: "valid_until"},
		{name: "revision", form: formNumber}, {name: "if"},
	}},
}

// names gives what a header may call the field without being told.
func (f field) names() []string {
	if rest, ok := strings.CutPrefix(f.name, "usr_"); ok {
		return []string{f.name, "user_" + rest}
	}
	return []string{f.name}
}

// field finds a field by its own name.
func (l layout) field(name string) (field, bool) {
	i := slices.IndexFunc(l.fields, func(f field) bool { return f.name == name })
	if i < 0 {
		return field{}, false
	}
	return l.fields[i], true
}

// called finds a field by what a header calls it, which is folded.
func (l layout) called(header string) (field, bool) {
	i := slices.IndexFunc(l.fields, func(f field) bool { return slices.Contains(f.names(), header) })
	if i < 0 {
		return field{}, false
	}
	return l.fields[i], true
}

// fold gives the form in which header names are compared.
func fold(header string) string { return strings.ToLower(strings.TrimSpace(header)) }
