package main

import (
	"bytes"
	"regexp"
	"time"
)

// query says which of the lines that a log holds already are to be printed.
type query struct {
	// lines is how many at most, the last ones; allLines for all.
	lines int
	// since leaves out older lines, unless it is zero.
	since time.Time
	// grep leaves out lines that do not match, unless it is nil.
	grep *regexp.Regexp
}

// selects reports whether the query looks at what is in a line.
func (q query) selects() bool { return q.grep != nil || !q.since.IsZero() }

// filter applies a query to lines in the order of the log.
type filter struct {
	query
	// old is set after a line that is too old: the lines that follow and
	// have no time stamp of their own belong to it.
	old bool
}

// pass reports whether a line, without its newline, is to be printed.
func (f *filter) pass(line []byte) bool {
	if !f.since.IsZero() {
		if t, ok := stamp(line); ok {
			f.old = t.Before(f.since)
		}
		if f.old {
			return false
		}
	}
	return f.grep == nil || f.grep.Match(line)
}

// stampLayouts are the time stamps that lines begin with: RFC 3339 (what
// supd's logfile_timestamp writes), Python's logging, plain dates, those of
// Go's log package and of nginx. Fractions of a second are read after
// either "." or ",".
var stampLayouts = []string{
	"2006-01-02T15:04:05Z07:00",
	"2006-01-02T15:04:05",
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02 15:04:05",
	"2006/01/02 15:04:05",
}

// longestStamp is the length of the longest one, with nanoseconds.
const longestStamp = len("2006-01-02T15:04:05.000000000-07:00")

// stamp returns the time that a line begins with, in brackets perhaps. Without
// a zone it is local time.
func stamp(line []byte) (time.Time, bool) {
	line = bytes.TrimPrefix(line, []byte("["))
	if len(line) < len("2006-01-02 15:04:05") || line[0] < '0' || line[0] > '9' || line[13] != ':' {
		return time.Time{}, false
	}
	text := line[:min(len(line), longestStamp)]
	// The stamp ends at the blank or bracket after its time of day.
	if end := bytes.IndexAny(text[len("2006-01-02 15:04:05"):], " \t]"); end >= 0 {
		text = text[:len("2006-01-02 15:04:05")+end]
	}
	for _, layout := range stampLayouts {
		if t, err := time.ParseInLocation(layout, string(text), time.Local); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
