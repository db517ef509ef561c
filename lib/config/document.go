// Package config reads configuration files in the dialect of Supervisor into
// sections that remember the file and line of every value, and holds the
// schema: which sections and keys there are, their types, defaults and
// expansions, and what they are for.
//
// The way of a value is: [Read] makes a [Document] of raw texts; a [Decoder]
// reads the keys of its sections by the schema, expanded and converted.
// [Document.ReadText] knows the one file format there is; a second one would
// fill the same sections, with entries that know their place, and nothing
// after it would notice.
package config

import "sup/lib/value"

// Pos is a place in a file. Lines count from 1.
type Pos struct {
	File string
	Line int
}

// Document is what the files say, before anything is expanded.
type Document struct {
	// File is the main file as an absolute path, Here its directory; both
	// are "" if there is none.
	File, Here string
	// Files are the main file and the included ones, in reading order.
	Files []string
	// Sections stand in the order of their first appearance. [DEFAULT] is
	// not among them.
	Sections []*Section
	// Defaults is the section [DEFAULT], whose keys stand in for those
	// missing elsewhere. It is never nil.
	Defaults *Section
	// Problems are those of reading: errors of the files' form, and
	// warnings of includes without a match.
	Problems []*Problem
	// Notes are what reading saw and a checker may want to tell of.
	Notes []Note

	index map[string]*Section
	// wanted is [Reading.Wanted].
	wanted func(section string) bool
	// spare are entries not yet given out; see newEntry.
	spare []Entry
	// withHere are the entries that hold the text %(here)s and were read
	// since it was last replaced.
	withHere []*Entry
	// lines counts the lines that are kept, text the bytes of all files,
	// checks how often [DEFAULT] was looked at for a section. over tells
	// that a bound was passed and nothing more is read.
	lines, text, checks int
	over                bool
}

// Section is one section, merged from all places where it stands.
type Section struct {
	Name string
	// Pos is where it stands first.
	Pos Pos
	// Entries are its own, in the order of their first appearance.
	Entries []*Entry

	doc   *Document
	index map[string]*Entry
}

// Entry is one key with its value.
type Entry struct {
	// Key is in lower case.
	Key   string
	Value string
	// Pos is that of the key; further lines of the value follow it.
	Pos Pos
	// FromDefault tells that the entry was taken over from [DEFAULT].
	FromDefault bool
	// More are the lines of the value after the first, where they stand.
	More []Line
}

// Line is one line of a value.
type Line struct {
	Line int
	Text string
}

// NoteKind says what a Note is about.
type NoteKind uint8

const (
	// NoteRepeatedKey is a key that replaces an earlier one of its section
	// in the same file.
	NoteRepeatedKey NoteKind = iota
	// NoteRepeatedSection is a section that goes on filling an earlier one
	// of the same file.
	NoteRepeatedSection
	// NoteCut is an inline comment that cut a value inside quotes.
	NoteCut
)

// Note is something that reading saw and accepted.
type Note struct {
	Kind    NoteKind
	Pos     Pos
	Section string
	Key     string
	// Earlier is the place of what is repeated.
	Earlier Pos
	// Text is what an inline comment cut off.
	Text string
}

// NewDocument makes a document without sections, to be filled with Set.
func NewDocument() *Document { return newDocument() }

func newDocument() *Document {
	d := &Document{index: make(map[string]*Section)}
	d.Defaults = &Section{Name: "DEFAULT", doc: d}
	return d
}

// newEntry returns an entry to be filled. They are made many at once, since a
// file of a few hundred programs has thousands, and a client reads them all
// before it does anything else.
func (d *Document) newEntry() *Entry {
	if len(d.spare) == 0 {
		d.spare = make([]Entry, 64)
	}
	e := &d.spare[0]
	d.spare = d.spare[1:]
	return e
}

// Section returns the section of that exact name, or nil.
func (d *Document) Section(name string) *Section { return d.index[name] }

// section returns the section of that name, which it makes if need be.
func (d *Document) section(name string, pos Pos) (s *Section, isNew bool) {
	if name == "DEFAULT" {
		isNew = d.Defaults.Pos == Pos{}
		if isNew {
			d.Defaults.Pos = pos
		}
		return d.Defaults, isNew
	}
	if s = d.index[name]; s != nil {
		return s, false
	}
	s = &Section{Name: name, Pos: pos, doc: d}
	d.index[name] = s
	d.Sections = append(d.Sections, s)
	return s, true
}

// Own returns the section's own entry of that key, or nil.
func (s *Section) Own(key string) *Entry {
	if s.index != nil {
		return s.index[key]
	}
	for _, e := range s.Entries {
		if e.Key == key {
			return e
		}
	}
	return nil
}

// Get returns the entry of a key, the section's own or that of [DEFAULT], or
// nil. The key is in lower case.
func (s *Section) Get(key string) *Entry {
	if e := s.Own(key); e != nil {
		return e
	}
	if s != s.doc.Defaults {
		return s.doc.Defaults.Own(key)
	}
	return nil
}

// All returns the section's entries and those of [DEFAULT] that stand in for
// missing ones.
func (s *Section) All() []*Entry {
	if len(s.doc.Defaults.Entries) == 0 {
		return s.Entries
	}
	all := append([]*Entry(nil), s.Entries...)
	for _, e := range s.doc.Defaults.Entries {
		if s.Own(e.Key) == nil {
			all = append(all, e)
		}
	}
	return all
}

// manyEntries is the size from which a section keeps an index: looking
// through a few entries is faster than a map.
const manyEntries = 24

// put adds an entry, or replaces the one of the same key in its place.
func (s *Section) put(e *Entry) (replaced *Entry) {
	if old := s.Own(e.Key); old != nil {
		before := *old
		*old = *e
		return &before
	}
	s.Entries = append(s.Entries, e)
	switch {
	case s.index != nil:
		s.index[e.Key] = e
	case len(s.Entries) == manyEntries:
		s.index = make(map[string]*Entry, 2*manyEntries)
		for _, e := range s.Entries {
			s.index[e.Key] = e
		}
	}
	return nil
}

// AddSection returns the section of that name, which it makes if need be.
func (d *Document) AddSection(name string) *Section {
	s, _ := d.section(name, Pos{})
	return s
}

// Set gives a key of a section a value, both of which it makes if need be.
// It is for documents that are made to be written.
func (d *Document) Set(section, key, text string) {
	s, _ := d.section(section, Pos{})
	s.put(&Entry{Key: value.Lower(key), Value: text})
}
