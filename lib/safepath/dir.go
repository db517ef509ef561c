package safepath

import (
	"crypto/rand"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Names given to the methods of a Dir are single components; the last one is
// never followed.

// single refuses what is no single component.
func single(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return unix.EINVAL
	}
	return nil
}

// do runs one operation on name as whoever is to act.
func (d *Dir) do(name string, f func() error) error {
	if err := single(name); err != nil {
		return err
	}
	return d.explain("", name, d.run(f))
}

// Lstat looks at what has a name.
func (d *Dir) Lstat(name string) (st unix.Stat_t, err error) {
	err = d.do(name, func() error { return fstatat(d.fd, name, &st) })
	return st, err
}

// Now looks at the directory itself as it is at present.
func (d *Dir) Now() (st unix.Stat_t, err error) {
	err = unix.Fstat(d.fd, &st)
	return st, err
}

// Readlink gives the text of a symbolic link.
func (d *Dir) Readlink(name string) (text string, err error) {
	err = d.do(name, func() error {
		text, err = readlinkat(d.fd, name)
		return err
	})
	return text, err
}

// Rename gives what has the name from the name to; what had that name is
// replaced.
func (d *Dir) Rename(from, to string) error { return d.rename(from, to, 0) }

// RenameNew is Rename, but fails with EEXIST where something has the name. File
// systems that cannot do that give EINVAL.
func (d *Dir) RenameNew(from, to string) error { return d.rename(from, to, unix.RENAME_NOREPLACE) }

// Exchange gives two things each other's name. File systems that cannot do that
// give EINVAL.
func (d *Dir) Exchange(a, b string) error { return d.rename(a, b, unix.RENAME_EXCHANGE) }

func (d *Dir) rename(from, to string, flags uint) error {
	if err := single(to); err != nil {
		return err
	}
	return d.do(from, func() error {
		if err := d.mine(from); err != nil {
			return err
		}
		if err := d.mine(to); err != nil {
			return err
		}
		return unix.Renameat2(d.fd, from, d.fd, to, flags)
	})
}

// Theirs tells whether something belongs to a stranger in a sticky directory, and
// can therefore not be renamed or removed.
func (d *Dir) Theirs(name string) bool { return d.mine(name) != nil }

// mine refuses what belongs to strangers in a sticky directory: root could rename
// and remove it, others cannot. A link is nothing that anybody would miss; whether
// somebody would miss a socket, and whose one may be that was given away, those
// know who make sockets.
func (d *Dir) mine(name string) error {
	if !d.shared || !d.Sticky() {
		return nil
	}
	var st unix.Stat_t
	if fstatat(d.fd, name, &st) != nil || kind(&st) == unix.S_IFLNK || kind(&st) == unix.S_IFSOCK {
		return nil
	}
	owner := int(st.Uid)
	if owner == d.actor() || owner == d.maker() || owner == int(d.st.Uid) {
		return nil
	}
	at := join(d.path, name)
	return &Error{
		Path: at, At: at, UID: owner, Err: unix.EPERM,
		why: "belongs to " + UserName(owner) + " and is left alone, in a directory where everybody can make files; hint: remove it, or use a directory of its own",
	}
}

// Link makes another name for a file.
func (d *Dir) Link(from, to string) error {
	if err := single(to); err != nil {
		return err
	}
	return d.do(from, func() error { return unix.Linkat(d.fd, from, d.fd, to, 0) })
}

// Remove removes a name that is no directory's.
func (d *Dir) Remove(name string) error {
	return d.do(name, func() error { return d.unlink(name) })
}

func (d *Dir) unlink(name string) error {
	if err := d.mine(name); err != nil {
		return err
	}
	return unix.Unlinkat(d.fd, name, 0)
}

// RemoveDir removes an empty directory.
func (d *Dir) RemoveDir(name string) error {
	return d.do(name, func() error { return unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR) })
}

// Mkdir makes a directory, which belongs to whoever acts.
func (d *Dir) Mkdir(name string, mode uint32) error {
	return d.do(name, func() error { return unix.Mkdirat(d.fd, name, mode) })
}

// Enter gives the directory name. A link of that name is not followed.
func (d *Dir) Enter(name string) (*Dir, error) {
	if err := single(name); err != nil {
		return nil, err
	}
	w := walk{path: join(d.path, name)}
	fd := -1
	err := d.do(name, func() (err error) {
		fd, err = openat(d.fd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	sub := &Dir{fd: fd, path: w.path, as: d.as, because: d.because, bound: d.bound}
	err = unix.Fstat(fd, &sub.st)
	if err == nil {
		sub.shared = shared(fd, &sub.st)
		err = w.whoActs(sub)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return sub, nil
}

// MakeDir is Enter, but makes the directory if there is none.
func (d *Dir) MakeDir(name string, mode uint32) (*Dir, error) {
	if err := d.Mkdir(name, mode); err != nil && err != unix.EEXIST {
		// What is there may do on a file system that cannot be written.
		if sub, eerr := d.Enter(name); eerr == nil {
			return sub, nil
		}
		return nil, err
	}
	return d.Enter(name)
}

// Names lists the directory, sorted.
func (d *Dir) Names() ([]string, error) {
	return d.Match(func(string) bool { return true })
}

// mostNames bounds a listing: whoever owns a directory can fill it.
const mostNames = 1 << 19

// Match lists the names that match, sorted. Others take no memory. More than half
// a million are an error, EFBIG.
func (d *Dir) Match(match func(string) bool) ([]string, error) {
	fd := -1
	err := d.run(func() (err error) {
		fd, err = openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		return err
	})
	if err != nil {
		return nil, d.explain(d.path, ".", err)
	}
	f := os.NewFile(uintptr(fd), d.path)
	defer f.Close()
	var names []string
	for {
		some, err := f.Readdirnames(1000)
		for _, name := range some {
			if match(name) {
				names = append(names, name)
			}
		}
		switch {
		case len(names) > mostNames:
			return nil, unix.EFBIG
		case err == io.EOF:
			slices.Sort(names)
			return names, nil
		case err != nil:
			return nil, err
		}
	}
}

// MakeLike makes the directory name anew with the owner and the mode that it had
// before, or the owner of the directory around it if was is nil. Below a user's
// directory it is that user's; where we may not give it away it is ours.
func (d *Dir) MakeLike(name string, was *unix.Stat_t) error {
	var before unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &before)
	if err := d.Mkdir(name, 0o755); err != nil {
		return err
	}
	return d.do(name, func() error {
		fd, err := openat(d.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if !d.isNew(fd, before) {
			return nil
		}
		like := &d.st
		if was != nil {
			like = was
		}
		// The owner first: a change of it may cost bits of the mode.
		if unix.Fchown(fd, int(like.Uid), int(like.Gid)) != nil {
			_ = unix.Fchown(fd, -1, int(like.Gid))
		}
		if was != nil {
			_ = unix.Fchmod(fd, was.Mode&0o7777)
		}
		return nil
	})
}

// isNew tells whether an open directory is one that whoever acts has just made.
// In a directory where others can rename things it must have been born after
// before.
func (d *Dir) isNew(fd int, before unix.Timespec) bool {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || int(st.Uid) != d.maker() {
		return false
	}
	if !d.bound && (!d.shared || d.Sticky()) {
		return true
	}
	var x unix.Statx_t
	if unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &x) != nil || x.Mask&unix.STATX_BTIME == 0 {
		return false
	}
	return x.Btime.Sec > int64(before.Sec) || x.Btime.Sec == int64(before.Sec) && int64(x.Btime.Nsec) >= int64(before.Nsec)
}

// Bind binds a unix socket to a name, which must be free. The file has the mode
// of the socket, which is to be set by fchmod(2) before, less the umask, and
// belongs to whoever acts.
func (d *Dir) Bind(socket int, name string) error {
	return d.do(name, func() error {
		return unix.Bind(socket, &unix.SockaddrUnix{Name: procPath(d.fd) + "/" + name})
	})
}

// Connect connects a unix socket to the one of a name.
func (d *Dir) Connect(socket int, name string) error {
	return d.do(name, func() error {
		_, err := retry(func() (struct{}, error) {
			return struct{}{}, unix.Connect(socket, &unix.SockaddrUnix{Name: procPath(d.fd) + "/" + name})
		})
		return err
	})
}

// Own gives a socket's file an owner, a group (-1: as it is) and a mode. It must
// be a socket that belongs to whoever acts and has one name: one that was just
// made. It is found by whoever acts, and then changed by the process itself.
func (d *Dir) Own(name string, uid, gid int, mode uint32) error {
	fd := -1
	err := d.do(name, func() (err error) {
		fd, err = openat(d.fd, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
		return err
	})
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if kind(&st) != unix.S_IFSOCK || int(st.Uid) != d.maker() || st.Nlink != 1 {
		return unix.EPERM
	}
	if uid >= 0 || gid >= 0 {
		if err := unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH); err != nil {
			return err
		}
	}
	// The mode of what a descriptor of O_PATH stands for can be changed through
	// procfs, whose link leads to the very inode.
	return unix.Chmod(procPath(fd), mode&0o7777)
}

// Temp gives a name that begins with prefix and cannot be guessed.
func Temp(prefix string) string { return prefix + "." + strings.ToLower(rand.Text()[:12]) }

// Replace gives a file a new content as a whole: readers see the old or the new
// one. What has the name and is neither a regular file nor a link is left alone,
// with EEXIST.
func (d *Dir) Replace(name string, content []byte, mode uint32) error {
	switch st, err := d.Lstat(name); {
	case err == unix.ENOENT:
	case err != nil:
		return err
	case kind(&st) != unix.S_IFREG && kind(&st) != unix.S_IFLNK:
		return &Error{
			Path: join(d.path, name), At: join(d.path, name), UID: int(st.Uid), Err: unix.EEXIST,
			why: "of " + UserName(int(st.Uid)) + " is no regular file and is not replaced; hint: remove it, or name another path",
		}
	}
	temp := Temp(name)
	f, err := d.OpenFile(temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, mode)
	if err != nil {
		return d.Meaning(name, temp, err)
	}
	_, err = f.Write(content)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = d.Rename(temp, name)
	}
	if err != nil {
		_ = d.Remove(temp)
	}
	return err
}
