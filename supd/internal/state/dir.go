package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/safepath"
	"sup/supd/internal/crash"
)

// The files of a state directory.
const (
	lockName   = "lock"
	stateName  = "state"
	keyName    = "key"
	socketName = "keeper.sock"
	holderName = "holder.sock"
)

// Dir is a state directory that this daemon has to itself. It was opened and looked
// at once; all that is done in it is done by that descriptor, whatever becomes of
// its path.
type Dir struct {
	path      string
	fd        int // -1 if there is none any more
	lock      *os.File
	isNew     bool // there was no lock before
	abandoned bool
	identity  *Identity
	notes     []string
	text      []byte     // what Save wrote last, to be written over
	onRecord  []recorded // of the daemon before
}

// LockedError says that another daemon uses the directory.
type LockedError struct {
	Path string
	PID  int // 0 if it is not known
	// Elsewhere is set if that daemon lives in another PID namespace, or on another
	// machine: it is none that this one could stand beside by mistake, and its pid
	// means nothing here.
	Elsewhere bool
}

func (e *LockedError) Error() string {
	if e.Elsewhere {
		return "a supd of another PID namespace, a container perhaps, uses the state directory " + e.Path
	}
	who := "another supd"
	if e.PID > 0 {
		who += fmt.Sprintf(" (pid %d)", e.PID)
	}
	return who + " uses " + e.Path
}

// Open makes the directory if need be, and locks it. The error is a
// *LockedError if another daemon has it. Whether others could replace it is for the
// caller to know, see [OpenAt] and [OpenFor].
func Open(path string) (*Dir, error) {
	d, err := acquire(path, true)
	if err != nil {
		return nil, err
	}
	if err := d.settle(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// acquire opens and locks a directory, and writes nothing into it.
func acquire(path string, create bool) (*Dir, error) {
	fd, err := openDir(path, create)
	if err != nil {
		return nil, err
	}
	d := &Dir{path: path, fd: fd}
	if err := d.take(); err != nil {
		unix.Close(fd)
		return nil, err
	}
	owner := readOwner(d.lock)
	d.abandoned = owner.pid > 0 && owner.maybeHere() || d.isNew && len(Loggers(path)) > 0
	return d, nil
}

// settle makes the directory ours: it reads what is on record, says who has it, and
// finds out the identity that belongs to it.
func (d *Dir) settle() error {
	if d.abandoned {
		d.readRecords()
	}
	ownLife().sign(d.lock)
	if known := d.identify(); !known && d.isNew && d.abandoned && oldMarks(d.path) {
		// There was a directory, it was removed, and what is there to find programs
		// by proves nothing.
		_ = unix.Unlinkat(d.fd, keyName, 0)
		_ = unix.Unlinkat(d.fd, lockName, 0)
		return stillServed(d.path, errors.New("it was removed"))
	}
	return nil
}

// openDir opens a directory, and makes sure that it is ours and closed to others.
func openDir(path string, create bool) (int, error) {
	if create {
		if err := safepath.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return -1, fmt.Errorf("cannot make the state directory: %w", err)
		}
	}
	parent, name, err := safepath.In(path)
	if err != nil {
		return -1, fmt.Errorf("cannot make the state directory: %w", err)
	}
	defer parent.Close()
	if create {
		if err := unix.Mkdirat(parent.FD(), name, 0o700); err != nil && err != unix.EEXIST {
			return -1, fmt.Errorf("cannot make the state directory %s: %w", path, err)
		}
	}
	fd, err := unix.Openat(parent.FD(), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch err {
	case nil:
	case unix.ENOTDIR, unix.ELOOP:
		return -1, fmt.Errorf("the state directory %s is not a directory", path)
	default:
		return -1, fmt.Errorf("cannot open the state directory %s: %w", path, err)
	}
	if err := private(fd, path); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// private makes sure that a directory is ours, and closed to others.
func private(fd int, path string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("cannot open the state directory %s: %w", path, err)
	}
	if int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("the state directory %s belongs to user %d; hint: remove it, or name another one with statedir=", path, st.Uid)
	}
	if st.Mode&0o777 == 0o700 {
		return nil
	}
	if err := unix.Fchmod(fd, 0o700); err != nil {
		return fmt.Errorf("cannot close the state directory %s to others: %w", path, err)
	}
	return nil
}

// open opens a file of the directory, and makes sure that nobody else has written
// it, and if it is to be secret, that nobody else could read it.
func (d *Dir) open(name string, flags int, secret bool) (*os.File, error) {
	fd, err := unix.Openat(d.fd, name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	switch {
	case err != nil:
	case st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 1:
		err = errors.New("it is not a file of ours")
	case int(st.Uid) != os.Geteuid():
		err = fmt.Errorf("it is not a file of ours: it belongs to user %d", st.Uid)
	case st.Mode&0o022 != 0:
		err = errors.New("it is not a file of ours: others can write it")
	case secret && st.Mode&0o077 != 0:
		err = errReadable
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

var errReadable = errors.New("others could read it")

// take locks the directory.
func (d *Dir) take() error {
	lock, err := d.open(lockName, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, false)
	if d.isNew = err == nil; !d.isNew {
		lock, err = d.open(lockName, unix.O_RDWR|unix.O_CREAT, false)
	}
	if err != nil {
		return fmt.Errorf("cannot open the lock of the state directory %s: %w", d.path, err)
	}
	if err := flock(int(lock.Fd())); err != nil {
		defer lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			owner := readOwner(lock)
			return &LockedError{d.path, owner.pid, owner.elsewhere(lock)}
		}
		return fmt.Errorf("cannot lock the state directory %s: %w", d.path, err)
	}
	d.lock = lock
	return nil
}

// lockPatience is how long a lock is waited for. A daemon that was killed while
// it made a process leaves a child that shares the lock until it executes its
// program.
const lockPatience = time.Second

// flock locks a file for us alone. It waits no longer than lockPatience.
func flock(fd int) error {
	for deadline := time.Now().Add(lockPatience); ; time.Sleep(5 * time.Millisecond) {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			return err
		}
	}
}

// Abandoned reports whether the daemon that had the directory before did not
// come to an orderly end. Only then anything is taken over. A directory that is
// new counts as abandoned if a log process serves it: then there was another one
// at its place, which was removed while a daemon used it.
func (d *Dir) Abandoned() bool { return d.abandoned }

// Inherited is a directory as an image leaves it to the next.
type Inherited struct {
	Path string
	// Lock is the descriptor of the lock, FD that of the directory, 0 if it is to
	// be opened again, -1 if there is none any more.
	Lock, FD int
	// Secret is the identity as text, "" if the image before had none.
	Secret string
}

// Inherit takes over a directory that an earlier image of this process has
// locked.
func Inherit(from Inherited) *Dir {
	unix.CloseOnExec(from.Lock)
	d := &Dir{path: from.Path, fd: from.FD, lock: os.NewFile(uintptr(from.Lock), lockName), abandoned: true}
	switch {
	case d.fd > 0:
		unix.CloseOnExec(d.fd)
	case d.fd == 0:
		if d.fd = d.reopen(); d.fd < 0 {
			d.notes = append(d.notes, "the state directory "+d.path+" is not the one of the daemon before any more; programs could not be taken over by a supd after this one")
		}
	}
	if w, ok := replacer(d.path); ok {
		d.notes = append(d.notes, "the state directory "+d.path+" lies where others could put another one in its place: "+w.String())
	}
	ownLife().sign(d.lock)
	var ok bool
	if d.identity, ok = ParseSecret(from.Secret); !ok {
		_ = d.identify()
	}
	return d
}

// reopen opens the directory by its path, if it is still the one whose lock we
// have. The result is -1 if it is not.
func (d *Dir) reopen() int {
	fd, err := unix.Open(d.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	var ours, there unix.Stat_t
	if private(fd, d.path) != nil || unix.Fstat(d.LockFD(), &ours) != nil ||
		unix.Fstatat(fd, lockName, &there, unix.AT_SYMLINK_NOFOLLOW) != nil || ours.Dev != there.Dev || ours.Ino != there.Ino {
		unix.Close(fd)
		return -1
	}
	return fd
}

// Leave is what the next image of this process needs, the descriptors still closed
// to it.
func (d *Dir) Leave() Inherited {
	return Inherited{Path: d.path, Lock: d.LockFD(), FD: d.fd, Secret: d.identity.Secret()}
}

// Path is the directory's.
func (d *Dir) Path() string { return d.path }

// LockFD is the descriptor that holds the lock.
func (d *Dir) LockFD() int { return int(d.lock.Fd()) }

// Notes are lines for the activity log about what was found.
func (d *Dir) Notes() []string { return d.notes }

// Socket is the path of suplog's control socket, good for this process only.
func (d *Dir) Socket() string { return "/proc/self/fd/" + strconv.Itoa(d.fd) + "/" + socketName }

// HolderSocket is the path of suphold's.
func (d *Dir) HolderSocket() string { return "/proc/self/fd/" + strconv.Itoa(d.fd) + "/" + holderName }

// Load reads what an earlier daemon has left. Without anything, or after the
// machine was started anew, the result is nil without an error. The error
// says why what is there cannot be used.
func (d *Dir) Load() (*State, error) {
	text, err := d.readAll(stateName, 256<<20, false)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot use the state in %s: %w", filepath.Join(d.path, stateName), err)
	}
	return Parse(text)
}

// readAll reads a file that is not too large.
func (d *Dir) readAll(name string, most int64, secret bool) ([]byte, error) {
	f, err := d.open(name, unix.O_RDONLY, secret)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err == nil && fi.Size() > most {
		err = errors.New("it is not a file of ours: it is too large")
	}
	if err != nil {
		return nil, err
	}
	text := make([]byte, fi.Size())
	n, err := f.ReadAt(text, 0)
	if n == len(text) {
		err = nil
	}
	return text[:n], err
}

// Save replaces the state.
func (d *Dir) Save(s *Snapshot) error {
	crash.Point(crash.BeforeSave)
	text, err := s.Append(d.text[:0])
	if err != nil {
		return err
	}
	d.text = text
	if err := d.write(stateName, text, func() { crash.Point(crash.DuringSave) }); err != nil {
		return fmt.Errorf("cannot write the state in %s: %w", d.path, err)
	}
	crash.Point(crash.AfterSave)
	return nil
}

// write replaces a file as a whole.
func (d *Dir) write(name string, text []byte, halfway func()) error {
	temp := name + ".new"
	if err := unix.Unlinkat(d.fd, temp, 0); err != nil && err != unix.ENOENT {
		return err
	}
	fd, err := unix.Openat(d.fd, temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), temp)
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	halfway()
	return d.replace(temp, name)
}

// replace renames a file to another's name. Where that exists the two are
// exchanged, and what was there is removed: a plain rename over a file makes
// some file systems (ext4) write the new one to the disk at once, which may
// take seconds when the disk is busy, and is of no use to us.
func (d *Dir) replace(from, to string) error {
	err := unix.Renameat2(d.fd, from, d.fd, to, unix.RENAME_EXCHANGE)
	if err != nil {
		return unix.Renameat(d.fd, from, d.fd, to)
	}
	return unix.Unlinkat(d.fd, from, 0)
}

// Forget removes the state after an orderly end. The lock stays: it is never
// unlinked, since somebody may be waiting for it.
func (d *Dir) Forget() error {
	_ = d.lock.Truncate(0)
	// The numbers of runs begin again; with another key no mark of before is one of
	// after.
	_ = unix.Unlinkat(d.fd, keyName, 0)
	if err := unix.Unlinkat(d.fd, stateName, 0); err != nil && err != unix.ENOENT {
		return fmt.Errorf("cannot remove the state in %s: %w", d.path, err)
	}
	return nil
}

// Close gives the directory up.
func (d *Dir) Close() error {
	if d.fd >= 0 {
		unix.Close(d.fd)
		d.fd = -1
	}
	return d.lock.Close()
}
