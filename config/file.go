package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	koanfyaml "github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"go.yaml.in/yaml/v3"
)

// fileSetting is the setting that names the configuration file.
const fileSetting = "config"

// readFile gives the settings that the YAML file holds, and an *Error or
// several joined for what is wrong with it: unreadable, not YAML, an unknown
// key, a value of the wrong type.
func readFile[C any](rows []setting[C], path given) (layer, error) {
	if path.text == "" {
		return nil, nil
	}
	k := koanf.New(delimiter)
	if err := k.Load(file.Provider(path.text), oneDocument{koanfyaml.Parser()}); err != nil {
		var unreadable *fs.PathError
		if errors.As(err, &unreadable) {
			return nil, &Error{
				Setting: fileSetting, Source: path.source, Problem: "the file cannot be read", Cause: err,
				Remedy: "name a file that exists and that this user may read",
			}
		}
		return nil, &Error{
			Setting: path.text, Source: path.source, Problem: "not a configuration file", Cause: err,
			Remedy: "it holds one YAML map of settings, such as data-dir: ./data",
		}
	}
	r := fileReader[C]{rows: rows, path: path.text, found: make(layer)}
	r.walk("", k.Raw())
	return r.found, errors.Join(r.faults...)
}

// fileReader sorts the keys of one file into settings and faults.
type fileReader[C any] struct {
	rows   []setting[C]
	path   string
	found  layer
	faults []error
}

// walk takes the keys under prefix, which is empty or ends in the delimiter.
func (r *fileReader[C]) walk(prefix string, node map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(node)) {
		name, value := prefix+key, node[key]
		i := slices.IndexFunc(r.rows, func(s setting[C]) bool { return s.name == name && !s.noFile })
		if i >= 0 {
			r.take(r.rows[i], value)
			continue
		}
		if r.isGroup(name) {
			switch inner := value.(type) {
			case map[string]any:
				r.walk(name+delimiter, inner)
				continue
			case nil: // a group whose keys are all commented out
				continue
			}
		}
		r.faults = append(r.faults, r.unknown(name))
	}
}

// take keeps the value of a setting, as the text that a flag would hold.
func (r *fileReader[C]) take(s setting[C], value any) {
	source := r.source(s.name)
	text, err := s.form.fromYAML(value)
	if err != nil {
		r.faults = append(r.faults, fault(s.name, source, "the value", err))
		return
	}
	if _, twice := r.found[s.name]; twice {
		r.faults = append(r.faults, &Error{
			Setting: s.name, Source: source, Problem: "given twice, nested and with a dot", Remedy: "keep one of them",
		})
		return
	}
	r.found[s.name] = given{text: text, source: source}
}

// isGroup reports whether settings are nested under name.
func (r *fileReader[C]) isGroup(name string) bool {
	return slices.ContainsFunc(r.rows, func(s setting[C]) bool { return strings.HasPrefix(s.name, name+delimiter) })
}

func (r *fileReader[C]) unknown(name string) *Error {
	var names []string
	for _, s := range r.rows {
		if s.name == name {
			return &Error{
				Setting: name, Source: r.source(name), Problem: "cannot stand in the file",
				Remedy: "use the flag --" + name + " or the variable " + s.env(),
			}
		}
		if !s.noFile {
			names = append(names, s.name)
		}
	}
	e := &Error{Setting: name, Source: r.source(name), Problem: "no such key", Remedy: "the keys are " + strings.Join(names, ", ")}
	if near, ok := nearest(name, names); ok {
		e.Remedy = "did you mean " + near + "?"
	}
	return e
}

func (r *fileReader[C]) source(name string) string { return "file " + r.path + ", key " + name }

// fromYAML gives a YAML value as the text that a flag would hold, or a *problem
// when it is of the wrong type.
func (f form) fromYAML(value any) (string, error) {
	numeric := f == formCount || f == formNumber || f == formSize || f == formDuration
	switch v := value.(type) {
	case nil:
		return "", bad("is missing", `give one, or delete the line; "" is an empty text`)
	case string:
		switch f {
		case formCount:
			return "", bad("is text, where a whole number belongs", "write the number without quotes")
		case formNumber:
			return "", bad("is text, where a number belongs", "write the number without quotes")
		case formSwitch:
			return "", bad("is text, where true or false belongs", "write true or false, without quotes")
		}
		return v, nil
	case bool:
		if f == formSwitch {
			return strconv.FormatBool(v), nil
		}
	case int, int64, uint64: // the smallest of them that holds the number
		if numeric {
			return fmt.Sprint(v), nil
		}
	case float64:
		if f == formNumber {
			return strconv.FormatFloat(v, 'g', -1, 64), nil
		}
	case []any:
		return "", bad("is a list, where one value belongs", "give one value")
	case map[string]any:
		return "", bad("is a group of keys, where one value belongs", "give one value")
	}
	switch f {
	case formSwitch:
		return "", bad(fmt.Sprintf("is %v, where true or false belongs", value), "write true or false")
	case formNumber:
		return "", bad(fmt.Sprintf("is %v, where a number belongs", value), "write a number")
	case formCount:
		return "", bad(fmt.Sprintf("is %v, where a whole number belongs", value), "write a whole number")
	}
	return "", bad("is not text, as YAML reads it", "put it in quotes, with its unit if it has one")
}

// oneDocument parses YAML and refuses a second document in the file, which the
// parser underneath passes over in silence.
type oneDocument struct{ koanf.Parser }

func (p oneDocument) Unmarshal(b []byte) (map[string]any, error) {
	d := yaml.NewDecoder(bytes.NewReader(b))
	for n := 0; ; n++ {
		var document yaml.Node
		err := d.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read YAML: %w", err)
		}
		if n > 0 {
			return nil, fmt.Errorf("line %d starts a second document", document.Line)
		}
	}
	m, err := p.Parser.Unmarshal(b)
	if err != nil {
		return nil, fmt.Errorf("read YAML: %w", err)
	}
	return m, nil
}
