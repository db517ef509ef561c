package daemon

import (
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/logwire"
	"sup/lib/plan"
	"sup/lib/process"
	"sup/lib/spawn"
	"sup/supd/internal/cgroup"
)

// spawnJob is a process to be made. The spawner takes jobs in order.
type spawnJob struct {
	// program is set for a program, helper for a process of our own.
	program *programJob
	helper  *helperJob
}

type helperJob struct {
	command spawn.Command
	done    func(pid int, err error) // on the loop
}

// programJob is all that the spawner needs to know of a program. It holds
// copies, and descriptors that stay open until done was called.
type programJob struct {
	cfg       *plan.Process
	environ   []string // of the daemon
	mark      string
	serverURL string
	cgroups   *cgroup.Groups
	out, err  int // read ends of the pipes; err is -1 with redirect_stderr
	listener  bool
	stdin     func() (int, error) // nil for a pipe
	hold      func(fds []int)     // has our ends of pipes outlive us
	note      func(pid int)       // puts the start on record
	done      func(spawned)       // on the loop
}

// spawned is what came of a job.
type spawned struct {
	pid    int
	ticks  uint64
	pidfd  int // to be deposited, -1 if there is none
	stdin  int // our end of the pipe, non-blocking; -1 if there is none
	stdout int // a listener's protocol, -1 otherwise
	err    error
}

// requestStart puts a process into the queue of starts. It leaves the queue in
// order, once its command was found and suplog has said whether its logs can be
// opened.
func (d *Daemon) requestStart(p *proc) {
	d.starts = append(d.starts, p)
	p.begun, p.resolving, p.unresolved = false, false, nil
	if p.found || p.logsOpen() {
		p.openLogs()
	} else {
		// A command that cannot be run leaves no log behind.
		p.resolving = true
		d.timers.set(p.logsDue, d.now()+logPatience)
		p.look()
	}
	d.pumpStarts()
}

// look finds the command of a start that was asked for. It may lie on a disk that
// hangs, so that is done outside the loop, and once at a time.
func (p *proc) look() {
	if p.looking {
		return
	}
	p.looking = true
	cfg := p.cfg
	go func() {
		_, _, err := resolve(cfg)
		p.d.post(func() {
			p.looking = false
			if p.resolving {
				p.resolving, p.unresolved = false, err
				if err == nil && p.m.State == process.Starting {
					p.openLogs()
				}
				p.d.pumpStarts()
			}
		})
	}()
}

// logsOpen tells whether suplog has the logs of a process, or is about to.
func (p *proc) logsOpen() bool {
	for _, s := range p.streams() {
		if s.state == streamUnopened || s.state == streamFailed {
			return false
		}
	}
	return true
}

// openLogs has suplog open the logs that it has not.
func (p *proc) openLogs() {
	if p.out.state == streamUnopened {
		// Then nothing can come of the run before any more, and suplog learns
		// the number of the run as it opens the log.
		p.begin()
	}
	for _, s := range p.streams() {
		switch s.state {
		case streamUnopened:
			s.open()
		case streamFailed:
			s.retry()
		}
	}
	// suplog that hangs, or a log on a dead disk, must not keep programs from
	// starting: what they write waits in the pipe.
	p.d.timers.set(p.logsDue, p.d.now()+logPatience)
}

// logPatience is much longer than suplog ever takes on a busy machine: a log that
// cannot be opened has to be told in time, or the program runs without one.
const logPatience = 500 * time.Millisecond

// pumpStarts hands the starts at the head of the queue to the spawner, as far
// as they are ready. One whose command is looked for in vain keeps its place, and
// holds up no other.
func (d *Daemon) pumpStarts() {
	for at := 0; at < len(d.starts); {
		p := d.starts[at]
		if p.m.State == process.Starting {
			due := d.now() >= p.logsDue.at
			if p.resolving && due {
				at++
				continue
			}
			if p.resolving || !due && p.logsAsked() {
				return
			}
		}
		d.starts = slices.Delete(d.starts, at, at+1)
		d.timers.clear(p.logsDue)
		if reason, failed := p.hindrance(); failed {
			d.soon(func() { p.apply(process.SpawnFailed{Reason: reason}) })
		} else {
			d.submit(p)
		}
	}
}

// logsAsked tells whether suplog, or the one that is about to come, has yet to say
// whether it can open a log.
func (p *proc) logsAsked() bool {
	l := p.d.logs
	return (l.conn != nil || l.coming) && slices.ContainsFunc(p.streams(), func(s *stream) bool { return s.state == streamAsked })
}

// hindrance tells whether a start whose turn has come cannot be made, and why.
func (p *proc) hindrance() (reason string, failed bool) {
	switch {
	case p.m.State != process.Starting:
		return "", true // stopped before there was anything to stop
	case p.unresolved != nil:
		return p.unresolved.Error(), true
	}
	for _, s := range slices.Backward(p.streams()) {
		if s.state != streamFailed {
			continue
		}
		p.debugf(s.settings.Name + ": " + s.failure.Text)
		return logFailure(p.cfg.Name, s.failure, s.settings.More != "", os.Geteuid() == 0), true
	}
	return "", false
}

// logFailure is how clients are told that a log of a program cannot be opened.
// Which log it is goes without saying if there is only one, and then the words
// are Supervisor's; the log is named if there are several, and when it is the
// disk that fails: then people look for the path. privileged is set for root, to
// whom a permission can only be lacking for a reason of ours.
func logFailure(name string, failure *logwire.Message, several, privileged bool) string {
	text := "unknown error making dispatchers for " + spawn.Quote(name) + ": " + errnoName(failure.Errno)
	switch failure.Errno {
	case unix.EMFILE, unix.ENFILE:
		return "too many open files to spawn " + spawn.Quote(name)
	case unix.EROFS, unix.EIO, unix.ENOSPC, unix.EDQUOT, unix.ESTALE:
		several = true
	case unix.EACCES, unix.EPERM, unix.ELOOP, unix.EMLINK:
		// Permissions do not stop root. That it was not done on behalf of
		// another user, Supervisor's words do not say.
		several = several || privileged
	}
	if several {
		text += " (" + failure.Text + ")"
	}
	return text
}

// submit hands one start to the spawner.
func (d *Daemon) submit(p *proc) {
	job := &programJob{
		cfg: p.cfg, serverURL: d.plan.ServerURL, cgroups: d.cgroups, out: p.out.pipe, err: -1,
		listener: p.listener != nil, stdin: p.group.stdinFor(p),
	}
	if p.err != nil {
		job.err = p.err.pipe
	}
	if !p.begun {
		p.begin()
	}
	n := note{process: p.apiName(), run: p.run.number}
	job.mark, job.note = p.mark, func(pid int) { n.pid = pid; d.recorder.note(n) }
	number, name := p.run.number, p.fullName()
	job.hold = func(fds []int) { d.holding.holdPipes(number, name, fds) }
	d.inFlight++
	job.done = func(r spawned) {
		d.inFlight--
		p.spawned(r)
		d.settleEarly()
	}
	d.spawn(spawnJob{program: job})
}

// spawned takes over what the spawner made.
func (p *proc) spawned(r spawned) {
	if r.err != nil {
		p.returnsSocket = p.usesSocket
		p.d.holding.drop(keyOfRun(p.run.number))
		p.apply(process.SpawnFailed{Reason: r.err.Error()})
		p.stdinDone()
		return
	}
	p.d.children[r.pid] = p
	p.stdin.attach(r.stdin)
	if p.listener != nil {
		p.listener.started(r.stdout)
	}
	p.run.pid, p.ticks = r.pid, r.ticks
	p.deposit(depositName(p.mark, r.pid), r.pidfd)
	p.apply(process.Spawned{PID: r.pid})
	d := p.d
	early := p.early
	p.early = nil
	for _, o := range early {
		d.events.heard(o.stream, o.message)
	}
}

// begin gives the run that is about to be a number, by which suplog tells
// whose output it sends. It cannot be the pid: output may come before that is
// known.
func (p *proc) begin() {
	p.begun = true
	p.d.lastRun++
	p.before, p.run = p.run, run{number: p.d.lastRun}
	p.mark, p.ticks = p.d.identity.Mark(p.apiName(), p.d.lastRun), 0
	p.changed()
	for _, s := range p.streams() {
		s.announceRun(p.run.number)
	}
}
