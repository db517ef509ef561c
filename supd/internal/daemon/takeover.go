package daemon

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/plan"
	"sup/lib/process"
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
// there was anything.
func (d *Daemon) resumeFrom(saved *state.State) bool {
	if saved != nil && saved.Instance != "" {
		d.instance = saved.Instance
	}
	living := map[string]state.Living{}
	switch {
	case d.opts.Upgraded && saved != nil:
		// Nothing was under way.
	case d.opts.StateDir == nil, saved == nil && !d.opts.StateDir.Abandoned():
		return false
	default:
		living = state.FindLiving(d.instance)
	}
	groups, err := groupsOf(saved)
	if err != nil {
		d.log.Print(activity.Warn, "cannot use a group in the state of the daemon before: "+err.Error()+"; looking for programs by their marks")
		if d.opts.Upgraded {
			living = state.FindLiving(d.instance)
		}
		saved = nil
	}
	if saved == nil {
		if len(living) == 0 {
			return false
		}
		saved = d.stateFromMarks(living)
		for i := range d.plan.Groups {
			groups = append(groups, &d.plan.Groups[i])
		}
	}
	d.generation = saved.Generation + 1
	d.lastRun = int32(saved.Runs)
	d.events.hub.Resume(saved.Serial)

	byName := map[[2]string]*state.Process{}
	for i := range saved.Processes {
		s := &saved.Processes[i]
		byName[[2]string{s.Group, s.Name}] = s
	}
	for _, cfg := range groups {
		d.addGroupAs(cfg, byName)
	}
	d.logs.lastSeq = saved.Asked
	d.logs.takeOver(saved.Suplog, saved.SuplogTicks)
	ended := d.endedUnwritten(living)
	kept := 0
	for _, p := range d.listing {
		s := byName[[2]string{p.group.name(), p.cfg.Name}]
		if s == nil {
			continue
		}
		l, seen := living[p.apiName()]
		if e, ok := ended[p.apiName()]; ok {
			l, seen = e, true
		}
		if p.resume(s, l, seen) {
			kept++
		}
	}
	for _, w := range saved.Sweeps {
		d.sweep(w.Leader, w.Ticks, w.Mark, d.fromMonotonic(w.UntilMono)-d.now())
	}
	for group, texts := range saved.Stdin {
		for name, text := range texts {
			if p := d.find(group, name); p != nil {
				_ = p.stdin.write(d, text)
			}
		}
	}
	d.soon(d.logs.settleDeposits)
	d.dirty = true
	if len(saved.Pools) > 0 {
		d.events.restorePools(saved.Pools)
	}
	if d.opts.Upgraded {
		d.log.Print(activity.Info, fmt.Sprintf("upgraded in place, generation %d: %d programs run on", d.generation, kept))
	} else {
		d.log.Print(activity.Info, fmt.Sprintf("took over from supd with pid %d: %d programs run on", saved.Supd, kept))
	}
	d.kept = kept
	return true
}

// endedUnwritten are runs that suplog knows of, or that are on record, and that
// are not among the living, by the name of the process, the latest of each.
func (d *Daemon) endedUnwritten(living map[string]state.Living) map[string]state.Living {
	found := d.logs.heldRuns()
	if d.opts.StateDir != nil && !d.opts.Upgraded {
		for _, p := range d.listing {
			name := p.apiName()
			if s, ok := d.opts.StateDir.LatestRun(name); ok && s.Run > found[name].Run {
				found[name] = state.Living{Mark: state.Mark(d.instance, name, s.Run), Run: s.Run, PID: s.PID}
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
			name := g.Name + ":" + c.Name
			if g.Name == c.Name {
				name = c.Name
			}
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

	_, written, _ := state.ParseMark(s.Mark)
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
		p.d.lastRun = max(p.d.lastRun, int32(l.Run))
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
	p.d.lastRun = max(p.d.lastRun, int32(l.Run)) // no number means two runs
	p.d.soon(func() {
		p.apply(process.Spawned{PID: l.PID})
		p.adopt("")
	})
}

// adopt makes the process of an entry ours again, if it still is what it was.
func (p *proc) adopt(listenerState string) bool {
	d, pid := p.d, p.m.PID
	p.run = run{number: p.runNumber(), pid: pid}
	pidfd, parent, err := state.VerifyParent(pid, p.ticks)
	if err != nil {
		// Gone, and perhaps somebody else has its pid by now. suplog may have
		// a descriptor of it.
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
		return false
	}
	p.adoptStdin(pidfd)
	p.adoptOutput()
	if p.listener != nil {
		p.adoptListener(listenerState)
	}
	if parent == os.Getpid() {
		// Still our child, after an upgrade in place.
		unix.Close(pidfd)
		d.children[pid] = p
		return true
	}
	p.pidfd = pidfd
	d.adopted[pid] = p
	d.watch(p, pid, pidfd)
	return true
}

// runNumber is the number in a process's mark.
func (p *proc) runNumber() int32 {
	_, n, _ := state.ParseMark(p.mark)
	return int32(n)
}

// watch reports the end of a process that is not our child.
func (d *Daemon) watch(p *proc, pid, pidfd int) {
	file := os.NewFile(uintptr(pidfd), "pidfd")
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
		status, known := state.ExitStatus(pidfd, pid)
		ended := make(chan struct{})
		d.post(func() {
			defer close(ended)
			if d.adopted[pid] == p {
				delete(d.adopted, pid)
				p.pidfd = -1
				p.endedAs(status, known, d.turn())
			}
		})
		select {
		case <-ended:
		case <-d.done:
		}
	}()
}

// adoptStdin opens our end of the process's standard input anew, or the socket
// of a FastCGI program.
func (p *proc) adoptStdin(pidfd int) {
	if g := p.group; g.socket != nil {
		g.socket.Use()
		p.usesSocket = true
		if g.socket.FD() < 0 {
			if fd, err := fcgi.Fetch(pidfd); err == nil && g.socket.Adopt(fd) != nil {
				unix.Close(fd)
			}
		}
		return
	}
	if fd, err := openPipeOf(p.m.PID, 0, unix.O_WRONLY); err == nil {
		p.stdin.attach(fd)
	}
}

// openPipeOf opens a descriptor of another process anew, if it is a pipe. Nothing
// else is opened: a file may be on a disk that hangs, and opening a device may
// do something.
func openPipeOf(pid, n, how int) (int, error) {
	link := "/proc/" + strconv.Itoa(pid) + "/fd/" + strconv.Itoa(n)
	if target, err := os.Readlink(link); err != nil || !strings.HasPrefix(target, "pipe:") {
		return -1, unix.EINVAL
	}
	fd, err := unix.Open(link, how|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		unix.Close(fd)
		return -1, unix.EINVAL
	}
	return fd, nil
}

// adoptOutput finds the pipes of a process whose streams no suplog has handed
// back: the process itself holds them open.
func (p *proc) adoptOutput() {
	for i, s := range p.streams() {
		if s.pipe < 0 && (p.listener == nil || i > 0) {
			if fd, err := openPipeOf(p.m.PID, i+1, unix.O_RDONLY); err == nil {
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
	fd, err := openPipeOf(p.m.PID, 1, unix.O_RDONLY)
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

// isOurChild tells whether a process is our child, as it is after an upgrade in
// place, but not after a takeover.
func isOurChild(pid int) bool { return state.Parent(pid) == os.Getpid() }
