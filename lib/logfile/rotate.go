package logfile

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/safepath"
)

// Backup is the name of the n-th rotated file of path; 1 is the newest.
func Backup(path string, n int) string { return path + "." + strconv.Itoa(n) }

// mayRotate is false for a while after a rotation that failed.
func (f *File) mayRotate() bool {
	return f.rotateAfter.IsZero() || !f.Now().Before(f.rotateAfter)
}

// rotate puts the present file aside and begins a new one. If that fails the
// present one is written on, and it is tried again later.
func (f *File) rotate() {
	err := f.putAside()
	if err == nil {
		if err = f.Reopen(); err == nil {
			f.rotateFailed, f.rotateAfter = false, time.Time{}
			f.archive.clean()
			return
		}
	}
	f.rotateAfter = f.Now().Add(rotateRetry)
	if !f.rotateFailed && f.Trouble != nil {
		f.Trouble(failed("rotate", f.path, unwrap(err)))
	}
	f.rotateFailed = true
}

func unwrap(err error) error {
	if e, ok := err.(*Error); ok {
		return e.Err
	}
	return err
}

// putAside gives the file under our name another name, or empties it where no
// backup is wanted.
func (f *File) putAside() error {
	if f.options.Backups < 0 {
		return f.Clear()
	}
	dir, name, err := safepath.In(f.path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if !f.options.dated() {
		return shift(dir, name, f.options.Backups)
	}
	if f.archive == nil {
		f.archive = newArchive(f.path, &f.options)
	}
	return setDate(dir, name, f.Now)
}

// shift renames name to name.1, name.1 to name.2 and so on, as far as there
// is no gap in the numbers: a rotation that was interrupted left one, and no
// backup is dropped when it is begun again. The one beyond keep is dropped. Where
// nothing has the name no backup is touched: the file was put aside, and a new one
// could not be made since.
func shift(dir *safepath.Dir, name string, keep int) error {
	if !exists(dir, name) {
		return nil
	}
	names := backupNames(dir, name, keep)
	// Without a gap the last is overwritten.
	for n := len(names) - 1; n >= 1; n-- {
		if err := dir.Rename(names[n-1], names[n]); err != nil && err != unix.ENOENT {
			return err
		}
	}
	err := dir.Rename(name, names[0])
	if err == unix.ENOENT {
		return nil // somebody else was quicker; begin a new file
	}
	return err
}

// backupNames are the names of numbered backups, the newest first, up to one that
// is free and at most keep of them. In a directory like /tmp some may be taken by
// strangers, which are not to be touched and must not keep a log from being
// rotated: their numbers are left out, up to a thousand.
func backupNames(dir *safepath.Dir, name string, keep int) (names []string) {
	for n, theirs := 1, 0; len(names) < keep; n++ {
		b := Backup(name, n)
		if theirs < 1000 && dir.Theirs(b) {
			theirs++
			continue
		}
		names = append(names, b)
		if !exists(dir, b) {
			break
		}
	}
	return names
}

func exists(dir *safepath.Dir, name string) bool {
	_, err := dir.Lstat(name)
	return err == nil
}

// leaveBehind puts a log aside that root has made in the directory of another
// user, as logs there were made once. What is done in that directory is now done
// as its owner, who must not write in root's files, but may rename them there.
func (f *File) leaveBehind() error {
	dir, name, err := safepath.In(f.path)
	if err != nil {
		return err
	}
	defer dir.Close()
	_, foreign := dir.Owner()
	st, err := dir.Lstat(name)
	if err != nil || !foreign || st.Uid != 0 || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return unix.EACCES
	}
	if f.options.Backups > 0 && !f.options.dated() {
		err = shift(dir, name, f.options.Backups)
	} else {
		err = setDate(dir, name, f.Now)
	}
	if err == nil {
		f.tell(fmt.Errorf("the old file of log %q was root's in the directory of another user: it was put aside like a backup, and a new one begun", f.path))
	}
	return err
}

// tell tells Trouble, or keeps it until there is one.
func (f *File) tell(err error) {
	if f.Trouble == nil {
		f.note = err
		return
	}
	f.Trouble(err)
}

// SetTrouble sets Trouble, and tells it what happened before.
func (f *File) SetTrouble(trouble func(error)) {
	f.Trouble = trouble
	if f.note != nil {
		trouble(f.note)
		f.note = nil
	}
}

// startPeriod notes when a file that is opened now is to be rotated for its
// age: its period is that of its last write, so that a daily log which was
// closed overnight is rotated by the first line of the day.
func (f *File) startPeriod() {
	f.period = time.Time{}
	if f.options.Every <= 0 || !f.Regular() {
		return
	}
	from := f.Now()
	if f.size > 0 {
		from = time.Unix(f.open.st.Mtim.Unix())
	}
	f.period = nextPeriod(from, f.options.Every)
}

// nextPeriod is the next full hour, or midnight, after t in local time.
func nextPeriod(t time.Time, every time.Duration) time.Time {
	y, m, d := t.Date()
	if every >= Daily {
		return time.Date(y, m, d+1, 0, 0, 0, 0, t.Location())
	}
	return t.Truncate(time.Hour).Add(time.Hour)
}

// limit gives the size from which on the present file is to be rotated at the
// next end of a line. A file whose period is over is rotated at once if it ends
// with one.
func (f *File) limit() int64 {
	limit := int64(math.MaxInt64)
	if !f.mayRotate() {
		return limit
	}
	if f.options.MaxBytes > 0 {
		limit = f.options.MaxBytes
	}
	if f.period.IsZero() || f.Now().Before(f.period) {
		return limit
	}
	if f.size > 0 && f.endsLine() {
		f.rotate()
	}
	if f.size > 0 && f.mayRotate() {
		return min(limit, f.size)
	}
	f.period = nextPeriod(f.Now(), f.options.Every)
	return limit
}
