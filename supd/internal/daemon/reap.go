package daemon

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/process"
	"sup/lib/spawn"
	"sup/supd/internal/activity"
	"sup/supd/internal/crash"
	"sup/supd/internal/state"
)

// earlyExit is the end of a child whose start has not been reported yet.
type earlyExit struct {
	exit spawn.Exit
	turn process.Turn
}

// ending is the end of a process of which the last output is not logged yet.
type ending struct {
	status  unix.WaitStatus
	known   bool // status is; that of a process that ended unseen may not be
	turn    process.Turn
	streams int // that are not drained
}

// How long the end of a process waits for its last output to be logged before
// it is announced all the same: briefly where only the order of a log and a
// state is at stake, longer where events are promised in order.
const (
	drainPatience      = 5 * time.Millisecond
	drainPatienceOrder = 250 * time.Millisecond
)

// reap collects every child that has ended, also those that were not started
// by us but became ours (PID 1).
func (d *Daemon) reap() {
	for {
		exit, ok := spawn.Reap()
		if !ok {
			return
		}
		d.ended(exit, d.turn())
	}
}

// watchChildren has the loop reap when a child has ended, until the daemon has.
// The loop reaps on SIGCHLD, too, but that may not come while a spawner hangs.
func (d *Daemon) watchChildren() {
	for {
		if !spawn.AwaitEnd() {
			select {
			case <-d.born:
				continue
			case <-d.done:
				return
			}
		}
		reaped := make(chan struct{})
		d.post(func() {
			d.reap()
			close(reaped)
		})
		select {
		case <-reaped:
		case <-d.done:
			return
		}
	}
}

// bear notes that there is a child to be waited for.
func (d *Daemon) bear() {
	select {
	case d.born <- struct{}{}:
	default:
	}
}

// tellQuits says that SIGCHLD came, once the ends that it told of have been
// dealt with.
func (d *Daemon) tellQuits() {
	for d.endings == 0 && d.quits > 0 {
		d.quits--
		d.log.Print(activity.Debug, "received SIGCHLD indicating a child quit")
	}
}

func (d *Daemon) ended(exit spawn.Exit, turn process.Turn) {
	switch p := d.children[exit.PID]; {
	case p != nil:
		crash.Point(crash.AfterReap)
		delete(d.children, exit.PID)
		p.ended(exit.Status, turn)
	case d.helpers[exit.PID] != nil:
		done := d.helpers[exit.PID]
		delete(d.helpers, exit.PID)
		done(exit.Status)
	case exit.PID == d.logs.pid:
		d.logs.ended(exit.Status)
	case exit.PID == d.holding.last:
		// We have heard of it over its connection.
	case d.inFlight > 0 || d.logs.pid == 0:
		// It may be one of those that are being started; the spawner's word
		// comes after the kernel's then.
		d.early[exit.PID] = earlyExit{exit, turn}
	default:
		d.stranger(exit)
	}
}

func (d *Daemon) stranger(exit spawn.Exit) {
	d.log.Repeated(activity.Info, "reaped unknown pid "+strconv.Itoa(exit.PID)+" ("+process.Describe(exit.Status)+")")
}

// settleEarly looks again at ends that came before their starts.
func (d *Daemon) settleEarly() {
	for pid, e := range d.early {
		p := d.children[pid]
		if p == nil && (d.inFlight > 0 || d.logs.pid == 0) {
			continue
		}
		delete(d.early, pid)
		if p == nil {
			// One that failed before it was a program is not worth a word: it
			// has a stand-in.
			if s := e.exit.Status; !s.Exited() || s.ExitStatus() != spawn.ExecFailed {
				d.stranger(e.exit)
			}
			continue
		}
		delete(d.children, pid)
		p.ended(e.exit.Status, e.turn)
	}
}

// startHelper has a process of our own made. It counts among the starts under
// way, so that an end that comes before the word of the start is kept for it.
func (d *Daemon) startHelper(h *helperJob) {
	d.inFlight++
	d.spawn(spawnJob{helper: h})
}

// helperStarted hears of the start of a helper, and then of its end if that
// came first.
func (d *Daemon) helperStarted(h *helperJob, pid int, err error) {
	d.inFlight--
	h.done(pid, err)
	if e, ok := d.early[pid]; ok && err == nil {
		delete(d.early, pid)
		d.ended(e.exit, e.turn)
	}
	d.settleEarly()
}

// ended has the last output of the process logged, then tells of its end.
func (p *proc) ended(status unix.WaitStatus, turn process.Turn) {
	p.endedAs(status, true, turn)
}

// endedAs is ended for a process whose status may not be known.
func (p *proc) endedAs(status unix.WaitStatus, known bool, turn process.Turn) {
	p.d.timers.clear(p.deadline)
	p.stdin.close()
	p.d.holding.drop(keyOfRun(p.run.number))
	p.end = &ending{status: status, known: known, turn: turn}
	p.d.endings++
	end := p.end
	patience := drainPatience
	for _, s := range p.streams() {
		if s.settings.Events || s.settings.CaptureMax > 0 {
			patience = drainPatienceOrder
		}
	}
	if patience == drainPatience && p.listener == nil && p.startsAgain(end) {
		// Nobody is told of an end: the program goes on, and what it wrote
		// before is logged before what it writes next.
		p.gone()
		return
	}
	if p.listener != nil {
		p.listener.drain()
	}
	// One more than there are, so that none that answers at once ends the
	// wait.
	streams := p.streams()
	end.streams = len(streams) + 1
	drained := func() {
		if end.streams--; end.streams == 0 {
			p.gone()
		}
	}
	for _, s := range streams {
		s.drain(patience, drained)
	}
	drained()
}

// startsAgain tells whether the process is started again at once.
func (p *proc) startsAgain(end *ending) bool {
	if !end.known {
		return false
	}
	m, _ := p.m.Step(&p.spec, process.Ended{Status: end.status}, end.turn)
	return m.State == process.Starting
}

// gone tells the machine of the end.
func (p *proc) gone() {
	end := p.end
	p.end = nil
	deposit := depositName(p.mark, p.m.PID)
	if p.d.opts.StateDir != nil {
		p.d.withdrawals = append(p.d.withdrawals, deposit)
	} else {
		p.d.withdraw(deposit)
	}
	p.d.endings--
	defer p.d.tellQuits()
	if p.listener != nil {
		p.listener.ended()
	}
	p.returnsSocket = p.usesSocket
	defer p.stdinDone()
	p.d.events.runEnded(p)
	turn := p.d.turn()
	// The end is when it was reaped, but nothing is to be started now that
	// was not to be then, or the other way round.
	turn.Now, turn.Unix = end.turn.Now, end.turn.Unix
	stopping, leader, patience := p.m.State == process.Stopping, p.m.PID, p.m.Deadline-turn.Now
	run := state.Run{Leader: leader, Ticks: p.ticks, Mark: p.mark, Unseen: p.unseen}
	p.unseen = false
	switch {
	case stopping && p.cfg.KillAsGroup:
		p.d.sweep(run, patience)
	case p.cfg.KillAsGroup:
		// What it has left keeps its group, and runs on.
		name := cgroupName(p.mark)
		go func() { p.d.cgroups.Group(name).Remove() }()
	}
	if !end.known {
		p.step(process.Lost{Reason: unknownStatus}, turn)
		return
	}
	p.step(process.Ended{Status: end.status}, turn)
}
