package rpc

import (
	"math"
	"strconv"
	"strings"
)

// Kind is the type of a Value.
type Kind uint8

// The types a parameter can have. base64 arrives as String, every integer
// type as Int.
const (
	Nil Kind = iota
	Int
	Bool
	Double
	String
	DateTime
	Array
	Struct
)

// Value is one parameter of a call.
type Value struct {
	Kind Kind
	// Str is the text of a String, the date of a DateTime in the form
	// "2006-01-02 15:04:05", and of an Int that does not fit into 64 bits
	// its decimal digits.
	Str string
	// Int is the number of an Int (clamped to 64 bits), and 0 or 1 of a Bool.
	Int   int64
	Float float64
	// Items are the elements of an Array.
	Items []Value
	// Members are those of a Struct, in the order they came; of several
	// with the same name the last counts.
	Members []Member
}

// Member is one member of a struct.
type Member struct {
	Name  string
	Value Value
}

// StringValue makes a String.
func StringValue(s string) Value { return Value{Kind: String, Str: s} }

// IntValue makes an Int.
func IntValue(n int64) Value { return Value{Kind: Int, Int: n} }

// BoolValue makes a Bool.
func BoolValue(b bool) Value {
	if b {
		return Value{Kind: Bool, Int: 1}
	}
	return Value{Kind: Bool}
}

// Member returns the member of a struct, and whether there is one.
func (v Value) Member(name string) (Value, bool) {
	for i := len(v.Members) - 1; i >= 0; i-- {
		if v.Members[i].Name == name {
			return v.Members[i].Value, true
		}
	}
	return Value{}, false
}

// Truth tells whether a value counts as true where a boolean is wanted: 0,
// nil and everything empty are false, all else, "false" too, is true.
func (v Value) Truth() bool {
	switch v.Kind {
	case Int, Bool:
		return v.Int != 0
	case Double:
		return v.Float != 0
	case String:
		return v.Str != ""
	case DateTime:
		return true
	case Array:
		return len(v.Items) > 0
	case Struct:
		return len(v.Members) > 0
	}
	return false
}

// Number returns the value as an integer, and whether it is one: numbers,
// booleans, and strings that hold a decimal integer are. Fractions are cut
// off, numbers beyond 64 bits clamped.
func (v Value) Number() (int64, bool) {
	switch v.Kind {
	case Int, Bool:
		return v.Int, true
	case Double:
		switch {
		case math.IsNaN(v.Float):
			return 0, false
		case v.Float >= math.MaxInt64:
			return math.MaxInt64, true
		case v.Float <= math.MinInt64:
			return math.MinInt64, true
		}
		return int64(v.Float), true
	case String:
		n, _, err := parseInt(v.Str)
		return n, err == nil
	}
	return 0, false
}

// Text returns the value as a fault string quotes it.
func (v Value) Text() string {
	if v.Kind == String || v.Kind == DateTime {
		return v.Str
	}
	return string(v.appendRepr(nil))
}

func (v Value) appendRepr(b []byte) []byte {
	switch v.Kind {
	case Int:
		if v.Str != "" {
			return append(b, v.Str...)
		}
		return strconv.AppendInt(b, v.Int, 10)
	case Bool:
		if v.Int != 0 {
			return append(b, "True"...)
		}
		return append(b, "False"...)
	case Double:
		return appendDouble(b, v.Float)
	case String, DateTime:
		return appendQuoted(b, v.Str)
	case Array:
		b = append(b, '[')
		for i := range v.Items {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = v.Items[i].appendRepr(b)
		}
		return append(b, ']')
	case Struct:
		b = append(b, '{')
		for i := range v.Members {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = appendQuoted(b, v.Members[i].Name)
			b = append(b, ": "...)
			b = v.Members[i].Value.appendRepr(b)
		}
		return append(b, '}')
	}
	return append(b, "None"...)
}

func appendDouble(b []byte, f float64) []byte {
	n := len(b)
	b = strconv.AppendFloat(b, f, 'g', -1, 64)
	if f == math.Trunc(f) && math.Abs(f) < 1e16 {
		b = strconv.AppendFloat(b[:n], f, 'f', 1, 64)
	}
	return b
}

func appendQuoted(b []byte, s string) []byte {
	b = append(b, '\'')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '\'', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, `\n`...)
		default:
			b = append(b, c)
		}
	}
	return append(b, '\'')
}

// parseInt reads a decimal integer the way Supervisor's language does: blanks
// around it, a sign, and single underscores between digits are fine. A number
// beyond 64 bits is clamped, and its digits are returned beside it.
func parseInt(s string) (n int64, digits string, err error) {
	s = strings.TrimSpace(s)
	if strings.Contains(s, "_") {
		if s[0] == '_' || s[len(s)-1] == '_' || strings.Contains(s, "__") ||
			strings.HasPrefix(s, "+_") || strings.HasPrefix(s, "-_") {
			return 0, "", strconv.ErrSyntax
		}
		s = strings.ReplaceAll(s, "_", "")
	}
	n, err = strconv.ParseInt(s, 10, 64)
	if err != nil && err.(*strconv.NumError).Err == strconv.ErrRange {
		return n, strings.TrimPrefix(s, "+"), nil
	}
	return n, "", err
}
