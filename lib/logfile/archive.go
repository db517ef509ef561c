package logfile

import (
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"gopkg.in/natefinch/lumberjack.v2"

	"sup/lib/safepath"
)

// archive looks after the backups of a log that have dated names,
// foo-2026-01-31T23-59-59.000.log for foo.log, in UTC: old ones are packed and
// removed, in the background.
//
// lumberjack counts them and removes those that are too many or too old, where
// only root (or we, if we are not root) can write in any directory on the way: it
// works by name, and elsewhere the owner of a directory could have it remove other
// files. There the same is done by [trim]. All else is ours: the renaming, since
// lumberjack counts in megabytes, lets two rotations within a millisecond overwrite
// each other and opens files by rules of its own; and the packing, since it opens,
// truncates and chowns what it packs to by name.
//
// lumberjack works in a goroutine that it never ends; hence one archive for a file
// and its rules, for the life of the process.
type archive struct {
	path    string
	rules   archiveRules
	janitor *lumberjack.Logger

	mu    sync.Mutex
	busy  bool // a goroutine is looking through the backups
	again bool // it is to look once more
}

// archiveRules are what is to be done with backups. Both numbers are 0 for no
// limit.
type archiveRules struct {
	backups, maxAge int
	compress        bool
	maxSize         int64 // of what is packed
}

type archiveKey struct {
	path  string
	rules archiveRules
}

var (
	archivesMu sync.Mutex
	archives   = map[archiveKey]*archive{}
)

// newArchive gives nil if there is nothing to be done but rename.
func newArchive(path string, o *Options) *archive {
	if o.Backups == 0 && o.MaxAgeDays == 0 && !o.Compress {
		return nil
	}
	key := archiveKey{path, archiveRules{o.Backups, o.MaxAgeDays, o.Compress, packable(o)}}
	archivesMu.Lock()
	defer archivesMu.Unlock()
	a := archives[key]
	if a == nil {
		a = &archive{path: path, rules: key.rules, janitor: &lumberjack.Logger{
			Filename:   path,
			MaxSize:    1 << 30, // megabytes: it never rotates by itself
			MaxBackups: o.Backups,
			MaxAge:     o.MaxAgeDays,
		}}
		archives[key] = a
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

// dateOf gives the date in the name of a backup, packed or not.
func dateOf(backup, log string) (time.Time, bool) {
	prefix, ext := datedParts(log)
	s, ok := strings.CutPrefix(strings.TrimSuffix(backup, compressedExt), prefix)
	if s, ends := strings.CutSuffix(s, ext); ok && ends {
		t, err := time.Parse(datedFormat, s)
		return t, err == nil
	}
	return time.Time{}, false
}

// setDate renames the log to a dated name that is not taken.
func setDate(dir *safepath.Dir, log string, now func() time.Time) error {
	prefix, ext := datedParts(log)
	for t := now().UTC(); ; t = t.Add(time.Millisecond) {
		name := prefix + t.Format(datedFormat) + ext
		if exists(dir, name) || exists(dir, name+compressedExt) {
			continue
		}
		err := dir.RenameNew(log, name)
		switch err {
		case unix.EEXIST:
			continue // it has just come
		case unix.EINVAL, unix.ENOSYS:
			err = dir.Rename(log, name) // the file system does not look by itself
		}
		if err == unix.ENOENT {
			return nil // somebody else was quicker; begin a new file
		}
		return err
	}
}

// clean has old backups packed and removed, in the background. The new file must
// have been created: lumberjack looks for it first.
func (a *archive) clean() {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.again = a.busy; a.busy {
		return
	}
	a.busy = true
	go a.work()
}

func (a *archive) work() {
	for {
		a.look()
		a.mu.Lock()
		again := a.again
		a.busy, a.again = again, false
		a.mu.Unlock()
		if !again {
			return
		}
	}
}

// look looks through the backups once. What cannot be done is left for the next
// time.
func (a *archive) look() {
	dir, log, err := safepath.In(a.path)
	if err != nil {
		return
	}
	defer dir.Close()
	trusted := a.trusted(dir)
	if !trusted {
		trim(dir, log, a.rules, time.Now())
	}
	if a.rules.compress {
		packAll(dir, log, a.rules.maxSize)
	}
	if trusted && a.rules.backups+a.rules.maxAge > 0 {
		// Writing nothing opens the file, which is what makes it look.
		_, _ = a.janitor.Write(nil)
		_ = a.janitor.Close()
	}
}

// trusted tells whether names can be relied on all the way to the log, which lies
// in dir, and on to where it leads if it is a link.
func (a *archive) trusted(dir *safepath.Dir) bool {
	if _, foreign := dir.Owner(); foreign || dir.Shared() {
		return false
	}
	who, err := safepath.Writers(a.path)
	return err == nil && len(who) == 0
}

// trim removes the backups that are too many or too old.
func trim(dir *safepath.Dir, log string, r archiveRules, now time.Time) {
	names, err := dir.Match(func(name string) bool {
		_, ok := dateOf(name, log)
		return ok
	})
	if err != nil {
		return
	}
	slices.Reverse(names) // the newest first
	oldest := now.AddDate(0, 0, -r.maxAge)
	seen, last := 0, ""
	for _, name := range names {
		if plain := strings.TrimSuffix(name, compressedExt); plain != last {
			seen, last = seen+1, plain
		}
		date, _ := dateOf(name, log)
		if r.backups > 0 && seen > r.backups || r.maxAge > 0 && date.Before(oldest) {
			_ = dir.Remove(name)
		}
	}
}
