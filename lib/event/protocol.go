package event

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ListenerState is where a listener stands in its protocol.
type ListenerState uint8

const (
	// Acknowledged: it has yet to say READY. The state after its start.
	Acknowledged ListenerState = iota
	// Ready: it waits for an event and must keep quiet.
	Ready
	// Busy: it has an event and has yet to give the result.
	Busy
	// Lost: it broke the protocol and gets nothing more until it is started
	// again. Supervisor's name of it is UNKNOWN.
	Lost
)

func (s ListenerState) String() string {
	switch s {
	case Acknowledged:
		return "ACKNOWLEDGED"
	case Ready:
		return "READY"
	case Busy:
		return "BUSY"
	case Lost:
		return "UNKNOWN"
	}
	return fmt.Sprintf("ListenerState(%d)", uint8(s))
}

const (
	readyToken = "READY\n"
	// resultPrefix is how long "RESULT " is. What stands there is not looked
	// at, as with Supervisor.
	resultPrefix = len("RESULT ")
	// maxResultLine bounds the line before a result's body, in bytes.
	maxResultLine = 1024
	// MaxResult bounds the body of a result, in bytes. A listener that
	// announces more breaks the protocol. It leaves room for handlers whose
	// results repeat the event.
	MaxResult = 1 << 20
	// maxQuote bounds what is quoted in the activity log, in bytes.
	maxQuote = 200
)

// OutcomeKind tells what a listener has said.
type OutcomeKind uint8

const (
	// GotReady: READY; the state is Ready.
	GotReady OutcomeKind = iota
	// GotResult: a result, in Body; the state is Acknowledged.
	GotResult
	// GotJunk: output that is not due; the state is Lost. Body holds it.
	GotJunk
	// GotBadResult: a result line that has no length, or one out of bounds;
	// the state is Lost. Body holds the line.
	GotBadResult
)

// Outcome is one thing that a listener said. Body is valid until the next call
// of Feed.
type Outcome struct {
	Kind OutcomeKind
	Body []byte
}

// Protocol reads what one run of a listener writes to its standard output. The
// zero value is that of a listener just started.
type Protocol struct {
	state ListenerState
	// buf is the beginning of a token, a result line or a body.
	buf []byte
	// want is the length of the body being read, or -1 while its line is; it
	// means something in Busy only.
	want int
}

// State is where the listener stands.
func (p *Protocol) State() ListenerState { return p.state }

// Deliver notes that the listener, which must be Ready, was given an event.
func (p *Protocol) Deliver() {
	if p.state != Ready {
		panic("event: delivery to a listener that is " + p.state.String())
	}
	p.state, p.want = Busy, -1
}

// Recall takes the delivery back: the listener never got the event.
func (p *Protocol) Recall() {
	if p.state == Busy {
		p.state, p.buf = Ready, nil
	}
}

// Fail ends the conversation.
func (p *Protocol) Fail() { p.state, p.buf = Lost, nil }

// Feed takes the next output of the listener, cut anywhere, and tells what it
// means. Not more than MaxResult bytes are kept from one call to the next.
func (p *Protocol) Feed(data []byte) []Outcome {
	if p.state == Lost || len(data) == 0 {
		return nil
	}
	// A token that comes byte by byte is gathered in place: looking at it must
	// not cost a copy each time.
	gathered := len(p.buf) > 0
	if gathered {
		p.buf = append(p.buf, data...)
		data = p.buf
	}
	var outcomes []Outcome
	taken := 0
	for taken < len(data) && p.state != Lost {
		outcome, n := p.next(data[taken:])
		if n == 0 {
			break
		}
		taken += n
		if outcome != nil {
			outcomes = append(outcomes, *outcome)
		}
	}
	if !gathered || taken > 0 {
		p.buf = bytes.Clone(data[taken:])
	}
	if len(p.buf) == 0 || p.state == Lost {
		p.buf = nil
	}
	return outcomes
}

// next takes one token from the beginning of data and tells how long it is: 0
// if there is too little data to say. A token may have no outcome of its own.
func (p *Protocol) next(data []byte) (*Outcome, int) {
	switch p.state {
	case Acknowledged:
		switch {
		case len(data) < len(readyToken):
			return nil, 0
		case string(data[:len(readyToken)]) != readyToken:
			return p.breach(GotJunk, data), len(data)
		}
		p.state = Ready
		return &Outcome{Kind: GotReady}, len(readyToken)

	case Ready:
		return p.breach(GotJunk, data), len(data)

	case Busy:
		if p.want < 0 {
			return p.resultLine(data)
		}
		return p.resultBody(data)
	}
	panic("event: no token in state " + p.state.String())
}

func (p *Protocol) resultLine(data []byte) (*Outcome, int) {
	end := bytes.IndexByte(data[:min(len(data), maxResultLine)], '\n')
	switch {
	case end < 0 && len(data) < maxResultLine:
		return nil, 0
	case end < 0:
		return p.breach(GotBadResult, data), len(data)
	}
	line := data[:end]
	number := strings.TrimSpace(string(line[min(len(line), resultPrefix):]))
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n > MaxResult {
		return p.breach(GotBadResult, line), len(data)
	}
	p.want = n
	if n == 0 {
		outcome, _ := p.resultBody(nil)
		return outcome, end + 1
	}
	return nil, end + 1
}

func (p *Protocol) resultBody(data []byte) (*Outcome, int) {
	if len(data) < p.want {
		return nil, 0
	}
	n := p.want
	p.state = Acknowledged
	return &Outcome{Kind: GotResult, Body: data[:n]}, n
}

func (p *Protocol) breach(kind OutcomeKind, data []byte) *Outcome {
	p.Fail()
	return &Outcome{Kind: kind, Body: data}
}

// quote is b for a log line: in single quotes, on one line, its beginning only
// if it is long.
func quote(b []byte) string {
	var s strings.Builder
	s.WriteByte('\'')
	rest := b[:min(len(b), maxQuote)]
	for len(rest) > 0 {
		r, n := utf8.DecodeRune(rest)
		switch {
		case r == '\n':
			s.WriteString(`\n`)
		case r == '\r':
			s.WriteString(`\r`)
		case r == '\t':
			s.WriteString(`\t`)
		case r == '\'' || r == '\\':
			s.WriteByte('\\')
			s.WriteRune(r)
		case r == utf8.RuneError && n == 1, r < 0x80 && !unicode.IsPrint(r):
			fmt.Fprintf(&s, `\x%02x`, rest[0])
		case !unicode.IsPrint(r):
			fmt.Fprintf(&s, `\u%04x`, r)
		default:
			s.WriteRune(r)
		}
		rest = rest[n:]
	}
	s.WriteByte('\'')
	if len(b) > maxQuote {
		fmt.Fprintf(&s, "… (%d bytes)", len(b))
	}
	return s.String()
}
