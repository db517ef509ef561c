package process

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/value"
)

var update = flag.Bool("update", false, "write testdata/transitions.txt anew")

// exit and killed make wait statuses as the kernel encodes them.
func exit(code int) unix.WaitStatus          { return unix.WaitStatus(code << 8) }
func killed(sig unix.Signal) unix.WaitStatus { return unix.WaitStatus(sig) }

func spec(change func(*Spec)) *Spec {
	s := &Spec{
		Name: "a", StartSecs: time.Second, StartRetries: 3, AutoRestart: value.RestartUnexpected,
		ExitCodes: []int{0}, StopSignal: unix.SIGTERM, StopWait: 10 * time.Second,
	}
	if change != nil {
		change(s)
	}
	return s
}

// show writes an effect as one word or a few.
func show(e Effect) string {
	switch e := e.(type) {
	case Spawn:
		return "spawn"
	case Kill:
		to := "pid"
		if e.Group {
			to = "group"
		}
		return fmt.Sprintf("%s->%s", unix.SignalName(e.Signal), to)
	case Announce:
		extra := ""
		switch e.To {
		case Starting, Backoff:
			extra = fmt.Sprintf(" tries:%d", e.Tries)
		case Exited:
			extra = fmt.Sprintf(" expected:%v pid:%d", e.Expected, e.PID)
		case Running, Stopping, Stopped:
			extra = fmt.Sprintf(" pid:%d", e.PID)
		}
		return fmt.Sprintf("[%v>%v%s]", e.From, e.To, extra)
	case Log:
		return fmt.Sprintf("%s %q", e.Level, e.Text)
	}
	return fmt.Sprintf("%T", e)
}

func showAll(effects []Effect) string {
	words := make([]string, len(effects))
	for i, e := range effects {
		words[i] = show(e)
	}
	return strings.Join(words, ", ")
}

// happening is an event and how long after the one before it comes.
type happening struct {
	after time.Duration
	ev    Event
}

func TestLife(t *testing.T) {
	const s = time.Second
	tests := []struct {
		name   string
		spec   *Spec
		events []happening
		want   string // of the last event
		state  State
		check  func(Machine) bool
	}{
		{"start", spec(nil), []happening{{0, Start{}}},
			`[STOPPED>STARTING tries:0], spawn`, Starting, nil},
		{"spawned", spec(nil), []happening{{0, Start{}}, {0, Spawned{7}}},
			`INFO "spawned: 'a' with pid 7"`, Starting,
			func(m Machine) bool { return m.PID == 7 && m.Deadline == s }},
		{"running after startsecs", spec(nil), []happening{{0, Start{}}, {0, Spawned{7}}, {s, Timer{}}},
			`[STARTING>RUNNING pid:7], INFO "success: a entered RUNNING state, process has stayed up for > than 1 seconds (startsecs)"`, Running,
			func(m Machine) bool { return m.Deadline == 0 }},
		{"a timer that comes too early does nothing", spec(nil), []happening{{0, Start{}}, {0, Spawned{7}}, {s / 2, Timer{}}},
			``, Starting, nil},
		{"startsecs=0 runs at once", spec(func(c *Spec) { c.StartSecs = 0 }), []happening{{0, Start{}}, {0, Spawned{7}}},
			`INFO "spawned: 'a' with pid 7", [STARTING>RUNNING pid:7], INFO "success: a entered RUNNING state, process has stayed up for > than 0 seconds (startsecs)"`, Running, nil},
		{"exit before startsecs fails whatever the status", spec(nil), []happening{{0, Start{}}, {0, Spawned{7}}, {s / 2, Ended{exit(0)}}},
			`WARN "exited: a (exit status 0; not expected)", [STARTING>BACKOFF tries:1]`, Backoff,
			func(m Machine) bool {
				return m.SpawnErr == TooQuick && m.ExitStatus == 0 && m.PID == 0 && m.Deadline == s/2+s
			}},
		{"second retry comes two seconds after the second failure", spec(nil), []happening{{0, Start{}}, {0, Spawned{7}}, {0, Ended{exit(1)}}, {s, Timer{}}, {0, Spawned{8}}, {0, Ended{exit(1)}}},
			`WARN "exited: a (exit status 1; not expected)", [STARTING>BACKOFF tries:2]`, Backoff,
			func(m Machine) bool { return m.Deadline == 3*s }},
		{"the last failure is fatal", spec(func(c *Spec) { c.StartRetries = 0 }), []happening{{0, Start{}}, {0, SpawnFailed{"can't find command 'x'"}}},
			`INFO "spawnerr: can't find command 'x'", [STARTING>BACKOFF tries:1], [BACKOFF>FATAL], INFO "gave up: a entered FATAL state, too many start retries too quickly"`, Fatal,
			func(m Machine) bool { return m.SpawnErr == "can't find command 'x'" && m.Failures == 0 }},
		{"start by hand in FATAL", spec(func(c *Spec) { c.StartRetries = 0 }), []happening{{0, Start{}}, {0, SpawnFailed{"x"}}, {0, Start{}}},
			`[FATAL>STARTING tries:0], spawn`, Starting, func(m Machine) bool { return m.SpawnErr == "" }},
		{"start by hand in BACKOFF does not wait", spec(nil), []happening{{0, Start{}}, {0, SpawnFailed{"x"}}, {0, Start{}}},
			`[BACKOFF>STARTING tries:1], spawn`, Starting, nil},
		{"expected exit", spec(nil), []happening{{0, Start{}}, {0, Spawned{7}}, {s, Timer{}}, {s, Ended{exit(0)}}},
			`[RUNNING>EXITED expected:true pid:7], INFO "exited: a (exit status 0; expected)"`, Exited,
			func(m Machine) bool { return m.ExitStatus == 0 && m.SpawnErr == "" }},
		{"unexpected exit restarts", spec(nil), []happening{{0, Start{}}, {0, Spawned{7}}, {s, Timer{}}, {s, Ended{exit(3)}}},
			`[RUNNING>EXITED expected:false pid:7], WARN "exited: a (exit status 3; not expected)", [EXITED>STARTING tries:0], spawn`, Starting, nil},
		{"death by signal is unexpected", spec(func(c *Spec) { c.AutoRestart = value.RestartNever }), []happening{{0, Start{}}, {0, Spawned{7}}, {s, Timer{}}, {s, Ended{killed(unix.SIGKILL)}}},
			`[RUNNING>EXITED expected:false pid:7], WARN "exited: a (terminated by SIGKILL; not expected)"`, Exited,
			func(m Machine) bool { return m.ExitStatus == -1 && m.SpawnErr == "Bad exit code -1" }},
		{"a core is told", spec(func(c *Spec) { c.AutoRestart = value.RestartNever }), []happening{{0, Start{}}, {0, Spawned{7}}, {s, Timer{}}, {s, Ended{killed(unix.SIGSEGV) | 0x80}}},
			`[RUNNING>EXITED expected:false pid:7], WARN "exited: a (terminated by SIGSEGV (core dumped); not expected)"`, Exited, nil},
		{"autorestart=true restarts after an expected exit", spec(func(c *Spec) { c.AutoRestart = value.RestartAlways }), []happening{{0, Start{}}, {0, Spawned{7}}, {s, Timer{}}, {s, Ended{exit(0)}}},
			`[RUNNING>EXITED expected:true pid:7], INFO "exited: a (exit status 0; expected)", [EXITED>STARTING tries:0], spawn`, Starting, nil},
		{"exit after startsecs whose timer is late", spec(nil), []happening{{0, Start{}}, {0, Spawned{7}}, {2 * s, Ended{exit(0)}}},
			`[STARTING>RUNNING pid:7], INFO "success: a entered RUNNING state, process has stayed up for > than 1 seconds (startsecs)", [RUNNING>EXITED expected:true pid:7], INFO "exited: a (exit status 0; expected)"`, Exited, nil},
		{"stop", spec(nil), []happening{{0, Start{}}, {0, Spawned{7}}, {s, Timer{}}, {s, Stop{}}},
			`[RUNNING>STOPPING pid:7], DEBG "killing a (pid 7) with signal SIGTERM", SIGTERM->pid`, Stopping,
			func(m Machine) bool { return m.Deadline == 12*s }},
		{"stopasgroup", spec(func(c *Spec) { c.StopAsGroup = true }), []happening{{0, Start{}}, {0, Spawned{7}}, {s, Stop{}}},
			`[STARTING>STOPPING pid:7], DEBG "killing a (pid 7) process group with signal SIGTERM", SIGTERM->group`, Stopping, nil},
		{"patience ends", spec(func(c *Spec) { c.KillAsGroup = true }), []happening{{0, Start{}}, {0, Spawned{7}}, {s, Stop{}}, {10 * s, Timer{}}},
			`WARN "killing 'a' (7) with SIGKILL", DEBG "killing a (pid 7) process group with signal SIGKILL", SIGKILL->group`, Stopping,
			func(m Machine) bool { return m.Deadline == 21*s }},
		{"stopped by its signal", spec(nil), []happening{{0, Start{}}, {0, Spawned{7}}, {s, Stop{}}, {0, Ended{killed(unix.SIGTERM)}}},
			`[STOPPING>STOPPED pid:7], WARN "stopped: a (terminated by SIGTERM)"`, Stopped,
			func(m Machine) bool { return m.ExitStatus == -1 && m.SpawnErr == "" && m.PID == 0 && m.Deadline == 0 }},
		{"stopped with an expected status", spec(nil), []happening{{0, Start{}}, {0, Spawned{7}}, {s, Stop{}}, {0, Ended{exit(0)}}},
			`[STOPPING>STOPPED pid:7], INFO "stopped: a (exit status 0)"`, Stopped, nil},
		{"stop in BACKOFF forgets the failures", spec(nil), []happening{{0, Start{}}, {0, SpawnFailed{"x"}}, {0, Stop{}}},
			`[BACKOFF>STOPPED pid:0]`, Stopped, func(m Machine) bool { return m.Failures == 0 && m.Deadline == 0 }},
		{"stop before the spawn is reported", spec(nil), []happening{{0, Start{}}, {0, Stop{}}},
			`[STARTING>STOPPING pid:0]`, Stopping, nil},
		{"the report then brings the signal", spec(nil), []happening{{0, Start{}}, {0, Stop{}}, {0, Spawned{7}}},
			`INFO "spawned: 'a' with pid 7", DEBG "killing a (pid 7) with signal SIGTERM", SIGTERM->pid`, Stopping, nil},
		{"or the spawn failed and all is done", spec(nil), []happening{{0, Start{}}, {0, Stop{}}, {0, SpawnFailed{"x"}}},
			`[STOPPING>STOPPED pid:0]`, Stopped, func(m Machine) bool { return m.SpawnErr == "" }},
		{"shutdown in BACKOFF", spec(nil), []happening{{0, Start{}}, {0, SpawnFailed{"x"}}, {0, GiveUp{}}},
			`[BACKOFF>FATAL]`, Fatal, nil},
		{"a signal that may not be sent", spec(nil), []happening{{0, Start{}}, {0, Spawned{7}}, {s, Stop{}}, {0, SignalFailed{"EPERM"}}},
			`CRIT "cannot signal a (7): EPERM", [STOPPING>UNKNOWN]`, Unknown, func(m Machine) bool { return m.PID == 7 }},
		{"an end whose status nobody knows", spec(func(c *Spec) { c.AutoRestart = value.RestartNever }), []happening{{0, Start{}}, {0, Spawned{7}}, {s, Timer{}}, {0, Lost{"exit status unknown (supervisor was down)"}}},
			`[RUNNING>EXITED expected:false pid:7], WARN "exited: a (exit status unknown (supervisor was down); not expected)"`, Exited,
			func(m Machine) bool {
				return m.ExitStatus == -1 && m.SpawnErr == "exit status unknown (supervisor was down)"
			}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var m Machine
			var effects []Effect
			now := time.Duration(0)
			for _, h := range test.events {
				now += h.after
				m, effects = m.Step(test.spec, h.ev, Turn{Now: now, Unix: 1000 + int64(now/s)})
			}
			if got := showAll(effects); got != test.want {
				t.Errorf("effects\n got %s\nwant %s", got, test.want)
			}
			if m.State != test.state {
				t.Errorf("state %v, want %v", m.State, test.state)
			}
			if test.check != nil && !test.check(m) {
				t.Errorf("machine is %+v", m)
			}
		})
	}
}

func TestNothingStartsDuringShutdown(t *testing.T) {
	c := spec(func(c *Spec) { c.AutoRestart = value.RestartAlways })
	turn := Turn{NoStarts: true}
	m := Machine{State: Running, PID: 7}
	m, _ = m.Step(c, Ended{exit(0)}, turn)
	if m.State != Exited {
		t.Errorf("after an exit: %v", m.State)
	}
	m = Machine{State: Backoff, Deadline: 1, Failures: 1}
	turn.Now = time.Second
	if m, effects := m.Step(c, Timer{}, turn); m.State != Backoff || m.Deadline <= turn.Now || len(effects) != 0 {
		t.Errorf("a retry: %v, due %v, %s", m.State, m.Deadline, showAll(effects))
	}
}

// TestEveryTransition walks every state that can be reached, under several
// settings, applies every event to it, in time and late, while starts are allowed
// and while they are not, checks what must always hold, and compares what happens
// with the table in testdata: every effect, and what is ignored.
func TestEveryTransition(t *testing.T) {
	settings := []struct {
		name string
		spec *Spec
	}{
		{"autorestart=unexpected startsecs=1 startretries=1", spec(func(c *Spec) { c.StartRetries = 1 })},
		{"autorestart=true startsecs=0 stopasgroup killasgroup", spec(func(c *Spec) {
			c.AutoRestart, c.StartSecs, c.StopAsGroup, c.KillAsGroup = value.RestartAlways, 0, true, true
		})},
		{"autorestart=true startsecs=1 startretries=2 exitcodes=1 killasgroup stopwaitsecs=0", spec(func(c *Spec) {
			c.AutoRestart, c.StartRetries, c.ExitCodes, c.KillAsGroup, c.StopWait = value.RestartAlways, 2, []int{1}, true, 0
		})},
		{"autorestart=false startsecs=1 startretries=0", spec(func(c *Spec) { c.AutoRestart, c.StartRetries = value.RestartNever, 0 })},
	}
	// Most happen at the moment of the last start, some when what the machine
	// waits for is over.
	events := []struct {
		name string
		ev   Event
		late bool
	}{
		{"start", Start{}, false}, {"spawned", Spawned{7}, false}, {"spawn failed", SpawnFailed{"no luck"}, false},
		{"exit 0", Ended{exit(0)}, false}, {"exit 1", Ended{exit(1)}, false}, {"killed", Ended{killed(unix.SIGKILL)}, false},
		{"lost", Lost{"gone"}, false}, {"late exit 0", Ended{exit(0)}, true}, {"late exit 1", Ended{exit(1)}, true},
		{"early timer", Timer{}, false}, {"timer", Timer{}, true}, {"stop", Stop{}, false}, {"give up", GiveUp{}, false},
		{"signal failed", SignalFailed{"EPERM"}, false},
	}
	var table strings.Builder
	for _, set := range settings {
		fmt.Fprintf(&table, "# %s\n", set.name)
		seen := map[string]bool{}
		todo := []Machine{{}}
		for len(todo) > 0 {
			m := todo[0]
			todo = todo[1:]
			if seen[short(m)] {
				continue
			}
			seen[short(m)] = true
			var ignored []string
			for _, e := range events {
				now := m.StartedAt
				if e.late {
					now = max(m.Deadline, now)
				}
				happens := ""
				for _, noStarts := range []bool{false, true} {
					next, effects := m.Step(set.spec, e.ev, Turn{Now: now, Unix: 1, NoStarts: noStarts})
					check(t, m, e.name, next, effects)
					if _, ok := e.ev.(Timer); ok && next.Deadline != 0 && next.Deadline <= now {
						t.Errorf("%s: what was due (no starts: %v) stays due", short(m), noStarts)
					}
					what := fmt.Sprintf("%s: %s", short(next), showAll(effects))
					if next == m && len(effects) == 0 {
						what = "nothing"
					}
					if noStarts {
						if what != happens {
							fmt.Fprintf(&table, "%s + %s, no starts = %s\n", short(m), e.name, what)
						}
						continue
					}
					if happens = what; what == "nothing" {
						ignored = append(ignored, e.name)
						continue
					}
					fmt.Fprintf(&table, "%s + %s = %s\n", short(m), e.name, what)
					next.StartedAt = 0
					if next.Deadline > 0 {
						next.Deadline -= now
					}
					todo = append(todo, next)
				}
			}
			fmt.Fprintf(&table, "%s ignores %s\n", short(m), strings.Join(ignored, ", "))
		}
	}
	const file = "testdata/transitions.txt"
	if *update {
		if err := os.WriteFile(file, []byte(table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if table.String() != string(want) {
		got, want := strings.Split(table.String(), "\n"), strings.Split(string(want), "\n")
		for _, line := range got {
			if !slices.Contains(want, line) {
				t.Errorf("new:  %s", line)
			}
		}
		for _, line := range want {
			if !slices.Contains(got, line) {
				t.Errorf("gone: %s", line)
			}
		}
	}
}

// short is what tells the states of a machine apart that behave differently.
func short(m Machine) string {
	s := m.State.String()
	if m.PID != 0 {
		s += "/pid"
	}
	if m.Failures > 0 {
		s += fmt.Sprintf("/failures:%d", m.Failures)
	}
	return s
}

// check holds a step against what must always hold.
func check(t *testing.T, m Machine, event string, next Machine, effects []Effect) {
	t.Helper()
	fail := func(what string) {
		t.Errorf("%s + %s = %s (%s): %s", short(m), event, short(next), showAll(effects), what)
	}
	spawns, state := 0, m.State
	for _, e := range effects {
		switch e := e.(type) {
		case Spawn:
			spawns++
		case Kill:
			if e.PID == 0 || e.PID != next.PID {
				fail("signals a process that is not there")
			}
		case Announce:
			if e.From != state {
				fail("announcements do not follow on each other")
			}
			if e.From == e.To {
				fail("announces no change")
			}
			state = e.To
		}
	}
	if spawns > 1 || spawns == 1 && (next.State != Starting || next.PID != 0) {
		fail("spawns where it should not")
	}
	if state != next.State {
		fail("a change is not announced")
	}
	switch next.State {
	case Stopped, Exited, Fatal, Backoff:
		if next.PID != 0 {
			fail("has a pid without a process")
		}
	}
	switch next.State {
	case Stopped, Exited, Fatal, Running, Unknown:
		if next.Deadline != 0 {
			fail("waits for something")
		}
	case Backoff:
		if next.Deadline == 0 {
			fail("waits for ever")
		}
	}
}

func TestDescribe(t *testing.T) {
	for status, want := range map[unix.WaitStatus]string{
		exit(0): "exit status 0", exit(127): "exit status 127", killed(unix.SIGKILL): "terminated by SIGKILL",
		killed(unix.SIGSEGV) | 0x80: "terminated by SIGSEGV (core dumped)", killed(unix.SIGIO): "terminated by SIGPOLL",
		killed(34): "terminated by SIGRTMIN", killed(40): "terminated by signal 40", killed(64): "terminated by SIGRTMAX",
	} {
		if got := Describe(status); got != want {
			t.Errorf("%#x: %s, want %s", int(status), got, want)
		}
	}
}
