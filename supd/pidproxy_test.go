package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// proxy runs pidproxy with its output in files until it ends.
type proxy struct {
	dir     string
	signals chan os.Signal
	status  chan int
}

func startProxy(t *testing.T, args ...string) *proxy {
	t.Helper()
	p := &proxy{dir: t.TempDir(), signals: make(chan os.Signal), status: make(chan int, 1)}
	t.Chdir(p.dir)
	files := []*os.File{os.Stdin}
	for _, name := range []string{"out", "err"} {
		f, err := os.Create(filepath.Join(p.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		files = append(files, f)
	}
	go func() { p.status <- pidproxy(append([]string{"pidproxy"}, args...), files, p.signals) }()
	return p
}

func (p *proxy) check(t *testing.T, status int, out, err string) {
	t.Helper()
	got := <-p.status
	o, _ := os.ReadFile(filepath.Join(p.dir, "out"))
	e, _ := os.ReadFile(filepath.Join(p.dir, "err"))
	if got != status || !strings.HasPrefix(string(o), out) || !strings.HasPrefix(string(e), err) {
		t.Errorf("status %d, output %q, errors %q", got, o, e)
	}
}

func TestPidproxy(t *testing.T) {
	startProxy(t, "nosuch.pid", "/bin/echo", "1", "2").check(t, 0, "1 2\n", "")
	startProxy(t, "nosuch.pid", "echo").check(t, 0, "\n", "")
	startProxy(t, "nosuch.pid", "sh", "-c", "exit 3").check(t, 0, "", "")
	startProxy(t, "nosuch.pid", "/nonexistent").check(t, 127, "", "pidproxy: can't find command '/nonexistent'")
	startProxy(t, "nosuch.pid", "no-such-command").check(t, 127, "", "pidproxy: can't find command 'no-such-command'")
	startProxy(t).check(t, 1, "pidproxy -- run a command", "")
	startProxy(t, "x.pid").check(t, 1, "pidproxy -- run a command", "")
}

// TestPidproxySignals: signals go to the pid in the file, as it is then, and not
// to the command.
func TestPidproxySignals(t *testing.T) {
	// start returns when the command runs, and end lets it end.
	start := func(pid string) (p *proxy, end func()) {
		dir := t.TempDir()
		fifo := filepath.Join(dir, "fifo")
		if err := syscall.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		pidfile := filepath.Join(dir, "target.pid")
		if pid != "" {
			if err := os.WriteFile(pidfile, []byte(" "+pid+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p = startProxy(t, pidfile, "sh", "-c", "read x <"+fifo)
		w, err := os.OpenFile(fifo, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		return p, func() { w.Close() }
	}
	sleeper := func() *os.Process {
		child, err := os.StartProcess("/bin/sleep", []string{"sleep", "1000"}, &os.ProcAttr{})
		if err != nil {
			t.Fatal(err)
		}
		return child
	}
	diedOf := func(child *os.Process, want syscall.Signal) {
		t.Helper()
		if state, err := child.Wait(); err != nil || state.Sys().(syscall.WaitStatus).Signal() != want {
			t.Errorf("%v, %v", state, err)
		}
	}

	for _, pid := range []string{"", "0", "-1", "x"} {
		p, end := start(pid)
		p.signals <- syscall.SIGTERM
		end()
		p.check(t, 0, "Can't read child pidfile ", "")
	}

	child := sleeper()
	p, end := start(strconv.Itoa(child.Pid))
	p.signals <- syscall.SIGUSR1
	diedOf(child, syscall.SIGUSR1)
	end()
	p.check(t, 0, "", "")

	child = sleeper()
	p, end = start(strconv.Itoa(child.Pid))
	p.signals <- syscall.SIGTERM
	p.check(t, 0, "", "")
	diedOf(child, syscall.SIGTERM)
	end()

	// The child is gone.
	p, end = start(strconv.Itoa(child.Pid))
	p.signals <- syscall.SIGINT
	p.check(t, 1, "", "pidproxy: cannot send interrupt to pid ")
	end()
}

// Whoever can write the pid file must not have root signal what he may not: only
// what the command has started, or his own.
func TestAttackPidproxy(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	const nobody = 65534
	dir, err := os.MkdirTemp("", "proxy")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	theirs := filepath.Join(dir, "theirs")
	if err := os.Mkdir(theirs, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, theirs} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(theirs, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	sleeper := func(uid uint32) int {
		child, err := os.StartProcess("/bin/sleep", []string{"sleep", "1000"}, &os.ProcAttr{
			Sys: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = child.Kill()
			_, _ = child.Wait()
		})
		return child.Pid
	}
	root, own := sleeper(0), sleeper(nobody)
	roots := filepath.Join(dir, "root.pid")
	write := func(path string, pid, uid int) {
		t.Helper()
		_ = os.Remove(path)
		if err := os.WriteFile(path, []byte(strconv.Itoa(pid)), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	write(roots, root, 0)
	file, link := filepath.Join(theirs, "file.pid"), filepath.Join(theirs, "link.pid")
	if err := os.Symlink(roots, link); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		path    string
		pid     int // for the file, if it is theirs
		believe bool
	}{
		{"root's file", roots, 0, true},
		{"their file, root's process", file, root, false},
		{"their file, init", file, 1, false},
		{"their file, ourselves", file, os.Getpid(), false},
		{"their file, their process", file, own, true},
		{"their link to root's file", link, 0, false},
	} {
		if test.pid != 0 {
			write(file, test.pid, nobody)
		}
		pid, err := readPID(test.path)
		if err == nil {
			// Signal 0 only asks.
			err = signalNamed(pid, test.path, -1, 0)
		}
		if (err == nil) != test.believe {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	// What the command has started is its own, whoever names it.
	write(file, root, nobody)
	if err := signalNamed(root, file, os.Getpid(), 0); err != nil {
		t.Errorf("a child: %v", err)
	}
	// A FIFO does not hold it up.
	_ = os.Remove(file)
	if err := syscall.Mkfifo(file, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := readPID(file); err == nil {
		t.Error("a FIFO was read")
	}
}
