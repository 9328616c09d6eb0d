package autoid

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/assigndex/assigndex/events"
)

// cellOf gives a cell that the field takes.
func cellOf(f field) string {
	switch f.name {
	case "type":
		return "USER"
	case "if":
		return "absent"
	case "valid_from", "valid_until":
		return "2026-01-31"
	case "ent_type":
		return "role"
	case "sub_type":
		return "dynamic"
	case "params":
		return `{"a":1}`
	case "secret_params":
		return `["a"]`
	case "grp_id":
		return "" // of an assignment, not beside a usr_id
	}
	return map[form]string{formText: "x", formNumber: "1", formJSON: "[]"}[f.form]
}

// TestEveryFieldArrivesAsItself writes each field of each file, alone beside the
// required ones, and sees that it does not end as an attribute.
func TestEveryFieldArrivesAsItself(t *testing.T) {
	for _, file := range Files {
		l := layouts[file]
		for _, f := range l.fields {
			var names, cells []string
			for _, other := range l.fields {
				if other.required || other.name == f.name {
					names, cells = append(names, strings.ToUpper(other.name)), append(cells, `"`+strings.ReplaceAll(cellOf(other), `"`, `""`)+`"`)
				}
			}
			in := strings.Join(names, ",") + "\n" + strings.Join(cells, ",") + "\n"
			r, err := NewReader(strings.NewReader(in), file.Name(), file, Options{})
			if err != nil {
				t.Errorf("%s.%s: %v", file, f.name, err)
				continue
			}
			record, err := r.Read()
			if err != nil || record.Type != l.event {
				t.Errorf("%s.%s: %s %v", file, f.name, record.Type, err)
				continue
			}
			if shown := fmt.Sprintf("%+v", attributes(decode(t, record.Type, record.Data))); shown != "" {
				t.Errorf("%s.%s became an attribute: %s", file, f.name, shown)
			}
		}
	}
}

// TestNoFieldIsForgotten compares the layouts with the records of the events package.
func TestNoFieldIsForgotten(t *testing.T) {
	for file, record := range map[File]any{Applications: events.Application{}, Entitlements: events.Entitlement{}, Identities: events.User{}} {
		typ := reflect.TypeOf(record)
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			if _, ok := layouts[file].field(name); !ok && name != "attributes" {
				t.Errorf("%s has no field %s", file, name)
			}
		}
		if have, want := len(layouts[file].fields), typ.NumField()-1+2; have != want { // attributes; revision, if
			t.Errorf("%s has %d fields, want %d", file, have, want)
		}
	}
	// An assignment's record is not tagged: its members are AppID for app_id and so
	// on; usr_id, grp_id and type are its assignee.
	var names []string
	for _, f := range layouts[Assignments].fields {
		names = append(names, strings.ReplaceAll(f.name, "_", ""))
	}
	typ := reflect.TypeFor[events.Assignment]()
	for i := range typ.NumField() {
		name := strings.ToLower(typ.Field(i).Name)
		if name != "assignee" && name != "attributes" && !slices.Contains(names, name) {
			t.Errorf("assignments has no field %s", name)
		}
	}
}

func attributes(ev events.Event) string {
	switch {
	case ev.Assignment != nil:
		return string(ev.Assignment.Attributes)
	case ev.User != nil:
		return string(ev.User.Attributes)
	case ev.Entitlement != nil:
		return string(ev.Entitlement.Attributes)
	default:
		return string(ev.Application.Attributes)
	}
}
