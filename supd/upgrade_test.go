package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sup/lib/client"
	"sup/lib/suptest"
	"sup/supd/internal/crash"
)

// upgraded upgrades a daemon and waits for the next image.
func upgraded(t *testing.T, d *suptest.Daemon, generation int) {
	t.Helper()
	d.MustCtl("upgrade")
	d.Until("the next image is there", func() error {
		g, err := d.Client.Generation(t.Context())
		if err == nil && g.Generation != generation {
			err = fmt.Errorf("generation %d", g.Generation)
		}
		return err
	})
}

// Calls that wait for a process are answered by the next image, or the one
// after it.
func TestUpgradeKeepsCalls(t *testing.T) {
	d := suptest.Start(t, suptest.Options{Config: `[program:stubborn]
command=sh -c 'trap "" TERM; echo yes >deaf; while [ ! -e go ]; do sleep 0.02; done'
directory=%(here)s
startsecs=0
stopwaitsecs=1000
[program:slow]
command=sleep 1000
autostart=false
startsecs=2
[group:pair]
programs=left,right
[program:left]
command=sleep 1000
autostart=false
startsecs=2
[program:right]
command=/nowhere/at/all
autostart=false
startretries=0
`})
	d.WaitFile("deaf", "yes")
	answers := map[string]chan error{"stop": make(chan error, 1), "start": make(chan error, 1), "group": make(chan error, 1)}
	ask := func(what string, f func(*client.Client) error) {
		c, err := client.New("unix://"+d.Path("supd.sock"), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer c.Close()
			answers[what] <- f(c)
		}()
	}
	ask("stop", func(c *client.Client) error { return c.StopProcess(t.Context(), "stubborn") })
	ask("start", func(c *client.Client) error { return c.StartProcess(t.Context(), "slow") })
	ask("group", func(c *client.Client) error {
		results, err := c.StartProcessGroup(t.Context(), "pair")
		if err == nil && len(results) != 2 {
			err = fmt.Errorf("%d results: %v", len(results), results)
		}
		return err
	})
	d.Wait("STOPPING", "stubborn")
	d.Wait("STARTING", "slow", "pair:left")
	upgraded(t, d, 1)
	upgraded(t, d, 2)
	d.WriteFile("go", "")
	for what, answer := range answers {
		if err := <-answer; err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	d.Wait("STOPPED", "stubborn")
	d.Wait("RUNNING", "slow", "pair:left")
}

// What waits to be read by a program is written by the next image.
func TestUpgradeKeepsStdin(t *testing.T) {
	d := suptest.Start(t, suptest.Options{Config: `[program:slow]
command=sh -c 'while [ ! -e go ]; do sleep 0.02; done; exec cat >got'
directory=%(here)s
startsecs=0
`})
	d.Wait("RUNNING", "slow")
	var want strings.Builder
	for i := range 3 {
		text := strings.Repeat(fmt.Sprintf("%0100d\n", i), 5000)
		want.WriteString(text)
		if err := d.Client.SendProcessStdin(t.Context(), "slow", text); err != nil {
			t.Fatal(err)
		}
		upgraded(t, d, i+1)
	}
	d.WriteFile("go", "")
	d.Until("all was read", func() error {
		if got, _ := os.ReadFile(d.Path("got")); string(got) != want.String() {
			return fmt.Errorf("%d bytes of %d", len(got), want.Len())
		}
		return nil
	})
}

// An upgrade needs no state directory.
func TestUpgradeWithoutStateDirectory(t *testing.T) {
	d := suptest.Start(t, suptest.Options{Config: "statedir=none\n" + workers(t, "1ms", "w")})
	d.Wait("RUNNING", "w")
	before := pids(t, d)
	for i := range 3 {
		upgraded(t, d, i+1)
	}
	if after := pids(t, d); after["w"] != before["w"] {
		t.Errorf("pid %d became %d", before["w"], after["w"])
	}
	endCheck(t, d, []string{"w"})
}

// Each piece of output makes its event, also what suplog has told, and nobody
// read, when the next image comes.
func TestUpgradeKeepsLogEvents(t *testing.T) {
	d := suptest.Start(t, suptest.Options{Config: workers(t, "200us", "w") + "stdout_events_enabled=true\n" + fmt.Sprintf(`[eventlistener:ear]
command=%s listen %%(here)s/events
directory=%%(here)s
events=PROCESS_LOG
buffer_size=1000000
`, worker(t))})
	d.Wait("RUNNING", "w", "ear")
	d.WaitFile("events", "PROCESS_LOG")
	for i := range amount(5, 50) {
		upgraded(t, d, i+1)
	}
	d.MustCtl("stop", "w")
	workersWell(t, d, []string{"w"})
	log, _ := allOf(t, d.Path("w.log"))
	d.Until("all was told", func() error {
		told := 0
		for line := range strings.Lines(d.ReadFile("events")) {
			header, first, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			n, _ := strconv.Atoi(tokens(header)["len"])
			told += n - len(first) - 1
		}
		if told != len(log) {
			return fmt.Errorf("%d bytes of %d", told, len(log))
		}
		return nil
	})
}

// A program that supd was killed for having started, and that ends before the next
// one comes, is not started again.
func TestEndedBeforeItWasWritten(t *testing.T) {
	d := suptest.Start(t, suptest.Options{
		Config: "[program:once]\ncommand=sh -c 'echo $$ >>ran; while [ ! -e go ]; do sleep 0.02; done; exit 4'\ndirectory=%(here)s\nstartsecs=0\nautorestart=false\n",
		Supd:   crashingDaemon(t), Doomed: true, Env: []string{"SUPD_CRASH=" + crash.BeforeDeposit},
	})
	d.AwaitEnd()
	d.WaitFile("ran", "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(d.ReadFile("ran")))
	if err != nil {
		t.Fatal(err)
	}
	d.WriteFile("go", "")
	d.Until("it has ended", func() error {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("pid %d: %v", pid, err)
		}
		return nil
	})
	d.Relaunch()
	d.Wait("EXITED", "once")
	if n := strings.Count(d.ReadFile("ran"), "\n"); n != 1 {
		t.Errorf("it ran %d times", n)
	}
}

// The status of a program that ended while there was no supd is told, and one
// that has its pid now is left alone.
func TestEndedWithoutSupd(t *testing.T) {
	d := suptest.Start(t, suptest.Options{Config: `[program:seven]
command=sh -c 'while [ ! -e go ]; do sleep 0.02; done; exit 7'
directory=%(here)s
startsecs=0
autorestart=false
[program:killed]
command=sleep 1000
autorestart=false
startsecs=0
stopasgroup=true
killasgroup=true
`})
	d.Wait("RUNNING", "seven", "killed")
	seven, killed := d.Info("seven").PID, d.Info("killed").PID
	d.Crash()
	d.WriteFile("go", "")
	if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{seven, killed} {
		d.Until("it is gone", func() error {
			if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("pid %d: %v", pid, err)
			}
			return nil
		})
	}
	stranger := withPID(t, killed)
	d.Relaunch()
	d.Wait("EXITED", "seven", "killed")
	if got := d.Info("seven").ExitStatus; got != 7 && kernelTells() {
		t.Errorf("exit status %d", got)
	}
	d.Stop()
	if stranger > 0 {
		if err := syscall.Kill(stranger, 0); err != nil {
			t.Errorf("the stranger with the pid of a program: %v", err)
		}
	}
}

// kernelTells tells whether the kernel keeps the exit status for who has a
// descriptor of a process: Linux 6.15.
func kernelTells() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var major, minor int
	_, _ = fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	return major > 6 || major == 6 && minor >= 15
}

// withPID starts a process that has a pid, until the test ends. The result is 0
// where that cannot be done.
func withPID(t *testing.T, pid int) int {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for range 20 {
		// The kernel goes on from the pid given out last.
		if os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0) != nil {
			return 0
		}
		p, err := os.StartProcess("/bin/sleep", []string{"sleep", "1000"}, &os.ProcAttr{Dir: "/", Files: []*os.File{null, null, null}, Sys: &syscall.SysProcAttr{Setpgid: true}})
		if err != nil {
			return 0
		}
		if p.Pid == pid {
			t.Cleanup(func() {
				_ = p.Kill()
				_, _ = p.Wait()
			})
			return pid
		}
		_ = p.Kill()
		_, _ = p.Wait()
	}
	return 0
}
