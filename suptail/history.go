package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"time"

	"sup/lib/logfile"
	"sup/lib/safepath"
)

// longestLine is how much of a line is looked at, and kept while the rest of it
// is read. What is longer is taken in pieces.
const longestLine = 1 << 20

// nothing is an offset for a file that has none of the lines.
const nothing = -1

// find returns the parts of the log at path, and of its backups, from which on
// the lines of a query are to be found, the oldest first. The last part is
// always of path itself. Files are read from their end, so that the answer is
// quick however large they are; only compressed ones are read from their
// beginning.
func find(path string, q query) ([]logfile.Span, error) {
	if !q.selects() && q.lines != allLines {
		return logfile.LastLines(path, q.lines)
	}
	if q.lines == 0 {
		return logfile.LastLines(path, 0)
	}
	var spans []logfile.Span
	files := append(logfile.Backups(path), path)
	for i := len(files) - 1; i >= 0; i-- {
		offset, left, err := findIn(files[i], q)
		if err != nil {
			if files[i] == path {
				return nil, err
			}
			continue // gone, or renamed by a rotation
		}
		if offset == nothing {
			break
		}
		spans = append(spans, logfile.Span{Path: files[i], Offset: offset})
		if left == 0 {
			break
		}
		q.lines = left
	}
	slices.Reverse(spans)
	return spans, nil
}

// findIn returns where in one file the lines of a query begin, and how many
// lines more are to be found in older files: 0 for none, allLines for as many
// as there are. The offset is nothing if a backup has none of them and older
// ones cannot have any.
func findIn(path string, q query) (offset int64, left int, err error) {
	if q.lines == allLines && q.since.IsZero() {
		_, err := safepath.Stat(path)
		return 0, allLines, err
	}
	f, err := logfile.OpenLog(path)
	if err != nil {
		return 0, q.lines, err
	}
	defer f.Close()
	file, ok := f.(*os.File)
	if !ok {
		return findPacked(path, f, q)
	}
	info, err := file.Stat()
	if err != nil {
		return 0, q.lines, err
	}
	if info.ModTime().Before(q.since) {
		return info.Size(), 0, nil
	}
	s := search{query: q, offset: info.Size()}
	err = linesBackward(file, info.Size(), s.visit)
	if s.done {
		return s.offset, 0, err
	}
	return 0, s.lines, err
}

// search is a walk over lines from the last to the first.
type search struct {
	query
	// offset is where the oldest line begins that is known to be wanted.
	offset int64
	// done is set when no older line is wanted.
	done bool
}

func (s *search) visit(at int64, line []byte) bool {
	if !s.since.IsZero() {
		t, ok := stamp(line)
		if ok && t.Before(s.since) {
			s.done = true
			return false
		}
		if ok {
			s.offset = at
		}
	}
	if s.lines == allLines || s.grep != nil && !s.grep.Match(line) {
		return true
	}
	if s.lines--; s.lines == 0 {
		s.offset, s.done = at, true
	}
	return !s.done
}

// linesBackward calls visit for the lines of a file, the last one first, until
// it returns false. A line longer than longestLine is cut short.
func linesBackward(f io.ReaderAt, size int64, visit func(at int64, line []byte) bool) error {
	block := make([]byte, 64<<10)
	// rest has the pieces of the line that the blocks read are in, the last one
	// first. Of a long line only the beginning is kept.
	var rest [][]byte
	for end := size; end > 0; {
		start := max(end-int64(len(block)), 0)
		p := block[:end-start]
		if _, err := f.ReadAt(p, start); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		for {
			i := bytes.LastIndexByte(p, '\n')
			if i < 0 {
				break
			}
			at := start + int64(i) + 1
			line := p[i+1:]
			if len(rest) > 0 {
				line = joined(line, rest)
			}
			rest = nil
			p = p[:i]
			if at != size && !visit(at, line) {
				return nil
			}
		}
		rest = append(rest, bytes.Clone(p))
		if len(rest) > 1+longestLine/len(block) {
			rest = rest[1:]
		}
		end = start
	}
	if size > 0 {
		visit(0, joined(nil, rest))
	}
	return nil
}

// joined puts a line together of its beginning and the pieces after that, the
// last of which is the first in rest, as far as longestLine goes.
func joined(line []byte, rest [][]byte) []byte {
	line = bytes.Clone(line)
	for _, piece := range slices.Backward(rest) {
		line = append(line, piece...)
	}
	return line[:min(len(line), longestLine)]
}

// findPacked is findIn for a compressed file.
func findPacked(path string, f io.Reader, q query) (offset int64, left int, err error) {
	if st, err := safepath.Stat(path); err == nil && time.Unix(st.Mtim.Unix()).Before(q.since) {
		return nothing, 0, nil
	}
	total, first, old := 0, int64(0), false
	pass := filter{query: q}
	err = linesForward(f, func(at int64, line []byte) bool {
		fits := pass.pass(line)
		switch {
		case pass.old:
			// What stands before it is older still.
			total, old = 0, true
		case fits:
			if total == 0 {
				first = at
			}
			total++
		}
		return true
	})
	switch {
	case err != nil:
		return 0, q.lines, err
	case old && total == 0:
		return nothing, 0, nil
	case old && (q.lines == allLines || total <= q.lines):
		return first, 0, nil
	case q.lines == allLines:
		return 0, allLines, nil
	case total < q.lines:
		return 0, q.lines - total, nil
	}
	// Once more, to find the line from which on there are as many as wanted.
	again, err := logfile.OpenLog(path)
	if err != nil {
		return 0, q.lines, err
	}
	defer again.Close()
	skip := total - q.lines
	pass = filter{query: q}
	err = linesForward(again, func(at int64, line []byte) bool {
		if !pass.pass(line) || at < first {
			return true
		}
		offset = at
		skip--
		return skip >= 0
	})
	return offset, 0, err
}

// linesForward calls visit for the lines of a stream until it returns false. A
// line longer than longestLine comes in pieces.
func linesForward(r io.Reader, visit func(at int64, line []byte) bool) error {
	stop := errors.New("stop")
	var at int64
	s := splitter{emit: func(line []byte) error {
		if !visit(at, bytes.TrimSuffix(line, []byte("\n"))) {
			return stop
		}
		at += int64(len(line))
		return nil
	}}
	_, err := io.Copy(&s, r)
	if err == nil {
		err = s.flush()
	}
	if errors.Is(err, stop) {
		return nil
	}
	return err
}
