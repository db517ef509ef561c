// Package logfile is everything that happens to a log as a file: writing it
// with rotation, reading a range of it, its tail or its last lines, and
// following it by name across rotation and truncation.
//
// Rotation follows Supervisor: foo.log.1 is the newest backup, and a file may
// be longer than its limit by what is needed to end at the end of a line, so
// that no line is cut in two. A backup count of 0 keeps every backup, under
// dated names, because numbers would have to be renamed without end.
//
// It knows nothing of who writes: no program, no configuration.
package logfile

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/safepath"
)

// Options say how a log file is written. The zero value never rotates.
type Options struct {
	// Mode of a file that is created, before umask; 0 means 0644.
	Mode uint32
	// MaxBytes is the size from which on the file is rotated, at the next end
	// of a line; 0 never rotates.
	MaxBytes int64
	// Backups is the number of rotated files that are kept: 0 keeps every
	// one, NoBackups none.
	Backups int
	// Every, if above 0, begins a new file at each full hour or midnight of
	// local time, too: it is Hourly or Daily.
	Every time.Duration
	// Dated names backups by time even if Backups is above 0.
	Dated bool
	// Compress packs backups with gzip; it implies Dated.
	Compress bool
	// MaxAgeDays, if above 0, removes backups that are older; it implies
	// Dated.
	MaxAgeDays int
}

// NoBackups as Options.Backups keeps no backup: the file begins anew, empty.
const NoBackups = -1

// The values of Options.Every.
const (
	Hourly = time.Hour
	Daily  = 24 * time.Hour
)

// dated tells whether backups are named by time.
func (o *Options) dated() bool {
	return o.Backups == 0 || o.Backups > 0 && (o.Dated || o.Compress || o.MaxAgeDays > 0)
}

func (o *Options) mode() uint32 {
	if o.Mode == 0 {
		return 0o644
	}
	return o.Mode & 0o7777
}

const (
	// maxOverlong bounds by how much a file may exceed MaxBytes in wait for
	// the end of a line; a longer line is cut.
	maxOverlong = 1 << 20
	// rotateRetry is the time after which a rotation that failed is tried
	// again; the file grows meanwhile.
	rotateRetry = 10 * time.Second
)

// Error is a failure to open, write or rotate a log. Its text is what was
// tried, on what, and why not.
type Error struct {
	// Verb is what was tried: open, write, rotate, clear.
	Verb, Path string
	Err        error
}

func (e *Error) Error() string {
	var refused *safepath.Error
	if errors.As(e.Err, &refused) {
		return fmt.Sprintf("cannot %s log %q: %s", e.Verb, e.Path, refused.Reason())
	}
	return fmt.Sprintf("cannot %s log %q: %v", e.Verb, e.Path, e.Err)
}

// Unwrap gives the reason, mostly a [unix.Errno].
func (e *Error) Unwrap() error { return e.Err }

func failed(verb, path string, err error) error {
	if e, ok := err.(*Error); ok {
		return e
	}
	if pe, ok := err.(*fs.PathError); ok {
		err = pe.Err
	}
	return &Error{verb, path, err}
}

// identity tells files apart whatever their names are.
type identity struct{ dev, ino uint64 }

func identityOf(st *unix.Stat_t) identity { return identity{uint64(st.Dev), st.Ino} }
