package config

import (
	"strings"
	"unicode/utf8"

	"sup/lib/value"
)

// ReadText reads the text of one file into the document, on top of what it
// holds. Errors of the form go into d.Problems; reading goes on after them, so
// that all are found. Whatever stands before the first section is left out.
func (d *Document) ReadText(file, text string) {
	if i := invalidUTF8(text); i >= 0 {
		d.problem((&Problem{
			Code:    CodeNotUTF8,
			Message: "the file is not UTF-8",
			Hint:    "write the file in UTF-8, for example with iconv -t UTF-8",
		}).at(Pos{file, 1 + strings.Count(text[:i], "\n")}))
		return
	}
	r := reader{doc: d, file: file, seen: make(map[*Section]bool)}
	cr := strings.Contains(text, "\r")
	for text != "" && !d.over {
		var line string
		line, text = cutLine(text, cr)
		r.line++
		r.readLine(line)
	}
	r.close()
}

// cutLine splits off the first line, which ends at LF, CR LF or CR; cr tells
// that there is a CR in the text at all.
func cutLine(s string, cr bool) (line, rest string) {
	if !cr {
		line, rest, _ = strings.Cut(s, "\n")
		return line, rest
	}
	i := strings.IndexAny(s, "\r\n")
	switch {
	case i < 0:
		return s, ""
	case strings.HasPrefix(s[i:], "\r\n"):
		return s[:i], s[i+2:]
	}
	return s[:i], s[i+1:]
}

func invalidUTF8(s string) int {
	if utf8.ValidString(s) {
		return -1
	}
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD") {
			return i
		}
	}
	return -1
}

// reader reads the lines of one file.
type reader struct {
	doc  *Document
	file string
	line int

	section *Section
	// unwanted tells that the keys of section are checked, but not kept:
	// each goes through dropped.
	unwanted bool
	dropped  Entry
	// seen are the sections of this file, for notes of repeats.
	seen   map[*Section]bool
	indent int
	// open is the entry that further lines may continue; its value is put
	// together in lines until close.
	open  *Entry
	lines []string

	complained bool
}

func (r *reader) pos() Pos { return Pos{r.file, r.line} }

// close finishes the value that is open.
func (r *reader) close() {
	if r.open == nil {
		return
	}
	if len(r.lines) > 1 {
		r.open.Value = value.TrimRight(strings.Join(r.lines, "\n"))
	}
	if r.section != r.doc.Defaults && !r.unwanted && strings.Contains(r.open.Value, hereText) {
		r.doc.withHere = append(r.doc.withHere, r.open)
	}
	r.lines = r.lines[:0]
	r.open = nil
}

// readLine reads one line, which is without its end.
func (r *reader) readLine(line string) {
	start := strings.IndexFunc(line, notSpace)
	comment := false
	kept := line
	if start >= 0 && (line[start] == '#' || line[start] == ';') {
		// A comment line, or one that an inline comment cuts to nothing.
		return
	}
	if cut := inlineComment(line); cut >= 0 {
		comment = true
		kept = line[:cut]
	}
	text := value.Trim(kept)
	if text == "" {
		if !comment && r.open != nil {
			r.lines = append(r.lines, "")
		}
		return
	}
	if !r.doc.spendLine(r.pos()) {
		return
	}
	indent := utf8.RuneCountInString(line[:start])
	if r.section != nil && r.open != nil && indent > r.indent {
		r.lines = append(r.lines, text)
		r.open.More = append(r.open.More, Line{r.line, text})
		if comment {
			r.noteCut(r.open.Key, text, line[len(kept):])
		}
		return
	}
	r.indent = indent
	if name, ok := header(text); ok {
		r.close()
		r.begin(name)
		return
	}
	if r.section == nil {
		r.textBefore(line)
		// What stands behind a byte-order mark is read all the same, lest
		// all that follows from its absence be reported, too.
		if rest, ok := strings.CutPrefix(line, "\uFEFF"); ok {
			r.readLine(rest)
		}
		return
	}
	r.keyLine(text)
	if comment && r.open != nil {
		r.noteCut(r.open.Key, r.open.Value, line[len(kept):])
	}
}

func notSpace(c rune) bool { return !value.IsSpace(c) }

// inlineComment returns where an inline comment begins in line, or -1. A mark
// counts at the start of the line or after white space. The search goes in
// rounds, as it always has in this format: the n-th occurrences of both marks
// are looked at together, and the first round in which one counts decides.
func inlineComment(line string) int {
	semi, hash := -1, -1
	moreSemi, moreHash := true, true
	for moreSemi || moreHash {
		cut := -1
		if moreSemi {
			semi, moreSemi = nextMark(line, ';', semi)
			if moreSemi && markCounts(line, semi) {
				cut = semi
			}
		}
		if moreHash {
			hash, moreHash = nextMark(line, '#', hash)
			if moreHash && markCounts(line, hash) && (cut < 0 || hash < cut) {
				cut = hash
			}
		}
		if cut >= 0 {
			return cut
		}
	}
	return -1
}

func nextMark(line string, mark byte, after int) (int, bool) {
	i := strings.IndexByte(line[after+1:], mark)
	if i < 0 {
		return 0, false
	}
	return after + 1 + i, true
}

func markCounts(line string, i int) bool {
	if i == 0 {
		return true
	}
	before, _ := utf8.DecodeLastRuneInString(line[:i])
	return value.IsSpace(before)
}

// header returns the name if text is a section header: from its "[" to its
// last "]".
func header(text string) (name string, ok bool) {
	if text[0] != '[' {
		return "", false
	}
	end := strings.LastIndexByte(text, ']')
	if end < 2 {
		return "", false
	}
	return text[1:end], true
}

func (r *reader) begin(name string) {
	s, isNew := r.doc.section(name, r.pos())
	if !isNew && r.seen[s] {
		r.doc.note(Note{
			Kind: NoteRepeatedSection, Pos: r.pos(), Section: name, Earlier: s.Pos,
		})
	}
	r.seen[s] = true
	r.section = s
	r.unwanted = r.doc.wanted != nil && s != r.doc.Defaults && !r.doc.wanted(name)
}

func (r *reader) textBefore(line string) {
	if r.complained {
		return
	}
	r.complained = true
	p := &Problem{
		Code:    CodeTextBeforeFirstSection,
		Value:   line,
		Message: "there is text before the first section",
		Hint:    "begin with a section header such as [supervisord]",
	}
	if strings.HasPrefix(line, "\uFEFF") {
		p.Message = "the file begins with a byte-order mark"
		p.Hint = "save the file as UTF-8 without a byte-order mark"
	}
	r.doc.problem(p.at(r.pos()))
}

// keyLine reads a line that is no header and no continuation.
func (r *reader) keyLine(text string) {
	i := keyEnd(text)
	if i < 0 || value.TrimRight(text[:i]) == "" {
		p := &Problem{
			Code:    CodeBadLine,
			Section: r.section.Name,
			Value:   text,
			Message: "cannot read the line " + quoteShort(text) + ": it is no section header, no key=value and no comment",
		}
		switch {
		case i >= 0:
			// The line opens a value without a name, which no line
			// continues.
			r.close()
			p.Hint = "write a key before " + text[i:i+1]
		case r.open != nil:
			p.Hint = "indent it if it continues the value above, or begin it with \";\" if it is a comment"
		default:
			p.Hint = "begin it with \";\" if it is a comment"
		}
		r.doc.problem(p.at(r.pos()))
		return
	}
	r.close()
	if r.unwanted {
		r.dropped = Entry{Key: text[:i]}
		r.open = &r.dropped
		return
	}
	key := value.Lower(value.TrimRight(text[:i]))
	val := value.Trim(text[i+1:])
	e := r.doc.newEntry()
	*e = Entry{Key: key, Value: val, Pos: r.pos()}
	if old := r.section.put(e); old != nil {
		if old.Pos.File == r.file {
			r.doc.note(Note{
				Kind: NoteRepeatedKey, Pos: r.pos(), Section: r.section.Name, Key: key, Earlier: old.Pos,
			})
		}
		e = r.section.Own(key)
	}
	r.open = e
	r.lines = append(r.lines[:0], val)
}

// keyEnd returns where the key of a line ends, at the first "=" or ":", or -1.
func keyEnd(text string) int {
	for i := range len(text) {
		if c := text[i]; c == '=' || c == ':' {
			return i
		}
	}
	return -1
}

// noteCut notes an inline comment that begins inside of quotes, or that looks as
// if it were one more rule of roles=.
func (r *reader) noteCut(key, kept, cut string) {
	rule := key == "roles" && strings.Contains(cut, ":")
	if !rule && (!insideQuotes(kept) || !strings.ContainsAny(cut, `"'`)) {
		return
	}
	r.doc.note(Note{
		Kind: NoteCut, Pos: r.pos(), Section: r.section.Name, Key: key, Text: cut,
	})
}

// insideQuotes reports whether a quotation mark is open at the end of s.
func insideQuotes(s string) bool {
	var open byte
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case open == 0 && (c == '"' || c == '\''):
			open = c
		case c == open:
			open = 0
		}
	}
	return open != 0
}

// quoteShort quotes s for a message, shortened.
func quoteShort(s string) string {
	n := 0
	for i := range s {
		if n++; n > mostQuoted {
			return `"` + s[:i] + `…"`
		}
	}
	return `"` + s + `"`
}

// mostQuoted is the most characters of a value in a message.
const mostQuoted = 120
