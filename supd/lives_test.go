package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"sup/lib/suptest"
)

// A container has lives: its processes go all at once, its files stay, and the boot
// id is that of the host.

// namespaces is a command that runs another one as the first process of a PID
// namespace, with a /proc of its own.
var namespaces = []string{"unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"}

// needContainers skips a test where there can be none.
func needContainers(t *testing.T) {
	t.Helper()
	if err := exec.Command(namespaces[0], append(namespaces[1:len(namespaces):len(namespaces)], "true")...).Run(); err != nil {
		t.Skipf("needs the right to make PID and mount namespaces (root): unshare: %v", err)
	}
}

// inside is the daemon that runs in a namespaces, as we see its pid.
func inside(t *testing.T, d *suptest.Daemon) (pid int) {
	t.Helper()
	d.Until("the container has a daemon", func() error {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", d.PID()))
		if err != nil {
			return err
		}
		fields := strings.Fields(string(children))
		if len(fields) != 1 {
			return fmt.Errorf("children are %q", fields)
		}
		pid, err = strconv.Atoi(fields[0])
		return err
	})
	return pid
}

const livesConfig = `%s
[program:main]
command=sleep 1000
startsecs=0
autorestart=false
[program:migrate]
command=sh -c 'echo ran >>migrate'
directory=%%(here)s
startsecs=0
autorestart=false
[program:fatal]
command=sh -c 'echo ran >>fatal; exit 1'
directory=%%(here)s
startretries=0
[program:hand]
command=sleep 1000
startsecs=0
[program:later]
command=sleep 1000
startsecs=0
autostart=false
[program:slow]
command=sh -c 'trap "" TERM; echo deaf >>deaf; while sleep 0.1; do :; done'
directory=%%(here)s
startsecs=0
stopwaitsecs=60
`

// ends are the ways in which a container ends. Each ends with it gone.
var ends = []struct {
	name string
	end  func(*testing.T, *suptest.Daemon)
}{
	{"killed while it shuts down", func(t *testing.T, d *suptest.Daemon) {
		pid := inside(t, d)
		_ = syscall.Kill(pid, syscall.SIGTERM)
		d.Until("something has stopped", func() error {
			if !strings.Contains(lastStart(d), "stopped: main") {
				return errors.New("not yet")
			}
			return nil
		})
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}},
	{"killed", func(t *testing.T, d *suptest.Daemon) { _ = syscall.Kill(inside(t, d), syscall.SIGKILL) }},
	{"killed while it restarts", func(t *testing.T, d *suptest.Daemon) {
		pid := inside(t, d)
		_ = syscall.Kill(pid, syscall.SIGHUP)
		d.Until("something has stopped", func() error {
			if !strings.Contains(lastStart(d), "stopped: main") {
				return errors.New("not yet")
			}
			return nil
		})
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}},
	{"shut down", func(t *testing.T, d *suptest.Daemon) {
		d.MustCtl("shutdown")
		killSlow(t, d)
	}},
}

// killSlow ends the program that ignores SIGTERM, until the daemon is gone.
func killSlow(t *testing.T, d *suptest.Daemon) {
	d.Until("the daemon has shut down", func() error {
		if err := syscall.Kill(d.PID(), 0); err != nil || ended(d.PID()) {
			return nil
		}
		for _, r := range relatives(d) {
			if r.mark != "" && r.command == "sh" {
				_ = syscall.Kill(r.pid, syscall.SIGKILL)
			}
		}
		return errors.New("not yet")
	})
}

func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// lastStart is the activity log since the last start of a daemon.
func lastStart(d *suptest.Daemon) string {
	log := d.Log()
	return log[max(strings.LastIndex(log, "supervisord started with pid"), 0):]
}

// Every life of a container begins like the first: what starts by itself starts,
// one-shots run, and nobody remembers what was stopped or had failed.
func TestContainerLives(t *testing.T) {
	needContainers(t)
	for name, first := range map[string]string{
		"beside the pid file": "",
		"on a volume":         "statedir=%(here)s/volume/state",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := suptest.Start(t, suptest.Options{Prefix: namespaces, Tree: volume(t), Config: fmt.Sprintf(livesConfig, first)})
			lives := amount(len(ends)+1, 20)
			for life := 1; ; life++ {
				likeTheFirst(t, d, life)
				if life == lives {
					break
				}
				end := ends[life%len(ends)]
				// What the next life must know nothing of.
				d.MustCtl("stop", "hand")
				d.MustCtl("start", "later")
				end.end(t, d)
				d.AwaitEnd()
				if t.Failed() {
					t.Fatalf("life %d", life)
				}
				d.Relaunch()
			}
			d.Finish(func() {
				_ = syscall.Kill(inside(t, d), syscall.SIGTERM)
				killSlow(t, d)
			})
		})
	}
}

// volume is a directory with a directory for the state.
func volume(t *testing.T) string {
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/volume", 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// likeTheFirst checks that a life has begun like the first.
func likeTheFirst(t *testing.T, d *suptest.Daemon, life int) {
	t.Helper()
	d.Wait("RUNNING", "main", "hand", "slow")
	d.Wait("EXITED", "migrate")
	d.Wait("FATAL", "fatal")
	d.Wait("STOPPED", "later")
	for _, file := range []string{"migrate", "fatal", "deaf"} {
		d.Until(fmt.Sprintf("%s has run %d times", file, life), func() error {
			if n := strings.Count(fileOf(d, file), "\n"); n != life {
				return fmt.Errorf("it has run %d times", n)
			}
			return nil
		})
	}
	if log := d.Log(); strings.Contains(log, "took over") {
		t.Errorf("life %d: something was taken over", life)
	}
	if g, err := d.Client.Generation(t.Context()); err != nil || g.Generation != 0 || g.Kept != 0 {
		t.Errorf("life %d: generation %d, %d programs kept (%v)", life, g.Generation, g.Kept, err)
	}
	if logs, err := os.ReadDir(d.Dir); err == nil {
		n := 0
		for _, e := range logs {
			if strings.Contains(e.Name(), "---supervisor-") {
				n++
			}
		}
		if n > 12 {
			t.Errorf("life %d: %d automatic logs have piled up", life, n)
		}
	}
}

// Two containers that share a volume with the state, by mistake or not, do not
// touch each other's programs, and each of their lives begins like the first.
func TestContainersShareVolume(t *testing.T) {
	needContainers(t)
	shared := volume(t)
	config := fmt.Sprintf(livesConfig, "statedir="+shared+"/volume/state")
	a := suptest.Start(t, suptest.Options{Prefix: namespaces, Config: config})
	likeTheFirst(t, a, 1)
	steady := map[string]int{"main": a.Info("main").PID, "slow": a.Info("slow").PID}
	b := suptest.Start(t, suptest.Options{Prefix: namespaces, Config: config})
	lives := amount(3, 20)
	for life := 1; ; life++ {
		likeTheFirst(t, b, life)
		if life == lives {
			break
		}
		b.MustCtl("stop", "hand")
		ends[life%len(ends)].end(t, b)
		b.AwaitEnd()
		b.Relaunch()
	}
	for name, pid := range steady {
		if i := a.Info(name); i.PID != pid || i.StateName != "RUNNING" {
			t.Errorf("%s of the first one is %s with pid %d, was %d", name, i.StateName, i.PID, pid)
		}
	}
	for _, d := range []*suptest.Daemon{b, a} {
		d.Finish(func() {
			_ = syscall.Kill(inside(t, d), syscall.SIGTERM)
			killSlow(t, d)
		})
	}
}
