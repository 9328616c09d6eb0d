package config

import "strings"

// Error says what is wrong with one setting. LoadServe, LoadClient and
// FlagError return it, alone or several joined by errors.Join; it is always the
// user's to mend, so a command that meets one ends as wrongly used.
type Error struct {
	Setting string // the flag's name without dashes, or the file key; the file's path where the whole file is at fault
	Source  string // where the value came from, such as "flag --history"
	Problem string // what is wrong; quotes the value unless it may hold a credential
	Remedy  string // what to write instead
	Cause   error  // the fault underneath, where the operating system reported one; otherwise nil
}

// Error gives setting, problem, source and remedy in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Setting + ": " + e.Problem)
	if e.Cause != nil {
		b.WriteString(": " + e.Cause.Error())
	}
	b.WriteString(" (from " + e.Source + ")")
	if e.Remedy != "" {
		b.WriteString("; " + e.Remedy)
	}
	return b.String()
}

// Unwrap gives the Cause.
func (e *Error) Unwrap() error { return e.Cause }

// Warning is something worth a line in the log that does not stop the program.
type Warning struct {
	Name string // the environment variable or setting
	Text string // what was found and what follows from it
}

// String gives name and text in one line.
func (w Warning) String() string { return w.Name + ": " + w.Text }

// problem is what a parser says about a value, without knowing the setting.
type problem struct {
	what   string // continues a sentence that starts with the value
	remedy string
}

func (p *problem) Error() string { return p.what + "; " + p.remedy }

func bad(what, remedy string) error { return &problem{what: what, remedy: remedy} }
