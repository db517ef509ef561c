package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/client"
	"sup/lib/process"
	"sup/lib/suptest"
	"sup/lib/value"
)

// TestRandomClients has many clients do everything at once to programs of every
// temper, and then looks whether all that happened was allowed, and whether
// all is as it was before. SUP_SEED repeats the choices of a run, though not
// their order in time.
func TestRandomClients(t *testing.T) {
	chance := seeded(t)
	s := newStress(t)
	d := suptest.Start(t, suptest.Options{Config: s.listener + s.base + s.extra(3)})
	s.d = d

	// Every stream is open and every group was there once: what is held now is
	// what is to be held at the end.
	s.calmDown(t)
	was, suplogWas := measure(t, d.PID()), measure(t, suplogOf(t, d))
	goroutinesWere := goroutines(t, d)

	ctx, stop := context.WithTimeout(t.Context(), amount(4*time.Second, time.Minute))
	defer stop()
	var clients sync.WaitGroup
	for range amount(8, 50) {
		own := rand.New(rand.NewPCG(chance.Uint64(), 0))
		clients.Go(func() { s.client(ctx, t, own) })
	}
	clients.Wait()

	s.calmDown(t)
	now := settled(t, d, d.PID(), was, 0)
	suplogWas.fds += 2 // the waiter for a busy pipe has one of its own, made when it is first needed
	suplogNow := settled(t, d, suplogOf(t, d), suplogWas, idlePipes)
	d.Until("no goroutine is left over", func() error {
		// One or two may be on their way.
		if n := goroutines(t, d); n > goroutinesWere+2 {
			return fmt.Errorf("there are %d, there were %d", n, goroutinesWere)
		}
		return nil
	})
	const more = 12 // threads that the Go runtime may keep after a rush
	if now.threads > was.threads+more || suplogNow.threads > suplogWas.threads+more {
		t.Errorf("threads: supd had %d, has %d; suplog had %d, has %d", was.threads, now.threads, suplogWas.threads, suplogNow.threads)
	}
	workersWell(t, d, s.workers)
	events := checkEvents(t, d.ReadFile("events"))
	t.Logf("%d calls, %d of them refused with a fault, %d SIGHUP, %d events; supd: %v, then %v; suplog: %v, then %v",
		s.calls.Load(), s.faults.Load(), s.hups.Load(), events, was, now, suplogWas, suplogNow)
}

// goroutines is how many a daemon has, as it tells itself.
func goroutines(t *testing.T, d *suptest.Daemon) (n int) {
	t.Helper()
	c := request(t, d, "GET /metrics HTTP/1.0\r\n\r\n")
	defer c.Close()
	text, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	_, figure, _ := strings.Cut(string(text), "\ngo_goroutines ")
	if _, err := fmt.Sscan(figure, &n); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return n
}

// stress is what the clients of TestRandomClients share.
type stress struct {
	d              *suptest.Daemon
	worker         string
	listener, base string
	workers        []string // their names
	names          []string // what clients ask for
	// config guards supervisord.conf: one client at a time writes it and has
	// it read.
	config sync.Mutex

	calls, faults, hups atomic.Int64
}

func newStress(t *testing.T) *stress {
	s := &stress{worker: worker(t)}
	s.listener = fmt.Sprintf(`[eventlistener:ear]
command=%s listen %%(here)s/events
directory=%%(here)s
events=PROCESS_STATE,SUPERVISOR_STATE_CHANGE,PROCESS_GROUP
buffer_size=1000000
`, s.worker)
	program := func(name, command, more string) string {
		s.names = append(s.names, name)
		return fmt.Sprintf("[program:%s]\ncommand=%s\ndirectory=%%(here)s\n%s\n", name, command, more)
	}
	s.workers = numbered("worker", 3)
	s.base = workers(t, "2ms", s.workers...) +
		program("sleeper", "sleep 1000", "startsecs=0") +
		program("patient", "sleep 1000", "startsecs=1\nautorestart=true") +
		program("crasher", "sh -c 'echo crashing; exit 3'", "startretries=2") +
		program("bouncer", "sh -c 'sleep 0.05; exit 1'", "startsecs=0\nautorestart=true\nstopasgroup=true") +
		program("quick", "true", "startsecs=0\nautorestart=false\nexitcodes=0") +
		program("deaf", "sh -c 'trap \"\" TERM; while :; do sleep 1; done'", "startsecs=0\nstopwaitsecs=1\nkillasgroup=true") +
		program("forker", "sh -c 'sleep 1000 & sleep 1000 & wait'", "startsecs=0\nstopasgroup=true\nkillasgroup=true") +
		program("missing", "/nowhere/at/all", "startretries=1") +
		program("nodir", "sleep 1000", "directory=/nowhere\nstartretries=1") +
		program("stream", "sh -c 'while :; do echo out; echo err >&2; sleep 0.01; done'", "startsecs=0\nstdout_logfile=AUTO\nstopasgroup=true\nkillasgroup=true") +
		"[group:pair]\nprograms=left,right\n" + pairMember("left") + pairMember("right")
	s.names = append(s.names, s.workers...)
	s.names = append(s.names, "pair:left", "pair:right", "pair:*", "nobody")
	return s
}

func pairMember(name string) string {
	return "[program:" + name + "]\ncommand=sleep 1000\nstartsecs=0\nautorestart=true\n"
}

// extra are groups that come, go and change.
func (s *stress) extra(n int) (config string) {
	for i := range n {
		config += fmt.Sprintf("[program:extra%d]\ncommand=sleep 100%d\nstartsecs=0\n", i, n)
	}
	return config
}

// client does one thing after the other until ctx is done. A fault is a
// proper answer; anything else must not happen.
func (s *stress) client(ctx context.Context, t *testing.T, chance *rand.Rand) {
	c, err := client.New("unix://"+s.d.Path("supd.sock"), nil, nil)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	for ctx.Err() == nil {
		what, err := s.act(ctx, c, chance)
		s.calls.Add(1)
		if isFault(err) {
			s.faults.Add(1)
		} else if err != nil && ctx.Err() == nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// act does one thing, and tells what.
func (s *stress) act(ctx context.Context, c *client.Client, chance *rand.Rand) (string, error) {
	name := s.names[chance.IntN(len(s.names))]
	group, all := strings.CutSuffix(name, ":*")
	var err error
	switch n := chance.IntN(100); {
	case n < 20 && all:
		_, err = c.StartProcessGroup(ctx, group)
		return "start " + name, err
	case n < 20:
		return "start " + name, c.Call(ctx, nil, "supervisor.startProcess", name, chance.IntN(2) == 0)
	case n < 40 && all:
		_, err = c.StopProcessGroup(ctx, group)
		return "stop " + name, err
	case n < 40:
		return "stop " + name, c.Call(ctx, nil, "supervisor.stopProcess", name, chance.IntN(2) == 0)
	case n < 50:
		if err = c.StopProcess(ctx, name); err == nil || isFault(err) {
			err = c.StartProcess(ctx, name)
		}
		return "restart " + name, err
	case n < 58:
		signals := []string{"HUP", "TERM", "USR1", "KILL", "0", "NONSENSE"}
		if name == "forker" || name == "deaf" || name == "stream" || strings.HasPrefix(name, "worker") {
			// What they have started would be left, as a line would that was
			// not counted yet.
			signals = []string{"CONT", "WINCH"}
		}
		return "signal " + name, c.SignalProcess(ctx, name, signals[chance.IntN(len(signals))])
	case n < 70:
		_, err = c.AllProcessInfo(ctx)
		return "status", err
	case n < 78:
		_, err = c.ReadProcessLog(ctx, name, client.Stdout, int64(-chance.IntN(2000)), 0)
		return "tail " + name, err
	case n < 81 && !strings.HasPrefix(name, "worker"):
		return "clear " + name, c.ClearProcessLogs(ctx, name)
	case n < 84:
		_, err = c.ReloadConfig(ctx)
		return "reread", err
	case n < 88:
		return "update", s.update(ctx, c, chance.IntN(4))
	case n < 90:
		return "SIGUSR2", syscall.Kill(s.d.PID(), syscall.SIGUSR2)
	case n < 91 && chance.IntN(20) == 0:
		s.hups.Add(1)
		return "SIGHUP", syscall.Kill(s.d.PID(), syscall.SIGHUP)
	case n < 93:
		return "stdin " + name, c.SendProcessStdin(ctx, name, "hello\n")
	case n < 95:
		c.Close()
		return "reconnect", nil
	default:
		_, err = c.ProcessInfo(ctx, name)
		return "status " + name, err
	}
}

// update does what supctl update does, with n of the groups that come and go.
func (s *stress) update(ctx context.Context, c *client.Client, n int) error {
	s.config.Lock()
	defer s.config.Unlock()
	s.d.WriteConfig(s.listener + s.base + s.extra(n))
	changes, err := c.ReloadConfig(ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Concat(changes.Removed, changes.Changed) {
		if _, err := c.StopProcessGroup(ctx, name); err != nil && !isFault(err) {
			return err
		}
		if err := c.RemoveProcessGroup(ctx, name); err != nil && !isFault(err) {
			return err
		}
	}
	for _, name := range slices.Concat(changes.Added, changes.Changed) {
		if err := c.AddProcessGroup(ctx, name); err != nil && !isFault(err) {
			return err
		}
	}
	return nil
}

// calmDown brings the daemon to where the test begins and ends: all groups
// there, every program once started, now stopped; and checks what must hold
// then.
func (s *stress) calmDown(t *testing.T) {
	t.Helper()
	d, ctx := s.d, t.Context()
	d.Until("the daemon does not restart any more", func() error {
		_, err := d.Client.AllProcessInfo(ctx)
		return err
	})
	if err := s.update(ctx, d.Client, 3); err != nil {
		t.Fatal(err)
	}
	quiet(t, d)
	onceEach(t, d)
	if _, err := d.Client.StartAllProcesses(ctx); err != nil {
		t.Fatal(err)
	}
	quiet(t, d)
	d.Wait("RUNNING", append(slices.Clone(s.workers), "sleeper", "patient", "deaf", "forker", "pair:left", "extra0", "ear")...)
	d.Wait("FATAL", "nodir", "crasher")
	for _, name := range s.workers {
		d.Until(name+" has written", func() error {
			text, err := os.ReadFile(d.Path(name + ".count"))
			if err == nil && len(text) == 0 {
				err = errors.New("nothing yet")
			}
			return err
		})
	}
	onceEach(t, d)
	infos, err := d.Client.AllProcessInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range infos {
		if i.Group == "ear" {
			continue
		}
		if err := d.Client.StopProcess(ctx, i.Group+":"+i.Name); err != nil && !isFault(err) {
			t.Fatal(err)
		}
	}
	for _, i := range quiet(t, d) {
		if i.Group != "ear" && i.PID != 0 {
			t.Errorf("%s is %s with pid %d after all were stopped", i.Name, i.StateName, i.PID)
		}
	}
	onceEach(t, d)
	noZombies(d)
}

// checkEvents goes through what the listener was told: each change of state
// must be one that the state machine can make, and begin where the one before
// it ended. It returns the number of events.
func checkEvents(t testing.TB, text string) (n int) {
	t.Helper()
	possible := transitions()
	at := map[string]string{} // the state of each process that is known
	for line := range strings.Lines(text) {
		n++
		header, payload, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		h, p := tokens(header), tokens(payload)
		name := p["groupname"] + ":" + p["processname"]
		to, isState := strings.CutPrefix(h["eventname"], "PROCESS_STATE_")
		switch {
		case h["eventname"] == "SUPERVISOR_STATE_CHANGE_RUNNING":
			clear(at) // restarted: every process entry is a new one
		case h["eventname"] == "PROCESS_GROUP_ADDED":
			for known := range at {
				if strings.HasPrefix(known, p["groupname"]+":") {
					delete(at, known)
				}
			}
		case isState:
			from := p["from_state"]
			if !possible[[2]string{from, to}] {
				t.Errorf("event %s: %s went from %s to %s", h["serial"], name, from, to)
			}
			if was, known := at[name]; known && was != from {
				t.Errorf("event %s: %s went from %s to %s, but it was %s", h["serial"], name, from, to, was)
			}
			at[name] = to
		}
	}
	return n
}

// tokens reads "key:value key:value".
func tokens(text string) map[string]string {
	found := map[string]string{}
	for _, word := range strings.Fields(text) {
		key, value, _ := strings.Cut(word, ":")
		found[key] = value
	}
	return found
}

// transitions are the changes of state that the machine of lib/process can
// make, found by trying everything in every state.
func transitions() map[[2]string]bool {
	events := []process.Event{
		process.Start{}, process.Spawned{PID: 1}, process.SpawnFailed{}, process.Stop{}, process.GiveUp{}, process.Timer{},
		process.Ended{Status: unix.WaitStatus(0)}, process.Ended{Status: unix.WaitStatus(1 << 8)}, process.Lost{}, process.SignalFailed{},
	}
	var specs []*process.Spec
	for _, startSecs := range []time.Duration{0, time.Second} {
		for _, restart := range []value.AutoRestart{value.RestartNever, value.RestartUnexpected, value.RestartAlways} {
			specs = append(specs, &process.Spec{StartSecs: startSecs, StartRetries: 1, AutoRestart: restart, ExitCodes: []int{0}})
		}
	}
	found := map[[2]string]bool{}
	for _, spec := range specs {
		// Time does not matter but for what is due: a machine is told by its
		// state, whether there is a process, and its failures.
		type kind struct {
			state    process.State
			there    bool
			failures int
		}
		seen := map[kind]bool{}
		todo := []process.Machine{{}}
		for len(todo) > 0 {
			m := todo[0]
			todo = todo[1:]
			k := kind{m.State, m.PID != 0, m.Failures}
			if seen[k] {
				continue
			}
			seen[k] = true
			for _, event := range events {
				for _, later := range []time.Duration{0, time.Hour} {
					next, effects := m.Step(spec, event, process.Turn{Now: m.StartedAt + later, Unix: 1})
					for _, e := range effects {
						if a, ok := e.(process.Announce); ok {
							found[[2]string{a.From.String(), a.To.String()}] = true
						}
					}
					todo = append(todo, next)
				}
			}
		}
	}
	return found
}
