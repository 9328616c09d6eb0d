package events

import (
	"encoding/base64"
	"strings"
	"testing"
)

const testData = `{"usr_id":"u","ent_id":"e"}`

func TestStructuredMode(t *testing.T) {
	const head = `"specversion":"1.0","type":"assignment.upserted","id":"é 1","source":"/s p"`
	for _, contentType := range []string{
		"application/cloudevents+json", "application/cloudevents", "Application/CloudEvents+JSON; charset=utf-8", "application/cloudevents+json;charset=UTF-8",
	} {
		for _, name := range []string{"Content-Type", "content-type", "CONTENT-TYPE"} {
			m := Message{Subject: testSubject, Header: map[string][]string{name: {contentType}}, Data: []byte(`{` + head + `,"data":` + testData + `}`)}
			if ev := mustDecode(t, m); ev.ID != "é 1" || ev.Source != "/s p" || ev.Type != AssignmentUpserted || ev.Assignment.EntID != "e" {
				t.Errorf("%s: %s: %s", name, contentType, show(ev))
			}
		}
	}
	for _, body := range []string{
		`{` + head + `,"data_base64":"` + base64.StdEncoding.EncodeToString([]byte(testData)) + `"}`,
		`{` + head + `,"data":null,"data_base64":"` + base64.StdEncoding.EncodeToString([]byte(testData)) + `"}`,
		`{` + head + `,"datacontenttype":"application/json","data":` + testData + `}`,
		`{` + head + `,"datacontenttype":"Application/JSON; charset=utf-8","data":` + testData + `}`,
		`{` + head + `,"datacontenttype":"application/vnd.x+json","data":` + testData + `}`,
		`{` + head + `,"time":"2026-01-01T00:00:00Z","subject":"x","dataschema":"urn:x","extension":[1],"data":` + testData + `}`,
	} {
		if ev := mustDecode(t, structured(body)); ev.Assignment.Assignee.ID != "u" {
			t.Errorf("%s: %s", body, show(ev))
		}
	}
	// Headers of the other forms do not count in a structured event.
	m := structured(`{` + head + `,"data":` + testData + `}`)
	m.Header["ce-type"], m.Header[TypeHeader] = []string{"user.deleted"}, []string{"user.deleted"}
	if ev := mustDecode(t, m); ev.Type != AssignmentUpserted {
		t.Errorf("a header overrode the event's type: %s", show(ev))
	}

	for _, c := range []struct {
		name, body string
		code       Code
		field      string
	}{
		{"another version", `{"specversion":"0.3","type":"assignment.upserted","id":"1","source":"/s","data":` + testData + `}`, BadEnvelope, "specversion"},
		{"no version", `{"type":"assignment.upserted","id":"1","source":"/s","data":` + testData + `}`, BadEnvelope, "specversion"},
		{"a number as version", `{"specversion":1.0,"type":"assignment.upserted","id":"1","source":"/s","data":` + testData + `}`, BadEnvelope, "specversion"},
		{"no type", `{"specversion":"1.0","id":"1","source":"/s","data":` + testData + `}`, BadEnvelope, "type"},
		{"no id", `{"specversion":"1.0","type":"assignment.upserted","source":"/s","data":` + testData + `}`, BadEnvelope, "id"},
		{"no source", `{"specversion":"1.0","type":"assignment.upserted","id":"1","data":` + testData + `}`, BadEnvelope, "source"},
		{"a type of ours that is none", `{"specversion":"1.0","type":"assignment.created","id":"1","source":"/s","data":` + testData + `}`, UnknownType, "type"},
		{"XML", `{` + head + `,"datacontenttype":"application/xml","data":"<x/>"}`, BadEnvelope, "datacontenttype"},
		{"not a media type", `{` + head + `,"datacontenttype":"json/","data":` + testData + `}`, BadEnvelope, "datacontenttype"},
		{"no data", `{` + head + `}`, BadEnvelope, "data"},
		{"data is null", `{` + head + `,"data":null}`, BadJSON, ""},
		{"data is text", `{` + head + `,"data":"{}"}`, BadJSON, ""},
		{"data twice over", `{` + head + `,"data":` + testData + `,"data_base64":"e30="}`, BadEnvelope, "data_base64"},
		{"not base64", `{` + head + `,"data_base64":"%%%"}`, BadEnvelope, "data_base64"},
		{"base64 of no JSON", `{` + head + `,"data_base64":"eA=="}`, BadJSON, ""},
		{"base64 of invalid UTF-8", `{` + head + `,"data_base64":"` + base64.StdEncoding.EncodeToString([]byte("{\"usr_id\":\"\xff\"}")) + `"}`, BadJSON, "usr_id"},
		{"repeated attribute", `{` + head + `,"id":"2","data":` + testData + `}`, BadJSON, "id"},
		{"a field of the data", `{` + head + `,"data":{"usr_id":"u"}}`, BadField, "ent_id"},
		{"a batch", `[]`, BadJSON, ""},
	} {
		t.Run(c.name, func(t *testing.T) { mustReject(t, structured(c.body), c.code, c.field) })
	}
	for _, contentType := range []string{"application/cloudevents-batch+json", "application/cloudevents+avro"} {
		m := structured(`{` + head + `,"data":` + testData + `}`)
		m.Header["Content-Type"] = []string{contentType}
		mustReject(t, m, BadEnvelope, "Content-Type")
	}
}

func TestBinaryMode(t *testing.T) {
	for _, headers := range []map[string][]string{
		{"ce-specversion": {"1.0"}, "ce-type": {"assignment.upserted"}, "ce-id": {"1"}, "ce-source": {"/s"}},
		{"Ce-Specversion": {"1.0"}, "Ce-Type": {"assignment.upserted"}, "Ce-Id": {"1"}, "Ce-Source": {"/s"}, "Content-Type": {"application/json"}},
		{"CE-SPECVERSION": {"1.0"}, "CE-TYPE": {"assignment.upserted"}, "CE-ID": {"1"}, "CE-SOURCE": {"/s"}, "CE-DATACONTENTTYPE": {"application/json;charset=utf-8"}},
		{"ce-specversion": {"1%2E0"}, "ce-type": {"assignment%2Eupserted"}, "ce-id": {"%31"}, "ce-source": {"%2fs"}, "ce-x": {"1"}},
		{"ce-specversion": {"1.0", "0.3"}, "ce-type": {"assignment.upserted", "user.deleted"}, "ce-id": {"1"}, "ce-source": {"/s"}},
	} {
		ev := mustDecode(t, Message{Subject: testSubject, Header: headers, Data: []byte(testData)})
		if ev.Type != AssignmentUpserted || ev.ID != "1" || ev.Source != "/s" || ev.Assignment.Assignee.ID != "u" {
			t.Errorf("%v: %s", headers, show(ev))
		}
	}
	ev := mustDecode(t, binary(testData, "ce-id", "%C3%A9%20%22%25%22", "ce-source", "a+b c"))
	if ev.ID != `é "%"` || ev.Source != "a+b c" {
		t.Errorf("percent-encoding: id %q source %q", ev.ID, ev.Source)
	}
	// The type header of the bare form does not count beside ce- headers.
	if ev := mustDecode(t, binary(testData, TypeHeader, "user.deleted")); ev.Type != AssignmentUpserted {
		t.Errorf("the bare form's header overrode ce-type: %s", show(ev))
	}
	for _, c := range []struct {
		name  string
		pairs []string
		code  Code
		field string
	}{
		{"another version", []string{"ce-specversion", "0.3"}, BadEnvelope, "specversion"},
		{"no version", []string{"ce-specversion", ""}, BadEnvelope, "specversion"},
		{"no type", []string{"ce-type", ""}, BadEnvelope, "type"},
		{"no id", []string{"ce-id", ""}, BadEnvelope, "id"},
		{"no source", []string{"ce-source", ""}, BadEnvelope, "source"},
		{"half an escape", []string{"ce-id", "50%"}, BadEnvelope, "ce-id"},
		{"no escape", []string{"ce-source", "%zz"}, BadEnvelope, "ce-source"},
		{"escaped invalid UTF-8", []string{"ce-id", "%FF"}, BadEnvelope, "ce-id"},
		{"raw invalid UTF-8", []string{"ce-type", "\xff"}, BadEnvelope, "ce-type"},
		{"XML in Content-Type", []string{"Content-Type", "text/xml"}, BadEnvelope, "datacontenttype"},
		{"XML in ce-datacontenttype", []string{"Content-Type", "application/json", "ce-datacontenttype", "text/xml"}, BadEnvelope, "datacontenttype"},
		{"a type that is none", []string{"ce-type", "com.example.user.created"}, UnknownType, "type"},
	} {
		t.Run(c.name, func(t *testing.T) { mustReject(t, binary(testData, c.pairs...), c.code, c.field) })
	}
}

func TestBareForm(t *testing.T) {
	for _, name := range []string{"Assigndex-Type", "assigndex-type", "ASSIGNDEX-TYPE"} {
		m := Message{Subject: testSubject, Header: map[string][]string{name: {"assignment.revoked"}, "Content-Type": {"text/plain"}}, Data: []byte(testData)}
		if ev := mustDecode(t, m); ev.Type != AssignmentRevoked || ev.ID != "" || ev.Source != "" {
			t.Errorf("%s: %s", name, show(ev))
		}
	}
	for _, h := range []map[string][]string{nil, {}, {TypeHeader: {}}, {TypeHeader: {""}}, {"Assigndex_Type": {"user.deleted"}}} {
		mustReject(t, Message{Subject: testSubject, Header: h, Data: []byte(testData)}, BadEnvelope, TypeHeader)
	}
}

// What an event says must not depend on the order of a map: replicas would part.
func TestSpellingsOfHeadersAreChosenAlways(t *testing.T) {
	for range 200 {
		m := Message{Subject: testSubject, Header: map[string][]string{
			"ASSIGNDEX-TYPE": {"assignment.upserted"}, "assigndex-type": {"assignment.revoked"}, "aSSIGNDEX-type": {"user.deleted"},
		}, Data: []byte(testData)}
		if ev := mustDecode(t, m); ev.Type != AssignmentUpserted {
			t.Fatalf("another spelling was taken: %s", ev.Type)
		}
		m.Header[TypeHeader] = []string{"assignment.revoked"}
		if ev := mustDecode(t, m); ev.Type != AssignmentRevoked {
			t.Fatalf("the exact spelling was not taken: %s", ev.Type)
		}
	}
}

func TestSubjects(t *testing.T) {
	long := strings.Repeat("t", MaxTenantBytes)
	for subject, tenant := range map[string]string{
		"assignments.acme.x": "acme", "assignments.A-b_9.a.b.c": "A-b_9", "assignments." + long + ".x": long, Subject("t"): "t", "assignments.0.\xff": "0",
	} {
		ev := mustDecode(t, Message{Subject: subject, Header: map[string][]string{TypeHeader: {"user.deleted"}}, Data: []byte(`{"usr_id":"u","tenant":"other"}`)})
		if ev.Tenant != tenant {
			t.Errorf("tenant of %q = %q", subject, ev.Tenant)
		}
	}
	for _, subject := range []string{
		"", "assignments", "assignments.", "assignments.acme", "assignments.acme.", "assignments..x", "assignment.acme.x", "x.assignments.acme.x",
		"assignments.ac me.x", "assignments.ac/me.x", "assignments.é.x", "assignments.*.x", "assignments.a\x00.x", "assignments." + long + "t.x", "ASSIGNMENTS.acme.x",
		"assignments.\xff.x",
	} {
		m := Message{Subject: subject, Header: map[string][]string{TypeHeader: {"user.deleted"}}, Data: []byte(`{"usr_id":"u"}`)}
		mustReject(t, m, BadSubject, "subject")
	}
	for name, want := range map[string]bool{"a": true, "": false, long: true, long + "t": false, "a.b": false, "-": true, "_": true, "é": false} {
		if ValidTenant(name) != want {
			t.Errorf("ValidTenant(%q) = %v", name, !want)
		}
	}
}

// The Go SDK's NATS protocol sends structured events without a Content-Type.
func TestStructuredWithoutContentType(t *testing.T) {
	body := `{"specversion":"1.0","type":"user.deleted","id":"1","source":"s","data":{"usr_id":"u"}}`
	ev, err := Decode(Message{Subject: testSubject, Data: []byte(body)})
	if err != nil || ev.Type != UserDeleted || ev.User.UsrID != "u" {
		t.Errorf("%+v, %v", ev, err)
	}
	for _, body := range []string{`{"usr_id":"u"}`, `[]`, `{"specversion"`} {
		if _, err := Decode(Message{Subject: testSubject, Data: []byte(body)}); err == nil {
			t.Errorf("%s is taken for an event", body)
		}
	}
}
