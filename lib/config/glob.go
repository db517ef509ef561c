package config

import (
	"os"
	"path/filepath"
	"sort"
	"strings"
	"unicode/utf8"
)

// glob returns the paths that match a pattern, sorted. Patterns are those of
// Python's glob module without recursion, which differ from
// [filepath.Match]'s: "!" negates a class, a class that is not closed is an
// ordinary "[", nothing is escaped, and wildcards do not match a leading dot.
// A pattern without wildcards matches if the path exists, be it as a link
// that leads nowhere.
func glob(pattern string) []string {
	paths := globPaths(pattern, false)
	sort.Strings(paths)
	return paths
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

func globPaths(pattern string, dirsOnly bool) []string {
	dir, base := splitPath(pattern)
	if !hasMagic(pattern) {
		if base != "" && exists(pattern) || base == "" && isDir(dir) {
			return []string{pattern}
		}
		return nil
	}
	dirs := []string{dir}
	if dir != "" && dir != pattern && hasMagic(dir) {
		dirs = globPaths(dir, true)
	}
	var paths []string
	for _, dir := range dirs {
		if !hasMagic(base) {
			if base != "" && exists(joinPath(dir, base)) || base == "" && isDir(dir) {
				paths = append(paths, filepathJoin(dir, base))
			}
			continue
		}
		for _, name := range matchesIn(dir, base, dirsOnly) {
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

// matchesIn returns the names in dir that match one component of a pattern.
func matchesIn(dir, pattern string, dirsOnly bool) []string {
	if dir == "" {
		dir = "."
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	all, err := f.Readdirnames(-1)
	if err != nil {
		return nil
	}
	var names []string
	for _, name := range all {
		if strings.HasPrefix(name, ".") && !strings.HasPrefix(pattern, ".") {
			continue
		}
		if matchName(pattern, name) && (!dirsOnly || isDir(filepath.Join(dir, name))) {
			names = append(names, name)
		}
	}
	return names
}

// matchName reports whether name matches the whole pattern.
func matchName(pattern, name string) bool {
	// Where the last star stood, and what it has swallowed so far: going
	// back to the last one is enough.
	starPattern, starName := "", ""
	star := false
	for {
		if strings.HasPrefix(pattern, "*") {
			pattern = pattern[1:]
			star, starPattern, starName = true, pattern, name
			continue
		}
		if pattern == "" && name == "" {
			return true
		}
		if pattern != "" && name != "" {
			r, size := utf8.DecodeRuneInString(name)
			if rest, ok := matchRune(pattern, r); ok {
				pattern, name = rest, name[size:]
				continue
			}
		}
		if !star || starName == "" {
			return false
		}
		_, size := utf8.DecodeRuneInString(starName)
		starName = starName[size:]
		pattern, name = starPattern, starName
	}
}

// matchRune matches one character against the start of the pattern, which is
// not a star, and returns the rest of the pattern.
func matchRune(pattern string, r rune) (rest string, ok bool) {
	switch pattern[0] {
	case '?':
		return pattern[1:], true
	case '[':
		if class, rest, ok := cutClass(pattern); ok {
			return rest, matchClass(class, r)
		}
	}
	c, size := utf8.DecodeRuneInString(pattern)
	return pattern[size:], c == r
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
