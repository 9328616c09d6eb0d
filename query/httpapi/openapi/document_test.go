package openapi

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-json-experiment/json"
	"go.yaml.in/yaml/v3"
)

var settings = Settings{DefaultPageSize: 20, MaxPageSize: 77, MaxWait: 9 * time.Second, High: 0.8, Medium: 0.25, DefaultLimit: 33, SearchBudget: 4321}

func document(t *testing.T, serves func(path string) bool) []byte {
	t.Helper()
	doc, err := Document(settings, serves)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func all(string) bool { return true }

func load(t *testing.T, doc []byte) *openapi3.T {
	t.Helper()
	parsed, err := openapi3.NewLoader().LoadFromData(doc)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// The document is one of OpenAPI 3.1, and its examples are what it says they are.
func TestDocumentIsValid(t *testing.T) {
	doc := load(t, document(t, all))
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("OpenAPI %s", doc.OpenAPI)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestSettingsAreTold(t *testing.T) {
	doc := load(t, document(t, all))
	size := doc.Components.Schemas["ListRequest"].Value.Properties["pageSize"].Value
	if *size.Max != 77 || size.Default != 20.0 || !strings.Contains(size.Description, "77") || !strings.Contains(size.Description, "20") {
		t.Errorf("pageSize: at most %v, default %v, %q", *size.Max, size.Default, size.Description)
	}
	for _, c := range []struct{ field, told string }{{"at_least", "9s"}, {"level", "0.8"}, {"level", "0.25"}} {
		if d := doc.Components.Schemas["ListRequest"].Value.Properties[c.field].Value.Description; !strings.Contains(d, c.told) {
			t.Errorf("%s does not tell %s: %q", c.field, c.told, d)
		}
	}
}

// A server's document has the paths that it serves and no others.
func TestPathsThatAreNotServed(t *testing.T) {
	doc := load(t, document(t, func(path string) bool { return path == "/livez" }))
	if got := slices.Collect(maps.Keys(doc.Paths.Map())); !slices.Equal(got, []string{"/livez"}) {
		t.Errorf("paths %q", got)
	}
}

// Everything a reader meets says what it is.
func TestEverythingIsDescribed(t *testing.T) {
	doc := load(t, document(t, all))
	tags := map[string]bool{}
	for _, tag := range doc.Tags {
		tags[tag.Name] = tag.Description != ""
	}
	ids := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			at := method + " " + path
			if op.Summary == "" || op.OperationID == "" || ids[op.OperationID] {
				t.Errorf("%s: summary %q, id %q", at, op.Summary, op.OperationID)
			}
			ids[op.OperationID] = true
			if len(op.Tags) != 1 || !tags[op.Tags[0]] {
				t.Errorf("%s: tags %q", at, op.Tags)
			}
		}
	}
	var tree any
	if err := json.Unmarshal(document(t, all), &tree); err != nil {
		t.Fatal(err)
	}
	walk("", tree, func(at string, object map[string]any) {
		for _, list := range []string{"parameters", "headers", "responses", "schemas", "properties"} {
			members, ok := object[list].(map[string]any)
			if !ok || strings.HasSuffix(at, "/example") {
				continue
			}
			_, refines := object["allOf"]
			for name, m := range members {
				member, ok := m.(map[string]any)
				if !ok || refines && list == "properties" {
					continue // narrows what the other schema describes
				}
				_, refers := member["$ref"]
				if d, _ := member["description"].(string); d == "" && !refers {
					t.Errorf("%s/%s/%s has no description", at, list, name)
				}
			}
		}
	})
}

func walk(at string, tree any, visit func(at string, object map[string]any)) {
	switch n := tree.(type) {
	case map[string]any:
		visit(at, n)
		for name, m := range n {
			walk(at+"/"+name, m, visit)
		}
	case []any:
		for _, m := range n {
			walk(at, m, visit)
		}
	}
}

// Files share the root's members and those of components. A name that two of
// them have is a mistake.
func TestMerge(t *testing.T) {
	for name, c := range map[string]struct{ a, b, want string }{
		"paths":            {"paths: {/a: {get: {}}}", "paths: {/b: {}}", `{"paths":{"/a":{"get":{}},"/b":{}}}`},
		"methods":          {"paths: {/a: {get: {}}}", "paths: {/a: {post: {}}}", `{"paths":{"/a":{"get":{},"post":{}}}}`},
		"components":       {"components: {schemas: {A: {}}}", "components: {schemas: {B: {}}, headers: {C: {}}}", `{"components":{"schemas":{"A":{},"B":{}},"headers":{"C":{}}}}`},
		"scalars":          {"a: [1, 1.5, -1e3, true, null, '1', 2026-01-31, x]", "{}", `{"a":[1,1.5,-1e3,true,null,"1","2026-01-31","x"]}`},
		"status":           {"responses: {200: {}}", "{}", `{"responses":{"200":{}}}`},
		"one method twice": {"paths: {/a: {get: {}}}", "paths: {/a: {get: {}}}", ""},
		"one schema twice": {"components: {schemas: {A: {type: string}}}", "components: {schemas: {A: {minLength: 1}}}", ""},
		"one text twice":   {"info: {title: a}", "info: {title: b}", ""},
		"two kinds":        {"paths: {}", "paths: []", ""},
		"octal":            {"a: 0o17", "{}", ""},
		"yes":              {"a: True", "{}", ""},
		"alias":            {"a: &x {b: 1}\nc: *x", "{}", ""},
	} {
		var a, b yaml.Node
		if err := yaml.Unmarshal([]byte(c.a), &a); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal([]byte(c.b), &b); err != nil {
			t.Fatal(err)
		}
		merge(a.Content[0], b.Content[0], mergedLevels)
		got, err := toJSON(a.Content[0])
		if c.want == "" && err == nil || c.want != "" && (err != nil || string(bytes.TrimSpace(got)) != c.want) {
			t.Errorf("%s: %s, %v; want %q", name, got, err, c.want)
		}
	}
}
