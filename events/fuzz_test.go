package events

import (
	"bytes"
	"reflect"
	"testing"
	"unicode/utf8"
)

// FuzzDecode checks what holds for any message: no panic, every error is a
// *Rejection, and an accepted event stays within the limits and is read the
// same when it is written and decoded again.
func FuzzDecode(f *testing.F) {
	types := []string{"", "ce", "structured", "user.upserted ", "x\xff"}
	for _, t := range Types {
		types = append(types, string(t))
	}
	for i := range types {
		f.Add(testSubject, uint8(i), []byte(`{"usr_id":"u","ent_id":"e","grp_id":"","app_id":"p","score":0.5,"params":{"a":[1]},"x":{"b":1,"a":"\u0000"}}`))
		f.Add(testSubject, uint8(i), []byte(`{"type":"GROUP","grp_id":"g","ent_id":"\ud83d\ude00","justification":[{"value":1}],"rights":[{}],"valid_from":"2026-01-31"}`))
	}
	f.Add(testSubject, uint8(len(types)-1), []byte(`{"seq":7,"note":"n","if":"absent"}`))
	f.Add("assignments.a", uint8(2), []byte(`{"specversion":"1.0","type":"assignment.upserted","id":"1","source":"s","data":{"type":"ALL","ent_id":"e","revision":3,"if":"absent"}}`))
	f.Add("assignments.a.b", uint8(2), []byte(`{"specversion":"1.0","type":"assignment.upserted","id":"1","source":"s","data_base64":"e30="}`))
	f.Add("assignments.a.b", uint8(5), []byte(`{"usr_id":"u","ent_id":"e","params":{"pw":"\ud800hunter2"}}`))
	f.Fuzz(func(t *testing.T, subject string, form uint8, data []byte) {
		m := Message{Subject: subject, Data: bytes.Clone(data), Header: map[string][]string{}}
		switch name := types[int(form)%len(types)]; name {
		case "ce":
			m.Header = map[string][]string{"ce-specversion": {"1.0"}, "ce-id": {subject}, "ce-source": {"s"}, "ce-type": {types[int(form)/len(types)%len(types)]}}
		case "structured":
			m.Header["Content-Type"] = []string{"application/cloudevents+json"}
		default:
			m.Header[TypeHeader] = []string{name}
		}
		ev, err := Decode(m)
		if !bytes.Equal(m.Data, data) {
			t.Fatal("Decode changed the message")
		}
		if err != nil {
			if rej := asRejection(t, err); len(rej.Error()) > 1000+4*len(subject) {
				t.Fatalf("a rejection of %d bytes", len(rej.Error()))
			}
			return
		}
		checkAccepted(t, &ev)
		again, err := DecodeData(ev.Tenant, ev.Type, dataOf(t, &ev))
		if err != nil {
			t.Fatalf("%s\nis refused when it is sent again: %v", show(ev), err)
		}
		again.ID, again.Source = ev.ID, ev.Source
		if a := ev.Assignment; a != nil && len(a.Justification) == 0 {
			a.Justification = again.Assignment.Justification // empty or none, it says the same
		}
		if !reflect.DeepEqual(ev, again) {
			t.Fatalf("\nfirst %s\n then %s", show(ev), show(again))
		}
	})
}

func checkAccepted(t *testing.T, ev *Event) {
	t.Helper()
	if !ValidTenant(ev.Tenant) || !ev.Type.Known() {
		t.Fatalf("tenant %q type %q", ev.Tenant, ev.Type)
	}
	need := func(id string) {
		t.Helper()
		if len(id) == 0 || len(id) > MaxIDBytes || !utf8.ValidString(id) {
			t.Fatalf("an id of %d bytes: %q", len(id), id)
		}
	}
	may := func(id string) {
		t.Helper()
		if id != "" {
			need(id)
		}
	}
	records := 0
	if a := ev.Assignment; a != nil {
		records++
		if a.Assignee.Kind == KindAll {
			if a.Assignee.ID != "" {
				t.Fatalf("ALL with id %q", a.Assignee.ID)
			}
		} else {
			need(a.Assignee.ID)
		}
		need(a.EntID)
		may(a.AppID)
		if a.Score != nil && !(*a.Score >= 0 && *a.Score <= 1) {
			t.Fatalf("score %v", *a.Score)
		}
		for _, j := range a.Justification {
			if !j.Value.IsValid() || j.Value.Kind() == '{' || j.Value.Kind() == '[' {
				t.Fatalf("justification value %s", j.Value)
			}
		}
		for i, p := range a.Params {
			if !p.Value.IsValid() || i > 0 && a.Params[i-1].Name >= p.Name {
				t.Fatalf("params %v", a.Params)
			}
		}
		if ev.Type.Removes() && (a.AppID != "" || a.Score != nil || a.Params != nil || a.Attributes != nil) {
			t.Fatalf("a revocation holds more than an identity: %s", show(*ev))
		}
	}
	if u := ev.User; u != nil {
		records++
		need(u.UsrID)
		may(u.UsrManagerID)
		may(u.GrpID)
	}
	if g := ev.Group; g != nil {
		records++
		need(g.GrpID)
	}
	if e := ev.Entitlement; e != nil {
		records++
		need(e.EntID)
		may(e.AppID)
		may(e.EntOwnerID)
	}
	if a := ev.Application; a != nil {
		records++
		need(a.AppID)
		may(a.AppOwnerID)
	}
	if d := ev.Drop; d != nil {
		records++
		if d.Seq == 0 || len(d.Note) > MaxNoteBytes || ev.If != "" || ev.Revision != nil {
			t.Fatalf("a drop of %+v", *d)
		}
	}
	if records != 1 {
		t.Fatalf("%d records: %s", records, show(*ev))
	}
}
