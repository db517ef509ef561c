package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"sup/lib/suptest"
)

// tailer is a suptail that runs, with its output in a file.
type tailer struct {
	cmd  *exec.Cmd
	path string
}

func startTail(t *testing.T, d *suptest.Daemon, name string, args ...string) *tailer {
	t.Helper()
	f, err := os.Create(d.Path(name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tail := &tailer{cmd: exec.Command(suptest.Tool(t, "suptail"), args...), path: d.Path(name)}
	tail.cmd.Dir, tail.cmd.Stdout, tail.cmd.Stderr = d.Dir, f, f
	if err := tail.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = tail.cmd.Process.Kill()
		_ = tail.cmd.Wait()
	})
	return tail
}

func (l *tailer) text(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(l.path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestFollowThroughAll follows logs here and through the daemon's port, while
// they are rotated, renamed and reopened, and the daemon is killed, started
// again and upgraded. No line is missing, and none comes twice.
func TestFollowThroughAll(t *testing.T) {
	port := suptest.FreePort(t)
	const counter = `sh -c 'i=0; while [ $i -lt 1200 ]; do i=$((i+1)); echo "n $i"; sleep 0.002; done; echo end; exec sleep 100000'`
	program := func(name, more string) string {
		return fmt.Sprintf("[program:%s]\ncommand=%s\nstartsecs=0\nstdout_logfile=%%(here)s/%s.log\n%s\n", name, counter, name, more)
	}
	d := suptest.Start(t, suptest.Options{Config: fmt.Sprintf("[inet_http_server]\nport=127.0.0.1:%d\n", port) +
		program("here", "stdout_logfile_maxbytes=500\nstdout_logfile_backups=100") +
		program("packed", "stdout_logfile_maxbytes=500\nstdout_logfile_backups=0\nstdout_logfile_compress=true") +
		program("there", "")})
	d.Wait("RUNNING", "here", "packed", "there")
	local := startTail(t, d, "here.out", "-c", d.Path("supervisord.conf"), "-f", "-n", "all", "here")
	packed := startTail(t, d, "packed.out", "-c", d.Path("supervisord.conf"), "-f", "-n", "all", "packed")
	remote := startTail(t, d, "there.out", "-s", fmt.Sprintf("http://127.0.0.1:%d", port), "-F", "-n", "all", "there")
	reached := func(n int) {
		t.Helper()
		for _, l := range []*tailer{local, packed, remote} {
			d.WaitFile(l.path[len(d.Dir)+1:], fmt.Sprintf("n %d\n", n))
		}
	}
	reached(150)
	d.Signal(syscall.SIGUSR2)
	reached(300)
	d.Crash()
	d.Relaunch()
	reached(500)
	d.MustCtl("upgrade")
	reached(700)
	d.Crash()
	// The programs, and who reads the files, do not need it.
	d.WaitFile("here.out", "n 1000\n")
	d.WaitFile("packed.out", "n 1000\n")
	d.Relaunch()
	for _, l := range []*tailer{local, packed, remote} {
		d.WaitFile(l.path[len(d.Dir)+1:], "end\n")
		if n := suptest.Numbered(t, l.text(t), "n"); n != 1200 {
			t.Errorf("%s: %d lines, want 1200", l.path, n)
		}
		if text := l.text(t); strings.Contains(text, "suptail") {
			t.Errorf("it complains: %s", text)
		}
	}
}
