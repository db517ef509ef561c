// Package transform changes output on its way to a log: it cuts captured
// sections out, removes escape sequences, and puts a time or a name before each
// line. It keeps no bytes between calls: all it has to remember is a State of a
// few words, so that the work can be taken up by another process.
package transform

import (
	"bytes"
	"time"
)

// The tokens between which output is captured.
const (
	Begin = "<!--XSUPERVISOR:BEGIN-->"
	End   = "<!--XSUPERVISOR:END-->"
)

// Options say what is to be done.
type Options struct {
	// Capture cuts out what stands between Begin and End, and the tokens.
	Capture bool
	// StripANSI removes everything from ESC [ up to the next of the letters
	// that end a sequence, in sections, too.
	StripANSI bool
	// Timestamp puts the time before each line, Prefix a name.
	Timestamp bool
	Prefix    string
}

// Any tells whether there is something to be done.
func (o *Options) Any() bool {
	return o.Capture || o.StripANSI || o.prefixes()
}

func (o *Options) prefixes() bool { return o.Timestamp || o.Prefix != "" }

// State is what is remembered between one piece of a stream and the next. The
// zero State is that of the beginning. It is plain data.
type State struct {
	// Token is how many bytes of a token have been seen: Begin's outside of a
	// section, End's inside. They are held back, since they may turn out to
	// be one; they need not be kept, being known.
	Token uint8
	// Escape: escNone, escSeen (an ESC is held back) or escInside. Sections
	// have one of their own: an escape sequence around a section goes on behind
	// it.
	Escape, SectionEscape uint8
	// Capturing is set inside of a section.
	Capturing bool
	// MidLine is set when the next byte continues a line.
	MidLine bool
	// Captured is the number of bytes of the present section so far.
	Captured uint64
}

const (
	escNone = iota
	escSeen
	escInside
)

// Section receives what is captured.
type Section interface {
	// Capture adds p to the present section, at the offset given: a section
	// begins at 0.
	Capture(at uint64, p []byte)
	// Complete ends the section, of size bytes.
	Complete(size uint64)
}

// Transformer does the work for one stream. It belongs to one goroutine.
type Transformer struct {
	Options
	Section Section // needed with Capture only
	// Ends tells, for each section that was completed by the last Transform,
	// how much of plain was written before its end. It is valid until the next
	// call.
	Ends []int

	kept, plain, lines, section []byte
}

// Transform takes the next piece of output and brings st up to date. plain is
// what is left of it, lines the same with something before each line; both are
// valid until the next call. now is the time for lines that begin here.
func (t *Transformer) Transform(st *State, p []byte, now time.Time) (plain, lines []byte) {
	t.Ends = t.Ends[:0]
	if t.Capture || st.Capturing || st.Token > 0 {
		t.kept = t.cut(t.kept[:0], st, p)
		p = t.kept
	}
	if t.StripANSI || st.Escape != escNone {
		t.plain = t.plain[:0]
		from := 0
		for i, end := range t.Ends {
			t.plain = strip(t.plain, &st.Escape, p[from:end])
			t.Ends[i], from = len(t.plain), end
		}
		t.plain = strip(t.plain, &st.Escape, p[from:])
		p = t.plain
	}
	return p, t.begin(st, p, now)
}

// Flush gives what is held back, because nothing follows that could complete
// it. An unfinished section is dropped.
func (t *Transformer) Flush(st *State, now time.Time) (plain, lines []byte) {
	t.plain, t.Ends = t.plain[:0], t.Ends[:0]
	if !st.Capturing {
		t.plain = append(t.plain, Begin[:st.Token]...)
	}
	if st.Escape == escSeen {
		t.plain = append([]byte{0x1b}, t.plain...)
	}
	st.Token, st.Escape, st.SectionEscape, st.Capturing, st.Captured = 0, escNone, escNone, false, 0
	return t.plain, t.begin(st, t.plain, now)
}

// cut appends to out what of p is outside of sections.
func (t *Transformer) cut(out []byte, st *State, p []byte) []byte {
	for len(p) > 0 {
		token := Begin
		if st.Capturing {
			token = End
		}
		if st.Token == 0 {
			i := bytes.IndexByte(p, token[0])
			if i < 0 {
				i = len(p)
			}
			out = t.pass(out, st, p[:i])
			if p = p[i:]; len(p) == 0 {
				break
			}
		}
		if p[0] != token[st.Token] {
			// Not a token after all. Its first character stands nowhere else
			// in it, so nothing but p[0] can begin another one.
			held := st.Token
			st.Token = 0
			out = t.pass(out, st, []byte(token[:held]))
			continue
		}
		p = p[1:]
		if st.Token++; int(st.Token) < len(token) {
			continue
		}
		st.Token = 0
		if st.Capturing {
			t.complete(st)
			t.Ends = append(t.Ends, len(out))
		}
		st.Capturing, st.Captured = !st.Capturing, 0
	}
	return out
}

// pass sends bytes that are no token to where they belong.
func (t *Transformer) pass(out []byte, st *State, p []byte) []byte {
	if !st.Capturing {
		return append(out, p...)
	}
	if t.StripANSI || st.SectionEscape != escNone {
		t.section = strip(t.section[:0], &st.SectionEscape, p)
		p = t.section
	}
	t.capture(st, p)
	return out
}

func (t *Transformer) capture(st *State, p []byte) {
	if len(p) > 0 {
		t.Section.Capture(st.Captured, p)
		st.Captured += uint64(len(p))
	}
}

// complete ends a section.
func (t *Transformer) complete(st *State) {
	if st.SectionEscape == escSeen {
		t.capture(st, []byte{0x1b})
	}
	st.SectionEscape = escNone
	t.Section.Complete(st.Captured)
}

// finals are the letters that end an escape sequence.
const finals = "HfABCDRsuJKhlpm"

// strip appends p without escape sequences to out. escape is where it stands
// in one.
func strip(out []byte, escape *uint8, p []byte) []byte {
	for len(p) > 0 {
		switch *escape {
		case escNone:
			i := bytes.IndexByte(p, 0x1b)
			if i < 0 {
				return append(out, p...)
			}
			out = append(out, p[:i]...)
			p = p[i+1:]
			*escape = escSeen
		case escSeen:
			if p[0] == '[' {
				p = p[1:]
				*escape = escInside
				continue
			}
			out = append(out, 0x1b)
			*escape = escNone
		case escInside:
			i := bytes.IndexAny(p, finals)
			if i < 0 {
				return out
			}
			p = p[i+1:]
			*escape = escNone
		}
	}
	return out
}

// begin puts before each line that begins in p what belongs there.
func (t *Transformer) begin(st *State, p []byte, now time.Time) []byte {
	if !t.prefixes() {
		if len(p) > 0 {
			st.MidLine = p[len(p)-1] != '\n'
		}
		return p
	}
	out := t.lines[:0]
	for len(p) > 0 {
		if !st.MidLine {
			if t.Timestamp {
				out = now.AppendFormat(out, "2006-01-02T15:04:05.000Z07:00 ")
			}
			if t.Prefix != "" {
				out = append(append(out, t.Prefix...), " | "...)
			}
		}
		i := bytes.IndexByte(p, '\n') + 1
		if st.MidLine = i == 0; st.MidLine {
			i = len(p)
		}
		out = append(out, p[:i]...)
		p = p[i:]
	}
	t.lines = out
	return out
}
