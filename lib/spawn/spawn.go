// Package spawn makes child processes, signals them and reaps them. It is the
// only package that does, and it knows nothing of programs and groups.
//
// It does not use os/exec or os.Process: a goroutine in Process.Wait costs a
// kernel thread per child, and two reapers steal from each other. Children are
// reaped with Reap, which one goroutine of the whole program calls.
package spawn

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Command is a process to be made.
type Command struct {
	// Name is used in error texts.
	Name string
	// Path is the file to execute, Argv the words of the command line.
	Path string
	Argv []string
	Env  []string
	// Dir is the working directory, "" for the caller's.
	Dir string
	// Umask is the file mode mask, -1 for the caller's.
	Umask int
	// UID is the user to become, -1 for none. With it go GID and Groups.
	UID, GID int
	Groups   []int
	// Files become descriptors 0, 1, 2, ….
	Files []int
	// Cgroup is the directory of the control group that the child begins in,
	// nil for the caller's. Where the kernel cannot do that, or a filter forbids
	// it, a stand-in goes there before it becomes the command.
	Cgroup *os.File `json:"-"`
}

// Error is a failure to make a process that is found out before there is one.
// Its text is Supervisor's.
type Error struct {
	Text string
	Err  error
}

func (e *Error) Error() string { return e.Text }
func (e *Error) Unwrap() error { return e.Err }

// Spawner makes processes on an OS thread of its own, which shares neither
// umask nor working directory with the rest of the program. Its methods must
// be called from the goroutine that made it.
type Spawner struct{ umask int }

// NewSpawner locks the calling goroutine to its thread for good.
func NewSpawner() (*Spawner, error) {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return nil, fmt.Errorf("cannot separate the umask of a thread: %w", err)
	}
	s := &Spawner{}
	s.umask = unix.Umask(0)
	unix.Umask(s.umask)
	return s, nil
}

// Start makes the process, which leads a session of its own, and so a process
// group: it has no controlling terminal, in which it could type. What goes wrong in the child after it was made
// (directory, user, exec) is told on its standard error, and ends it with
// status 127, so that it is seen as a process that ran.
func (s *Spawner) Start(c *Command) (pid int, err error) {
	// The child inherits the mask of the thread that makes it.
	if c.Umask >= 0 {
		unix.Umask(c.Umask)
	} else {
		unix.Umask(s.umask)
	}
	pid, err = forkExec(c, attributes(c, true))
	if err == nil {
		return pid, nil
	}
	if text, ok := resourceError(c.Name, err); ok && !errors.Is(err, unix.EAGAIN) {
		return 0, &Error{text, err}
	}
	return s.standIn(c)
}

// Helper makes a process, as Start does, that has the umask and the user of the
// caller; Umask, UID, GID and Groups are not looked at. Any goroutine may call it.
// The error is that of the system.
func Helper(c *Command) (pid int, err error) {
	return forkExec(c, attributes(c, false))
}

func attributes(c *Command, full bool) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setsid: true}
	if full && c.UID >= 0 && !alreadyUser(c) {
		a.Credential = credential(c)
	}
	return a
}

// alreadyUser tells whether an ordinary user asks for itself, which needs no
// privilege and is no error.
func alreadyUser(c *Command) bool {
	return os.Geteuid() != 0 && c.UID == os.Geteuid()
}

func credential(c *Command) *syscall.Credential {
	cr := &syscall.Credential{Uid: uint32(c.UID), Gid: uint32(c.GID)}
	for _, g := range c.Groups {
		cr.Groups = append(cr.Groups, uint32(g))
	}
	return cr
}

func forkExec(c *Command, a *syscall.SysProcAttr) (pid int, err error) {
	files := make([]uintptr, len(c.Files))
	for i, fd := range c.Files {
		files[i] = uintptr(fd)
	}
	attr := &syscall.ProcAttr{Dir: c.Dir, Env: c.Env, Files: files, Sys: a}
	if c.Cgroup != nil {
		a.UseCgroupFD, a.CgroupFD = true, int(c.Cgroup.Fd())
		if pid, err = syscall.ForkExec(c.Path, c.Argv, attr); err == nil {
			return pid, nil
		}
		if noGroupAtBirth(err) {
			return 0, err
		}
		// That may be about the group, or about the process all the same.
		a.UseCgroupFD = false
	}
	return syscall.ForkExec(c.Path, c.Argv, attr)
}

// noGroupAtBirth tells whether an error may be that a process cannot be born in a
// control group: systemd's RestrictNamespaces= and old filters of containers
// forbid clone3.
func noGroupAtBirth(err error) bool { return errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) }

// resourceError words the errors of fork itself, as opposed to those of the
// child.
func resourceError(name string, err error) (string, bool) {
	switch {
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return "too many open files to spawn " + Quote(name), true
	case errors.Is(err, unix.EAGAIN):
		return "Too many processes in process table to spawn " + Quote(name), true
	case errors.Is(err, unix.ENOMEM):
		return "unknown error during fork for " + Quote(name) + ": ENOMEM", true
	}
	return "", false
}

// Errno is the symbolic name of the error number in err, as Supervisor shows
// it, or err's text if there is none.
func Errno(err error) string {
	var no syscall.Errno
	if errors.As(err, &no) {
		if name := unix.ErrnoName(no); name != "" {
			return name
		}
	}
	return err.Error()
}

// Lookup finds the file of a command's first word. A word with a slash is
// taken as it is; another is looked for in path, a list of directories
// separated by colons, and the first that exists is taken. The error says
// what is wrong with it, in Supervisor's words; NotFound and NotExecutable
// tell which.
func Lookup(word, path string) (string, error) {
	if strings.Contains(word, "/") {
		return word, check(word)
	}
	for _, dir := range strings.Split(path, ":") {
		if dir == "" {
			dir = "."
		}
		file := dir + "/" + word
		if _, err := os.Stat(file); err == nil {
			return file, check(file)
		}
	}
	return "", &Error{"can't find command " + Quote(word), ErrNotFound}
}

// DefaultPath is where commands are looked for when PATH is not set.
const DefaultPath = "/bin:/usr/bin:/usr/local/bin"

// ErrNotFound and ErrNotExecutable are what Lookup's errors wrap.
var (
	ErrNotFound      = errors.New("command not found")
	ErrNotExecutable = errors.New("command not executable")
)

func check(file string) error {
	fi, err := os.Stat(file)
	switch {
	case err != nil:
		return &Error{"can't find command " + Quote(file), ErrNotFound}
	case fi.IsDir():
		return &Error{"command at " + Quote(file) + " is a directory", ErrNotExecutable}
	case fi.Mode()&0o111 == 0:
		return &Error{"command at " + Quote(file) + " is not executable", ErrNotExecutable}
	case unix.Access(file, unix.X_OK) != nil:
		return &Error{"no permission to run command " + Quote(file), ErrNotExecutable}
	}
	return nil
}

// private are variables that tell the daemon of its own relation to systemd, and
// its clients' password: none of them is any other program's business.
var private = []string{
	"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES",
	"SUPERVISOR_PASSWORD",
}

// Inherited is what a program that is made for somebody else gets of the
// environment of the daemon or of suplog.
func Inherited(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(private, name)
	})
}

// Environ puts pairs on top of a base environment; later pairs win. The order
// of base is kept, new names follow.
func Environ(base []string, pairs ...[2]string) []string {
	out := slices.Clone(base)
	at := make(map[string]int, len(out))
	for i, kv := range out {
		if name, _, ok := strings.Cut(kv, "="); ok {
			at[name] = i
		}
	}
	for _, p := range pairs {
		kv := p[0] + "=" + p[1]
		if i, ok := at[p[0]]; ok {
			out[i] = kv
			continue
		}
		at[p[0]] = len(out)
		out = append(out, kv)
	}
	return out
}
