package daemon

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/logwire"
	"sup/lib/plan"
	"sup/lib/spawn"
	"sup/lib/value"
	"sup/supd/internal/activity"
	"sup/supd/internal/crash"
	"sup/supd/internal/state"
)

// The spawner's side of a start: what it takes to make a process, outside the
// loop.

// spawner is a goroutine, on a thread of its own, that makes processes, one after
// the other. Where that hangs, on a file or directory that does not answer,
// another one goes on with those that wait.
type spawner struct {
	present atomic.Pointer[making]
	// replaced is set when another one has taken its place.
	replaced atomic.Bool
}

// making is the process that a spawner is about to make.
type making struct {
	name  string
	since time.Duration // on the daemon's clock
}

const (
	// spawnPatience is how long the making of a process may hold up others.
	spawnPatience = time.Second
	// mostStuck bounds the spawners that hang, for the sake of their threads.
	mostStuck = 64
)

// runSpawner starts a spawner for what waits to be made.
func (d *Daemon) runSpawner() {
	d.spawner = new(spawner)
	go d.spawner.run(d.ctx, d)
}

// spawn has a process made.
func (d *Daemon) spawn(job spawnJob) {
	d.spawns.put(job)
	if d.spawnerDue.index < 0 {
		d.timers.set(d.spawnerDue, d.now()+spawnPatience)
	}
}

// checkSpawner replaces the spawner if it hangs. It is called spawnPatience after
// the first of some jobs was put.
func (d *Daemon) checkSpawner() {
	now := d.spawner.present.Load()
	if now == nil && d.spawns.size() == 0 {
		return
	}
	if now != nil && d.now()-now.since >= spawnPatience && d.spawns.size() > 0 && d.stuckSpawners < mostStuck {
		d.log.Print(activity.Warn, "starting "+now.name+" takes long: its file or directory does not answer; others are started meanwhile")
		d.stuckSpawners++
		d.spawner.replaced.Store(true)
		d.runSpawner()
	}
	d.timers.set(d.spawnerDue, d.now()+spawnPatience)
}

// run makes processes until ctx is done, or until another one has taken its
// place.
func (w *spawner) run(ctx context.Context, d *Daemon) {
	s, err := spawn.NewSpawner()
	environ := os.Environ()
	for {
		job, ok := d.spawns.takeOne(ctx)
		if !ok {
			return
		}
		if h := job.helper; h != nil {
			w.present.Store(&making{h.command.Name, d.now()})
			pid, serr := 0, err
			if serr == nil {
				serr = d.vet(h.command.Path)
			}
			if serr == nil {
				pid, serr = s.Start(&h.command)
			}
			soft, _ := spawn.OriginalNoFile(pid)
			d.post(func() {
				d.helperStarted(h, pid, serr)
				d.raiseNoFile(soft)
			})
		} else {
			w.present.Store(&making{job.program.cfg.Name, d.now()})
			job.program.environ = environ
			r := spawned{err: err, stdin: -1, pidfd: -1}
			if err == nil {
				r = job.program.run(s)
			}
			d.post(func() { job.program.done(r) })
		}
		d.bear()
		w.present.Store(nil)
		if w.replaced.Load() {
			d.post(func() { d.stuckSpawners-- })
			return
		}
	}
}

// vet looks at a binary of ours before it is executed. The one that is running
// nobody can exchange.
func (d *Daemon) vet(path string) error {
	if d.opts.Vet == nil || path == "/proc/self/exe" {
		return nil
	}
	return d.opts.Vet(path)
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
	failed := func(err error, inFull bool) spawned {
		var why unix.Errno
		errors.As(err, &why)
		return spawned{stdin: -1, pidfd: -1, err: errors.New(logFailure(j.cfg.Name, &logwire.Message{Text: err.Error(), Errno: why}, inFull, false))}
	}
	fail := func(err error) spawned { return failed(err, false) }

	// Standard input: a pipe of which we keep the other end, or a socket.
	if j.stdin != nil {
		fd, err := j.stdin()
		if err != nil {
			// Which socket it is, and who has its path, no number says.
			return failed(err, true)
		}
		theirs = append(theirs, fd)
	} else {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
			return fail(err)
		}
		giveTo(fds[0], c.UID)
		theirs, mine = append(theirs, fds[0]), append(mine, fds[1])
		if err := unix.SetNonblock(fds[1], true); err != nil {
			return fail(err)
		}
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
		fd, err := openWriteEnd(protocol, c.UID, j.cfg.Stdout.ReadWrite)
		if err != nil {
			return fail(err)
		}
		theirs = append(theirs, fd)
	} else {
		fd, err := openWriteEnd(j.out, c.UID, j.cfg.Stdout.ReadWrite)
		if err != nil {
			return fail(err)
		}
		theirs = append(theirs, fd)
	}
	if j.err >= 0 {
		fd, err := openWriteEnd(j.err, c.UID, j.cfg.Stderr.ReadWrite)
		if err != nil {
			return fail(err)
		}
		theirs = append(theirs, fd)
		c.Files = theirs
	} else {
		c.Files = []int{theirs[0], theirs[1], theirs[1]}
	}

	if j.cfg.KillAsGroup {
		name := cgroupName(j.mark)
		if dir, err := j.cgroups.Make(name); err == nil {
			c.Cgroup = dir
			defer func() {
				dir.Close()
				if r.err != nil {
					j.cgroups.Group(name).Remove()
				}
			}()
		}
	}
	j.hold(mine)
	j.note(0)
	crash.Point(crash.BeforeFork)
	r.pid, r.err = s.Start(c)
	crash.Point(crash.AfterFork)
	if r.err != nil {
		return r
	}
	j.note(r.pid)
	r.ticks, _, _ = state.Ticks(r.pid)
	if fd, err := spawn.Pidfd(r.pid); err == nil {
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

// childEnviron is the environment of a program, lowest first: the daemon's
// own, what tells the program where it runs, then environment=.
func childEnviron(cfg *plan.Process, base []string, serverURL, mark string) []string {
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
	return spawn.Environ(spawn.Inherited(base), pairs...)
}
