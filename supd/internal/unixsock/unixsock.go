// Package unixsock makes listening sockets with a path: those of the HTTP
// servers, and those of FastCGI programs.
//
// A socket's file must have the mode and the owner of the configuration from the
// moment on at which somebody can find it, and never more. So it is bound under
// a name that cannot be guessed, with no rights at all, given its owner and mode
// through a descriptor, made to listen, and only then moved to its path. All of
// that is done relative to a directory that was walked to by lib/safepath.
//
// What lies at the path already is replaced only if it is a socket, and nobody
// listens on it or its owner is one of those that the caller names; or a plain
// file that nobody but us can have put there.
package unixsock

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"sup/lib/safepath"
)

// MaxPath is the longest path of a unix socket, in bytes.
const MaxPath = 107

// ErrTooLong is returned for a path that no client could use.
var ErrTooLong = fmt.Errorf("the path is longer than %d bytes", MaxPath)

// Spec is what a socket is to be like.
type Spec struct {
	Path string
	Mode int
	// UID and GID are its owner and group; -1 is the process's own, and the
	// group that the directory passes on.
	UID, GID int
	Backlog  int
	// Reclaim are the users whose sockets are replaced even if somebody listens
	// on them.
	Reclaim []int
}

// ID tells the file of one socket from another.
type ID struct{ Dev, Ino uint64 }

func idOf(st *unix.Stat_t) ID { return ID{uint64(st.Dev), st.Ino} }

// Socket is a listening socket, not blocking, and its file.
type Socket struct {
	FD int
	ID ID
	// Replaced is set if a socket lay at the path before.
	Replaced bool
}

// TakenError says that something lies at the path that is left alone.
type TakenError struct {
	Path string
	// UID is whose it is; PID who listens there, 0 if that cannot be told.
	UID, PID int
	// Listening is set if it is a socket on which somebody listens.
	Listening bool
	what      string
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("cannot listen on %q: %s; hint: %s", e.Path, e.Whose(), e.hint())
}

// Unwrap is the number that the kernel has for this.
func (e *TakenError) Unwrap() error {
	if e.Listening {
		return unix.EADDRINUSE
	}
	return unix.EEXIST
}

// Whose is what lies there.
func (e *TakenError) Whose() string {
	switch {
	case e.Listening && e.PID > 0:
		return fmt.Sprintf("process %d of %s listens there", e.PID, safepath.UserName(e.UID))
	case e.Listening:
		return "a socket of " + safepath.UserName(e.UID) + " is in use there"
	}
	return e.what + " of " + safepath.UserName(e.UID) + " lies there, which is not replaced"
}

func (e *TakenError) hint() string {
	if e.Listening {
		return "stop that program, or name a path in a directory where nobody else can make files, such as /run"
	}
	return "remove it, or name another path"
}

// Listen makes a socket.
func Listen(s Spec) (made Socket, err error) {
	if len(s.Path) > MaxPath {
		return made, fmt.Errorf("cannot listen on %q: %w", s.Path, ErrTooLong)
	}
	dir, name, err := safepath.In(s.Path)
	if err != nil {
		return made, err
	}
	defer dir.Close()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return made, err
	}
	temp := safepath.Temp(".sup")
	bound := false
	defer func() {
		if err != nil {
			unix.Close(fd)
			if bound {
				_ = dir.Remove(temp)
			}
		}
	}()
	if err := unix.Fchmod(fd, 0); err != nil {
		return made, err
	}
	if err := dir.Bind(fd, temp); err != nil {
		return made, dir.Meaning(name, temp, err)
	}
	bound = true
	id, err := s.permit(dir, temp)
	if err != nil {
		return made, err
	}
	if err := unix.Listen(fd, s.Backlog); err != nil {
		return made, err
	}
	replaced, err := s.place(dir, temp, name)
	if err != nil {
		return made, err
	}
	return Socket{FD: fd, ID: id, Replaced: replaced}, nil
}

// owner is the owner and the group that the file is to have.
func (s *Spec) owner(dir *safepath.Dir) (uid, gid int) {
	uid, gid = s.UID, s.GID
	if uid < 0 {
		uid = unix.Geteuid()
	}
	if gid < 0 {
		gid = unix.Getegid()
		if st := dir.Info(); st.Mode&unix.S_ISGID != 0 {
			gid = int(st.Gid)
		}
	}
	return uid, gid
}

// permit gives a socket that was just bound its owner and mode.
func (s *Spec) permit(dir *safepath.Dir, name string) (ID, error) {
	st, err := dir.Lstat(name)
	if err != nil {
		return ID{}, err
	}
	uid, gid := s.owner(dir)
	if uid == int(st.Uid) {
		uid = -1
	}
	if gid == int(st.Gid) {
		gid = -1
	}
	if err := dir.Own(name, uid, gid, uint32(s.Mode)); err != nil {
		if uid >= 0 || gid >= 0 {
			err = fmt.Errorf("%w: %w", ErrOwner, err)
		}
		return ID{}, err
	}
	return idOf(&st), nil
}

// ErrOwner is returned where the process may not give a socket away.
var ErrOwner = errors.New("cannot change the owner of the socket")

// placeTries is how often it is looked again when what lies at the path changes
// under our hands.
const placeTries = 10

// place moves the socket from its temporary name to its path.
func (s *Spec) place(dir *safepath.Dir, temp, name string) (replaced bool, err error) {
	for range placeTries {
		old, owner, err := s.judge(dir, name)
		switch {
		case err != nil:
			return false, err
		case old == (ID{}):
			err = appear(dir, temp, name)
			if err == nil {
				return false, nil
			}
			if !errors.Is(err, unix.EEXIST) {
				return false, err
			}
		default:
			done, err := supersede(dir, temp, name, old)
			if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
				err = &TakenError{Path: s.Path, UID: owner, what: "a dead socket"}
			}
			if done || err != nil {
				return done, err
			}
		}
	}
	return false, unix.EEXIST
}

// appear gives the socket a name that nothing has, or fails with EEXIST.
func appear(dir *safepath.Dir, temp, name string) error {
	err := dir.RenameNew(temp, name)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	// The file system cannot do that.
	if err = dir.Link(temp, name); err == nil {
		return dir.Remove(temp)
	}
	if errors.Is(err, unix.EEXIST) {
		return err
	}
	return dir.Rename(temp, name)
}

// supersede puts the socket in the place of one that was judged to be worthless;
// false if something else lies there by now.
func supersede(dir *safepath.Dir, temp, name string, old ID) (bool, error) {
	switch err := dir.Exchange(temp, name); {
	case errors.Is(err, unix.ENOENT):
		return false, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		return true, dir.Rename(temp, name)
	case err != nil:
		return false, err
	}
	if st, err := dir.Lstat(temp); err != nil || idOf(&st) != old {
		return false, dir.Exchange(temp, name)
	}
	return true, dir.Remove(temp)
}

// judge looks at what has the name: the zero ID if there is nothing, else that of
// a socket that may be replaced, and whose it is.
func (s *Spec) judge(dir *safepath.Dir, name string) (old ID, owner int, err error) {
	st, err := dir.Lstat(name)
	if errors.Is(err, unix.ENOENT) {
		return ID{}, 0, nil
	}
	if err != nil {
		return ID{}, 0, err
	}
	taken := &TakenError{Path: s.Path, UID: int(st.Uid)}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		if leftover(dir, &st) {
			return idOf(&st), int(st.Uid), nil
		}
		taken.what = kindOf(st.Mode)
		return ID{}, 0, taken
	}
	if slices.Contains(s.Reclaim, int(st.Uid)) {
		return idOf(&st), int(st.Uid), nil
	}
	fd, err := dir.Open(name, unix.O_PATH, 0)
	if err != nil {
		return ID{}, 0, err
	}
	defer unix.Close(fd)
	if taken.Listening, taken.PID = answers(fd); taken.Listening {
		return ID{}, 0, taken
	}
	return idOf(&st), int(st.Uid), nil
}

// leftover tells whether a file that is no socket may be replaced, as Supervisor
// does with every one: a plain file of ours with no other name, in a directory of
// ours that nobody else can write.
func leftover(dir *safepath.Dir, st *unix.Stat_t) bool {
	d := dir.Info()
	us := uint32(unix.Geteuid())
	return st.Mode&unix.S_IFMT == unix.S_IFREG && st.Nlink == 1 && st.Uid == us && d.Uid == us && !dir.Shared()
}

func kindOf(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return "a regular file"
	case unix.S_IFDIR:
		return "a directory"
	case unix.S_IFLNK:
		return "a symbolic link"
	case unix.S_IFIFO:
		return "a named pipe"
	}
	return "a device"
}

// answers tells whether somebody listens on the socket whose file is open as fd,
// or may do so, and who.
func answers(fd int) (yes bool, pid int) {
	c, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return true, 0
	}
	defer unix.Close(c)
	switch unix.Connect(c, &unix.SockaddrUnix{Name: procPath(fd)}) {
	case nil:
		if peer, err := unix.GetsockoptUcred(c, unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(peer.Pid)
		}
		return true, pid
	case unix.ECONNREFUSED:
		return false, 0
	}
	return true, 0
}

func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// ErrNotOurs is returned by Adjust where something else than our socket has the
// path.
var ErrNotOurs = errors.New("it is not the socket that was opened there")

// Adjust gives the file of a listening socket the owner and the mode of s. known
// is what Listen has said of it; if that is not known any more, the zero ID, the
// file must be a socket of ours.
func Adjust(s Spec, known ID) (ID, error) {
	dir, name, err := safepath.In(s.Path)
	if err != nil {
		return ID{}, err
	}
	defer dir.Close()
	fd, err := dir.Open(name, unix.O_PATH, 0)
	if err != nil {
		return ID{}, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return ID{}, err
	}
	uid, gid := s.owner(dir)
	owner, id := int(st.Uid), idOf(&st)
	if known == (ID{}) && (owner == uid || owner == unix.Geteuid()) {
		known = id
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK || st.Nlink != 1 || id != known {
		return ID{}, ErrNotOurs
	}
	// What is taken away goes first, and what is added comes last: there is no
	// moment with more rights than one of the two settings gives.
	now, want := st.Mode&0o7777, uint32(s.Mode)&0o7777
	if owner == uid && int(st.Gid) == gid {
		if now != want {
			err = unix.Chmod(procPath(fd), want)
		}
		return id, err
	}
	if err := unix.Chmod(procPath(fd), 0); err != nil {
		return id, err
	}
	err = unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH)
	if err != nil {
		want &= now
	}
	return id, errors.Join(err, unix.Chmod(procPath(fd), want))
}

// Remove removes the file of a socket, if it still is at the path.
func Remove(path string, id ID) error {
	dir, name, err := safepath.In(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	st, err := dir.Lstat(name)
	if err != nil {
		return err
	}
	if idOf(&st) != id {
		return ErrNotOurs
	}
	return dir.Remove(name)
}
