package logfile

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"sup/lib/safepath"
	"sup/lib/watch"
)

const (
	// followGather is how long a busy log is left alone between two reads, so
	// that a flood of small writes does not mean a flood of wake-ups.
	followGather = 10 * time.Millisecond
	// followCheck is how often a log is looked at without having been told
	// to: for file systems that tell nothing, and for directories that were
	// exchanged.
	followCheck = 2 * time.Second
	// followPoll replaces it where something cannot be watched.
	followPoll = 250 * time.Millisecond
)

// Follow calls emit with what the log at path holds from offset from on, and
// then with what is appended, until ctx is done or emit returns an error, which
// it returns. A negative from means that many bytes before the end, or all of
// a shorter file.
//
// It goes by the name: when the log is rotated it reads the old file to its
// end, then those that came in between, and goes on with the new one. When the
// file was cut short it calls truncated, unless that is nil, and goes on from
// the file's beginning. A log that is not there yet is waited for.
//
// What emit is given is valid only during the call. Memory does not grow with
// the log.
func Follow(ctx context.Context, path string, from int64, emit func([]byte) error, truncated func() error) error {
	f := follower{path: filepath.Clean(path), emit: emit, truncated: truncated, buf: make([]byte, 32<<10)}
	defer f.close()
	if err := f.begin(from); err != nil {
		return err
	}
	for {
		more, err := f.advance(ctx)
		if err != nil {
			return err
		}
		if !more {
			if err := f.wait(ctx); err != nil {
				return err
			}
		}
	}
}

// follower belongs to the goroutine of Follow.
type follower struct {
	path      string
	emit      func([]byte) error
	truncated func() error
	buf       []byte

	file   *os.File // nil while there is none
	id     identity
	offset int64

	// watched are the open file, and its directory while the name is gone;
	// nil if they are not, or cannot be, watched.
	watchedFile, watchedDir *watch.Watch
	blind                   bool // one of them is not watched and should be
}

func (f *follower) close() {
	if f.file != nil {
		f.file.Close()
	}
	f.unwatch()
	f.unwatchDir()
}

func (f *follower) begin(from int64) error {
	if err := f.open(f.path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	f.offset = from
	if from < 0 {
		fi, err := f.file.Stat()
		if err != nil {
			return err
		}
		f.offset = max(fi.Size()+from, 0)
	}
	return nil
}

// open makes the file at path ours, from its beginning.
func (f *follower) open(path string) error {
	file, _, err := openRegular(path)
	if err != nil {
		return err
	}
	id, err := identityOfFile(file)
	if err != nil {
		file.Close()
		return err
	}
	f.file, f.id, f.offset = file, id, 0
	return nil
}

func identityOfFile(file *os.File) (id identity, err error) {
	fi, err := file.Stat()
	if err != nil {
		return id, err
	}
	return identityOfInfo(fi), nil
}

// advance emits what is there, and goes over to the next file if there is one.
// more is true if it is worth to call it again at once.
func (f *follower) advance(ctx context.Context) (more bool, err error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	// Look at the name before reading: what the old file holds once there is
	// a new one is all that it ever will.
	st, err := safepath.Stat(f.path)
	replaced := err == nil && (f.file == nil || identityOf(&st) != f.id)
	if f.file != nil {
		if err := f.emitAll(ctx); err != nil {
			return false, err
		}
	}
	if !replaced {
		return f.watch(), nil
	}
	f.unwatch()
	err = f.openSuccessor()
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil // renamed or removed in this moment; look once more
	}
	return true, err
}

// openSuccessor goes over to the file that comes after ours: the one now under
// the name or, if the log was rotated more than once meanwhile, the backup
// that is the next newer one to ours.
func (f *follower) openSuccessor() error {
	const tries = 10 // a rotation may be under way
	for range tries {
		files := f.generations()
		next := f.path
		var want identity
		for i, g := range files {
			if f.file != nil && g.id == f.id && i+1 < len(files) {
				next, want = files[i+1].path, files[i+1].id
				break
			}
		}
		// A listing that was made while files were renamed may be wrong.
		if !slices.Equal(files, f.generations()) {
			continue
		}
		old := *f
		f.file = nil
		if err := f.open(next); err != nil {
			*f = old
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return err
		}
		if want != (identity{}) && f.id != want {
			f.file.Close()
			*f = old
			continue
		}
		if old.file != nil {
			old.file.Close()
		}
		return nil
	}
	return fs.ErrNotExist
}

// generation is one file of a log: a backup, or the current one.
type generation struct {
	path string
	id   identity
}

// generations lists the files of the log, the oldest first.
func (f *follower) generations() []generation {
	var files []generation
	for _, path := range append(Backups(f.path), f.path) {
		if st, err := safepath.Stat(path); err == nil {
			files = append(files, generation{path, identityOf(&st)})
		}
	}
	return files
}

// emitAll emits from the offset to the end of the open file.
func (f *follower) emitAll(ctx context.Context) error {
	if fi, err := f.file.Stat(); err == nil && fi.Size() < f.offset {
		f.offset = 0
		if f.truncated != nil {
			if err := f.truncated(); err != nil {
				return err
			}
		}
	}
	for ctx.Err() == nil {
		n, err := f.file.ReadAt(f.buf, f.offset)
		if n > 0 {
			f.offset += int64(n)
			if err := f.emit(f.buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// watch asks to be told of changes: of the open file, and of its directory
// while the name is gone. Only then, since a directory also tells of every
// other log in it. It reports whether one of these is new: between the last look
// and the watch something may have changed.
func (f *follower) watch() (begun bool) {
	_, err := safepath.Stat(f.path)
	missing := err != nil
	if !missing {
		f.unwatchDir()
	} else if f.watchedDir == nil || !f.watchedDir.Alive() {
		f.unwatchDir()
		if dir, err := safepath.OpenFile(filepath.Dir(f.path), os.O_RDONLY, 0); err == nil {
			f.watchedDir, _ = watch.Dir(dir)
			dir.Close()
			begun = f.watchedDir != nil
		}
	}
	if f.watchedFile != nil && !f.watchedFile.Alive() {
		f.unwatch() // the file was renamed, and may still be written to
	}
	if f.watchedFile == nil && f.file != nil {
		f.watchedFile, _ = watch.File(f.file)
		begun = begun || f.watchedFile != nil
	}
	f.blind = missing && f.watchedDir == nil || (!missing || f.file != nil) && f.watchedFile == nil
	return begun
}

func (f *follower) unwatch() {
	if f.watchedFile != nil {
		f.watchedFile.Close()
		f.watchedFile = nil
	}
}

func (f *follower) unwatchDir() {
	if f.watchedDir != nil {
		f.watchedDir.Close()
		f.watchedDir = nil
	}
}

// wait waits for a sign that there is more.
func (f *follower) wait(ctx context.Context) error {
	var file, dir <-chan struct{}
	pause := followCheck
	if f.blind {
		pause = followPoll
	}
	if f.watchedFile != nil {
		file = f.watchedFile.Changed
	}
	if f.watchedDir != nil {
		dir = f.watchedDir.Changed
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	case <-file:
	case <-dir:
	}
	// A little later there is more to read.
	timer.Reset(followGather)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	// What was reported meanwhile will be seen.
	for _, changed := range []<-chan struct{}{file, dir} {
		select {
		case <-changed:
		default:
		}
	}
	return nil
}

// identityOfInfo gives the zero identity for what has none; that is never
// equal to that of an open file.
func identityOfInfo(fi fs.FileInfo) identity {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return identity{uint64(st.Dev), st.Ino}
	}
	return identity{}
}
