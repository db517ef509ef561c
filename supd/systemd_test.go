package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sup/lib/suptest"
)

// manager is a service manager's ear.
type manager struct {
	t    testing.TB
	conn *net.UnixConn
	path string
}

func newManager(t testing.TB) *manager {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &manager{t, conn, path}
}

// until reads messages up to the first that has a line which begins with want,
// and returns all of them.
func (m *manager) until(want string) (heard []string) {
	m.t.Helper()
	_ = m.conn.SetReadDeadline(time.Now().Add(suptest.Patience))
	for {
		var text [4096]byte
		n, err := m.conn.Read(text[:])
		if err != nil {
			m.t.Fatalf("%q did not come, but %q: %v", want, heard, err)
		}
		lines := strings.Split(string(text[:n]), "\n")
		heard = append(heard, lines...)
		if slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, want) }) {
			return heard
		}
	}
}

// TestNotify listens to what a daemon tells its service manager over its life.
func TestNotify(t *testing.T) {
	m := newManager(t)
	d := suptest.Start(t, suptest.Options{
		Config: "[program:a]\ncommand=sleep 1000\nstartsecs=1\n[program:b]\ncommand=sleep 1000\nautostart=false\n" +
			"[program:c]\ncommand=/bin/sh -c 'exit 1'\nstartretries=1\n",
		Env: []string{"NOTIFY_SOCKET=" + m.path, "WATCHDOG_USEC=200000"},
	})
	heard := m.until("READY=1")
	if !slices.Contains(heard, "WATCHDOG=1") {
		t.Errorf("before READY=1 came only %q", heard)
	}
	d.Wait("RUNNING", "a")
	m.until("STATUS=1 of 3 programs running")
	d.MustCtl("start", "b")
	m.until("STATUS=2 of 3 programs running")
	m.until("WATCHDOG=1")

	d.MustCtl("upgrade")
	m.until("READY=1")
	m.until("WATCHDOG=1")

	d.Signal(syscall.SIGHUP)
	m.until("RELOADING=1")
	m.until("READY=1")
	d.Wait("RUNNING", "a")

	d.WriteConfig("[program:a]\n")
	d.Signal(syscall.SIGHUP)
	m.until("RELOADING=1")
	m.until("READY=1")

	d.Stop()
	m.until("STOPPING=1")
}

// TestNotifyAwaitsStarts sees to it that READY=1 comes when the last program
// has left STARTING, not before.
func TestNotifyAwaitsStarts(t *testing.T) {
	m := newManager(t)
	d := suptest.Start(t, suptest.Options{
		Config: "[program:a]\ncommand=sleep 1000\nstartsecs=2\n", Env: []string{"NOTIFY_SOCKET=" + m.path},
	})
	m.until("READY=1")
	if info, err := d.Client.ProcessInfo(t.Context(), "a"); err != nil || info.StateName != "RUNNING" {
		t.Errorf("READY=1 came while a was %s (%v)", info.StateName, err)
	}
}

// TestSystemd boots a real systemd with our unit, see testdata/systemd.
func TestSystemd(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a systemd, which takes 20 seconds")
	}
	dir := t.TempDir()
	for _, from := range []string{"units", "script"} {
		copyAll(t, filepath.Join("testdata/systemd", from), filepath.Join(dir, from))
	}
	for _, from := range []string{"supervisord.conf", "hardened-supervisord.conf"} {
		copyAll(t, filepath.Join("testdata/systemd", from), filepath.Join(dir, "etc", from))
	}
	copyAll(t, "systemd/supd.service", filepath.Join(dir, "units/supd.service"))
	copyAll(t, "systemd/hardened.conf", filepath.Join(dir, "etc/hardened.conf"))
	for _, tool := range []string{"supd", "suplog", "supctl"} {
		copyAll(t, suptest.Tool(t, tool), filepath.Join(dir, "bin", tool))
	}
	out, err := exec.Command("bash", "testdata/systemd/boot.sh", dir).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 77 {
		t.Skipf("cannot boot a systemd here: %s", out)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestHardened asks systemd what it thinks of the unit with the drop-in.
func TestHardened(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not there (Debian's package systemd)")
	}
	dir := t.TempDir()
	copyAll(t, "systemd/supd.service", filepath.Join(dir, "supd.service"))
	copyAll(t, "systemd/hardened.conf", filepath.Join(dir, "supd.service.d/hardened.conf"))
	cmd := exec.Command(analyze, "security", "--offline=true", "--no-pager", "--threshold=40", "./supd.service")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "unrecognized option") {
		t.Skip("systemd is older than 250, and cannot rate a unit that is not loaded")
	}
	if err != nil {
		t.Errorf("the exposure is not 4.0 or less: %v\n%s", err, out)
	}
}

// copyAll copies a file or a directory.
func copyAll(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-r", from, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
}
