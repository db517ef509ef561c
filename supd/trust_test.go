package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sup/lib/client"
	"sup/lib/suptest"
)

// stranger is an ordinary user.
const stranger = 65534

// ownBinaries copies the tools into a directory that root alone can write.
func ownBinaries(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root is an aim")
	}
	for _, name := range []string{"supd", "suplog", "supctl"} {
		from, err := os.Open(suptest.Tool(t, name))
		if err != nil {
			t.Fatal(err)
		}
		to, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
		if err == nil {
			_, err = io.Copy(to, from)
			err = errors.Join(err, to.Close())
		}
		from.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// tool runs one of the tools to its end.
func tool(t *testing.T, dir string, name string, args ...string) (output string, status int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// Root's supd executes neither suplog nor itself from where somebody else could
// put another program: not at the start, not when suplog has ended, not at an
// upgrade.
func TestAttackBinaries(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	ownBinaries(t, bin)
	conf := filepath.Join(dir, "s.conf")
	text := fmt.Sprintf("[supervisord]\nlogfile=%[1]s/supd.log\npidfile=%[1]s/supd.pid\n[unix_http_server]\nfile=%[1]s/supd.sock\n"+
		"[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"+
		"[supervisorctl]\nserverurl=unix://%[1]s/supd.sock\n[program:web]\ncommand=sleep 1000\nstartsecs=0\n", dir)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	supd, supctl := filepath.Join(bin, "supd"), filepath.Join(bin, "supctl")

	for _, tt := range []struct {
		name   string
		spoil  func() error
		mend   func() error
		reason string
	}{
		{"directory of another", func() error { return os.Chown(bin, stranger, 0) }, func() error { return os.Chown(bin, 0, 0) },
			"the directory " + bin + " belongs to user 65534"},
		{"directory for all", func() error { return os.Chmod(bin, 0o777) }, func() error { return os.Chmod(bin, 0o755) },
			"the directory " + bin + " is writable by every user"},
		{"directory of a group", func() error { return errors.Join(os.Chown(bin, 0, stranger), os.Chmod(bin, 0o775)) },
			func() error { return errors.Join(os.Chown(bin, 0, 0), os.Chmod(bin, 0o755)) }, "the directory " + bin + " is writable by group 65534"},
		{"directory above", func() error { return os.Chown(dir, stranger, 0) }, func() error { return os.Chown(dir, 0, 0) },
			"the directory " + dir + " belongs to user 65534"},
		{"suplog of another", func() error { return os.Chown(filepath.Join(bin, "suplog"), stranger, 0) }, func() error { return os.Chown(filepath.Join(bin, "suplog"), 0, 0) },
			"the file " + filepath.Join(bin, "suplog") + " belongs to user 65534"},
		{"supd for all", func() error { return os.Chmod(supd, 0o777) }, func() error { return os.Chmod(supd, 0o755) },
			"the file " + supd + " is writable by every user"},
		{"link in a directory of another", func() error {
			other := filepath.Join(dir, "other")
			return errors.Join(os.Mkdir(other, 0o755), os.Rename(filepath.Join(bin, "suplog"), filepath.Join(dir, "suplog")),
				os.Symlink(filepath.Join(dir, "suplog"), filepath.Join(other, "suplog")), os.Symlink("../other/suplog", filepath.Join(bin, "suplog")),
				os.Lchown(other, stranger, 0))
		}, func() error { return os.Rename(filepath.Join(dir, "suplog"), filepath.Join(bin, "suplog")) },
			"the directory " + filepath.Join(dir, "other") + " belongs to user 65534"},
	} {
		if err := tt.spoil(); err != nil {
			t.Fatal(err)
		}
		for _, mode := range [][]string{nil, {"-n"}} {
			out, status := tool(t, dir, supd, append(mode, "-c", conf)...)
			if status != 2 || !strings.Contains(out, tt.reason) || !strings.Contains(out, "make install") {
				t.Errorf("%s: supd %s ends with %d: %s", tt.name, mode, status, out)
			}
		}
		if err := tt.mend(); err != nil {
			t.Fatal(err)
		}
	}

	// All is well, and then no longer.
	if out, status := tool(t, dir, supd, "-c", conf); status != 0 {
		t.Fatalf("supd ends with %d: %s", status, out)
	}
	c, err := client.New("unix://"+filepath.Join(dir, "supd.sock"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	pidText, err := os.ReadFile(filepath.Join(dir, "supd.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(pidText)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Kill(pid, syscall.SIGTERM) })
	log := func() string {
		text, _ := os.ReadFile(filepath.Join(dir, "supd.log"))
		return string(text)
	}
	before, err := c.ProcessInfo(t.Context(), "web")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(bin, stranger, 0); err != nil {
		t.Fatal(err)
	}
	// What the stranger puts there.
	trap := []byte("#!/bin/sh\nid >" + filepath.Join(dir, "as-root") + "\n")
	for _, name := range []string{"supd", "suplog"} {
		path := filepath.Join(bin, name)
		if err := errors.Join(os.Rename(path, path+".good"), os.WriteFile(path, trap, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	out, status := tool(t, dir, supctl, "-c", conf, "upgrade")
	if status != 1 || !strings.Contains(out, "nothing was changed") || !strings.Contains(out, "the directory "+bin+" belongs to user 65534") {
		t.Errorf("upgrade ends with %d: %s", status, out)
	}
	suplog := childNamed(t, pid, "suplog")
	if err := unix.Kill(suplog, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	suptest.Until(t, "supd refuses to start suplog", func() error {
		if !strings.Contains(log(), "cannot start suplog: cannot run "+filepath.Join(bin, "suplog")+" as root") {
			return errors.New(log())
		}
		return nil
	})
	for _, name := range []string{"supd", "suplog"} {
		path := filepath.Join(bin, name)
		if err := os.Rename(path+".good", path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(bin, 0, 0); err != nil {
		t.Fatal(err)
	}
	suptest.Until(t, "suplog runs again", func() error {
		if childNamed(t, pid, "suplog") == 0 {
			return errors.New("it does not")
		}
		return nil
	})
	if out, status := tool(t, dir, supctl, "-c", conf, "upgrade"); status != 0 {
		t.Errorf("upgrade ends with %d: %s", status, out)
	}
	if after, err := c.ProcessInfo(t.Context(), "web"); err != nil || after.PID != before.PID {
		t.Errorf("web had pid %d and has %d, %v", before.PID, after.PID, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "as-root")); err == nil {
		t.Error("root has run what the stranger put there")
	}
	if out, status := tool(t, dir, supctl, "-c", conf, "shutdown"); status != 0 {
		t.Errorf("shutdown ends with %d: %s", status, out)
	}
	suptest.Until(t, "the daemon is gone", func() error {
		if _, err := os.Stat(filepath.Join(dir, "supd.pid")); err == nil {
			return errors.New("its pid file is there")
		}
		return nil
	})
}

// childNamed is the pid of a child by its name, 0 if there is none.
func childNamed(t *testing.T, parent int, name string) int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		pid, rest, _ := strings.Cut(string(text), " ")
		if strings.HasPrefix(rest, "("+name+") ") && strings.Fields(rest)[2] == strconv.Itoa(parent) {
			n, _ := strconv.Atoi(pid)
			return n
		}
	}
	return 0
}

// Root obeys no configuration that happens to lie where it is and that somebody
// else can write, unless it is named.
func TestAttackConfigurationFound(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root is an aim")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(dir, "home")
	file := filepath.Join(home, "supervisord.conf")
	text := "[supervisord]\npidfile=%(here)s/p\nlogfile=%(here)s/l\n[supervisorctl]\nserverurl=unix://%(here)s/s\n" +
		"[program:x]\ncommand=sh -c 'id >" + home + "/who'\nstartsecs=0\nautorestart=false\n"
	if err := errors.Join(os.MkdirAll(filepath.Join(home, "etc"), 0o755), os.WriteFile(file, []byte(text), 0o644),
		os.Chown(home, stranger, stranger), os.Chown(file, stranger, stranger)); err != nil {
		t.Fatal(err)
	}
	suptest.Tool(t, "suplog")
	refused := func(what string) {
		t.Helper()
		for _, args := range [][]string{{"supd"}, {"supd", "-n"}, {"supctl", "status"}, {"suptail", "all"}} {
			out, status := tool(t, home, suptest.Tool(t, args[0]), args[1:]...)
			if status != 2 || !strings.Contains(out, "belongs to user 65534") || !strings.Contains(out, "-c FILE") {
				t.Errorf("%s: %s ends with %d: %s", what, args, status, out)
			}
		}
		if _, err := os.Stat(filepath.Join(home, "who")); err == nil {
			t.Fatalf("%s: root has run the stranger's program", what)
		}
	}
	refused("supervisord.conf")
	if err := os.Rename(file, filepath.Join(home, "etc", "supervisord.conf")); err != nil {
		t.Fatal(err)
	}
	refused("etc/supervisord.conf")
	if err := errors.Join(os.Rename(filepath.Join(home, "etc", "supervisord.conf"), filepath.Join(dir, "file")),
		os.Chown(filepath.Join(dir, "file"), 0, 0), os.Symlink("../file", file)); err != nil {
		t.Fatal(err)
	}
	refused("a link to a file of root's")

	// Named, it is used, with a warning.
	cmd := exec.CommandContext(t.Context(), suptest.Tool(t, "supd"), "-n", "-c", file)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	suptest.Until(t, "the program has run", func() error {
		_, err := os.Stat(filepath.Join(home, "who"))
		return err
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	said, _ := io.ReadAll(out)
	if err := cmd.Wait(); err != nil || !strings.Contains(string(said), "writable") {
		t.Errorf("%v: %s", err, said)
	}
}

// supctl, suptail and supconf give no password to whom it is not for.
func TestAttackPassword(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can have strangers")
	}
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o777|os.ModeSticky)); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	serve := exec.Command("setpriv", "--reuid", strconv.Itoa(stranger), "--regid", strconv.Itoa(stranger), "--clear-groups", "/usr/bin/python3", "-c",
		`import os,socket,sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)
s.listen(20)
print("ready", flush=True)
while True:
    c, _ = s.accept()
    c.settimeout(20)
    print("got", repr(c.recv(4096)), flush=True)
    c.close()
`, socket)
	said, err := serve.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := serve.Start(); err != nil {
		t.Skip("setpriv or python3 is missing: ", err)
	}
	t.Cleanup(func() { _ = serve.Process.Kill() })
	heard := make(chan string)
	go func() {
		text, _ := io.ReadAll(said)
		heard <- string(text)
	}()
	suptest.Until(t, "the stranger listens", func() error {
		_, err := os.Stat(socket)
		return err
	})
	conf := filepath.Join(dir, "c.conf")
	write := func(text string, owner int) {
		t.Helper()
		_ = os.Remove(conf)
		text = "[supervisord]\nlogfile=/dev/null\n" + text + "[supervisorctl]\nserverurl=unix://" + socket + "\nusername=admin\npassword=verysecret\n"
		if err := errors.Join(os.WriteFile(conf, []byte(text), 0o600), os.Chown(conf, owner, owner)); err != nil {
			t.Fatal(err)
		}
	}
	write("", 0)
	for _, tt := range []struct {
		args   []string
		status int
	}{
		{[]string{"supctl", "-c", conf, "status"}, 4},
		{[]string{"supctl", "-c", conf, "tail", "-f", "x"}, 4},
		{[]string{"supctl", "-s", "unix://" + socket, "-c", conf, "-u", "a", "-p", "verysecret", "stop", "all"}, 4},
		{[]string{"suptail", "-c", conf, "all"}, 4},
		{[]string{"supconf", "diff", "-c", conf, "-s", "unix://" + socket}, 2},
	} {
		out, status := tool(t, dir, suptest.Tool(t, tt.args[0]), tt.args[1:]...)
		if status != tt.status || !strings.Contains(out, "the daemon there runs as user 65534") {
			t.Errorf("%s ends with %d: %s", tt.args, status, out)
		}
	}
	// Whom the file says the daemon becomes may have it, and so may its owner.
	write("user=65534\n", 0)
	tool(t, dir, suptest.Tool(t, "supctl"), "-c", conf, "status")
	write("", stranger)
	tool(t, dir, suptest.Tool(t, "supctl"), "-c", conf, "status")
	_ = serve.Process.Kill()
	_ = serve.Wait()
	got := <-heard
	if n := strings.Count(got, "Authorization: Basic"); n != 2 {
		t.Errorf("the password was sent %d times: %s", n, got)
	}
}
