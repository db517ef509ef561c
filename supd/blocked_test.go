package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/client"
	"sup/lib/suptest"
)

// blocker is something that supd has to do with, and that hangs.
type blocker struct {
	name string
	// config is added to that of the test, args are added to the command line.
	config string
	args   []string
	// ownMounts is set if it mounts something.
	ownMounts bool
	// dirs are made in the daemon's directory.
	dirs []string
	// before, if set, comes before the daemon is started.
	before func(t testing.TB, o *suptest.Options)
	// hold makes it hang; after it the programs victim are killed. The function
	// that it returns is called then: it checks that it still hangs, and may let
	// it go.
	hold func(t testing.TB, d *suptest.Daemon) (held func())
}

var blockers = []blocker{
	slowClients, slowFollowers, hungListeners, suspendedSuplog, fullLog, fullActivityLog, fullConsole,
	deafManager, fullStdin, deadLogs, deadState, deadCommand,
}

// TestNothingHoldsUpTheLoop has whatever supd writes to or reads from hang,
// each by itself: meanwhile the end of a program is noticed, told to a listener,
// and the program is started again.
func TestNothingHoldsUpTheLoop(t *testing.T) {
	for _, b := range blockers {
		t.Run(strings.ReplaceAll(b.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			d, held := b.start(t, fmt.Sprintf(`
[program:victim]
command=sleep 1000
startsecs=0
autorestart=true
[eventlistener:ear]
command=%s listen %%(here)s/events
directory=%%(here)s
events=PROCESS_STATE
buffer_size=10000
`, worker(t)))
			killed, slowest := killed(t, d, "victim", 5)
			told(t, d, killed)
			held()
			t.Logf("%d kills, up again after %v at most", len(killed), slowest)
			d.Stop()
		})
	}
}

// BenchmarkKillNoticed is the time from the death of a program by SIGKILL until
// clients are told of it, while nothing hangs and while each of those hangs that
// must not matter.
func BenchmarkKillNoticed(b *testing.B) {
	nothing := blocker{name: "nothing", hold: func(testing.TB, *suptest.Daemon) func() { return func() {} }}
	for _, blocker := range append([]blocker{nothing}, blockers...) {
		b.Run(strings.ReplaceAll(blocker.name, " ", "-"), func(b *testing.B) {
			d, held := blocker.start(b, "[program:victim]\ncommand=sleep 1000\nstartsecs=0\nautorestart=false\n")
			var took []time.Duration
			for b.Loop() {
				pid := d.Info("victim").PID
				began := time.Now()
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					b.Fatal(err)
				}
				for d.Info("victim").StateName != "EXITED" {
				}
				took = append(took, time.Since(began))
				if err := d.Client.StartProcess(b.Context(), "victim"); err != nil {
					b.Fatal(err)
				}
			}
			report(b, took, 50, "p50-ms")
			report(b, took, 95, "p95-ms")
			report(b, took, 100, "max-ms")
			held()
		})
	}
}

// start starts a daemon with the sections of a program named victim, and has the
// blocker hang.
func (b *blocker) start(t testing.TB, victim string) (d *suptest.Daemon, held func()) {
	t.Helper()
	if b.ownMounts {
		suptest.OwnMounts(t)
	}
	dir, err := os.MkdirTemp("", "sup")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, name := range b.dirs {
		if err := os.Mkdir(dir+"/"+name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	o := suptest.Options{Dir: dir, Args: b.args, Config: b.config + victim}
	if b.before != nil {
		b.before(t, &o)
	}
	d = suptest.Start(t, o)
	d.Wait("RUNNING", "victim")
	return d, b.hold(t, d)
}

// killed kills a program several times, each time it runs, and tells the pids
// that it had and the longest time until it ran again.
func killed(t testing.TB, d *suptest.Daemon, name string, times int) (pids []int, slowest time.Duration) {
	t.Helper()
	for range times {
		pid := d.Info(name).PID
		began := time.Now()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		d.Until(name+" runs again", func() error {
			if info := d.Info(name); info.PID == pid || info.StateName != "RUNNING" {
				return fmt.Errorf("it is %s with pid %d, which was %d", info.StateName, info.PID, pid)
			}
			return nil
		})
		slowest = max(slowest, time.Since(began))
		pids = append(pids, pid)
	}
	return pids, slowest
}

// told waits until the listener was told of the ends of processes, and checks
// that what it was told is in order.
func told(t testing.TB, d *suptest.Daemon, pids []int) {
	t.Helper()
	var text string
	d.Until("the listener was told of every end", func() error {
		b, err := os.ReadFile(d.Path("events"))
		if err != nil {
			return err
		}
		text = string(b)
		for _, pid := range pids {
			if !strings.Contains(text, fmt.Sprintf("from_state:RUNNING expected:0 pid:%d\n", pid)) {
				return fmt.Errorf("nothing of %d", pid)
			}
		}
		return nil
	})
	checkEvents(t, text)
}

// request sends a text to the daemon's socket.
func request(t testing.TB, d *suptest.Daemon, text string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", d.Path("supd.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

// waiting is how much there is to be read of a connection, pipe or FIFO.
func waiting(t testing.TB, c syscall.Conn) (n int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		err = errors.Join(raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }), err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// awaitFull waits until nothing more goes into any of some connections, though a
// file grows by much.
func awaitFull(t testing.TB, d *suptest.Daemon, conns []net.Conn, file string) {
	t.Helper()
	const much = 1 << 20
	last, size := make([]int, len(conns)), int64(0)
	d.Until("they are full", func() error {
		fi, err := os.Stat(d.Path(file))
		if err != nil {
			return err
		}
		for i, c := range conns {
			if n := waiting(t, c.(syscall.Conn)); n == 0 || n != last[i] {
				last[i], size = n, fi.Size()
			}
		}
		if fi.Size() < size+much {
			return fmt.Errorf("in them are %d bytes", last)
		}
		return nil
	})
}

// full makes a FIFO into which nothing more goes, and holds it open.
func full(t testing.TB, path string) *os.File {
	t.Helper()
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	fill(t, f)
	return f
}

// fill writes to a pipe, which does not block, until it is full.
func fill(t testing.TB, f *os.File) {
	t.Helper()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		for _, size := range []int{4096, 1} {
			for err = nil; err == nil; {
				_, err = unix.Write(int(fd), make([]byte, size))
			}
		}
	})
	if err != unix.EAGAIN {
		t.Fatal(err)
	}
}

// stillFull checks that nothing has been taken from a pipe.
func stillFull(t testing.TB, f *os.File) {
	t.Helper()
	if n := waiting(t, f); n < 60<<10 {
		t.Errorf("%d bytes are left in the pipe", n)
	}
}

// talker is a program that writes much to a log.
func talker(t testing.TB, log string) string {
	return fmt.Sprintf("[program:talker]\ncommand=%s pour 500\nstartsecs=0\nstdout_logfile=%%(here)s/%s\nstdout_logfile_maxbytes=0\n", worker(t), log)
}

var slowClients = blocker{
	name:   "clients that do not read",
	config: "[program:big]\ncommand=true\nautostart=false\nstdout_logfile=%(here)s/big.log\n",
	before: func(t testing.TB, o *suptest.Options) {
		if err := os.WriteFile(o.Dir+"/big.log", make([]byte, bigLog), 0o600); err != nil {
			t.Fatal(err)
		}
	},
	hold: func(t testing.TB, d *suptest.Daemon) func() {
		const call = `<?xml version="1.0"?><methodCall><methodName>supervisor.readProcessStdoutLog</methodName><params>` +
			`<param><value><string>big</string></value></param><param><value><int>0</int></value></param>` +
			`<param><value><int>0</int></value></param></params></methodCall>`
		whole := fmt.Sprintf("POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s", len(call), call)
		var readers []net.Conn
		for i := range 20 {
			readers = append(readers, request(t, d, whole))
			request(t, d, whole[:(i+1)*len(whole)/21]) // and the rest never comes
		}
		for _, c := range readers {
			d.Until("there is an answer", func() error {
				if waiting(t, c.(syscall.Conn)) == 0 {
					return errors.New("nothing to read")
				}
				return nil
			})
		}
		return func() {
			for _, c := range readers {
				if n := waiting(t, c.(syscall.Conn)); n >= bigLog {
					t.Errorf("the answer was sent, %d bytes: nobody had to wait", n)
				}
				if n, err := io.CopyN(io.Discard, c, bigLog); err != nil {
					t.Errorf("after %d bytes of an answer: %v", n, err)
				}
			}
		}
	},
}

const bigLog = 4 << 20

var slowFollowers = blocker{
	name: "followers that do not read",
	before: func(t testing.TB, o *suptest.Options) {
		o.Config += talker(t, "talker.log")
	},
	hold: func(t testing.TB, d *suptest.Daemon) func() {
		d.WaitFile("talker.log", "x")
		var followers []net.Conn
		for range 20 {
			followers = append(followers, request(t, d, "GET /logtail/talker/stdout HTTP/1.1\r\nHost: x\r\n\r\n"))
		}
		awaitFull(t, d, followers, "talker.log")
		return func() {
			for _, c := range followers {
				if line, err := bufio.NewReader(c).ReadString('\n'); !strings.Contains(line, " 200 ") {
					t.Errorf("the answer begins with %q, %v", line, err)
				}
			}
		}
	},
}

var hungListeners = blocker{
	name: "listeners that hang",
	config: `[eventlistener:silent]
command=sleep 1000
events=PROCESS_STATE
[eventlistener:gone]
command=sh -c 'echo READY; exec sleep 1000'
events=REMOTE_COMMUNICATION
[eventlistener:unfinished]
command=sh -c 'printf "READY\nRESULT 99\nwell"; exec sleep 1000'
events=PROCESS_STATE,REMOTE_COMMUNICATION
[eventlistener:babbler]
command=yes
events=PROCESS_STATE
startsecs=0
autorestart=false
`,
	hold: func(t testing.TB, d *suptest.Daemon) func() {
		// More than a pipe takes at once.
		for range 20 {
			if err := d.Client.Call(t.Context(), nil, "supervisor.sendRemoteCommEvent", "much", strings.Repeat("x", 200<<10)); err != nil {
				t.Fatal(err)
			}
		}
		d.WaitFile("supd.log", "babbler")
		return func() { d.Wait("RUNNING", "silent", "gone", "unfinished") }
	},
}

var suspendedSuplog = blocker{
	name: "suplog suspended",
	before: func(t testing.TB, o *suptest.Options) {
		o.Config += talker(t, "talker.log")
	},
	hold: func(t testing.TB, d *suptest.Daemon) func() {
		pid := suplogOf(t, d)
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		killed(t, d, "talker", 2)
		return func() {
			if now := suplogOf(t, d); now != pid {
				t.Errorf("suplog had pid %d, has %d", pid, now)
			}
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	},
}

var fullLog = blocker{
	name: "log that takes nothing",
	before: func(t testing.TB, o *suptest.Options) {
		full(t, o.Dir+"/fifo")
		o.Config += talker(t, "fifo")
	},
	hold: func(t testing.TB, d *suptest.Daemon) func() {
		killed(t, d, "talker", 2)
		return func() {}
	},
}

var fullActivityLog = blocker{
	name: "activity log that takes nothing",
	args: []string{"-e", "blather", "-y", "0"},
	before: func(t testing.TB, o *suptest.Options) {
		o.Args = append(o.Args, "-l", o.Dir+"/fifo")
		full(t, o.Dir+"/fifo")
	},
	hold: func(t testing.TB, d *suptest.Daemon) func() {
		d.Signal(syscall.SIGUSR2)
		fifo, err := os.OpenFile(d.Path("fifo"), os.O_RDWR|unix.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { fifo.Close() })
		return func() { stillFull(t, fifo) }
	},
}

var fullConsole = blocker{
	name: "standard output that nobody reads",
	args: []string{"-e", "blather"},
	before: func(t testing.TB, o *suptest.Options) {
		full(t, o.Dir+"/console")
		// Blocking, as a pipe of a shell is.
		var err error
		if o.Output, err = os.OpenFile(o.Dir+"/console", os.O_WRONLY, 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { o.Output.Close() })
	},
	hold: func(t testing.TB, d *suptest.Daemon) func() {
		return func() { d.WaitFile("supd.log", "entered RUNNING state") }
	},
}

var deafManager = blocker{
	name: "service manager that does not listen",
	before: func(t testing.TB, o *suptest.Options) {
		m := newManager(t)
		o.Env = []string{"NOTIFY_SOCKET=" + m.path, "WATCHDOG_USEC=2000"}
	},
	hold: func(testing.TB, *suptest.Daemon) func() { return func() {} },
}

var fullStdin = blocker{
	name: "program that does not read",
	hold: func(t testing.TB, d *suptest.Daemon) func() {
		for range 4 {
			if err := d.Client.SendProcessStdin(t.Context(), "victim", strings.Repeat("x", 200<<10)); err != nil {
				t.Fatal(err)
			}
		}
		return func() {}
	},
}

var deadLogs = blocker{
	name:      "logs on a dead mount",
	ownMounts: true,
	dirs:      []string{"logs"},
	before: func(t testing.TB, o *suptest.Options) {
		o.Config += talker(t, "logs/talker.log") +
			"[program:late]\ncommand=sleep 1000\nautostart=false\nautorestart=true\nstartsecs=0\nstdout_logfile=%(here)s/logs/late.log\n"
	},
	hold: func(t testing.TB, d *suptest.Daemon) func() {
		d.WaitFile("logs/talker.log", "x")
		end := suptest.DeadMount(t, d.Path("logs"))
		// One that was never started, one whose log has to be opened anew, and
		// all at once.
		if err := d.Client.StartProcess(t.Context(), "late"); err != nil {
			t.Error(err)
		}
		if err := d.Client.StopProcess(t.Context(), "talker"); err != nil {
			t.Error(err)
		}
		if err := d.Client.StartProcess(t.Context(), "talker"); err != nil {
			t.Error(err)
		}
		d.Signal(syscall.SIGUSR2)
		killed(t, d, "late", 2)
		killed(t, d, "talker", 2)
		asking := askInVain(t, d, "supervisor.reloadConfig")
		asking = append(asking, askInVain(t, d, "supervisor.readProcessStdoutLog", "talker", 0, 100)...)
		// And its successor can open none.
		suplog := suplogOf(t, d)
		if err := syscall.Kill(suplog, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		return func() {
			d.Wait("RUNNING", "late", "talker")
			for _, answered := range asking {
				select {
				case <-answered:
					t.Error("a call was answered that needs what is on the dead mount")
				default:
				}
			}
			end()
			for _, answered := range asking {
				<-answered
			}
			d.Until("the log is written again", func() error {
				_, err := os.Stat(d.Path("logs/late.log"))
				return err
			})
		}
	},
}

// askInVain makes a call that is not going to be answered, at first; the channel
// is closed when it is.
func askInVain(t testing.TB, d *suptest.Daemon, method string, args ...any) []<-chan struct{} {
	t.Helper()
	c, err := client.New("unix://"+d.Path("supd.sock"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), suptest.Patience)
		defer cancel()
		_ = c.Call(ctx, nil, method, args...)
	}()
	return []<-chan struct{}{answered}
}

var deadState = blocker{
	name:      "pid file and state on a dead mount",
	ownMounts: true,
	dirs:      []string{"run"},
	args:      []string{"-j", "run/supd.pid"},
	before: func(t testing.TB, o *suptest.Options) {
		o.Config += talker(t, "talker.log")
	},
	hold: func(t testing.TB, d *suptest.Daemon) func() {
		suptest.DeadMount(t, d.Path("run"))
		killed(t, d, "talker", 2)
		if err := d.Client.StopProcess(t.Context(), "talker"); err != nil {
			t.Error(err)
		}
		old := suplogOf(t, d)
		if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := d.Client.StartProcess(t.Context(), "talker"); err != nil {
			t.Error(err)
		}
		return func() {
			if now := suplogOf(t, d); now == old {
				t.Error("suplog was not started again")
			}
			fi, err := os.Stat(d.Path("talker.log"))
			if err != nil {
				t.Fatal(err)
			}
			d.Until("the log is written again", func() error {
				now, err := os.Stat(d.Path("talker.log"))
				if err == nil && now.Size() == fi.Size() {
					err = errors.New("it does not grow")
				}
				return err
			})
			// The mount stays dead, and the daemon ends all the same.
		}
	},
}

var deadCommand = blocker{
	name:      "command on a dead mount",
	ownMounts: true,
	dirs:      []string{"far"},
	config: `[program:far]
command=%(here)s/far/command
startsecs=0
autorestart=true
[program:never]
command=%(here)s/far/command
autostart=false
`,
	before: func(t testing.TB, o *suptest.Options) {
		if err := os.WriteFile(o.Dir+"/far/command", []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	},
	hold: func(t testing.TB, d *suptest.Daemon) func() {
		d.Wait("RUNNING", "far")
		pid := d.Info("far").PID
		end := suptest.DeadMount(t, d.Path("far"))
		asking := askInVain(t, d, "supervisor.startProcess", "never")
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		d.Wait("STARTING", "far")
		return func() {
			if info := d.Info("far"); info.StateName != "STARTING" || info.PID != 0 {
				t.Errorf("it is %s with pid %d", info.StateName, info.PID)
			}
			end()
			<-asking[0]
			d.Wait("RUNNING", "far")
			if n := len(slices.DeleteFunc(relatives(d), func(r relative) bool { return !strings.Contains(r.mark, ":far:") })); n != 1 {
				t.Errorf("it runs %d times", n)
			}
		}
	},
}
