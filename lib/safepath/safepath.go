// Package safepath is the only way to a path that the configuration names:
// logs, their backups, sockets, the pid file, the state directory.
//
// supd is mostly root, and many of these paths lead through directories of
// ordinary users. Whoever owns such a directory can put a link, a hard link or
// another directory where root expects its file, at any moment. So a path is
// not given to the kernel as a whole. It is walked component by component with
// descriptors (openat with O_PATH and O_NOFOLLOW), every directory is looked at
// through its descriptor, and what is done at the end is done relative to it.
//
// # Who acts
//
// As root:
//
//   - While every directory is root's, root acts. Links there are root's doing and
//     are followed.
//   - From the first directory on that belongs to another user, everything is done
//     as that user (the file system credentials of a thread, without any
//     supplementary group, for the time of one call): walking, following links,
//     opening, creating, renaming. What that user could not do alone is not done. It stays so when a link or ".."
//     leads back to a directory of root's.
//   - A step on to a directory of a third user is refused, and so is one into a file
//     system of the kernel's own, such as /proc and /sys.
//   - In a directory of root's that others can write, too (its group or everybody,
//     with or without the sticky bit), a link is followed only if it belongs to root,
//     as fs.protected_symlinks has it, and a file with more than one hard link is
//     refused. In a sticky one a file that belongs to neither root nor the directory's
//     owner is not opened to be written, as fs.protected_regular has it, and not
//     renamed or removed either. The same goes for the shared directories of other
//     users.
//   - Where the process may not change its credentials (a container without
//     CAP_SETUID), or keeps root's privileges when it does (the secure bit
//     no-setuid-fixup), it acts as itself below a user's directory, but follows no link
//     there and opens no file that is not that user's, or its own and has one name; of
//     its own it reads only what everybody may read.
//
// An ordinary user always acts as itself, with the same refusals in shared
// directories. The directory "/" counts as root's.
//
// What it cannot prevent: members of a group that can write in one of root's
// directories can rename what lies in that directory, and so exchange two of its
// files or directories of root's.
//
// # How to use it
//
// For one operation on a path there are functions with the names of package os:
// [OpenFile], [ReadFile], [Stat], [Lstat], [Remove], [Mkdir], [Replace]. They walk
// each time and keep nothing, so nothing can get stale.
//
// For several operations that belong together take a [Dir] (see [In] and
// [OpenDir]) and work relative to it: what was looked at is then what is worked
// on, whatever happens to the names above it. A Dir remembers whom it acts as.
//
//	d, name, err := safepath.In("/var/log/app/out.log") // the directory, "out.log"
//	…
//	defer d.Close()
//	fd, err := d.Open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
//	err = d.Rename(name, name+".1")
//
// A state directory is opened once with [OpenDir] (or [MakeDir]), kept, and
// everything in it is a method of its Dir. A socket is made by [Dir.Bind] under a
// temporary name, with its mode from birth, given its owner by [Dir.Own], and moved
// into place by [Dir.Rename] or [Dir.Link].
//
// Nothing here gives a file to another owner or another mode by its name: a
// regular file is chmodded and chowned by its descriptor, a socket through a
// descriptor of its name that was looked at.
//
// [Writers] says who could change what a path leads to.
//
// It needs Linux 4.18, and /proc for [Dir.Bind], [Dir.Own] and directories with
// access control lists.
package safepath

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Dir is a directory that was reached by a walk, and whom to act as in it. Its
// methods may be called by several goroutines; after Close none may.
type Dir struct {
	fd   int
	path string // as it was reached, for messages
	st   unix.Stat_t

	// as is the user that everything is done as, ownAccount for ourselves;
	// because is the directory that made it so.
	as      int
	because string
	// bound is set where we should act as a user and may not change to it.
	bound bool
	// shared: others than the owner can write here.
	shared bool
}

// ownAccount as a user means the process's own credentials.
const ownAccount = -1

// maxLinks is how many links a path may lead through, as the kernel has it.
const maxLinks = 40

// In walks to the directory that path lies in, and gives the last component,
// which is not looked at.
func In(path string) (*Dir, string, error) {
	d, name, err := find(path, walk{})
	if err == nil && name == "" {
		d.Close()
		err = unix.EISDIR
	}
	return d, name, err
}

// At is In, but where the last component is a link that may be followed it gives
// the directory and the name that the link leads to. There need be nothing of
// that name.
func At(path string) (*Dir, string, error) {
	d, name, err := find(path, walk{follow: true})
	if err == nil && name == "" {
		d.Close()
		err = unix.EISDIR
	}
	return d, name, err
}

// OpenDir walks to a directory.
func OpenDir(path string) (*Dir, error) {
	d, _, err := find(path, walk{follow: true, enter: true})
	return d, err
}

func find(path string, w walk) (d *Dir, name string, err error) {
	err = w.to(path, func() error {
		d, name, w.dir = w.dir, w.name, nil
		return nil
	})
	return d, name, err
}

// Close gives the descriptor back.
func (d *Dir) Close() error {
	if d == nil || d.fd < 0 {
		return nil
	}
	fd := d.fd
	d.fd = -1
	return unix.Close(fd)
}

// Path is how the directory was reached, with links followed.
func (d *Dir) Path() string { return d.path }

// FD is the descriptor (O_PATH). It belongs to d. What is done with it directly
// is done as the process, not as the directory's owner.
func (d *Dir) FD() int { return d.fd }

// Info is what the directory was when it was reached.
func (d *Dir) Info() unix.Stat_t { return d.st }

// Owner is the user that everything is done as, and whether that is another
// than the process's own.
func (d *Dir) Owner() (uid int, foreign bool) {
	if d.as == ownAccount {
		return unix.Geteuid(), false
	}
	return d.as, true
}

// Shared tells whether others than the owner can write in the directory.
func (d *Dir) Shared() bool { return d.shared }

// Sticky tells whether only its owner can rename or remove what lies in it.
func (d *Dir) Sticky() bool { return d.st.Mode&unix.S_ISVTX != 0 }

// actor is the uid that acts.
func (d *Dir) actor() int {
	uid, _ := d.Owner()
	return uid
}

// maker is the uid that what is made in the directory has.
func (d *Dir) maker() int {
	if d.bound {
		return unix.Geteuid()
	}
	return d.actor()
}

// run does something in the directory as whoever is to act there.
func (d *Dir) run(f func() error) error {
	if d.bound {
		return f()
	}
	return actAs(d.as, f)
}

// walk is one walk. It holds the directory where it is.
type walk struct {
	follow bool // follow a link at the end
	enter  bool // the end is a directory, to be entered
	// observe, if set, sees each step; then no step is refused and root acts
	// throughout: nothing but looks are taken.
	observe func(step)

	path  string
	dir   *Dir
	lies  unix.Stat_t // the directory that the path lies in, before a link at its end is followed
	ends  bool        // lies is known
	name  string      // what is left at the end, "" for the directory itself
	magic bool        // name is a link of procfs that only the kernel can follow
	todo  string
	links int
}

// errActor is returned by the steps when somebody else has to go on.
var errActor = errors.New("another actor")

// to walks to path and calls arrived there, as whoever is to act.
func (w *walk) to(path string, arrived func() error) error {
	if path == "" || strings.IndexByte(path, 0) >= 0 {
		return unix.ENOENT
	}
	w.path, w.todo = path, path
	start := "."
	if path[0] == '/' {
		start = "/"
	}
	if err := w.restart(start); err != nil {
		return err
	}
	defer func() { w.dir.Close() }()
	for {
		dir := w.dir
		err := dir.run(func() error {
			if err := w.steps(); err != nil {
				return err
			}
			return arrived()
		})
		if err != errActor {
			return err
		}
	}
}

// restart goes on from "/", or begins at the current directory. Who acts stays.
func (w *walk) restart(start string) error {
	fd, err := openat(unix.AT_FDCWD, start, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	if err := w.arrive(fd, start); err != errActor {
		return err
	}
	return nil
}

// steps takes one component after the other, until the end or until somebody
// else has to act.
func (w *walk) steps() error {
	for {
		w.todo = strings.TrimLeft(w.todo, "/")
		name, rest, _ := strings.Cut(w.todo, "/")
		if name == "" {
			w.name = ""
			return nil
		}
		last := strings.Trim(rest, "/") == ""
		if last && !w.enter && name != "." && name != ".." {
			if err := w.end(name); err != errFollowed {
				return err
			}
			continue
		}
		if name == "." {
			w.todo = rest
			continue
		}
		if err := w.step(name, rest); err != nil {
			return err
		}
	}
}

// errFollowed says that a link was followed and the walk goes on.
var errFollowed = errors.New("followed")

// end handles the last component.
func (w *walk) end(name string) error {
	if !w.ends {
		w.lies, w.ends = w.dir.st, true
	}
	var st unix.Stat_t
	if w.follow || w.observe != nil {
		err := fstatat(w.dir.fd, name, &st)
		if err == unix.ENOENT {
			w.saw(name, nil)
		} else if err != nil {
			return w.dir.explain(w.path, name, err)
		} else {
			w.saw(name, &st)
		}
	}
	if !w.follow || st.Mode&unix.S_IFMT != unix.S_IFLNK {
		w.name = name
		return nil
	}
	return w.link(name, "")
}

// step goes to the directory name, or to where a link of that name leads.
func (w *walk) step(name, rest string) error {
	if w.observe != nil {
		var st unix.Stat_t
		if fstatat(w.dir.fd, name, &st) == nil {
			w.saw(name, &st)
		} else {
			w.saw(name, nil)
		}
	}
	// With O_DIRECTORY first, so that what is mounted on demand gets mounted.
	fd, err := openat(w.dir.fd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err == unix.ENOTDIR || err == unix.ELOOP {
		var st unix.Stat_t
		if err := fstatat(w.dir.fd, name, &st); err != nil {
			return w.dir.explain(w.path, name, err)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			return unix.ENOTDIR
		}
		if err := w.link(name, rest); err != errFollowed {
			return err
		}
		return nil
	}
	if err != nil {
		return w.dir.explain(w.path, name, err)
	}
	w.todo = rest
	return w.arrive(fd, join(w.dir.path, name))
}

// arrive makes the directory fd the one where the walk is. The error is
// errActor if somebody else has to go on.
func (w *walk) arrive(fd int, path string) error {
	d := &Dir{fd: fd, path: path, as: ownAccount}
	if err := unix.Fstat(fd, &d.st); err != nil {
		unix.Close(fd)
		return err
	}
	d.shared = shared(fd, &d.st)
	before := w.dir
	if before != nil {
		d.as, d.because, d.bound = before.as, before.because, before.bound
	}
	if w.observe == nil && path != "/" {
		if err := w.whoActs(d); err != nil {
			unix.Close(fd)
			return err
		}
	}
	before.Close()
	w.dir = d
	w.entered()
	if before != nil && before.as != d.as {
		return errActor
	}
	return nil
}

// whoActs decides who acts from a directory on.
func (w *walk) whoActs(d *Dir) error {
	owner := int(d.st.Uid)
	switch {
	case unix.Geteuid() != 0 || owner == d.as || owner == 0 && !d.bound:
		return w.notKernels(d)
	case d.as == ownAccount:
		d.as, d.because = owner, d.path
		d.bound = !canBecome(owner)
		return w.notKernels(d)
	}
	return &Error{
		Path: w.path, At: d.path, UID: owner, Err: unix.EACCES,
		why: "belongs to " + UserName(owner) + ", but the way to it leads through " + shown(d.because) + " of " + UserName(d.as) +
			", who could exchange it; hint: let one user, or root, own every directory of the path",
	}
}

// notKernels refuses the kernel's own file systems to whoever acts as another
// user. Some of their files ask for the effective user of the process and not for
// whom it acts as: with that root's settings below /proc/sys could be written
// through a user's link.
func (w *walk) notKernels(d *Dir) error {
	if d.as == ownAccount || !slices.Contains(kernels, d.fileSystem()) {
		return nil
	}
	return &Error{
		Path: w.path, At: d.path, UID: d.as, Err: unix.ELOOP,
		why: "is the kernel's and cannot be reached through " + shown(d.because) + " of " + UserName(d.as) +
			"; hint: name what the link leads to in the configuration, or let root own " + shown(d.because),
	}
}

// kernels are the file systems in which files are the kernel's.
var kernels = []int64{
	unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC,
	unix.SECURITYFS_MAGIC, unix.SELINUX_MAGIC, unix.SMACK_MAGIC, unix.BINFMTFS_MAGIC, unix.BPF_FS_MAGIC, unix.EFIVARFS_MAGIC, unix.PSTOREFS_MAGIC,
	unix.RDTGROUP_SUPER_MAGIC, unix.NSFS_MAGIC,
}

// fileSystem is the type of the file system that the directory lies in, 0 if that
// cannot be told.
func (d *Dir) fileSystem() int64 {
	var st unix.Statfs_t
	if unix.Fstatfs(d.fd, &st) != nil {
		return 0
	}
	return int64(uint32(st.Type))
}

// link follows the link name in the present directory, if that may be done.
// rest is what comes behind it. On success the error is errFollowed, errActor,
// or nil where the kernel has to follow it.
func (w *walk) link(name, rest string) error {
	if w.links++; w.links > maxLinks {
		return unix.ELOOP
	}
	if w.dir.magical() {
		return w.magicLink(name, rest)
	}
	target, err := w.target(name)
	if err != nil {
		return w.dir.explain(w.path, name, err)
	}
	if target == "" {
		return unix.ENOENT
	}
	w.todo = target
	if rest != "" {
		w.todo += "/" + rest
	}
	if target[0] == '/' {
		if err := w.restart("/"); err != nil {
			return err
		}
	}
	return errFollowed
}

// target is the text of a link, if it may be followed. What is looked at is what
// is read: others may exchange the name for another link at any moment.
func (w *walk) target(name string) (string, error) {
	fd, err := openat(w.dir.fd, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", err
	}
	if kind(&st) != unix.S_IFLNK {
		return "", unix.ELOOP // it was one a moment ago
	}
	if w.observe == nil {
		if err := w.mayFollow(name, &st); err != nil {
			return "", err
		}
	}
	return readlinkat(fd, "")
}

// mayFollow is nil if a link may be followed.
func (w *walk) mayFollow(name string, st *unix.Stat_t) error {
	d, owner := w.dir, int(st.Uid)
	refuse := func(why string) error {
		return &Error{Path: w.path, At: join(d.path, name), UID: owner, Err: unix.ELOOP, why: why}
	}
	switch {
	case d.bound:
		return refuse("is a link in " + shown(d.because) + " of " + UserName(d.as) + ", which is not followed since the process may not act as that user; hint: name what it leads to in the configuration")
	case !d.shared:
		return nil
	case owner != 0 && owner != d.actor() && owner != int(d.st.Uid):
		return refuse("is a link that " + UserName(owner) + " has put into a directory that others can write, too; hint: remove it, or let root own it")
	case st.Nlink > 1:
		return refuse("is a link with several names in a directory that others can write, too; hint: remove it and make it again")
	}
	return nil
}

// magicLink follows a link of procfs below a process's directory, whose text is
// no path. Whoever acts as a user, who must not reach our descriptors, does not
// come here (see notKernels).
func (w *walk) magicLink(name, rest string) error {
	if strings.Trim(rest, "/") == "" && !w.enter {
		w.name, w.magic = name, true
		return nil
	}
	fd, err := openat(w.dir.fd, name, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	w.todo = rest
	if err := w.arrive(fd, join(w.dir.path, name)); err != nil {
		return err
	}
	return errFollowed
}

// magical tells whether links in the directory are those of procfs that stand
// for a descriptor, a root or a working directory.
func (d *Dir) magical() bool {
	const procRoot = 1 // the inode of /proc, whose links are texts
	return d.st.Ino != procRoot && d.fileSystem() == unix.PROC_SUPER_MAGIC
}

// shared tells whether others than its owner can write in a directory. A group
// of root's is as good as root, unless an access control list hides behind it.
func shared(fd int, st *unix.Stat_t) bool {
	switch {
	case st.Mode&unix.S_IWOTH != 0:
		return true
	case st.Mode&unix.S_IWGRP == 0:
		return false
	}
	return st.Gid != 0 || hasACL(fd)
}

func hasACL(fd int) bool {
	n, err := unix.Getxattr(procPath(fd), "system.posix_acl_access", nil)
	return err == nil && n > 0
}

func join(dir, name string) string {
	if dir == "/" {
		return dir + name
	}
	return filepath.Clean(dir + "/" + name)
}

// pathError gives the errors of functions that take a path the form that those of
// package os have.
func pathError(op, path string, err error) error {
	var own *Error
	if err == nil || errors.As(err, &own) {
		return err
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}
