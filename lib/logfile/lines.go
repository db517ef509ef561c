package logfile

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"sup/lib/safepath"
)

// Backups lists the rotated files of the log at path, the oldest first,
// whether they are numbered, dated or compressed.
func Backups(path string) []string {
	prefix, ext := datedParts(filepath.Base(path))
	base := filepath.Base(path) + "."
	names, err := namesIn(filepath.Dir(path), func(name string) bool {
		return strings.HasPrefix(name, base) || strings.HasPrefix(name, prefix)
	})
	if err != nil {
		return nil
	}
	type backup struct {
		name   string
		number int
		date   string
	}
	var found []backup
	for _, full := range names {
		name := strings.TrimSuffix(full, compressedExt)
		if s, ok := strings.CutPrefix(name, base); ok {
			if n := backupNumber(s); n > 0 {
				found = append(found, backup{name: full, number: n})
				continue
			}
		}
		s, ok := strings.CutPrefix(name, prefix)
		if s, isExt := strings.CutSuffix(s, ext); ok && isExt {
			if _, err := time.Parse(datedFormat, s); err == nil {
				found = append(found, backup{name: full, date: s})
			}
		}
	}
	// Dated ones come first: a log that has both was switched to numbers, or
	// its numbered ones would have been kept no longer.
	sort.Slice(found, func(i, j int) bool {
		a, b := found[i], found[j]
		if a.date != b.date {
			return b.date == "" || a.date != "" && a.date < b.date
		}
		return a.number > b.number
	})
	paths := make([]string, 0, len(found))
	for i, b := range found {
		plain := strings.TrimSuffix(b.name, compressedExt)
		if i > 0 && plain != b.name && strings.TrimSuffix(found[i-1].name, compressedExt) == plain ||
			i+1 < len(found) && plain != b.name && found[i+1].name == plain {
			continue // being compressed at the moment: it is there twice
		}
		paths = append(paths, filepath.Join(filepath.Dir(path), b.name))
	}
	return paths
}

func namesIn(path string, match func(string) bool) ([]string, error) {
	dir, err := safepath.OpenDir(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Match(match)
}

// backupNumber is the number that s spells, 0 if none.
func backupNumber(s string) int {
	if len(s) == 0 || len(s) > 9 || s[0] == '0' {
		return 0
	}
	n := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// OpenLog opens a log or one of its backups for reading from the beginning,
// unpacking it if its name ends in .gz.
func OpenLog(path string) (io.ReadCloser, error) {
	f, _, err := openRegular(path)
	if err != nil || !strings.HasSuffix(path, compressedExt) {
		return f, err
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return unpacked{z, f}, nil
}

type unpacked struct {
	*gzip.Reader
	file *os.File
}

func (u unpacked) Close() error {
	u.Reader.Close()
	return u.file.Close()
}

// Span is the part of a log file from Offset on.
type Span struct {
	Path   string
	Offset int64
}

// LastLines finds the last n lines of the log at path, reading back through its
// backups as far as needed. The spans hold them, the oldest first; the last
// span is always that of path itself. Nothing is kept in memory.
func LastLines(path string, n int) ([]Span, error) {
	offset, missing, err := lastLines(path, n, true)
	if err != nil {
		return nil, err
	}
	spans := []Span{{path, offset}}
	if missing == 0 {
		return spans, nil
	}
	backups := Backups(path)
	for i := len(backups) - 1; i >= 0 && missing > 0; i-- {
		offset, left, err := lastLines(backups[i], missing, false)
		if err != nil {
			continue // gone, or renamed by a rotation
		}
		missing = left
		spans = append([]Span{{backups[i], offset}}, spans...)
	}
	return spans, nil
}

// lastLines finds where the last n lines of one file begin, and how many of
// them are not there. A partial line at the end counts only in the current
// file; in a backup it continues in the next one.
func lastLines(path string, n int, current bool) (offset int64, missing int, err error) {
	if strings.HasSuffix(path, compressedExt) {
		return lastPackedLines(path, n)
	}
	f, size, err := openRegular(path)
	if err != nil {
		return 0, n, err
	}
	defer f.Close()
	if n <= 0 {
		return size, 0, nil
	}
	buf := make([]byte, 64<<10)
	seen := 0
	for end := size; end > 0; {
		start := max(end-int64(len(buf)), 0)
		p := buf[:end-start]
		if _, err := f.ReadAt(p, start); err != nil {
			return 0, n, err
		}
		for len(p) > 0 {
			i := bytes.LastIndexByte(p, '\n')
			if i < 0 {
				break
			}
			at := start + int64(i) + 1
			p = p[:i]
			if at == size {
				continue // the end of the last line, not of the one before
			}
			if seen++; seen == n {
				return at, 0, nil
			}
		}
		end = start
	}
	if size > 0 {
		seen++ // the first line has no newline before it
	}
	return 0, n - seen, nil
}

// lastPackedLines does the same for a compressed file, which can only be read
// from its beginning.
func lastPackedLines(path string, n int) (offset int64, missing int, err error) {
	total, err := countLines(path, -1, nil)
	if err != nil || total <= n {
		return 0, n - total, err
	}
	_, err = countLines(path, total-n, &offset)
	return offset, 0, err
}

// countLines counts the lines of a file. After skip of them it stores in
// offset where it stands, and stops.
func countLines(path string, skip int, offset *int64) (lines int, err error) {
	f, err := OpenLog(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buf := make([]byte, 64<<10)
	var at int64
	partial := false
	for {
		n, err := f.Read(buf)
		for p := buf[:n]; len(p) > 0; {
			i := bytes.IndexByte(p, '\n')
			if i < 0 {
				at += int64(len(p))
				partial = true
				break
			}
			at += int64(i) + 1
			p = p[i+1:]
			partial = false
			if lines++; lines == skip {
				*offset = at
				return lines, nil
			}
		}
		if err == io.EOF {
			if partial {
				lines++
			}
			return lines, nil
		}
		if err != nil {
			return lines, err
		}
	}
}

// Copy writes the spans to w, one after the other. A file that is gone by now
// is left out, and so is what cannot be read of a backup: one that was packed
// while the disk was full, say. It returns how far the last span was copied, as
// an offset from which to follow.
func Copy(w io.Writer, spans []Span) (end int64, err error) {
	to := &judged{w: w}
	for i, s := range spans {
		end = s.Offset
		f, err := OpenLog(s.Path)
		if err != nil {
			continue
		}
		if file, ok := f.(*os.File); ok {
			_, err = file.Seek(s.Offset, io.SeekStart)
		} else {
			_, err = io.CopyN(io.Discard, f, s.Offset)
		}
		if err == nil {
			var n int64
			n, err = io.Copy(to, f)
			end += n
		}
		f.Close()
		if to.err != nil || err != nil && i == len(spans)-1 {
			return end, err
		}
	}
	return end, nil
}

// judged is a writer that remembers whether it was the one that failed.
type judged struct {
	w   io.Writer
	err error
}

func (j *judged) Write(p []byte) (n int, err error) {
	n, j.err = j.w.Write(p)
	return n, j.err
}
