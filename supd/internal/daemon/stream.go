package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/logwire"
	"sup/lib/plan"
	"sup/lib/safepath"
	"sup/supd/internal/activity"
	"sup/supd/internal/state"
)

type streamState uint8

const (
	streamUnopened streamState = iota // suplog does not know it
	streamAsked                       // no answer yet
	streamOpen
	streamFailed // its log cannot be opened
)

// stream is what comes out of one pipe of a process entry, for as long as the
// entry is there. We keep the read end, never reading it, and give suplog a
// duplicate, and suphold another; each run of the program gets a freshly opened
// write end.
type stream struct {
	p        *proc
	id       logwire.Stream
	channel  string // "stdout" or "stderr"
	settings logwire.Settings
	state    streamState
	failure  *logwire.Message
	pipe     int   // read end, -1 before it is needed
	kept     []int // what suplog wants kept with the stream
	looks    int   // how often somebody else still had the pipe, see rest
	renamed  int   // how many names in a row did not do, of a log that has a name of our choice

	// outage says why the log cannot be written at present, "" if it can.
	outage string
	// dropped counts the bytes that were given up because it could not.
	dropped uint64

	// eventsEnabled tells whether output makes events; settings.Events is also
	// set for the sake of the activity log.
	eventsEnabled bool

	// parts and captured collect the parts of an event that was too long for
	// one message.
	parts, captured []byte
}

// makeStreams makes the streams of a process. Nothing is opened yet. With a
// saved state, names of our choice stay what they were.
func (p *proc) makeStreams(saved *state.Process) {
	p.out = p.d.newStream(p, "stdout", &p.cfg.Stdout)
	if !p.cfg.RedirectStderr {
		p.err = p.d.newStream(p, "stderr", &p.cfg.Stderr)
	}
	if saved == nil {
		return
	}
	for _, s := range p.streams() {
		name := saved.Stdout
		if s.channel == "stderr" {
			name = saved.Stderr
		}
		if s.auto() && name != "" {
			s.settings.Path = name
		}
	}
}

// createAutoLogs has the logs with a name of our choice created, where the
// program does not start by itself: clients are told their names, and find
// them empty. Named logs are created when the program starts.
func (p *proc) createAutoLogs() {
	for _, s := range p.streams() {
		if s.state == streamUnopened && s.settings.Path != "" && s.auto() {
			p.d.creates.put(s.settings.Path)
		}
	}
}

// runCreator creates logs until ctx is done. They may be on a disk that hangs.
func runCreator(ctx context.Context, d *Daemon) {
	for {
		paths, ok := d.creates.take(ctx)
		if !ok {
			return
		}
		for _, path := range paths {
			createLog(path)
		}
	}
}

// createLog creates an empty log. What keeps it from being done is told when
// the program starts.
func createLog(path string) {
	fd, err := safepath.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err == nil {
		unix.Close(fd)
	}
}

func (p *proc) closeStreams() {
	for _, s := range p.streams() {
		s.close()
	}
	p.stdin.close()
}

func (p *proc) streams() []*stream {
	switch {
	case p.out == nil:
		return nil
	case p.err == nil:
		return []*stream{p.out}
	}
	return []*stream{p.out, p.err}
}

func (d *Daemon) newStream(p *proc, channel string, cfg *plan.Stream) *stream {
	l := d.logs
	l.lastID++
	s := &stream{p: p, id: l.lastID, channel: channel, pipe: -1}
	s.settings = logwire.Settings{
		Name: p.fullName() + " " + channel, Mode: 0o644,
		MaxBytes: cfg.MaxBytes, Backups: cfg.Backups,
		StripANSI: d.plan.Daemon.StripANSI, CaptureMax: cfg.CaptureMaxBytes,
		Events: cfg.EventsEnabled || d.log.Enabled(activity.Debug),
		Syslog: cfg.Syslog, SyslogTag: "supd", SyslogPrefix: p.cfg.Name + " ", SyslogFacility: cfg.SyslogFacility,
		More:      cfg.More,
		Timestamp: cfg.Timestamp, Prefix: cfg.Prefix,
		Rotate: rotations[cfg.Rotate], Dated: cfg.Dated, Compress: cfg.Compress, MaxAgeDays: cfg.MaxAgeDays,
	}
	if cfg.SyslogTag != "" {
		s.settings.SyslogTag, s.settings.SyslogPrefix = cfg.SyslogTag, ""
	}
	if cfg.Block {
		s.settings.OnFull = logwire.Block
	}
	if p.group.cfg.Kind == plan.KindEventListener && channel == "stdout" {
		// The protocol: supd reads it and passes a copy on. Nothing in it is
		// an event.
		s.settings.Events, s.settings.CaptureMax = false, 0
	}
	s.eventsEnabled = cfg.EventsEnabled
	switch cfg.Kind {
	case plan.LogPath:
		s.settings.Path = cfg.Path
	case plan.LogAuto:
		s.settings.Path = d.autoLogName(p.cfg.Name, channel)
		s.settings.Mode = 0o600
	}
	l.streams[s.id] = s
	return s
}

var rotations = map[plan.Rotate]logwire.Rotate{
	plan.RotateBySize: logwire.RotateBySize, plan.RotateDaily: logwire.RotateDaily, plan.RotateHourly: logwire.RotateHourly,
}

// autoLogName is NAME-stdout---IDENTIFIER-RANDOM.log in childlogdir.
func (d *Daemon) autoLogName(name, channel string) string {
	random := strings.ToLower(rand.Text()[:8])
	clean := strings.ReplaceAll(name, "/", "_")
	return filepath.Join(d.plan.Daemon.ChildLogDir, clean+"-"+channel+"---"+d.plan.Daemon.Identifier+"-"+random+".log")
}

func (s *stream) auto() bool { return s.settings.Mode == 0o600 }

// open makes the pipe if there is none and has suplog open the log.
func (s *stream) open() {
	err := s.makePipe()
	// Descriptors of its own go with the message: those of the stream may have
	// been closed before it is sent.
	var fds []int
	if err == nil {
		fds, err = duplicate(append([]int{s.pipe}, s.kept...))
	}
	if err != nil {
		s.state = streamFailed
		s.failure = &logwire.Message{Kind: logwire.Failed, Text: err.Error()}
		errors.As(err, &s.failure.Errno)
		return
	}
	s.state, s.looks = streamAsked, 0
	s.p.d.holding.holdStream(s)
	m := logwire.Message{Kind: logwire.Open, Stream: s.id, Settings: s.settings, PID: s.p.run.number, FDs: fds}
	if s.p.d.logs.conn == nil {
		closeAll(fds) // nobody to be asked
	}
	s.p.d.logs.ask(m, s.opening())
}

// duplicate gives descriptors that stay when those given are closed.
func duplicate(fds []int) ([]int, error) {
	var own []int
	for _, fd := range fds {
		n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			closeAll(own)
			return nil, err
		}
		own = append(own, n)
	}
	return own, nil
}

// retry asks once more for a log that could not be opened. suplog, if it has
// the stream, knows it by its pipe.
func (s *stream) retry() { s.open() }

// opening takes the answer to a request to open the log. One that comes when
// the stream has been closed meanwhile says nothing of the stream as it is.
func (s *stream) opening() func(*logwire.Message) {
	id := s.id
	return func(m *logwire.Message) {
		if s.id == id {
			s.opened(m)
		}
	}
}

func (s *stream) opened(m *logwire.Message) {
	switch {
	case m == nil:
		// suplog is away; it will be asked again when it is back, and what is
		// written meanwhile waits in the pipe.
	case m.Kind == logwire.Failed:
		s.state, s.failure = streamFailed, m
		if s.takeAnotherName(m.Errno) {
			s.retry()
			return
		}
		s.offerAgain()
	default:
		s.state, s.failure, s.renamed = streamOpen, nil, 0
	}
	s.p.d.pumpStarts()
}

// mostNames is how many names in a row are tried for an automatic log.
const mostNames = 5

// takeAnotherName gives a log whose name is of our choice a new one that cannot be
// guessed, and tells whether it did: somebody else took the name, after a cleaner
// had removed the file. Nothing of theirs is used.
func (s *stream) takeAnotherName(why unix.Errno) bool {
	switch why {
	case unix.EACCES, unix.EPERM, unix.ELOOP, unix.EMLINK, unix.EISDIR, unix.ENXIO:
	default:
		return false
	}
	if !s.auto() || s.renamed >= mostNames {
		return false
	}
	s.renamed++
	s.settings.Path = s.p.d.autoLogName(s.p.cfg.Name, s.channel)
	s.p.d.dirty = true
	s.p.d.log.Repeated(activity.Warn, s.settings.Name+": somebody else has taken the name of the log, or it cannot be opened; it is now "+s.settings.Path)
	return true
}

// offerPause is the time after which a stream is handed over again that suplog
// could not take.
const offerPause = 2 * time.Second

// offerAgain hands a stream over again whose program runs. suplog by itself
// tries again to open a log, but it may have had no room for the stream.
func (s *stream) offerAgain() {
	switch s.failure.Errno {
	case unix.EMFILE, unix.ENFILE, unix.ETOOMANYREFS, unix.ENOBUFS, unix.ENOMEM:
	default:
		return
	}
	if s.p.m.PID == 0 {
		return
	}
	id := s.id
	s.p.d.after(offerPause, func() {
		if s.id == id && s.state == streamFailed && s.p.m.PID != 0 {
			s.retry()
		}
	})
}

// pipeSize is how much may wait in a pipe, so that a program does not wait
// for its log, and nothing is lost with suplog. Where the system's bound for
// ordinary users is used up, its default stays.
const pipeSize = 1 << 20

func (s *stream) makePipe() error {
	if s.pipe >= 0 {
		return nil
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return err
	}
	unix.Close(fds[1])
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeSize)
	s.pipe = fds[0]
	return nil
}

// openWriteEnd opens a new end for a program to write to. The pipe belongs to the
// program's user, so that it can open /dev/stdout; nobody else can. With readable
// the end is open for reading, too.
func openWriteEnd(pipe, uid int, readable bool) (int, error) {
	giveTo(pipe, uid)
	how := unix.O_WRONLY
	if readable {
		how = unix.O_RDWR
	}
	return unix.Open("/proc/self/fd/"+strconv.Itoa(pipe), how|unix.O_CLOEXEC, 0)
}

// giveTo makes a pipe belong to a program's user, if it has one of its own.
func giveTo(pipe, uid int) {
	if uid >= 0 {
		_ = unix.Fchown(pipe, uid, -1)
	}
}

// announceRun tells suplog which run writes from now on.
func (s *stream) announceRun(number int64) {
	if s.state == streamUnopened {
		return // it is told when it opens the log
	}
	s.p.d.logs.send(logwire.Message{Kind: logwire.Run, Stream: s.id, PID: number})
}

// close ends a stream: suplog takes what is in the pipe and forgets it.
func (s *stream) close() {
	l := s.p.d.logs
	delete(l.streams, s.id)
	if s.state != streamUnopened {
		l.end(s.id)
	}
	s.release()
}

// rest gives up what a stream holds while its process is at rest and nobody
// else, such as a grandchild, has its pipe open: a stopped program costs no
// descriptor, and its log is opened anew when it starts.
func (s *stream) rest() {
	if s.state == streamUnopened || s.p.m.PID != 0 || !s.p.m.State.IsStopped() {
		return
	}
	fds := []unix.PollFd{{Fd: int32(s.pipe)}}
	if n, err := unix.Poll(fds, 0); err != nil || n == 0 || fds[0].Revents&unix.POLLHUP == 0 {
		s.lookAgain()
		return
	}
	s.p.d.logs.end(s.id)
	s.release()
	// suplog forgets the number; the next life of the stream has another.
	s.renumber()
}

// lookAgain has rest try later: what the process had started often ends a
// moment after it. What stays is left alone until the next start.
func (s *stream) lookAgain() {
	waits := []time.Duration{50 * time.Millisecond, time.Second, 10 * time.Second}
	if s.looks >= len(waits) {
		return
	}
	id := s.id
	s.p.d.after(waits[s.looks], func() {
		if s.id == id {
			s.rest()
		}
	})
	s.looks++
}

// renumber gives the stream a number that suplog does not know.
func (s *stream) renumber() {
	l := s.p.d.logs
	delete(l.streams, s.id)
	l.lastID++
	s.id = l.lastID
	l.streams[s.id] = s
	s.state, s.failure, s.outage = streamUnopened, nil, ""
}

func (s *stream) release() {
	if s.pipe >= 0 {
		s.p.d.holding.drop(uint64(s.id))
		unix.Close(s.pipe)
		s.pipe = -1
	}
	closeAll(s.kept)
	s.kept = nil
}

// plain tells whether output goes from the pipe to one file inside the kernel.
func (s *stream) plain() bool {
	c := &s.settings
	return !c.Events && c.CaptureMax == 0 && !c.StripANSI && !c.Timestamp && c.Prefix == "" && !c.Syslog &&
		len(c.More) == 0 && len(s.kept) == 0
}

// empty tells whether there is nothing in the pipe. What is on its way to a file
// inside the kernel still is: it leaves the pipe when it has been written.
func (s *stream) empty() bool {
	fds := []unix.PollFd{{Fd: int32(s.pipe), Events: unix.POLLIN}}
	_, err := unix.Poll(fds, 0)
	return err == nil && fds[0].Revents&unix.POLLIN == 0
}

// drain asks for what is in the pipe now to be logged, and says when it is, or
// when patience ends.
func (s *stream) drain(patience time.Duration, done func()) {
	if s.state == streamUnopened || s.state == streamOpen && s.plain() && s.empty() {
		done()
		return
	}
	called := false
	once := func() {
		if !called {
			called = true
			done()
		}
	}
	t := s.p.d.after(patience, once)
	s.p.d.logs.ask(logwire.Message{Kind: logwire.Drain, Stream: s.id}, func(*logwire.Message) {
		s.p.d.timers.clear(t)
		once()
	})
}

// trouble tells the activity log what suplog says about a log.
func (s *stream) trouble(m *logwire.Message) {
	log := s.p.d.log
	switch m.Condition {
	case logwire.Outage:
		s.outage = m.Text
		s.recordOutput("outage", m.Text)
		log.Repeated(activity.Error, s.settings.Name+": "+m.Text)
		if s.takeAnotherName(m.Errno) {
			s.retry()
		}
	case logwire.Dropped:
		s.dropped += m.N
		// Whoever adds these up is not to count them twice.
		log.Record(activity.Error, s.settings.Name+": dropped "+strconv.FormatUint(m.N, 10)+" bytes ("+errnoName(m.Errno)+")")
	case logwire.Healed:
		s.outage = ""
		s.recordOutput("healed", "")
		log.Repeated(activity.Info, s.settings.Name+": the log is written again")
	default:
		log.Repeated(activity.Warn, s.settings.Name+": "+m.Text)
	}
}

func errnoName(no unix.Errno) string {
	if name := unix.ErrnoName(no); name != "" {
		return name
	}
	return "unknown reason"
}
