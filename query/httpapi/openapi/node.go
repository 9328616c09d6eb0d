package openapi

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

// mergedLevels is how deep files share objects: the root's members, and those of
// components. Below, a name belongs to one file.
const mergedLevels = 2

// merge adds the members of src to dst. Objects that both have are merged for so
// many levels; any other name that both have comes twice then, which toJSON
// refuses.
func merge(dst, src *yaml.Node, levels int) {
	for i := 0; i < len(src.Content); i += 2 {
		name, value := src.Content[i], src.Content[i+1]
		here := member(dst, name.Value)
		if here != nil && levels > 0 && here.Kind == yaml.MappingNode && value.Kind == yaml.MappingNode {
			merge(here, value, levels-1)
			continue
		}
		dst.Content = append(dst.Content, name, value)
	}
}

// member gives a member of an object, nil when it has none of that name.
func member(object *yaml.Node, name string) *yaml.Node {
	for i := 0; i < len(object.Content); i += 2 {
		if object.Content[i].Value == name {
			return object.Content[i+1]
		}
	}
	return nil
}

// keep drops the members whose names are not wanted.
func keep(object *yaml.Node, wanted func(name string) bool) {
	var kept []*yaml.Node
	for i := 0; i < len(object.Content); i += 2 {
		if wanted(object.Content[i].Value) {
			kept = append(kept, object.Content[i], object.Content[i+1])
		}
	}
	object.Content = kept
}

// toJSON prints a node with its members in the order in which they were written.
func toJSON(n *yaml.Node) ([]byte, error) {
	var b bytes.Buffer
	err := encode(jsontext.NewEncoder(&b, jsontext.EscapeForHTML(false)), n)
	return b.Bytes(), err
}

func encode(e *jsontext.Encoder, n *yaml.Node) error {
	var err error
	switch n.Kind {
	case yaml.MappingNode:
		err = encodeObject(e, n)
	case yaml.SequenceNode:
		err = encodeArray(e, n)
	case yaml.ScalarNode:
		err = encodeScalar(e, n)
	default:
		err = fmt.Errorf("line %d: an alias, which these files do without", n.Line)
	}
	return err
}

func encodeObject(e *jsontext.Encoder, n *yaml.Node) error {
	if err := e.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	for i := 0; i < len(n.Content); i += 2 {
		if err := e.WriteToken(jsontext.String(n.Content[i].Value)); err != nil {
			return fmt.Errorf("line %d: %w", n.Content[i].Line, err) // such as a name that comes twice
		}
		if err := encode(e, n.Content[i+1]); err != nil {
			return err
		}
	}
	return e.WriteToken(jsontext.EndObject)
}

func encodeArray(e *jsontext.Encoder, n *yaml.Node) error {
	if err := e.WriteToken(jsontext.BeginArray); err != nil {
		return err
	}
	for _, element := range n.Content {
		if err := encode(e, element); err != nil {
			return err
		}
	}
	return e.WriteToken(jsontext.EndArray)
}

// encodeScalar prints numbers, booleans and null as they are written, which must
// be as JSON has them, and everything else as a string.
func encodeScalar(e *jsontext.Encoder, n *yaml.Node) error {
	switch n.ShortTag() {
	case "!!int", "!!float", "!!bool", "!!null":
		if err := e.WriteValue(jsontext.Value(n.Value)); err != nil {
			return fmt.Errorf("line %d: %w", n.Line, err)
		}
		return nil
	default:
		return e.WriteToken(jsontext.String(n.Value))
	}
}
