package config

import "strconv"

// Limits bound what is served at once, and what each caller may ask for. A caller
// is an API key, or the subject of a token.
type Limits struct {
	Reads   int // queries that run at once; more wait for a moment. 0: four for each processor, at least 8
	Ingests int // ingest requests that run at once; a few more wait

	Connections int // to the HTTP API; those that only wait give way to new ones

	CallerPerSecond float64 // requests a second of one caller in the long run; 0: any
	CallerBurst     int     // requests of one caller that may come together; 0: those of one second
	CallerAtOnce    int     // requests of one caller that run at once; 0: any
}

const maxAtOnce = 100_000

// limitSettings are the rows of serveSettings about limits.
var limitSettings = []setting[Serve]{
	{
		name: "limits.reads", preset: "0", form: formCount,
		help: "queries that run at once; more wait for a moment or get a 503; 0: four for each processor, at least 8",
		set:  into(func(s *Serve) *int { return &s.Limits.Reads }, parseCount(0, maxAtOnce)),
	},
	{
		name: "limits.ingests", preset: "4", form: formCount,
		help: "ingest requests that run at once; more wait for a moment or get a 503",
		set:  into(func(s *Serve) *int { return &s.Limits.Ingests }, parseCount(1, maxAtOnce)),
	},
	{
		name: "limits.connections", preset: "4096", form: formCount,
		help: "connections to the HTTP API; beyond, those without a request give way to new ones",
		set:  into(func(s *Serve) *int { return &s.Limits.Connections }, parseCount(16, maxAtOnce)),
	},
	{
		name: "limits.caller-per-second", preset: "0", form: formNumber,
		help: "requests a second of each API key or token subject, in the long run; more get a 429; 0: any number",
		set:  into(func(s *Serve) *float64 { return &s.Limits.CallerPerSecond }, parseRate),
	},
	{
		name: "limits.caller-burst", preset: "0", form: formCount,
		help: "requests of each that may come together; 0: those of one second",
		set:  into(func(s *Serve) *int { return &s.Limits.CallerBurst }, parseCount(0, maxAtOnce)),
	},
	{
		name: "limits.caller-at-once", preset: "0", form: formCount,
		help: "requests of each that run at once; more get a 429; 0: any number",
		set:  into(func(s *Serve) *int { return &s.Limits.CallerAtOnce }, parseCount(0, maxAtOnce)),
	},
}

const maxRate = 1e6

func parseRate(text string) (float64, error) {
	rate, err := strconv.ParseFloat(text, 64)
	if err != nil || !(rate >= 0 && rate <= maxRate) { // NaN too
		return 0, bad("is not a rate", "write a number from 0 to 1000000, such as 50")
	}
	return rate, nil
}
