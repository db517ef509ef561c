package value

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
)

// ParseInt reads a decimal integer: an optional sign, digits of any script
// with single underscores between them, white space around.
func ParseInt(s string) (int64, error) {
	if n, ok := plainInt(s); ok {
		return n, nil
	}
	digits, neg, err := asciiDigits(s)
	if err != nil || strings.HasPrefix(digits, "_") {
		return 0, newError(BadInteger, s, "")
	}
	n, err := parseDigits(BadInteger, s, digits, neg, 10)
	if rest := strings.TrimRight(digits, "abcdefghijklmnopqrstuvwxyz "); err != nil && rest != digits {
		if _, ok := plainInt(rest); ok {
			return 0, newError(BadInteger, s, "write the number without a unit")
		}
	}
	return n, err
}

// plainInt reads the usual case: a few ASCII digits.
func plainInt(s string) (n int64, ok bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

// FormatInt writes n as ParseInt reads it.
func FormatInt(n int64) string { return strconv.FormatInt(n, 10) }

// ParseOctal reads an octal integer like ParseInt, with an optional 0o in
// front of the digits.
func ParseOctal(s string) (int, error) {
	digits, neg, err := asciiDigits(s)
	if err != nil || strings.HasPrefix(digits, "_") {
		return 0, newError(BadOctal, s, "")
	}
	if len(digits) > 1 && digits[0] == '0' && digits[1]|0x20 == 'o' {
		digits = strings.TrimPrefix(digits[2:], "_")
		if strings.HasPrefix(digits, "_") {
			return 0, newError(BadOctal, s, "")
		}
	}
	n, err := parseDigits(BadOctal, s, digits, neg, 8)
	return int(n), err
}

// FormatOctal writes n with at least four digits.
func FormatOctal(n int) string {
	s, sign := strconv.FormatInt(int64(n), 8), ""
	if s[0] == '-' {
		s, sign = s[1:], "-"
	}
	for len(sign)+len(s) < 4 {
		s = "0" + s
	}
	return sign + s
}

// suffixes are the units of byte sizes.
var suffixes = []struct {
	name string
	size int64
}{{"gb", 1 << 30}, {"mb", 1 << 20}, {"kb", 1 << 10}}

var errBytes = errors.New("want a whole number, with KB, MB or GB behind it or nothing")

// ParseBytes reads a byte size: an integer with an optional suffix KB, MB or
// GB, powers of 1024.
func ParseBytes(s string) (int64, error) {
	number, unit := Lower(s), int64(1)
	for _, u := range suffixes {
		if rest, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = rest, u.size
			break
		}
	}
	n, err := ParseInt(number)
	if err != nil {
		e := &Error{Code: BadInteger, Value: s, Hint: hintBytes(s), Err: errBytes}
		if errors.Is(err, ErrRange) {
			e.Err = ErrRange
		}
		return 0, e
	}
	if n*unit/unit != n {
		return 0, &Error{Code: BadInteger, Value: s, Err: ErrRange}
	}
	return n * unit, nil
}

// hintBytes proposes how to mend a byte size that uses a unit of another
// notation.
func hintBytes(s string) string {
	t := strings.ToUpper(strings.ReplaceAll(s, " ", ""))
	digits := strings.TrimRight(t, "KMGTIBYES")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return ""
	}
	switch unit := t[len(digits):]; unit {
	case "B":
		return "write " + digits
	case "K", "KIB":
		return "write " + digits + "KB"
	case "M", "MIB":
		return "write " + digits + "MB"
	case "G", "GIB":
		return "write " + digits + "GB"
	}
	return ""
}

var errNumber = errors.New("not a number")

// asciiDigits removes white space and the sign from s and turns digits of
// other scripts into those of ASCII.
func asciiDigits(s string) (digits string, neg bool, err error) {
	// U+001C to U+001F are white space everywhere but here.
	s = strings.TrimFunc(s, unicode.IsSpace)
	if s != "" && (s[0] == '-' || s[0] == '+') {
		neg = s[0] == '-'
		s = s[1:]
	}
	if s == "" {
		return "", false, errNumber
	}
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			t, ok := foldDigits(s)
			if !ok {
				return "", false, errNumber
			}
			return t, neg, nil
		}
	}
	return s, neg, nil
}

// foldDigits turns decimal digits of any script into ASCII.
func foldDigits(s string) (string, bool) {
	var b strings.Builder
	for _, r := range s {
		if r >= 0x80 {
			d, ok := digit(r)
			if !ok {
				return "", false
			}
			r = '0' + d
		}
		b.WriteRune(r)
	}
	return b.String(), true
}

// digit returns the value of a decimal digit. Unicode keeps the ten digits
// of a script together and in order, so the value is the distance from the
// first of them.
func digit(r rune) (rune, bool) {
	for _, t := range unicode.Nd.R16 {
		if rune(t.Lo) <= r && r <= rune(t.Hi) {
			return (r - rune(t.Lo)) % 10, true
		}
	}
	for _, t := range unicode.Nd.R32 {
		if rune(t.Lo) <= r && r <= rune(t.Hi) {
			return (r - rune(t.Lo)) % 10, true
		}
	}
	return 0, false
}

// parseDigits reads digits with single underscores between them.
func parseDigits(code Code, text, digits string, neg bool, base int) (int64, error) {
	if digits == "" || strings.HasSuffix(digits, "_") || strings.Contains(digits, "__") {
		return 0, newError(code, text, "")
	}
	digits = strings.ReplaceAll(digits, "_", "")
	if strings.Trim(digits, "0123456789"[:base]) != "" {
		return 0, newError(code, text, "")
	}
	if neg {
		digits = "-" + digits
	}
	n, err := strconv.ParseInt(digits, base, 64)
	if err != nil {
		return 0, &Error{Code: code, Value: text, Err: ErrRange}
	}
	return n, nil
}
