package state

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sup/lib/safepath"
)

// Where the state directory lies: beside the pid file, where nobody else can write
// there. What is at that path is otherwise what somebody has put there, in the very
// moment in which it is looked for; then it lies where only we can write, under a
// name made from the path of the pid file.

// UnsafeError is a refusal: to use a directory in whose place others could put
// another one, or to start beside what may still run.
type UnsafeError struct{ Text string }

func (e *UnsafeError) Error() string { return e.Text }

// OpenAt opens the state directory that the configuration names, made if need be. It
// is refused where others could replace it.
func OpenAt(path string) (*Dir, error) {
	if w, ok := replacer(path); ok {
		if err := stillServed(path, errors.New(w.String())); err != nil {
			return nil, err
		}
		return nil, &UnsafeError{fmt.Sprintf("statedir=%s cannot be used: %s, who could put another directory in its place; hint: name one below %s, or leave statedir= out", path, w, runtimeDir())}
	}
	d, err := Open(path)
	if err != nil {
		return nil, err
	}
	if w, ok := replacer(path); ok {
		d.Close()
		return nil, &UnsafeError{fmt.Sprintf("statedir=%s cannot be used: %s, who has put another directory in its place", path, w)}
	}
	return d, nil
}

func replacer(path string) (w safepath.Writer, ok bool) {
	found, _ := safepath.Replacers(path)
	if len(found) == 0 {
		return w, false
	}
	return found[0], true
}

// OpenFor opens the state directory that goes with a pid file. What an earlier
// version has left beside the pid file is found, if it is ours.
func OpenFor(pidfile string) (*Dir, error) {
	beside := besideOf(pidfile)
	places := places(pidfile)
	safe := nobodyElse(beside)
	if !safe {
		if d, err := openOld(beside); d != nil || err != nil {
			return d, err
		}
	}
	if !safe || !holdsState(beside) {
		// What a start with another environment has chosen, or before others could
		// not write beside the pid file any more.
		for _, path := range places {
			if !holdsState(path) {
				continue
			}
			if d, err := openPrivate(path); err == nil || errors.As(err, new(*LockedError)) {
				return d, err
			}
		}
	}
	if safe {
		if d, err := Open(beside); !cannotBeMade(err) {
			return d, err
		}
	}
	var problems []string
	for _, path := range places {
		d, err := openPrivate(path)
		if err == nil || errors.As(err, new(*LockedError)) || errors.As(err, new(*UnsafeError)) {
			return d, err
		}
		problems = append(problems, err.Error())
	}
	return nil, errors.New(strings.Join(problems, "; ") + "; hint: name a directory with statedir=")
}

// Peek reads the state of a directory that is in use, as it lies there: of the one
// that the configuration names, or else that goes with a pid file. Without any the
// result is nil.
func Peek(statedir, pidfile string) (*State, error) {
	paths := []string{statedir}
	if statedir == "" {
		paths = append([]string{besideOf(pidfile)}, places(pidfile)...)
	}
	for _, path := range paths {
		fd, err := openDir(path, false)
		if err != nil {
			continue
		}
		d := &Dir{path: path, fd: fd}
		s, err := d.Load()
		unix.Close(fd)
		if s != nil || err != nil {
			return s, err
		}
	}
	return nil, nil
}

func besideOf(pidfile string) string { return pidfile + ".state" }

// nobodyElse reports whether nobody beside root and ourselves can write where a path
// lies, nor on the way to it.
func nobodyElse(path string) bool {
	// What is there already has an owner; the question is about what is not.
	writers, err := safepath.Writers(path + ".none")
	return err == nil && len(writers) == 0
}

// cannotBeMade reports whether an error is that the directory cannot be made there,
// since we may not.
func cannotBeMade(err error) bool {
	return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS)
}

// runtimeDir is the directory for what lasts as long as the machine runs, and that
// only we can write to.
func runtimeDir() string {
	if os.Geteuid() == 0 {
		return "/run"
	}
	return "/run/user/" + strconv.Itoa(os.Geteuid())
}

// places are the paths for a state directory that cannot lie beside its pid file, the
// best first: below /run or the user's runtime directory, or where there is none, in a
// directory of our own below /tmp.
func places(pidfile string) (paths []string) {
	sum := sha256.Sum256([]byte(pidfile))
	name := strings.TrimSuffix(filepath.Base(pidfile), ".pid") + "-" + hex.EncodeToString(sum[:8])
	uid := os.Geteuid()
	bases := []string{runtimeDir()}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); uid != 0 && filepath.IsAbs(dir) && filepath.Clean(dir) != bases[0] {
		bases = append(bases, dir)
	}
	for _, base := range bases {
		if fi, err := os.Stat(base); err == nil && fi.IsDir() {
			paths = append(paths, filepath.Join(base, "sup", name))
		}
	}
	return append(paths, filepath.Join("/tmp", "sup-"+strconv.Itoa(uid), name))
}

// openPrivate opens a directory in one of the places, where others may have made the
// directories above it first.
func openPrivate(path string) (*Dir, error) {
	if w, ok := replacer(path); ok && w.Make == "" {
		return nil, fmt.Errorf("cannot use the state directory %s: %s", path, w)
	}
	d, err := Open(path)
	if err != nil {
		return nil, err
	}
	if w, ok := replacer(path); ok {
		d.Close()
		return nil, fmt.Errorf("cannot use the state directory %s: %s", path, w)
	}
	return d, nil
}

// holdsState reports whether a directory of ours has a state in it.
func holdsState(path string) bool {
	fd, err := openDir(path, false)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	return unix.Fstatat(fd, stateName, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// openOld goes on with what an earlier version has left beside a pid file, where
// others can write: until an orderly end, since programs may run. It must be ours, and
// say that it is the state of that path, or lie in a sticky directory, since others can
// rename what lies in their directories. Without any the result is nil.
func openOld(path string) (*Dir, error) {
	d, err := acquire(path, false)
	switch {
	case errors.As(err, new(*LockedError)):
		return nil, err
	case err != nil:
		return nil, stillServed(path, err)
	case !d.abandoned:
		d.Close()
		return nil, nil
	}
	saved, err := d.Load()
	if err == nil && saved == nil {
		d.Close() // of another life of the machine
		return nil, nil
	}
	if _, ok := replacer(path); ok && (err != nil || saved.Dir != path && saved.Instance != OldInstance(path)) {
		d.Close()
		return nil, stillServed(path, errors.New("it may be that of another supd"))
	}
	if err := d.settle(); err != nil {
		d.Close()
		return nil, err
	}
	d.notes = append(d.notes, "the state directory "+path+" lies where others can write; it is used until an orderly end, and another one after that")
	return d, nil
}

// stillServed is the refusal to start where a log process serves a directory that
// cannot be used, nil if there is none: then programs may still run, and would be
// started a second time.
func stillServed(path string, why error) error {
	left := Loggers(path)
	if len(left) == 0 {
		return nil
	}
	return &UnsafeError{fmt.Sprintf("programs of the supd before this one may still run: its suplog (pid %d) serves %s, and that cannot be used: %v; hint: stop them, end process %d, and start again", left[0].PID, path, why, left[0].PID)}
}
