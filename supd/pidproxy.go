package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"sup/lib/safepath"
	"sup/lib/spawn"
	"sup/supd/internal/state"
)

// Called as pidproxy, supd is a small thing of its own: it stands between a
// supervisor and a program that daemonises itself, or has a parent that does not
// pass signals on, and writes its pid to a file.

// proxyName is the name by which supd is pidproxy.
const proxyName = "pidproxy"

// proxied are the signals that pidproxy passes on.
var proxied = []os.Signal{
	syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2,
}

const proxyUsage = `pidproxy -- run a command and pass signals on to the pid in a file.

Usage: %s PIDFILE COMMAND [ARGUMENT...]

Each of HUP, INT, QUIT, TERM, USR1 and USR2 that it gets it sends to the process
whose pid is in PIDFILE at that time; after INT, QUIT or TERM it ends. Otherwise
it ends with COMMAND. Where another user can write PIDFILE, it must be a process
that COMMAND has started, or one of that user.
`

// pidproxy runs args[2:] with the three files as its standard ones, and sends
// signals to the pid in the file args[1]. The result is its exit status: 0 when
// the command has ended, however that was, or a signal that ends was passed on;
// 1 if it was called wrongly or a signal that ends could not be passed on; 127
// if the command cannot be run.
func pidproxy(args []string, files []*os.File, signals <-chan os.Signal) int {
	stdout, stderr := files[1], files[2]
	if len(args) < 3 {
		fmt.Fprintf(stdout, proxyUsage, args[0])
		return 1
	}
	pidfile, command := args[1], args[2:]
	path, err := proxyCommand(command[0])
	if err != nil {
		fmt.Fprintf(stderr, "pidproxy: %v\n", err)
		return 127
	}
	child, err := os.StartProcess(path, command, &os.ProcAttr{Files: files})
	if err != nil {
		fmt.Fprintf(stderr, "pidproxy: cannot run %s: %v\n", command[0], err)
		return 127
	}
	ended := make(chan struct{})
	go func() {
		_, _ = child.Wait()
		close(ended)
	}()
	for {
		select {
		case <-ended:
			return 0
		case s := <-signals:
			sig := s.(syscall.Signal)
			last := sig == syscall.SIGINT || sig == syscall.SIGQUIT || sig == syscall.SIGTERM
			pid, err := readPID(pidfile)
			if err != nil {
				fmt.Fprintf(stdout, "Can't read child pidfile %s!\n", pidfile)
				continue
			}
			if err := signalNamed(pid, pidfile, child.Pid, sig); err != nil {
				fmt.Fprintf(stderr, "pidproxy: cannot send %v to pid %d of %s: %v\n", sig, pid, pidfile, err)
				if last {
					return 1
				}
				continue
			}
			if last {
				return 0
			}
		}
	}
}

// proxyCommand finds the file of a command: what lies in the current directory,
// as Supervisor's pidproxy has it, or what PATH has.
func proxyCommand(word string) (string, error) {
	if !strings.Contains(word, "/") {
		if _, err := os.Stat(word); err == nil {
			word = "./" + word
		}
	}
	path, ok := os.LookupEnv("PATH")
	if !ok {
		path = spawn.DefaultPath
	}
	return spawn.Lookup(word, path)
}

// readPID reads a pid file. A number that would mean more than one process is
// an error.
func readPID(path string) (int, error) {
	const most = 256
	text, err := safepath.ReadFile(path, most)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err == nil && pid <= 0 {
		err = strconv.ErrRange
	}
	return pid, err
}

// signalNamed sends a signal to the process that a pid file names. We may be root,
// and whoever can write the file must not lend himself our right to signal: if that
// is another user, it has to be a process of his, or one that our child has started.
func signalNamed(pid int, pidfile string, child int, sig syscall.Signal) error {
	fd, err := spawn.Pidfd(pid)
	if errors.Is(err, unix.ESRCH) {
		return err
	}
	hasFD := err == nil
	if hasFD {
		// What was looked at is then what is signalled.
		defer unix.Close(fd)
	}
	if err := mayNameIn(pidfile, pid, child); err != nil {
		return err
	}
	if hasFD {
		if can, err := spawn.SignalPidfd(fd, sig); can {
			return err
		}
	}
	return syscall.Kill(pid, sig)
}

// mayNameIn tells why a pid in a file is not to be believed; nil if it is.
func mayNameIn(pidfile string, pid, child int) error {
	writers, err := safepath.Writers(pidfile)
	if err != nil {
		return err
	}
	if len(writers) == 0 || isDescendant(pid, child) {
		return nil
	}
	for _, w := range writers {
		if w.UID < 0 || !belongsTo(pid, w.UID) {
			return fmt.Errorf("%v, and the process is none that %s may signal", w, w.Who())
		}
	}
	return nil
}

// isDescendant tells whether a process is a child of another one, or a child's
// child, and so on, or that one itself.
func isDescendant(pid, ancestor int) bool {
	const deepest = 1000
	for range deepest {
		if pid == ancestor {
			return true
		}
		if pid <= 1 {
			return false
		}
		pid = state.Parent(pid)
	}
	return false
}

// belongsTo tells whether a process has the rights of a user, and no others.
func belongsTo(pid, uid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if uids, ok := strings.CutPrefix(line, "Uid:"); ok {
			fields := strings.Fields(uids)
			return len(fields) >= 3 && !slices.ContainsFunc(fields, func(f string) bool { return f != strconv.Itoa(uid) })
		}
	}
	return false
}
