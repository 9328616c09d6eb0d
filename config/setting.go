package config

import (
	"strings"

	"github.com/spf13/pflag"
)

// envPrefix starts the name of every environment variable of the program.
const envPrefix = "ASSIGNDEX_"

// form is what a setting's value looks like; it stands in --help behind the
// flag and decides which YAML types the file may use.
type form string

const (
	formText     form = "text"
	formFile     form = "file"
	formURL      form = "url"
	formAddress  form = "host:port"
	formDuration form = "duration"
	formSize     form = "size"
	formCount    form = "count"
	formNumber   form = "number"
	formSwitch   form = "bool" // pflag shows a flag of this name without a value
)

// setting is one row of a table of settings that fill a C.
type setting[C any] struct {
	name   string // the flag and the file key; a dot nests the file key
	preset string // the default, as a user would write it
	form   form
	help   string
	secret bool // the value may hold a credential: errors do not repeat it
	noFile bool // the configuration file cannot hold it

	// set checks text and stores it in a C. Its error is a *problem.
	set func(c *C, text string) error
}

// env is the environment variable of the setting.
func (s setting[C]) env() string {
	return envPrefix + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(s.name))
}

// into makes a setting's set function: parse the text, then store the value in
// the field of a C that field points at.
func into[C, V any](field func(*C) *V, parse func(text string) (V, error)) func(*C, string) error {
	return func(c *C, text string) error {
		v, err := parse(text)
		if err != nil {
			return err
		}
		*field(c) = v
		return nil
	}
}

// register adds a flag for every row. A flag keeps its text unchecked, so that
// a bad value gets the same error whichever source it came from.
func register[C any](rows []setting[C], fs *pflag.FlagSet) {
	for _, s := range rows {
		flag := fs.VarPF(&textFlag{text: s.preset, form: s.form}, s.name, "", s.help+" ["+s.env()+"]")
		if s.form == formSwitch {
			flag.NoOptDefVal = "true" // the name alone turns it on
		}
	}
}

// presets fills a C with the defaults of the table.
func presets[C any](rows []setting[C]) C {
	var c C
	for _, s := range rows {
		if err := s.set(&c, s.preset); err != nil {
			panic("config: the default of " + s.name + " " + err.Error()) // a mistake in the table; a test loads it
		}
	}
	return c
}

// textFlag is a pflag.Value that keeps what was written.
type textFlag struct {
	text string
	form form
}

func (f *textFlag) String() string { return f.text }
func (f *textFlag) Type() string   { return string(f.form) }

func (f *textFlag) Set(text string) error {
	f.text = text
	return nil
}
