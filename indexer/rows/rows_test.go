package rows

import (
	"bytes"
	"errors"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/events"
)

func user(id, ent string) *events.Assignment {
	return &events.Assignment{Assignee: events.Assignee{Kind: events.KindUser, ID: id}, EntID: ent}
}

// A face is what the Autonomous Identity page shows, its order of fields and its
// numbers included.
func TestFaceIsTheSeedPage(t *testing.T) {
	page, err := os.ReadFile("testdata/autonomous_identity_response.json")
	if err != nil {
		t.Fatal(err)
	}
	var response struct {
		Assignments []jsontext.Value `json:"assignments"`
	}
	if err := json.Unmarshal(page, &response); err != nil || len(response.Assignments) != 4 {
		t.Fatalf("%d assignments, %v", len(response.Assignments), err)
	}
	for _, shown := range response.Assignments {
		ev, err := events.DecodeData("t", events.AssignmentUpserted, shown)
		if err != nil {
			t.Fatal(err)
		}
		if err := shown.Compact(); err != nil {
			t.Fatal(err)
		}
		if got := MakeFace(ev.Assignment).JSON(); string(got) != string(shown) {
			t.Errorf("\n got %s\nwant %s", got, shown)
		}
	}
}

func TestFaces(t *testing.T) {
	score := 0.5
	reasons := []events.Reason{{ID: `"`, Title: "\x00", Value: jsontext.Value("1.50")}, {ID: "", Title: "", Value: jsontext.Value("null")}}
	for _, c := range []struct {
		a    events.Assignment
		want string
	}{
		{events.Assignment{Assignee: events.Assignee{Kind: events.KindUser, ID: "u"}, EntID: "e"}, `{"ent_id":"e","usr_id":"u","score":null,"justification":[]}`},
		{
			events.Assignment{Assignee: events.Assignee{Kind: events.KindGroup, ID: "g"}, EntID: "e", Score: &score},
			`{"ent_id":"e","grp_id":"g","type":"GROUP","score":0.5,"justification":[]}`,
		},
		{
			events.Assignment{Assignee: events.Assignee{Kind: events.KindDynamicGroup, ID: "g"}, EntID: "e"},
			`{"ent_id":"e","grp_id":"g","type":"DYNAMIC_GROUP","score":null,"justification":[]}`,
		},
		{events.Assignment{Assignee: events.Assignee{Kind: events.KindAll}, EntID: "e"}, `{"ent_id":"e","type":"ALL","score":null,"justification":[]}`},
		{
			events.Assignment{Assignee: events.Assignee{Kind: events.KindUser, ID: "a\"\\/\x00\x01\x1f\x7f\u2028<&日😀"}, EntID: " ", Justification: reasons},
			`{"ent_id":" ","usr_id":"a\"\\/\u0000\u0001\u001f` + "\x7f\u2028" + `<&日😀","score":null,` +
				`"justification":[{"id":"\"","title":"\u0000","value":1.50},{"id":"","title":"","value":null}]}`,
		},
	} {
		f := MakeFace(&c.a)
		if string(f.JSON()) != c.want {
			t.Errorf("\n got %s\nwant %s", f.JSON(), c.want)
		}
		if !jsontext.Value(f.JSON()).IsValid() {
			t.Errorf("not valid JSON: %s", f.JSON())
		}
		if got, scored := f.Score(); scored != (c.a.Score != nil) || scored && got != *c.a.Score {
			t.Errorf("score of %s = %v, %v", f.JSON(), got, scored)
		}
	}
}

func TestScoresPrint(t *testing.T) {
	for _, c := range []struct {
		score float64
		want  string
	}{
		{0.98, "0.98"}, {0.6, "0.6"}, {1, "1"}, {0, "0"}, {math.Copysign(0, -1), "0"}, {1e-6, "0.000001"}, {1e-7, "1e-7"}, {math.Nextafter(0.3, 1), "0.30000000000000004"},
		{1.0 / 3, "0.3333333333333333"}, {math.SmallestNonzeroFloat64, "5e-324"}, {math.Nextafter(1, 0), "0.9999999999999999"},
	} {
		a := user("u", "e")
		a.Score = &c.score
		want := `{"ent_id":"e","usr_id":"u","score":` + c.want + `,"justification":[]}`
		f := MakeFace(a)
		if string(f.JSON()) != want {
			t.Errorf("score %v prints as %s, want %s", c.score, f.JSON(), c.want)
		}
		if got, ok := f.Score(); !ok || got != c.score || math.Signbit(got) {
			t.Errorf("score %v reads back as %v, %v", c.score, got, ok)
		}
	}
	negative, zero, a, b := math.Copysign(0, -1), 0.0, user("u", "e"), user("u", "e")
	a.Score, b.Score = &negative, &zero
	if !bytes.Equal(MakeFace(a), MakeFace(b)) {
		t.Error("-0 and 0 have different faces, so an event that says the same would be a change")
	}
}

func TestCorruptFaces(t *testing.T) {
	for _, f := range []Face{nil, {}, {unscored}, {scored}, {scored, 0, 0, 0, 0, 0, 0, 0, 0}, {2, '{', '}'}, []byte("{}")} {
		if got := f.JSON(); got != nil {
			t.Errorf("Face(%x).JSON() = %s", []byte(f), got)
		}
		if _, ok := f.Score(); ok {
			t.Errorf("Face(%x) has a score", []byte(f))
		}
	}
}

func TestRowRoundTrip(t *testing.T) {
	long := strings.Repeat("x", 1024)
	for _, r := range []Row{
		{Face: MakeFace(user("u", "e"))},
		{Created: Moment{1, -1}, Updated: Moment{math.MaxUint64, math.MaxInt64}, AppID: "p", OwnApp: true, Face: MakeFace(user("u", "e")), Detail: []byte("{}")},
		{Created: Moment{3, 4}, Updated: Moment{5, 6}, AppID: long, Face: MakeFace(user(long, long)), Detail: []byte(long)},
		{Updated: Moment{0, math.MinInt64}, AppID: "\x00", Face: MakeFace(user("\x00", "\x01"))},
	} {
		b := r.Encode()
		got, err := DecodeRow(b)
		if err != nil || !got.SameAs(&r) || got.Created != r.Created || got.Updated != r.Updated {
			t.Errorf("%+v came back as %+v, %v", r, got, err)
		}
		face, err := FaceOf(b)
		if err != nil || !bytes.Equal(face, r.Face) {
			t.Errorf("FaceOf = %x, %v, want %x", face, err, r.Face)
		}
		for cut := range len(b) - len(r.Detail) {
			if _, err := DecodeRow(b[:cut]); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("DecodeRow of the first %d of %d bytes: %v", cut, len(b), err)
			}
			if _, err := FaceOf(b[:cut]); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("FaceOf of the first %d of %d bytes: %v", cut, len(b), err)
			}
		}
		b[0] |= 0x80
		if _, err := DecodeRow(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("an unknown flag: %v", err)
		}
	}
}

func TestSameAs(t *testing.T) {
	base := func() *Row {
		return &Row{Created: Moment{1, 2}, Updated: Moment{3, 4}, AppID: "p", Face: MakeFace(user("u", "e")), Detail: []byte(`{"valid_from":"x"}`)}
	}
	for name, c := range map[string]struct {
		change func(*Row)
		same   bool
	}{
		"nothing":      {func(*Row) {}, true},
		"moments":      {func(r *Row) { r.Created, r.Updated = Moment{9, 9}, Moment{9, 9} }, true},
		"app":          {func(r *Row) { r.AppID = "q" }, false},
		"whose app":    {func(r *Row) { r.OwnApp = true }, false},
		"face":         {func(r *Row) { r.Face = MakeFace(user("v", "e")) }, false},
		"detail":       {func(r *Row) { r.Detail = nil }, false},
		"other detail": {func(r *Row) { r.Detail = []byte(`{"valid_from":"y"}`) }, false},
	} {
		a, b := base(), base()
		c.change(b)
		if a.SameAs(b) != c.same || b.SameAs(a) != c.same {
			t.Errorf("%s: SameAs is not %v", name, c.same)
		}
	}
}

func TestEntityRoundTrip(t *testing.T) {
	for _, record := range []any{
		&events.User{UsrID: "u\x00", UsrName: "U", Email: "e", UsrManagerID: "m", GrpID: "g", Attributes: jsontext.Value(`{"a":12345678901234567890}`)},
		&events.Group{GrpID: "g", GrpName: "G"},
		&events.Application{AppID: "p", AppName: "P", AppType: "t", AppOwnerID: "o", Attributes: jsontext.Value(`{"z":{}}`)},
		&events.Entitlement{
			EntID: "日本", EntName: "n", Description: "d", EntType: "role", SubType: "dynamic", Category: "c", ExtRef: "x", EntOwnerID: "o", AppID: "p",
			SecretParams: []string{"a", "b"}, Attributes: jsontext.Value(`{"n":1.10}`),
		},
	} {
		stored, err := MakeRecord(record)
		if err != nil {
			t.Fatal(err)
		}
		e := Entity{Created: Moment{1, 2}, Updated: Moment{3, -4}, Record: stored}
		if ent, ok := record.(*events.Entitlement); ok {
			e.Rules = RulesOf(ent)
		}
		b := e.Encode()
		got, err := DecodeEntity(b)
		if err != nil || !reflect.DeepEqual(got, e) || !got.SameAs(&e) {
			t.Errorf("%+v came back as %+v, %v", e, got, err)
		}
		back := reflect.New(reflect.TypeOf(record).Elem()).Interface()
		if err := json.Unmarshal(got.Record, back); err != nil || !reflect.DeepEqual(back, record) {
			t.Errorf("%+v came back as %+v, %v", record, back, err)
		}
		for cut := range len(b) - len(stored) {
			if _, err := DecodeEntity(b[:cut]); !errors.Is(err, ErrCorrupt) {
				t.Errorf("DecodeEntity of the first %d of %d bytes: %v", cut, len(b), err)
			}
		}
	}
	r := RulesOf(&events.Entitlement{EntID: "e", AppID: "p", SecretParams: []string{"a", "b"}})
	if r.AppID != "p" || !r.IsSecret("a") || !r.IsSecret("b") || r.IsSecret("") || r.IsSecret("A") {
		t.Errorf("rules %+v", r)
	}
}

func TestMakeDetailMasks(t *testing.T) {
	a := user("u", "e")
	if d, err := MakeDetail(a, func(string) bool { return true }); err != nil || d != nil {
		t.Fatalf("detail of nothing = %s, %v", d, err)
	}
	a.Params = []events.Param{{Name: "pw", Value: jsontext.Value(`"hunter2"`)}, {Name: "nested", Value: jsontext.Value(`{"k":["hunter2",1]}`)}, {Name: "open", Value: jsontext.Value(`7`)}}
	a.Rights = []events.Right{{Name: "r", Values: []string{"v"}}}
	a.ValidFrom, a.ValidUntil, a.Attributes = "2026-01-01", "2026-01-02", jsontext.Value(`{"x":12345678901234567890}`)
	b, err := MakeDetail(a, func(param string) bool { return param == "open" })
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"rights":[{"name":"r","values":["v"]}],"params":{"nested":"***","open":7,"pw":"***"},` +
		`"valid_from":"2026-01-01","valid_until":"2026-01-02","attributes":{"x":12345678901234567890}}`
	if string(b) != want {
		t.Fatalf("\n got %s\nwant %s", b, want)
	}
	d, err := DecodeDetail(b)
	if err != nil || !reflect.DeepEqual(d.Rights, a.Rights) || d.ValidFrom != a.ValidFrom || d.ValidUntil != a.ValidUntil || string(d.Attributes) != string(a.Attributes) {
		t.Fatalf("%+v, %v", d, err)
	}
	if d.Mask([]string{"pw", "unheard of"}) {
		t.Error("masking what is masked already was reported as a change")
	}
	if !d.Mask([]string{"open", "pw"}) || string(d.Params["open"]) != `"***"` {
		t.Errorf("masked: %v", d.Params)
	}
	if _, invented := d.Params["unheard of"]; invented {
		t.Error("masking invented a parameter")
	}
	again, err := d.Encode()
	if err != nil || string(again) != strings.Replace(want, `"open":7`, `"open":"***"`, 1) {
		t.Errorf("%s, %v", again, err)
	}
	empty := Detail{}
	if empty.Mask([]string{"pw"}) {
		t.Error("masking nothing was reported as a change")
	}
	for _, corrupt := range []string{"{", "[]", `{"params":7}`, `{"rights":{}}`, `{"params":{"a":1,"a":2}}`} {
		if _, err := DecodeDetail([]byte(corrupt)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("DecodeDetail(%s) = %v", corrupt, err)
		}
	}
	if d, err := DecodeDetail(nil); err != nil || !reflect.DeepEqual(d, Detail{}) {
		t.Errorf("DecodeDetail of nothing = %+v, %v", d, err)
	}
}

// Whatever the decoder accepts can be stored: an event that could not be would
// stop the line for ever.
func TestDeepestEventCanBeStored(t *testing.T) {
	deep := func(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }
	data := `{"usr_id":"u","ent_id":"e","x":` + deep(events.MaxDepth-1) + `,"params":{"p":` + deep(events.MaxDepth-2) + `}}`
	ev, err := events.DecodeData("t", events.AssignmentUpserted, []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	b, err := MakeDetail(ev.Assignment, func(string) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	if d, err := DecodeDetail(b); err != nil || string(d.Attributes) != string(ev.Assignment.Attributes) {
		t.Fatalf("%.100s, %v", d.Attributes, err)
	}
	ev, err = events.DecodeData("t", events.UserUpserted, []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := MakeRecord(ev.User); err != nil {
		t.Fatal(err)
	}
}

func TestQuarantinedRoundTrip(t *testing.T) {
	for _, q := range []Quarantined{
		{Time: time.Unix(1, 2).UTC(), Subject: "assignments.t.x", Tenant: "t", Type: "user.deleted", Code: events.BadField, Field: "usr_id", Reason: "missing; send it", Bytes: 2},
		{Time: time.Unix(0, 0).UTC(), Subject: "assignments", Code: events.BadSubject, Reason: "no tenant"},
	} {
		b, err := q.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeQuarantined(b); err != nil || got != q {
			t.Errorf("%+v came back as %+v, %v", q, got, err)
		}
	}
	// Subject and type are the sender's bytes. What cannot be put in quarantine
	// would stop the line.
	b, err := (&Quarantined{Subject: "assignments.\xff.x", Type: "x\xff", Reason: "r"}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeQuarantined(b); err != nil || got.Subject != "assignments.\uFFFD.x" || got.Type != "x\uFFFD" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, corrupt := range []string{"", "{", `{"bytes":"x"}`, "\xff"} {
		if _, err := DecodeQuarantined([]byte(corrupt)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("DecodeQuarantined(%q) = %v", corrupt, err)
		}
	}
}

func TestMomentTime(t *testing.T) {
	at := time.Date(2026, 1, 31, 12, 0, 0, 5, time.UTC)
	if got := (Moment{7, at.UnixNano()}).Time(); !got.Equal(at) || got.Location() != time.UTC {
		t.Errorf("%v", got)
	}
}

// FuzzCorruptValues: no bytes make a decoder panic, and what one accepts is kept
// when it is written and read again.
func FuzzCorruptValues(f *testing.F) {
	score := 0.5
	a := user("u", "e")
	a.Score = &score
	for _, r := range []Row{{Face: MakeFace(user("u", "e"))}, {AppID: "p", OwnApp: true, Face: MakeFace(a), Detail: []byte(`{"params":{"a":"***"}}`)}} {
		f.Add(r.Encode())
	}
	f.Add((&Entity{Record: []byte(`{"ent_id":"e"}`), Rules: Rules{AppID: "p", SecretParams: []string{"", "pw"}}}).Encode())
	f.Add(append(make([]byte, 33), 0xff, 0x7f))
	f.Add([]byte(`{"params":{"a":1}}`))
	f.Add(append(make([]byte, 33), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01))
	f.Add(append(make([]byte, 33), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := DecodeRow(b); err == nil {
			again, err := DecodeRow(r.Encode())
			if err != nil || !again.SameAs(&r) || again.Created != r.Created || again.Updated != r.Updated {
				t.Fatalf("%+v came back as %+v, %v", r, again, err)
			}
			face, err := FaceOf(b)
			if err != nil || !bytes.Equal(face, r.Face) {
				t.Fatalf("FaceOf = %x, %v; DecodeRow has %x", face, err, r.Face)
			}
		} else if !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
		if face, err := FaceOf(b); err == nil {
			face.JSON()
			face.Score()
		}
		Face(b).JSON()
		Face(b).Score()
		if e, err := DecodeEntity(b); err == nil {
			if again, err := DecodeEntity(e.Encode()); err != nil || !reflect.DeepEqual(again, e) {
				t.Fatalf("%+v came back as %+v, %v", e, again, err)
			}
		}
		if d, err := DecodeDetail(b); err == nil {
			d.Mask([]string{"a", ""})
			if _, err := d.Encode(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := DecodeQuarantined(b); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
	})
}
