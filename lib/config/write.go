package config

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"gopkg.in/ini.v1"
)

// Printout is a configuration to be written. It is built in the model of
// package ini and written by it, in a way that ReadText reads back exactly.
type Printout struct {
	file *ini.File
}

// ErrNotWritable is the error of a value that the file format cannot hold,
// such as one with a blank and a semicolon after it.
var ErrNotWritable = errors.New("the value cannot be written into a file")

func init() {
	// The package has its manners in variables of its own. [DEFAULT] is a
	// section like others when written; columns are not aligned, so that a
	// change of one line is a change of one line; and there are no blanks
	// around "=", since a value may begin with a semicolon if none is before
	// it.
	ini.DefaultHeader = true
	ini.PrettyFormat = false
	ini.PrettyEqual = false
}

// NewPrintout returns an empty Printout.
func NewPrintout() *Printout {
	f := ini.Empty(ini.LoadOptions{
		AllowNestedValues:      true,
		IgnoreInlineComment:    true,
		IgnoreContinuation:     true,
		KeyValueDelimiters:     "=:",
		AllowNonUniqueSections: true,
		ChildSectionDelimiter:  "\x00",
	})
	f.DeleteSection(ini.DefaultSection)
	return &Printout{file: f}
}

// PrintSection is a section of a Printout.
type PrintSection struct {
	section *ini.Section
}

// Section adds a section. Each line of the comment becomes a comment line
// before the header. The error is ErrNotWritable if the file format cannot hold
// the name.
func (p *Printout) Section(name, comment string) (*PrintSection, error) {
	if name == "" || inlineComment("["+name+"]") >= 0 {
		return nil, ErrNotWritable
	}
	s, err := p.file.NewSection(name)
	if err != nil {
		return nil, err
	}
	s.Comment = commentLines(comment)
	return &PrintSection{s}, nil
}

// Body adds a section whose text after the header is written as it is.
func (p *Printout) Body(name, comment, body string) error {
	s, err := p.file.NewRawSection(name, body)
	if err != nil {
		return err
	}
	s.Comment = commentLines(comment)
	return nil
}

// commentLines leaves empty lines out, which package ini cannot write.
func commentLines(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, "; "+line)
		}
	}
	return strings.Join(lines, "\n")
}

// backquote stands for a backquote until everything is written: package ini
// puts values with one into quotation marks.
const backquote = "\uFDD0"

// Key adds a key with a comment before it. The error is ErrNotWritable if the
// file format cannot hold the value.
func (s *PrintSection) Key(name, text, comment string) error {
	lines, ok := encode(name, text)
	if !ok {
		return ErrNotWritable
	}
	for i := range lines {
		lines[i] = strings.ReplaceAll(lines[i], "`", backquote)
	}
	k, err := s.section.NewKey(name, lines[0])
	if err != nil {
		return err
	}
	k.Comment = commentLines(comment)
	for _, line := range lines[1:] {
		if err := k.AddNestedValue(line); err != nil {
			return err
		}
	}
	return nil
}

// Writable reports whether a key and its value can be written into a file and
// are read back as they are.
func Writable(name, text string) bool {
	_, ok := encode(name, text)
	return ok
}

// encode returns the lines of a value as they are to be written.
func encode(name, text string) (lines []string, ok bool) {
	if name == "" || name == "-" || strings.ContainsAny(name, "\"`") || strings.Contains(text, backquote) {
		return nil, false
	}
	lines = strings.Split(text, "\n")
	for i, line := range lines {
		start := name + "="
		if i > 0 {
			start = "  "
		}
		if lines[i], ok = encodeLine(start, line); !ok {
			return nil, false
		}
	}
	d := newDocument()
	d.ReadText("", "[x]\n"+name+"="+strings.Join(lines, "\n  ")+"\n")
	s := d.Section("x")
	if len(d.Problems) > 0 || s == nil || len(d.Sections) != 1 || len(s.Entries) != 1 {
		return nil, false
	}
	return lines, s.Entries[0].Key == name && s.Entries[0].Value == text
}

// encodeLine returns a line such that no inline comment cuts it. A mark within
// it that would count only in a later round of the search is protected by
// another one at the end, which counts in an earlier round.
func encodeLine(start, line string) (string, bool) {
	for _, end := range []string{"", " #", " ;"} {
		if line == "" && end != "" {
			// Package ini would put a value that begins with a blank
			// into quotation marks.
			break
		}
		switch cut := inlineComment(start + line + end); {
		case end == "" && cut < 0, end != "" && cut == len(start+line)+1:
			return line + end, true
		}
	}
	return "", false
}

// WriteTo writes the Printout.
func (p *Printout) WriteTo(w io.Writer) (int64, error) {
	var buf bytes.Buffer
	if _, err := p.file.WriteTo(&buf); err != nil {
		return 0, err
	}
	n, err := w.Write(bytes.ReplaceAll(buf.Bytes(), []byte(backquote), []byte("`")))
	return int64(n), err
}

// Printout puts a document as it stands into a Printout: sections, keys and
// values, without the comments of the files.
func (d *Document) Printout() (*Printout, error) {
	p := NewPrintout()
	sections := d.Sections
	if len(d.Defaults.Entries) > 0 {
		sections = append([]*Section{d.Defaults}, sections...)
	}
	for _, s := range sections {
		out, err := p.Section(s.Name, "")
		if err != nil {
			return nil, err
		}
		for _, e := range s.Entries {
			if err := out.Key(e.Key, e.Value, ""); err != nil {
				return nil, (&Problem{Code: "not-writable", Section: s.Name, Key: e.Key, Value: e.Value, Message: err.Error()}).at(e.Pos)
			}
		}
	}
	return p, nil
}
