package config

import "strings"

// Nearest returns the candidate that a misspelt word most likely means, or ""
// if none resembles it. Letter case and the difference between "-" and "_"
// count for nothing.
func Nearest(word string, candidates []string) string {
	w := fold.Replace(strings.ToLower(word))
	best, bestDistance := "", 1+len(w)/3
	if bestDistance > 4 {
		bestDistance = 4
	}
	for _, c := range candidates {
		if d := distance(w, fold.Replace(strings.ToLower(c)), bestDistance); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// fold leaves out what counts for nothing.
var fold = strings.NewReplacer("-", "", "_", "", " ", "")

// distance counts the letters to insert, remove, change or swap with their
// neighbour to make b of a. It gives up, with limit, once that is reached.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before := make([]int, len(b)+1)
	last := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
			least = min(least, row[j])
		}
		if least >= limit {
			return limit
		}
		before, last, row = last, row, before
	}
	return min(last[len(b)], limit)
}
