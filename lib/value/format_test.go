package value

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// The inverse of parsing, by which tests look at it.

// formatBytes writes n with the largest suffix that divides it.
func formatBytes(n int64) string {
	if n != 0 {
		for _, u := range suffixes {
			if n%u.size == 0 {
				return strconv.FormatInt(n/u.size, 10) + strings.ToUpper(u.name)
			}
		}
	}
	return strconv.FormatInt(n, 10)
}

// formatExitCodes writes codes as ParseExitCodes reads them.
func formatExitCodes(codes []int) string {
	var b strings.Builder
	for i, c := range codes {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, c)
	}
	return b.String()
}

// formatEnvironment writes env as ParseEnvironment reads it, sorted by name.
// ok is false if a value holds both kinds of quotation marks, or begins or
// ends with one, which cannot be written.
func formatEnvironment(env map[string]string) (s string, ok bool) {
	names := make([]string, 0, len(env))
	for n := range env {
		names = append(names, n)
	}
	sort.Strings(names)
	var b strings.Builder
	ok = true
	for i, n := range names {
		if i > 0 {
			b.WriteByte(',')
		}
		v := env[n]
		q := `"`
		if strings.Contains(v, q) {
			q = "'"
		}
		if strings.Contains(v, q) || strings.Trim(v, `'"`) != v {
			ok = false
		}
		b.WriteString(n + "=" + q + v + q)
	}
	return b.String(), ok
}
