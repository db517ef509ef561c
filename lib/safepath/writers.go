package safepath

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Writer is somebody who could change what a path leads to.
type Writer struct {
	Path string // the directory, link or file that lets them
	What string // "directory", "link", "file"
	UID  int    // the user, -1 if it is a group or everybody
	GID  int    // the group, -1 if it is a user or everybody
	Make string // the name that they could be the first to make there, "" if something has it
}

// Who names them: "every user", "group 27", "user 1000".
func (w Writer) Who() string {
	switch {
	case w.UID >= 0:
		return "user " + strconv.Itoa(w.UID)
	case w.GID >= 0:
		return "group " + strconv.Itoa(w.GID)
	}
	return "every user"
}

// String is a clause with the reason and the place.
func (w Writer) String() string {
	switch {
	case w.Make != "":
		return fmt.Sprintf("%s can make %s in the directory %s", w.Who(), w.Make, w.Path)
	case w.UID >= 0:
		return fmt.Sprintf("the %s %s belongs to %s", w.What, w.Path, w.Who())
	}
	return fmt.Sprintf("the %s %s is writable by %s", w.What, w.Path, w.Who())
}

// step is what an observer of a walk sees: a directory that was entered (name is
// ""), or what lies under a name in it, st nil if nothing does.
type step struct {
	dir  *Dir
	name string
	st   *unix.Stat_t
}

func (w *walk) saw(name string, st *unix.Stat_t) {
	if w.observe != nil {
		w.observe(step{w.dir, name, st})
	}
}

func (w *walk) entered() {
	if w.observe != nil {
		w.observe(step{dir: w.dir})
	}
}

// Writers says who, beside root and ourselves, could change what a path leads
// to, or what is there: it looks at every directory and every link on the way,
// and at the end. The first on the way comes first. That there is nothing at the
// end, or further up, is no error; then it matters who could be the first to make
// it. In a sticky directory of root's (/tmp) what lies there is only its owner's
// to change.
func Writers(path string) ([]Writer, error) {
	var found []Writer
	me := uint32(os.Geteuid())
	trusted := func(uid uint32) bool { return uid == 0 || uid == me }
	add := func(w Writer) { found = append(found, w) }
	writable := func(at, what string, st *unix.Stat_t, acl bool) {
		switch {
		case !trusted(st.Uid):
			add(Writer{Path: at, What: what, UID: int(st.Uid), GID: -1})
		case st.Mode&unix.S_IWOTH != 0:
			add(Writer{Path: at, What: what, UID: -1, GID: -1})
		case st.Mode&unix.S_IWGRP != 0 && (acl || !onlyGroupOf(int(st.Gid), int(st.Uid))):
			add(Writer{Path: at, What: what, UID: -1, GID: int(st.Gid)})
		}
	}
	missing := false
	w := walk{follow: true}
	w.observe = func(s step) {
		d := s.dir
		sticky := d.shared && d.Sticky() && trusted(d.st.Uid)
		switch {
		case s.name == "" && !sticky:
			writable(d.path, "directory", &d.st, d.shared && d.st.Gid == 0)
		case s.name == "":
		case s.st == nil:
			missing = true
			if sticky {
				out := Writer{Path: d.path, What: "directory", UID: -1, GID: -1, Make: s.name}
				if d.st.Mode&unix.S_IWOTH == 0 {
					out.GID = int(d.st.Gid)
				}
				add(out)
			}
		case kind(s.st) == unix.S_IFLNK:
			if sticky && !trusted(s.st.Uid) {
				add(Writer{Path: join(d.path, s.name), What: "link", UID: int(s.st.Uid), GID: -1})
			}
		case kind(s.st) == unix.S_IFDIR:
			// Seen when it is entered; at the end it is not.
			atEnd := strings.Trim(strings.TrimPrefix(w.todo, s.name), "/") == ""
			if atEnd && (s.st.Mode&unix.S_ISVTX == 0 || !trusted(s.st.Uid)) {
				writable(join(d.path, s.name), "directory", s.st, d.hidesACL(s.name))
			}
		default:
			writable(join(d.path, s.name), "file", s.st, d.hidesACL(s.name))
		}
	}
	err := w.to(path, func() error { return nil })
	if missing {
		err = nil
	}
	return found, pathError("look at", path, err)
}

// hidesACL tells whether the bits of the group stand for an access control list.
func (d *Dir) hidesACL(name string) bool {
	fd, err := openat(d.fd, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return hasACL(fd)
}

// onlyGroupOf tells whether a group has no member but root and one user: root's
// group, or the private group of the user.
func onlyGroupOf(gid, uid int) bool {
	if gid == 0 {
		return true
	}
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil || u.Gid != strconv.Itoa(gid) {
		return false
	}
	g, err := user.LookupGroupId(u.Gid)
	return err == nil && g.Name == u.Username
}

// Replacers says who, beside root and ourselves, could put another directory in the
// place of one, or be the first to make one of those above it. What lies in a sticky
// directory of root's is only its owner's to replace; that it may be made there by
// somebody else first is for its user to see, by its owner.
func Replacers(path string) ([]Writer, error) {
	path = filepath.Clean(path)
	writers, err := Writers(path)
	return slices.DeleteFunc(writers, func(w Writer) bool {
		return w.Make == filepath.Base(path) || w.Make == "" && w.Path == path
	}), err
}
