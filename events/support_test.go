package events

import (
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const testSubject = "assignments.acme.hr"

// bare makes a message of the bare form.
func bare(t Type, data string) Message {
	return Message{Subject: testSubject, Header: map[string][]string{TypeHeader: {string(t)}}, Data: []byte(data)}
}

// structured makes a message whose body is a whole CloudEvents event.
func structured(body string) Message {
	return Message{
		Subject: testSubject, Header: map[string][]string{"Content-Type": {"application/cloudevents+json"}}, Data: []byte(body),
	}
}

// binary makes a CloudEvents message with attributes in the headers given in
// pairs, over those that are required.
func binary(data string, headers ...string) Message {
	h := map[string][]string{
		"ce-specversion": {"1.0"}, "ce-type": {string(AssignmentUpserted)}, "ce-id": {"1"}, "ce-source": {"/test"},
	}
	for i := 0; i+1 < len(headers); i += 2 {
		h[headers[i]] = []string{headers[i+1]}
	}
	return Message{Subject: testSubject, Header: h, Data: []byte(data)}
}

func mustDecode(t *testing.T, m Message) Event {
	t.Helper()
	ev, err := Decode(m)
	if err != nil {
		t.Fatalf("Decode(%.300s): %v", m.Data, err)
	}
	return ev
}

// mustReject decodes a message that is not an event and checks that the
// rejection is one that a person can act on.
func mustReject(t *testing.T, m Message, code Code, field string) *Rejection {
	t.Helper()
	ev, err := Decode(m)
	if err == nil {
		t.Fatalf("Decode(%.300s) accepted %+v", m.Data, ev)
	}
	rej := asRejection(t, err)
	if rej.Code != code || rej.Field != field {
		t.Fatalf("Decode(%.300s) = code %q field %q (%v), want code %q field %q", m.Data, rej.Code, rej.Field, rej, code, field)
	}
	return rej
}

// asRejection checks the type of a decoder's error and what holds for all of them.
func asRejection(t *testing.T, err error) *Rejection {
	t.Helper()
	var rej *Rejection
	if !errors.As(err, &rej) || rej == nil {
		t.Fatalf("error %T %v is not a *Rejection", err, err)
	}
	if rej.Code == "" || rej.Problem == "" || rej.Remedy == "" {
		t.Fatalf("rejection without code, problem or remedy: %+v", rej)
	}
	for _, s := range []string{rej.Field, rej.Problem, rej.Remedy, rej.Error()} {
		if !utf8.ValidString(s) {
			t.Fatalf("rejection in invalid UTF-8: %q", s)
		}
	}
	return rej
}

// dataOf writes an event's data as an upstream would: the inverse of DecodeData.
func dataOf(t *testing.T, ev *Event) []byte {
	t.Helper()
	fields := map[string]any{}
	set := func(name, value string) {
		if value != "" {
			fields[name] = value
		}
	}
	if ev.Revision != nil {
		fields["revision"] = *ev.Revision
	}
	set("if", string(ev.If))
	var attributes jsontext.Value
	switch {
	case ev.Assignment != nil:
		a := ev.Assignment
		attributes = a.Attributes
		fields["type"] = a.Assignee.Kind.String()
		if a.Assignee.Kind == KindUser {
			set("usr_id", a.Assignee.ID)
		} else {
			set("grp_id", a.Assignee.ID)
		}
		set("ent_id", a.EntID)
		set("app_id", a.AppID)
		set("valid_from", a.ValidFrom)
		set("valid_until", a.ValidUntil)
		if a.Score != nil {
			fields["score"] = *a.Score
		}
		if a.Justification != nil {
			fields["justification"] = a.Justification
		}
		if a.Rights != nil {
			fields["rights"] = a.Rights
		}
		if a.Params != nil {
			params := map[string]jsontext.Value{}
			for _, p := range a.Params {
				params[p.Name] = p.Value
			}
			fields["params"] = params
		}
	case ev.User != nil:
		u := ev.User
		attributes = u.Attributes
		set("usr_id", u.UsrID)
		set("usr_name", u.UsrName)
		set("email", u.Email)
		set("usr_manager_id", u.UsrManagerID)
		set("grp_id", u.GrpID)
	case ev.Group != nil:
		attributes = ev.Group.Attributes
		set("grp_id", ev.Group.GrpID)
		set("grp_name", ev.Group.GrpName)
	case ev.Drop != nil:
		fields["seq"] = ev.Drop.Seq
		set("note", ev.Drop.Note)
	case ev.Entitlement != nil:
		e := ev.Entitlement
		attributes = e.Attributes
		set("ent_id", e.EntID)
		set("ent_name", e.EntName)
		set("description", e.Description)
		set("ent_type", e.EntType)
		set("sub_type", e.SubType)
		set("category", e.Category)
		set("ext_ref", e.ExtRef)
		set("ent_owner_id", e.EntOwnerID)
		set("app_id", e.AppID)
		if e.SecretParams != nil {
			fields["secret_params"] = e.SecretParams
		}
	case ev.Application != nil:
		a := ev.Application
		attributes = a.Attributes
		set("app_id", a.AppID)
		set("app_name", a.AppName)
		set("app_type", a.AppType)
		set("app_owner_id", a.AppOwnerID)
	default:
		t.Fatalf("event without a record: %+v", ev)
	}
	if len(attributes) > 0 {
		var more map[string]jsontext.Value
		if err := json.Unmarshal(attributes, &more); err != nil {
			t.Fatalf("attributes %s: %v", attributes, err)
		}
		for name, value := range more {
			if _, named := fields[name]; named {
				t.Fatalf("attribute %q is a field of its own", name)
			}
			fields[name] = value
		}
	}
	data, err := json.Marshal(fields)
	if err != nil {
		t.Fatalf("write the event's data: %v", err)
	}
	return data
}
