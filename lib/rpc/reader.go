package rpc

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"
)

// Limits of a request. They bound what a request of any size can cost.
const (
	// MaxDepth is how deeply its elements may be nested.
	MaxDepth = 100
	// MaxValues is how many values it may contain, those inside arrays and
	// structs included.
	MaxValues = 200_000
)

// Call is a request: the name of a method and its parameters.
type Call struct {
	Method string
	Params []Value
	// Memory is about what the parameters take, in bytes.
	Memory int64
}

// SyntaxError says why a body is not a request, and where.
type SyntaxError struct {
	Offset int // in bytes
	Reason string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("cannot read request: %s at byte %d", e.Reason, e.Offset)
}

// ParseCall reads a request body: a well-formed XML document in UTF-8 with a
// methodName and, optionally, params. Entities other than XML's own five do not
// exist, external ones are never looked at, and a DOCTYPE must not declare
// any. Whoever knows only part of the grammar is met half-way, as Supervisor
// does: the names of the enclosing elements, attributes and unknown elements
// don't matter. Errors are *SyntaxError.
//
// Nothing in the result refers to body.
func ParseCall(body []byte) (Call, error) { return ParseCallWithin(body, MaxValues) }

// ParseCallWithin is ParseCall with another limit than MaxValues.
func ParseCallWithin(body []byte, maxValues int) (Call, error) {
	p := reader{b: body, maxValues: maxValues}
	call, err := p.call()
	if err != nil {
		return Call{}, err
	}
	call.Memory = int64(p.values)*int64(unsafe.Sizeof(Value{})) + p.texts
	return call, nil
}

// reader reads a body token by token; nothing is built but the values.
type reader struct {
	b      []byte
	pos    int
	begin  int // behind a byte order mark
	depth  int
	values int
	texts  int64  // bytes of text that were kept
	buf    []byte // of text, reused

	maxValues int
}

type tokenKind uint8

const (
	tokEnd   tokenKind = iota // end of the document
	tokStart                  // <name …>, name
	tokEmpty                  // <name … />, name
	tokClose                  // </name>, name
	tokText                   // raw text: entities and line ends as they are
	tokCDATA                  // literal text
)

// token is a view into the body.
type token struct {
	kind tokenKind
	data []byte
}

func (p *reader) fail(reason string) error { return &SyntaxError{p.pos, reason} }

func (p *reader) call() (Call, error) {
	var call Call
	if i := invalidByte(p.b); i >= 0 {
		return call, &SyntaxError{i, "a character that XML forbids"}
	}
	if strings.HasPrefix(string(p.b[:min(3, len(p.b))]), "\ufeff") {
		p.pos, p.begin = 3, 3
	}
	seen := false
	for {
		t, err := p.next()
		if err != nil {
			return call, err
		}
		switch t.kind {
		case tokEnd:
			if !seen {
				return call, p.fail("no element")
			}
			if call.Method == "" {
				return call, p.fail("no method name")
			}
			return call, nil
		case tokText:
			if !blank(t.data) {
				return call, p.fail("text outside of the element")
			}
		case tokStart, tokEmpty:
			if seen {
				return call, p.fail("a second element")
			}
			seen = true
			if err := p.root(t, &call); err != nil {
				return call, err
			}
		default:
			return call, p.fail("text or end tag outside of the element")
		}
	}
}

// root reads the outermost element, or one inside it that may hold the method
// name and the parameters.
func (p *reader) root(t token, call *Call) error {
	if t.kind == tokEmpty {
		return nil
	}
	switch string(t.data) {
	case "methodName":
		s, err := p.text(t.data)
		call.Method = s
		return err
	case "params":
		call.Params = nil
		return p.params(call)
	}
	if err := p.enter(); err != nil {
		return err
	}
	for {
		c, err := p.next()
		if err != nil {
			return err
		}
		switch c.kind {
		case tokStart, tokEmpty:
			if err := p.root(c, call); err != nil {
				return err
			}
		case tokClose:
			return p.leave(t.data, c)
		case tokEnd:
			return p.fail("unexpected end")
		}
	}
}

func (p *reader) params(call *Call) error {
	return p.children("params", func(t token) error {
		var v Value
		var err error
		switch string(t.data) {
		case "param":
			v, err = p.param(t)
		case "value":
			v, err = p.value(t)
		default:
			return p.fail("something else than param in params")
		}
		call.Params = append(call.Params, v)
		return err
	})
}

func (p *reader) param(t token) (v Value, err error) {
	n := 0
	if t.kind == tokStart {
		err = p.children("param", func(t token) (err error) {
			if string(t.data) != "value" {
				return p.fail("something else than value in param")
			}
			if n++; n == 1 {
				v, err = p.value(t)
				return err
			}
			_, err = p.value(t)
			return err
		})
	}
	if err == nil && n == 0 {
		err = p.fail("a param without value")
	}
	return v, err
}

// children calls do with each element inside the one that was begun last, and
// passes over text between them.
func (p *reader) children(name string, do func(token) error) error {
	if err := p.enter(); err != nil {
		return err
	}
	for {
		t, err := p.next()
		if err != nil {
			return err
		}
		switch t.kind {
		case tokStart, tokEmpty:
			if err := do(t); err != nil {
				return err
			}
		case tokClose:
			return p.leave([]byte(name), t)
		case tokEnd:
			return p.fail("unexpected end")
		}
	}
}

func (p *reader) enter() error {
	if p.depth++; p.depth > MaxDepth {
		return p.fail("elements nested too deeply")
	}
	return nil
}

func (p *reader) leave(name []byte, t token) error {
	p.depth--
	if string(name) != string(t.data) {
		return p.fail("the wrong end tag")
	}
	return nil
}

// value reads a value whose start tag is t. Without an element inside it is a
// string; of several the first counts.
func (p *reader) value(t token) (Value, error) {
	if p.values++; p.values > p.maxValues {
		return Value{}, p.fail("too many values")
	}
	if t.kind == tokEmpty {
		return Value{Kind: String}, nil
	}
	if err := p.enter(); err != nil {
		return Value{}, err
	}
	v := Value{Kind: String}
	text := p.buf[:0]
	typed := false
	for {
		c, err := p.next()
		if err != nil {
			return v, err
		}
		switch c.kind {
		case tokText, tokCDATA:
			if !typed {
				if text, err = p.appendText(text, c); err != nil {
					return v, err
				}
			}
		case tokStart, tokEmpty:
			w, err := p.typed(c)
			if err != nil {
				return v, err
			}
			if !typed {
				v, typed = w, true
			}
		case tokClose:
			if !typed {
				v.Str = string(text)
				p.texts += int64(len(text))
				p.buf = text[:0]
			}
			return v, p.leave(t.data, c)
		case tokEnd:
			return v, p.fail("unexpected end")
		}
	}
}

// typed reads the element inside a value.
func (p *reader) typed(t token) (Value, error) {
	switch string(t.data) {
	case "array":
		return p.array(t)
	case "struct":
		return p.structure(t)
	case "nil", "ex:nil":
		_, err := p.content(t)
		return Value{}, err
	}
	s, err := p.content(t)
	if err != nil {
		return Value{}, err
	}
	switch string(t.data) {
	case "int", "i4", "i8", "i1", "i2", "ex:i8":
		n, digits, err := parseInt(s)
		if err != nil {
			return Value{}, p.fail("not a number")
		}
		return Value{Kind: Int, Int: n, Str: digits}, nil
	case "boolean":
		return BoolValue(s == "1"), nil
	case "double":
		f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		if err != nil && err.(*strconv.NumError).Err != strconv.ErrRange {
			return Value{}, p.fail("not a number")
		}
		return Value{Kind: Double, Float: f}, nil
	case "dateTime.iso8601":
		d, err := time.Parse("20060102T15:04:05", s)
		if err != nil {
			return Value{}, p.fail("not a date")
		}
		return Value{Kind: DateTime, Str: d.Format("2006-01-02 15:04:05")}, nil
	case "base64":
		raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(s), ""))
		if err != nil {
			return Value{}, p.fail("not base64")
		}
		return StringValue(string(raw)), nil
	}
	return StringValue(s), nil
}

func (p *reader) array(t token) (Value, error) {
	v := Value{Kind: Array}
	n := 0
	if t.kind == tokStart {
		err := p.children("array", func(t token) error {
			if n++; n > 1 || string(t.data) != "data" {
				return p.fail("something else than data in array")
			}
			if t.kind == tokEmpty {
				return nil
			}
			return p.children("data", func(t token) error {
				if string(t.data) != "value" {
					return p.fail("something else than value in data")
				}
				item, err := p.value(t)
				v.Items = append(v.Items, item)
				return err
			})
		})
		if err != nil {
			return v, err
		}
	}
	if n == 0 {
		return v, p.fail("an array without data")
	}
	return v, nil
}

func (p *reader) structure(t token) (Value, error) {
	v := Value{Kind: Struct}
	if t.kind == tokEmpty {
		return v, nil
	}
	return v, p.children("struct", func(t token) error {
		if t.kind == tokEmpty || string(t.data) != "member" {
			return p.fail("something else than member in struct")
		}
		var m Member
		part := 0
		err := p.children("member", func(t token) (err error) {
			part++
			switch {
			case part == 1 && string(t.data) == "name":
				m.Name, err = p.content(t)
			case part == 2 && string(t.data) == "value":
				m.Value, err = p.value(t)
			default:
				err = p.fail("something else than name and value in member")
			}
			return err
		})
		if err == nil && part != 2 {
			err = p.fail("a member without value")
		}
		v.Members = append(v.Members, m)
		return err
	})
}

// content returns the text of an element whose start tag is t.
func (p *reader) content(t token) (string, error) {
	if t.kind == tokEmpty {
		return "", nil
	}
	return p.text(t.data)
}

// text reads up to the end tag of name and returns the text before the first
// element in between.
func (p *reader) text(name []byte) (string, error) {
	if err := p.enter(); err != nil {
		return "", err
	}
	text := p.buf[:0]
	for {
		t, err := p.next()
		if err != nil {
			return "", err
		}
		switch t.kind {
		case tokText, tokCDATA:
			if text, err = p.appendText(text, t); err != nil {
				return "", err
			}
		case tokClose:
			p.buf = text[:0]
			p.texts += int64(len(text))
			return string(text), p.leave(name, t)
		case tokEnd:
			return "", p.fail("unexpected end")
		default:
			return "", p.fail("an element inside of " + string(name))
		}
	}
}

// appendText appends what a piece of text means: references replaced, line
// ends as \n.
func (p *reader) appendText(dst []byte, t token) ([]byte, error) {
	s := t.data
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '\r':
			dst = append(dst, '\n')
			if i++; i < len(s) && s[i] == '\n' {
				i++
			}
		case c == '&' && t.kind == tokText:
			r, n := reference(s[i:])
			if n == 0 {
				return dst, p.fail("an unknown entity")
			}
			dst = utf8.AppendRune(dst, r)
			i += n
		default:
			j := i + 1
			for j < len(s) && s[j] != '\r' && s[j] != '&' {
				j++
			}
			dst = append(dst, s[i:j]...)
			i = j
		}
	}
	return dst, nil
}

// reference reads an entity or character reference at the beginning of s;
// n is its length, 0 if it is none.
func reference(s []byte) (r rune, n int) {
	end := 1
	for end < len(s) && end < 12 && s[end] != ';' {
		end++
	}
	if end >= len(s) || s[end] != ';' {
		return 0, 0
	}
	name := string(s[1:end])
	switch name {
	case "amp":
		return '&', end + 1
	case "lt":
		return '<', end + 1
	case "gt":
		return '>', end + 1
	case "quot":
		return '"', end + 1
	case "apos":
		return '\'', end + 1
	}
	if len(name) < 2 || name[0] != '#' {
		return 0, 0
	}
	digits, base := name[1:], 10
	if digits[0] == 'x' {
		digits, base = digits[1:], 16
	}
	u, err := strconv.ParseUint(digits, base, 32)
	if err != nil || u > utf8.MaxRune || !validRune(rune(u)) {
		return 0, 0
	}
	return rune(u), end + 1
}
