package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sup/lib/suptest"
	"sup/supd/internal/state"
)

const nobody = 65534

// impostor is a process that leads a group and carries a mark, as some user.
func impostor(t *testing.T, uid int, mark string) int {
	t.Helper()
	cmd := exec.Command("/bin/sleep", "1000")
	cmd.Env = []string{"SUPD_RUN=" + mark}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

// markOf is the mark in the environment of a process.
func markOf(t *testing.T, pid int) string {
	t.Helper()
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		t.Fatal(err)
	}
	for kv := range strings.SplitSeq(string(environ), "\x00") {
		if mark, ok := strings.CutPrefix(kv, "SUPD_RUN="); ok {
			return mark
		}
	}
	t.Fatalf("process %d has no mark", pid)
	return ""
}

// Nobody is taken for a program by a mark of his own making, and by a copy of one
// only if he could do as the program can anyway, and even then not where it is known
// which process the program was: not by a new daemon, not by one that has lost its
// state, and not when the program is gone.
func TestAttackForgedMarks(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may start processes of others")
	}
	// vault is root's, web the attacker's own.
	d := suptest.Start(t, suptest.Options{Config: `[program:vault]
command=/bin/cat
startsecs=0
[program:web]
command=/bin/sleep 1000
user=65534
startsecs=0
`})
	d.Wait("RUNNING", "vault", "web")
	vault, web := d.Info("vault").PID, d.Info("web").PID
	marks := map[string]string{"vault": markOf(t, vault), "web": markOf(t, web)}
	impostors := map[int]bool{}
	for name, mark := range marks {
		m := state.ParseMark(mark)
		code := mark[strings.LastIndexByte(mark, ':'):]
		old := state.OldInstance(d.Path("supd.pid.state"))
		for _, forged := range []string{
			mark, // read from /proc/PID/environ
			m.Instance + ":" + name + ":" + strconv.FormatInt(m.Run+1, 10) + code,
			m.Instance + ":" + name + ":2147483647" + code,
			m.Instance + ":" + name + ":9223372036854775807:" + strings.Repeat("0", 32),
			m.Instance + ":" + name + ":" + strconv.FormatInt(m.Run+1, 10),
			old + ":" + name + ":" + strconv.FormatInt(m.Run, 10),
			old + ":" + name + ":2147483647",
		} {
			impostors[impostor(t, nobody, forged)] = true
		}
	}
	check := func(when string, want map[string]int) {
		t.Helper()
		d.Wait("RUNNING", "vault", "web")
		for name, pid := range want {
			is := d.Info(name).PID
			if impostors[is] {
				t.Fatalf("%s: %s is a process of the attacker", when, name)
			}
			if pid != 0 && is != pid {
				t.Errorf("%s: %s has pid %d, had %d", when, name, is, pid)
			}
			m := state.ParseMark(markOf(t, is))
			if m.Process != name || m.Run > 1000 {
				t.Errorf("%s: %s is run %d of %s", when, name, m.Run, m.Process)
			}
		}
	}
	d.Crash()
	d.Relaunch()
	check("after a kill", map[string]int{"vault": vault, "web": web})

	d.Crash()
	if err := os.WriteFile(d.Path("supd.pid.state/state"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d.Relaunch()
	check("without a state", map[string]int{"vault": vault, "web": web})

	d.Crash()
	if err := os.RemoveAll(d.Path("supd.pid.state")); err != nil {
		t.Fatal(err)
	}
	d.Relaunch()
	check("without a directory", map[string]int{"vault": vault, "web": web})

	d.Crash()
	for _, pid := range []int{vault, web} {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	d.Relaunch()
	check("when the programs are gone", map[string]int{"vault": 0, "web": 0})
	check("when the programs are gone", map[string]int{"vault": d.Info("vault").PID})

	d.Signal(syscall.SIGTERM)
	d.AwaitEnd()
	d.Relaunch()
	check("after an orderly end", map[string]int{"vault": 0, "web": 0})
	for pid := range impostors {
		if _, ended, err := state.Ticks(pid); err != nil || ended {
			t.Errorf("process %d of the attacker was ended", pid)
		}
	}
}

// A stop of a killasgroup program ends what carries its mark in our PID namespace,
// and nothing that carries one like it.
func TestAttackMarkAtStop(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may start processes of others")
	}
	d := suptest.Start(t, suptest.Options{Config: `[program:tree]
command=/bin/sh -c 'setsid setpriv --reuid=65534 --regid=65534 --clear-groups /bin/sleep 1000 & echo $! >kid; exec sleep 1000'
directory=%(here)s
killasgroup=true
stopwaitsecs=1
startsecs=0
`})
	d.Wait("RUNNING", "tree")
	d.WaitFile("kid", "\n")
	mark := markOf(t, d.Info("tree").PID)
	m := state.ParseMark(mark)
	code := mark[strings.LastIndexByte(mark, ':'):]
	var others []int
	for _, forged := range []string{
		m.Instance + ":tree:" + strconv.FormatInt(m.Run, 10),
		m.Instance + ":tree:" + strconv.FormatInt(m.Run, 10) + ":" + strings.Repeat("0", 32),
		m.Instance + ":tree:" + strconv.FormatInt(m.Run+1, 10) + code,
		state.OldInstance(d.Path("supd.pid.state")) + ":tree:" + strconv.FormatInt(m.Run, 10),
	} {
		others = append(others, impostor(t, nobody, forged))
	}
	kid, err := strconv.Atoi(strings.TrimSpace(d.ReadFile("kid")))
	if err != nil {
		t.Fatal(err)
	}
	d.MustCtl("stop", "tree")
	d.Until("what has left the group and changed its user is ended", func() error {
		if err := syscall.Kill(kid, 0); err != syscall.ESRCH {
			return fmt.Errorf("it is there: %v", err)
		}
		return nil
	})
	d.Stop()
	for _, pid := range others {
		if _, ended, err := state.Ticks(pid); err != nil || ended {
			t.Errorf("process %d of another was ended", pid)
		}
	}
}

// evilState is what an attacker leaves in a state directory of his: a group whose
// program writes to a file of root's.
func evilState(t *testing.T, path string) []byte {
	t.Helper()
	group := `{"Name":"web","Processes":[{"Name":"web","Group":"web","Command":"/usr/bin/touch ` + path + `.rooted","UID":-1,"AutoStart":true}]}`
	s := state.Snapshot{
		Head:   state.Head{Version: state.Version, BootID: state.BootID(), PIDNS: state.PIDNamespace(), Dir: path, Instance: state.OldInstance(path), Generation: 1, Supd: 1},
		Groups: [][]byte{[]byte(group)}, Processes: [][]byte{[]byte(`{"group":"web","name":"web","state":0}`)},
	}
	text, err := s.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// In a directory of another user a state directory could be exchanged at any moment:
// it is made elsewhere, and what lies there is used only if it is ours, by the
// descriptor that was looked at.
func TestAttackStateDirectoryOfAnother(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root has anything to fear")
	}
	const config = "[program:web]\ncommand=/bin/sleep 1000\nstartsecs=0\n"
	app := t.TempDir()
	pidfile := filepath.Join(app, "attack-"+strconv.Itoa(os.Getpid())+".pid")
	beside := pidfile + ".state"
	t.Cleanup(func() { removePlaces(t, pidfile) })
	evil := filepath.Join(app, "evil")
	own := func(paths ...string) {
		t.Helper()
		for _, path := range paths {
			if err := os.Chown(path, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(evil, 0o700))
	must(os.WriteFile(filepath.Join(evil, "state"), evilState(t, beside), 0o600))
	must(os.WriteFile(filepath.Join(evil, "lock"), []byte("4711\n"), 0o600))
	own(app, evil, filepath.Join(evil, "state"), filepath.Join(evil, "lock"))

	check := func(d *suptest.Daemon, when string) int {
		t.Helper()
		d.Wait("RUNNING", "web")
		pid := d.Info("web").PID
		if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); string(line) != "/bin/sleep\x001000\x00" {
			t.Fatalf("%s: web is %q", when, line)
		}
		if _, err := os.Stat(beside + ".rooted"); err == nil {
			t.Fatalf("%s: root has executed a command of the attacker", when)
		}
		return pid
	}

	// His own directory, and a link to it.
	must(os.Rename(evil, beside))
	d := suptest.Start(t, suptest.Options{Config: config, Args: []string{"-j", pidfile}})
	pid := check(d, "a directory of his")
	d.Crash()
	must(os.Rename(beside, evil))
	must(os.Symlink("evil", beside))
	d.Relaunch()
	if again := check(d, "a link"); again != pid {
		t.Errorf("web had pid %d, has %d: the state was not kept where only root can write", pid, again)
	}
	if text, err := os.ReadFile(filepath.Join(evil, "lock")); err != nil || string(text) != "4711\n" {
		t.Errorf("the lock of the attacker was written: %q, %v", text, err)
	}
	must(os.Remove(beside))

	// Exchanged all the time while the daemon starts: with what an earlier version
	// has left there.
	real := filepath.Join(app, "real")
	must(os.Mkdir(real, 0o700))
	must(os.Rename(real, beside))
	done, flipped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(flipped)
		for {
			select {
			case <-done:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, evil, unix.AT_FDCWD, beside, unix.RENAME_EXCHANGE)
			}
		}
	}()
	for range 5 {
		d.Crash()
		d.Relaunch()
		check(d, "an exchange")
	}
	close(done)
	<-flipped
	d.Stop()
	if found, _ := filepath.Glob("/run/sup/" + strings.TrimSuffix(filepath.Base(pidfile), ".pid") + "-*"); len(found) != 1 {
		t.Errorf("state directories: %v", found)
	}
}

// A state directory that the configuration names is refused where others could put
// another one in its place, with a line that says so.
func TestAttackStateDirectoryRefused(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may give directories away")
	}
	for name, spoil := range map[string]func(dir string) error{
		"another user's":     func(dir string) error { return os.Chown(dir, nobody, nobody) },
		"writable by others": func(dir string) error { return os.Chmod(dir, 0o777) },
		"writable by a group": func(dir string) error {
			return errors.Join(os.Chown(dir, 0, nobody), os.Chmod(dir, 0o775))
		},
		"sticky, another user's": func(dir string) error {
			return errors.Join(os.Chown(dir, nobody, nobody), os.Chmod(dir, 0o777|os.ModeSticky))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := spoil(dir); err != nil {
				t.Fatal(err)
			}
			here := t.TempDir()
			config := "[supervisord]\nlogfile=%(here)s/log\npidfile=%(here)s/pid\nstatedir=" + dir + "/x.state\n"
			if err := os.WriteFile(here+"/supervisord.conf", []byte(config), 0o644); err != nil {
				t.Fatal(err)
			}
			suptest.Tool(t, "suplog")
			text, err := exec.Command(suptest.Tool(t, "supd"), "-n", "-c", here+"/supervisord.conf").CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 2 {
				t.Errorf("it ended with %v", err)
			}
			if !strings.Contains(string(text), "statedir="+dir+"/x.state cannot be used: ") || !strings.Contains(string(text), "hint: ") {
				t.Errorf("it says %q", text)
			}
			if _, err := os.Stat(dir + "/x.state"); err == nil {
				t.Error("it was made all the same")
			}
		})
	}
	// In root's own sticky directory it is allowed.
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	d := suptest.Start(t, suptest.Options{Config: "statedir=" + dir + "/x.state\n[program:a]\ncommand=sleep 1000\nstartsecs=0\n"})
	d.Wait("RUNNING", "a")
	if _, err := os.Stat(dir + "/x.state/key"); err != nil {
		t.Error(err)
	}
}

// A program that has become another user by itself is still the one that is on record,
// with a state and without.
func TestTakeoverOfChangedUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	d := suptest.Start(t, suptest.Options{Config: `[program:web]
command=setpriv --reuid=65534 --regid=65534 --clear-groups /bin/sleep 1000
startsecs=0
`})
	d.Wait("RUNNING", "web")
	pid := d.Info("web").PID
	d.Until("it is nobody", func() error {
		if fi, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil || fi.Sys().(*syscall.Stat_t).Uid != nobody {
			return fmt.Errorf("not yet: %v", err)
		}
		return nil
	})
	for _, spoil := range []bool{false, true} {
		d.Crash()
		if spoil {
			if err := os.WriteFile(d.Path("supd.pid.state/state"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		d.Relaunch()
		d.Wait("RUNNING", "web")
		if again := d.Info("web").PID; again != pid {
			t.Fatalf("web had pid %d, and has %d; state spoiled: %v", pid, again, spoil)
		}
	}
}
