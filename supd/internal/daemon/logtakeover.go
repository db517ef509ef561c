package daemon

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/logwire"
	"sup/lib/spawn"
	"sup/supd/internal/activity"
	"sup/supd/internal/state"
)

// handshakePatience is how long the suplog of a daemon before has to answer.
const handshakePatience = 2 * time.Second

// served is what the suplog of a daemon before hands over.
type served struct {
	pid     int
	streams []*logwire.Message
	held    []*logwire.Message
	later   []*logwire.Message // what came in between
	err     error
}

// begin makes sure that there is a log process. A daemon before may have died
// before it wrote a state, and left one.
func (l *logPlane) begin() {
	if l.d.opts.StateDir == nil {
		l.start()
		return
	}
	l.takeOver(0, 0)
}

// takeOver goes on with the log process of a daemon before, if it lives, and
// starts one otherwise. It is called before the loop runs, and may wait. pid
// and ticks are those of the log process, 0 if they are not known.
func (l *logPlane) takeOver(pid int, ticks uint64) {
	l.held = map[string]deposit{}
	conn, err := l.oldConn()
	if err != nil {
		l.endUnreachable()
		l.start()
		return
	}
	answers := make(chan served, 1)
	go func() { answers <- handshake(conn) }()
	var s served
	select {
	case s = <-answers:
	case <-time.After(handshakePatience):
		s.err = errors.New("it does not answer")
	}
	if s.err != nil {
		// One that hangs must not write to the logs beside a new one. What it
		// has not written yet is in pipes that the programs hold open.
		l.d.log.Print(activity.Warn, fmt.Sprintf("cannot go on with the suplog of the daemon before: %v; starting another one", s.err))
		if pidfd, err := state.Verify(pid, ticks); err == nil {
			_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
			unix.Close(pidfd)
		}
		conn.Close()
		l.start()
		return
	}
	if ticks == 0 {
		ticks, _, _ = state.Ticks(s.pid)
	}
	l.greeted, l.pid, l.ticks = true, s.pid, ticks
	l.foreign = !isOurChild(s.pid)
	l.attach(conn)
	for _, m := range s.held {
		if len(m.FDs) > 0 {
			mark, pid := parseDeposit(m.Text)
			l.held[mark] = deposit{m.FDs[0], pid, m.Text}
			closeAll(m.FDs[1:])
		}
	}
	for _, m := range s.streams {
		l.reclaim(m)
	}
	for _, m := range s.later {
		l.d.soon(func() { l.heard(m) })
	}
}

// endUnreachable ends a log process that serves our state directory and has no
// socket in it any more, since the directory was removed or emptied. It must not
// write to the logs beside a new one; what it has not written yet is in pipes
// that the programs hold open.
func (l *logPlane) endUnreachable() {
	dir := l.d.opts.StateDir
	if dir == nil || !dir.Abandoned() {
		return
	}
	for _, pid := range state.Loggers(dir.Path()) {
		l.d.log.Print(activity.Warn, fmt.Sprintf("the suplog of the daemon before (pid %d) cannot be reached; starting another one", pid))
		_ = spawn.Kill(pid, unix.SIGKILL, false)
	}
}

// oldConn is a connection to the suplog of a daemon before: the very one that it
// had, if it was the image before us, with all that waits in it, or a new one.
func (l *logPlane) oldConn() (*logwire.Conn, error) {
	if fd := l.d.opts.SuplogConn; fd > 0 {
		return logwire.NewConn(fd)
	}
	if l.d.opts.StateDir == nil {
		return nil, errors.New("there is no state directory")
	}
	return logwire.Dial(l.d.opts.StateDir.Socket())
}

// reclaim gives a stream back to the process entry that it belongs to.
func (l *logPlane) reclaim(m *logwire.Message) {
	l.lastID = max(l.lastID, m.Stream)
	for id, s := range l.streams {
		if s.settings.Name != m.Settings.Name || s.state != streamUnopened || len(m.FDs) == 0 {
			continue
		}
		delete(l.streams, id)
		s.id, s.state = m.Stream, streamOpen
		s.pipe, s.kept = m.FDs[0], m.FDs[1:]
		if s.auto() {
			s.settings.Path = m.Settings.Path
		}
		l.streams[s.id] = s
		return
	}
	closeAll(m.FDs)
	l.ask(logwire.Message{Kind: logwire.Close, Stream: m.Stream}, func(*logwire.Message) {})
}

// settleDeposits gives up what suplog has of processes that are gone, and closes
// what it has handed back.
func (l *logPlane) settleDeposits() {
	needed := map[string]bool{}
	for _, p := range l.d.listing {
		if p.m.PID != 0 {
			needed[p.mark] = true
		}
	}
	for mark, h := range l.held {
		unix.Close(h.pidfd)
		if !needed[mark] {
			l.d.withdraw(h.name)
		}
	}
	l.held = nil
}

// heldRuns are the runs that suplog knows of, by the name of the process, the
// latest of each. Whether they go on is not told.
func (l *logPlane) heldRuns() map[string]state.Living {
	found := map[string]state.Living{}
	for mark, h := range l.held {
		name, run, ok := state.ParseMark(mark)
		if ok && h.pid != 0 && run > found[name].Run {
			found[name] = state.Living{Mark: mark, Run: run, PID: h.pid}
		}
	}
	return found
}

// handshake asks suplog what it serves.
func handshake(conn *logwire.Conn) served {
	var s served
	hello := logwire.Message{Kind: logwire.Hello, N: logwire.Version, PID: int32(os.Getpid())}
	if s.err = conn.Send(&hello); s.err != nil {
		return s
	}
	greeted, streams, held := false, 0, 0
	for !greeted || len(s.streams) < streams || len(s.held) < held {
		m := new(logwire.Message)
		if s.err = conn.Receive(m); s.err != nil {
			return s
		}
		m.Data = slices.Clone(m.Data)
		switch m.Kind {
		case logwire.Hello:
			greeted, streams, held, s.pid = true, int(m.Count), int(m.Held), int(m.PID)
		case logwire.Serving:
			s.streams = append(s.streams, m)
		case logwire.Held:
			s.held = append(s.held, m)
		default:
			s.later = append(s.later, m)
		}
	}
	return s
}
