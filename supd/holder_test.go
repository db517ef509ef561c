package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sup/lib/suptest"
)

// killAll kills processes with SIGKILL, the daemon among them if it is to die.
func killAll(t *testing.T, d *suptest.Daemon, daemon bool, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if daemon {
		d.Crash()
	}
}

// awaitOther waits until another process of a name than the one that was is there.
func awaitOther(d *suptest.Daemon, name string, was int) {
	d.Until("there is another "+name, func() error {
		for _, r := range relatives(d) {
			if r.command == name && r.state != "Z" && r.pid != was {
				return nil
			}
		}
		return errors.New("not yet")
	})
}

// Whoever dies of supd, suplog and suphold, as long as it is not all three at once:
// no program gets SIGPIPE or comes to the end of its input, and no line is lost,
// not even the last one of a program that ends meanwhile, whether its output goes to
// the log as it is or is looked at on its way.
func TestHolder(t *testing.T) {
	plain, seen := workers(t, "1ms", "plain"), strings.Replace(workers(t, "1ms", "seen"), "redirect_stderr=true", "redirect_stderr=true\nstdout_events_enabled=true", 1)
	names := []string{"plain", "seen"}
	d := suptest.Start(t, suptest.Options{Config: plain + seen + `[program:last]
command=sh -c 'until [ -e go ]; do sleep 0.01; done; echo last words'
directory=%(here)s
startsecs=0
startretries=0
autorestart=false
stdout_logfile=%(here)s/last.log
[program:reader]
command=sh -c 'cat >/dev/null; echo end >end'
directory=%(here)s
startsecs=0
autorestart=false
`})
	all := append(names, "last", "reader")
	d.Wait("RUNNING", all...)
	before := pids(t, d)

	// Its own death costs nothing.
	holder := holderOf(t, d)
	killAll(t, d, false, holder)
	awaitOther(d, "suphold", holder)
	// What takes its place has all.
	for range 2 {
		killAll(t, d, true, suplogOf(t, d))
		d.Relaunch()
	}
	holder = holderOf(t, d)
	killAll(t, d, false, holder, suplogOf(t, d))
	awaitOther(d, "suphold", holder)
	killAll(t, d, true, holderOf(t, d)) // suplog has everything
	d.Relaunch()
	suplogOf(t, d)

	// It stays over an upgrade.
	holder = holderOf(t, d)
	d.MustCtl("upgrade")
	if now := holderOf(t, d); now != holder {
		t.Errorf("suphold was %d, and is %d after an upgrade", holder, now)
	}
	killAll(t, d, true, suplogOf(t, d))
	d.WriteFile("go", "")
	d.Until("the program has ended", func() error {
		if f, err := statOf(before["last"]); err == nil && f[0] != "Z" {
			return errors.New("it is there")
		}
		return nil
	})
	d.Relaunch()
	d.WaitFile("last.log", "last words\n")
	d.Wait("EXITED", "last")
	d.Wait("RUNNING", names...)
	d.Wait("RUNNING", "reader")
	after := pids(t, d)
	for _, name := range append(names, "reader") {
		if before[name] != after[name] {
			t.Errorf("%s had pid %d, and has %d", name, before[name], after[name])
		}
	}
	if _, err := os.Stat(d.Path("end")); err == nil {
		t.Error("a program came to the end of its input")
	}
	d.MustCtl("stop", "all")
	workersWell(t, d, names)
	d.Until("suphold has given everything up", func() error {
		if n := pipesOf(t, holderOf(t, d)); n != 0 {
			return fmt.Errorf("it has %d pipes", n)
		}
		return nil
	})
}

// pipesOf counts the pipes that a process has open.
func pipesOf(t *testing.T, pid int) (n int) {
	t.Helper()
	for _, target := range openFiles(t, pid) {
		if strings.HasPrefix(target, "pipe:") {
			n++
		}
	}
	return n
}

// openFiles are the open files of a process, by number.
func openFiles(t *testing.T, pid int) map[string]string {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, e := range entries {
		if target, err := os.Readlink(dir + "/" + e.Name()); err == nil {
			found[e.Name()] = target
		}
	}
	return found
}

// Without a state directory nobody can come back for what is held; it is held for
// programs that run on, and given up with the last of them.
func TestHolderAlone(t *testing.T) {
	d := suptest.Start(t, suptest.Options{Config: "statedir=none\n" + workers(t, "1ms", "a")})
	d.Wait("RUNNING", "a")
	d.WaitFile("a.count", "\n")
	holder, program := holderOf(t, d), d.Info("a").PID
	killAll(t, d, true, suplogOf(t, d))
	count := func() string { return d.ReadFile("a.count") }
	was := count()
	d.Until("the program writes on", func() error {
		if count() == was {
			return errors.New("it does not")
		}
		return nil
	})
	if pipesOf(t, holder) == 0 {
		t.Error("nothing is held")
	}
	killAll(t, d, false, program)
	// What it wrote last is still held. Nobody comes for it in this test.
	killAll(t, d, false, holder)
	d.Until("suphold has ended", func() error {
		if f, err := statOf(holder); err == nil && f[0] != "Z" {
			return errors.New("it has not")
		}
		return nil
	})
	d.Relaunch()
}

// The process is small, once it has been left alone for a moment.
func TestHolderMemory(t *testing.T) {
	if suptest.Race {
		t.Skip("the race detector takes much memory")
	}
	d := suptest.Start(t, suptest.Options{Config: "[program:a]\ncommand=sleep 1000\nprocess_name=%(process_num)d\nnumprocs=20\nstartsecs=0\n"})
	d.Wait("RUNNING", "a:0", "a:19")
	holder := holderOf(t, d)
	const most = 1 << 10
	var size int
	d.Until("suphold is small", func() error {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", holder))
		if err != nil {
			return err
		}
		_, rest, _ := bytes.Cut(text, []byte("\nPss:"))
		size, err = strconv.Atoi(strings.Fields(string(rest))[0])
		if err == nil && size > most {
			err = fmt.Errorf("its share of memory is %d KiB", size)
		}
		return err
	})
	t.Logf("suphold has %d KiB", size)
}

// A program has three descriptors, each with the one direction that it needs, and
// nobody else can open its pipes: whoever runs as another user below it cannot take
// away what it writes, nor tell it anything. It stays so over restarts, an upgrade
// and the death of the daemon.
func TestAttackOutputOfOthers(t *testing.T) {
	config := `[program:a]
command=sleep 1000
startsecs=0
[program:both]
command=sleep 1000
redirect_stderr=true
startsecs=0
[program:old]
command=sleep 1000
stdout_open=rw
startsecs=0
[eventlistener:l]
command=sh -c 'echo READY; exec sleep 1000'
events=TICK_3600
startsecs=0
`
	user := os.Geteuid()
	if user == 0 {
		user = 65534
		config += "[program:n]\ncommand=sleep 1000\nuser=nobody\nstartsecs=0\n"
	}
	d := suptest.Start(t, suptest.Options{Config: config})
	names := []string{"a", "both", "old", "l"}
	if os.Geteuid() == 0 {
		names = append(names, "n")
	}
	check := func(when string) {
		t.Helper()
		d.Wait("RUNNING", names...)
		for _, name := range names {
			pid := d.Info(name).PID
			d.Until(name+" is executed", func() error {
				if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); string(comm) != "sleep\n" {
					return fmt.Errorf("it is %q", comm)
				}
				return nil
			})
			// It opens files of its own for a moment.
			d.Until(when+": "+name+" has three descriptors", func() error {
				if fds := openFiles(t, pid); len(fds) != 3 {
					return fmt.Errorf("it has %v", fds)
				}
				return nil
			})
			owner := os.Geteuid()
			if name == "n" {
				owner = user
			}
			want := [3]int{syscall.O_RDONLY, syscall.O_WRONLY, syscall.O_WRONLY}
			if name == "old" {
				want[1] = syscall.O_RDWR
			}
			for fd, mode := range want {
				if got := openMode(t, pid, fd); got != mode {
					t.Errorf("%s: descriptor %d of %s is open with mode %d, want %d", when, fd, name, got, mode)
				}
				var st syscall.Stat_t
				if err := syscall.Stat(fmt.Sprintf("/proc/%d/fd/%d", pid, fd), &st); err != nil {
					t.Error(err)
				} else if st.Mode != syscall.S_IFIFO|0o600 || int(st.Uid) != owner {
					t.Errorf("%s: descriptor %d of %s has mode %o and belongs to user %d", when, fd, name, st.Mode, st.Uid)
				}
			}
		}
	}
	check("at first")
	d.MustCtl("restart", "all")
	check("after a restart")
	d.MustCtl("upgrade")
	d.MustCtl("restart", "all")
	check("after an upgrade")
	d.Crash()
	d.Relaunch()
	check("after a takeover")
	d.MustCtl("restart", "all")
	check("after a takeover and a restart")
}

// openMode is how a process has a descriptor open.
func openMode(t *testing.T, pid, fd int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, fd))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "flags:")
	flags, err := strconv.ParseInt(strings.Fields(rest)[0], 8, 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(flags) & syscall.O_ACCMODE
}

// A program that another user is to run has the groups of that user and nothing
// that supd was given for itself.
func TestAttackRights(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run programs as others")
	}
	d := suptest.Start(t, suptest.Options{
		Env: []string{"NOTIFY_SOCKET=", "SUPERVISOR_PASSWORD=hunter2", "LISTEN_FDS=0", "WATCHDOG_USEC=1"},
		Config: `[program:a]
command=sleep 1000
user=nobody
umask=027
startsecs=0
`})
	d.Wait("RUNNING", "a")
	pid := d.Info("a").PID
	d.Until("it is executed", func() error {
		if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); string(comm) != "sleep\n" {
			return fmt.Errorf("it is %q", comm)
		}
		return nil
	})
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\nUid:\t65534\t65534\t65534\t65534\n", "\nGid:\t65534\t65534\t65534\t65534\n", "\nGroups:\t65534 \n", "\nUmask:\t0027\n",
		"\nSigBlk:\t0000000000000000\n", "\nCapPrm:\t0000000000000000\n", "\nCapEff:\t0000000000000000\n",
	} {
		if !strings.Contains(string(status), want) {
			t.Errorf("not in its status: %q", want)
		}
	}
	own, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	// A shell starts what it puts in the background with some signals ignored.
	if ignored := ignoredSignals(t, status) &^ ignoredSignals(t, own); ignored != 0 {
		t.Errorf("it ignores the signals %#x, which we do not", ignored)
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"NOTIFY_SOCKET", "SUPERVISOR_PASSWORD", "LISTEN_FDS", "WATCHDOG_USEC", "SUPHOLD"} {
		if strings.Contains("\x00"+string(environ), "\x00"+name+"=") {
			t.Errorf("it has %s in its environment", name)
		}
	}
}

// ignoredSignals is the set of signals that a process ignores, from its status.
func ignoredSignals(t *testing.T, status []byte) uint64 {
	t.Helper()
	_, rest, _ := strings.Cut(string(status), "\nSigIgn:")
	set, err := strconv.ParseUint(strings.Fields(rest)[0], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// Hundreds of short runs, while clients connect and suplog and suphold are killed, have no
// descriptor too many.
func TestAttackDescriptors(t *testing.T) {
	const runs = 400
	d := suptest.Start(t, suptest.Options{Config: `[program:c]
command=sh count.sh
directory=%(here)s
process_name=%(process_num)d
numprocs=10
startsecs=0
autorestart=true
autostart=false
stdout_logfile=NONE
stderr_logfile=NONE
`})
	// The shell has its script as 10, and the directory as 3.
	d.WriteFile("count.sh", "for f in /proc/self/fd/*; do case $f in */[0-3]|*/10) ;; *) ls -l $f; esac; done >>extra\necho >>runs\n")
	d.MustCtl("start", "all")
	stop := connecting(t, d)
	d.Until("all have run", func() error {
		for _, r := range relatives(d) {
			if r.command == "suphold" || r.command == "suplog" {
				_ = syscall.Kill(r.pid, syscall.SIGKILL)
			}
		}
		pauseFor(t.Context(), 50*time.Millisecond)
		if text, err := os.ReadFile(d.Path("runs")); len(text) < runs {
			return fmt.Errorf("%d of %d (%v)", len(text), runs, err)
		}
		return nil
	})
	stop()
	d.MustCtl("stop", "all")
	if text := d.ReadFile("extra"); text != "" {
		t.Errorf("descriptors too many: %.1000s", text)
	}
}
