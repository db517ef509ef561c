package daemon

import (
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/plan"
	"sup/lib/process"
	"sup/lib/spawn"
	"sup/supd/internal/activity"
	"sup/supd/internal/state"
)

// proc is one process entry: a line of the plan, the machine that lives it,
// and what belongs to the process that runs.
type proc struct {
	d     *Daemon
	group *group
	cfg   *plan.Process
	spec  process.Spec
	m     process.Machine

	// deadline fires process.Timer when m.Deadline is due.
	deadline *timer
	// out and err are the streams whose logs suplog keeps; err is nil with
	// redirect_stderr.
	out, err *stream
	stdin    stdin
	listener *listener // of a process in an event listener pool
	// usesSocket is set while the process has a share in its group's socket.
	// returnsSocket is set when it is about to give it back.
	usesSocket, returnsSocket bool
	// looking is set while the command is being looked for, resolving while a
	// start waits for that; unresolved says why it cannot be run.
	looking    bool
	resolving  bool
	unresolved error
	// found is set while a start is asked for whose command has just been found.
	found bool
	// logsDue ends the wait for suplog's word on the log files of a start.
	logsDue *timer
	// end is set from the reaping of the process until its last output has
	// been logged.
	end *ending
	// run is the one that goes on or is about to, before the one before it.
	run, before run
	// unseen is set if the process has ended while no daemon looked.
	unseen bool
	// begun is set when the start that was asked for has its number.
	begun bool
	// early is output of a run whose pid is not known yet.
	early []earlyOutput
	// mark is what SUPD_RUN says in the process that runs or is about to;
	// ticks is when that was started, in the kernel's count.
	mark  string
	ticks uint64
	// foreign holds a process that is not our child; nil otherwise.
	foreign *state.Held
	// added is set for one that a client has added to its group.
	added bool
	// saved is our part of the state as it was saved, nil when it has changed.
	saved []byte
	// waiters are told of every change; one that returns true is done.
	waiters []func() bool
}

// run is one life of a process: by its number, which is known before there is
// a pid, suplog tells whose output it sends.
type run struct {
	number int64
	pid    int // 0 until the spawner has reported it
}

func newProc(d *Daemon, g *group, cfg *plan.Process) *proc {
	p := &proc{d: d, group: g, cfg: cfg}
	p.spec = process.Spec{
		Name: cfg.Name, StartSecs: seconds(cfg.StartSecs), StartRetries: cfg.StartRetries,
		AutoRestart: cfg.AutoRestart, ExitCodes: cfg.ExitCodes,
		StopSignal: cfg.StopSignal, StopWait: seconds(cfg.StopWaitSecs),
		StopAsGroup: cfg.StopAsGroup, KillAsGroup: cfg.KillAsGroup,
	}
	p.deadline = newTimer(func() { p.apply(process.Timer{}) })
	p.logsDue = newTimer(d.pumpStarts)
	p.stdin.fd = -1
	return p
}

// seconds turns a number of the configuration, which may be negative or
// absurd, into a wait.
func seconds(n int) time.Duration {
	const most = 100 * 365 * 24 * 3600
	return time.Duration(min(max(n, 0), most)) * time.Second
}

// apply feeds an event to the machine and carries out what follows from it.
func (p *proc) apply(ev process.Event) {
	p.step(ev, p.d.turn())
}

func (p *proc) step(ev process.Event, turn process.Turn) {
	if p.end != nil {
		// The process is gone, only its last output is awaited: nothing is
		// due before its end is told, and its pid may be somebody else's.
		switch ev.(type) {
		case process.Timer:
			return
		}
	}
	m, effects := p.m.Step(&p.spec, ev, turn)
	p.m = m
	p.changed()
	for _, e := range effects {
		p.perform(e, ev)
	}
	if p.m.Deadline > 0 {
		p.d.timers.set(p.deadline, p.m.Deadline)
	} else {
		p.d.timers.clear(p.deadline)
	}
	if p.m.State.IsStopped() {
		for _, s := range p.streams() {
			s.rest()
		}
	}
	if p.m.State == process.Stopping && p.m.PID == 0 {
		p.d.soon(p.d.pumpStarts) // it may wait for its turn in vain
	}
	p.tellWaiters()
	p.d.progress()
}

// perform carries out what follows from an event.
func (p *proc) perform(e process.Effect, ev process.Event) {
	switch e := e.(type) {
	case process.Spawn:
		p.stdinDone()
		p.d.requestStart(p)
	case process.Kill:
		p.kill(e)
	case process.Announce:
		p.d.recordState(p, e, ev)
		p.d.events.stateChange(p, e)
	case process.Log:
		p.d.log.Log(string(e.Level), e.Text)
	}
}

// kill carries out a signal that is meant to end the process.
func (p *proc) kill(e process.Kill) {
	if p.end != nil {
		return // gone already
	}
	if err := p.send(e.PID, e.Signal, e.Group); err != nil {
		// Not from within the step that asked for it.
		p.d.soon(func() { p.apply(process.SignalFailed{Reason: spawn.Errno(err)}) })
		return
	}
	if e.Signal != unix.SIGKILL && e.Signal != unix.SIGSTOP && e.Signal != unix.SIGCONT {
		// A process that was stopped (SIGSTOP, a debugger) would not hear of
		// it before somebody lets it go on.
		_ = p.send(e.PID, unix.SIGCONT, e.Group)
	}
}

// send sends a signal to the process, or to its group. A process that is not
// our child may be gone at any time and its pid be somebody else's.
func (p *proc) send(pid int, sig unix.Signal, group bool) error {
	if p.foreign == nil {
		return spawn.Kill(pid, sig, group)
	}
	return p.foreign.Signal(sig, group)
}

// await calls done now and at every change of the process until it returns
// true.
func (p *proc) await(done func() bool) {
	if !done() {
		p.waiters = append(p.waiters, done)
	}
}

func (p *proc) tellWaiters() {
	if len(p.waiters) == 0 {
		return
	}
	all := p.waiters
	p.waiters = nil
	for _, done := range all {
		if !done() {
			p.waiters = append(p.waiters, done)
		}
	}
}

func (p *proc) debugf(text string) { p.d.log.Print(activity.Debug, text) }
