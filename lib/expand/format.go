package expand

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// format appends v, formatted as s says.
func (s *Spec) format(b *strings.Builder, v Value) error {
	if len(s.Flags) == 0 && s.Width < 0 && s.Precision < 0 && s.Verb == 's' {
		b.WriteString(v.str())
		return nil
	}
	switch s.Verb {
	case 's', 'r', 'a':
		text := v.str()
		if s.Verb != 's' && !v.isNum {
			text = quote(text, s.Verb == 'a')
		}
		if s.Precision >= 0 {
			text = truncate(text, s.Precision)
		}
		s.pad(b, "", text, false)
		return nil
	case 'c':
		text := v.text
		switch {
		case v.isNum && (v.num < 0 || v.num > utf8.MaxRune || 0xd800 <= v.num && v.num < 0xe000):
			return &FormatError{Text: s.source, Reason: "the number is no character"}
		case v.isNum:
			text = string(rune(v.num))
		case utf8.RuneCountInString(text) != 1:
			return &FormatError{Text: s.source, Reason: "the value is not a single character"}
		}
		s.pad(b, "", text, false)
		return nil
	}
	if !v.isNum {
		return &FormatError{Text: s.source, Reason: "the value is a text; write %(" + s.Name + ")s"}
	}
	prefix, digits := "", ""
	switch s.Verb {
	case 'e', 'E', 'f', 'F', 'g', 'G':
		digits = s.float(v.num)
	default:
		prefix, digits = s.integer(v.num)
	}
	switch {
	case v.num < 0:
		prefix = "-" + prefix
	case s.flag('+'):
		prefix = "+" + prefix
	case s.flag(' '):
		prefix = " " + prefix
	}
	s.pad(b, prefix, digits, s.flag('0'))
	return nil
}

func (s *Spec) flag(c byte) bool { return strings.IndexByte(s.Flags, c) >= 0 }

// str is the plain text of v.
func (v Value) str() string {
	if v.isNum {
		return strconv.FormatInt(v.num, 10)
	}
	return v.text
}

// integer returns the digits of n's magnitude and the prefix of its base.
func (s *Spec) integer(n int64) (prefix, digits string) {
	base := 10
	switch s.Verb {
	case 'o':
		base, prefix = 8, "0o"
	case 'x':
		base, prefix = 16, "0x"
	case 'X':
		base, prefix = 16, "0X"
	}
	digits = strings.TrimPrefix(strconv.FormatInt(n, base), "-")
	if s.Verb == 'X' {
		digits = strings.ToUpper(digits)
	}
	if missing := s.Precision - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	if !s.flag('#') {
		prefix = ""
	}
	return prefix, digits
}

// float returns n's magnitude as a floating-point number.
func (s *Spec) float(n int64) string {
	precision := s.Precision
	if precision < 0 {
		precision = 6
	}
	verb := s.Verb | 0x20
	if verb == 'g' && precision == 0 {
		precision = 1
	}
	x := float64(n)
	if x < 0 {
		x = -x
	}
	text := strconv.FormatFloat(x, verb, precision, 64)
	if s.flag('#') {
		text = alternate(text, verb, precision)
	}
	if s.Verb < 'a' {
		text = strings.ToUpper(text)
	}
	return text
}

// alternate gives a number its point, and with 'g' its trailing zeros.
func alternate(text string, verb byte, precision int) string {
	mantissa, exponent := text, ""
	if i := strings.IndexByte(text, 'e'); i >= 0 {
		mantissa, exponent = text[:i], text[i:]
	}
	if !strings.Contains(mantissa, ".") {
		mantissa += "."
	}
	if verb == 'g' {
		digits := len(mantissa) - 1
		mantissa += strings.Repeat("0", max(0, precision-digits))
	}
	return mantissa + exponent
}

// pad appends prefix and body, padded to the width: with zeros between the
// two, or with blanks before or after both.
func (s *Spec) pad(b *strings.Builder, prefix, body string, zeros bool) {
	missing := s.Width - utf8.RuneCountInString(prefix) - utf8.RuneCountInString(body)
	if missing < 0 {
		missing = 0
	}
	switch {
	case s.flag('-'):
		b.WriteString(prefix + body + strings.Repeat(" ", missing))
	case zeros:
		b.WriteString(prefix + strings.Repeat("0", missing) + body)
	default:
		b.WriteString(strings.Repeat(" ", missing) + prefix + body)
	}
}

// truncate keeps the first n characters of s.
func truncate(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// quote writes s as a Python string literal; ascii escapes all else.
func quote(s string, ascii bool) string {
	q := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	var b strings.Builder
	b.WriteByte(q)
	for _, r := range s {
		switch {
		case r == rune(q) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x20 || r == 0x7f || r >= 0x80 && (ascii || !unicode.IsPrint(r)):
			h := strconv.FormatInt(int64(r), 16)
			switch {
			case r < 0x100:
				b.WriteString(`\x` + strings.Repeat("0", 2-len(h)) + h)
			case r < 0x10000:
				b.WriteString(`\u` + strings.Repeat("0", 4-len(h)) + h)
			default:
				b.WriteString(`\U` + strings.Repeat("0", 8-len(h)) + h)
			}
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte(q)
	return b.String()
}
