package daemon

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/plan"
	"sup/lib/process"
	"sup/lib/rpc"
	"sup/lib/spawn"
	"sup/lib/value"
	"sup/supd/internal/activity"
)

// The requests of clients. Those that look at files do so in the caller's
// goroutine; what they have found out goes to the loop with the request.

func (d *Daemon) badName() error { return rpc.NewFault(rpc.BadName, "") }

// shuttingDown is the fault of nearly every method while the daemon goes down
// or restarts.
func (d *Daemon) shuttingDown() error {
	if d.mood != MoodRunning {
		return errShutdown
	}
	return nil
}

// Identification is the identifier of the daemon.
func (d *Daemon) Identification() (identifier string) {
	_ = d.ask(context.Background(), func() { identifier = d.plan.Daemon.Identifier })
	return identifier
}

// StartProcess starts a process; with wait it answers when it is RUNNING.
func (d *Daemon) StartProcess(ctx context.Context, group, name string, wait bool) error {
	_, goesOn := resumed(ctx)
	var cfg *plan.Process
	if err := d.queryProcess(ctx, group, name, func(p *proc) error {
		cfg = p.cfg
		return nil
	}); err != nil {
		return err
	}
	if err := commandFault(cfg); err != nil && !goesOn {
		return err
	}
	_, err := waiting(ctx, d, noMemo, func(reply func(struct{}, error)) {
		done := func(err error) { reply(struct{}{}, err) }
		p := d.find(group, name)
		switch {
		case p == nil:
			done(d.badName())
		case goesOn:
			d.awaitStarted(p, wait, done)
		default:
			d.startProcess(p, wait, done)
		}
	})
	return err
}

// commandFault looks whether the command of a program can be executed.
func commandFault(cfg *plan.Process) error {
	_, _, err := resolve(cfg)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, spawn.ErrNotFound):
		return rpc.NewFault(rpc.NoFile, err.Error())
	}
	return rpc.NewFault(rpc.NotExecutable, err.Error())
}

// startProcess starts one process whose command was found to be all right, and
// calls done once.
func (d *Daemon) startProcess(p *proc, wait bool, done func(error)) {
	if err := d.shuttingDown(); err != nil {
		done(err)
		return
	}
	switch {
	case p.m.State.IsRunning():
		done(rpc.NewFault(rpc.AlreadyStarted, ""))
		return
	case p.m.State == process.Unknown:
		done(rpc.NewFault(rpc.Failed, p.cfg.Name+" is in an unknown process state"))
		return
	case p.m.State == process.Stopping:
		// Nothing is started, not even later, but only who waits is told.
		d.log.Print(activity.Warn, "process '"+p.cfg.Name+"' already running")
		if wait {
			done(rpc.NewFault(rpc.AbnormalTermination, ""))
		} else {
			done(nil)
		}
		return
	}
	p.found = true
	p.apply(process.Start{})
	p.found = false
	d.awaitStarted(p, wait, done)
}

// awaitStarted calls done when a process that was to be started runs, or does
// not.
func (d *Daemon) awaitStarted(p *proc, wait bool, done func(error)) {
	p.await(func() bool {
		switch {
		case p.m.SpawnErr != "":
			done(rpc.NewFault(rpc.SpawnError, ""))
		case p.m.State == process.Running:
			done(nil)
		case p.m.State != process.Starting:
			done(rpc.NewFault(rpc.AbnormalTermination, ""))
		case !wait && p.m.PID != 0:
			done(nil)
		default:
			return false
		}
		return true
	})
}

// apiName is how clients name a process: its own name if the group has the
// same, else both.
func (p *proc) apiName() string {
	if p.group.name() == p.cfg.Name {
		return p.cfg.Name
	}
	return p.group.name() + ":" + p.cfg.Name
}

func (p *proc) fullName() string { return p.apiName() }

// StartGroup starts what does not run of a group.
func (d *Daemon) StartGroup(ctx context.Context, name string, wait bool) ([]rpc.Result, error) {
	return d.startMany(ctx, func() ([]*proc, error) { return d.members(name) }, wait)
}

// StartAll starts what does not run.
func (d *Daemon) StartAll(ctx context.Context, wait bool) ([]rpc.Result, error) {
	return d.startMany(ctx, d.everything, wait)
}

func (d *Daemon) members(name string) ([]*proc, error) {
	if err := d.shuttingDown(); err != nil {
		return nil, err
	}
	g := d.groups[name]
	if g == nil {
		return nil, d.badName()
	}
	return g.procs, nil
}

func (d *Daemon) everything() ([]*proc, error) {
	if err := d.shuttingDown(); err != nil {
		return nil, err
	}
	var all []*proc
	for _, g := range d.order {
		all = append(all, g.procs...)
	}
	return all, nil
}

// startMany starts the processes that pick names and that do not run, in their
// order.
func (d *Daemon) startMany(ctx context.Context, pick func() ([]*proc, error), wait bool) ([]rpc.Result, error) {
	type candidate struct {
		p     *proc
		cfg   *plan.Process
		fault error
	}
	memo, goesOn := resumed(ctx)
	var todo []candidate
	if err := d.query(ctx, func() error {
		procs, err := pick()
		for _, p := range procs {
			if memo.waitsFor(p) || !goesOn && !p.m.State.IsRunning() {
				todo = append(todo, candidate{p: p, cfg: p.cfg})
			}
		}
		return err
	}); err != nil {
		return nil, err
	}
	for i := range todo {
		if !goesOn {
			todo[i].fault = commandFault(todo[i].cfg)
		}
	}
	c := collector{d: d, left: len(todo) + 1, before: memo.Came}
	return waiting(ctx, d, c.memo, func(reply func([]rpc.Result, error)) {
		c.reply = reply
		for i, t := range todo {
			done := c.expect(i, t.p)
			switch {
			case t.fault != nil:
				done(t.fault)
			case goesOn:
				d.awaitStarted(t.p, wait, done)
			default:
				d.startProcess(t.p, wait, done)
			}
		}
		c.finish()
	})
}

// collector gathers the results of an action on several processes: in the
// order in which they come, but those that come together in the order of the
// processes, since which of them was first by a millisecond is chance. What was
// decided without a process comes before what one that ended at once has decided.
type collector struct {
	d     *Daemon
	left  int // results to come, and one for who asks for them
	came  []outcome
	reply func([]rpc.Result, error)
	// before are the results that came before the call was broken off, and
	// pending the processes that are waited for.
	before  []rpc.Result
	pending []*proc
}

// outcome is the result of the at-th process, and when it came.
type outcome struct {
	at     int
	late   bool // the process ran for a moment
	when   time.Duration
	result rpc.Result
}

// together is how far apart results may come that count as one moment.
const together = 100 * time.Millisecond

// expect gives the function that takes the result of the at-th process.
func (c *collector) expect(at int, p *proc) func(error) {
	c.pending = append(c.pending, p)
	return func(err error) {
		c.pending = slices.DeleteFunc(c.pending, func(q *proc) bool { return q == p })
		c.came = append(c.came, outcome{at, p.m.SpawnErr == process.TooQuick, c.d.now(), result(p, err)})
		c.finish()
	}
}

func (c *collector) memo() waitMemo {
	m := waitMemo{Came: c.results()}
	for _, p := range c.pending {
		m.Pending = append(m.Pending, [2]string{p.group.name(), p.cfg.Name})
	}
	return m
}

func (c *collector) finish() {
	if c.left--; c.left == 0 {
		c.reply(c.results(), nil)
	}
}

func (c *collector) results() []rpc.Result {
	all := append(make([]rpc.Result, 0, len(c.before)+len(c.came)), c.before...)
	for rest := c.came; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].when-rest[0].when < together {
			n++
		}
		slices.SortFunc(rest[:n], func(a, b outcome) int {
			if a.late != b.late {
				if a.late {
					return 1
				}
				return -1
			}
			return cmp.Compare(a.at, b.at)
		})
		for _, o := range rest[:n] {
			all = append(all, o.result)
		}
		rest = rest[n:]
	}
	return all
}

// result is what clients are told of what became of one process.
func result(p *proc, err error) rpc.Result {
	r := rpc.Result{Name: p.cfg.Name, Group: p.group.name(), Status: rpc.Success, Description: "OK"}
	var fault *rpc.Fault
	if errors.As(err, &fault) {
		r.Status, r.Description = fault.Code, fault.String
	} else if err != nil {
		r.Status, r.Description = rpc.Failed, err.Error()
	}
	return r
}

// StopProcess stops a process; with wait it answers when it is gone.
func (d *Daemon) StopProcess(ctx context.Context, group, name string, wait bool) error {
	_, goesOn := resumed(ctx)
	saved := make(chan struct{})
	_, err := waiting(ctx, d, noMemo, func(reply func(struct{}, error)) {
		done := func(err error) { reply(struct{}{}, err) }
		if err := d.shuttingDown(); err != nil {
			done(err)
			return
		}
		p := d.find(group, name)
		switch {
		case p == nil:
			done(d.badName())
		case goesOn:
			d.awaitStopped(p, done)
		default:
			d.stopProcess(p, wait, done)
		}
		d.closeWhenSaved(saved)
	})
	if err == nil {
		awaitSaved(saved)
	}
	return err
}

func (d *Daemon) stopProcess(p *proc, wait bool, done func(error)) {
	if !p.m.State.IsRunning() {
		done(rpc.NewFault(rpc.NotRunning, ""))
		return
	}
	p.apply(process.Stop{})
	if !wait {
		done(nil)
		return
	}
	d.awaitStopped(p, done)
}

// awaitStopped calls done when a process that was to be stopped is gone.
func (d *Daemon) awaitStopped(p *proc, done func(error)) {
	report := newTimer(nil)
	report.f = func() {
		if p.m.State == process.Stopping {
			d.log.Print(activity.Info, "waiting for "+p.cfg.Name+" to stop")
			d.timers.set(report, d.now()+2*time.Second)
		}
	}
	report.f()
	p.await(func() bool {
		if !p.m.State.IsStopped() {
			return false
		}
		d.timers.clear(report)
		if p.m.State == process.Unknown {
			done(rpc.NewFault(rpc.Failed, "cannot signal "+p.cfg.Name))
			return true
		}
		done(nil)
		return true
	})
}

// StopGroup stops what runs of a group.
func (d *Daemon) StopGroup(ctx context.Context, name string, wait bool) ([]rpc.Result, error) {
	return d.stopMany(ctx, func() ([]*proc, error) { return d.members(name) }, wait)
}

// StopAll stops what runs.
func (d *Daemon) StopAll(ctx context.Context, wait bool) ([]rpc.Result, error) {
	return d.stopMany(ctx, d.everything, wait)
}

func (d *Daemon) stopMany(ctx context.Context, pick func() ([]*proc, error), wait bool) ([]rpc.Result, error) {
	saved := make(chan struct{})
	memo, goesOn := resumed(ctx)
	c := collector{d: d, before: memo.Came}
	results, err := waiting(ctx, d, c.memo, func(reply func([]rpc.Result, error)) {
		procs, err := pick()
		if err != nil {
			reply(nil, err)
			return
		}
		var todo []*proc
		for _, p := range procs {
			if memo.waitsFor(p) || !goesOn && p.m.State.IsRunning() {
				todo = append(todo, p)
			}
		}
		c.left, c.reply = len(todo)+1, reply
		for i, p := range todo {
			if done := c.expect(i, p); goesOn {
				d.awaitStopped(p, done)
			} else {
				d.stopProcess(p, wait, done)
			}
		}
		c.finish()
		d.closeWhenSaved(saved)
	})
	if err == nil {
		awaitSaved(saved)
	}
	return results, err
}

// SignalProcess sends a signal to a process, whatever that does to it.
func (d *Daemon) SignalProcess(ctx context.Context, group, name, signal string) error {
	return d.queryProcess(ctx, group, name, func(p *proc) error { return p.signal(signal) })
}

func (p *proc) signal(text string) error {
	sig, err := value.ParseSignal(strings.TrimSpace(text))
	// Signal 0 asks whether the process is there, as with kill.
	if n, notNumber := value.ParseInt(text); err != nil && (notNumber != nil || n != 0) {
		return rpc.NewFault(rpc.BadSignal, text)
	}
	if !p.m.State.IsSignallable() {
		return rpc.NewFault(rpc.NotRunning, "")
	}
	if p.m.PID == 0 || p.end != nil {
		return nil // not there yet, or just gone
	}
	p.debugf("sending " + p.cfg.Name + " (pid " + strconv.Itoa(p.m.PID) + ") sig " + unix.SignalName(sig))
	if err := p.send(p.m.PID, sig, false); err != nil {
		p.apply(process.SignalFailed{Reason: spawn.Errno(err)})
		return rpc.NewFault(rpc.Failed, "cannot signal "+p.cfg.Name+": "+spawn.Errno(err))
	}
	return nil
}

// SignalGroup sends a signal to what runs of a group.
func (d *Daemon) SignalGroup(ctx context.Context, name, signal string) ([]rpc.Result, error) {
	return d.signalMany(ctx, func() ([]*proc, error) { return d.members(name) }, signal)
}

// SignalAll sends a signal to what runs.
func (d *Daemon) SignalAll(ctx context.Context, signal string) ([]rpc.Result, error) {
	return d.signalMany(ctx, d.everything, signal)
}

func (d *Daemon) signalMany(ctx context.Context, pick func() ([]*proc, error), signal string) ([]rpc.Result, error) {
	return call(ctx, d, func(reply func([]rpc.Result, error)) {
		procs, err := pick()
		if err != nil {
			reply(nil, err)
			return
		}
		results := []rpc.Result{}
		for _, p := range procs {
			if p.m.State.IsSignallable() {
				results = append(results, result(p, p.signal(signal)))
			}
		}
		reply(results, nil)
	})
}

// SendStdin gives text to the standard input of a process.
func (d *Daemon) SendStdin(ctx context.Context, group, name, chars string) error {
	return d.queryProcess(ctx, group, name, func(p *proc) error {
		if p.m.PID == 0 || p.m.State == process.Stopping || p.end != nil {
			return rpc.NewFault(rpc.NotRunning, "")
		}
		return p.sendStdin(chars)
	})
}

func (p *proc) sendStdin(chars string) error {
	err := p.stdin.write(p.d, []byte(chars))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPIPE), errors.Is(err, errNoStdin):
		return rpc.NewFault(rpc.NoFile, "")
	}
	return rpc.NewFault(rpc.Failed, err.Error())
}

// SendRemoteCommEvent announces a REMOTE_COMMUNICATION event.
func (d *Daemon) SendRemoteCommEvent(ctx context.Context, kind, data string) error {
	return d.ask(ctx, func() { d.events.remote(kind, data) })
}
