package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// delimiter nests names: "score.high" is the key "high" under "score".
const delimiter = "."

// readFlags gives the flags of the table that were set on the command line.
func readFlags[C any](rows []setting[C], fs *pflag.FlagSet) (layer, error) {
	k := koanf.New(delimiter)
	pick := func(f *pflag.Flag) (string, any) {
		if !has(rows, f.Name) {
			return "", nil
		}
		return f.Name, f.Value.String()
	}
	// Without a koanf to compare with, the provider passes over flags that were not set.
	if err := k.Load(posflag.ProviderWithFlag(fs, delimiter, nil, pick), nil); err != nil {
		return nil, fmt.Errorf("read the flags: %w", err)
	}
	return toLayer(k, func(name string) string { return "flag --" + name }), nil
}

// readEnv gives the variables of the table that are set and not empty, and
// warns of variables with our prefix that no table knows.
func readEnv[C any](rows []setting[C], environ []string) (layer, []Warning, error) {
	byEnv := make(map[string]string, len(rows))
	for _, s := range rows {
		byEnv[s.env()] = s.name
	}
	known := envNames()
	var warnings []Warning
	pick := func(variable, value string) (string, any) {
		name, mine := byEnv[variable]
		if !mine && !slices.Contains(known, variable) {
			warnings = append(warnings, Warning{
				Name: variable,
				Text: "not a setting of this program, ignored" + didYouMean(variable, known),
			})
			return "", nil
		}
		if value == "" {
			return "", nil
		}
		return name, value // name is "" for another command's variable, which is passed over
	}
	k := koanf.New(delimiter)
	provider := env.Provider(delimiter, env.Opt{
		Prefix:        envPrefix,
		TransformFunc: pick,
		EnvironFunc:   func() []string { return environ },
	})
	if err := k.Load(provider, nil); err != nil {
		return nil, nil, fmt.Errorf("read the environment: %w", err)
	}
	slices.SortFunc(warnings, func(a, b Warning) int { return strings.Compare(a.Name, b.Name) })
	source := func(name string) string { return "environment variable " + setting[C]{name: name}.env() }
	return toLayer(k, source), warnings, nil
}

// toLayer copies what koanf read, which is text under known names only.
func toLayer(k *koanf.Koanf, source func(name string) string) layer {
	l := make(layer)
	for _, name := range k.Keys() {
		l[name] = given{text: k.String(name), source: source(name)}
	}
	return l
}

// envNames lists the variables of every command: one that serve does not read
// may well be meant for the next command in the same shell.
func envNames() []string {
	var names []string
	for _, s := range serveSettings {
		names = append(names, s.env())
	}
	for _, s := range clientSettings {
		names = append(names, s.env())
	}
	return names
}

func has[C any](rows []setting[C], name string) bool {
	return slices.ContainsFunc(rows, func(s setting[C]) bool { return s.name == name })
}

// FlagError turns pflag's error about an unknown flag into an *Error that also
// names the nearest flag of fs; any other error is returned as it is. It has
// the shape that a command line's handler for flag errors calls.
func FlagError(fs *pflag.FlagSet, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	name := unknown.GetSpecifiedName()
	var names []string
	fs.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	e := &Error{Setting: name, Source: "the command line", Problem: "no such flag", Remedy: "--help lists the flags"}
	if near, ok := nearest(name, names); ok {
		e.Remedy = "did you mean --" + near + "?"
	}
	return e
}
