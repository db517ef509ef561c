package rpc

import (
	"strconv"
	"unicode/utf8"
)

// Encoder writes a response. Its methods only append to a buffer, so that an
// answer costs no more than the copying of its bytes; the caller sees to it
// that values come where the format wants them. The zero value is ready.
//
// Whatever a string contains, the result is well-formed XML in UTF-8: what is
// not UTF-8 and characters that XML forbids become U+FFFD. Integers are sent as
// <int> whatever their size.
type Encoder struct {
	buf []byte
}

const (
	responseHead  = "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n"
	responseTail  = "</param>\n</params>\n</methodResponse>\n"
	faultHead     = "<?xml version='1.0'?>\n<methodResponse>\n<fault>\n"
	faultTail     = "</fault>\n</methodResponse>\n"
	openArray     = "<value><array><data>\n"
	closeArray    = "</data></array></value>\n"
	openStruct    = "<value><struct>\n"
	closeStruct   = "</struct></value>\n"
	openMember    = "<member>\n<name>"
	closeName     = "</name>\n"
	closeMember   = "</member>\n"
	openString    = "<value><string>"
	closeString   = "</string></value>\n"
	openInt       = "<value><int>"
	closeInt      = "</int></value>\n"
	trueValue     = "<value><boolean>1</boolean></value>\n"
	falseValue    = "<value><boolean>0</boolean></value>\n"
	nextString    = closeString + closeMember + openMember
	nextInt       = closeInt + closeMember + openMember
	valueOfString = closeName + openString
	valueOfInt    = closeName + openInt
)

// NewEncoder returns an encoder that appends to buf.
func NewEncoder(buf []byte) *Encoder { return &Encoder{buf} }

// Reset makes the encoder append to buf.
func (e *Encoder) Reset(buf []byte) { e.buf = buf }

// Bytes returns what has been written. It is valid until the next write.
func (e *Encoder) Bytes() []byte { return e.buf }

// Len returns how much has been written, in bytes.
func (e *Encoder) Len() int { return len(e.buf) }

// Truncate takes back all but the first n bytes.
func (e *Encoder) Truncate(n int) { e.buf = e.buf[:n] }

// BeginResponse and EndResponse enclose the one value that a method returns.
func (e *Encoder) BeginResponse() { e.raw(responseHead) }

// EndResponse ends what BeginResponse began.
func (e *Encoder) EndResponse() { e.raw(responseTail) }

// FaultResponse writes a whole response that is a fault.
func (e *Encoder) FaultResponse(f *Fault) {
	e.raw(faultHead)
	e.Fault(f)
	e.raw(faultTail)
}

// Fault writes a fault as a value, as it stands among the results of
// system.multicall.
func (e *Encoder) Fault(f *Fault) {
	e.raw(openStruct + openMember + "faultCode" + valueOfInt)
	e.buf = strconv.AppendInt(e.buf, int64(f.Code), 10)
	e.raw(nextInt + "faultString" + valueOfString)
	e.buf = AppendText(e.buf, f.String)
	e.raw(closeString + closeMember + closeStruct)
}

// Int writes an integer.
func (e *Encoder) Int(n int64) {
	e.raw(openInt)
	e.buf = strconv.AppendInt(e.buf, n, 10)
	e.raw(closeInt)
}

// Bool writes a boolean.
func (e *Encoder) Bool(v bool) {
	if v {
		e.raw(trueValue)
	} else {
		e.raw(falseValue)
	}
}

// String writes a string.
func (e *Encoder) String(s string) {
	e.raw(openString)
	e.buf = AppendText(e.buf, s)
	e.raw(closeString)
}

// BeginString and EndString enclose text that the caller encodes with
// AppendText and sends in pieces of its own.
func (e *Encoder) BeginString() { e.raw(openString) }

// EndString ends what BeginString began.
func (e *Encoder) EndString() { e.raw(closeString) }

// Text appends to a string that BeginString began.
func (e *Encoder) Text(s string) { e.buf = AppendText(e.buf, s) }

// BeginArray and EndArray enclose the values of an array.
func (e *Encoder) BeginArray() { e.raw(openArray) }

// EndArray ends what BeginArray began.
func (e *Encoder) EndArray() { e.raw(closeArray) }

// BeginStruct and EndStruct enclose the members of a struct.
func (e *Encoder) BeginStruct() { e.raw(openStruct) }

// EndStruct ends what BeginStruct began.
func (e *Encoder) EndStruct() { e.raw(closeStruct) }

// BeginMember and EndMember enclose the value of a member.
func (e *Encoder) BeginMember(name string) {
	e.raw(openMember)
	e.buf = AppendText(e.buf, name)
	e.raw(closeName)
}

// EndMember ends what BeginMember began.
func (e *Encoder) EndMember() { e.raw(closeMember) }

func (e *Encoder) raw(s string) { e.buf = append(e.buf, s...) }

// special marks the bytes that cannot be copied to a document as they are.
var special = func() (t [256]bool) {
	for c := range t {
		t[c] = c < 0x20 && c != '\t' && c != '\n' && c != '\r' || c == '<' || c == '>' || c == '&' || c >= utf8.RuneSelf
	}
	return t
}()

// AppendText appends s as the text of an element.
func AppendText(b []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if !special[c] {
			i++
			continue
		}
		var to string
		n := 1
		switch {
		case c == '<':
			to = "&lt;"
		case c == '>':
			to = "&gt;"
		case c == '&':
			to = "&amp;"
		case c < utf8.RuneSelf:
			to = "\uFFFD"
		default:
			var r rune
			r, n = utf8.DecodeRuneInString(s[i:])
			if !(r == utf8.RuneError && n == 1) && validRune(r) {
				i += n
				continue
			}
			to = "\uFFFD"
		}
		b = append(b, s[start:i]...)
		b = append(b, to...)
		i += n
		start = i
	}
	return append(b, s[start:]...)
}

// WholeText returns the length of the longest beginning of p that does not end
// within a character, for text that is encoded in pieces.
func WholeText(p []byte) int {
	for i := len(p) - 1; i >= 0 && i >= len(p)-utf8.UTFMax; i-- {
		if utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				return i
			}
			break
		}
	}
	return len(p)
}
