package config

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Bounds of what is read, so that a slip of the pen or a file that somebody
// else has written ends with an error and not with the memory. The largest
// configurations known have a few thousand programs and a few hundred
// kilobytes.
const (
	// maxText is the most bytes that all files may have together, the text
	// of each inclusion counted.
	maxText = 16 << 20
	// maxLines is the most lines other than blank ones and comments.
	maxLines = 500_000
	// maxFiles is the most files.
	maxFiles = 1 << 16
	// maxDefaults is the most keys that [DEFAULT] may stand in for: its own
	// number times that of the sections.
	maxDefaults = 1 << 22
	// maxMistakes is the most mistakes and the most notes of one kind that
	// are kept. Nobody reads on after so many.
	maxMistakes = 1000
	// maxExpanded is the most bytes that expanded values may have together.
	maxExpanded = 64 << 20
)

// bytesText writes a bound for a message.
func bytesText(n int) string { return fmt.Sprintf("%d MB", n>>20) }

// tooLarge is the problem of a bound that is passed at pos.
func tooLarge(pos Pos, format string, args ...any) *Problem {
	return (&Problem{Code: CodeTooLarge, Message: fmt.Sprintf(format, args...)}).at(pos)
}

// problem takes a mistake of the form. After too many, or one that says that a
// bound was passed, nothing more is read.
func (d *Document) problem(p *Problem) {
	switch {
	case d.over:
		return
	case p.Code == CodeTooLarge:
		d.over = true
	case len(d.Problems) >= maxMistakes:
		d.over = true
		p = tooLarge(Pos{p.File, p.Line}, "there are more than %d mistakes, and the rest is not read", maxMistakes)
	}
	d.Problems = append(d.Problems, p)
}

// note takes a note, up to a number nobody reads.
func (d *Document) note(n Note) {
	if len(d.Notes) < maxMistakes {
		d.Notes = append(d.Notes, n)
	}
}

// spendLine counts a line that is kept.
func (d *Document) spendLine(pos Pos) bool {
	if d.lines++; d.lines > maxLines && !d.over {
		d.problem(tooLarge(pos, "the configuration has more than %d lines", maxLines))
	}
	return !d.over
}

// Reasons not to read a file that can be opened.
var (
	errTooLong = errors.New("the file is too large: a configuration has at most " + bytesText(maxText))
	errWaits   = errors.New("reading it does not end: it is not an ordinary file")
)

// readRegular reads a regular file of at most most bytes. A pipe, a device or
// a file that the kernel makes up as it is read could keep us waiting for ever,
// or take something away from somebody; ok is false for what is passed over in
// silence: what cannot be opened, a directory, and /dev/null, which is empty.
func readRegular(path string, most int) (text string, ok bool, err error) {
	// Looking first keeps the open of a device from doing something.
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return "", false, nil
	}
	if done, err := unfit(&st, most); done {
		return "", false, err
	}
	fd, err := openQuietly(path)
	if err != nil {
		return "", false, nil
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &st); err != nil {
		return "", false, nil
	}
	if done, err := unfit(&st, most); done {
		return "", false, err
	}
	var fs unix.Statfs_t
	if unix.Fstatfs(fd, &fs) == nil && fs.Type == unix.PROC_SUPER_MAGIC {
		return "", false, errors.New("it is a file of /proc and not an ordinary one")
	}
	text, err = readAll(fd, int(st.Size), most)
	return text, err == nil, err
}

// unfit tells whether a file is not to be read, and why if that is to be told.
func unfit(st *unix.Stat_t, most int) (bool, error) {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if st.Size > int64(most) {
			return true, errTooLong
		}
		return false, nil
	case unix.S_IFCHR:
		if st.Rdev == unix.Mkdev(1, 3) {
			return true, nil
		}
		return true, errors.New("it is a device and not a file")
	case unix.S_IFBLK:
		return true, errors.New("it is a device and not a file")
	case unix.S_IFIFO:
		return true, errors.New("it is a pipe and not a file")
	case unix.S_IFSOCK:
		return true, errors.New("it is a socket and not a file")
	}
	return true, nil
}

// openQuietly opens a file for reading, and does not wait for that.
func openQuietly(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// readAll reads to the end, which must come within most bytes. It does without
// os.File, which waits for whatever can be polled.
func readAll(fd, size, most int) (string, error) {
	b := make([]byte, 0, min(max(size, 0), most)+512)
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := unix.Read(fd, b[len(b):cap(b)])
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return "", errWaits
		case err != nil:
			return "", err
		case n <= 0:
			return string(b), nil
		default:
			if b = b[:len(b)+n]; len(b) > most {
				return "", errTooLong
			}
		}
	}
}

// checkDefaults bounds what [DEFAULT] gives all sections.
func (d *Document) checkDefaults() {
	if n := len(d.Defaults.Entries); n > 0 && n*len(d.Sections) > maxDefaults {
		d.problem(tooLarge(d.Defaults.Pos, "the %d keys of [DEFAULT] count for each of %d sections, which is too much", n, len(d.Sections)))
	}
}

// errExpanded is the error of values that are too long together.
var errExpanded = errors.New("the expanded values of the configuration are longer than " + bytesText(maxExpanded) + " together")

// spend counts the text of a value that was made by expanding.
func (d *Decoder) spend(n int) error {
	if d.expanded > maxExpanded {
		return errExpanded
	}
	d.expanded += n
	return nil
}
