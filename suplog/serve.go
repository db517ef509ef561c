package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/logwire"
	"sup/lib/value"
)

const (
	// goodbye is how long the last messages may take to reach supd.
	goodbye = time.Second
	// loneliness is how often a server that has lost supd looks whether it
	// is still of use.
	loneliness = 30 * time.Second
	// maxOpening is how many logs are opened at a time, each of which may take
	// a thread, and openPatience how long the next one waits for its turn: the
	// others may lie on a disk that hangs.
	maxOpening   = 8
	openPatience = 200 * time.Millisecond
	// stopPatience is how long an outage may last once suplog is to end.
	stopPatience = time.Second
)

// server writes the logs of all programs of one supd. The goroutine of run, the
// coordinator, owns the map of streams and the connection; every other
// goroutine tells it what has happened by a function to call.
//
// The coordinator never waits: not for a disk, since each stream has a
// goroutine, nor for supd, since an outbox does the sending.
type server struct {
	// opening holds one token for each log that is being opened.
	opening chan struct{}
	mail    chan func()
	poller  *poller
	// out is where messages to supd go; nil while there is none. It is
	// changed by the coordinator and read by all.
	out atomic.Pointer[outbox]

	// The rest belongs to the coordinator.

	conn    *logwire.Conn
	waiting []*logwire.Conn // connections for when this one has come to its end
	streams map[logwire.Stream]*stream
	running int // channels, including those that are not in streams any more
	sinks   map[string]*sink
	held    map[string][]int
	// paired is set for a connection that has no name: when it breaks, supd
	// cannot come back. Then orphaned is set, and the streams are written to
	// their ends. stopping is set by Stop.
	paired, orphaned, stopping bool
}

// stream is what the coordinator knows of a stream.
type stream struct {
	id       logwire.Stream
	channel  *channel
	settings logwire.Settings
	sinks    []*sink
	pid      int64
	kept     []int // as in the last Keep; duplicates that belong to us
	closeSeq uint32
	closing  bool
}

// serve talks to supd over the descriptor fd: a socket to wait for connections
// on, or one that is connected.
func serve(fd int) error {
	// Whoever stops supd, or its terminal, must not stop us: programs may
	// have a last word. Supd says Stop. Without supd, SIGTERM says it.
	// These are not ignored, since the loggers would ignore them, too.
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGQUIT, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE)
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, unix.SIGTERM)
	p, err := newPoller()
	if err != nil {
		return fmt.Errorf("cannot watch pipes: %w", err)
	}
	s := &server{
		mail: make(chan func(), 64), poller: p, opening: make(chan struct{}, maxOpening),
		streams: map[logwire.Stream]*stream{}, sinks: map[string]*sink{}, held: map[string][]int{},
	}
	p.start(s.flush)
	if !logwire.IsListening(fd) {
		conn, err := logwire.NewConn(fd)
		if err != nil {
			return fmt.Errorf("cannot use descriptor %d: %w", fd, err)
		}
		s.paired = true
		s.connect(conn)
		go s.obey(terms)
		return s.run()
	}
	listener, err := logwire.NewListener(fd)
	if err != nil {
		return fmt.Errorf("cannot use descriptor %d: %w", fd, err)
	}
	go s.accept(listener)
	go s.obey(terms)
	return s.run()
}

// obey hands each SIGTERM to the coordinator.
func (s *server) obey(terms <-chan os.Signal) {
	for range terms {
		s.mail <- s.leave
	}
}

// leave ends a suplog that has lost supd, as soon as nothing is lost by it:
// what it has not taken stays in the pipes, as long as the programs run. While
// there is a supd it says when to stop.
func (s *server) leave() {
	if s.conn != nil {
		return
	}
	s.stopping = true
	for _, st := range s.streams {
		c := st.channel
		c.post(func() { c.leaving, c.patience = true, stopPatience })
	}
}

// accept hands each connection to the coordinator.
func (s *server) accept(l *logwire.Listener) {
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			s.mail <- func() { s.connect(conn) }
		case errors.Is(err, os.ErrClosed):
			return
		default:
			time.Sleep(time.Second) // no descriptors left, probably
		}
	}
}

// run is the coordinator.
func (s *server) run() error {
	var lonely <-chan time.Time
	tick := time.NewTicker(loneliness)
	tick.Stop()
	defer tick.Stop()
	useless := false
	for {
		if (s.stopping || s.orphaned) && s.running == 0 {
			loggers.finish(stopPatience)
			if out := s.out.Load(); out != nil {
				out.close(goodbye)
			}
			return nil
		}
		if alone := !s.paired && s.conn == nil; !alone {
			tick.Stop()
			lonely, useless = nil, false
		} else if lonely == nil {
			tick.Reset(loneliness)
			lonely = tick.C
		}
		select {
		case f := <-s.mail:
			f()
		case <-lonely:
			// With nothing left to write and nothing to hand back, the next
			// supd does as well with a new suplog.
			if useless && s.useless() {
				return nil
			}
			useless = s.useless()
		}
	}
}

// useless tells whether every stream has come to its end.
func (s *server) useless() bool {
	for name := range s.held {
		if name != logwire.IdentityDeposit {
			return false
		}
	}
	for _, st := range s.streams {
		if !st.channel.atEnd.Load() {
			return false
		}
	}
	return true
}

// connect takes up a connection, in place of the one that was there. What a supd
// has sent before it died is dealt with first: it may be the pipe of a program that
// has ended meanwhile, and nobody else has that.
func (s *server) connect(conn *logwire.Conn) {
	if s.conn != nil {
		s.waiting = append(s.waiting, conn)
		s.expectFarewell()
		return
	}
	s.takeUp(conn)
}

// expectFarewell ends the present connection in a while, since another one waits.
func (s *server) expectFarewell() {
	old := s.conn
	time.AfterFunc(farewell, func() { s.mail <- func() { s.disconnect(old) } })
}

// farewell is how long the end of a connection is waited for when there is another
// one. It is short against the patience of a supd for an answer.
const farewell = time.Second

func (s *server) takeUp(conn *logwire.Conn) {
	s.conn = conn
	s.out.Store(newOutbox(conn))
	go s.receive(conn)
}

// receive hands each message to the coordinator.
func (s *server) receive(conn *logwire.Conn) {
	for {
		var m logwire.Message
		err := conn.Receive(&m)
		if errors.Is(err, logwire.ErrMalformed) {
			continue
		}
		if errors.Is(err, logwire.ErrNoDescriptors) {
			if m.Kind == logwire.Open {
				s.mail <- func() { s.refuse(&m, "too many open files", unix.EMFILE) }
			}
			continue
		}
		if err != nil {
			s.mail <- func() { s.disconnect(conn) }
			return
		}
		m.Data = nil
		s.mail <- func() {
			if s.conn == conn {
				s.handle(&m)
			} else {
				logwire.CloseFDs(m.FDs)
			}
		}
	}
}

// disconnect gives a connection up. Streams go on being written.
func (s *server) disconnect(conn *logwire.Conn) {
	if s.conn != conn {
		return
	}
	s.conn = nil
	s.out.Swap(nil).close(0)
	if s.paired {
		s.orphaned = true
		for _, st := range s.streams {
			c := st.channel
			c.post(func() { c.endless = false })
		}
	}
	if len(s.waiting) > 0 {
		next := s.waiting[0]
		s.waiting = s.waiting[1:]
		s.takeUp(next)
		if len(s.waiting) > 0 {
			s.expectFarewell()
		}
	}
}

// handle does what supd asks for.
func (s *server) handle(m *logwire.Message) {
	switch m.Kind {
	case logwire.Hello:
		if out := s.out.Load(); out != nil {
			out.shares.Store(m.N >= logwire.SharesDatagrams)
		}
		s.hello()
		return
	case logwire.Open:
		s.open(m)
		return
	case logwire.Hold:
		s.hold(m)
		return
	}
	logwire.CloseFDs(m.FDs)
	if m.Kind == logwire.Stop {
		s.stop()
		return
	}
	st := s.streams[m.Stream]
	if st == nil {
		switch m.Kind {
		case logwire.Set, logwire.Reopen, logwire.Clear, logwire.Drain, logwire.Close:
			s.refuse(m, "no such stream", unix.ENOENT)
		}
		return
	}
	s.handleStream(st, m)
}

// handleStream does what supd asks for of one stream. What has to do with its
// file or its pipe is done by its own goroutine.
func (s *server) handleStream(st *stream, m *logwire.Message) {
	c, seq := st.channel, m.Seq
	switch m.Kind {
	case logwire.Run:
		st.pid = m.PID
		pid := m.PID
		c.post(func() { c.startRun(pid) })
	case logwire.Set:
		s.set(st, m.Settings, seq)
	case logwire.Reopen:
		c.post(func() {
			s.answer(c, seq, logwire.Reopened, s.inTurn(func() error { return c.eachSink((*sink).reopen) }))
		})
	case logwire.Clear:
		c.post(func() { s.answer(c, seq, logwire.Cleared, c.eachSink((*sink).clear)) })
	case logwire.Drain:
		c.post(func() { c.drainTo(func() { s.answer(c, seq, logwire.Drained, nil) }) })
	case logwire.Close:
		st.closeSeq = seq
		s.close(st)
	}
}

// answer answers a question about a stream.
func (s *server) answer(c *channel, seq uint32, kind logwire.Kind, err error) {
	m := logwire.Message{Kind: kind, Stream: c.id, Seq: seq}
	if err != nil {
		m.Kind, m.Text, m.Errno = logwire.Failed, err.Error(), errno(err)
	}
	s.send(m)
}

// refuse answers a question that cannot be dealt with at all.
func (s *server) refuse(m *logwire.Message, text string, why unix.Errno) {
	s.send(logwire.Message{Kind: logwire.Failed, Stream: m.Stream, Seq: m.Seq, Text: text, Errno: why})
}

// send sends m to supd, if there is one.
func (s *server) send(m logwire.Message) {
	if out := s.out.Load(); out != nil {
		out.put(m)
	}
}

// hello tells a new supd what there is.
func (s *server) hello() {
	s.send(logwire.Message{
		Kind: logwire.Hello, N: logwire.Version, PID: int64(os.Getpid()),
		Count: uint32(len(s.streams)), Held: uint32(len(s.held)),
	})
	for id, st := range s.streams {
		s.send(logwire.Message{
			Kind: logwire.Serving, Stream: id, PID: st.pid, Settings: st.settings,
			FDs: append(duplicates([]int{st.channel.pipe}), duplicates(st.kept)...),
		})
	}
	for name, fds := range s.held {
		s.send(logwire.Message{Kind: logwire.Held, Text: name, FDs: duplicates(fds)})
	}
}

// hold takes descriptors into custody, or gives them up.
func (s *server) hold(m *logwire.Message) {
	logwire.CloseFDs(s.held[m.Text])
	delete(s.held, m.Text)
	if len(m.FDs) > 0 {
		s.held[m.Text] = m.FDs
	}
}

// open takes up a stream.
func (s *server) open(m *logwire.Message) {
	if len(m.FDs) == 0 {
		s.refuse(m, "no descriptor came with the stream", unix.EBADF)
		return
	}
	pipe, kept := m.FDs[0], m.FDs[1:]
	if st := s.streams[m.Stream]; st != nil {
		if samePipe(st.channel.pipe, pipe) {
			logwire.CloseFDs(m.FDs)
			s.handleStream(st, &logwire.Message{Kind: logwire.Run, PID: m.PID})
			s.set(st, m.Settings, m.Seq)
			return
		}
		s.close(st)
		delete(s.streams, st.id)
	}
	st := &stream{id: m.Stream, settings: m.Settings, pid: m.PID, kept: duplicates(kept)}
	c := &channel{id: m.Stream, pipe: pipe, host: s, endless: !s.orphaned, pid: m.PID}
	s.poller.watch(c, func() {
		c.staging.close()
		unix.Close(c.pipe)
		s.mail <- func() { s.ended(st) }
	})
	st.channel = c
	st.sinks = s.acquireSinks(st)
	s.streams[st.id] = st
	s.running++
	sinks, settings, seq := st.sinks, m.Settings, m.Seq
	c.post(func() {
		c.configure(settings, sinks)
		if len(kept) > 0 {
			c.adopt(kept)
		}
		s.answer(c, seq, logwire.Opened, s.inTurn(c.tryOpen))
	})
}

// set changes the settings of a stream.
func (s *server) set(st *stream, settings logwire.Settings, seq uint32) {
	old := st.sinks
	st.settings = settings
	st.sinks = s.acquireSinks(st)
	sinks, c := st.sinks, st.channel
	c.post(func() {
		c.configure(settings, sinks)
		s.answer(c, seq, logwire.Opened, s.inTurn(c.tryOpen))
		s.mail <- func() { s.releaseSinks(old, st.id) }
	})
}

// acquireSinks gives the sinks that the settings of a stream name, each once,
// at least one. How they are rotated is what the last of the streams said whose
// settings were applied.
func (s *server) acquireSinks(st *stream) []*sink {
	var sinks []*sink
	for _, path := range logPaths(&st.settings) {
		key := path
		if path[0] == '|' {
			// Each stream has a process of its own.
			key += "\x00" + strconv.Itoa(int(st.id))
		}
		k := s.sinks[key]
		if k == nil {
			k = &sink{key: key, path: path}
			if path[0] == '|' {
				k.logger = &logger{command: path[1:], channel: st.channel, r: -1, w: -1, pidfd: -1}
			}
			s.sinks[key] = k
		}
		if slices.Contains(sinks, k) {
			continue
		}
		if k.join(st.id) {
			// Each program whose output goes there has a line of its own.
			k.report = func(cond logwire.Condition, err error) {
				for _, id := range k.streams() {
					s.send(logwire.Message{Kind: logwire.Error, Stream: id, Condition: cond, Text: err.Error(), Errno: errno(err)})
				}
			}
		}
		sinks = append(sinks, k)
	}
	return sinks
}

// logPaths are the logs that settings name: paths, and commands after a "|".
func logPaths(s *logwire.Settings) []string {
	var paths []string
	if s.Path != "" {
		paths = append(paths, filepath.Clean(s.Path))
	}
	for more := range strings.SplitSeq(strings.TrimSuffix(s.More, "\x00"), "\x00") {
		switch {
		case more == "":
		case more[0] == '|':
			paths = append(paths, more)
		default:
			paths = append(paths, filepath.Clean(more))
		}
	}
	if len(paths) == 0 {
		paths = []string{"/dev/null"}
	}
	return paths
}

// releaseSinks is called by the coordinator when a channel writes to sinks no
// more.
func (s *server) releaseSinks(sinks []*sink, id logwire.Stream) {
	for _, k := range sinks {
		if k.leave(id) {
			delete(s.sinks, k.key)
			go k.close() // which may wait for a disk
		}
	}
}

// close ends a stream once its pipe is empty.
func (s *server) close(st *stream) {
	st.closing = true
	c := st.channel
	c.post(c.close)
}

// ended is called when a channel has come to its end.
func (s *server) ended(st *stream) {
	s.running--
	st.channel.handleRequests() // that came too late
	st.channel.answerDrains(true)
	st.channel.tellSkipped(time.Time{})
	if len(st.kept) > 0 {
		// The ends of pipes that loggers read from are among them.
		s.send(logwire.Message{Kind: logwire.Keep, Stream: st.id})
	}
	s.releaseSinks(st.sinks, st.id)
	logwire.CloseFDs(st.kept)
	if s.streams[st.id] == st {
		delete(s.streams, st.id)
	}
	if st.closing && st.closeSeq != 0 {
		s.send(logwire.Message{Kind: logwire.Closed, Stream: st.id, Seq: st.closeSeq})
	}
}

// stop writes out what there is and ends.
func (s *server) stop() {
	s.stopping = true
	for _, st := range s.streams {
		c := st.channel
		c.post(func() { c.patience = stopPatience })
		s.close(st)
	}
}

// inTurn opens a log, when not too many others are being opened.
func (s *server) inTurn(open func() error) error {
	select {
	case s.opening <- struct{}{}:
		defer func() { <-s.opening }()
	default:
		patience := time.NewTimer(openPatience)
		defer patience.Stop()
		select {
		case s.opening <- struct{}{}:
			defer func() { <-s.opening }()
		case <-patience.C:
		}
	}
	return open()
}

// samePipe tells whether two descriptors are of one pipe.
func samePipe(a, b int) bool {
	var sa, sb unix.Stat_t
	return unix.Fstat(a, &sa) == nil && unix.Fstat(b, &sb) == nil && sa.Dev == sb.Dev && sa.Ino == sb.Ino
}

// duplicates gives descriptors of our own. One that cannot be duplicated is
// left out.
func duplicates(fds []int) []int {
	var dup []int
	for _, fd := range fds {
		if n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3); err == nil {
			dup = append(dup, n)
		}
	}
	return dup
}

// The server is the host of its channels.

func (s *server) output(c *channel, p []byte) {
	if out := s.out.Load(); out != nil {
		out.putOutput(logwire.Data, c, p, c.later)
	}
}

func (s *server) section(c *channel, p []byte) {
	if out := s.out.Load(); out != nil {
		out.putOutput(logwire.Comm, c, p, c.later)
	}
}

// flush sends what channels have told with later set.
func (s *server) flush() {
	if out := s.out.Load(); out != nil {
		out.flush()
	}
}

func (s *server) dropped(c *channel, n uint64, err error) {
	if s.out.Load() == nil {
		fmt.Fprintf(os.Stderr, "suplog: %s: dropped %d bytes (%s)\n", value.Printable(c.settings.Name), n, errnoName(err))
		return
	}
	s.send(logwire.Message{Kind: logwire.Error, Stream: c.id, Condition: logwire.Dropped, N: n, Errno: errno(err)})
}

func (s *server) keep(c *channel, fds []int) bool {
	out := s.out.Load()
	if out == nil || !out.putSync(logwire.Message{Kind: logwire.Keep, Stream: c.id, FDs: duplicates(fds)}) {
		return false
	}
	ours := duplicates(fds)
	s.mail <- func() {
		if st := s.streams[c.id]; st != nil && st.channel == c {
			logwire.CloseFDs(st.kept)
			st.kept = ours
		} else {
			logwire.CloseFDs(ours)
		}
	}
	return true
}
