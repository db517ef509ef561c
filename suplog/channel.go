package main

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/logfile"
	"sup/lib/logwire"
	"sup/suplog/internal/transform"
)

const (
	// maxTurn is the most that one stream moves before others have a turn.
	maxTurn = 1 << 20
	// maxPipe is the size to which the pipe of a busy stream is raised.
	maxPipe = 1 << 20
	// busyInterval separates streams that are written to all the time from
	// those where somebody may be waiting for the line.
	busyInterval = 10 * time.Millisecond
	// maxGather is the longest time for which a pipe is left to fill.
	maxGather = 6 * time.Millisecond
	// quietTake is what a stream with nothing more to say at most says.
	quietTake = 8000
	// minGather is the shortest one that is worth the sleep.
	minGather = 20 * time.Microsecond
	// largeTake is what makes a wake-up worth its while.
	largeTake = 8000
	// minSlow and maxSlow bound the pauses between attempts to write to a log
	// that is a pipe or a terminal whose other side is slow.
	minSlow = 5 * time.Millisecond
	maxSlow = 200 * time.Millisecond
	// maxGathered is how many turns in a row are waited for.
	maxGathered = 64
	// rateWindow is the time over which the rate of a stream is measured.
	rateWindow = time.Millisecond
)

// host is what a channel tells to. Its methods are called from the channel's
// goroutine; they may take a moment but must not wait for that goroutine.
type host interface {
	// output is what a channel wrote to its log, if it was asked to tell.
	output(c *channel, p []byte)
	// section is the end of a captured section.
	section(c *channel, p []byte)
	// dropped tells of n bytes that were given up because of err.
	dropped(c *channel, n uint64, err error)
	// keep has descriptors kept for the next process, and tells whether that
	// has been done.
	keep(c *channel, fds []int) bool
}

// channel is one stream of output: the read end of a pipe, and the log that it
// goes to. One goroutine at a time has it; everybody else posts requests.
type channel struct {
	id     logwire.Stream
	pipe   int
	host   host
	waiter waiter
	// endless channels wait for the next writer when there is none; others
	// are done then.
	endless bool

	// atEnd is set while nobody has the pipe open for writing and it is empty.
	atEnd atomic.Bool

	requestsMu sync.Mutex
	requests   []func()

	// What follows belongs to the goroutine that has the channel.

	settings logwire.Settings
	sink     *sink
	targets  []*target // all logs, the first being sink, if there are several
	// later is set while the poller takes turns: it has what is told sent when
	// it is through.
	later    bool
	pid      int64
	nextPID  int64  // from switchAt on
	switchAt uint64 // in bytes taken; 0: pid is right

	taken    uint64    // bytes taken from the pipe so far
	capacity int       // of the pipe
	last     time.Time // of the last turn that moved something
	// The bytes per nanosecond of late, and what the next figure is made of.
	rate        float64
	window      time.Time
	windowBytes int
	gathered    int  // how many turns in a row were waited for
	largeWrites bool // as seen in a turn that was not
	flood       bool // the pipe would be full in less time than others may wait
	closing     bool // end when what was in the pipe has been taken, up to
	closeAt     uint64
	stopped     bool          // end now
	leaving     bool          // end as soon as nothing is lost by it
	patience    time.Duration // with an outage at the end; 0: endPatience
	drains      []drain

	outage  outage
	slowFor time.Duration // the present pause because of a slow log

	tr      transform.Transformer
	state   transform.State
	piece   piece
	staging *staging // nil until it is needed
	// stageAgain is when to try again to have one.
	stageAgain time.Time
	capture    *capture
	syslog     *syslogger
}

// drain is a question: has the stream been taken up to here?
type drain struct {
	upTo uint64
	done func()
}

// post has f called by the channel's goroutine, between two turns.
func (c *channel) post(f func()) {
	c.requestsMu.Lock()
	c.requests = append(c.requests, f)
	c.requestsMu.Unlock()
	c.waiter.wake()
}

// handleRequests calls what was posted.
func (c *channel) handleRequests() {
	for {
		c.requestsMu.Lock()
		requests := c.requests
		c.requests = nil
		c.requestsMu.Unlock()
		if len(requests) == 0 {
			return
		}
		for _, f := range requests {
			f()
		}
	}
}

// action is what a channel does after a turn.
type action struct {
	do   doing
	what waitFor       // with doWait
	d    time.Duration // with doPause
}

type doing uint8

const (
	doAgain  doing = iota // take another turn
	doPause               // leave the pipe alone for d, unless there are requests
	doGather              // the same, to let the pipe fill
	doWait                // wait for what, or requests
	doDone                // the channel has come to its end
)

// run moves output until the channel is stopped, or closed and empty, or, if
// it is not endless, until the pipe has come to its end. It is for a channel
// that has a goroutine, and a waiter, of its own.
func (c *channel) run() {
	for {
		switch a := c.step(time.Now()); a.do {
		case doPause, doGather:
			c.waiter.wait(forTime, a.d)
		case doWait:
			c.waiter.wait(a.what, -1)
		case doDone:
			return
		}
	}
}

// step handles requests and takes one turn.
func (c *channel) step(now time.Time) action {
	c.handleRequests()
	if c.stopped {
		return action{do: doDone}
	}
	if c.leaving && !c.piece.active && !c.staging.holds() {
		c.flush(now)
		return action{do: doDone}
	}
	n, v := c.turn(now)
	c.taken += uint64(n)
	switch v {
	case moved:
		return c.afterMove(n, now)
	case slow:
		c.slowFor = min(max(2*c.slowFor, minSlow), maxSlow)
		if (c.closing || c.leaving) && c.outage.slowEnd(c, now) {
			return action{do: doDone}
		}
		return action{do: doPause, d: c.slowFor}
	case down:
		return c.outage.step(c, now)
	}
	if atEnd := v == ended; atEnd != c.atEnd.Load() {
		c.atEnd.Store(atEnd)
		if atEnd {
			c.flush(now)
		}
	}
	c.outage.over(c)
	c.answerDrains(true)
	switch {
	case c.closing || v == ended && !c.endless:
		c.flush(now)
		return action{do: doDone}
	case v == ended:
		return action{do: doWait, what: forWriter}
	case c.flood:
		return action{do: doWait, what: forMore}
	}
	return action{do: doWait, what: forInput}
}

// afterMove says how to go on when n bytes were moved.
func (c *channel) afterMove(n int, now time.Time) action {
	if c.atEnd.Load() {
		c.atEnd.Store(false)
	}
	c.slowFor = 0
	c.outage.over(c)
	c.answerDrains(false)
	if c.closing && c.taken >= c.closeAt {
		c.flush(now)
		return action{do: doDone}
	}
	d := c.gather(n, now)
	switch {
	case c.hurried():
	case d > 0:
		return action{do: doGather, d: d}
	case n < quietTake && !c.flood:
		// There is hardly more; if there is, we are woken at once.
		return action{do: doWait, what: forInput}
	}
	return action{}
}

// hurried tells whether somebody waits for the pipe to be emptied.
func (c *channel) hurried() bool { return c.closing || len(c.drains) > 0 }

// gather says how long to leave the pipe alone after n bytes were taken from
// it. A stream of small writes would otherwise cost a wake-up for each of them,
// here and in the writer. A pipe that is left until a quarter is full never holds
// the writer up; one that is written to now and then, or in large pieces
// anyway, is not left alone.
func (c *channel) gather(n int, now time.Time) time.Duration {
	interval := now.Sub(c.last)
	c.last = now
	if c.capacity == 0 {
		c.capacity, _ = unix.FcntlInt(uintptr(c.pipe), unix.F_GETPIPE_SZ, 0)
	}
	if n >= c.capacity/2 && c.capacity < maxPipe {
		c.grow()
	}
	if interval >= busyInterval {
		c.rate, c.windowBytes, c.window = 0, 0, now
		return 0
	}
	c.windowBytes += n
	if d := now.Sub(c.window); d >= rateWindow {
		c.rate = float64(c.windowBytes) / float64(d)
		c.windowBytes, c.window = 0, now
	}
	if c.rate == 0 {
		return 0
	}
	// Large writes come in large pieces as it is. Which kind these are is seen
	// now and then by not waiting.
	if c.gathered == 0 {
		c.largeWrites = n >= largeTake
	}
	fill := time.Duration(float64(c.capacity/4) / c.rate)
	c.flood = fill < maxGather
	if c.largeWrites || fill < minGather || c.gathered == maxGathered {
		c.gathered = 0
		return 0
	}
	c.gathered++
	return min(fill, maxGather)
}

// grow gives a busy pipe room for more, where that is allowed.
func (c *channel) grow() {
	for size := maxPipe; size > c.capacity; size /= 2 {
		if got, err := unix.FcntlInt(uintptr(c.pipe), unix.F_SETPIPE_SZ, size); err == nil {
			c.capacity = got
			return
		}
	}
}

// queued is the number of bytes that have been written and not been taken.
func (c *channel) queued() int {
	n, err := logfile.Queued(c.pipe)
	if err != nil {
		n = 0
	}
	if c.staging != nil {
		if m, err := logfile.Queued(c.staging.r); err == nil {
			n += m
		}
	}
	return n
}

// close ends the channel when what is in the pipe now has been taken.
func (c *channel) close() {
	c.closing, c.closeAt = true, c.taken+uint64(c.queued())
}

// drainTo has done called when all that is in the pipe now has been taken.
func (c *channel) drainTo(done func()) {
	c.drains = append(c.drains, drain{c.taken + uint64(c.queued()), done})
}

func (c *channel) answerDrains(all bool) {
	for len(c.drains) > 0 && (all || c.drains[0].upTo <= c.taken) {
		c.drains[0].done()
		c.drains = c.drains[1:]
	}
}

// startRun tells which process writes from now on.
func (c *channel) startRun(pid int64) {
	queued := c.queued()
	if queued == 0 {
		c.switchPID(pid)
		return
	}
	c.nextPID, c.switchAt = pid, c.taken+uint64(queued)
}

func (c *channel) switchPID(pid int64) {
	c.flush(time.Now())
	c.pid, c.switchAt = pid, 0
}

// turn moves what is in the pipe, at most maxTurn bytes, to the log. n is how
// many bytes were taken from the pipe.
func (c *channel) turn(now time.Time) (n int, v verdict) {
	limit := maxTurn
	if c.switchAt > 0 {
		if c.taken >= c.switchAt {
			c.switchPID(c.nextPID)
		} else {
			limit = int(min(uint64(limit), c.switchAt-c.taken))
		}
	}
	if c.outage.skipLine {
		for c.outage.skipLine && c.outage.dropPart(c, 0) > 0 {
		}
		c.outage.active = true
	}
	switch {
	case len(c.targets) > 0:
		return c.fan(limit, now)
	case c.staging.holds():
		return c.restage(now)
	case c.piece.active || c.tr.Any() || c.sink.copying.Load():
		return c.transform(limit, now)
	case c.looked():
		return c.tap(limit, now)
	}
	return c.sink.splice(c.pipe, limit, now)
}

// looked tells whether somebody wants to see what is written.
func (c *channel) looked() bool { return c.settings.Events || c.syslog != nil }

// tap moves output unchanged and shows it.
func (c *channel) tap(limit int, now time.Time) (int, verdict) {
	p := logfile.BorrowPeeker()
	defer p.Return()
	seen, err := p.Peek(c.pipe)
	if err != nil {
		return 0, c.pipeVerdict(err, now)
	}
	n, v := c.sink.splice(c.pipe, min(len(seen), limit), now)
	c.publish(seen[:n], nil, now)
	return n, v
}

// publish shows what was written, and tells of the sections that ended at
// these places in it.
func (c *channel) publish(p []byte, ends []int, now time.Time) {
	from := 0
	for _, end := range ends {
		c.show(p[from:end])
		c.capture.tell()
		from = end
	}
	c.show(p[from:])
	if c.syslog != nil && len(p) > 0 {
		c.syslog.send(p, now)
	}
}

// show shows what was written to whoever asked for it.
func (c *channel) show(p []byte) {
	if c.settings.Events && len(p) > 0 {
		c.host.output(c, p)
	}
}

// configure takes over new settings, whose logs are sinks.
func (c *channel) configure(settings logwire.Settings, sinks []*sink) {
	for _, s := range sinks {
		s.set(rotation(&settings))
	}
	c.settings = settings
	c.aim(sinks)
	c.tr.Options = transform.Options{
		Capture:   settings.CaptureMax > 0,
		StripANSI: settings.StripANSI,
		Timestamp: settings.Timestamp,
		Prefix:    settings.Prefix,
	}
	if size := c.captureMax(); size == 0 {
		c.capture = nil
	} else if c.capture == nil || int64(len(c.capture.ring)) != size {
		c.capture = newCapture(c, size)
		c.tr.Section = c.capture
	}
	c.syslog = nil
	if settings.Syslog {
		c.syslog = newSyslogger(&settings)
	}
}

// captureMax is the room that a captured section needs.
func (c *channel) captureMax() int64 { return min(max(c.settings.CaptureMax, 0), maxCapture) }

// pipeVerdict turns an error in looking into the pipe into a verdict. One that
// is not about the pipe, such as having no descriptors left, is treated as an
// outage of the log.
func (c *channel) pipeVerdict(err error, now time.Time) verdict {
	c.sink.mu.Lock()
	defer c.sink.mu.Unlock()
	return c.sink.judge(0, err, now)
}

// flush writes what a transformation holds back.
func (c *channel) flush(now time.Time) {
	if c.state.Token == 0 && c.state.Escape == 0 && !c.state.Capturing {
		return
	}
	plain, lines := c.tr.Flush(&c.state, now)
	c.staging.save(&c.state)
	for _, s := range c.sinks() {
		if len(lines) > 0 && s.acquire(-1, now) == nil {
			if _, err := s.file.Write(lines); err != nil {
				_ = s.failed(err, now)
			}
			s.mu.Unlock()
		}
	}
	c.publish(plain, nil, now)
}
