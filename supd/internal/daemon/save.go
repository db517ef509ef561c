package daemon

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/event"
	"sup/lib/logwire"
	"sup/lib/process"
	"sup/supd/internal/activity"
	"sup/supd/internal/crash"
	"sup/supd/internal/state"
)

// What is saved, so that a supd after us can take over: each process entry
// keeps its part as it stands in the file, and makes it anew when something
// about it has changed.

// changed notes that the saved state is out of date.
func (p *proc) changed() {
	p.saved = nil
	p.d.dirty = true
	p.d.notify.changed()
}

// flush has the state saved if something has changed, and the saver is free;
// else it is saved when that is, and a burst of changes is written once.
// Nothing waits for that, since a disk may be slow: a process whose start was
// not written down any more is found by its mark.
func (d *Daemon) flush() {
	if !d.dirty || d.saving || d.opts.StateDir == nil {
		return
	}
	d.dirty, d.saving = false, true
	d.saves.put(save{d.snapshot(), d.withdrawals, d.saveWaiters})
	d.withdrawals, d.saveWaiters = nil, nil
}

// The saver pauses after a save for at least leastPause, at most mostPause, and
// in between for pauseFactor times as long as the save took, so that it never
// takes more than a small part of a processor.
const (
	leastPause  = 5 * time.Millisecond
	mostPause   = 50 * time.Millisecond
	pauseFactor = 20
)

// closeWhenSaved closes a channel when what has happened so far is written down.
// It is for the loop.
func (d *Daemon) closeWhenSaved(saved chan struct{}) {
	if d.opts.StateDir == nil || !d.dirty && !d.saving {
		close(saved)
		return
	}
	d.dirty = true
	d.saveWaiters = append(d.saveWaiters, saved)
	select {
	case d.urgent <- struct{}{}:
	default:
	}
}

// awaitSaved waits for closeWhenSaved, but not long: a disk may be slow. A stop
// is written down while the program ends, so that a client that was told of its
// end can rely on it, even if the daemon is killed the next moment.
func awaitSaved(saved <-chan struct{}) {
	const patience = 50 * time.Millisecond
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-saved:
	case <-timer.C:
	}
}

// save is a state to be written, the deposits that are not needed any more when
// it is, and who waits for that.
type save struct {
	snapshot    *state.Snapshot
	withdrawals []string
	waiters     []chan struct{}
}

// note is that a run of a process is about to start, with pid 0, or has started.
type note struct {
	process string
	run     int64
	pid     int
}

// recorder puts starts on record: at once, in the goroutine that makes the
// process, so that nothing that runs is unknown to the next daemon. Once the disk
// does not answer, and that goroutine is replaced for it, what comes after is left
// to another one until that has caught up. Without a state directory it does
// nothing.
type recorder struct {
	dir *state.Dir
	// waiting counts the notes that are being written or are in late.
	waiting atomic.Int32
	late    chan note
}

func newRecorder(dir *state.Dir) *recorder {
	return &recorder{dir: dir, late: make(chan note, 64)}
}

func (r *recorder) note(n note) {
	if r.dir == nil {
		return
	}
	if r.waiting.Add(1) == 1 {
		r.write(n)
		return
	}
	select {
	case r.late <- n:
	default:
		r.waiting.Add(-1) // the disk hangs for long
	}
}

func (r *recorder) write(n note) {
	_ = r.dir.Note(n.process, n.run, n.pid)
	r.waiting.Add(-1)
}

// run writes what is late until ctx is done.
func (r *recorder) run(ctx context.Context) {
	for {
		select {
		case n := <-r.late:
			r.write(n)
		case <-ctx.Done():
			return
		}
	}
}

// runSaver writes states until ctx is done and the last one is written.
func runSaver(ctx context.Context, d *Daemon, done chan<- struct{}) {
	defer close(done)
	for {
		saves, ok := d.saves.take(ctx)
		if !ok {
			return
		}
		begun := time.Now()
		err := d.opts.StateDir.Save(saves[len(saves)-1].snapshot)
		pause := min(max(pauseFactor*time.Since(begun), leastPause), mostPause)
		for _, s := range saves {
			for _, saved := range s.waiters {
				close(saved)
			}
		}
		select {
		case <-time.After(pause):
		case <-d.urgent:
		case <-ctx.Done():
		}
		d.post(func() {
			d.saving = false
			d.saveFailed(err)
			for _, s := range saves {
				for _, name := range s.withdrawals {
					d.withdraw(name)
				}
			}
		})
	}
}

// snapshot is the whole state as it is to be written. What it holds is never
// changed afterwards.
func (d *Daemon) snapshot() *state.Snapshot {
	s := &state.Snapshot{Head: state.Head{
		Version: state.Version, BootID: d.bootID, PIDNS: d.pidNS, Instance: d.identity.Instance, Generation: d.generation,
		Supd: os.Getpid(), Runs: d.lastRun, Serial: d.events.hub.Serial(),
		Suplog: d.logs.pid, SuplogTicks: d.logs.ticks, Leaving: d.mood != MoodRunning,
	}}
	if dir := d.opts.StateDir; dir != nil {
		s.Dir = dir.Path()
	}
	for w := range d.sweeps {
		s.Sweeps = append(s.Sweeps, state.Sweep{Leader: w.run.Leader, Ticks: w.run.Ticks, Mark: w.run.Mark, Unseen: w.run.Unseen, UntilMono: d.toMonotonic(w.until)})
	}
	for _, g := range d.order {
		if g.saved == nil {
			g.saved, _ = json.Marshal(g.cfg)
		}
		s.Groups = append(s.Groups, g.saved)
	}
	s.Processes = make([][]byte, 0, len(d.listing))
	for _, p := range d.listing {
		if p.saved == nil {
			p.saved, _ = json.Marshal(p.stateNow())
		}
		s.Processes = append(s.Processes, p.saved)
	}
	return s
}

// stateNow is the part of a process entry.
func (p *proc) stateNow() state.Process {
	s := state.Process{
		Group: p.group.name(), Name: p.cfg.Name,
		State: int(p.m.State), PID: p.m.PID, Failures: p.m.Failures,
		Started: p.m.Started, Ended: p.m.Ended, ExitStatus: p.m.ExitStatus, SpawnErr: p.m.SpawnErr,
	}
	s.Mark, s.Added = p.mark, p.added
	if p.m.PID != 0 {
		s.Ticks = p.ticks
	}
	if p.m.Started != 0 {
		s.StartedMono = p.d.toMonotonic(p.m.StartedAt)
	}
	if p.m.Deadline != 0 {
		s.DeadlineMono = p.d.toMonotonic(p.m.Deadline)
	}
	if p.out.auto() {
		s.Stdout = p.out.settings.Path
	}
	if p.err != nil && p.err.auto() {
		s.Stderr = p.err.settings.Path
	}
	if p.listener != nil && p.m.State == process.Running {
		s.Listener = p.group.pool.ListenerState(p.cfg.Name).String()
	}
	return s
}

// The loop counts time from its own beginning; what is saved is in the time of
// the machine.
func (d *Daemon) toMonotonic(at time.Duration) time.Duration { return at + d.monotonic }

func (d *Daemon) fromMonotonic(at time.Duration) time.Duration { return at - d.monotonic }

// deposit leaves a descriptor of a process with suplog, and our ends of its pipes,
// which are of use only as long as somebody has them open, so that a supd after
// us can learn of it, and how it ended, whatever was written down.
func (p *proc) deposit(name string, pidfd int) {
	if pidfd < 0 {
		return
	}
	d := p.d
	if d.logs.conn == nil {
		unix.Close(pidfd)
		return
	}
	crash.Point(crash.BeforeDeposit)
	ends, err := duplicate(p.ends())
	if err != nil {
		ends = nil // they are held by suphold, too
	}
	d.logs.send(logwire.Message{Kind: logwire.Hold, Text: name, FDs: append([]int{pidfd}, ends...)})
}

// ends are our ends of the pipes of a run.
func (p *proc) ends() (fds []int) {
	if p.stdin.fd >= 0 {
		fds = append(fds, p.stdin.fd)
	}
	if p.listener != nil && p.listener.run != nil && !p.listener.run.ended {
		fds = append(fds, p.listener.run.stdout)
	}
	return fds
}

// withdraw gives the descriptor up.
func (d *Daemon) withdraw(name string) {
	d.logs.send(logwire.Message{Kind: logwire.Hold, Text: name})
}

// depositName is the name of a process's deposit.
func depositName(mark string, pid int) string { return mark + " " + strconv.Itoa(pid) }

// parseDeposit takes the name of a deposit apart.
func parseDeposit(name string) (mark string, pid int) {
	at := strings.LastIndexByte(name, ' ')
	if at < 0 {
		return name, 0
	}
	pid, _ = strconv.Atoi(name[at+1:])
	return name[:at], pid
}

// redeposit gives a new suplog what the one before had in deposit. Where there are
// many programs, opening all descriptors takes a while, so it is done outside the
// loop; one of a run that has ended meanwhile is closed.
func (d *Daemon) redeposit() {
	type living struct {
		p     *proc
		pid   int
		ticks uint64
		mark  string
	}
	var all []living
	for _, procs := range []map[int]*proc{d.children, d.adopted} {
		for pid, p := range procs {
			all = append(all, living{p, pid, p.ticks, p.mark})
		}
	}
	if len(all) == 0 {
		return
	}
	go func() {
		pidfds := make([]int, len(all))
		for i, l := range all {
			var err error
			if pidfds[i], err = state.Verify(l.pid, l.ticks); err != nil {
				pidfds[i] = -1
			}
		}
		d.post(func() {
			for i, l := range all {
				if pidfds[i] >= 0 && (l.p.m.PID != l.pid || l.p.mark != l.mark) {
					unix.Close(pidfds[i])
					continue
				}
				l.p.deposit(depositName(l.mark, l.pid), pidfds[i])
			}
		})
	}()
}

// saveFailed is told once per series of failures.
func (d *Daemon) saveFailed(err error) {
	if err != nil && !d.saveBroken {
		d.log.Print(activity.Error, err.Error()+"; a supd after this one could not take over")
	}
	d.saveBroken = err != nil
}

// listenerReady tells whether an event listener, by the name of its protocol
// state, waited for an event.
func listenerReady(name string) bool { return name == event.Ready.String() }
