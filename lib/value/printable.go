package value

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable writes s so that it is one line that does nothing to a terminal or to
// the reader of a log: control characters, line separators, what turns the
// direction of writing and bytes that are no UTF-8 stand as in Go's string
// literals. Names and texts that others can choose go through it wherever they
// are shown or logged.
func Printable(s string) string { return escape(s, false) }

// Token is Printable for a name among words with blanks between them: white space
// is escaped, too, so that a name cannot pass for more than one word.
func Token(s string) string { return escape(s, true) }

func escape(s string, token bool) string {
	i := 0
	for i < len(s) && (' ' < s[i] && s[i] < 0x7f || s[i] == ' ' && !token) {
		i++
	}
	if i == len(s) {
		return s
	}
	var b strings.Builder
	b.WriteString(s[:i])
	for i < len(s) {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b.WriteString(hexByte(s[i]))
		case r == ' ' && token:
			b.WriteString(hexByte(' '))
		case !shown(r) || token && IsSpace(r):
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// shown tells whether a character can be shown as it is.
func shown(r rune) bool {
	switch {
	case unicode.IsControl(r), r == '\u2028', r == '\u2029':
		return false
	case r == '\u061c', '\u200e' <= r && r <= '\u200f', '\u202a' <= r && r <= '\u202e', '\u2066' <= r && r <= '\u2069':
		return false
	}
	return true
}

func hexByte(c byte) string {
	const digits = "0123456789abcdef"
	return `\x` + string(digits[c>>4]) + string(digits[c&15])
}
