package config

import "strings"

// didYouMean continues a sentence with the nearest of names, if one is near.
func didYouMean(name string, names []string) string {
	if near, ok := nearest(name, names); ok {
		return "; did you mean " + near + "?"
	}
	return ""
}

// nearest finds the name with the fewest edits from a misspelt one. Case, the
// choice of "_", "." or "-", and the prefix of our environment variables count
// for nothing; more than one edit in every three characters is not near.
func nearest(misspelt string, names []string) (string, bool) {
	wanted := essence(misspelt)
	best, least := "", len(wanted)/3+1
	for _, name := range names {
		if d := edits(wanted, essence(name)); d < least {
			best, least = name, d
		}
	}
	return best, best != ""
}

// essence takes out of a name what nearest does not count.
func essence(name string) string {
	name = strings.TrimPrefix(name, envPrefix)
	return strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(name))
}

// edits is the number of bytes to insert, delete or replace to make b of a.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
