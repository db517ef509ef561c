package main

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// pollGather is how long the poller waits, when it is woken often, for
	// more pipes to have something, and for more in each: then one wake-up
	// serves many pipes, and takes many lines from each.
	pollGather = 6 * time.Millisecond
	// stuckAfter is how long the poller may be busy with one channel before
	// another goroutine takes its place.
	stuckAfter = 250 * time.Millisecond
	// caution is how long after that each channel gets a goroutine.
	caution = 5 * time.Second
)

// poller watches the pipes of all streams, with an epoll instance and a thread
// of its own. Go's poller would be woken for every write to every pipe; here a
// pipe is watched only while its channel waits, and told of once, and several
// are told of at a time.
//
// A channel that waits has no goroutine. When its pipe has something the poller
// itself takes a turn for it, one channel after the other, since for most
// lines that is all there is to do: it saves a switch of goroutines, and often
// of threads, for each line. Should a turn be stuck, because a disk hangs, the
// poller is replaced, and the stuck goroutine keeps that one channel. A channel
// that has to pause, or is amid a flood, gets a goroutine until it waits again.
type poller struct {
	fd    int
	flush func() // see start

	mu      sync.Mutex
	watched map[int32]*attended

	// urgent is the number of channels that wait for the next input of a
	// flood; the eventfd hurry is written to when there is the first one.
	// While there are any, nothing is gathered here: their pipes would be full
	// meanwhile.
	urgent atomic.Int32
	hurry  int
	// asleep is the number of channels that sleep in the kernel.
	asleep atomic.Int32
	// stuck is when the poller was last replaced, in Unix nanoseconds.
	stuck atomic.Int64
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	hurry, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	return &poller{fd: fd, hurry: hurry, watched: map[int32]*attended{}, flush: func() {}}, nil
}

// start begins to watch. flush is called after the turns of several channels
// have been taken.
func (p *poller) start(flush func()) {
	p.flush = flush
	go p.lead(new(shift))
}

// shift is a list of channels that are ready. Whoever takes the next one
// serves it.
type shift struct {
	ready []*attended
	taken atomic.Int32
	over  atomic.Bool // the goroutine that began it has been replaced
}

// next gives the next channel to serve, nil if there is none left.
func (s *shift) next() *attended {
	if i := int(s.taken.Add(1)); i <= len(s.ready) {
		return s.ready[i-1]
	}
	return nil
}

// lead serves what is left of a shift, and then watches and serves until it is
// replaced, or the process ends.
func (p *poller) lead(s *shift) {
	for a := s.next(); a != nil; a = s.next() {
		go a.attend(action{})
	}
	p.flush()
	events := make([]unix.EpollEvent, 256)
	s = new(shift)
	var last time.Time
	for {
		n, err := unix.EpollWait(p.fd, events, -1)
		if err != nil && err != unix.EINTR {
			panic("cannot wait for pipes: " + err.Error()) // nothing can be done without
		}
		s.ready = p.collect(s.ready[:0], events[:max(n, 0)])
		s.taken.Store(0)
		now := time.Now()
		if len(s.ready) > 0 && !p.serveWatched(s, now) {
			return
		}
		if now.Sub(last) < pollGather && p.urgent.Load() == 0 {
			p.gather()
			now = now.Add(pollGather)
		}
		last = now
	}
}

// gather sleeps for a moment, in the kernel, where nothing that happens to the
// pipes disturbs it.
func (p *poller) gather() {
	t := unix.NsecToTimespec(int64(pollGather))
	fds := []unix.PollFd{{Fd: int32(p.hurry), Events: unix.POLLIN}}
	if n, _ := unix.Ppoll(fds, &t, nil); n > 0 {
		var b [8]byte
		_, _ = unix.Read(p.hurry, b[:])
	}
}

// serveWatched serves a shift. It returns false if that took so long that
// another goroutine leads now.
func (p *poller) serveWatched(s *shift, now time.Time) bool {
	watchdog := time.AfterFunc(stuckAfter, func() {
		s.over.Store(true)
		p.stuck.Store(time.Now().UnixNano())
		p.lead(s)
	})
	p.serve(s, now)
	return watchdog.Stop()
}

// collect adds those channels to ready that wait for these events.
func (p *poller) collect(ready []*attended, events []unix.EpollEvent) []*attended {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range events {
		if a := p.watched[events[i].Fd]; a != nil && a.claim() {
			ready = append(ready, a)
		}
	}
	return ready
}

// serve takes a turn for each channel of the shift.
func (p *poller) serve(s *shift, now time.Time) {
	cautious := now.UnixNano()-p.stuck.Load() < int64(caution)
	for a := s.next(); a != nil; a = s.next() {
		if a.c.flood || cautious {
			go a.attend(action{})
			continue
		}
		a.c.later = true
		next := a.c.step(now).shared(a.c)
		a.c.later = false
		switch {
		case next.do != doWait:
			go a.attend(next)
		case !a.park(next.what):
			go a.attend(action{})
		}
		if s.over.Load() {
			break
		}
	}
	p.flush()
}

// attended is a channel that is watched by a poller. Whoever has claimed it has
// the channel, until it is parked.
type attended struct {
	p     *poller
	c     *channel
	pipe  int
	ended func() // called once, without the claim, when the channel is done

	state  atomic.Int32
	signal chan struct{} // ends a pause

	// What follows belongs to the goroutine that has the channel.

	armed  pipeWatch
	urgent bool
}

// The states of an attended channel.
const (
	claimed int32 = iota // somebody has it
	nudged               // somebody has it, and must look again before parking it
	parked               // nobody has it
)

// pipeWatch is how a pipe is being watched.
type pipeWatch uint8

const (
	unwatched pipeWatch = iota
	once                // for the next input, if that has not come yet
	changes             // for any change
)

// watch begins to attend to a channel. ended is called when that is over.
func (p *poller) watch(c *channel, ended func()) *attended {
	a := &attended{p: p, c: c, pipe: c.pipe, ended: ended, signal: make(chan struct{}, 1)}
	a.state.Store(parked)
	c.waiter = a
	p.mu.Lock()
	p.watched[int32(c.pipe)] = a
	p.mu.Unlock()
	return a
}

// claim takes the channel if it is parked. If it is not, whoever has it looks
// again.
func (a *attended) claim() bool {
	for {
		switch s := a.state.Load(); {
		case s == parked && a.state.CompareAndSwap(parked, claimed):
			return true
		case s == claimed && a.state.CompareAndSwap(claimed, nudged), s == nudged:
			return false
		}
	}
}

// wake has requests handled.
func (a *attended) wake() {
	if a.claim() {
		go a.attend(action{})
		return
	}
	select {
	case a.signal <- struct{}{}:
	default:
	}
}

// attend does what is next with a channel, until it waits or has come to its
// end.
func (a *attended) attend(next action) {
	if a.urgent {
		a.urgent = false
		a.p.urgent.Add(-1)
	}
	for {
		switch next.do {
		case doPause:
			if a.c.flood {
				// A pipe that is watched costs its writer something with
				// each write, whether anybody waits or not.
				a.unwatch()
			}
			a.wait(forTime, next.d)
		case doWait:
			if a.park(next.what) {
				return
			}
		case doDone:
			a.release()
			a.ended()
			return
		}
		next = a.c.step(time.Now()).shared(a.c)
	}
}

// shared is what an action means for a channel of a poller. Here a pipe fills
// while the poller waits for others; one for which that would be too long is
// left to a goroutine.
func (next action) shared(c *channel) action {
	if next.do != doGather {
		return next
	}
	if c.flood {
		return action{do: doPause, d: next.d}
	}
	return action{do: doWait, what: forInput}
}

// park gives the channel up until what comes, or a request. It returns false if
// it has been nudged meanwhile: then it is not parked.
func (a *attended) park(what waitFor) bool {
	if a.state.CompareAndSwap(nudged, claimed) {
		return false
	}
	// All that is ours has to be done before it is parked.
	hurry := what == forMore
	if hurry {
		a.urgent = true
		if a.p.urgent.Add(1) == 1 {
			one := [8]byte{1}
			_, _ = unix.Write(a.p.hurry, one[:])
		}
	}
	switch {
	case what != forWriter:
		a.arm(once, unix.EPOLLIN|unix.EPOLLET|unix.EPOLLONESHOT)
	case a.armed != changes:
		// A pipe without writers is ready all the time, and would be told of
		// again whenever that is asked for. So it is asked for once only, and
		// then told of when something changes.
		a.arm(changes, unix.EPOLLIN|unix.EPOLLET)
	}
	if !a.state.CompareAndSwap(claimed, parked) {
		a.state.Store(claimed)
		if hurry {
			a.urgent = false
			a.p.urgent.Add(-1)
		}
		return false
	}
	return true
}

func (a *attended) arm(as pipeWatch, events uint32) {
	op := unix.EPOLL_CTL_MOD
	if a.armed == unwatched {
		op = unix.EPOLL_CTL_ADD
	}
	a.armed = as
	_ = unix.EpollCtl(a.p.fd, op, a.pipe, &unix.EpollEvent{Events: events, Fd: int32(a.pipe)})
}

// release forgets the pipe. It must be called before the pipe is closed: supd
// keeps it open.
func (a *attended) release() {
	a.p.mu.Lock()
	delete(a.p.watched, int32(a.pipe))
	a.p.mu.Unlock()
	a.unwatch()
}

// unwatch stops watching the pipe, until it is armed again.
func (a *attended) unwatch() {
	if a.armed != unwatched {
		a.armed = unwatched
		_ = unix.EpollCtl(a.p.fd, unix.EPOLL_CTL_DEL, a.pipe, nil)
	}
}

// maxNaps bounds how many channels sleep in the kernel at a time, each of
// which takes a thread.
const maxNaps = 4

// wait implements waiter, for pauses only.
func (a *attended) wait(_ waitFor, d time.Duration) {
	if d < time.Millisecond {
		// Go's timers have no such short times: they would let a flood wait.
		if a.p.asleep.Add(1) <= maxNaps {
			t := unix.NsecToTimespec(int64(d))
			_, _ = unix.Ppoll(nil, &t, nil)
		}
		a.p.asleep.Add(-1)
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-a.signal:
	case <-timer.C:
	}
}
