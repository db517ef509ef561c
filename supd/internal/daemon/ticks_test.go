package daemon

import (
	"bytes"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/plan"
	"sup/lib/process"
	"sup/supd/internal/activity"
)

// A day of ticks, to a listener that takes each: every one comes, and nothing
// is held that was not held after the first hour.
func TestDayOfTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(Options{Plan: &plan.Plan{}, Log: activity.New(activity.Info)})
		g := &group{cfg: &plan.Group{Name: "ear", Kind: plan.KindEventListener, Events: []string{"TICK"}, BufferSize: 10}}
		p := newProc(d, g, &plan.Process{Name: "ear", Group: "ear"})
		g.procs = []*proc{p}
		d.groups["ear"] = g
		d.events.openPool(g)
		var pipe [2]int
		if err := unix.Pipe2(pipe[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pipe[0])
		p.stdin.attach(pipe[1])
		defer p.stdin.close()
		p.m.State = process.Running
		d.events.do(g.pool.Process("ear", "RUNNING"))
		d.events.do(g.pool.Output("ear", []byte("READY\n")))

		var buf [4096]byte
		ticks := map[string]int{}
		run := func(until time.Duration) {
			for d.now() < until {
				at, _ := d.timers.next()
				time.Sleep(at - d.now())
				d.timers.run(d.now())
				d.settle()
				// An answer may bring the next event.
				for {
					n, err := unix.Read(pipe[0], buf[:])
					if err != nil || n == 0 {
						break
					}
					for _, name := range []string{"TICK_5 ", "TICK_60 ", "TICK_3600 "} {
						ticks[name] += bytes.Count(buf[:n], []byte("eventname:"+name))
					}
					d.events.do(g.pool.Output("ear", []byte("RESULT 2\nOKREADY\n")))
				}
			}
		}
		run(time.Hour)
		was := holdings(t)
		run(24 * time.Hour)
		if now := holdings(t); now.goroutines > was.goroutines || now.fds > was.fds || now.heap > was.heap+256<<10 {
			t.Errorf("after an hour %+v, after a day %+v", was, now)
		}
		if ticks["TICK_5 "] != 24*720 || ticks["TICK_60 "] != 24*60 || ticks["TICK_3600 "] != 24 {
			t.Errorf("ticks: %v", ticks)
		}
	})
}

// holding is what this process has of things that leak; heap in bytes.
type holding struct{ goroutines, fds, heap int }

func holdings(t *testing.T) holding {
	t.Helper()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return holding{runtime.NumGoroutine(), len(fds), int(m.HeapAlloc)}
}
