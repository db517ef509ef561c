// Package daemon is the one owner of supd's live state: groups, processes,
// event listeners, deadlines, the callers that wait for an answer, and the
// state of the daemon itself.
//
// One goroutine, the loop in [Daemon.Run], holds all of it. Everything reaches
// it as a message: a function that it runs between two others. So nothing here
// needs a lock, and what is handed out is a copy. The loop never waits: what
// may take long (fork, opening files, the log process, the disk) happens in
// other goroutines, which post what came of it. While the loop has nothing to
// do, one other goroutine may take a turn in its place: that which hears event
// listeners, see ears.go.
//
// The way of a start, to find one's way around: requests.go asks the state
// machine of lib/process; proc.go carries out its effects; logs.go has the
// program's log opened; spawner.go makes the process; reap.go sees its end.
package daemon

import (
	"cmp"
	"context"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/plan"
	"sup/lib/process"
	"sup/lib/rpc"
	"sup/supd/internal/activity"
	"sup/supd/internal/cgroup"
	"sup/supd/internal/record"
	"sup/supd/internal/state"
)

// Mood is what the daemon itself is about.
type Mood int

// The numbers are those of getState.
const (
	MoodRunning    Mood = 1
	MoodRestarting Mood = 0
	MoodShutdown   Mood = -1
)

// Options is what a daemon is made of.
type Options struct {
	// Plan is the configuration to begin with.
	Plan *plan.Plan
	// Reload reads the configuration anew. It is called from goroutines other
	// than the loop.
	Reload func() (*plan.Plan, error)
	// Reopen makes listeners and the activity log follow a new plan after a
	// restart by SIGHUP. It is called from goroutines other than the loop.
	Reopen func(*plan.Plan) error
	Log    *activity.Log
	// Record takes what happens, for those who ask later. It may be nil.
	Record *record.Log
	// Signals delivers the signals that were sent to the daemon.
	Signals <-chan os.Signal
	// Suplog is the path of the log process's binary.
	Suplog string
	// Self is the path of the daemon's binary, Args its command line, for an
	// upgrade in place.
	Self string
	Args []string
	// Vet, if it is not nil, says why one of the two must not be executed. It is
	// asked directly before that.
	Vet func(path string) error
	// Pause stops taking requests, and returns when none is being served.
	// Resume takes them again. Replace turns this process into the new image,
	// and returns only if that fails. It is told what descriptors are left to that.
	Pause   func(context.Context) error
	Resume  func()
	Replace func(s *state.Snapshot, left Descriptors) error
	// Upgraded is set in the new image. SuplogConn is the descriptor of the
	// connection to suplog that the image before has left, 0 for none.
	Upgraded   bool
	SuplogConn int
	// HolderConn is that of the connection to suphold.
	HolderConn int
	// Sockets are the listening sockets of FastCGI groups, by name, that the
	// image before has left.
	Sockets map[string]int
	// StateDir is where the state is kept for a daemon after this one; nil for
	// nowhere. It is locked.
	StateDir *state.Dir
	// Identity is what marks are made with; nil for a new one.
	Identity *state.Identity
	// Saved is the state of a daemon before, to be taken over; nil if there is
	// none that can be used.
	Saved *state.State
	// Resumed is called, if it is not nil, when what a daemon before has left
	// is taken over, or it is clear that there is nothing, and before anything
	// is started.
	Resumed func()
	// First is called, if it is not nil, before a first start: when nothing was
	// taken over.
	First func()
	// Ready, if set, is called once by the loop when every process that is
	// due at start has been made, or could not be. A client that is answered
	// from then on sees no process that has yet to get its pid.
	Ready func()
	// Notify tells the service manager how things stand; nil without one.
	Notify *Notify
}

// Descriptors are left to the next image, beside those of servers.
type Descriptors struct {
	// Suplog is that of the connection to suplog, 0 if the next image is to make
	// one.
	Suplog int
	// Holder is that of the connection to suphold.
	Holder int
	// Sockets are the listening sockets of FastCGI groups, by name.
	Sockets map[string]int
}

// Daemon is a running supd. Its exported methods, but for Run, may be called
// from any goroutine.
type Daemon struct {
	opts Options
	log  *activity.Log
	mail chan func()
	done chan struct{}
	ctx  context.Context // of Run
	// shown is the mood, for those who only ask for that.
	shown atomic.Int32
	// floor is held by whoever takes a turn: the loop, except while it waits, or
	// ears.
	floor sync.Mutex

	// All below belongs to the loop, that is, to whoever has the floor.

	// sleepsUntil is when the loop wakes up by itself.
	sleepsUntil time.Duration
	ears        *ears

	epoch  time.Time
	timers timers
	mood   Mood
	// plan is the one that was read last; groups run entries of it or of an
	// earlier one.
	plan     *plan.Plan
	groups   map[string]*group
	order    []*group         // by priority, then name
	listing  []*proc          // by group name, then process name
	children map[int]*proc    // by pid, until the end was seen
	starts   []*proc          // asked to start, in order, waiting for their logs
	spawns   *queue[spawnJob] // to the spawner
	spawner  *spawner
	// spawnerDue is armed while the spawner has something to do; stuckSpawners
	// counts those that hang, and were replaced.
	spawnerDue    *timer
	stuckSpawners int
	creates       *queue[string] // logs to be created, to the creator
	saves         *queue[save]
	recorder      *recorder
	inFlight      int           // spawns whose pid is not known yet
	born          chan struct{} // has a value when a child may have been made
	adopted       map[int]*proc // by pid: processes that are not our children
	// vigil is armed while there are some among them whose end nothing reports.
	vigil   *timer
	helpers map[int]func(unix.WaitStatus)
	sweeps  map[*sweeping]struct{} // under way
	cgroups *cgroup.Groups         // of killasgroup programs
	// quits counts the SIGCHLD that have not been told of, endings the
	// processes whose end waits for their last output.
	quits, endings int
	early          map[int]earlyExit
	logs           *logPlane
	holding        *holdPlane
	heldBefore     *heldBefore // by a suphold that has survived alone
	events         *dispatcher
	notify         *notifier  // nil without a service manager
	leaving        *departure // set while shutting down or restarting
	pending        []func()   // to run before the next message
	finished       bool
	status         int
	// What there is to say of the state, see save.go.
	dirty  bool
	saving bool // the saver is at work
	// saveWaiters are closed when what there is now is written; urgent tells the
	// saver of them.
	saveWaiters []chan struct{}
	urgent      chan struct{}
	saveBroken  bool
	// withdrawals are the deposits that are not needed any more once what has
	// changed is saved.
	withdrawals []string
	identity    *state.Identity
	bootID      string
	pidNS       string
	monotonic   time.Duration // the machine's clock when ours was 0
	generation  int
	kept        int // programs taken over
	upgrading   bool
	waits       map[*wait]struct{}
	suspending  bool // calls that wait are broken off
	// lastRun is the highest number of a run so far.
	lastRun   int64
	lastGroup int // the highest number of a group so far
	rereads   int // how often the configuration was read anew
	// limitsRaised is set once minfds= has been seen to.
	limitsRaised bool
}

// New makes a daemon; nothing happens before Run.
func New(opts Options) *Daemon {
	d := &Daemon{
		opts: opts, log: opts.Log,
		mail: make(chan func(), 1024), done: make(chan struct{}),
		epoch: time.Now(), plan: opts.Plan,
		groups: map[string]*group{}, children: map[int]*proc{}, early: map[int]earlyExit{},
		waits: map[*wait]struct{}{}, sweeps: map[*sweeping]struct{}{}, adopted: map[int]*proc{}, helpers: map[int]func(unix.WaitStatus){},
		spawns: newQueue[spawnJob](), saves: newQueue[save](), urgent: make(chan struct{}, 1),
		recorder: newRecorder(opts.StateDir), creates: newQueue[string](),
		born: make(chan struct{}, 1),
	}
	d.setMood(MoodRunning)
	d.monotonic = state.Monotonic() - d.now()
	d.bootID, d.pidNS = state.BootID(), state.PIDNamespace()
	if d.identity = opts.Identity; d.identity == nil {
		d.identity = state.NewIdentity()
	}
	d.spawnerDue, d.vigil = newTimer(d.checkSpawner), newTimer(d.lookAtForeign)
	d.cgroups = cgroup.New()
	d.ears = newEars(d)
	d.logs = newLogPlane(d)
	d.holding = newHoldPlane(d)
	d.events = newDispatcher(d)
	d.notify = newNotifier(d)
	return d
}

// Run supervises until the daemon has been asked to end and every process is
// gone. The result is the exit status for the daemon.
func (d *Daemon) Run(ctx context.Context) int {
	defer close(d.done)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.ctx = ctx
	d.floor.Lock() // and kept at the end
	d.runSpawner()
	go runCreator(ctx, d)
	go d.watchChildren()
	saved := make(chan struct{})
	if d.opts.StateDir != nil {
		go runSaver(ctx, d, saved)
		go d.recorder.run(ctx)
	} else {
		close(saved)
	}
	resumed := d.resumeFrom(d.opts.Saved)
	if d.opts.Resumed != nil {
		d.opts.Resumed()
	}
	if !resumed {
		d.recordLife("started", "")
		if d.opts.First != nil {
			d.opts.First()
		}
		d.logs.begin()
		d.addGroups()
		if d.heldBefore == nil {
			d.holding.begin()
		} else {
			// What programs that are gone wrote last is logged all the same.
			d.holding.goOn(d.heldBefore, func(*proc) bool { return true })
			d.soon(d.holding.settle)
		}
		d.start()
	}
	// What ended before there was anybody to hear of it.
	d.reap()
	d.notify.start(ctx)
	d.awaitReady(d.notify.awaitStart())

	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for d.settle(); !d.finished; d.settle() {
		if at, ok := d.timers.next(); ok {
			d.sleepsUntil = at
			timer.Reset(max(at-d.now(), 0))
		} else {
			d.sleepsUntil = forever
			timer.Stop()
		}
		d.floor.Unlock()
		select {
		case f := <-d.mail:
			d.floor.Lock()
			f()
		case sig := <-d.opts.Signals:
			d.floor.Lock()
			d.signal(sig)
		case <-timer.C:
			d.floor.Lock()
			// What has ended is seen before what has become due, so that an
			// end before startsecs is never taken for a success.
			d.reap()
			d.timers.run(d.now())
		}
	}
	d.holding.end()
	d.logs.stop()
	d.holding.awaitEnd()
	cancel()
	d.cgroups.RemoveEmpty()
	if d.opts.StateDir != nil {
		d.forget(saved)
	}
	return d.status
}

// awaitReady calls Ready, and then done, when the first starts are through, or
// when they take too long.
func (d *Daemon) awaitReady(done func()) {
	if d.opts.Ready == nil {
		done()
		return
	}
	const patience = time.Second
	var late *timer
	called := false
	ready := func() {
		if !called {
			called = true
			d.timers.clear(late)
			d.opts.Ready()
			done()
		}
	}
	late = d.after(patience, ready)
	left := 1
	through := func() {
		if left--; left == 0 {
			ready()
		}
	}
	for _, p := range d.listing {
		left++
		p.await(func() bool {
			if p.m.State == process.Starting && p.m.PID == 0 {
				return false
			}
			through()
			return true
		})
	}
	if d.generation > 0 && !d.opts.Upgraded {
		// That this one has taken over is on record before anybody can rely on it.
		left++
		saved := make(chan struct{})
		d.closeWhenSaved(saved)
		go func() {
			select {
			case <-saved:
			case <-d.done:
			}
			d.post(through)
		}()
	}
	d.soon(through)
}

// settle runs what was left to be done after the message before.
func (d *Daemon) settle() {
	for len(d.pending) > 0 && !d.finished {
		f := d.pending[0]
		d.pending = d.pending[1:]
		f()
	}
	d.flush()
}

// soon runs f on the loop after what it is doing now, and before anything
// else.
func (d *Daemon) soon(f func()) { d.pending = append(d.pending, f) }

// forget removes the state at an orderly end, when the last one has been
// written.
func (d *Daemon) forget(saved <-chan struct{}) {
	patience := time.NewTimer(2 * time.Second)
	defer patience.Stop()
	forgotten := make(chan error, 1)
	for {
		select {
		case f := <-d.mail:
			f()
		case <-saved:
			saved = nil
			go func() { forgotten <- d.opts.StateDir.Forget() }()
		case err := <-forgotten:
			if err != nil {
				d.log.Print(activity.Error, err.Error())
			}
			return
		case <-patience.C:
			return // the disk hangs; what it has tells of processes that are gone
		}
	}
}

// begin activates every group of the plan and starts what is to be started.
func (d *Daemon) begin() {
	d.addGroups()
	d.start()
}

func (d *Daemon) addGroups() {
	for i := range d.plan.Groups {
		d.addGroup(&d.plan.Groups[i])
	}
}

func (d *Daemon) start() {
	d.events.announceState(MoodRunning)
	d.autostart(d.order)
}

func (d *Daemon) setMood(m Mood) {
	d.mood = m
	d.shown.Store(int32(m))
	d.notify.changed()
}

// now is monotonic time since the daemon was made.
func (d *Daemon) now() time.Duration { return time.Since(d.epoch) }

// turn is the present moment, as the state machine wants it.
func (d *Daemon) turn() process.Turn {
	return process.Turn{Now: d.now(), Unix: time.Now().Unix(), NoStarts: d.mood != MoodRunning}
}

// post hands a message to the loop. It may be called from any goroutine but
// the loop itself.
func (d *Daemon) post(f func()) {
	select {
	case d.mail <- f:
	case <-d.done:
	}
}

// errShutdown is what clients get while the daemon goes down or restarts.
var errShutdown = rpc.NewFault(rpc.ShutdownState, "")

// ask runs f on the loop and waits until it has returned.
func (d *Daemon) ask(ctx context.Context, f func()) error {
	ran := make(chan struct{})
	select {
	case d.mail <- func() { f(); close(ran) }:
	case <-d.done:
		return errShutdown
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-ran:
		return nil
	case <-d.done:
		return errShutdown
	}
}

// query is ask for a request of a client: it is refused while the daemon goes
// down or restarts, and its error is f's.
func (d *Daemon) query(ctx context.Context, f func() error) error {
	var fault error
	err := d.ask(ctx, func() {
		if fault = d.shuttingDown(); fault == nil {
			fault = f()
		}
	})
	d.log.Settle(settlePatience)
	return cmp.Or(err, fault)
}

// settlePatience is how long the answer to a client may wait for the activity log.
const settlePatience = 100 * time.Millisecond

// queryProcess is query for a request about one process.
func (d *Daemon) queryProcess(ctx context.Context, group, name string, f func(*proc) error) error {
	return d.query(ctx, func() error {
		p := d.find(group, name)
		if p == nil {
			return d.badName()
		}
		return f(p)
	})
}

// call runs f on the loop; f, or something that it has left with the loop,
// answers later by calling reply once.
func call[T any](ctx context.Context, d *Daemon, f func(reply func(T, error))) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	d.post(func() { f(func(v T, err error) { answers <- answer{v, err} }) })
	select {
	case a := <-answers:
		d.log.Settle(settlePatience)
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	case <-d.done:
		// The answer may have been the last thing the loop did.
		select {
		case a := <-answers:
			return a.value, a.err
		default:
		}
		var none T
		return none, errShutdown
	}
}

// Done is closed when the loop has ended.
func (d *Daemon) Done() <-chan struct{} { return d.done }
