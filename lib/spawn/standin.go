package spawn

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// ExecFailed is the exit status of a child in which the command could not be
// executed. Start takes care of such a child itself, but whoever reaps may see
// it first.
const ExecFailed = 253

// standInName is the first word of a process that this program runs in place
// of a command that could not be started.
const standInName = "supd: exec"

// standIn starts this program's own binary where the kernel would not start
// the command. It goes through the steps one by one and says on its standard
// error which of them fails. So a failure after the fork is a process with a
// pid and an exit status, as clients know it, and its reason is in its log.
//
// What to do it reads from a memory file, not from its command line: everybody
// may read that, and the environment of a program has secrets.
func (s *Spawner) standIn(c *Command) (int, error) {
	fail := func(err error) (int, error) {
		text, ok := resourceError(c.Name, err)
		if !ok {
			text = "unknown error during fork for " + Quote(c.Name) + ": " + Errno(err)
		}
		return 0, &Error{text, err}
	}
	job, err := writeJob(c)
	if err != nil {
		return fail(err)
	}
	defer job.Close()
	in := *c
	in.Path = "/proc/self/exe"
	in.Argv = []string{standInName, strconv.Itoa(len(c.Files))}
	in.Files = append(slices.Clone(c.Files), int(job.Fd()))
	if c.Cgroup != nil {
		in.Argv = append(in.Argv, strconv.Itoa(len(in.Files)))
		in.Files = append(in.Files, int(c.Cgroup.Fd()))
		in.Cgroup = nil
	}
	in.Dir = ""
	pid, err := forkExec(&in, attributes(&in, false))
	if err != nil {
		return fail(err)
	}
	return pid, nil
}

// writeJob puts a command into a memory file.
func writeJob(c *Command) (*os.File, error) {
	fd, err := unix.MemfdCreate("job", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "job")
	if err := json.NewEncoder(f).Encode(c); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// readJob reads the command from the memory file that is the descriptor fd, and
// closes it: the command itself must not inherit it.
func readJob(fd string) (*Command, error) {
	n, err := strconv.Atoi(fd)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(n), "job")
	defer f.Close()
	c := new(Command)
	// The offset in the file is where the writer has left it.
	return c, json.NewDecoder(io.NewSectionReader(f, 0, math.MaxInt64)).Decode(c)
}

// Init must be called first thing in main by every program that uses a
// Spawner. It does not return in a stand-in.
func Init() {
	if len(os.Args) < 2 || len(os.Args) > 3 || os.Args[0] != standInName {
		return
	}
	if len(os.Args) == 3 {
		enter(os.Args[2])
	}
	c, err := readJob(os.Args[1])
	if err == nil {
		err = become(c)
	}
	fmt.Fprintf(os.Stderr, "supervisor: %v\nsupervisor: child process was not spawned\n", err)
	os.Exit(127)
}

// enter goes into the control group whose directory is the descriptor fd, which it
// closes. A group is not worth a failure: without it what the command starts is
// found by other means.
func enter(fd string) {
	group, err := strconv.Atoi(fd)
	if err != nil {
		return
	}
	defer unix.Close(group)
	if procs, err := unix.Openat(group, "cgroup.procs", unix.O_WRONLY|unix.O_CLOEXEC, 0); err == nil {
		_, _ = unix.Write(procs, []byte("0"))
		unix.Close(procs)
	}
}

// become turns this process into the command; it returns only if a step
// fails.
func become(c *Command) error {
	if c.UID >= 0 && !alreadyUser(c) {
		if os.Geteuid() != 0 {
			return fmt.Errorf("couldn't setuid to %d: Can't drop privilege as nonroot user", c.UID)
		}
		if err := setUser(c.UID, c.GID, c.Groups); err != nil {
			return fmt.Errorf("couldn't setuid to %d: %v", c.UID, err)
		}
	}
	if c.Dir != "" {
		if err := os.Chdir(c.Dir); err != nil {
			return fmt.Errorf("couldn't chdir to %s: %s", c.Dir, Errno(err))
		}
	}
	err := syscall.Exec(c.Path, c.Argv, c.Env)
	return fmt.Errorf("couldn't exec %s: %s", c.Argv[0], Errno(err))
}

// setUser gives up every privilege in favour of a user, and makes sure that
// they are gone.
func setUser(uid, gid int, groups []int) error {
	if err := syscall.Setgroups(groups); err != nil {
		//lint:ignore ST1005 Supervisor's words
		return fmt.Errorf("Could not set groups of effective user: %w", err)
	}
	if err := syscall.Setgid(gid); err != nil {
		//lint:ignore ST1005 Supervisor's words
		return fmt.Errorf("Could not set group id of effective user: %w", err)
	}
	if err := syscall.Setuid(uid); err != nil {
		//lint:ignore ST1005 Supervisor's words
		return fmt.Errorf("Could not set user id of effective user: %w", err)
	}
	if uid != 0 && syscall.Setuid(0) == nil {
		//lint:ignore ST1005 Supervisor's words
		return fmt.Errorf("Could give up root only in part: %w", unix.EPERM)
	}
	return nil
}

// SetUser makes this whole program run as a user.
func SetUser(uid, gid int, groups []int) error { return setUser(uid, gid, groups) }
