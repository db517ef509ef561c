package daemon

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/logwire"
	"sup/lib/plan"
	"sup/lib/process"
	"sup/lib/spawn"
	"sup/lib/value"
	"sup/supd/internal/activity"
	"sup/supd/internal/crash"
	"sup/supd/internal/state"
)

// spawnJob is a process to be made. The spawner goroutine takes jobs in order.
type spawnJob struct {
	// program is set for a program, helper for a process of our own.
	program *programJob
	helper  *helperJob
	// look is set for a command that is to be found, before there is a log.
	look *lookJob
	// create are logs to be created empty.
	create []string
}

type helperJob struct {
	command spawn.Command
	done    func(pid int, err error) // on the loop
}

// lookJob is a program whose command has to be found.
type lookJob struct {
	cfg  *plan.Process
	done func(err error) // on the loop
}

// programJob is all that the spawner needs to know of a program. It holds
// copies, and descriptors that stay open until done was called.
type programJob struct {
	cfg       *plan.Process
	environ   []string // of the daemon
	mark      string
	serverURL string
	out, err  int // read ends of the pipes; err is -1 with redirect_stderr
	listener  bool
	stdin     func() (int, error) // nil for a pipe
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
	p.begun, p.unresolved = false, nil
	if p.found || p.logsOpen() {
		p.openLogs()
	} else {
		// A command that cannot be run leaves no log behind.
		p.resolving = true
		d.spawns.put(spawnJob{look: &lookJob{cfg: p.cfg, done: func(err error) {
			p.resolving, p.unresolved = false, err
			if err == nil && p.m.State == process.Starting {
				p.openLogs()
			}
			d.pumpStarts()
		}}})
	}
	d.pumpStarts()
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
// as they are ready.
func (d *Daemon) pumpStarts() {
	for len(d.starts) > 0 {
		p := d.starts[0]
		waiting := p.resolving
		var failure *stream
		for _, s := range p.streams() {
			if s.state == streamAsked && d.logs.conn != nil && d.now() < p.logsDue.at {
				waiting = true
			}
			if s.state == streamFailed {
				failure = s
			}
		}
		if waiting && p.m.State == process.Starting {
			return
		}
		d.starts = d.starts[1:]
		d.timers.clear(p.logsDue)
		switch {
		case p.m.State != process.Starting:
			// Stopped before there was anything to stop.
			d.soon(func() { p.apply(process.SpawnFailed{}) })
		case p.unresolved != nil:
			reason := p.unresolved.Error()
			d.soon(func() { p.apply(process.SpawnFailed{Reason: reason}) })
		case failure != nil:
			reason := logFailure(p.cfg.Name, failure.failure, failure.settings.More != "")
			d.log.Print(activity.Debug, failure.settings.Name+": "+failure.failure.Text)
			d.soon(func() { p.apply(process.SpawnFailed{Reason: reason}) })
		default:
			d.submit(p)
		}
	}
}

// logFailure is how clients are told that a log of a program cannot be opened.
// Which log it is goes without saying if there is only one, and then the words
// are Supervisor's; the log is named if there are several, and when it is the
// disk that fails: then people look for the path.
func logFailure(name string, failure *logwire.Message, several bool) string {
	text := "unknown error making dispatchers for " + spawn.Quote(name) + ": " + errnoName(failure.Errno)
	switch failure.Errno {
	case unix.EMFILE, unix.ENFILE:
		return "too many open files to spawn " + spawn.Quote(name)
	case unix.EROFS, unix.EIO, unix.ENOSPC, unix.EDQUOT, unix.ESTALE:
		several = true
	}
	if several {
		text += " (" + failure.Text + ")"
	}
	return text
}

// submit hands one start to the spawner.
func (d *Daemon) submit(p *proc) {
	job := &programJob{
		cfg: p.cfg, serverURL: d.plan.ServerURL, out: p.out.pipe, err: -1,
		listener: p.listener != nil, stdin: p.group.stdinFor(p),
	}
	if p.err != nil {
		job.err = p.err.pipe
	}
	if !p.begun {
		p.begin()
	}
	n := note{process: p.apiName(), run: p.run.number}
	job.mark, job.note = p.mark, func(pid int) { n.pid = pid; d.noteDown(n) }
	d.inFlight++
	job.done = func(r spawned) {
		d.inFlight--
		p.spawned(r)
		d.settleEarly()
	}
	d.spawns.put(spawnJob{program: job})
}

// spawned takes over what the spawner made.
func (p *proc) spawned(r spawned) {
	if r.err != nil {
		p.returnsSocket = p.usesSocket
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
	p.d.deposit(depositName(p.mark, r.pid), r.pidfd)
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
	p.mark, p.ticks = state.Mark(p.d.instance, p.apiName(), int64(p.d.lastRun)), 0
	p.changed()
	for _, s := range p.streams() {
		s.announceRun(p.run.number)
	}
}

// runSpawner makes processes, one after the other, on a thread of its own.
func runSpawner(ctx context.Context, d *Daemon) {
	s, err := spawn.NewSpawner()
	environ := os.Environ()
	for {
		jobs, ok := d.spawns.take(ctx)
		if !ok {
			return
		}
		for _, job := range jobs {
			for _, path := range job.create {
				createLog(path)
			}
			if job.create != nil {
				continue
			}
			if l := job.look; l != nil {
				_, _, lookErr := resolve(l.cfg)
				d.post(func() { l.done(lookErr) })
				continue
			}
			if h := job.helper; h != nil {
				pid, serr := 0, err
				if serr == nil {
					pid, serr = s.Start(&h.command)
				}
				soft, _ := spawn.OriginalNoFile(pid)
				d.post(func() {
					d.inFlightHelper(pid)
					h.done(pid, serr)
					d.raiseNoFile(soft)
				})
				continue
			}
			job.program.environ = environ
			r := spawned{err: err, stdin: -1, pidfd: -1}
			if err == nil {
				r = job.program.run(s)
			}
			d.post(func() { job.program.done(r) })
		}
	}
}

// run makes the process of a job. Its command was found before its logs were
// opened, but may be gone by now.
func (j *programJob) run(s *spawn.Spawner) (r spawned) {
	r.stdin, r.stdout, r.pidfd = -1, -1, -1
	c, err := j.command()
	if err != nil {
		return spawned{stdin: -1, pidfd: -1, err: err}
	}
	var mine, theirs []int
	defer func() {
		closeAll(theirs)
		if r.err != nil {
			closeAll(mine)
			r.stdin, r.stdout = -1, -1
		}
	}()
	fail := func(err error) spawned {
		var why unix.Errno
		errors.As(err, &why)
		return spawned{stdin: -1, pidfd: -1, err: errors.New(logFailure(j.cfg.Name, &logwire.Message{Text: err.Error(), Errno: why}, false))}
	}

	// Standard input: a pipe of which we keep the other end, or a socket.
	if j.stdin != nil {
		fd, err := j.stdin()
		if err != nil {
			return fail(err)
		}
		theirs = append(theirs, fd)
	} else {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
			return fail(err)
		}
		// The program holds both ends of it, so that it does not come to the
		// end of its input with us.
		defer unix.Close(fds[0])
		mine = append(mine, fds[1])
		if err := unix.SetNonblock(fds[1], true); err != nil {
			return fail(err)
		}
		fd, err := openWriteEnd(fds[0], c.UID)
		if err != nil {
			return fail(err)
		}
		theirs = append(theirs, fd)
		r.stdin = fds[1]
	}

	// Standard output and error.
	protocol := -1
	if j.listener {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
			return fail(err)
		}
		protocol = fds[0]
		mine = append(mine, fds[0])
		defer unix.Close(fds[1])
		if err := unix.SetNonblock(protocol, true); err != nil {
			return fail(err)
		}
		fd, err := openWriteEnd(protocol, c.UID)
		if err != nil {
			return fail(err)
		}
		theirs = append(theirs, fd)
	} else {
		fd, err := openWriteEnd(j.out, c.UID)
		if err != nil {
			return fail(err)
		}
		theirs = append(theirs, fd)
	}
	if j.err >= 0 {
		fd, err := openWriteEnd(j.err, c.UID)
		if err != nil {
			return fail(err)
		}
		theirs = append(theirs, fd)
		c.Files = theirs
	} else {
		c.Files = []int{theirs[0], theirs[1], theirs[1]}
	}

	j.note(0)
	crash.Point(crash.BeforeFork)
	r.pid, r.err = s.Start(c)
	crash.Point(crash.AfterFork)
	if r.err != nil {
		return r
	}
	j.note(r.pid)
	r.ticks, _, _ = state.Ticks(r.pid)
	if fd, err := unix.PidfdOpen(r.pid, unix.PIDFD_NONBLOCK); err == nil {
		r.pidfd = fd
	}
	if protocol >= 0 {
		r.stdout = protocol
	}
	return r
}

// command finds out what to execute, and with what environment and rights.
func (j *programJob) command() (*spawn.Command, error) {
	cfg := j.cfg
	path, argv, err := resolve(cfg)
	if err != nil {
		return nil, err
	}
	c := &spawn.Command{
		Name: cfg.Name, Path: path, Argv: argv, Env: childEnviron(cfg, j.environ, j.serverURL, j.mark),
		Dir: cfg.Directory, Umask: cfg.Umask, UID: -1,
	}
	if cfg.UID >= 0 {
		c.UID, c.GID, c.Groups = cfg.UID, cfg.GID, spawn.GroupsOf(cfg.UID, cfg.GID)
	}
	return c, nil
}

// resolve splits the command of a program and finds its file. The errors are
// spawn's, with the texts of the interface.
func resolve(cfg *plan.Process) (path string, argv []string, err error) {
	argv, err = value.SplitCommand(cfg.Command)
	if err != nil {
		return "", nil, &spawn.Error{Text: "can't parse command " + spawn.Quote(cfg.Command) + ": " + err.Error(), Err: spawn.ErrNotExecutable}
	}
	if len(argv) == 0 {
		return "", nil, &spawn.Error{Text: "command is empty", Err: spawn.ErrNotExecutable}
	}
	where, ok := cfg.Environment["PATH"]
	if !ok {
		if where, ok = os.LookupEnv("PATH"); !ok {
			where = spawn.DefaultPath
		}
	}
	path, err = spawn.Lookup(argv[0], where)
	return path, argv, err
}

// notForPrograms are variables of the daemon that are none of its programs'
// business: they speak of the daemon's own relation to systemd.
var notForPrograms = []string{
	"NOTIFY_SOCKET=", "WATCHDOG_PID=", "WATCHDOG_USEC=", "LISTEN_PID=", "LISTEN_FDS=", "LISTEN_FDNAMES=",
	"SUPERVISOR_PASSWORD=",
}

// childEnviron is the environment of a program, lowest first: the daemon's
// own, what tells the program where it runs, then environment=.
func childEnviron(cfg *plan.Process, base []string, serverURL, mark string) []string {
	own := slices.DeleteFunc(slices.Clone(base), func(kv string) bool {
		return slices.ContainsFunc(notForPrograms, func(name string) bool { return strings.HasPrefix(kv, name) })
	})
	if cfg.ServerURL != "" {
		serverURL = cfg.ServerURL
	}
	pairs := [][2]string{{"SUPERVISOR_ENABLED", "1"}}
	if serverURL != "" {
		pairs = append(pairs, [2]string{"SUPERVISOR_SERVER_URL", serverURL})
	}
	pairs = append(pairs, [2]string{"SUPERVISOR_PROCESS_NAME", cfg.Name}, [2]string{"SUPERVISOR_GROUP_NAME", cfg.Group})
	for _, name := range slices.Sorted(maps.Keys(cfg.Environment)) {
		pairs = append(pairs, [2]string{name, cfg.Environment[name]})
	}
	// Last, so that no environment= hides it.
	pairs = append(pairs, [2]string{state.MarkVar, mark})
	return spawn.Environ(own, pairs...)
}
