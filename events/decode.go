package events

import (
	"bytes"
	"errors"
	"mime"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// TypeHeader carries the event type of a bare body.
const TypeHeader = "Assigndex-Type"

// Message is what the stream holds for one sequence.
type Message struct {
	Subject string
	Header  map[string][]string // names are matched without regard to case
	Data    []byte
}

// Decode reads a message as an event: a CloudEvents 1.0 event in structured or
// binary mode, or a bare body with the header Assigndex-Type. Every error is a
// *Rejection.
func Decode(m Message) (Event, error) {
	tenant, rej := tenantOf(m.Subject)
	if rej != nil {
		return Event{}, rej
	}
	ev := Event{Tenant: tenant}
	if len(m.Data) > MaxEventBytes {
		return ev, reject(TooLarge, "body", "send fewer attributes or split the record", "%d bytes, the limit is %d", len(m.Data), MaxEventBytes)
	}
	data, rej := openEnvelope(m, &ev)
	if rej != nil {
		return ev, rej
	}
	if !ev.Type.Known() {
		return ev, reject(UnknownType, "type", "use one of the documented types, such as assignment.upserted", "%s is not an event type", clip(string(ev.Type)))
	}
	if rej := decodeData(data, &ev); rej != nil {
		return ev, rej
	}
	return ev, nil
}

// DecodeData reads data as the record of an event of type t, as Decode does
// after the envelope. Every error is a *Rejection.
func DecodeData(tenant string, t Type, data []byte) (Event, error) {
	ev := Event{Tenant: tenant, Type: t}
	if !t.Known() {
		return ev, reject(UnknownType, "type", "use one of the documented types, such as assignment.upserted", "%s is not an event type", clip(string(t)))
	}
	if len(data) > MaxEventBytes {
		return ev, reject(TooLarge, "body", "send fewer attributes or split the record", "%d bytes, the limit is %d", len(data), MaxEventBytes)
	}
	if rej := decodeData(data, &ev); rej != nil {
		return ev, rej
	}
	return ev, nil
}

// openEnvelope finds the type, id, source and data of a message.
func openEnvelope(m Message, ev *Event) ([]byte, *Rejection) {
	contentType := header(m.Header, "Content-Type")
	if media, _, err := mime.ParseMediaType(contentType); err == nil && strings.HasPrefix(media, "application/cloudevents") {
		if media != "application/cloudevents+json" && media != "application/cloudevents" {
			return nil, reject(BadEnvelope, "Content-Type", "send one event as application/cloudevents+json", "%s is not supported", clip(media))
		}
		return openStructured(m.Data, ev)
	}
	if hasHeader(m.Header, "ce-specversion") || hasHeader(m.Header, "ce-type") {
		return openBinary(m, ev)
	}
	t := header(m.Header, TypeHeader)
	if t == "" && isStructured(m.Data) {
		return openStructured(m.Data, ev)
	}
	if t == "" {
		const remedy = "set this header, or send a CloudEvents event with Content-Type application/cloudevents+json or ce- headers"
		return nil, reject(BadEnvelope, TypeHeader, remedy, "the message has no event type")
	}
	ev.Type = Type(t)
	return m.Data, nil
}

// isStructured reports whether a body without any header that says what it is can
// only be a whole CloudEvents event. The Go SDK's NATS protocol sends such.
func isStructured(body []byte) bool {
	var ce struct {
		SpecVersion jsontext.Value `json:"specversion"`
	}
	return json.Unmarshal(body, &ce) == nil && len(ce.SpecVersion) > 0
}

type cloudEvent struct {
	SpecVersion     string         `json:"specversion"`
	Type            string         `json:"type"`
	ID              string         `json:"id"`
	Source          string         `json:"source"`
	DataContentType string         `json:"datacontenttype"`
	Data            jsontext.Value `json:"data"`
	DataBase64      []byte         `json:"data_base64"`
}

func openStructured(body []byte, ev *Event) ([]byte, *Rejection) {
	var ce cloudEvent
	if rej := unmarshal(body, &ce); rej != nil {
		if rej.Code == BadField {
			rej.Code = BadEnvelope
		}
		return nil, rej
	}
	if rej := checkEnvelope(ce, ev); rej != nil {
		return nil, rej
	}
	if len(ce.DataBase64) > 0 {
		if len(ce.Data) > 0 && ce.Data.Kind() != 'n' {
			return nil, reject(BadEnvelope, "data_base64", "send one of data and data_base64", "given beside data")
		}
		return ce.DataBase64, nil
	}
	if len(ce.Data) == 0 {
		return nil, reject(BadEnvelope, "data", "put the record under data", "missing")
	}
	return ce.Data, nil
}

func openBinary(m Message, ev *Event) ([]byte, *Rejection) {
	var ce cloudEvent
	for _, f := range []struct {
		name string
		into *string
	}{
		{"specversion", &ce.SpecVersion}, {"type", &ce.Type}, {"id", &ce.ID}, {"source", &ce.Source}, {"datacontenttype", &ce.DataContentType},
	} {
		// The NATS binding percent-encodes header values.
		v, err := url.PathUnescape(header(m.Header, "ce-"+f.name))
		if err != nil || !utf8.ValidString(v) {
			return nil, reject(BadEnvelope, "ce-"+f.name, "percent-encode space, quote, percent and non-ASCII", "not a valid percent-encoding")
		}
		*f.into = v
	}
	if ce.DataContentType == "" {
		ce.DataContentType = header(m.Header, "Content-Type")
	}
	if rej := checkEnvelope(ce, ev); rej != nil {
		return nil, rej
	}
	return m.Data, nil
}

func checkEnvelope(ce cloudEvent, ev *Event) *Rejection {
	ev.Type, ev.ID, ev.Source = Type(ce.Type), ce.ID, ce.Source
	if ce.SpecVersion != "1.0" {
		return reject(BadEnvelope, "specversion", `send "1.0"`, "%s is not a supported version", clip(ce.SpecVersion))
	}
	for _, a := range []struct{ name, value string }{{"type", ce.Type}, {"id", ce.ID}, {"source", ce.Source}} {
		if a.value == "" {
			return reject(BadEnvelope, a.name, "send it: CloudEvents requires it", "missing")
		}
	}
	if ce.DataContentType != "" {
		media, _, err := mime.ParseMediaType(ce.DataContentType)
		if err != nil || (media != "application/json" && !strings.HasSuffix(media, "+json")) {
			return reject(BadEnvelope, "datacontenttype", "send application/json", "%s is not supported", clip(ce.DataContentType))
		}
	}
	return nil
}

// guardFields are on the data of every type.
type guardFields struct {
	Revision *int64 `json:"revision"`
	If       string `json:"if"`
}

// assigneeFields name who an assignment is for.
type assigneeFields struct {
	UsrID string `json:"usr_id"`
	GrpID string `json:"grp_id"`
	Type  string `json:"type"`
}

type assignmentData struct {
	guardFields
	assigneeFields
	EntID         string                    `json:"ent_id"`
	AppID         string                    `json:"app_id"`
	Score         *float64                  `json:"score"`
	Justification []Reason                  `json:"justification"`
	Rights        []Right                   `json:"rights"`
	Params        map[string]jsontext.Value `json:"params"`
	ValidFrom     string                    `json:"valid_from"`
	ValidUntil    string                    `json:"valid_until"`
	Unknown       jsontext.Value            `json:",embed"`
}

// revocationData holds all that a removal reads: a malformed score must not
// keep an access listed that was taken away.
type revocationData struct {
	guardFields
	assigneeFields
	EntID string `json:"ent_id"`
}

func decodeData(data []byte, ev *Event) *Rejection {
	// What an upsert holds is kept and printed inside other objects, which must
	// not push it past the depth that a JSON reader takes.
	if !ev.Type.Removes() && deeperThan(data, MaxDepth) {
		return reject(TooLarge, "body", "send flatter attributes", "nested deeper than %d levels", MaxDepth)
	}
	switch ev.Type {
	case AssignmentUpserted:
		var d assignmentData
		if rej := unmarshal(data, &d); rej != nil {
			return rej
		}
		a, rej := d.assignment()
		if rej != nil {
			return rej
		}
		ev.Assignment = a
		return ev.guard(d.guardFields)
	case AssignmentRevoked:
		var d revocationData
		if rej := unmarshal(data, &d); rej != nil {
			return rej
		}
		who, rej := d.assignee()
		if rej != nil {
			return rej
		}
		ev.Assignment = &Assignment{Assignee: who, EntID: d.EntID}
		if rej := needID("ent_id", d.EntID); rej != nil {
			return rej
		}
		return ev.guard(d.guardFields)
	case UserUpserted, UserDeleted:
		return decodeUser(data, ev)
	case GroupUpserted, GroupDeleted:
		return decodeGroup(data, ev)
	case EntitlementUpserted, EntitlementDeleted:
		return decodeEntitlement(data, ev)
	case QuarantineDropped:
		return decodeDrop(data, ev)
	default:
		return decodeApplication(data, ev)
	}
}

func (d *assignmentData) assignment() (*Assignment, *Rejection) {
	who, rej := d.assignee()
	if rej != nil {
		return nil, rej
	}
	if rej := needID("ent_id", d.EntID); rej != nil {
		return nil, rej
	}
	if rej := firstRejection(optionalID("app_id", d.AppID), fewEnough("justification", len(d.Justification)), fewEnough("rights", len(d.Rights))); rej != nil {
		return nil, rej
	}
	if s := d.Score; s != nil && (*s < 0 || *s > 1) {
		return nil, reject(BadField, "score", "send a number from 0 to 1, or null when it is not scored", "out of range")
	}
	for i := range d.Justification {
		v := &d.Justification[i].Value
		if len(*v) == 0 {
			*v = jsontext.Value("null")
		}
		if k := v.Kind(); k == '{' || k == '[' || normalize(v) != nil {
			return nil, reject(BadField, "justification", "send a string, number, boolean or null as value", "a value is none of them")
		}
	}
	for _, f := range []struct{ name, value string }{{"valid_from", d.ValidFrom}, {"valid_until", d.ValidUntil}} {
		if !validTime(f.value) {
			return nil, reject(BadField, f.name, "send RFC 3339, such as 2026-01-31T12:00:00Z or 2026-01-31", "not a date or time")
		}
	}
	params, rej := sortedParams(d.Params)
	if rej != nil {
		return nil, rej
	}
	if len(d.Rights) == 0 {
		d.Rights = nil // an empty list says the same as none
	}
	for i := range d.Rights {
		if d.Rights[i].Values == nil {
			d.Rights[i].Values = []string{}
		}
	}
	attributes, rej := attributesOf(d.Unknown)
	if rej != nil {
		return nil, rej
	}
	return &Assignment{
		Assignee: who, EntID: d.EntID, AppID: d.AppID, Score: d.Score,
		Justification: d.Justification, Rights: d.Rights, Params: params,
		ValidFrom: d.ValidFrom, ValidUntil: d.ValidUntil, Attributes: attributes,
	}, nil
}

func (d *assigneeFields) assignee() (Assignee, *Rejection) {
	kind := KindUser
	if d.Type != "" {
		k, ok := ParseKind(d.Type)
		if !ok {
			return Assignee{}, reject(BadField, "type", "send USER, GROUP, DYNAMIC_GROUP or ALL", "%s is not a kind of assignee", clip(d.Type))
		}
		kind = k
	} else if d.GrpID != "" {
		return Assignee{}, reject(BadField, "type", "send GROUP or DYNAMIC_GROUP with a grp_id", "missing")
	}
	switch kind {
	case KindUser:
		if d.GrpID != "" {
			return Assignee{}, reject(BadField, "grp_id", "send usr_id alone, or grp_id with type GROUP or DYNAMIC_GROUP", "given for a user's assignment")
		}
		return Assignee{kind, d.UsrID}, needID("usr_id", d.UsrID)
	case KindAll:
		if d.UsrID != "" || d.GrpID != "" {
			return Assignee{}, reject(BadField, "type", "leave out usr_id and grp_id, or name another type", "ALL has no assignee id")
		}
		return Assignee{kind, ""}, nil
	default:
		if d.UsrID != "" {
			return Assignee{}, reject(BadField, "usr_id", "send grp_id alone, or type USER", "given for a group's assignment")
		}
		return Assignee{kind, d.GrpID}, needID("grp_id", d.GrpID)
	}
}

// guard takes the revision and the condition over into the event.
func (ev *Event) guard(g guardFields) *Rejection {
	switch c := Condition(g.If); c {
	case "", IfAbsent, IfPresent:
		ev.If, ev.Revision = c, g.Revision
		return nil
	default:
		return reject(BadField, "if", "send absent or present, or leave it out", "%s is not a condition", clip(g.If))
	}
}

// identityOnly reads the one id that a deletion needs.
func identityOnly(data []byte, ev *Event, into any, g *guardFields, field string, id *string) *Rejection {
	if rej := unmarshal(data, into); rej != nil {
		return rej
	}
	if rej := needID(field, *id); rej != nil {
		return rej
	}
	return ev.guard(*g)
}

func decodeUser(data []byte, ev *Event) *Rejection {
	if ev.Type.Removes() {
		var d struct {
			guardFields
			UsrID string `json:"usr_id"`
		}
		rej := identityOnly(data, ev, &d, &d.guardFields, "usr_id", &d.UsrID)
		ev.User = &User{UsrID: d.UsrID}
		return rej
	}
	var d struct {
		guardFields
		UsrID        string         `json:"usr_id"`
		UsrName      string         `json:"usr_name"`
		Email        string         `json:"email"`
		UsrManagerID string         `json:"usr_manager_id"`
		GrpID        string         `json:"grp_id"`
		Unknown      jsontext.Value `json:",embed"`
	}
	if rej := unmarshal(data, &d); rej != nil {
		return rej
	}
	attributes, rej := attributesOf(d.Unknown)
	if rej != nil {
		return rej
	}
	ev.User = &User{d.UsrID, d.UsrName, d.Email, d.UsrManagerID, d.GrpID, attributes}
	return firstRejection(
		needID("usr_id", d.UsrID), optionalID("usr_manager_id", d.UsrManagerID), optionalID("grp_id", d.GrpID),
		ev.guard(d.guardFields))
}

func decodeGroup(data []byte, ev *Event) *Rejection {
	if ev.Type.Removes() {
		var d struct {
			guardFields
			GrpID string `json:"grp_id"`
		}
		rej := identityOnly(data, ev, &d, &d.guardFields, "grp_id", &d.GrpID)
		ev.Group = &Group{GrpID: d.GrpID}
		return rej
	}
	var d struct {
		guardFields
		GrpID   string         `json:"grp_id"`
		GrpName string         `json:"grp_name"`
		Unknown jsontext.Value `json:",embed"`
	}
	if rej := unmarshal(data, &d); rej != nil {
		return rej
	}
	attributes, rej := attributesOf(d.Unknown)
	if rej != nil {
		return rej
	}
	ev.Group = &Group{d.GrpID, d.GrpName, attributes}
	return firstRejection(needID("grp_id", d.GrpID), ev.guard(d.guardFields))
}

func decodeEntitlement(data []byte, ev *Event) *Rejection {
	if ev.Type.Removes() {
		var d struct {
			guardFields
			EntID string `json:"ent_id"`
		}
		rej := identityOnly(data, ev, &d, &d.guardFields, "ent_id", &d.EntID)
		ev.Entitlement = &Entitlement{EntID: d.EntID}
		return rej
	}
	var d struct {
		guardFields
		EntID        string         `json:"ent_id"`
		EntName      string         `json:"ent_name"`
		Description  string         `json:"description"`
		EntType      string         `json:"ent_type"`
		SubType      string         `json:"sub_type"`
		Category     string         `json:"category"`
		ExtRef       string         `json:"ext_ref"`
		EntOwnerID   string         `json:"ent_owner_id"`
		AppID        string         `json:"app_id"`
		SecretParams []string       `json:"secret_params"`
		Unknown      jsontext.Value `json:",embed"`
	}
	if rej := unmarshal(data, &d); rej != nil {
		return rej
	}
	attributes, rej := attributesOf(d.Unknown)
	if rej != nil {
		return rej
	}
	slices.Sort(d.SecretParams)
	if len(d.SecretParams) == 0 {
		d.SecretParams = nil // an empty list says the same as none
	}
	ev.Entitlement = &Entitlement{
		EntID: d.EntID, EntName: d.EntName, Description: d.Description, EntType: d.EntType, SubType: d.SubType, Category: d.Category,
		ExtRef: d.ExtRef, EntOwnerID: d.EntOwnerID, AppID: d.AppID, SecretParams: slices.Compact(d.SecretParams), Attributes: attributes,
	}
	return firstRejection(
		needID("ent_id", d.EntID), optionalID("app_id", d.AppID), optionalID("ent_owner_id", d.EntOwnerID),
		oneOf("ent_type", d.EntType, "role", "permission"), oneOf("sub_type", d.SubType, "regular", "dynamic"),
		ev.guard(d.guardFields))
}

func decodeApplication(data []byte, ev *Event) *Rejection {
	if ev.Type.Removes() {
		var d struct {
			guardFields
			AppID string `json:"app_id"`
		}
		rej := identityOnly(data, ev, &d, &d.guardFields, "app_id", &d.AppID)
		ev.Application = &Application{AppID: d.AppID}
		return rej
	}
	var d struct {
		guardFields
		AppID      string         `json:"app_id"`
		AppName    string         `json:"app_name"`
		AppType    string         `json:"app_type"`
		AppOwnerID string         `json:"app_owner_id"`
		Unknown    jsontext.Value `json:",embed"`
	}
	if rej := unmarshal(data, &d); rej != nil {
		return rej
	}
	attributes, rej := attributesOf(d.Unknown)
	if rej != nil {
		return rej
	}
	ev.Application = &Application{d.AppID, d.AppName, d.AppType, d.AppOwnerID, attributes}
	return firstRejection(needID("app_id", d.AppID), optionalID("app_owner_id", d.AppOwnerID), ev.guard(d.guardFields))
}

// unmarshal reads one JSON object, strictly: valid UTF-8, no repeated name,
// nothing after it.
func unmarshal(data []byte, into any) *Rejection {
	if k := jsontext.Value(data).Kind(); k != '{' {
		return reject(BadJSON, "", "send one JSON object", "the data is not a JSON object")
	}
	err := json.Unmarshal(data, into)
	if err == nil {
		return nil
	}
	// The library's messages repeat what stands near the mistake, which may be
	// the value of a parameter, so none of their text is passed on.
	var semantic *json.SemanticError
	if errors.As(err, &semantic) && semantic.JSONPointer != "" {
		want := "another type"
		if semantic.GoType != nil {
			want = jsonTypeOf(semantic.GoType.String())
		}
		return reject(BadField, fieldAt(semantic.JSONPointer), "send "+want, "of a wrong type or out of range")
	}
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		problem := "not valid JSON"
		switch {
		case errors.Is(syntactic.Err, jsontext.ErrDuplicateName):
			problem = "a repeated name"
		case !utf8.Valid(data):
			problem = "invalid UTF-8"
		}
		return reject(BadJSON, fieldAt(syntactic.JSONPointer), "send one JSON object in valid UTF-8, each name once",
			"%s at byte %d", problem, syntactic.ByteOffset)
	}
	return reject(BadJSON, "", "send one JSON object in valid UTF-8", "not valid")
}

// maxFieldBytes bounds the name of a field in a rejection: unknown names may be
// as long as the event.
const maxFieldBytes = 128

// fieldAt names the place of a mistake. Inside a parameter's value it names the
// parameter and no more: the value may be a secret.
func fieldAt(at jsontext.Pointer) string {
	names := strings.Split(strings.TrimPrefix(string(at), "/"), "/")
	for i, name := range names[:min(2, len(names))] { // in a structured event the record is under data
		if name == "params" && (i == 0 || names[0] == "data") {
			names = names[:min(i+2, len(names))]
			break
		}
	}
	field := strings.Join(names, "/")
	if len(field) > maxFieldBytes {
		field = strings.ToValidUTF8(field[:maxFieldBytes], "") + "…"
	}
	return field
}

// deeperThan reports whether arrays and objects are nested more than limit deep.
func deeperThan(data []byte, limit int) bool {
	if len(data) <= limit {
		return false
	}
	depth, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > limit {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

func jsonTypeOf(goType string) string {
	switch strings.TrimLeft(goType, "*") {
	case "string":
		return "a string"
	case "int64":
		return "an integer of at most 64 bits"
	case "uint64":
		return "an integer from 0 on of at most 64 bits"
	case "float64":
		return "a number"
	case "[]uint8":
		return "base64 text"
	default:
		if strings.HasPrefix(goType, "[]") {
			return "an array"
		}
		return "an object"
	}
}

func firstRejection(all ...*Rejection) *Rejection {
	for _, r := range all {
		if r != nil {
			return r
		}
	}
	return nil
}

func needID(field, id string) *Rejection {
	if id == "" {
		return reject(BadField, field, "send 1 to 1024 bytes of UTF-8", "missing or empty")
	}
	return optionalID(field, id)
}

// optionalID takes an empty id as none, as upstreams export it.
func optionalID(field, id string) *Rejection {
	if len(id) > MaxIDBytes {
		return reject(TooLarge, field, "use a shorter id", "%d bytes, the limit is %d", len(id), MaxIDBytes)
	}
	return nil
}

// fewEnough bounds a list: "{}" is an element too, and is kept with every field,
// so that a list takes more room in the store than in its event.
func fewEnough(field string, elements int) *Rejection {
	if elements > MaxElements {
		return reject(TooLarge, field, "send fewer", "%d elements, the limit is %d", elements, MaxElements)
	}
	return nil
}

func oneOf(field, value string, allowed ...string) *Rejection {
	if value == "" || slices.Contains(allowed, value) {
		return nil
	}
	return reject(BadField, field, "send "+strings.Join(allowed, " or "), "%s is not one of its values", clip(value))
}

func validTime(s string) bool {
	if s == "" {
		return true
	}
	if _, err := time.Parse(time.RFC3339, s); err == nil {
		return true
	}
	_, err := time.Parse(time.DateOnly, s)
	return err == nil
}

func sortedParams(m map[string]jsontext.Value) ([]Param, *Rejection) {
	if len(m) == 0 {
		return nil, nil
	}
	params := make([]Param, 0, len(m))
	for name, value := range m {
		if err := normalize(&value); err != nil {
			return nil, reject(BadField, "params", "send valid JSON values", "a value is not valid")
		}
		params = append(params, Param{name, value})
	}
	slices.SortFunc(params, func(a, b Param) int { return strings.Compare(a.Name, b.Name) })
	return params, nil
}

// normalize writes a value without white space, with sorted names and the
// shortest form of its strings, so that two events that say the same are stored
// the same. Numbers stay as they were written: an integer of many digits must
// not be rounded.
func normalize(v *jsontext.Value) error {
	return v.Format(jsontext.ReorderRawObjects(true), jsontext.PreserveRawStrings(false))
}

// attributesOf gives the unnamed fields as one object, or nil when there are none.
func attributesOf(unknown jsontext.Value) (jsontext.Value, *Rejection) {
	if len(unknown) == 0 || bytes.Equal(unknown, []byte("{}")) {
		return nil, nil
	}
	if err := normalize(&unknown); err != nil {
		return nil, reject(BadJSON, "attributes", "send valid JSON values", "not valid")
	}
	return unknown, nil
}

func header(h map[string][]string, name string) string {
	if v, ok := h[name]; ok && len(v) > 0 {
		return v[0]
	}
	// Of several spellings the least one counts: the order of a map must not
	// decide what an event says.
	least, value := "", ""
	for k, v := range h {
		if len(v) > 0 && strings.EqualFold(k, name) && (least == "" || k < least) {
			least, value = k, v[0]
		}
	}
	return value
}

func hasHeader(h map[string][]string, name string) bool { return header(h, name) != "" }

// clip quotes text of an event for a message to a person, shortened.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		s = s[:most] + "…"
	}
	return `"` + strings.ToValidUTF8(s, "�") + `"`
}
