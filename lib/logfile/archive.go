package logfile

import (
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"gopkg.in/natefinch/lumberjack.v2"
)

// archive gives backups dated names, foo-2026-01-31T23-59-59.000.log for
// foo.log, in UTC, and has lumberjack compress and remove them.
//
// The renaming is ours: lumberjack counts in megabytes, lets two rotations
// within a millisecond overwrite each other and opens files by rules of its
// own. It is only ever asked to look through the backups, which it does in a
// goroutine that it never ends; hence one janitor for a file and its rules, for
// the life of the process.
type archive struct {
	path    string
	janitor *lumberjack.Logger // nil if nothing is to be done but rename
}

type janitorKey struct {
	path            string
	backups, maxAge int
	compress        bool
}

var (
	janitorsMu sync.Mutex
	janitors   = map[janitorKey]*lumberjack.Logger{}
)

func newArchive(path string, o *Options) *archive {
	a := &archive{path: path}
	if o.Backups == 0 && o.MaxAgeDays == 0 && !o.Compress {
		return a
	}
	key := janitorKey{path, o.Backups, o.MaxAgeDays, o.Compress}
	janitorsMu.Lock()
	defer janitorsMu.Unlock()
	if a.janitor = janitors[key]; a.janitor == nil {
		a.janitor = &lumberjack.Logger{
			Filename:   path,
			MaxSize:    1 << 30, // megabytes: it never rotates by itself
			MaxBackups: o.Backups,
			MaxAge:     o.MaxAgeDays,
			Compress:   o.Compress,
		}
		janitors[key] = a.janitor
	}
	return a
}

const (
	datedFormat   = "2006-01-02T15-04-05.000"
	compressedExt = ".gz"
)

// datedParts gives what stands before and after the date in the name of a
// backup.
func datedParts(path string) (prefix, ext string) {
	ext = filepath.Ext(path)
	return strings.TrimSuffix(path, ext) + "-", ext
}

// add renames the file to a name that is not taken.
func (a *archive) add(now func() time.Time) error {
	prefix, ext := datedParts(a.path)
	t := now().UTC()
	name := prefix + t.Format(datedFormat) + ext
	for exists(name) || exists(name+compressedExt) {
		t = t.Add(time.Millisecond)
		name = prefix + t.Format(datedFormat) + ext
	}
	err := unix.Rename(a.path, name)
	if err == unix.ENOENT {
		return nil // somebody else was quicker; begin a new file
	}
	return err
}

// clean has old backups compressed and removed, in the background. The new
// file must have been created: lumberjack looks for it first.
func (a *archive) clean() {
	if a == nil || a.janitor == nil {
		return
	}
	// Writing nothing opens the file, which is what makes it look.
	_, _ = a.janitor.Write(nil)
	_ = a.janitor.Close()
}
