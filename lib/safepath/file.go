package safepath

import (
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Open opens a file in the directory, as open(2) with these flags does. It never
// waits (O_NONBLOCK stays set), never follows a link, and never makes a terminal
// ours. A file that might be somebody else's is refused, see the package's
// comment, and with O_TRUNC emptied only after that.
func (d *Dir) Open(name string, flags int, mode uint32) (fd int, err error) {
	fd = -1
	err = d.do(name, func() error {
		fd, err = d.open(name, opening{flags: flags, mode: mode})
		return err
	})
	return fd, err
}

// OpenFile is Open with the result of package os.
func (d *Dir) OpenFile(name string, flags int, mode uint32) (*os.File, error) {
	fd, err := d.Open(name, flags, mode)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), join(d.path, name)), nil
}

// opening is how a file is to be opened.
type opening struct {
	path    string // what was asked for, for messages
	flags   int
	mode    uint32
	magic   bool // the name is a link of procfs, to be followed by the kernel
	private bool // what is there must belong to whoever acts
}

// open is Open for whoever acts already.
func (d *Dir) open(name string, o opening) (int, error) {
	how := o.flags&^(unix.O_CREAT|unix.O_EXCL|unix.O_TRUNC) | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_NOFOLLOW
	if o.magic {
		how &^= unix.O_NOFOLLOW
	}
	for range maxLinks {
		if o.flags&unix.O_EXCL == 0 {
			fd, err := openat(d.fd, name, how, 0)
			if err == nil {
				return d.admit(name, fd, &o)
			}
			if err != unix.ENOENT || o.flags&unix.O_CREAT == 0 {
				return -1, err
			}
		}
		// Made here or not opened: then its owner and mode need no look.
		fd, err := openat(d.fd, name, how|unix.O_CREAT|unix.O_EXCL, o.mode)
		if err == nil && d.bound {
			// As if its owner had made it, if we may.
			_ = unix.Fchown(fd, d.as, groupOf(d.as))
		}
		if err != unix.EEXIST || o.flags&unix.O_EXCL != 0 {
			return fd, err
		}
		var st unix.Stat_t
		if fstatat(d.fd, name, &st) == nil && kind(&st) == unix.S_IFLNK {
			return -1, unix.ELOOP
		}
	}
	return -1, unix.EEXIST
}

// admit gives fd back if it may be used, and closes it otherwise.
func (d *Dir) admit(name string, fd int, o *opening) (int, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	if err == nil && !o.magic {
		err = d.trust(name, &st, o)
	}
	if err == nil && o.flags&unix.O_TRUNC != 0 && kind(&st) == unix.S_IFREG {
		err = unix.Ftruncate(fd, 0)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// trust is nil unless somebody who could not do so alone would have a file used
// by having put it under a name here.
func (d *Dir) trust(name string, st *unix.Stat_t, o *opening) error {
	owner, me := int(st.Uid), d.actor()
	refuse := func(errno unix.Errno, why string) error {
		at := join(d.path, name)
		path := o.path
		if path == "" {
			path = at
		}
		return &Error{Path: path, At: at, UID: owner, Err: errno, why: why}
	}
	k := kind(st)
	file := k == unix.S_IFREG || k == unix.S_IFIFO
	reads := o.flags&(unix.O_ACCMODE|unix.O_CREAT) == unix.O_RDONLY
	others := d.shared || int(d.st.Uid) != me && d.st.Uid != 0
	if d.bound && owner == d.maker() && k == unix.S_IFREG && st.Nlink == 1 && (!reads || st.Mode&unix.S_IROTH != 0) {
		// As what we have made here. The directory's owner could replace it anyway, but
		// is not to be shown what is not for everybody.
		return nil
	}
	switch {
	case d.bound && owner != d.as && k != unix.S_IFSOCK:
		return refuse(unix.EACCES, "of "+UserName(owner)+" lies in "+shown(d.because)+" of "+UserName(d.as)+", as whom the process may not act; hint: give it to that user")
	case file && o.private && owner != me:
		return refuse(unix.EACCES, "belongs to "+UserName(owner)+", who would get what is meant for "+UserName(me)+" alone; hint: remove it")
	case file && !reads && d.shared && d.Sticky() && owner != me && owner != int(d.st.Uid):
		return refuse(unix.EACCES, "belongs to "+UserName(owner)+", in a directory where everybody can make files; hint: remove it, or use a directory of its own")
	case k != unix.S_IFDIR && k != unix.S_IFSOCK && st.Nlink > 1 && others:
		return refuse(unix.EMLINK, "has other names, in a directory where others than "+UserName(me)+" could have linked it; hint: remove the name and make the file again")
	}
	return nil
}

// Open opens what a path leads to, with links at the end followed. See [Dir.Open].
func Open(path string, flags int, mode uint32) (fd int, err error) {
	fd = -1
	err = arrive(path, func(w *walk) error {
		if w.name == "" {
			if flags&(unix.O_ACCMODE|unix.O_CREAT) != 0 {
				return unix.EISDIR
			}
			fd, err = openat(w.dir.fd, ".", flags, 0)
			return err
		}
		fd, err = w.dir.open(w.name, opening{path: path, flags: flags, mode: mode, magic: w.magic})
		return err
	})
	return fd, err
}

// arrive walks to the end of a path, following links, and has f work there. If a
// link has just come into its place, it walks again.
func arrive(path string, f func(*walk) error) (err error) {
	for range maxLinks {
		w := walk{follow: true}
		err = w.to(path, func() error { return w.dir.explain(path, w.name, f(&w)) })
		if err != unix.ELOOP || w.links > maxLinks {
			break
		}
	}
	return err
}

// Log is a log that was opened to be written.
type Log struct {
	FD       int
	Readable bool        // it is open for reading, too
	Dir      unix.Stat_t // the directory of its path
}

// OpenLog opens a log for writing, and creates it if need be. A regular file is
// opened for reading as well, if it may be, and what is none must not be: of a
// FIFO we would be the reader. A private log must belong to whoever acts.
func OpenLog(path string, mode uint32, private bool) (l Log, err error) {
	err = arrive(path, func(w *walk) error {
		l = Log{FD: -1, Dir: w.lies}
		if w.name == "" {
			return unix.EISDIR
		}
		var before unix.Stat_t
		look := unix.AT_SYMLINK_NOFOLLOW
		if w.magic {
			look = 0
		}
		o := opening{path: path, flags: unix.O_RDWR | unix.O_CREAT, mode: mode, magic: w.magic, private: private}
		if unix.Fstatat(w.dir.fd, w.name, &before, look) == nil && kind(&before) != unix.S_IFREG {
			o.flags = unix.O_WRONLY | unix.O_CREAT
		}
		fd, err := w.dir.open(w.name, o)
		if err == unix.EACCES && o.flags&unix.O_ACCMODE == unix.O_RDWR {
			o.flags = unix.O_WRONLY | unix.O_CREAT
			fd, err = w.dir.open(w.name, o)
		}
		l.FD, l.Readable = fd, o.flags&unix.O_ACCMODE == unix.O_RDWR
		return err
	})
	return l, err
}

// CheckLog gives the refusal, an [*Error], that a log of this path would meet now,
// or nil. It makes nothing, and opens regular files only.
func CheckLog(path string, private bool) error {
	err := arrive(path, func(w *walk) error {
		if w.name == "" || w.magic {
			return nil
		}
		var st unix.Stat_t
		err := fstatat(w.dir.fd, w.name, &st)
		_, foreign := w.dir.Owner()
		switch {
		case err == unix.ENOENT, err == nil && foreign && !w.dir.bound && st.Uid == 0 && kind(&st) == unix.S_IFREG:
			// It is to be made; what root has left in a user's directory is put aside.
			return unix.Faccessat(w.dir.fd, ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS)
		case err != nil || kind(&st) != unix.S_IFREG:
			return err
		}
		fd, err := w.dir.open(w.name, opening{path: path, flags: unix.O_WRONLY, private: private})
		if err == nil {
			unix.Close(fd)
		}
		return err
	})
	if refused := (*Error)(nil); errors.As(err, &refused) {
		return refused
	}
	return nil
}

// OpenFile is Open with the result, and the errors, of package os.
func OpenFile(path string, flags int, mode uint32) (*os.File, error) {
	fd, err := Open(path, flags, mode)
	if err != nil {
		return nil, pathError("open", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Stat looks at what a path leads to.
func Stat(path string) (st unix.Stat_t, err error) {
	w := walk{follow: true}
	err = w.to(path, func() error {
		if w.name == "" {
			return unix.Fstat(w.dir.fd, &st)
		}
		if w.magic {
			return unix.Fstatat(w.dir.fd, w.name, &st, 0)
		}
		return w.dir.explain(path, w.name, fstatat(w.dir.fd, w.name, &st))
	})
	return st, pathError("stat", path, err)
}

// Lstat looks at what has the name, also if that is a link.
func Lstat(path string) (st unix.Stat_t, err error) {
	w := walk{}
	err = w.to(path, func() error {
		if w.name == "" {
			return unix.Fstat(w.dir.fd, &st)
		}
		return w.dir.explain(path, w.name, fstatat(w.dir.fd, w.name, &st))
	})
	return st, pathError("lstat", path, err)
}

// ErrTooLong is returned by ReadFile.
const ErrTooLong = unix.EFBIG

// ReadFile reads a regular file of at most max bytes.
func ReadFile(path string, max int64) ([]byte, error) {
	f, err := OpenFile(path, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	return readAll(f, max)
}

// ReadFile reads a regular file of at most max bytes.
func (d *Dir) ReadFile(name string, max int64) ([]byte, error) {
	f, err := d.OpenFile(name, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	return readAll(f, max)
}

func readAll(f *os.File, max int64) ([]byte, error) {
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, pathError("read", f.Name(), unix.EINVAL)
	}
	content, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(content)) > max {
		err = pathError("read", f.Name(), ErrTooLong)
	}
	return content, err
}

// Remove removes the name that path ends with, which is no directory's.
func Remove(path string) error {
	w := walk{}
	return pathError("remove", path, w.to(path, func() error {
		if w.name == "" {
			return unix.EISDIR
		}
		return w.dir.explain(path, w.name, w.dir.unlink(w.name))
	}))
}

// Mkdir makes a directory, which belongs to whoever acts where it lies.
func Mkdir(path string, mode uint32) error {
	w := walk{}
	return pathError("mkdir", path, w.to(path, func() error {
		if w.name == "" {
			return unix.EEXIST
		}
		return w.dir.explain(path, w.name, unix.Mkdirat(w.dir.fd, w.name, mode))
	}))
}

// MkdirAll makes a directory and those above it that are missing.
func MkdirAll(path string, mode uint32) error {
	d, err := OpenDir(path)
	if err == nil {
		return d.Close()
	}
	if err != unix.ENOENT {
		return pathError("mkdir", path, err)
	}
	// Not by filepath.Dir, which takes ".." for something that texts decide.
	above := strings.TrimRight(path, "/")
	if above = strings.TrimRight(above[:strings.LastIndexByte(above, '/')+1], "/"); above != "" {
		if err := MkdirAll(above, mode); err != nil {
			return err
		}
	}
	err = Mkdir(path, mode)
	if os.IsExist(err) {
		return nil
	}
	return err
}

// Replace gives the file that a path leads to a new content as a whole. A link is
// followed where that may be done, and replaced where not. See [Dir.Replace].
func Replace(path string, content []byte, mode uint32) error {
	d, name, err := At(path)
	if err == unix.ELOOP || isRefusal(err) {
		d, name, err = In(path)
	}
	if err != nil {
		return pathError("replace", path, err)
	}
	defer d.Close()
	return pathError("replace", path, d.Replace(name, content, mode))
}

func isRefusal(err error) bool {
	e, ok := err.(*Error)
	return ok && e.Err == unix.ELOOP
}
