package openapi

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"text/template"
	"time"

	"go.yaml.in/yaml/v3"
)

// Settings are what servers differ in. Documents tell them.
type Settings struct {
	DefaultPageSize int           // rows
	MaxPageSize     int           // rows
	MaxWait         time.Duration // how long at_least waits
	High, Medium    float64       // the lowest scores of these levels, 0 to 1
	DefaultLimit    int           // assignments of a page of IBM Verify
	SearchBudget    int           // rows and index keys that a search of IBM Verify reads
}

//go:embed document/*.yaml
var documents embed.FS

const (
	folder = "document"
	root   = "openapi.yaml"
)

// Document gives the document of a server as JSON, with the paths for which
// serves reports true. The error is about the files that it is made of.
func Document(s Settings, serves func(path string) bool) ([]byte, error) {
	whole, err := parse(root, s)
	if err != nil {
		return nil, err
	}
	files, err := fs.ReadDir(documents, folder)
	if err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	for _, f := range files {
		if f.Name() == root {
			continue
		}
		part, err := parse(f.Name(), s)
		if err != nil {
			return nil, err
		}
		merge(whole, part, mergedLevels)
	}
	if paths := member(whole, "paths"); paths != nil {
		keep(paths, serves)
	}
	doc, err := toJSON(whole)
	if err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	return doc, nil
}

// parse reads a file with the settings filled in.
func parse(name string, s Settings) (*yaml.Node, error) {
	text, err := template.New(name).ParseFS(documents, path.Join(folder, name))
	if err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	var filled bytes.Buffer
	if err := text.Execute(&filled, s); err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	var file yaml.Node
	if err := yaml.Unmarshal(filled.Bytes(), &file); err != nil {
		return nil, fmt.Errorf("openapi: %s: %w", name, err)
	}
	if file.Kind != yaml.DocumentNode || file.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("openapi: %s: not an object", name)
	}
	return file.Content[0], nil
}
