package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/plan"
	"sup/lib/process"
	"sup/lib/spawn"
	"sup/supd/internal/activity"
	"sup/supd/internal/fcgi"
	"sup/supd/internal/state"
)

// Takeover: what a supd does that finds programs of one before it. They were
// killed neither with their daemon nor by their pipes, see stream.go; now their
// process entries get a machine, a way to signal them and a way to hear of
// their end again.

// unknownStatus stands where the status of a process would that ended while
// nobody looked.
const unknownStatus = "exit status unknown (supervisor was down)"

// resumeFrom takes over what an earlier daemon has left, and reports whether
// there was anything: if not, this is a first start.
func (d *Daemon) resumeFrom(saved *state.State) bool {
	groups, err := groupsOf(saved)
	if err != nil {
		d.log.Print(activity.Warn, "cannot use a group in the state of the daemon before: "+err.Error()+"; looking for programs by their marks")
		saved = nil
	}
	if d.opts.Upgraded && saved != nil {
		// The groups are those that were active, and nothing was under way.
		e := &estate{State: saved, succession: inherit(groups)}
		e.logger, e.held = d.logs.find(saved.Suplog, saved.SuplogTicks), d.holding.find()
		d.takeOver(e)
		d.recordLife("upgraded", fmt.Sprintf("generation %d, %d programs run on", d.generation, d.kept))
		d.log.Print(activity.Info, fmt.Sprintf("upgraded in place, generation %d: %d programs run on", d.generation, d.kept))
		return true
	}
	if d.opts.StateDir == nil || saved == nil && !d.opts.StateDir.Abandoned() {
		return false
	}
	e := &estate{State: saved, living: d.findLiving(saved)}
	if saved != nil {
		e.dropLeftOvers()
	} else {
		e.State = d.stateFromMarks(e.living)
		for i := range d.plan.Groups {
			groups = append(groups, &d.plan.Groups[i])
		}
	}
	e.logger, e.held = d.logs.find(e.Suplog, e.SuplogTicks), d.holding.find()
	alive := e.survivors()
	if len(alive) == 0 && e.logger == nil && e.held == nil {
		// What stood in the state were facts about what is gone. Only the
		// numbers of runs go on, for the sake of what a program may have left.
		d.lastRun = e.Runs
		d.heldBefore = e.held
		d.resumeSweeps(e.State)
		if saved != nil {
			d.log.Print(activity.Info, "nothing that the daemon before has started runs any more: starting as at first")
		}
		return false
	}
	e.succession = succeed(&succeeding{
		before: groups, next: d.plan.Groups, alive: alive, added: e.added(), leaving: e.Leaving,
	})
	d.takeOver(e)
	d.recordLife("took over", fmt.Sprintf("from supd with pid %d, %d programs run on", e.Supd, d.kept))
	d.log.Print(activity.Info, fmt.Sprintf("took over from supd with pid %d: %d programs run on", e.Supd, d.kept))
	for _, note := range e.notes {
		d.log.Print(activity.Warn, note)
	}
	return true
}

// estate is what a daemon before has left.
type estate struct {
	*state.State
	// living are the processes with marks of ours, by the name of the process.
	living map[string]state.Living
	logger *predecessor
	held   *heldBefore // by suphold
	succession
}

// dropLeftOvers forgets of the living those that carry the mark of a run that is
// known to have ended: what a program has left behind is not the program.
func (e *estate) dropLeftOvers() {
	for i := range e.Processes {
		s := &e.Processes[i]
		name := entry{s.Group, s.Name}.apiName()
		l, ok := e.living[name]
		if !ok {
			continue
		}
		written := state.ParseMark(s.Mark).Run
		underWay := process.State(s.State) == process.Starting || process.State(s.State) == process.Stopping
		if l.Run < written || l.Run == written && s.PID == 0 && !underWay {
			delete(e.living, name)
		}
	}
}

// resumeSweeps goes on with ending what stopped programs have left.
func (d *Daemon) resumeSweeps(saved *state.State) {
	for _, w := range saved.Sweeps {
		run := state.Run{Leader: w.Leader, Ticks: w.Ticks, Mark: w.Mark, Unseen: w.Unseen || !d.opts.Upgraded}
		d.sweep(run, d.fromMonotonic(w.UntilMono)-d.now())
	}
}

// survivors are the process entries of which a program runs.
func (e *estate) survivors() map[entry]bool {
	alive := map[entry]bool{}
	for i := range e.Processes {
		s := &e.Processes[i]
		key := entry{s.Group, s.Name}
		if _, ok := e.living[key.apiName()]; ok || s.PID != 0 && state.Survives(s.PID, s.Ticks) {
			alive[key] = true
		}
	}
	return alive
}

// added are the process entries that clients have added to their groups.
func (e *estate) added() map[entry]bool {
	added := map[entry]bool{}
	for i := range e.Processes {
		if s := &e.Processes[i]; s.Added {
			added[entry{s.Group, s.Name}] = true
		}
	}
	return added
}

// takeOver goes on with what there is.
func (d *Daemon) takeOver(e *estate) {
	d.generation = e.Generation + 1
	d.lastRun = e.Runs
	d.events.hub.Resume(e.Serial)

	known, saved := map[entry]bool{}, map[entry]*state.Process{}
	for i := range e.Processes {
		s := &e.Processes[i]
		key := entry{s.Group, s.Name}
		known[key] = true
		if e.fates[key] != fateFresh {
			saved[key] = s
		}
	}
	for _, cfg := range e.groups {
		d.addGroupAs(cfg, saved)
	}
	d.logs.lastSeq = e.Asked
	kept := func(p *proc) bool { return saved[p.entry()] != nil }
	d.logs.goOn(e.logger, kept)
	d.holding.goOn(e.held, kept)
	d.adoptSockets()
	ended := d.endedUnwritten(e.living)
	var leave []*proc
	for _, p := range d.listing {
		key := p.entry()
		l, seen := e.living[p.apiName()]
		if was, ok := ended[p.apiName()]; ok && (saved[key] != nil || !e.Leaving) {
			l, seen = was, true
		}
		s := saved[key]
		if s == nil && (known[key] || !seen) {
			continue
		}
		if s == nil {
			// It was added, and started, when nothing could be written down any
			// more.
			s = &state.Process{Group: key.group, Name: key.name}
		}
		p.added = s.Added
		if p.resume(s, l, seen) {
			d.kept++
		}
		switch {
		case e.fates[key] == fateGone:
			leave = append(leave, p)
		case e.Leaving:
			d.soon(p.startAgain)
		}
	}
	d.resumeSweeps(e.State)
	for group, texts := range e.Stdin {
		for name, text := range texts {
			if p := d.find(group, name); p != nil {
				_ = p.stdin.write(d, text)
			}
		}
	}
	d.soon(d.logs.settleDeposits)
	d.soon(d.holding.settle)
	if e.logger == nil {
		d.soon(d.redeposit) // with the new suplog
	}
	d.dirty = true
	if len(e.Pools) > 0 {
		d.events.restorePools(e.Pools)
	}
	if !d.opts.Upgraded {
		d.soon(func() { d.dismiss(leave, func() { d.autostart(d.order) }) })
	}
}

// startAgain starts a process again that a shutdown was about to stop, when it has
// ended, if it is one that starts by itself. One that is shown as running may have
// been asked to end all the same, and is not asked again; if it ends while it had
// time to, that was why.
func (p *proc) startAgain() {
	d, pid, until := p.d, p.m.PID, p.d.now()+p.spec.StopWait
	if !p.cfg.AutoStart || pid == 0 {
		return
	}
	asked := p.m.State == process.Stopping
	p.await(func() bool {
		if p.m.PID == pid {
			return false
		}
		if asked && p.m.State == process.Stopped || !asked && p.m.State == process.Exited && d.now() < until {
			d.soon(func() { p.apply(process.Start{}) })
		}
		return true
	})
}

// dismiss stops processes that are not in the configuration any more, and takes
// them out of their groups. Then it calls done.
func (d *Daemon) dismiss(procs []*proc, done func()) {
	left := 1
	finish := func() {
		if left--; left == 0 {
			done()
		}
	}
	for _, p := range procs {
		left++
		p.apply(process.Stop{})
		p.await(func() bool {
			if !p.m.State.IsStopped() || p.end != nil {
				return false
			}
			d.soon(func() {
				if g := p.group; len(g.procs) == 1 {
					d.removeGroup(g)
				} else {
					d.removeProcess(g, p)
				}
				finish()
			})
			return true
		})
	}
	finish()
}

// endedUnwritten are runs that suplog knows of, or that are on record, and that
// are not among the living, by the name of the process, the latest of each.
func (d *Daemon) endedUnwritten(living map[string]state.Living) map[string]state.Living {
	found := d.logs.heldRuns()
	if d.opts.StateDir != nil && !d.opts.Upgraded {
		for _, p := range d.listing {
			name := p.apiName()
			if s, ok := d.opts.StateDir.LatestRun(name); ok && s.Run > found[name].Run {
				found[name] = state.Living{Mark: d.identity.Mark(name, s.Run), Run: s.Run, PID: s.PID}
			}
		}
	}
	for name, l := range living {
		if l.Run >= found[name].Run {
			delete(found, name)
		}
	}
	return found
}

// groupsOf are the groups of a saved state.
func groupsOf(saved *state.State) (groups []*plan.Group, err error) {
	if saved == nil {
		return nil, nil
	}
	for _, raw := range saved.Groups {
		cfg := new(plan.Group)
		if err := json.Unmarshal(raw, cfg); err != nil {
			return nil, err
		}
		groups = append(groups, cfg)
	}
	return groups, nil
}

// stateFromMarks makes do without a state: the groups are those of the plan,
// and what carries a mark of ours runs.
func (d *Daemon) stateFromMarks(living map[string]state.Living) *state.State {
	s := &state.State{}
	for _, l := range living {
		s.Runs = max(s.Runs, l.Run)
	}
	for i := range d.plan.Groups {
		g := &d.plan.Groups[i]
		for k := range g.Processes {
			c := &g.Processes[k]
			name := entry{g.Name, c.Name}.apiName()
			sp := state.Process{Group: g.Name, Name: c.Name}
			if l, ok := living[name]; ok {
				began := state.StartTime(l.Ticks)
				sp.State, sp.PID, sp.Mark, sp.Ticks = int(process.Running), l.PID, l.Mark, l.Ticks
				sp.Started, sp.StartedMono = began.Unix(), state.Monotonic()-time.Since(began)
			}
			s.Processes = append(s.Processes, sp)
		}
	}
	return s
}

// resume gives a process entry the state that was saved of it, and reports
// whether its process runs on. A process that was seen, and whose start was not
// written down any more, counts for more than what was; it may have ended.
func (p *proc) resume(s *state.Process, l state.Living, seen bool) bool {
	d := p.d
	p.m = process.Machine{
		State: process.State(s.State), PID: s.PID, Failures: s.Failures,
		Started: s.Started, Ended: s.Ended, ExitStatus: s.ExitStatus, SpawnErr: s.SpawnErr,
	}
	if s.StartedMono != 0 {
		p.m.StartedAt = d.fromMonotonic(s.StartedMono)
	}
	p.mark, p.ticks = s.Mark, s.Ticks
	p.changed()

	written := state.ParseMark(s.Mark).Run
	underWay := p.m.PID == 0 && (p.m.State == process.Starting || p.m.State == process.Stopping)
	switch {
	case seen && (l.Run > written || l.Run == written && underWay):
		p.resumeUnwritten(l)
		return l.Ticks != 0
	case p.m.PID != 0:
		p.resumeDeadline(s)
		return p.adopt(s.Listener)
	case p.m.State == process.Starting:
		// It was asked for, and never made.
		p.m.State = process.Stopped
		d.soon(func() { p.apply(process.Start{}) })
	case p.m.State == process.Stopping:
		p.m.State = process.Stopped
	case p.m.State == process.Stopped && p.m.Started == 0 && p.cfg.AutoStart:
		d.soon(func() { d.autostart([]*group{p.group}) })
	}
	p.resumeDeadline(s)
	p.createAutoLogs()
	return false
}

func (p *proc) resumeDeadline(s *state.Process) {
	if s.DeadlineMono == 0 {
		return
	}
	// Zero would mean none.
	p.m.Deadline = max(p.d.fromMonotonic(s.DeadlineMono), 1)
	p.d.timers.set(p.deadline, p.m.Deadline)
}

// resumeUnwritten goes on with a process that was made when nobody could write
// it down any more: its entry hears of it as it would have from the spawner.
func (p *proc) resumeUnwritten(l state.Living) {
	if l.PID == 0 {
		// Whether it came to be nobody knows. It counts as a start.
		p.m.State, p.m.PID, p.m.Deadline = process.Starting, 0, 0
		p.d.lastRun = max(p.d.lastRun, l.Run)
		p.d.soon(func() { p.apply(process.SpawnFailed{Reason: unknownStatus}) })
		return
	}
	p.m.State, p.m.PID, p.m.Deadline = process.Starting, 0, 0
	p.m.SpawnErr, p.m.ExitStatus = "", 0
	p.m.Started = state.StartTime(l.Ticks).Unix()
	if l.Ticks == 0 {
		p.m.Started = time.Now().Unix() // it has ended, and nobody knows
	}
	p.mark, p.ticks = l.Mark, l.Ticks
	p.d.lastRun = max(p.d.lastRun, l.Run) // no number means two runs
	p.d.soon(func() {
		p.apply(process.Spawned{PID: l.PID})
		p.adopt("")
	})
}

// adopt makes the process of an entry ours again, if it still is what it was.
func (p *proc) adopt(listenerState string) bool {
	d, pid := p.d, p.m.PID
	p.run = run{number: p.runNumber(), pid: pid}
	if d.opts.Upgraded && spawn.IsChild(pid) {
		d.children[pid] = p
		p.adoptPipes(listenerState)
		return true
	}
	held, err := p.hold()
	if errors.Is(err, unix.ESRCH) {
		p.adoptEnd()
		return false
	}
	if err != nil {
		d.log.Print(activity.Warn, p.fullName()+": "+err.Error()+"; it is neither signalled nor started again before that is clear")
	}
	p.foreign = held
	d.adopted[pid] = p
	if err == nil {
		p.adoptPipes(listenerState)
	}
	d.watch(p)
	return true
}

// hold holds the process of an entry, by the descriptor that suplog has of it or by
// what was written down.
func (p *proc) hold() (*state.Held, error) {
	if kept, ok := p.d.logs.held[p.mark]; ok && kept.pid == p.m.PID {
		if fd, err := unix.FcntlInt(uintptr(kept.pidfd), unix.F_DUPFD_CLOEXEC, 0); err == nil {
			return state.HoldBy(fd, p.m.PID, p.ticks)
		}
	}
	held, _, err := state.Hold(p.m.PID, p.ticks)
	return held, err
}

// adoptEnd is for a process that is gone, and perhaps somebody else has its pid by
// now. suplog may have a descriptor of it.
func (p *proc) adoptEnd() {
	d, pid := p.d, p.m.PID
	held, ok := d.logs.held[p.mark]
	delete(d.logs.held, p.mark)
	go func() {
		status, known := unix.WaitStatus(0), false
		if ok {
			status, known = state.ExitStatus(held.pidfd, pid)
			unix.Close(held.pidfd)
		}
		d.post(func() { p.endedAs(status, known, d.turn()) })
	}()
	p.end = &ending{} // nothing is to be signalled
	p.unseen = true
}

func (p *proc) adoptPipes(listenerState string) {
	p.adoptStdin()
	p.adoptOutput()
	if p.listener != nil {
		p.adoptListener(listenerState)
	}
	p.d.holding.holdRun(p)
}

// runNumber is the number in a process's mark.
func (p *proc) runNumber() int64 { return state.ParseMark(p.mark).Run }

// watch reports the end of a process that is not our child.
func (d *Daemon) watch(p *proc) {
	held, pid := p.foreign, p.m.PID
	if held.FD() < 0 {
		if d.vigil.index < 0 {
			d.timers.set(d.vigil, d.now()+vigilPause)
		}
		return
	}
	// A descriptor of its own, since that of p is closed by the loop.
	own, err := unix.FcntlInt(uintptr(held.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		d.after(vigilPause, func() {
			if p.foreign == held {
				d.watch(p)
			}
		})
		return
	}
	file := os.NewFile(uintptr(own), "pidfd")
	go func() {
		defer file.Close()
		raw, err := file.SyscallConn()
		if err != nil {
			return
		}
		_ = raw.Read(func(fd uintptr) bool {
			n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			return n > 0
		})
		status, known := state.ExitStatus(own, pid)
		ended := make(chan struct{})
		d.post(func() {
			defer close(ended)
			p.foreignEnded(held, status, known)
		})
		select {
		case <-ended:
		case <-d.done:
		}
	}()
}

// vigilPause is how often processes are looked at whose end nothing reports.
const vigilPause = 200 * time.Millisecond

// lookAtForeign looks whether processes have ended that are not our children and
// of which this system gives no descriptors (Linux before 5.3, or a seccomp
// profile). It is the function of a timer, which is armed as long as there are any.
func (d *Daemon) lookAtForeign() {
	for _, p := range d.adopted {
		if p.foreign.FD() >= 0 {
			continue
		}
		if ended, status, known := p.foreign.Ended(); ended {
			d.soon(func() { p.foreignEnded(p.foreign, status, known) })
		}
		d.timers.set(d.vigil, d.now()+vigilPause)
	}
}

// foreignEnded is called when a process has ended that is not our child.
func (p *proc) foreignEnded(held *state.Held, status unix.WaitStatus, known bool) {
	if held == nil || p.foreign != held {
		return
	}
	delete(p.d.adopted, p.m.PID)
	held.Close()
	p.foreign = nil
	p.endedAs(status, known, p.d.turn())
}

// adoptSockets goes on with the listening sockets of FastCGI groups that the image
// before us has left.
func (d *Daemon) adoptSockets() {
	for name, fd := range d.opts.Sockets {
		if g := d.groups[name]; g == nil || g.socket == nil {
			unix.Close(fd)
		} else {
			_ = d.adoptSocket(g.socket, fd)
		}
	}
}

// adoptSocket makes fd the socket of a FastCGI group, or closes it. It is served
// also if its file cannot get the mode and the owner that it is to have.
func (d *Daemon) adoptSocket(s *fcgi.Socket, fd int) error {
	if err := s.Adopt(fd); err != nil {
		unix.Close(fd)
		return err
	}
	if err := s.Adjust(); err != nil {
		d.log.Print(activity.Warn, err.Error())
	}
	return nil
}

// adoptStdin opens our end of the process's standard input again, or the socket
// of a FastCGI program.
func (p *proc) adoptStdin() {
	g := p.group
	if g.socket == nil {
		if fd, err := p.openPipe(0, unix.O_WRONLY); err == nil {
			p.stdin.attach(fd)
		}
		return
	}
	g.socket.Use()
	p.usesSocket = true
	if g.socket.FD() >= 0 {
		return
	}
	if err := p.fetchSocket(); err != nil && !g.socketLost {
		g.socketLost = true
		p.d.log.Print(activity.Warn, "cannot get the socket of "+g.name()+" back from its processes: "+err.Error()+
			"; they serve on, but another one can be started only when all of them have stopped; hint: that needs Linux 5.6, and a seccomp profile that permits pidfd_getfd")
	}
}

// fetchSocket gets the listening socket of a group back from a process of it.
func (p *proc) fetchSocket() error {
	pidfd, own := -1, true
	if p.foreign != nil {
		pidfd, own = p.foreign.FD(), false
	}
	if pidfd < 0 {
		var err error
		if pidfd, err = spawn.Pidfd(p.m.PID); err != nil {
			return err
		}
		own = true
	}
	if own {
		defer unix.Close(pidfd)
	}
	fd, err := fcgi.Fetch(pidfd)
	if err != nil {
		return err
	}
	return p.d.adoptSocket(p.group.socket, fd)
}

// openPipe opens a descriptor of the process again, if it is a pipe.
func (p *proc) openPipe(n, how int) (int, error) {
	fd, err := openPipeOf(p.m.PID, n, how)
	if err != nil || p.foreign == nil {
		return fd, err
	}
	if ended, _, _ := p.foreign.Ended(); ended {
		// It may have been another one that had its pid.
		unix.Close(fd)
		return -1, unix.ESRCH
	}
	return fd, nil
}

// openPipeOf opens a descriptor of another process again, if it is a pipe. Nothing
// else is opened, not even for a moment: a file may be on a disk that hangs, and
// opening a device may do something. So it is looked at before it is opened, by a
// descriptor that only names it.
func openPipeOf(pid, n, how int) (int, error) {
	named, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/fd/"+strconv.Itoa(n), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(named)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(named, &fs); err != nil {
		return -1, err
	}
	if fs.Type != pipeFS {
		return -1, unix.EINVAL
	}
	return unix.Open("/proc/self/fd/"+strconv.Itoa(named), how|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
}

// pipeFS is the type of the file system of pipes that have no name.
const pipeFS = 0x50495045

// adoptOutput finds the pipes of a process whose streams no suplog has handed
// back, nor suphold: the process itself has them open.
func (p *proc) adoptOutput() {
	for i, s := range p.streams() {
		if s.pipe < 0 && (p.listener == nil || i > 0) {
			if fd, err := p.openPipe(i+1, unix.O_RDONLY); err == nil {
				s.pipe = fd
			}
		}
		if s.state == streamUnopened {
			s.open()
		}
		s.announceRun(p.run.number)
	}
}

// adoptListener goes on with the conversation of an event listener that waited
// for an event. One that was in the middle of one is started anew: the event
// went with the daemon before.
func (p *proc) adoptListener(was string) {
	d := p.d
	pool := p.group.pool
	d.events.do(pool.Process(p.cfg.Name, p.m.State.String()))
	fd, err := p.openPipe(1, unix.O_RDONLY)
	if err == nil {
		p.listener.started(fd)
	}
	if d.opts.Upgraded && err == nil {
		return // restorePools knows where it stands
	}
	if err != nil || p.m.State == process.Running && !listenerReady(was) {
		pid := p.m.PID
		d.soon(func() { p.kill(process.Kill{PID: pid, Signal: p.spec.StopSignal}) })
		return
	}
	if listenerReady(was) {
		d.events.do(pool.Output(p.cfg.Name, []byte("READY\n")))
	}
}
