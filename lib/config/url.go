package config

import "strings"

// IsURL reports whether s has a scheme and something after it. More is not
// asked of the address of a server that is given as an option.
func IsURL(s string) bool {
	s = strings.TrimLeft(s, " \x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\v\f\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f")
	s = strings.NewReplacer("\t", "", "\r", "", "\n", "").Replace(s)
	scheme, rest, found := strings.Cut(s, ":")
	if !found || scheme == "" || strings.Trim(scheme, schemeChars) != "" || scheme[0] < 'A' {
		return false
	}
	if after, ok := strings.CutPrefix(rest, "//"); ok {
		end := strings.IndexAny(after, "/?#")
		if end < 0 {
			end = len(after)
		}
		host := after[:end]
		if strings.Contains(host, "[") != strings.Contains(host, "]") {
			return false
		}
		if host != "" {
			return true
		}
		rest = after[end:]
	}
	path, _, _ := strings.Cut(rest, "#")
	path, _, _ = strings.Cut(path, "?")
	return path != ""
}

const schemeChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-."
