// Package config holds the settings of the program: their names, defaults,
// help, validation, and where each value came from.
//
// It owns two tables, serveSettings and clientSettings. A row is everything
// there is to say about a setting; flags, environment variables, file keys,
// defaults and checks are derived from it, so a new setting is one field and
// one row. A dot in a row's name nests the file key: "score.high" is the flag
// --score.high, the variable ASSIGNDEX_SCORE_HIGH and, in the file,
//
//	score:
//	  high: 0.8
//
// Precedence is flag, environment, file, default. An environment variable that
// is set but empty counts as not set.
//
// It refuses to guess: an unknown flag or file key, a value of the wrong type
// or out of range, and a file it cannot read are errors that name the setting,
// its source, the problem and the remedy. Only an unknown environment variable
// is no more than a Warning, since Kubernetes injects ASSIGNDEX_PORT and its
// like for a service of the program's name.
//
// Concurrency: nothing here keeps state. A loaded Serve or Client is a plain
// value and may be shared as long as nobody writes to it.
package config
