package config

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sup/lib/value"
)

// Machine answers what a configuration asks of the machine it is for: which
// users, groups and directories there are. It asks the system once for each;
// make a new one for each loading. It is not for concurrent use.
type Machine struct {
	// Dir is the current directory, absolute.
	Dir string
	// Home is $HOME; HasHome tells whether it is set.
	Home    string
	HasHome bool

	dirs   map[string]bool
	users  *accounts
	groups *accounts
}

// NewMachine makes a Machine that sees the environment env, and resolves
// relative paths against dir, "" for the current directory.
func NewMachine(env map[string]string, dir string) *Machine {
	m := &Machine{Dir: dir, dirs: make(map[string]bool)}
	if m.Dir == "" {
		m.Dir = WorkingDir()
	}
	m.Home, m.HasHome = env["HOME"]
	return m
}

// WorkingDir is the current directory as the system has it, whatever $PWD
// says; "/" if it cannot be told.
func WorkingDir() string {
	dir, err := unix.Getwd()
	if err != nil || !filepath.IsAbs(dir) {
		return "/"
	}
	return dir
}

// HostName is the name of this machine.
func HostName() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Nodename[:])
}

// accounts is /etc/passwd or /etc/group.
type accounts struct {
	byName map[string]*account
	byID   map[int64]*account
}

type account struct {
	id, group int64
	home      string
}

var (
	errNoUser  = errors.New("there is no such user")
	errNoGroup = errors.New("there is no such group")
)

// readAccounts reads a file of lines NAME:x:ID:…; with home, a user's group
// and home directory too. The first line of a name or number counts.
func readAccounts(file string, withHome bool) *accounts {
	a := &accounts{byName: make(map[string]*account), byID: make(map[int64]*account)}
	b, err := os.ReadFile(file)
	if err != nil {
		return a
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) < 3 || f[0] == "" || strings.ContainsAny(f[0][:1], "#+-") {
			continue
		}
		id, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			continue
		}
		rec := &account{id: int64(id), group: -1}
		if withHome {
			if len(f) < 7 {
				continue
			}
			gid, err := strconv.ParseUint(f[3], 10, 32)
			if err != nil {
				continue
			}
			rec.group, rec.home = int64(gid), f[5]
		}
		if a.byName[f[0]] == nil {
			a.byName[f[0]] = rec
		}
		if a.byID[rec.id] == nil {
			a.byID[rec.id] = rec
		}
	}
	return a
}

// find looks up a name or a number.
func (a *accounts) find(s string) *account {
	if n, err := value.ParseInt(s); err == nil {
		return a.byID[n]
	} else if errors.Is(err, value.ErrRange) {
		return nil
	}
	return a.byName[s]
}

func (m *Machine) passwd() *accounts {
	if m.users == nil {
		m.users = readAccounts("/etc/passwd", true)
	}
	return m.users
}

// User looks up a user by name or number and returns its number and that of
// its group.
func (m *Machine) User(s string) (uid, gid int, err error) {
	u := m.passwd().find(s)
	if u == nil {
		return -1, -1, errNoUser
	}
	return int(u.id), int(u.group), nil
}

// Owner looks up USER or USER:GROUP; gid is -1 without a group.
func (m *Machine) Owner(s string) (uid, gid int, err error) {
	user, group, both := strings.Cut(s, ":")
	if uid, _, err = m.User(user); err != nil {
		return -1, -1, err
	}
	if !both {
		return uid, -1, nil
	}
	if m.groups == nil {
		m.groups = readAccounts("/etc/group", false)
	}
	g := m.groups.find(group)
	if g == nil {
		return -1, -1, errNoGroup
	}
	return uid, int(g.id), nil
}

// IsDir reports whether path is a directory; a relative one is looked for in
// the current directory.
func (m *Machine) IsDir(path string) bool {
	if path == "" {
		return false
	}
	is, known := m.dirs[path]
	if !known {
		is = isDir(joinPath(m.Dir, path))
		m.dirs[path] = is
	}
	return is
}

// ExpandHome replaces a leading ~ or ~USER by the home directory. It leaves
// the path alone if that is not known.
func (m *Machine) ExpandHome(path string) string {
	if !strings.HasPrefix(path, "~") {
		return path
	}
	user, rest := path[1:], ""
	if i := strings.IndexByte(path, '/'); i >= 0 {
		user, rest = path[1:i], path[i:]
	}
	home := m.Home
	if user != "" || !m.HasHome {
		var u *account
		if user == "" {
			u = m.passwd().byID[int64(os.Getuid())]
		} else {
			u = m.passwd().byName[user]
		}
		if u == nil {
			return path
		}
		home = u.home
	}
	if p := strings.TrimRight(home, "/") + rest; p != "" {
		return p
	}
	return "/"
}

// Absolute expands ~, makes path absolute and folds it.
func (m *Machine) Absolute(path string) string {
	return value.CleanPath(joinPath(m.Dir, m.ExpandHome(path)))
}

// TempDir is the directory for temporary files: the first that is usable of
// $TMPDIR, $TEMP, $TMP, /tmp, /var/tmp, /usr/tmp and the current directory.
func (m *Machine) TempDir(env map[string]string) string {
	var candidates []string
	for _, name := range []string{"TMPDIR", "TEMP", "TMP"} {
		if dir := env[name]; dir != "" {
			candidates = append(candidates, value.CleanPath(joinPath(m.Dir, dir)))
		}
	}
	for _, dir := range append(candidates, "/tmp", "/var/tmp", "/usr/tmp", m.Dir) {
		if isDir(dir) && unix.Access(dir, unix.W_OK|unix.X_OK) == nil {
			return dir
		}
	}
	return "/tmp"
}

// ExistingDir expands ~ in path and checks that it names a directory.
func (m *Machine) ExistingDir(path string, check bool) (string, error) {
	p := m.ExpandHome(path)
	if check && !m.IsDir(p) {
		return p, errors.New("there is no directory " + quoteShort(p))
	}
	return p, nil
}

// PathInDir expands ~ in path and checks that the directory it is in exists.
func (m *Machine) PathInDir(path string, check bool) (string, error) {
	p := m.ExpandHome(path)
	if dir, _ := splitPath(p); check && dir != "" && !m.IsDir(dir) {
		return p, errors.New("there is no directory " + quoteShort(dir))
	}
	return p, nil
}
