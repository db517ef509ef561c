package main

import (
	"bytes"
	"encoding/json"
	"io"
	"sync"
	"time"
)

// splitter cuts what is written to it into lines.
type splitter struct {
	// emit is called with each line and its newline. A line longer than
	// longestLine comes in pieces, none but the last of which has one; so
	// does one that flush ended.
	emit func(line []byte) error
	part []byte
}

func (s *splitter) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n') + 1
		if end == 0 && len(s.part)+len(p) < longestLine {
			s.part = append(s.part, p...)
			break
		}
		if end == 0 {
			end = len(p)
		}
		line := p[:end]
		p = p[end:]
		if len(s.part) > 0 {
			line = append(s.part, line...)
			s.part = s.part[:0]
		}
		if err := s.emit(line); err != nil {
			return written, err
		}
	}
	return written, nil
}

// flush hands out a line that has no end.
func (s *splitter) flush() error {
	if len(s.part) == 0 {
		return nil
	}
	line := s.part
	s.part = nil
	return s.emit(line)
}

// printer prints the lines of one log as they are to be shown. What one Write
// completes goes out in one write.
type printer struct {
	out *output
	splitter
	filter
	// raw lets everything pass as it is, unfinished lines included.
	raw bool
	// skip is how many lines that fit are left out before the first one.
	skip int
	// prefix stands before each line.
	prefix string
	// object makes JSON of a line; nil for plain text.
	object func(line []byte) []byte
	buf    bytes.Buffer
}

// output is where all printers print, one at a time.
type output struct {
	mu sync.Mutex
	w  io.Writer
	// failed is the first error of w.
	failed error
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed != nil {
		return 0, o.failed
	}
	n, err := o.w.Write(p)
	o.failed = err
	return n, err
}

// broken reports whether writing has failed.
func (o *output) broken() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed != nil
}

func newPrinter(out *output, q query) *printer {
	p := &printer{out: out, filter: filter{query: q}}
	p.emit = p.line
	return p
}

func (p *printer) Write(b []byte) (int, error) {
	if p.raw {
		return p.out.Write(b)
	}
	if _, err := p.splitter.Write(b); err != nil {
		return 0, err
	}
	return len(b), p.send()
}

// end prints a line that has no end.
func (p *printer) end() error {
	if err := p.flush(); err != nil {
		return err
	}
	return p.send()
}

// endRaw prints the beginning of a line whose rest is to come as it is.
func (p *printer) endRaw() error {
	rest := p.part
	p.part = nil
	_, err := p.out.Write(rest)
	return err
}

func (p *printer) send() error {
	if p.buf.Len() == 0 {
		return nil
	}
	_, err := p.out.Write(p.buf.Bytes())
	p.buf.Reset()
	return err
}

func (p *printer) line(line []byte) error {
	line = bytes.TrimSuffix(line, []byte("\n"))
	if !p.pass(line) {
		return nil
	}
	if p.skip > 0 {
		p.skip--
		return nil
	}
	if p.object != nil {
		p.buf.Write(p.object(line))
	} else {
		p.buf.WriteString(p.prefix)
		p.buf.Write(line)
	}
	p.buf.WriteByte('\n')
	if p.buf.Len() > 64<<10 {
		return p.send()
	}
	return nil
}

// jsonLine returns a function that makes the JSON object of a line: group,
// name, stream, text, and time if the line begins with one.
func jsonLine(group, name, stream string) func([]byte) []byte {
	return func(line []byte) []byte {
		object := struct {
			Group  string `json:"group"`
			Name   string `json:"name"`
			Stream string `json:"stream"`
			Time   string `json:"time,omitempty"`
			Text   string `json:"text"`
		}{Group: group, Name: name, Stream: stream, Text: string(line)}
		if t, ok := stamp(line); ok {
			object.Time = t.Format(time.RFC3339Nano)
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(object); err != nil {
			panic(err) // strings can always be encoded
		}
		return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	}
}
