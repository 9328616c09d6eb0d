package config

import (
	"fmt"
	"strconv"
)

// Score holds the lowest scores of the levels high and medium, 0 to 1. What is
// below both is low.
type Score struct {
	High   float64
	Medium float64
}

const (
	settingHigh   = "score.high"
	settingMedium = "score.medium"

	remedyScore = "write a number from 0 to 1, such as 0.75"
)

// scoreSettings are the rows of serveSettings about the levels of scores.
var scoreSettings = []setting[Serve]{
	{
		name: settingHigh, preset: "0.75", form: formNumber,
		help: "lowest score of the level high, 0 to 1",
		set:  into(func(s *Serve) *float64 { return &s.Score.High }, parseScore),
	},
	{
		name: settingMedium, preset: "0.35", form: formNumber,
		help: "lowest score of the level medium, 0 to 1 and not above high; what is lower is low",
		set:  into(func(s *Serve) *float64 { return &s.Score.Medium }, parseScore),
	},
}

func parseScore(text string) (float64, error) {
	score, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, bad("is not a number", remedyScore)
	}
	if !(score >= 0 && score <= 1) { // NaN too
		return 0, bad("is out of range", remedyScore)
	}
	return score, nil
}

// checkScore checks the levels against each other.
func checkScore(s Serve, from map[string]string) error {
	if s.Score.Medium <= s.Score.High {
		return nil
	}
	source, given := from[settingMedium]
	if !given {
		source = "the default"
	}
	return &Error{
		Setting: settingMedium, Source: source,
		Problem: fmt.Sprintf("%v is above score.high, which is %v, so that no score would be medium", s.Score.Medium, s.Score.High),
		Remedy:  "write a number that is not above it",
	}
}
