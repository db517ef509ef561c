package value

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// IsSpace reports whether r is white space in the file format's sense, which
// is Python's: that of Unicode and the four separators U+001C to U+001F.
func IsSpace(r rune) bool {
	if r < utf8.RuneSelf {
		return r == ' ' || '\t' <= r && r <= '\r' || 0x1c <= r && r <= 0x1f
	}
	return unicode.IsSpace(r)
}

// Trim removes white space from both ends of s.
func Trim(s string) string {
	for s != "" && s[0] < utf8.RuneSelf {
		if !IsSpace(rune(s[0])) {
			return TrimRight(s)
		}
		s = s[1:]
	}
	return TrimRight(strings.TrimLeftFunc(s, IsSpace))
}

// TrimRight removes white space from the end of s.
func TrimRight(s string) string {
	for s != "" && s[len(s)-1] < utf8.RuneSelf {
		if !IsSpace(rune(s[len(s)-1])) {
			return s
		}
		s = s[:len(s)-1]
	}
	return strings.TrimRightFunc(s, IsSpace)
}

// Fields splits s at runs of white space.
func Fields(s string) []string { return strings.FieldsFunc(s, IsSpace) }

// Lower is the lower case of s. Beyond [strings.ToLower] it knows the two
// characters whose lower case depends on more than themselves.
func Lower(s string) string {
	if isASCII(s) || !strings.ContainsAny(s, "\u0130\u03a3") {
		return strings.ToLower(s)
	}
	var b strings.Builder
	for i, r := range s {
		switch r {
		case 0x130:
			b.WriteString("i\u0307")
		case 0x3a3:
			if endsWord(s, i) {
				b.WriteRune(0x3c2)
			} else {
				b.WriteRune(0x3c3)
			}
		default:
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

// endsWord reports whether the sigma at s[i] has a letter before it and none
// after it, looking over characters without case.
func endsWord(s string, i int) bool {
	cased := func(r rune) bool {
		return unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r) ||
			unicode.In(r, unicode.Other_Lowercase, unicode.Other_Uppercase)
	}
	ignorable := func(r rune) bool {
		return strings.ContainsRune("'.:^`\u00b7\u2019", r) || unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk)
	}
	before := s[:i]
	for {
		r, n := utf8.DecodeLastRuneInString(before)
		if n == 0 || !ignorable(r) {
			if n == 0 || !cased(r) {
				return false
			}
			break
		}
		before = before[:len(before)-n]
	}
	for _, r := range s[i+len("\u03a3"):] {
		if !ignorable(r) {
			return !cased(r)
		}
	}
	return true
}

// expanding are the characters whose upper case is several ASCII letters.
var expanding = strings.NewReplacer("ß", "SS", "\ufb00", "FF", "\ufb01", "FI", "\ufb02", "FL",
	"\ufb03", "FFI", "\ufb04", "FFL", "\ufb05", "ST", "\ufb06", "ST")

// Upper is the upper case of s. Of the characters whose upper case has
// several, it knows those that give ASCII letters, since only these can make
// up a name of ours.
func Upper(s string) string {
	if isASCII(s) {
		return strings.ToUpper(s)
	}
	return strings.ToUpper(expanding.Replace(s))
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
