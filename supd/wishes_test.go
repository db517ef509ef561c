package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sup/lib/suptest"
)

// What a daemon that takes over believes of the states that it finds.

const wishes = `[program:web]
command=sleep 1000
startsecs=0
[program:hand]
command=sleep 1000
startsecs=0
[program:fatal]
command=sh -c 'test -e %(here)s/mended && exec sleep 1000; exit 1'
startretries=0
[program:again]
command=sh -c 'test -e %(here)s/mended && exec sleep 1000; exit 1'
startretries=1000
[program:once]
command=sh -c 'echo ran >>%(here)s/once'
startsecs=0
autorestart=false
[program:later]
command=sleep 1000
startsecs=0
autostart=false
[program:slow]
command=sh -c 'trap "" TERM INT; echo deaf >>%(here)s/deaf; while sleep 0.05; do rm %(here)s/yield 2>/dev/null && exit 0; done'
startsecs=0
stopwaitsecs=60
`

// wished starts a daemon with the programs in all kinds of states.
func wished(t *testing.T) *suptest.Daemon {
	d := suptest.Start(t, suptest.Options{Config: wishes})
	d.Wait("RUNNING", "web", "hand", "slow")
	d.WaitFile("deaf", "deaf")
	d.Wait("EXITED", "once")
	d.Wait("FATAL", "fatal")
	d.Wait("BACKOFF", "again")
	d.MustCtl("stop", "hand")
	d.MustCtl("start", "later")
	d.WriteFile("mended", "")
	return d
}

// ran tells how often a program has run that writes a line each time.
func ran(d *suptest.Daemon, file string) int { return strings.Count(fileOf(d, file), "\n") }

// A shutdown or a restart that is cut short leaves no wishes: a new start starts
// what has autostart, whatever had stopped, failed or ended, and by whom. What runs
// on is taken over; what was asked to stop is started again when it has.
func TestShutdownCutShort(t *testing.T) {
	signal := func(sig syscall.Signal) func(*suptest.Daemon) {
		return func(d *suptest.Daemon) { d.Signal(sig) }
	}
	for name, begin := range map[string]func(*suptest.Daemon){
		"TERM": signal(syscall.SIGTERM), "INT": signal(syscall.SIGINT), "QUIT": signal(syscall.SIGQUIT), "HUP": signal(syscall.SIGHUP),
		"shutdown": func(d *suptest.Daemon) { d.MustCtl("shutdown") },
		"reload":   func(d *suptest.Daemon) { d.MustCtl("reload") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := wished(t)
			slow := d.Info("slow").PID
			begin(d)
			d.WaitFile("supd.log", "stopped: web")
			if name == "INT" || name == "shutdown" {
				d.WaitFile("supd.pid.state/state", `"name":"slow","state":40`)
			}
			d.Crash()
			d.Relaunch()
			d.Wait("RUNNING", "web", "hand", "fatal", "again")
			d.Wait("STOPPED", "later")
			d.Wait("EXITED", "once")
			if n := ran(d, "once"); n != 2 {
				t.Errorf("the one-shot has run %d times, want 2", n)
			}
			if i := d.Info("slow"); i.PID != slow {
				t.Errorf("slow is %s with pid %d, had %d", i.StateName, i.PID, slow)
			}
			// It ends as if nobody wanted it any more.
			d.WriteFile("yield", "")
			d.Until("slow is started again", func() error {
				if i := d.Info("slow"); i.StateName != "RUNNING" || i.PID == slow {
					return fmt.Errorf("it is %s with pid %d", i.StateName, i.PID)
				}
				return nil
			})
			endSlow(d)
		})
	}
}

// endSlow ends a daemon with a program that ignores SIGTERM.
func endSlow(d *suptest.Daemon) {
	d.Finish(func() {
		d.Signal(syscall.SIGTERM)
		d.Until("the daemon has shut down", func() error {
			if ended(d.PID()) {
				return nil
			}
			for _, r := range relatives(d) {
				if r.mark != "" && r.command == "sh" {
					_ = syscall.Kill(r.pid, syscall.SIGKILL)
				}
			}
			return errors.New("not yet")
		})
	})
}

// What was stopped by hand, or had failed for good, stays so over the death of a
// daemon that programs survive; also what was just being stopped by hand.
func TestWishesOutliveDaemon(t *testing.T) {
	d := wished(t)
	later, web := d.Info("later").PID, d.Info("web").PID
	if err := d.Client.Call(t.Context(), new(bool), "supervisor.stopProcess", "slow", false); err != nil {
		t.Fatal(err)
	}
	d.Wait("STOPPING", "slow")
	for range 2 {
		d.Crash()
		d.Relaunch()
		d.Wait("STOPPED", "hand")
		d.Wait("FATAL", "fatal")
		d.Wait("EXITED", "once")
		d.Wait("STOPPING", "slow")
		d.Wait("RUNNING", "again")
		if n := ran(d, "once"); n != 1 {
			t.Errorf("the one-shot has run %d times", n)
		}
		if a, b := d.Info("later").PID, d.Info("web").PID; a != later || b != web {
			t.Errorf("pids %d and %d became %d and %d", later, web, a, b)
		}
	}
	if err := syscall.Kill(d.Info("slow").PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.Wait("STOPPED", "slow")
	d.Stop()
}

// Where nothing has survived it is a first start, as after a reboot.
func TestNothingSurvived(t *testing.T) {
	d := wished(t)
	suplog := suplogOf(t, d)
	d.Crash()
	for _, r := range relatives(d) {
		if r.mark != "" || r.pid == suplog {
			_ = syscall.Kill(r.pid, syscall.SIGKILL)
		}
	}
	d.Until("nothing is left", func() error {
		for _, r := range relatives(d) {
			if r.state != "Z" {
				return fmt.Errorf("%d (%s)", r.pid, r.command)
			}
		}
		return nil
	})
	d.Relaunch()
	d.Wait("RUNNING", "web", "hand", "fatal", "again", "slow")
	d.Wait("STOPPED", "later")
	d.Wait("EXITED", "once")
	if n := ran(d, "once"); n != 2 {
		t.Errorf("the one-shot has run %d times, want 2", n)
	}
	if g, err := d.Client.Generation(t.Context()); err != nil || g.Generation != 0 {
		t.Errorf("generation %d (%v)", g.Generation, err)
	}
	endSlow(d)
}

// Where nothing has survived but what holds the pipes of programs, it is not lost
// what these wrote last.
func TestLastLinesOutliveAll(t *testing.T) {
	d := suptest.Start(t, suptest.Options{Config: `[program:a]
command=sh -c 'echo first; while ! test -e %(here)s/go; do sleep 0.02; done; echo last; exec sleep 1000'
stdout_logfile=%(here)s/a.log
startsecs=0
`})
	d.Wait("RUNNING", "a")
	d.WaitFile("a.log", "first\n")
	program, suplog := d.Info("a").PID, suplogOf(t, d)
	pipe, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/1", program))
	if err != nil {
		t.Fatal(err)
	}
	d.Until("the pipe is held", func() error {
		for _, r := range relatives(d) {
			links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", r.pid))
			for _, link := range links {
				if target, _ := os.Readlink(link); r.command == "suphold" && target == pipe {
					return nil
				}
			}
		}
		return errors.New("not yet")
	})
	d.Crash()
	if err := syscall.Kill(suplog, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.WriteFile("go", "")
	d.Until("the program has written its last line", func() error {
		if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", program)); err != nil || string(comm) != "sleep\n" {
			return fmt.Errorf("it is %q (%v)", comm, err)
		}
		return nil
	})
	if err := syscall.Kill(program, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.Until("both are gone", func() error {
		if !ended(program) || !ended(suplog) {
			return errors.New("not yet")
		}
		return nil
	})
	d.Relaunch()
	d.Wait("RUNNING", "a")
	d.WaitFile("a.log", "first\nlast\nfirst\nlast\n")
}

// Where the log process has survived, and no program, it is no first start: what
// was stopped stays so, and how a program has ended meanwhile is known.
func TestLogProcessAloneSurvived(t *testing.T) {
	d := suptest.Start(t, suptest.Options{Config: `[program:hand]
command=sleep 1000
startsecs=0
[program:once]
command=sh -c 'echo ran >>%(here)s/once; while ! test -e %(here)s/go; do sleep 0.02; done; exit 7'
startsecs=0
autorestart=false
`})
	d.Wait("RUNNING", "hand", "once")
	d.MustCtl("stop", "hand")
	pid := d.Info("once").PID
	d.Crash()
	d.WriteFile("go", "")
	d.Until("the program has ended", func() error {
		if err := syscall.Kill(pid, 0); err == nil {
			return errors.New("it is there")
		}
		return nil
	})
	d.Relaunch()
	d.Wait("STOPPED", "hand")
	d.Wait("EXITED", "once")
	if i := d.Info("once"); i.ExitStatus != 7 && i.ExitStatus != -1 || ran(d, "once") != 1 {
		t.Errorf("exit status %d, has run %d times", i.ExitStatus, ran(d, "once"))
	}
	d.Crash()
	d.Relaunch()
	d.Wait("STOPPED", "hand")
	d.Wait("EXITED", "once")
}

// What is to run is what the file says: what it has got while no daemon ran is
// started, what it has lost is stopped, and what runs otherwise than it says now
// runs on until an update.
func TestFileChangedWhileDown(t *testing.T) {
	port := suptest.FreePort(t)
	config := func(sections string) string {
		return fmt.Sprintf(`[fcgi-program:socket]
socket=tcp://127.0.0.1:%d
command=sleep 1000
startsecs=0
[eventlistener:ear]
command=%s listen %%(here)s/events
directory=%%(here)s
events=PROCESS_STATE
startsecs=0
[program:same]
command=sleep 1000
startsecs=0
%s`, port, worker(t), sections)
	}
	sleeper := func(names ...string) (text string) {
		for _, name := range names {
			text += "[program:" + name + "]\ncommand=sleep 1000\nstartsecs=0\n"
		}
		return text
	}
	d := suptest.Start(t, suptest.Options{Config: config(sleeper("changed", "lost", "a", "b", "hand", "command") + `[group:g]
programs=a,b
[program:broken]
command=/nowhere/at/all
startretries=0
[eventlistener:deaf]
command=sleep 1000
events=TICK_3600
startsecs=0
[fcgi-program:oldsocket]
socket=unix://%(here)s/old.sock
command=sleep 1000
startsecs=0
[program:slowly]
command=sh -c 'trap "exit 3" TERM; while sleep 0.05; do :; done'
startsecs=0
`)})
	all := []string{"socket", "ear", "same", "changed", "lost", "g:a", "g:b", "hand", "command", "deaf", "oldsocket", "slowly"}
	d.Wait("RUNNING", all...)
	d.Wait("FATAL", "broken")
	d.MustCtl("stop", "hand", "command")
	before := pids(t, d)
	d.Crash()
	d.WriteConfig(config(sleeper("a", "b", "c", "hand", "new") + `[group:g]
programs=a,c
[program:changed]
command=sleep 2000
startsecs=0
[program:command]
command=sleep 2000
startsecs=0
[program:broken]
command=sleep 1000
startsecs=0
[eventlistener:newear]
command=` + worker(t) + ` listen %(here)s/newevents
directory=%(here)s
events=PROCESS_STATE
startsecs=0
[fcgi-program:newsocket]
socket=unix://%(here)s/new.sock
command=sleep 1000
startsecs=0
`))
	d.Relaunch()
	d.Wait("RUNNING", "socket", "ear", "same", "changed", "g:a", "g:c", "b", "new", "broken", "command", "newear", "newsocket")
	d.Wait("STOPPED", "hand")
	after := pids(t, d)
	for _, name := range []string{"socket", "same", "changed", "a"} {
		if before[name] != after[name] {
			t.Errorf("%s had pid %d, has %d", name, before[name], after[name])
		}
	}
	d.Until("what the file has lost is gone", func() error {
		now := pids(t, d)
		for _, name := range []string{"lost", "deaf", "oldsocket", "slowly"} {
			if _, ok := now[name]; ok {
				return errors.New(name + " is there")
			}
			if err := syscall.Kill(before[name], 0); err == nil {
				return fmt.Errorf("%s runs", name)
			}
		}
		return nil
	})
	for _, text := range []string{"configuration of changed has changed", "lost is not in the configuration", "g:b is not in the configuration", "slowly is not in"} {
		if !strings.Contains(d.Log(), text) {
			t.Errorf("the log does not say that the %s", text)
		}
	}
	if text := d.MustCtl("update"); !strings.Contains(text, "changed") || strings.Contains(text, "same") || strings.Contains(text, "g:") {
		t.Errorf("update says %q", text)
	}
	if i := d.Info("changed"); i.PID == before["changed"] {
		t.Error("the update has not replaced what has changed")
	}
	if text, _ := d.Ctl("update"); strings.TrimSpace(text) != "" {
		t.Errorf("a second update says %q", text)
	}
	onceEach(t, d)
}

// A FastCGI socket is handed on: clients are never refused while a process of its
// group lives.
func TestSocketOutlivesDaemon(t *testing.T) {
	port := suptest.FreePort(t)
	d := suptest.Start(t, suptest.Options{Config: fmt.Sprintf(`[fcgi-program:tcp]
socket=tcp://127.0.0.1:%d
command=sleep 1000
numprocs=2
process_name=%%(process_num)d
startsecs=0
[fcgi-program:path]
socket=unix://%%(here)s/f.sock
command=sleep 1000
startsecs=0
`, port)})
	d.Wait("RUNNING", "tcp:0", "tcp:1", "path")
	reach := func(how string) {
		t.Helper()
		for network, address := range map[string]string{"tcp": fmt.Sprint("127.0.0.1:", port), "unix": d.Path("f.sock")} {
			dialled(t, how, network, address)
		}
	}
	inode := func() uint64 {
		info, err := os.Stat(d.Path("f.sock"))
		if err != nil {
			t.Fatal(err)
		}
		return info.Sys().(*syscall.Stat_t).Ino
	}
	was := inode()
	for i := range 2 {
		d.Crash()
		d.Relaunch()
		reach("killed")
		d.MustCtl("restart", "tcp:0")
		d.Wait("RUNNING", "tcp:0", "path")
		upgraded(t, d, 2*i+2)
		reach("upgraded")
		d.MustCtl("restart", "tcp:1")
		d.Wait("RUNNING", "tcp:1")
		reach("restarted")
	}
	if inode() != was {
		t.Error("the socket was made again")
	}
}

func dialled(t *testing.T, how, network, address string) {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Errorf("%s: %v", how, err)
		return
	}
	c.Close()
}

// Where /proc is that of another PID namespace it tells nothing about our processes.
// They are known by the descriptors that the log process has of them, and nothing is
// started twice.
func TestTakeoverWithForeignProc(t *testing.T) {
	needContainers(t)
	dir := t.TempDir()
	config := dir + "/supervisord.conf"
	text := `[unix_http_server]
file=%(here)s/s.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://%(here)s/s.sock
[supervisord]
logfile=%(here)s/supd.log
pidfile=%(here)s/supd.pid
user=root
[program:foo]
command=sh -c 'echo started >>%(here)s/starts; exec sleep 1000'
stdout_logfile=NONE
stderr_logfile=NONE
startsecs=0
`
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	suptest.Tool(t, "suplog")
	const script = `cd "$1" || exit
up() { "$SUPD" -c supervisord.conf && "$CTL" -c supervisord.conf pid foo; }
up >first && kill -9 $(cat supd.pid) && up >second && "$CTL" -c supervisord.conf stop foo && "$CTL" -c supervisord.conf shutdown
`
	cmd := exec.Command("unshare", "--pid", "--fork", "--kill-child=KILL", "sh", "-c", script+"exit $?", "sh", dir)
	cmd.Env = append(os.Environ(), "SUPD="+suptest.Tool(t, "supd"), "CTL="+suptest.Tool(t, "supctl"))
	output, err := cmd.CombinedOutput()
	files := map[string]string{}
	for _, name := range []string{"first", "second", "starts", "supd.log"} {
		text, _ := os.ReadFile(dir + "/" + name)
		files[name] = string(text)
	}
	if err != nil || !strings.Contains(string(output), "foo: stopped") {
		t.Errorf("%v: %s\n%s", err, output, files["supd.log"])
	}
	if files["first"] == "" || files["first"] != files["second"] || files["starts"] != "started\n" {
		t.Errorf("pids are %q and %q, it was started: %q\n%s", files["first"], files["second"], files["starts"], files["supd.log"])
	}
}
