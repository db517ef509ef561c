package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/logwire"
	"sup/lib/plan"
	"sup/lib/process"
	"sup/lib/spawn"
	"sup/supd/internal/activity"
)

func TestUptime(t *testing.T) {
	for _, test := range []struct {
		in   time.Duration
		want string
	}{
		{0, "0:00:00"},
		{-time.Second, "0:00:00"},
		{59*time.Second + 999*time.Millisecond, "0:00:59"},
		{3661 * time.Second, "1:01:01"},
		{23*time.Hour + 59*time.Minute, "23:59:00"},
		{25 * time.Hour, "1 day, 1:00:00"},
		{73 * time.Hour, "3 days, 1:00:00"},
	} {
		if got := uptime(test.in); got != test.want {
			t.Errorf("uptime(%v) = %q, want %q", test.in, got, test.want)
		}
	}
}

func TestTimersRunInOrder(t *testing.T) {
	var ts timers
	var order []int
	var all []*timer
	for _, at := range []int{5, 1, 4, 2, 3} {
		x := newTimer(func() { order = append(order, at) })
		all = append(all, x)
		ts.set(x, time.Duration(at))
	}
	ts.clear(all[2])   // 4
	ts.clear(all[2])   // again does no harm
	ts.set(all[0], 0)  // 5 becomes the first
	ts.set(all[1], 10) // 1 becomes the last
	if at, ok := ts.next(); !ok || at != 0 {
		t.Errorf("next = %v, %v", at, ok)
	}
	ts.run(3)
	if want := []int{5, 2, 3}; !slices.Equal(order, want) {
		t.Errorf("ran %v, want %v", order, want)
	}
	ts.run(10)
	if want := []int{5, 2, 3, 1}; !slices.Equal(order, want) {
		t.Errorf("ran %v, want %v", order, want)
	}
	if _, ok := ts.next(); ok {
		t.Error("something is left")
	}
}

func TestTimerMaySetItself(t *testing.T) {
	var ts timers
	runs := 0
	var x *timer
	x = newTimer(func() {
		if runs++; runs < 3 {
			ts.set(x, time.Duration(runs))
		}
	})
	ts.set(x, 0)
	ts.run(1)
	if runs != 2 {
		t.Errorf("ran %d times by 1, want 2", runs)
	}
	ts.run(5)
	if runs != 3 {
		t.Errorf("ran %d times, want 3", runs)
	}
}

func TestQueueNeverBlocksAndKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		q := newQueue[int]()
		var got []int
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				items, ok := q.take(ctx)
				if !ok {
					return
				}
				got = append(got, items...)
			}
		}()
		for i := range 1000 {
			q.put(i)
		}
		synctest.Wait()
		cancel()
		<-done
		if len(got) != 1000 || !slices.IsSorted(got) {
			t.Errorf("got %d items, sorted %v", len(got), slices.IsSorted(got))
		}
	})
}

func TestChildEnvironment(t *testing.T) {
	base := []string{"PATH=/bin", "NOTIFY_SOCKET=/x", "A=old", "LISTEN_FDS=1", "SUPERVISOR_PASSWORD=secret", "PERCENT=50%"}
	cfg := &plan.Process{Name: "p", Group: "g", Environment: map[string]string{"A": "new", "SUPERVISOR_GROUP_NAME": "mine"}}
	got := childEnviron(cfg, base, "unix:///s", "i:p:1")
	want := []string{
		"PATH=/bin", "A=new", "PERCENT=50%",
		"SUPERVISOR_ENABLED=1", "SUPERVISOR_SERVER_URL=unix:///s", "SUPERVISOR_PROCESS_NAME=p", "SUPERVISOR_GROUP_NAME=mine", "SUPD_RUN=i:p:1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	cfg.ServerURL = "http://own:1"
	if got := childEnviron(cfg, base, "", "m"); !slices.Contains(got, "SUPERVISOR_SERVER_URL=http://own:1") {
		t.Errorf("serverurl= is not there: %q", got)
	}
	cfg.ServerURL = ""
	got = childEnviron(cfg, base, "", "m")
	if slices.ContainsFunc(got, func(kv string) bool { return len(kv) > 21 && kv[:21] == "SUPERVISOR_SERVER_URL" }) {
		t.Errorf("there is no server, and yet: %q", got)
	}
}

// How long a departure waits for what SIGKILL does not end is a matter of those
// that are left, not of those that have gone.
func TestPatience(t *testing.T) {
	entry := func(s process.State, wait time.Duration) *proc {
		p := &proc{cfg: &plan.Process{}}
		p.m.State, p.spec.StopWait = s, wait
		return p
	}
	g := &group{procs: []*proc{
		entry(process.Stopped, 100*time.Second),
		entry(process.Stopping, time.Second),
	}}
	d := &Daemon{leaving: &departure{batch: []*group{g}, began: 2 * time.Second}}
	if got, want := d.patience(), time.Second+killPatience; got != want {
		t.Errorf("with one that is left: %v, want %v", got, want)
	}
	d.sweeps = map[*sweeping]struct{}{{until: 52 * time.Second}: {}}
	if got, want := d.patience(), 50*time.Second+killPatience; got != want {
		t.Errorf("with a tree that is being ended: %v, want %v", got, want)
	}
}

// A child whose exec failed is not told as a stranger, when it is reaped before
// the spawner has done so.
func TestFailedExecIsNoStranger(t *testing.T) {
	var sink activity.Memory
	log := activity.New(activity.Info)
	log.Start(&sink, nil)
	exited := func(pid, status int) earlyExit {
		return earlyExit{exit: spawn.Exit{PID: pid, Status: unix.WaitStatus(status << 8)}}
	}
	d := &Daemon{log: log, logs: &logPlane{pid: 1}, early: map[int]earlyExit{2: exited(2, spawn.ExecFailed), 3: exited(3, 5)}}
	d.settleEarly()
	log.Close(time.Minute)
	if text := sink.String(); len(d.early) != 0 || !strings.Contains(text, "reaped unknown pid 3 (exit status 5)") || strings.Contains(text, "pid 2") {
		t.Errorf("log: %s", text)
	}
}

func TestLogFailure(t *testing.T) {
	tests := []struct {
		why        unix.Errno
		several    bool
		privileged bool
		want       string
	}{
		{unix.EISDIR, false, false, "unknown error making dispatchers for 'a': EISDIR"},
		{unix.EISDIR, true, false, "unknown error making dispatchers for 'a': EISDIR (cannot open it)"},
		{unix.EROFS, false, false, "unknown error making dispatchers for 'a': EROFS (cannot open it)"},
		{unix.ENOSPC, false, false, "unknown error making dispatchers for 'a': ENOSPC (cannot open it)"},
		{unix.EACCES, false, false, "unknown error making dispatchers for 'a': EACCES"},
		{unix.EACCES, false, true, "unknown error making dispatchers for 'a': EACCES (cannot open it)"},
		{unix.EMLINK, false, true, "unknown error making dispatchers for 'a': EMLINK (cannot open it)"},
		{unix.EMFILE, true, false, "too many open files to spawn 'a'"},
	}
	for _, test := range tests {
		failure := &logwire.Message{Kind: logwire.Failed, Text: "cannot open it", Errno: test.why}
		if got := logFailure("a", failure, test.several, test.privileged); got != test.want {
			t.Errorf("logFailure(%v, %v, %v) = %q, want %q", test.why, test.several, test.privileged, got, test.want)
		}
	}
}

// The end of a helper may be heard of before its start.
func TestHelperEndsAtOnce(t *testing.T) {
	d := New(Options{Log: activity.New(activity.Info), Plan: &plan.Plan{}})
	d.logs.pid = 1 << 20
	var ended []unix.WaitStatus
	job := &helperJob{done: func(pid int, err error) {
		d.helpers[pid] = func(st unix.WaitStatus) { ended = append(ended, st) }
	}}
	d.startHelper(job)
	const pid = 1<<20 + 1
	d.ended(spawn.Exit{PID: pid, Status: 1 << 8}, d.turn())
	if len(ended) > 0 {
		t.Fatal("told of the end of what has not started")
	}
	d.helperStarted(job, pid, nil)
	if len(ended) != 1 || ended[0].ExitStatus() != 1 || len(d.helpers)+len(d.early)+d.inFlight != 0 {
		t.Errorf("ends: %v; left: %d helpers, %d ends, %d starts", ended, len(d.helpers), len(d.early), d.inFlight)
	}
}

// The end of a child is noticed without SIGCHLD, also that of the first one.
func TestEndNoticedWithoutSignal(t *testing.T) {
	var sink activity.Memory
	d := New(Options{Plan: &plan.Plan{}, Log: activity.New(activity.Info)})
	d.log.Start(&sink, nil)
	d.logs.pid = 1 // there is a suplog
	go d.watchChildren()
	defer close(d.done)
	for range 3 {
		pid, err := spawn.Helper(&spawn.Command{Name: "true", Path: "/bin/sh", Argv: []string{"sh", "-c", "exit 3"}})
		if err != nil {
			t.Fatal(err)
		}
		d.bear()
		select {
		case f := <-d.mail:
			f()
		case <-time.After(time.Minute):
			t.Fatal("nothing was noticed")
		}
		d.log.Settle(time.Minute)
		if want := fmt.Sprintf("reaped unknown pid %d (exit status 3)", pid); !strings.Contains(sink.String(), want) {
			t.Errorf("the log does not say %q: %s", want, sink.String())
		}
	}
	d.log.Close(time.Minute)
}
