// Package expand replaces the expressions %(name)s in the values of the
// configuration. It follows the formatting of Python's % operator with a
// table of names: flags, width, precision and all conversions, of strings and
// of integers. It knows no section and no key.
package expand

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Value is what a name stands for: a string or an integer.
type Value struct {
	text  string
	num   int64
	isNum bool
}

// String makes a Value of a text.
func String(s string) Value { return Value{text: s} }

// Int makes a Value of an integer.
func Int(n int64) Value { return Value{num: n, isNum: true} }

// Lookup tells what a name stands for; ok is false if it is not known.
type Lookup func(name string) (v Value, ok bool)

// UnknownError is the error of a name that is not known.
type UnknownError struct{ Name string }

func (e *UnknownError) Error() string {
	return fmt.Sprintf("cannot expand %%(%s)s: the name is not known here", e.Name)
}

// FormatError is the error of an expression that cannot be read, or does not
// suit its value.
type FormatError struct {
	// Text is the expression as far as it was read.
	Text string
	// Reason says what is wrong with it.
	Reason string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("cannot read the expression %q: %s", e.Text, e.Reason)
}

// maxWidth bounds width and precision, so that a slip of the finger does not
// take all memory.
const maxWidth = 1 << 16

// MaxLength is the most bytes of a value with expressions, for the same reason.
// No word of a command and no variable can be as long.
const MaxLength = 1 << 20

// ErrTooLong is the error of a value that would be longer.
var ErrTooLong = errors.New("the value is longer than 1 MB when its expressions are replaced")

// Part is a piece of a parsed value: literal text, or an expression.
type Part struct {
	// Text is the literal text, with a single % for %%; it is "" for an
	// expression.
	Text string
	// Spec is set for an expression.
	Spec *Spec
}

// Spec is one expression.
type Spec struct {
	Name string
	// Flags as written, any of "#0- +".
	Flags string
	// Width and Precision are -1 if not given.
	Width, Precision int
	// Size is "h", "l", "L" or ""; it has no meaning.
	Size string
	// Verb is the conversion.
	Verb byte

	source string
}

// String writes the expression as it is read.
func (s *Spec) String() string {
	var b strings.Builder
	b.WriteString("%(" + s.Name + ")" + s.Flags)
	if s.Width >= 0 {
		b.WriteString(strconv.Itoa(s.Width))
	}
	if s.Precision >= 0 {
		b.WriteString("." + strconv.Itoa(s.Precision))
	}
	b.WriteString(s.Size)
	b.WriteByte(s.Verb)
	return b.String()
}

// Parse cuts a value into literal text and expressions. The error is a
// *FormatError.
func Parse(s string) ([]Part, error) {
	var parts []Part
	var literal strings.Builder
	for {
		text, rest, found := strings.Cut(s, "%")
		literal.WriteString(text)
		if !found {
			break
		}
		if strings.HasPrefix(rest, "%") {
			literal.WriteByte('%')
			s = rest[1:]
			continue
		}
		spec, n, err := parseSpec(rest)
		if err != nil {
			return nil, err
		}
		if literal.Len() > 0 {
			parts = append(parts, Part{Text: literal.String()})
			literal.Reset()
		}
		parts = append(parts, Part{Spec: spec})
		s = rest[n:]
	}
	if literal.Len() > 0 {
		parts = append(parts, Part{Text: literal.String()})
	}
	return parts, nil
}

// Print is the inverse of Parse.
func Print(parts []Part) string {
	var b strings.Builder
	for _, p := range parts {
		if p.Spec != nil {
			b.WriteString(p.Spec.String())
		} else {
			b.WriteString(Escape(p.Text))
		}
	}
	return b.String()
}

// Escape doubles every % of s, so that Expand gives s back.
func Escape(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// Expand replaces every expression of s by what its name stands for, and %%
// by %. The error, that of the first mistake in the text, is an
// *UnknownError, a *FormatError or ErrTooLong.
func Expand(s string, lookup Lookup) (string, error) {
	if !strings.Contains(s, "%") {
		return s, nil
	}
	var b strings.Builder
	for {
		text, rest, found := strings.Cut(s, "%")
		b.WriteString(text)
		if b.Len() > MaxLength {
			return "", ErrTooLong
		}
		if !found {
			return b.String(), nil
		}
		if strings.HasPrefix(rest, "%") {
			b.WriteByte('%')
			s = rest[1:]
			continue
		}
		// A name is looked up before what follows it is read.
		name, after, err := parseName(rest)
		if err != nil {
			return "", err
		}
		v := Value{}
		if after > 0 {
			var ok bool
			if v, ok = lookup(name); !ok {
				return "", &UnknownError{Name: name}
			}
		}
		spec, n, err := parseSpec(rest)
		if err != nil {
			return "", err
		}
		if err := spec.format(&b, v); err != nil {
			return "", err
		}
		s = rest[n:]
	}
}

// parseName reads the name in parentheses at the start of s and returns the
// length of both, or 0 if there is none.
func parseName(s string) (name string, n int, err error) {
	if !strings.HasPrefix(s, "(") {
		return "", 0, nil
	}
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '(':
			depth++
		case ')':
			depth--
			if depth == 0 {
				return s[1:i], i + 1, nil
			}
		}
	}
	return "", 0, &FormatError{Text: "%" + clip(s), Reason: "the parenthesis is not closed"}
}

// parseSpec reads an expression, s being what follows its %, and returns its
// length.
func parseSpec(s string) (*Spec, int, error) {
	name, i, err := parseName(s)
	if err != nil {
		return nil, 0, err
	}
	named := i > 0
	fail := func(format string, args ...any) (*Spec, int, error) {
		return nil, 0, &FormatError{Text: "%" + clip(s[:min(i+utf8.UTFMax, len(s))]), Reason: fmt.Sprintf(format, args...)}
	}
	spec := &Spec{Name: name, Width: -1, Precision: -1}
	start := i
	for i < len(s) && strings.IndexByte("#0- +", s[i]) >= 0 {
		i++
	}
	spec.Flags = s[start:i]
	number := func() (int, bool) {
		n := 0
		for i < len(s) && '0' <= s[i] && s[i] <= '9' {
			n = n*10 + int(s[i]-'0')
			if n > maxWidth {
				return 0, false
			}
			i++
		}
		return n, true
	}
	ok := true
	if i < len(s) && '1' <= s[i] && s[i] <= '9' {
		if spec.Width, ok = number(); !ok {
			return fail("the width is above %d", maxWidth)
		}
	}
	if i < len(s) && s[i] == '.' {
		i++
		if spec.Precision, ok = number(); !ok {
			return fail("the precision is above %d", maxWidth)
		}
	}
	if i < len(s) && strings.IndexByte("hlL", s[i]) >= 0 {
		spec.Size = s[i : i+1]
		i++
	}
	switch {
	case i >= len(s) && !named && s == "":
		return fail("a lone %% at the end; write %%%% for a percent sign")
	case i >= len(s):
		return fail("the conversion is missing; write %%(%s)s", name)
	case strings.IndexByte("diuoxXeEfFgGcsra", s[i]) < 0:
		r, _ := utf8.DecodeRuneInString(s[i:])
		if named {
			return fail("%q is no conversion; write %%(%s)s", r, name)
		}
		return fail("write %%%% for a percent sign")
	case !named:
		return fail("the name is missing; write %%%% for a percent sign")
	}
	spec.Verb = s[i]
	spec.source = "%" + s[:i+1]
	return spec, i + 1, nil
}

// clip shortens s for a message.
func clip(s string) string {
	const most = 40
	if len(s) <= most {
		return strings.ToValidUTF8(s, "")
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
