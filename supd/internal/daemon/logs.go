package daemon

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/logwire"
	"sup/lib/process"
	"sup/lib/spawn"
	"sup/supd/internal/activity"
	"sup/supd/internal/crash"
	"sup/supd/internal/state"
)

// logPlane is the loop's side of the log process: which streams there are,
// what was asked and is not answered yet, and the process itself, which is
// started again when it dies. The pipes stay with us, so that nothing that was
// written gets lost with it.
type logPlane struct {
	d       *Daemon
	streams map[logwire.Stream]*stream
	lastID  logwire.Stream
	lastSeq uint32
	asked   map[uint32]question

	pid     int
	ticks   uint64 // when it was started, in the kernel\'s count
	conn    *logwire.Conn
	out     *queue[logwire.Message]
	sending *atomic.Int64 // messages in out, and the one that is being sent
	reading *wireReader   // of conn
	cancel  context.CancelFunc
	// coming is set while a connection is being made to a log process that is
	// about to be started.
	coming  bool
	greeted bool // it has answered Hello
	deaths  int  // in a row without a greeting, to pause after a few
	ending  bool
	// endings counts the streams that suplog has yet to let go of; allEnded is
	// called when there are none left, if it is set.
	endings  int
	allEnded func()
	// died is set from the end of the process to the end of its connection.
	died func()
	// foreign is set for a suplog that is not our child, but was that of a
	// daemon before.
	foreign bool
	// held are the deposits that it handed back, by the marks of the runs.
	held map[string]deposit
	gone chan struct{} // closed when the process ended after ending was set
}

// deposit is a descriptor that was left with suplog.
type deposit struct {
	pidfd int
	pid   int // 0 if it is not known
	name  string
}

// question is what waits for an answer of suplog. Its function is called once:
// with the answer, or with nil if there will be none.
type question struct {
	stream logwire.Stream
	answer func(*logwire.Message)
}

func newLogPlane(d *Daemon) *logPlane {
	return &logPlane{
		d: d, streams: map[logwire.Stream]*stream{}, asked: map[uint32]question{},
		out: newQueue[logwire.Message](), gone: make(chan struct{}),
	}
}

// restart starts the log process and hands it every stream there is. It does not
// wait: the socket lies in a directory, and that may be on a disk that hangs.
func (l *logPlane) restart() {
	l.coming = true
	made := make(chan wireEnds, 1)
	go func() { made <- l.socket() }()
	go func() {
		patience := time.NewTimer(socketPatience)
		defer patience.Stop()
		var ends wireEnds
		select {
		case ends = <-made:
		case <-patience.C:
			// A daemon after us has to start another one then.
			ends = nameless()
			go func() { (<-made).close() }()
		}
		l.d.post(func() { l.launch(ends) })
	}()
}

// socketPatience is how long the state directory has for a socket.
const socketPatience = time.Second

// wireEnds are a connection to a log process that is about to be started, and
// what that one is to be given as its control descriptor; or why there are none.
type wireEnds struct {
	conn *logwire.Conn
	peer *os.File
	err  error
}

func (e wireEnds) close() {
	if e.err == nil {
		e.conn.Close()
		e.peer.Close()
	}
}

// start is restart for the time before the loop runs, when there is nothing to
// be held up.
func (l *logPlane) start() { l.launch(l.socket()) }

// launch starts the log process with a connection that was made for it.
func (l *logPlane) launch(ends wireEnds) {
	l.coming = false
	conn, peer := ends.conn, ends.peer
	if ends.err != nil {
		l.failed(ends.err)
		return
	}
	l.d.startHelper(&helperJob{
		command: spawn.Command{
			Name: "suplog", Path: l.d.opts.Suplog, Argv: []string{"suplog", "--control", "3", "--serve", l.serves()},
			Env: os.Environ(), Umask: -1, UID: -1, Files: []int{0, 1, 2, int(peer.Fd())},
		},
		done: func(pid int, err error) {
			peer.Close()
			if err != nil {
				conn.Close()
				l.failed(err)
				return
			}
			l.pid = pid
			l.ticks, _, _ = state.Ticks(pid)
			l.d.dirty = true
		},
	})
	l.connect(conn)
	if l.ending {
		l.send(logwire.Message{Kind: logwire.Stop})
	}
}

// serves is what the command line of the log process says that it serves: the
// state directory, or the name that it would have.
func (l *logPlane) serves() string {
	if dir := l.d.opts.StateDir; dir != nil {
		return dir.Path()
	}
	return l.d.plan.Daemon.Pidfile + ".state"
}

func (l *logPlane) failed(err error) {
	l.d.log.Print(activity.Critical, "cannot start suplog: "+err.Error()+"; programs block once their pipes are full")
	l.d.after(time.Second, l.restart)
}

// socket makes the ends of a wire with a name: a socket in the state directory,
// that a daemon after us can connect to as well. Without a directory, or if the
// directory was removed, it has none.
func (l *logPlane) socket() (e wireEnds) {
	dir := l.d.opts.StateDir
	if dir == nil {
		return nameless()
	}
	listener, err := logwire.Listen(dir.Socket())
	if err == nil {
		if e.conn, err = logwire.Dial(dir.Socket()); err == nil {
			e.peer = listener.File()
			return e
		}
		listener.Close()
	}
	l.d.log.Print(activity.Warn, "suplog has no socket, a supd after this one starts another suplog: "+err.Error())
	return nameless()
}

// nameless makes the ends of a wire that nobody else can connect to.
func nameless() (e wireEnds) {
	e.conn, e.peer, e.err = logwire.Pair()
	return e
}

// connect begins to talk over conn, from the beginning.
func (l *logPlane) connect(conn *logwire.Conn) {
	l.attach(conn)
	l.send(logwire.Message{Kind: logwire.Hello, N: logwire.Version, PID: int64(os.Getpid())})
	for _, s := range l.streams {
		if s.state != streamUnopened {
			s.open()
		}
	}
	l.depositIdentity()
	l.d.redeposit()
}

// attach starts the goroutines of a connection.
func (l *logPlane) attach(conn *logwire.Conn) {
	ctx, cancel := context.WithCancel(context.Background())
	l.conn, l.cancel = conn, cancel
	l.out, l.sending = newQueue[logwire.Message](), new(atomic.Int64)
	l.reading = &wireReader{resume: make(chan struct{}, 1), waiting: make(chan struct{}, mostWaiting)}
	go writeWire(ctx, conn, l.out, l.sending, l)
	go readWire(conn, l.reading, l)
}

// writeWire sends what the loop has queued, and closes the descriptors that
// go with it. It alone waits for suplog.
func writeWire(ctx context.Context, conn *logwire.Conn, out *queue[logwire.Message], sending *atomic.Int64, l *logPlane) {
	gone := false
	for {
		messages, ok := out.take(ctx)
		if !ok {
			return
		}
		for i := range messages {
			m := &messages[i]
			handover := m.Kind == logwire.Open
			if handover {
				crash.Point(crash.BeforeHandover)
			}
			var err error
			if !gone {
				err = conn.Send(m)
			}
			closeAll(m.FDs)
			sending.Add(-1)
			if handover {
				crash.Point(crash.AfterHandover)
			}
			switch {
			case err == nil:
			case unsendable(err):
				l.d.post(func() { l.unsent(m, err) })
			default:
				gone = true // the reader notices
			}
		}
	}
}

// unsendable tells whether an error is about one message, not the connection.
func unsendable(err error) bool {
	for _, e := range []error{unix.EBADF, unix.ETOOMANYREFS, unix.EMSGSIZE, unix.ENOBUFS, unix.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// unsent answers a question that could not be asked.
func (l *logPlane) unsent(m *logwire.Message, err error) {
	failed := logwire.Message{Kind: logwire.Failed, Stream: m.Stream, Seq: m.Seq, Text: "cannot tell suplog: " + err.Error()}
	errors.As(err, &failed.Errno)
	l.heard(&failed)
}

// readWire posts what suplog says to the loop, and its silence for good.
func readWire(conn *logwire.Conn, r *wireReader, l *logPlane) {
	for {
		var m logwire.Message
		err := conn.Receive(&m)
		if errors.Is(err, logwire.ErrMalformed) || errors.Is(err, logwire.ErrNoDescriptors) {
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			l.d.post(func() { r.pausedNow() })
			<-r.resume
			continue
		}
		if err != nil {
			l.d.post(func() {
				if l.conn == conn && !errors.Is(err, io.EOF) {
					l.d.log.Print(activity.Error, "suplog: "+err.Error())
				}
				l.disconnected(conn)
			})
			return
		}
		m.Data = slices.Clone(m.Data)
		select {
		case r.waiting <- struct{}{}:
		case <-l.d.done:
			return
		}
		if !conn.More() {
			l.d.post(func() {
				<-r.waiting
				l.heard(&m)
			})
			continue
		}
		several := []logwire.Message{m}
		for conn.More() {
			var m logwire.Message
			if conn.Receive(&m) == nil {
				m.Data = slices.Clone(m.Data)
				several = append(several, m)
			}
		}
		l.d.post(func() {
			<-r.waiting
			for i := range several {
				l.heard(&several[i])
			}
		})
	}
}

// wireReader is the loop's hold on the goroutine that reads a connection.
type wireReader struct {
	paused func()        // called when it pauses, if set
	resume chan struct{} // lets it go on
	// waiting has an element for each piece that the loop has yet to deal with.
	// Programs can write more than it can, and others want its attention, too.
	waiting chan struct{}
}

// mostWaiting bounds them. What suplog says further waits in its pipes.
const mostWaiting = 16

func (r *wireReader) pausedNow() {
	if f := r.paused; f != nil {
		r.paused = nil
		f()
	}
}

// pause stops the reading of what suplog says, and calls done when all that was
// read has been dealt with.
func (l *logPlane) pause(done func()) {
	if l.conn == nil {
		done()
		return
	}
	l.reading.paused = done
	l.conn.SetReadDeadline(time.Unix(1, 0))
}

// unpause goes on with the reading.
func (l *logPlane) unpause() {
	if l.conn == nil {
		return
	}
	l.reading.paused = nil
	l.conn.SetReadDeadline(time.Time{})
	select {
	case l.reading.resume <- struct{}{}:
	default:
	}
}

// disconnected answers every question in the negative, so that nobody waits.
func (l *logPlane) disconnected(conn *logwire.Conn) {
	conn.Close()
	if l.conn != conn {
		return
	}
	l.conn = nil
	l.cancel()
	l.reading.pausedNow()
	asked := l.asked
	l.asked = map[uint32]question{}
	for _, q := range asked {
		q.answer(nil)
	}
	if l.foreign {
		// Not our child: this is how we hear of its end.
		l.foreign = false
		l.over("")
	}
	if l.died != nil {
		l.died()
	}
}

// ended is called when the log process was reaped. What it said last may still
// have to be read: with it come the descriptors that its successor needs to
// lose nothing, so the end of the connection is awaited.
func (l *logPlane) ended(status unix.WaitStatus) {
	l.pid = 0
	how := " (" + process.Describe(status) + ")"
	if l.conn == nil || l.ending {
		l.over(how)
		return
	}
	conn := l.conn
	late := l.d.after(time.Second, func() { l.disconnected(conn) })
	l.died = func() {
		l.died = nil
		l.d.timers.clear(late)
		l.over(how)
	}
}

// over starts the log process again, unless it was to end.
func (l *logPlane) over(how string) {
	l.pid = 0
	for _, s := range l.streams {
		s.outage = "" // the next one will tell
	}
	if l.ending {
		close(l.gone)
		return
	}
	l.d.log.Print(activity.Warn, "suplog ended"+how+"; starting it again, no output is lost")
	// One that is killed is started again at once, however often; one that
	// cannot even begin is not.
	const few = 5
	l.deaths++
	if l.greeted {
		l.deaths = 0
	}
	l.greeted = false
	if l.deaths >= few {
		l.d.log.Print(activity.Error, "suplog ended 5 times before it was ready; waiting 1 second before the next start")
		l.d.after(time.Second, l.restart)
		return
	}
	l.restart()
}

// stop lets the log process write out what is left and end, as the last thing
// the loop does; from then on it waits itself.
func (l *logPlane) stop() {
	if l.conn == nil && !l.coming {
		return
	}
	// It may be that it has only just been asked for, and has no pid yet.
	l.ending = true
	l.send(logwire.Message{Kind: logwire.Stop})
	patience := time.NewTimer(5 * time.Second)
	defer patience.Stop()
	for {
		select {
		case f := <-l.d.mail:
			f()
			for len(l.d.pending) > 0 {
				f := l.d.pending[0]
				l.d.pending = l.d.pending[1:]
				f()
			}
			if l.conn == nil && l.pid == 0 && !l.coming {
				return // it could not be started
			}
		case <-l.d.opts.Signals:
			l.d.reap()
		case <-l.gone:
			return
		case <-patience.C:
			l.d.log.Print(activity.Error, "suplog does not end; what is left in its pipes is lost")
			if l.pid > 0 {
				_ = spawn.Kill(l.pid, unix.SIGKILL, false)
			}
			return
		}
	}
}

func (l *logPlane) send(m logwire.Message) {
	if l.conn != nil {
		l.sending.Add(1)
		l.out.put(m)
	}
}

// ask sends a question about a stream. The answer comes in a later turn,
// unless there is nobody to ask.
func (l *logPlane) ask(m logwire.Message, answer func(*logwire.Message)) {
	if l.conn == nil {
		answer(nil)
		return
	}
	l.lastSeq++
	m.Seq = l.lastSeq
	l.asked[m.Seq] = question{m.Stream, answer}
	l.send(m)
}

// end has suplog log what is left of a stream and forget it.
func (l *logPlane) end(id logwire.Stream) {
	l.endings++
	l.ask(logwire.Message{Kind: logwire.Close, Stream: id}, func(*logwire.Message) {
		if l.endings--; l.endings == 0 && l.allEnded != nil {
			l.allEnded()
		}
	})
}

// whenEnded calls done when suplog has let go of every stream that was to end,
// or when patience ends.
func (l *logPlane) whenEnded(patience time.Duration, done func()) {
	if l.endings == 0 {
		done()
		return
	}
	t := l.d.after(patience, func() { l.allEnded() })
	l.allEnded = func() {
		l.allEnded = nil
		l.d.timers.clear(t)
		done()
	}
}

// heard handles one message of suplog.
func (l *logPlane) heard(m *logwire.Message) {
	switch m.Kind {
	case logwire.Opened, logwire.Failed, logwire.Drained, logwire.Cleared, logwire.Reopened, logwire.Closed:
		q, ok := l.asked[m.Seq]
		delete(l.asked, m.Seq)
		if ok {
			q.answer(m)
		}
		return
	case logwire.Hello:
		l.greeted = true
		return
	}
	s := l.streams[m.Stream]
	if s == nil {
		closeAll(m.FDs)
		return
	}
	switch m.Kind {
	case logwire.Keep:
		closeAll(s.kept)
		s.kept = m.FDs
		if s.pipe >= 0 {
			l.d.holding.holdStream(s)
		}
		return
	case logwire.Data, logwire.Comm:
		l.d.events.heard(s, m)
	case logwire.Error:
		s.trouble(m)
	}
	closeAll(m.FDs)
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
