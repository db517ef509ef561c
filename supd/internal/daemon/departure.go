package daemon

import (
	"cmp"
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/plan"
	"sup/lib/process"
	"sup/lib/spawn"
	"sup/supd/internal/activity"
	"sup/supd/internal/record"
)

// departure is a shutdown, or a restart by SIGHUP, on its way: groups are
// stopped in the reverse order of their start, those of one priority together,
// the next ones when these are gone.
type departure struct {
	groups []*group // still to be stopped, by priority
	batch  []*group // being stopped
	// before holds the sweeps that were under way when it began.
	before map[*sweeping]struct{}
	// written is set when it is on record that the daemon is leaving.
	written bool
	// next is the configuration to go on with after a restart.
	next *plan.Plan
	// report says again who is awaited; reporting is set while it is about to
	// be said for the first time.
	report    *timer
	reporting bool
	// stuck looks for processes that survive SIGKILL; began is when the batch
	// was asked to stop.
	stuck *timer
	began time.Duration
	// lastWords ends the time that listeners are given to take what waits for
	// them before they are stopped; nil before it has begun.
	lastWords *timer
	over      bool // that time is over
}

// killPatience is how long processes have to go after SIGKILL.
const killPatience = 10 * time.Second

// lastWordsPatience is how long listeners have for that.
const lastWordsPatience = 500 * time.Millisecond

// signal handles a signal to the daemon.
func (d *Daemon) signal(sig os.Signal) {
	s, ok := sig.(syscall.Signal)
	if !ok {
		return
	}
	if s != syscall.SIGCHLD {
		d.opts.Record.Add(record.Entry{Kind: record.Signal, Name: unix.SignalName(s)})
	}
	switch s {
	case syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT:
		d.log.Print(activity.Warn, "received "+signalName(s)+" indicating exit request")
		d.shutdown()
	case syscall.SIGHUP:
		if d.mood == MoodShutdown {
			d.log.Print(activity.Warn, "ignored SIGHUP indicating restart request (shutdown in progress)")
			return
		}
		d.log.Print(activity.Warn, "received SIGHUP indicating restart request")
		d.restart()
	case syscall.SIGUSR2:
		d.log.Print(activity.Info, "received SIGUSR2 indicating log reopen request")
		d.reopenLogs()
	case syscall.SIGUSR1:
		d.log.Print(activity.Info, "received SIGUSR1 indicating upgrade request")
		go func() { _ = d.Upgrade(d.ctx) }()
	case syscall.SIGCHLD:
		d.reap()
		// As in Supervisor, that comes after what it was about.
		d.quits++
		d.tellQuits()
	}
}

// Shutdown begins to end the daemon.
func (d *Daemon) Shutdown(ctx context.Context) error {
	return d.query(ctx, func() error {
		d.shutdown()
		return nil
	})
}

// Restart begins to stop everything and to start anew with the configuration
// read afresh. A configuration that cannot be read changes nothing.
func (d *Daemon) Restart(ctx context.Context) error {
	return d.query(ctx, func() error {
		d.restart()
		return nil
	})
}

// shutdown begins the end, or turns a restart into one.
func (d *Daemon) shutdown() {
	if d.mood == MoodShutdown {
		return
	}
	d.setMood(MoodShutdown)
	d.notify.stopping()
	if d.leaving == nil {
		d.depart(nil)
		return
	}
	d.leaving.next = nil
	d.progress()
}

// restart reads the configuration, and if that can be done, stops everything
// to go on with it.
func (d *Daemon) restart() {
	if d.mood != MoodRunning {
		return
	}
	d.notify.reloading()
	go func() {
		next, err := d.opts.Reload()
		d.post(func() {
			if err != nil {
				d.notify.reloaded()
				d.log.Print(activity.Error, "cannot restart, everything goes on as it is: "+err.Error())
				return
			}
			if d.mood != MoodRunning {
				return
			}
			d.setMood(MoodRestarting)
			d.depart(next)
		})
	}()
}

func (d *Daemon) depart(next *plan.Plan) {
	d.events.announceState(d.mood)
	l := &departure{groups: slices.Clone(d.order), next: next, before: maps.Clone(d.sweeps)}
	l.report = newTimer(d.reportWaiting)
	d.leaving = l
	// That everything is to stop is written down before anything has: a daemon
	// after us must not take it for what somebody wished.
	d.dirty = true
	saved := make(chan struct{})
	d.closeWhenSaved(saved)
	go func() {
		awaitSaved(saved)
		d.post(func() {
			l.written = true
			d.progress()
		})
	}()
}

// progress takes a departure as far as it goes now. It is called whenever
// something has changed.
func (d *Daemon) progress() {
	l := d.leaving
	if l == nil || d.finished || !l.written {
		return
	}
	for {
		if slices.ContainsFunc(l.batch, func(g *group) bool { return len(g.unstopped()) > 0 }) {
			return
		}
		if d.sweeping() {
			return
		}
		l.batch = nil
		if len(l.groups) == 0 {
			d.departed()
			return
		}
		if !d.takeBatch() {
			return
		}
	}
}

// sweeping reports whether a departure has to wait for sweeps: before the next
// batch for those of the last one, at the end for all. What a stop before the
// departure has left does not hold up the programs that still run.
func (d *Daemon) sweeping() bool {
	if len(d.leaving.groups) == 0 {
		return len(d.sweeps) > 0
	}
	for s := range d.sweeps {
		if _, ok := d.leaving.before[s]; !ok {
			return true
		}
	}
	return false
}

// takeBatch takes the groups of the highest priority left and stops them. It
// reports false if it has to wait first.
func (d *Daemon) takeBatch() bool {
	l := d.leaving
	last := l.groups[len(l.groups)-1].cfg.Priority
	first := slices.IndexFunc(l.groups, func(g *group) bool { return g.cfg.Priority == last })
	batch := l.groups[first:]
	if !l.over && slices.ContainsFunc(batch, (*group).busy) {
		// Its listeners have not yet taken all that happened.
		if l.lastWords == nil {
			l.lastWords = d.after(lastWordsPatience, func() {
				l.over = true
				d.progress()
			})
		}
		return false
	}
	l.groups = l.groups[:first]
	l.batch = batch
	for _, g := range slices.Backward(batch) {
		for _, p := range slices.Backward(g.procs) {
			switch p.m.State {
			case process.Running, process.Starting:
				d.soon(func() { p.apply(process.Stop{}) })
			case process.Backoff:
				d.soon(func() { p.apply(process.GiveUp{}) })
			}
		}
	}
	if l.report.index < 0 && !l.reporting {
		l.reporting = true
		d.soon(d.reportWaiting)
	}
	if l.stuck != nil {
		d.timers.clear(l.stuck)
	}
	l.began = d.now()
	l.stuck = d.after(killPatience, d.checkStuck)
	d.notify.patience(d.patience() + lastWordsPatience)
	return true
}

// reportWaiting says whose end is awaited, at once and then every 3 seconds.
func (d *Daemon) reportWaiting() {
	l := d.leaving
	if l == nil {
		return
	}
	l.reporting = false
	var names []string
	groups := slices.Clone(d.order)
	slices.SortFunc(groups, func(a, b *group) int { return cmp.Compare(a.serial, b.serial) })
	for _, g := range groups {
		for i := range g.cfg.Processes {
			if p := d.find(g.name(), g.cfg.Processes[i].Name); p != nil && !p.m.State.IsStopped() {
				names = append(names, p.cfg.Name)
			}
		}
	}
	if len(names) == 0 {
		return
	}
	d.log.Print(activity.Info, "waiting for "+strings.Join(names, ", ")+" to die")
	d.timers.set(l.report, d.now()+3*time.Second)
}

// departed goes on when the last process is gone: to the end, or to the new
// configuration.
func (d *Daemon) departed() {
	l := d.leaving
	for _, t := range []*timer{l.report, l.stuck, l.lastWords} {
		if t != nil {
			d.timers.clear(t)
		}
	}
	if l.next == nil {
		d.finished = true
		return
	}
	d.leaving = nil
	for _, g := range slices.Clone(d.order) {
		for _, p := range g.procs {
			p.closeStreams()
		}
		d.events.closePool(g)
		delete(d.groups, g.name())
		d.unlist(g)
	}
	next := l.next
	// Old logs are cleaned up next; suplog would put back what is removed
	// while it writes to it.
	d.logs.whenEnded(time.Second, func() {
		go func() {
			// Listeners and the activity log are opened anew outside the
			// loop; clients that come meanwhile are told of the restart.
			err := d.opts.Reopen(next)
			d.post(func() {
				if err != nil {
					d.log.Print(activity.Critical, err.Error())
				}
				d.resume(next)
			})
		}()
	})
}

// resume starts anew with a configuration, as the daemon does at first.
func (d *Daemon) resume(next *plan.Plan) {
	if d.mood == MoodShutdown {
		d.depart(nil)
		return
	}
	d.plan = next
	d.setMood(MoodRunning)
	d.events.hub.Identifier = next.Daemon.Identifier
	d.log.SetLevel(activity.ParseLevel(next.Daemon.LogLevel))
	d.events.hub.Debug = d.log.Enabled(activity.Debug)
	d.begin()
	d.notify.awaitStart()()
}

func signalName(s syscall.Signal) string {
	switch s {
	case syscall.SIGTERM:
		return "SIGTERM"
	case syscall.SIGINT:
		return "SIGINT"
	}
	return "SIGQUIT"
}

// patience is how long the batch may take, for the sake of what is left of it.
func (d *Daemon) patience() time.Duration {
	longest := time.Duration(0)
	for _, g := range d.leaving.batch {
		for _, p := range g.procs {
			if !p.m.State.IsStopped() {
				longest = max(longest, p.spec.StopWait)
			}
		}
	}
	for s := range d.sweeps {
		longest = max(longest, s.until-d.leaving.began)
	}
	return longest + killPatience
}

// checkStuck ends the wait for processes that SIGKILL does not end.
func (d *Daemon) checkStuck() {
	if until := d.leaving.began + d.patience(); d.now() < until {
		d.timers.set(d.leaving.stuck, until)
		return
	}
	d.stillAlive()
}

// stillAlive tells of processes that survived SIGKILL; there is nothing more
// to be done about them.
func (d *Daemon) stillAlive() {
	for _, g := range d.order {
		for _, p := range g.unstopped() {
			d.log.Print(activity.Critical, p.fullName()+" still alive (state "+spawn.KernelState(p.m.PID)+")")
		}
	}
	d.status = 1
	d.finished = true
}
