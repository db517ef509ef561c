package process

import (
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/value"
)

// Spec is what the configuration says about the life of a process.
type Spec struct {
	Name string // for log lines
	//lint:ignore ST1011 the key's name, known to everybody
	StartSecs    time.Duration
	StartRetries int
	AutoRestart  value.AutoRestart
	ExitCodes    []int
	StopSignal   value.Signal
	StopWait     time.Duration
	StopAsGroup  bool
	KillAsGroup  bool
}

// Turn is what is the same for every process in one turn of the owner's loop.
type Turn struct {
	// Now is monotonic time since an arbitrary moment that is not after the
	// first turn. All waits are counted in it.
	Now time.Duration
	// Unix is the wall clock in seconds; it is only shown to people.
	Unix int64
	// NoStarts is set while the daemon shuts down or restarts: nothing is
	// started any more.
	NoStarts bool
}

// Machine is the state of one process. It is a value; Step returns a changed
// copy.
type Machine struct {
	State State
	// PID is 0 when there is no process: always outside STARTING, RUNNING,
	// STOPPING and UNKNOWN, and in the first two of these until the spawn that
	// was asked for has been reported.
	PID int
	// Failures counts the failed attempts since the process was last RUNNING,
	// FATAL or stopped.
	Failures int
	// Deadline is when the Timer event is due (0: none). It belongs to STARTING
	// (startsecs are over), BACKOFF (try again) and STOPPING (kill).
	Deadline time.Duration
	// StartedAt is the Turn.Now of the last start.
	StartedAt time.Duration

	// Started and Stopped are the wall-clock seconds of the last start and of
	// the last end, 0 for never.
	Started, Ended int64
	// ExitStatus is the last end's, -1 for a death by signal; 0 after a start
	// and in BACKOFF.
	ExitStatus int
	// SpawnErr is the reason of the last failure, "" if there is none.
	SpawnErr string
}

// Event is something that happens to a process.
type Event interface{ event() }

// Start asks for a start, by hand or at start-up. It has an effect in STOPPED,
// EXITED, FATAL and BACKOFF.
type Start struct{}

// Spawned reports that the process asked for by Spawn exists.
type Spawned struct{ PID int }

// SpawnFailed reports that it could not be made.
type SpawnFailed struct{ Reason string }

// Ended reports that the process was reaped, and how it ended.
type Ended struct{ Status unix.WaitStatus }

// Lost reports the end of a process whose status nobody can tell.
type Lost struct{ Reason string }

// Timer reports that Machine.Deadline has passed.
type Timer struct{}

// Stop asks for a stop by hand, or for a shutdown. It has an effect in
// STARTING, RUNNING and BACKOFF.
type Stop struct{}

// GiveUp ends a BACKOFF for good; the daemon shuts down.
type GiveUp struct{}

// SignalFailed reports that a signal could not be sent, although the process
// exists.
type SignalFailed struct{ Reason string }

func (Start) event()        {}
func (Spawned) event()      {}
func (SpawnFailed) event()  {}
func (Ended) event()        {}
func (Lost) event()         {}
func (Timer) event()        {}
func (Stop) event()         {}
func (GiveUp) event()       {}
func (SignalFailed) event() {}

// Effect is something the owner is to do, in order.
type Effect interface{ effect() }

// Spawn: make the process; answer with Spawned or SpawnFailed.
type Spawn struct{}

// Kill: send a signal to the process, or to its whole group; answer with
// SignalFailed if it is not permitted.
type Kill struct {
	PID    int
	Signal value.Signal
	Group  bool
}

// Announce: tell listeners of a change of state.
type Announce struct {
	From, To State
	// PID is that of the process the event is about (the one just ended, in
	// EXITED and STOPPED).
	PID int
	// Tries is the number of failed attempts so far.
	Tries int
	// Expected tells, in EXITED, whether the status is among the exit codes.
	Expected bool
}

// Level is the level of a line of the activity log.
type Level string

const (
	Crit  Level = "CRIT"
	Error Level = "ERRO"
	Warn  Level = "WARN"
	Info  Level = "INFO"
	Debug Level = "DEBG"
)

// Log: write a line to the activity log.
type Log struct {
	Level Level
	Text  string
}

func (Spawn) effect()    {}
func (Kill) effect()     {}
func (Announce) effect() {}
func (Log) effect()      {}

// TooQuick is the reason that clients see for an end before startsecs.
const TooQuick = "Exited too quickly (process log may have details)"

// step carries one call of Step: the machine being changed and what is to be
// done.
type step struct {
	Machine
	spec *Spec
	turn Turn
	out  []Effect
}

// Step applies an event to a machine. Events that mean nothing in the present
// state (a timer that was overtaken, a stop of what is stopped) change nothing
// and have no effects.
func (m Machine) Step(spec *Spec, ev Event, turn Turn) (Machine, []Effect) {
	s := step{Machine: m, spec: spec, turn: turn}
	switch ev := ev.(type) {
	case Start:
		s.start()
	case Spawned:
		if s.awaitsSpawn() {
			s.spawned(ev.PID)
		}
	case SpawnFailed:
		if s.awaitsSpawn() {
			s.spawnFailed(ev.Reason)
		}
	case Ended:
		if s.PID != 0 {
			s.ended(ev.Status)
		}
	case Lost:
		if s.PID != 0 {
			s.lost(ev.Reason)
		}
	case Timer:
		s.timer()
	case Stop:
		s.stop()
	case GiveUp:
		if s.State == Backoff {
			s.giveUp()
		}
	case SignalFailed:
		if s.PID != 0 {
			s.signalFailed(ev.Reason)
		}
	}
	return s.Machine, s.out
}

// awaitsSpawn tells whether a process was asked for and not reported yet.
func (s *step) awaitsSpawn() bool {
	return s.PID == 0 && (s.State == Starting || s.State == Stopping)
}

func (s *step) do(e Effect)                 { s.out = append(s.out, e) }
func (s *step) log(level Level, txt string) { s.do(Log{level, txt}) }

// enter changes the state and announces it.
func (s *step) enter(to State) {
	s.do(Announce{From: s.State, To: to, PID: s.PID, Tries: s.Failures})
	s.State = to
}

// start makes an attempt, wherever nothing is under way.
func (s *step) start() {
	switch s.State {
	case Stopped, Exited, Fatal, Backoff:
	default:
		return
	}
	if s.turn.NoStarts {
		return
	}
	s.SpawnErr = ""
	s.ExitStatus = 0
	s.Started = s.turn.Unix
	s.StartedAt = s.turn.Now
	s.Deadline = 0
	s.enter(Starting)
	s.do(Spawn{})
}

func (s *step) spawned(pid int) {
	s.PID = pid
	s.StartedAt = s.turn.Now
	s.log(Info, "spawned: '"+s.spec.Name+"' with pid "+strconv.Itoa(pid))
	if s.State == Stopping {
		// The stop came before there was anything to signal.
		s.kill(s.spec.StopSignal, s.spec.StopAsGroup)
		return
	}
	if s.spec.StartSecs <= 0 {
		s.running()
		return
	}
	s.Deadline = s.turn.Now + s.spec.StartSecs
}

func (s *step) running() {
	s.Deadline = 0
	s.Failures = 0
	s.enter(Running)
	s.log(Info, "success: "+s.spec.Name+" entered RUNNING state, process has stayed up for > than "+
		strconv.Itoa(int(s.spec.StartSecs/time.Second))+" seconds (startsecs)")
}

func (s *step) spawnFailed(reason string) {
	switch s.State {
	case Starting:
		s.SpawnErr = reason
		s.log(Info, "spawnerr: "+reason)
		s.failed()
	case Stopping:
		s.Deadline = 0
		s.Failures = 0
		s.enter(Stopped)
	}
}

// failed goes to BACKOFF after a failed attempt, and on to FATAL if it was the
// last. The n-th retry is due n seconds after the n-th failure.
func (s *step) failed() {
	s.Failures++
	s.Deadline = s.turn.Now + time.Duration(s.Failures)*time.Second
	s.enter(Backoff)
	if s.Failures > s.spec.StartRetries {
		s.giveUp()
		s.log(Info, "gave up: "+s.spec.Name+" entered FATAL state, too many start retries too quickly")
	}
}

func (s *step) giveUp() {
	s.Deadline = 0
	s.Failures = 0
	s.enter(Fatal)
}

// ended handles the end of the process. An end before startsecs is a failed
// start whatever its status.
func (s *step) ended(status unix.WaitStatus) {
	code, text := describe(status)
	expected := slices.Contains(s.spec.ExitCodes, code)
	switch {
	case s.State == Stopping:
		s.Ended = s.turn.Unix
		s.ExitStatus = code
		s.stopped(text, expected)
	case s.State == Starting && s.turn.Now-s.StartedAt < s.spec.StartSecs:
		s.Ended = s.turn.Unix
		s.PID = 0
		s.SpawnErr = TooQuick
		s.failedAfterExit(text)
	case s.State == Starting:
		// startsecs are over, only the timer has not been heard yet.
		s.running()
		s.exited(code, text, expected)
	case s.State == Running:
		s.exited(code, text, expected)
	case s.State == Unknown:
		// It could not be signalled, now it is gone by itself; UNKNOWN stays,
		// as clients know it, but there is no process any more.
		s.Ended = s.turn.Unix
		s.ExitStatus = code
		s.PID = 0
	}
}

func (s *step) failedAfterExit(text string) {
	s.log(Warn, "exited: "+s.spec.Name+" ("+text+"; not expected)")
	s.failed()
}

func (s *step) stopped(text string, expected bool) {
	s.Deadline = 0
	s.Failures = 0
	pid := s.PID
	s.PID = 0
	s.do(Announce{From: s.State, To: Stopped, PID: pid})
	s.State = Stopped
	level := Warn
	if expected {
		level = Info
	}
	s.log(level, "stopped: "+s.spec.Name+" ("+text+")")
}

func (s *step) exited(code int, text string, expected bool) {
	s.Deadline = 0
	s.Failures = 0
	s.Ended = s.turn.Unix
	s.ExitStatus = code
	pid := s.PID
	s.PID = 0
	s.do(Announce{From: Running, To: Exited, PID: pid, Expected: expected})
	s.State = Exited
	if expected {
		s.log(Info, "exited: "+s.spec.Name+" ("+text+"; expected)")
	} else {
		s.SpawnErr = "Bad exit code " + strconv.Itoa(code)
		s.log(Warn, "exited: "+s.spec.Name+" ("+text+"; not expected)")
	}
	if s.spec.AutoRestart == value.RestartAlways ||
		s.spec.AutoRestart == value.RestartUnexpected && !expected {
		s.start()
	}
}

// lost is ended without a status: it counts as unexpected, and the reason
// stands where the status would.
func (s *step) lost(reason string) {
	if s.State == Starting {
		s.running()
	}
	switch s.State {
	case Stopping:
		s.Ended, s.ExitStatus = s.turn.Unix, -1
		s.stopped(reason, false)
	case Running:
		s.exited(-1, reason, false)
		if s.State == Exited {
			s.SpawnErr = reason
		}
	case Unknown:
		s.Ended, s.ExitStatus, s.PID = s.turn.Unix, -1, 0
	}
}

func (s *step) timer() {
	if s.Deadline == 0 || s.turn.Now < s.Deadline {
		return
	}
	switch s.State {
	case Starting:
		s.running()
	case Backoff:
		if s.turn.NoStarts {
			// A deadline that has passed and stays would be due without end.
			s.Deadline = s.turn.Now + time.Second
			return
		}
		s.start()
	case Stopping:
		s.log(Warn, "killing '"+s.spec.Name+"' ("+strconv.Itoa(s.PID)+") with SIGKILL")
		s.kill(unix.SIGKILL, s.spec.KillAsGroup)
	}
}

func (s *step) stop() {
	switch s.State {
	case Backoff:
		s.Deadline = 0
		s.Failures = 0
		s.enter(Stopped)
	case Starting, Running:
		s.enter(Stopping)
		if s.PID == 0 {
			// Asked for, not yet there: spawned sends the signal.
			s.Deadline = 0
			return
		}
		s.kill(s.spec.StopSignal, s.spec.StopAsGroup)
	}
}

// kill sends a signal that is meant to end the process, and sets the time at
// which patience is over.
func (s *step) kill(sig value.Signal, group bool) {
	as := ""
	if group {
		as = "process group "
	}
	s.log(Debug, "killing "+s.spec.Name+" (pid "+strconv.Itoa(s.PID)+") "+as+"with signal "+signalName(sig))
	// A stopwaitsecs of 0 must not keep the loop busy with a process that
	// takes a moment to die.
	s.Deadline = s.turn.Now + max(s.spec.StopWait, 10*time.Millisecond)
	s.do(Kill{PID: s.PID, Signal: sig, Group: group})
}

func (s *step) signalFailed(reason string) {
	if !s.State.IsSignallable() {
		return
	}
	s.log(Crit, "cannot signal "+s.spec.Name+" ("+strconv.Itoa(s.PID)+"): "+reason)
	s.Deadline = 0
	s.enter(Unknown)
}

// describe tells the exit status as clients see it (-1 for a signal) and in
// words.
func describe(st unix.WaitStatus) (code int, text string) {
	if st.Signaled() {
		text = "terminated by " + signalName(st.Signal())
		if st.CoreDump() {
			text += " (core dumped)"
		}
		return -1, text
	}
	return st.ExitStatus(), "exit status " + strconv.Itoa(st.ExitStatus())
}

// signalName names a signal as Supervisor's activity log does: SIGKILL,
// SIGRTMAX, signal 40.
func signalName(sig value.Signal) string {
	if sig == unix.SIGPOLL {
		return "SIGPOLL" // which is SIGIO
	}
	name := value.FormatSignal(sig)
	if name[0] >= '0' && name[0] <= '9' {
		return "signal " + name
	}
	return "SIG" + name
}

// Describe is how an end reads in the log: "exit status 3", "terminated by
// SIGKILL".
func Describe(st unix.WaitStatus) string {
	_, text := describe(st)
	return text
}
