package config

import (
	"errors"
	"strconv"

	"github.com/spf13/pflag"
)

// given is a value that some source holds, before it is checked.
type given struct {
	text   string
	source string // "flag --listen", "environment variable ASSIGNDEX_LISTEN" or "file x.yaml, key listen"
}

// layer is what one source gives, by the name of the setting.
type layer map[string]given

// load fills a C from the table's defaults and from the sources over them. The
// sources are kept apart, highest precedence first, because an error has to say
// where a value came from. The map returned holds the source of each setting
// that is not at its default.
func load[C any](rows []setting[C], fs *pflag.FlagSet, environ []string) (C, map[string]string, []Warning, error) {
	c := presets(rows)
	flags, err := readFlags(rows, fs)
	if err != nil {
		return c, nil, nil, err
	}
	env, warnings, err := readEnv(rows, environ)
	if err != nil {
		return c, nil, warnings, err
	}
	layers := []layer{flags, env}
	var faults []error
	if path, ok := lookup(layers, fileSetting); ok {
		file, err := readFile(rows, path)
		faults = append(faults, err)
		layers = append(layers, file)
	}

	from := make(map[string]string, len(rows))
	for _, s := range rows {
		g, ok := lookup(layers, s.name)
		if !ok {
			continue
		}
		from[s.name] = g.source
		faults = append(faults, apply(s, &c, g))
	}
	return c, from, warnings, errors.Join(faults...)
}

// lookup finds the value of the first layer that has one.
func lookup(layers []layer, name string) (given, bool) {
	for _, l := range layers {
		if g, ok := l[name]; ok {
			return g, true
		}
	}
	return given{}, false
}

// apply checks the value and stores it. It returns an *Error or nil.
func apply[C any](s setting[C], c *C, g given) error {
	err := s.set(c, g.text)
	if err == nil {
		return nil
	}
	shown := strconv.Quote(g.text)
	if s.secret {
		shown = "the value"
	}
	return fault(s.name, g.source, shown, err)
}

// fault makes the *Error of a value, shown so, from what its parser said.
func fault(name, source, shown string, err error) *Error {
	var p *problem
	if errors.As(err, &p) {
		return &Error{Setting: name, Source: source, Problem: shown + " " + p.what, Remedy: p.remedy}
	}
	return &Error{Setting: name, Source: source, Problem: shown + " cannot be used", Cause: err}
}
