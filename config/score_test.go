package config

import (
	"strings"
	"testing"
)

func TestScoreErrors(t *testing.T) {
	for _, c := range []struct {
		in   sources
		want string
	}{
		{sources{args: []string{"--score.high=1.5"}}, "score.high: \"1.5\" is out of range"},
		{sources{args: []string{"--score.high=NaN"}}, "score.high: \"NaN\" is out of range"},
		{sources{args: []string{"--score.medium=half"}}, "score.medium: \"half\" is not a number"},
		{sources{file: "score: {high: '0.5'}"}, "is text, where a number belongs"},
		{sources{file: "score: {high: [1]}"}, "is a list"},
		{sources{args: []string{"--score.medium=0.8"}}, "score.medium: 0.8 is above score.high, which is 0.75"},
		{sources{args: []string{"--score.high=0.2"}}, "(from the default)"},
	} {
		_, _, err := loadServe(t, c.in)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v; want %q", c.in, err, c.want)
		}
	}
}
