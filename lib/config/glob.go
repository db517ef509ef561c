package config

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// globSteps bounds what all patterns of a configuration may cost, in steps of
// comparing characters; nameSteps is what reading a name costs. It is enough
// for some 100,000 files that are looked at.
const (
	globSteps = 20_000_000
	nameSteps = 200
)

// maxPattern is the most bytes of a pattern: no path is longer.
const maxPattern = unix.PathMax

var (
	errPatternLong = errors.New("no path is as long as the pattern")
	errGlobSteps   = errors.New("the patterns lead to more files than can be looked at")
)

// globber finds the files that patterns mean.
type globber struct {
	// left is what may still be spent.
	left int
}

// spend takes steps and tells whether they were to be had.
func (g *globber) spend(steps int) bool {
	g.left -= steps
	return g.left >= 0
}

// glob returns the paths that match a pattern, sorted. Patterns are those of
// Python's glob module without recursion, which differ from
// [filepath.Match]'s: "!" negates a class, a class that is not closed is an
// ordinary "[", nothing is escaped, and wildcards do not match a leading dot.
// A pattern without wildcards matches if the path exists, be it as a link
// that leads nowhere.
func (g *globber) glob(pattern string) ([]string, error) {
	if len(pattern) > maxPattern {
		return nil, errPatternLong
	}
	g.spend(nameSteps)
	paths := g.paths(pattern, false)
	if g.left < 0 {
		return nil, errGlobSteps
	}
	sort.Strings(paths)
	return paths, nil
}

func hasMagic(s string) bool { return strings.ContainsAny(s, "*?[") }

// splitPath cuts a path into the directory, without the slashes at its end
// unless it is all slashes, and the rest.
func splitPath(p string) (dir, base string) {
	i := strings.LastIndexByte(p, '/') + 1
	dir, base = p[:i], p[i:]
	if t := strings.TrimRight(dir, "/"); t != "" {
		dir = t
	}
	return dir, base
}

func joinPath(dir, name string) string {
	switch {
	case strings.HasPrefix(name, "/") || dir == "":
		return name
	case strings.HasSuffix(dir, "/"):
		return dir + name
	}
	return dir + "/" + name
}

func exists(p string) bool {
	_, err := os.Lstat(p)
	return err == nil
}

func isDir(p string) bool {
	st, err := os.Stat(p)
	return err == nil && st.IsDir()
}

func (g *globber) paths(pattern string, dirsOnly bool) []string {
	dir, base := splitPath(pattern)
	if !hasMagic(pattern) {
		if base != "" && exists(pattern) || base == "" && isDir(dir) {
			return []string{pattern}
		}
		return nil
	}
	dirs := []string{dir}
	if dir != "" && dir != pattern && hasMagic(dir) {
		dirs = g.paths(dir, true)
	}
	parts := parsePattern(base)
	var paths []string
	for _, dir := range dirs {
		if !g.spend(nameSteps) {
			return nil
		}
		if !hasMagic(base) {
			if base != "" && exists(joinPath(dir, base)) || base == "" && isDir(dir) {
				paths = append(paths, filepathJoin(dir, base))
			}
			continue
		}
		for _, name := range g.matchesIn(dir, parts, strings.HasPrefix(base, "."), dirsOnly) {
			paths = append(paths, filepathJoin(dir, name))
		}
	}
	return paths
}

// filepathJoin joins without folding; an empty name gives a slash at the end.
func filepathJoin(dir, name string) string {
	if name == "" && !strings.HasSuffix(dir, "/") {
		return dir + "/"
	}
	return joinPath(dir, name)
}

// matchesIn returns the names in dir that match one component of a pattern;
// dotted tells whether it begins with a dot.
func (g *globber) matchesIn(dir string, parts []part, dotted, dirsOnly bool) []string {
	if dir == "" {
		dir = "."
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	var names []string
	for {
		all, err := f.Readdirnames(1024)
		for _, name := range all {
			if !g.spend(nameSteps) {
				return nil
			}
			if strings.HasPrefix(name, ".") && !dotted {
				continue
			}
			if g.match(parts, []rune(name)) && (!dirsOnly || isDir(filepath.Join(dir, name))) {
				names = append(names, name)
			}
		}
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			return nil
		}
	}
}

// part is one character of a pattern: "*", "?", a class or an ordinary one.
type part struct {
	kind  byte // '*', '?', '[' or 0
	char  rune
	class string
}

// parsePattern cuts one component of a pattern into its characters.
func parsePattern(pattern string) []part {
	parts := make([]part, 0, len(pattern))
	for pattern != "" {
		switch c := pattern[0]; c {
		case '*', '?':
			parts, pattern = append(parts, part{kind: c}), pattern[1:]
			continue
		case '[':
			if class, rest, ok := cutClass(pattern); ok {
				parts, pattern = append(parts, part{kind: '[', class: class}), rest
				continue
			}
		}
		r, size := utf8.DecodeRuneInString(pattern)
		parts, pattern = append(parts, part{char: r}), pattern[size:]
	}
	return parts
}

// match reports whether name matches the whole pattern.
func (g *globber) match(parts []part, name []rune) bool {
	// Where the last star stood, and what it has swallowed so far: going
	// back to the last one is enough.
	star, starPart, starName := false, 0, 0
	i, j := 0, 0
	for g.spend(1) {
		if i < len(parts) && parts[i].kind == '*' {
			i++
			star, starPart, starName = true, i, j
			continue
		}
		if i == len(parts) && j == len(name) {
			return true
		}
		if i < len(parts) && j < len(name) && g.matchRune(&parts[i], name[j]) {
			i, j = i+1, j+1
			continue
		}
		if !star || starName == len(name) {
			return false
		}
		starName++
		i, j = starPart, starName
	}
	return false
}

// matchRune matches one character against a part that is no star.
func (g *globber) matchRune(p *part, r rune) bool {
	switch p.kind {
	case '?':
		return true
	case '[':
		g.spend(len(p.class))
		return matchClass(p.class, r)
	}
	return p.char == r
}

// cutClass returns what stands between the brackets at the start of pattern.
// A "]" that comes first, or after "!", does not close the class.
func cutClass(pattern string) (class, rest string, ok bool) {
	i := 1
	if strings.HasPrefix(pattern[i:], "!") {
		i++
	}
	if strings.HasPrefix(pattern[i:], "]") {
		i++
	}
	j := strings.IndexByte(pattern[i:], ']')
	if j < 0 {
		return "", "", false
	}
	return pattern[1 : i+j], pattern[i+j+1:], true
}

// matchClass reports whether r is in a class. Ranges that run backwards are
// empty.
func matchClass(class string, r rune) bool {
	class, negated := strings.CutPrefix(class, "!")
	set := []rune(class)
	in := false
	for i := 0; i < len(set); i++ {
		lo, hi := set[i], set[i]
		if i+2 < len(set) && set[i+1] == '-' {
			hi = set[i+2]
			i += 2
		}
		if lo <= r && r <= hi {
			in = true
		}
	}
	return in != negated
}
