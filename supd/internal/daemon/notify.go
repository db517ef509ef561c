package daemon

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"sup/lib/process"
	"sup/supd/internal/activity"
)

// What the service manager hears of us: that everything is up, how many
// programs run, that the configuration is being loaded anew, that we are about
// to end, and, if it watches us, that the loop goes on.

// Notify is how the service manager is told of things.
type Notify struct {
	// Send sends assignments, one on a line. It is called by one goroutine
	// other than the loop, and may take a while.
	Send func(text string) error
	// Reloading makes the message that announces a reload.
	Reloading func() string
	// Watchdog is the time within which the manager wants to hear of the loop
	// again and again; 0 for never.
	Watchdog time.Duration
}

// statusPause is the least time between two descriptions of how things stand.
const statusPause = 100 * time.Millisecond

// startPatience is asked for beyond the longest startsecs=.
const startPatience = 30 * time.Second

// notifier is the loop's side of it; nil without a manager.
type notifier struct {
	d    *Daemon
	conf *Notify
	out  *queue[string]
	// status is the last description that was sent.
	status string
	// due is armed while a new description is to be sent.
	due *timer
}

func newNotifier(d *Daemon) *notifier {
	if d.opts.Notify == nil {
		return nil
	}
	n := &notifier{d: d, conf: d.opts.Notify, out: newQueue[string]()}
	n.due = newTimer(n.describe)
	return n
}

// start begins to talk to the manager, until ctx is done.
func (n *notifier) start(ctx context.Context) {
	if n == nil {
		return
	}
	go func() {
		told := false
		for {
			texts, ok := n.out.take(ctx)
			if !ok {
				return
			}
			for _, text := range texts {
				if err := n.conf.Send(text); err != nil && !told {
					told = true
					n.d.log.Print(activity.Warn, "cannot notify the service manager: "+err.Error())
				}
			}
		}
	}()
	n.describe()
	if n.conf.Watchdog > 0 {
		n.alive()
	}
}

// alive tells that the loop goes on, now and again and again.
func (n *notifier) alive() {
	n.out.put("WATCHDOG=1")
	n.d.after(n.conf.Watchdog/2, n.alive)
}

// awaitStart tells that everything is up as soon as every program that starts
// by itself has left STARTING, and done, if it is set, was called. It returns
// done.
func (n *notifier) awaitStart() (done func()) {
	if n == nil {
		return func() {}
	}
	waiting := 2
	left := func() {
		if waiting--; waiting == 0 && n.d.mood == MoodRunning {
			n.out.put("READY=1")
			n.describe()
		}
	}
	// Not now: some are about to be asked to start.
	n.d.soon(func() {
		longest := time.Duration(0)
		for _, p := range n.d.listing {
			if !p.cfg.AutoStart || p.m.State != process.Starting {
				continue
			}
			waiting++
			longest = max(longest, p.spec.StartSecs)
			p.await(func() bool {
				if p.m.State == process.Starting {
					return false
				}
				left()
				return true
			})
		}
		if longest > 0 {
			n.patience(longest + startPatience)
		}
		left()
	})
	return left
}

// reloading tells that the configuration is about to be loaded.
func (n *notifier) reloading() {
	if n != nil {
		n.out.put(n.conf.Reloading())
	}
}

// reloaded tells that everything is as it was before reloading.
func (n *notifier) reloaded() {
	if n != nil {
		n.out.put("READY=1")
	}
}

// stopping tells that the end has begun.
func (n *notifier) stopping() {
	if n != nil {
		n.out.put("STOPPING=1")
	}
}

// patience asks for more time to start or to stop in.
func (n *notifier) patience(d time.Duration) {
	if n != nil {
		n.out.put("EXTEND_TIMEOUT_USEC=" + strconv.FormatInt(d.Microseconds(), 10))
	}
}

// changed sees to it that a new description is sent.
func (n *notifier) changed() {
	if n != nil && n.due.index < 0 {
		n.d.timers.set(n.due, n.d.now()+statusPause)
	}
}

// describe sends how things stand, unless that is known.
func (n *notifier) describe() {
	running := 0
	for _, p := range n.d.listing {
		if p.m.State == process.Running {
			running++
		}
	}
	status := fmt.Sprintf("%d of %d programs running", running, len(n.d.listing))
	switch n.d.mood {
	case MoodRestarting:
		status = "restarting, " + status
	case MoodShutdown:
		status = "shutting down, " + status
	}
	if status != n.status {
		n.status = status
		n.out.put("STATUS=" + status)
	}
}
