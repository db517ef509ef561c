package daemon

import (
	"errors"
	"fmt"
	"maps"
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

// begin makes sure that there is a log process, where nothing is taken over. One
// that an earlier daemon may have left is told to end.
func (l *logPlane) begin() {
	if old := l.find(0, 0); old != nil {
		_ = old.conn.Send(&logwire.Message{Kind: logwire.Stop})
		old.discard()
	}
	l.start()
}

// predecessor is the log process of a daemon before, which has answered us.
type predecessor struct {
	conn  *logwire.Conn
	ticks uint64 // when it was started
	served
}

// discard closes all that it has handed over.
func (o *predecessor) discard() {
	for _, m := range slices.Concat(o.streams, o.held, o.later) {
		closeAll(m.FDs)
	}
	o.conn.Close()
}

// find finds the log process of a daemon before; nil if there is none that can be
// used. It is called before the loop runs, and may wait. pid and ticks are those of
// the log process, 0 if they are not known.
func (l *logPlane) find(pid int, ticks uint64) *predecessor {
	conn, err := l.oldConn()
	if err != nil {
		l.endUnreachable()
		return nil
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
		// has not written yet is in pipes that suphold has open.
		l.d.log.Print(activity.Warn, fmt.Sprintf("cannot go on with the suplog of the daemon before: %v; starting another one", s.err))
		if h, _, err := state.Hold(pid, ticks); err == nil {
			_ = h.Signal(unix.SIGKILL, false)
			h.Close()
		}
		conn.Close()
		return nil
	}
	old := &predecessor{conn: conn, ticks: ticks, served: s}
	if l.d.opts.SuplogConn <= 0 && !old.genuine() {
		l.d.log.Print(activity.Warn, "what answers in the state directory is no suplog of ours, a container's perhaps; starting another one")
		old.discard()
		return nil
	}
	if ticks == 0 {
		old.ticks, _, _ = state.Ticks(s.pid)
	}
	return old
}

// genuine reports whether it is a log process of our user and of our PID namespace:
// a state directory may be shared.
func (o *predecessor) genuine() bool {
	uid, err := o.conn.PeerUID()
	return err == nil && uid == os.Geteuid() && state.IsHelper("suplog", o.pid)
}

// goOn goes on with the log process of a daemon before, when the process entries
// are there that its streams belong to: those that kept says. With nil it starts
// one.
func (l *logPlane) goOn(old *predecessor, kept func(*proc) bool) {
	l.held = map[string]deposit{}
	if old == nil {
		l.start()
		return
	}
	l.greeted, l.pid, l.ticks = true, old.pid, old.ticks
	l.foreign = !spawn.IsChild(old.pid)
	l.attach(old.conn)
	l.depositIdentity()
	for _, m := range old.held {
		switch {
		case m.Text == logwire.IdentityDeposit:
			closeAll(m.FDs)
		case len(m.FDs) > 0:
			mark, pid := parseDeposit(m.Text)
			l.held[mark] = deposit{m.FDs[0], pid, m.Text}
			closeAll(m.FDs[1:])
		}
	}
	l.reclaimAll(old.streams, kept)
	for _, m := range old.later {
		l.d.soon(func() { l.heard(m) })
	}
}

// endUnreachable ends a log process that serves our state directory and has no
// socket in it any more, since the directory was removed or emptied. It must not
// write to the logs beside a new one; what it has not written yet is in pipes
// that suphold has open.
func (l *logPlane) endUnreachable() {
	dir := l.d.opts.StateDir
	if dir == nil || !dir.Abandoned() {
		return
	}
	for _, r := range state.Loggers(dir.Path()) {
		l.d.log.Print(activity.Warn, fmt.Sprintf("the suplog of the daemon before (pid %d) cannot be reached; starting another one", r.PID))
		_ = r.Kill()
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

// reclaimAll gives streams back to the process entries that they belong to, if kept
// says so.
func (l *logPlane) reclaimAll(theirs []*logwire.Message, kept func(*proc) bool) {
	// The numbers are suplog's; none of ours may be among them.
	for _, m := range theirs {
		l.lastID = max(l.lastID, m.Stream)
	}
	ours := map[string]*stream{}
	for _, s := range l.renumbered() {
		if kept(s.p) {
			ours[s.settings.Name] = s
		}
	}
	for _, m := range theirs {
		l.reclaim(m, ours[m.Settings.Name])
	}
}

// renumbered gives every stream another number, and gives them all.
func (l *logPlane) renumbered() map[logwire.Stream]*stream {
	streams := map[logwire.Stream]*stream{}
	for _, s := range l.streams {
		l.lastID++
		s.id = l.lastID
		streams[s.id] = s
	}
	l.streams = streams
	return maps.Clone(streams)
}

// reclaim gives a stream back to the process entry that it belongs to; s is nil if
// there is none any more.
func (l *logPlane) reclaim(m *logwire.Message, s *stream) {
	if s == nil || s.state != streamUnopened || len(m.FDs) == 0 {
		closeAll(m.FDs)
		l.ask(logwire.Message{Kind: logwire.Close, Stream: m.Stream}, func(*logwire.Message) {})
		return
	}
	delete(l.streams, s.id)
	s.id, s.state = m.Stream, streamOpen
	s.pipe, s.kept = m.FDs[0], m.FDs[1:]
	if s.auto() {
		s.settings.Path = m.Settings.Path
	}
	l.streams[s.id] = s
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
		m := state.ParseMark(mark)
		if h.pid != 0 && m.Run > found[m.Process].Run {
			found[m.Process] = state.Living{Mark: mark, Run: m.Run, PID: h.pid}
		}
	}
	return found
}

// handshake asks suplog what it serves.
func handshake(conn *logwire.Conn) served {
	var s served
	hello := logwire.Message{Kind: logwire.Hello, N: logwire.Version, PID: int64(os.Getpid())}
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
