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
