package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"go.yaml.in/yaml/v3"

	"github.com/assigndex/assigndex/events/autoid"
)

// readColumns adds what a YAML file says of columns: a map of files, each a map
// of fields, each a header or a list of them. What is wrong is named with its line.
func readColumns(name string, into *autoid.Columns) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	documents := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	if err := documents.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%s is empty; write FILE: {FIELD: HEADER}", name)
		}
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := documents.Decode(&second); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s holds more than one document; keep one", name)
	}
	files, err := members(name, document.Content[0]) // a document that was read has one node
	if err != nil {
		return err
	}
	for _, file := range files {
		fields, err := members(name, file.value)
		if err != nil {
			return err
		}
		for _, field := range fields {
			headers := []*yaml.Node{field.value}
			if field.value.Kind == yaml.SequenceNode {
				headers = field.value.Content
			}
			for _, header := range headers {
				if header.Kind != yaml.ScalarNode || header.Tag == "!!null" {
					return fmt.Errorf("%s:%d: %s.%s is neither a header nor a list of headers", name, header.Line, file.name, field.name)
				}
				if err := into.Map(autoid.File(file.name), field.name, header.Value); err != nil {
					return fmt.Errorf("%s:%d: %w", name, header.Line, err)
				}
			}
		}
	}
	return nil
}

type member struct {
	name  string
	value *yaml.Node
}

// members gives what a YAML map holds, in its order.
func members(name string, node *yaml.Node) ([]member, error) {
	if node.Tag == "!!null" { // all of it is commented out
		return nil, nil
	}
	if node.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: not a map; write FILE: {FIELD: HEADER}, such as identities: {usr_id: EMPLOYEE_NUMBER}", name, node.Line)
	}
	var all []member
	for i := 0; i+1 < len(node.Content); i += 2 {
		all = append(all, member{node.Content[i].Value, node.Content[i+1]})
	}
	return all, nil
}
