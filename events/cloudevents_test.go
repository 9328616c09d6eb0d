package events

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/spec"
	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/go-json-experiment/json"
)

// What the CloudEvents SDK publishes is read as it was meant, in both modes.
func TestCloudEventsSDK(t *testing.T) {
	for _, typ := range Types {
		for _, id := range []string{"1", `50% "é" 日本 😀`, "a+b/c?d=e"} {
			data := map[string]any{"usr_id": "u é", "ent_id": "e\x00/日本", "score": 0.25, "x": map[string]any{"deep": []int{1, 2}}}
			if typ == GroupUpserted || typ == GroupDeleted {
				data["grp_id"] = "g"
			}
			if typ == ApplicationUpserted || typ == ApplicationDeleted {
				data["app_id"] = "p"
			}
			if typ == QuarantineDropped {
				data["seq"] = 7
			}
			ce := cloudevents.New()
			ce.SetID(id)
			ce.SetType(string(typ))
			ce.SetSource("/upstream/é x")
			ce.SetTime(time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC))
			ce.SetExtension("partitionkey", "k")
			if err := ce.SetData(cloudevents.ApplicationJSON, data); err != nil {
				t.Fatal(err)
			}
			if err := ce.Validate(); err != nil {
				t.Fatal(err)
			}
			want, err := DecodeData("acme", typ, ce.Data())
			if err != nil {
				t.Fatal(err)
			}
			want.ID, want.Source = ce.ID(), ce.Source()
			for mode, m := range map[string]Message{
				"structured":         sdkStructured(t, ce),
				"structured, base64": sdkStructuredBase64(t, ce),
				"binary":             sdkBinary(t, ce),
			} {
				if got := mustDecode(t, m); !reflect.DeepEqual(got, want) {
					t.Errorf("%s %s:\n got %s\nwant %s", mode, typ, show(got), show(want))
				}
			}
		}
	}
}

func sdkStructured(t *testing.T, ce cloudevents.Event) Message {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://localhost", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := cehttp.WriteRequest(binding.WithForceStructured(t.Context()), binding.ToMessage(&ce), req); err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	return Message{Subject: testSubject, Header: req.Header, Data: body}
}

func sdkStructuredBase64(t *testing.T, ce cloudevents.Event) Message {
	t.Helper()
	ce = ce.Clone()
	ce.DataBase64 = true
	body, err := json.Marshal(ce)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(body, []byte(`"data_base64"`)) {
		t.Fatalf("the SDK wrote no base64: %s", body)
	}
	return structured(string(body))
}

func sdkBinary(t *testing.T, ce cloudevents.Event) Message {
	t.Helper()
	w := &natsBinary{header: map[string][]string{}}
	if _, err := binding.Write(t.Context(), binding.ToMessage(&ce), nil, w); err != nil {
		t.Fatal(err)
	}
	return Message{Subject: testSubject, Header: w.header, Data: w.body}
}

// natsBinary writes the SDK's attributes as the NATS protocol binding says:
// header "ce-" and the name, values percent-encoded.
type natsBinary struct {
	header map[string][]string
	body   []byte
}

func (w *natsBinary) Start(context.Context) error { return nil }
func (w *natsBinary) End(context.Context) error   { return nil }

func (w *natsBinary) SetAttribute(a spec.Attribute, value any) error {
	return w.SetExtension(a.Name(), value)
}

func (w *natsBinary) SetExtension(name string, value any) error {
	text, err := types.Format(value)
	w.header["ce-"+name] = []string{percentEncode(text)}
	return err
}

func (w *natsBinary) SetData(r io.Reader) (err error) {
	w.body, err = io.ReadAll(r)
	return err
}

func percentEncode(s string) string {
	const hex = "0123456789ABCDEF"
	var out []byte
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7F || c == '"' || c == '%' {
			out = append(out, '%', hex[c>>4], hex[c&15])
		} else {
			out = append(out, c)
		}
	}
	return string(out)
}
