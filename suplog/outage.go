package main

import (
	"bytes"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/logfile"
	"sup/lib/logwire"
)

const (
	// fullPatience is how long a pipe is full before output is dropped.
	fullPatience = time.Second
	// outageStep is how often a pipe is looked at during an outage,
	// droppingStep how often once output is being dropped.
	outageStep   = 100 * time.Millisecond
	droppingStep = 10 * time.Millisecond
	// dropReport is how often it is told how much has been dropped.
	dropReport = time.Minute
	// endPatience is how long an outage may last once the stream has come to
	// its end.
	endPatience = 5 * time.Second
	// maxCut is the longest unfinished line that is taken back from the file.
	maxCut = 64 << 10
)

// outage is what a channel does while its log cannot be written: at first
// nothing, so that the pipe keeps what comes. When the pipe has been full for a
// while the oldest lines are given up, if the settings say so.
type outage struct {
	active    bool
	dropping  bool
	began     time.Time
	fullSince time.Time // zero: the pipe is not full
	endSince  time.Time // zero: there may come more
	skipLine  bool      // the beginning of the next line was dropped
	dropped   uint64    // and not told yet
	told      time.Time
	why       error
}

// over ends the outage, if there was one.
func (o *outage) over(c *channel) {
	if !o.active {
		return
	}
	o.report(c)
	*o = outage{skipLine: o.skipLine}
}

func (o *outage) report(c *channel) {
	if o.dropped > 0 {
		c.host.dropped(c, o.dropped, o.why)
		o.dropped = 0
	}
}

// step is called again and again during an outage, and says how to go on.
func (o *outage) step(c *channel, now time.Time) action {
	if !o.active {
		o.active, o.told, o.began = true, now, now
		c.grow()
	}
	if why := c.reason(); why != nil {
		o.why = why
	}
	queued, _ := logfile.Queued(c.pipe)
	atEnd := c.closing || c.leaving || !c.endless && hungUp(c.pipe)
	if queued == 0 && !c.piece.active {
		c.answerDrains(true)
		switch {
		case atEnd:
			o.report(c)
			return action{do: doDone}
		case hungUp(c.pipe):
			return action{do: doWait, what: forWriter}
		}
		return action{do: doWait, what: forInput}
	}
	if atEnd && (c.closing || c.leaving || c.settings.OnFull == logwire.Drop) && o.end(c, now) {
		return action{do: doDone}
	}
	switch {
	case c.settings.OnFull == logwire.Block:
	case len(c.targets) == 0:
		o.dropIfFull(c, queued, now)
	case now.Sub(o.began) >= fullPatience:
		// The other logs do not wait for longer.
		c.skipStuck(now)
	}
	if now.Sub(o.told) >= dropReport {
		o.report(c)
		o.told = now
	}
	if o.dropping {
		return action{do: doPause, d: droppingStep}
	}
	return action{do: doPause, d: outageStep}
}

// end is called for a stream that is to end, and gives up what cannot be
// written for too long. It returns true when that has been done.
func (o *outage) end(c *channel, now time.Time) bool {
	if o.endSince.IsZero() {
		o.endSince = now
	}
	patience := endPatience
	if c.patience > 0 {
		patience = c.patience
	}
	if now.Sub(o.endSince) < patience {
		return false
	}
	if len(c.targets) > 0 {
		c.skipStuck(now)
		o.endSince = time.Time{}
		return false // what is left goes to the other logs
	}
	if c.leaving {
		o.dropPiece(c) // the rest stays in the pipe
	} else {
		queued, _ := logfile.Queued(c.pipe)
		o.drop(c, queued)
	}
	o.report(c)
	return true
}

// slowEnd is end for a log that is a pipe or a terminal which nobody reads.
func (o *outage) slowEnd(c *channel, now time.Time) bool {
	o.active, o.why = true, unix.EAGAIN
	return o.end(c, now)
}

func (o *outage) dropIfFull(c *channel, queued int, now time.Time) {
	if !pipeFull(c.pipe, queued, c.capacity) {
		o.fullSince = time.Time{}
		return
	}
	if o.fullSince.IsZero() {
		o.fullSince = now
	}
	if o.dropping || now.Sub(o.fullSince) >= fullPatience {
		o.dropping = true
		o.drop(c, queued/2+1)
	}
}

// drop gives up at least n bytes, or all there are, as whole lines.
func (o *outage) drop(c *channel, n int) {
	// What is given up may be the rest of a line whose beginning is written.
	o.dropped += uint64(c.sink.cutPartialLine())
	n -= o.dropPiece(c)
	for n > 0 || o.skipLine {
		k := o.dropPart(c, n)
		if k == 0 {
			break
		}
		n -= k
	}
	c.answerDrains(false)
}

// dropPiece gives up what is left of the piece that is being worked on, and
// returns its length in the stream.
func (o *outage) dropPiece(c *channel) int {
	if !c.piece.active {
		return 0
	}
	rest := c.piece.rest
	o.dropped += uint64(len(rest))
	if len(rest) > 0 {
		// It may end within a line whose rest is still in the pipe.
		o.skipLine = rest[len(rest)-1] != '\n'
	}
	c.piece.rest, c.piece.plain = nil, nil
	c.capture.forget()
	c.sink.mu.Lock()
	defer c.sink.mu.Unlock()
	n := c.commit()
	c.taken += uint64(n)
	return n
}

// dropPart gives up some bytes from the beginning of the pipe, if possible up
// to the end of a line.
func (o *outage) dropPart(c *channel, n int) int {
	p := logfile.BorrowPeeker()
	defer p.Return()
	seen, err := p.Peek(c.pipe)
	if err != nil {
		return 0
	}
	k := len(seen)
	o.skipLine = seen[k-1] != '\n'
	if i := bytes.IndexByte(seen[min(max(n-1, 0), k):], '\n'); i >= 0 {
		k, o.skipLine = max(n-1, 0)+i+1, false
	}
	if discard(c.pipe, k) != nil {
		return 0
	}
	c.taken += uint64(k)
	o.dropped += uint64(k)
	return k
}

// hungUp tells whether nobody has the pipe open for writing.
func hungUp(pipe int) bool {
	p := []unix.PollFd{{Fd: int32(pipe)}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1 && p[0].Revents&unix.POLLHUP != 0
}

// pipeFull tells whether a writer would have to wait. Only the writing end
// knows, since half-filled pages count as full ones.
func pipeFull(pipe, queued, capacity int) bool {
	fd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(pipe), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return queued > capacity-2*unix.Getpagesize()
	}
	defer unix.Close(fd)
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 0
}

// cutPartialLine takes back the beginning of a line whose rest is about to be
// dropped, and returns its length.
func (s *sink) cutPartialLine() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil || s.users.Load() > 1 {
		return 0
	}
	n := s.file.Partial(maxCut)
	if n == 0 || s.file.Cut(n) != nil {
		return 0
	}
	return n
}
