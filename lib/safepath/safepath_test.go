package safepath

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Two users without anything, and a group.
const (
	nobody = 65534
	games  = 5
)

// asRoot skips a test that only root can do.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes files of other users")
	}
}

// tree is a directory of root's that everybody can reach.
func tree(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "safepath-")
	must(t, err)
	must(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// build makes files from lines: "PATH TYPE UID GID MODE [CONTENT]", where TYPE
// is d, f, l (CONTENT is the target) or p.
func build(t *testing.T, root, lines string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		w := strings.Fields(line)
		if len(w) == 0 {
			continue
		}
		path := filepath.Join(root, w[0])
		uid, _ := strconv.Atoi(w[2])
		gid, _ := strconv.Atoi(w[3])
		mode, _ := strconv.ParseUint(w[4], 8, 32)
		content := ""
		if len(w) > 5 {
			content = strings.ReplaceAll(w[5], "ROOT", root)
		}
		switch w[1] {
		case "d":
			must(t, os.Mkdir(path, 0o755))
		case "f":
			must(t, os.WriteFile(path, []byte(content), 0o644))
		case "l":
			must(t, os.Symlink(content, path))
		case "h":
			must(t, os.Link(content, path))
			continue
		case "p":
			must(t, unix.Mkfifo(path, 0o644))
		}
		must(t, os.Lchown(path, uid, gid))
		if w[1] != "l" {
			must(t, unix.Chmod(path, uint32(mode)))
		}
	}
}

func TestAttackOpen(t *testing.T) {
	asRoot(t)
	for _, c := range []struct {
		name  string
		files string
		path  string
		read  bool
		want  error // nil: it is opened
		owner int   // of what is opened
	}{
		{"root's own", "a d 0 0 755", "a/log", false, nil, 0},
		{"root's link", "a d 0 0 755\nb d 0 0 755\na/log l 0 0 0 ROOT/b/other", "a/log", false, nil, 0},
		{"root's link to a directory", "b d 0 0 755\na l 0 0 0 b", "a/log", false, nil, 0},
		{"a link given to a user in root's directory", "a d 0 0 755\nb d 0 0 755\na/log l 65534 65534 0 ROOT/b/other", "a/log", false, nil, 0},
		{"a user's directory", "a d 65534 65534 755", "a/log", false, nil, nobody},
		{"below a user's directory", "a d 65534 65534 755\na/b d 65534 65534 755", "a/b/log", false, nil, nobody},
		{"a user's link to root's directory", "a d 65534 65534 755\nb d 0 0 755\na/log l 65534 65534 0 ROOT/b/evil", "a/log", false, unix.EACCES, 0},
		{"a user's link to root's file", "a d 65534 65534 755\nb d 0 0 755\nb/f f 0 0 600 x\na/log l 65534 65534 0 ROOT/b/f", "a/log", true, unix.EACCES, 0},
		{"a user's link to a file for all", "a d 65534 65534 755\nb d 0 0 755\nb/f f 0 0 644 x\na/log l 65534 65534 0 ROOT/b/f", "a/log", true, nil, 0},
		{"a user's link for a directory", "a d 65534 65534 755\nb d 0 0 755\na/b l 65534 65534 0 ROOT/b", "a/b/evil", false, unix.EACCES, 0},
		{"a user's link and back", "a d 65534 65534 755\nb d 0 0 755", "a/../b/evil", false, unix.EACCES, 0},
		{"root's secret in a user's directory", "a d 65534 65534 755\na/log f 0 0 600 x", "a/log", true, unix.EACCES, 0},
		{"a hard link to root's file", "a d 65534 65534 755\nb d 0 0 755\nb/f f 0 0 600 x\na/log h 0 0 0 ROOT/b/f", "a/log", true, unix.EACCES, 0},
		{"a third user's directory", "a d 65534 65534 755\na/b d 5 60 755", "a/b/log", false, unix.EACCES, 0},
		{"a link to a third user's directory", "a d 65534 65534 755\nb d 5 60 755\na/b l 65534 65534 0 ROOT/b", "a/b/log", false, unix.EACCES, 0},
		{"root's directory below a user's", "a d 65534 65534 755\na/b d 0 0 755", "a/b/log", false, unix.EACCES, 0},
		{"a group's directory", "a d 0 60 775", "a/log", false, nil, 0},
		{"a link in a group's directory", "a d 0 60 775\nb d 0 0 755\na/log l 5 60 0 ROOT/b/evil", "a/log", false, unix.ELOOP, 0},
		{"root's link in a group's directory", "a d 0 60 775\nb d 0 0 755\na/log l 0 0 0 ROOT/b/f", "a/log", false, nil, 0},
		{"a hard link in a group's directory", "a d 0 60 775\nb d 0 0 755\nb/f f 0 0 600 x\na/log h 0 0 0 ROOT/b/f", "a/log", false, unix.EMLINK, 0},
		{"a hard link to root's FIFO in a group's directory", "a d 0 60 775\nb d 0 0 755\nb/f p 0 0 600\na/log h 0 0 0 ROOT/b/f", "a/log", true, unix.EMLINK, 0},
		{"a user's file in a group's directory", "a d 0 60 775\na/log f 5 60 644 x", "a/log", false, nil, games},
		{"a user's group's directory", "a d 65534 60 2775\nb d 65534 65534 700\na/log l 5 60 0 ROOT/b/f", "a/log", false, unix.ELOOP, 0},
		{"a sticky directory", "a d 0 0 1777", "a/log", false, nil, 0},
		{"our file in a sticky directory", "a d 0 0 1777\na/log f 0 0 600 x", "a/log", false, nil, 0},
		{"a stranger's file in a sticky directory", "a d 0 0 1777\na/log f 5 60 666 x", "a/log", false, unix.EACCES, 0},
		{"a stranger's FIFO in a sticky directory", "a d 0 0 1777\na/log p 5 60 666", "a/log", false, unix.ENXIO, 0},
		{"a stranger's link in a sticky directory", "a d 0 0 1777\na/log l 5 60 0 ROOT/f", "a/log", false, unix.ELOOP, 0},
		{"a stranger's directory in a sticky one", "a d 0 0 1777\na/b d 5 60 755", "a/b/log", false, nil, games},
		{"our directory in a sticky one", "a d 0 0 1777\na/b d 0 0 755", "a/b/log", false, nil, 0},
		{"a hard link in a sticky directory", "a d 0 0 1777\nb d 0 0 755\nb/f f 0 0 600 x\na/log h 0 0 0 ROOT/b/f", "a/log", true, unix.EMLINK, 0},
		{"a loop", "a d 65534 65534 755\na/log l 65534 65534 0 log", "a/log", false, unix.ELOOP, 0},
		{"a user's link to our descriptors", "a d 65534 65534 755\na/log l 65534 65534 0 /proc/self/fd/0", "a/log", true, unix.ELOOP, 0},
		{"a user's link to our environment", "a d 65534 65534 755\na/log l 65534 65534 0 /proc/self/environ", "a/log", true, unix.ELOOP, 0},
		{"a user's link to a setting of the kernel", "a d 65534 65534 755\na/log l 65534 65534 0 /proc/sys/kernel/core_pattern", "a/log", false, unix.ELOOP, 0},
		{"a user's link to the settings of the kernel", "a d 65534 65534 755\na/b l 65534 65534 0 /proc/sys/kernel", "a/b/core_pattern", false, unix.ELOOP, 0},
		{"a user's link to a control group", "a d 65534 65534 755\na/log l 65534 65534 0 /sys/fs/cgroup/cgroup.procs", "a/log", true, unix.ELOOP, 0},
		{"a user's link to a device", "a d 65534 65534 755\na/log l 65534 65534 0 /dev/null", "a/log", false, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := tree(t)
			build(t, root, c.files)
			flags := unix.O_WRONLY | unix.O_CREAT
			if c.read {
				flags = unix.O_RDONLY
			}
			foretold := CheckLog(root+"/"+c.path, false)
			fd, err := Open(root+"/"+c.path, flags, 0o644)
			if _, refused := err.(*Error); !c.read && refused != (foretold != nil) {
				t.Errorf("CheckLog says %v", foretold)
			}
			if !errors.Is(err, c.want) || err == nil != (c.want == nil) {
				t.Fatalf("error is %v, wanted %v", err, c.want)
			}
			if err != nil {
				if refused, ok := err.(*Error); ok {
					if what, hint := refused.Parts(); what == "" || hint == "" {
						t.Errorf("no hint: %v", err)
					}
				}
				return
			}
			defer unix.Close(fd)
			var st unix.Stat_t
			must(t, unix.Fstat(fd, &st))
			if int(st.Uid) != c.owner {
				t.Errorf("the file belongs to %d, wanted %d", st.Uid, c.owner)
			}
		})
	}
	if _, err := os.ReadDir("/root"); err != nil {
		t.Error("we are not ourselves any more:", err)
	}
}

// TestProcLinks opens what administrators of containers name as logs.
func TestProcLinks(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	defer w.Close()
	dir := t.TempDir()
	link := filepath.Join(dir, "log")
	must(t, os.Symlink("/dev/fd/"+strconv.Itoa(int(w.Fd())), link))
	for _, path := range []string{link, "/proc/self/fd/" + strconv.Itoa(int(w.Fd())), "/proc/" + strconv.Itoa(os.Getpid()) + "/root" + link} {
		fd, err := Open(path, unix.O_WRONLY|unix.O_CREAT, 0o644)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		unix.Write(fd, []byte("x"))
		unix.Close(fd)
		if n, err := r.Read(make([]byte, 10)); n != 1 || err != nil {
			t.Errorf("%s: read %d, %v", path, n, err)
		}
	}
}

func TestWriters(t *testing.T) {
	asRoot(t)
	root := tree(t)
	build(t, root, `
		safe d 0 0 755
		safe/f f 0 0 644
		safe/mine d 0 0 700
		user d 65534 65534 755
		user/root d 0 0 755
		group d 0 60 775
		all d 0 0 1777
		all/mine d 0 0 755
		all/other d 5 60 755
		tothem l 0 0 0 user
		safe/theirs f 65534 65534 755
		safe/all f 0 0 666
		sticky d 65534 65534 1755
	`)
	for path, want := range map[string]string{
		"safe/f": "", "safe/mine": "", "safe/new": "", "safe/new/newer": "", "all/mine/x": "",
		"all":         "",
		"sticky":      "the directory ROOT/sticky belongs to user 65534",
		"user/x":      "the directory ROOT/user belongs to user 65534",
		"user/root/x": "the directory ROOT/user belongs to user 65534",
		"group/x":     "the directory ROOT/group is writable by group 60",
		"all/x":       "every user can make x in the directory ROOT/all",
		"all/x/y":     "every user can make x in the directory ROOT/all",
		"all/other":   "the directory ROOT/all/other belongs to user 5",
		"tothem/x":    "the directory ROOT/user belongs to user 65534",
		"safe/theirs": "the file ROOT/safe/theirs belongs to user 65534",
		"safe/all":    "the file ROOT/safe/all is writable by every user",
	} {
		found, err := Writers(filepath.Join(root, path))
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		var got string
		if len(found) > 0 {
			got = strings.ReplaceAll(found[0].String(), root, "ROOT")
		}
		if got != want || len(found) > 1 {
			t.Errorf("%s: %q (%d), wanted %q", path, got, len(found), want)
		}
	}
}

// TestACL: an access control list of root's directory is seen behind the bits of
// its group.
func TestACL(t *testing.T) {
	asRoot(t)
	root := tree(t)
	build(t, root, "a d 0 0 755\nb d 0 0 755\na/log l 5 60 0 ROOT/b/evil")
	// "u::rwx,u:nobody:rwx,g::r-x,m::rwx,o::r-x", as the kernel has it: a version,
	// and tag, rights and id of each entry.
	acl := binary.LittleEndian.AppendUint32(nil, 2)
	const none = 1<<32 - 1
	for _, e := range []struct {
		tag, rights uint16
		id          uint32
	}{{0x01, 7, none}, {0x02, 7, nobody}, {0x04, 5, none}, {0x10, 7, none}, {0x20, 5, none}} {
		acl = binary.LittleEndian.AppendUint16(acl, e.tag)
		acl = binary.LittleEndian.AppendUint16(acl, e.rights)
		acl = binary.LittleEndian.AppendUint32(acl, e.id)
	}
	if err := unix.Setxattr(root+"/a", "system.posix_acl_access", acl, 0); err != nil {
		t.Skipf("needs a file system with access control lists: %v", err)
	}
	if _, err := Open(root+"/a/log", unix.O_WRONLY|unix.O_CREAT, 0o644); !errors.Is(err, unix.ELOOP) {
		t.Error("error is", err)
	}
	if found, _ := Writers(root + "/a/x"); len(found) != 1 {
		t.Error("writers are", found)
	}
}

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "pid")
	must(t, Replace(path, []byte("1\n"), 0o644))
	must(t, Replace(path, []byte("2\n"), 0o644))
	if b, err := ReadFile(path, 10); err != nil || string(b) != "2\n" {
		t.Errorf("%q, %v", b, err)
	}
	must(t, unix.Mkfifo(dir+"/fifo", 0o600))
	if err := Replace(dir+"/fifo", nil, 0o644); !errors.Is(err, unix.EEXIST) {
		t.Error("a FIFO was replaced:", err)
	}
	names, _ := os.ReadDir(dir)
	if len(names) != 2 {
		t.Error("left behind:", names)
	}
}

func TestBind(t *testing.T) {
	asRoot(t)
	root := tree(t)
	build(t, root, "a d 65534 65534 755")
	d, err := OpenDir(root + "/a")
	must(t, err)
	defer d.Close()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, unix.Fchmod(fd, 0o600))
	must(t, d.Bind(fd, "s.tmp"))
	must(t, d.Own("s.tmp", games, 60, 0o660))
	must(t, d.Rename("s.tmp", "s"))
	st, err := d.Lstat("s")
	must(t, err)
	if st.Uid != games || st.Gid != 60 || st.Mode != unix.S_IFSOCK|0o660 {
		t.Errorf("uid %d, gid %d, mode %o", st.Uid, st.Gid, st.Mode)
	}
	must(t, unix.Listen(fd, 1))
	c, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(c)
	if err := d.Connect(c, "s"); !errors.Is(err, unix.EACCES) {
		t.Error("nobody may connect:", err)
	}
}
