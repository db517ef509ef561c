package main

import (
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pollGather is how long the poller waits, when it is woken often, for more
// pipes to have something: then one wake-up serves many.
const pollGather = 3 * time.Millisecond

// poller watches the pipes of all streams with an epoll instance of its own,
// which in turn is watched by Go's. Go's alone would be woken for every write
// to every pipe; here a pipe is watched only while its channel waits for it,
// and told of once.
type poller struct {
	fd   int
	file *os.File
	raw  syscall.RawConn

	mu      sync.Mutex
	waiters map[int32]*pollWaiter

	// urgent is the number of channels that wait for the next input of a
	// flood; hurry is told when there is one more. While there are any,
	// nothing is gathered here: their pipes would be full meanwhile.
	urgent atomic.Int32
	hurry  chan struct{}
	// asleep is the number of channels that sleep in the kernel.
	asleep atomic.Int32
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that Go watches it
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	p := &poller{fd: fd, file: file, raw: raw, waiters: map[int32]*pollWaiter{}, hurry: make(chan struct{}, 1)}
	go p.run()
	return p, nil
}

// run wakes the channels whose pipes are ready, until the process ends.
func (p *poller) run() {
	events := make([]unix.EpollEvent, 256)
	var last time.Time
	pause := time.NewTimer(0)
	<-pause.C
	for {
		n := 0
		err := p.raw.Read(func(fd uintptr) bool {
			var err error
			n, err = unix.EpollWait(int(fd), events, 0)
			return n > 0 || err != nil && err != unix.EINTR
		})
		if err != nil {
			return
		}
		p.mu.Lock()
		for i := range max(n, 0) {
			if w := p.waiters[events[i].Fd]; w != nil {
				w.wake()
			}
		}
		p.mu.Unlock()
		now := time.Now()
		if now.Sub(last) < pollGather && p.urgent.Load() == 0 {
			pause.Reset(pollGather)
			select {
			case <-pause.C:
			case <-p.hurry:
				pause.Stop()
			}
			now = now.Add(pollGather)
		}
		last = now
	}
}

// pollWaiter is the waiter of one channel.
type pollWaiter struct {
	p      *poller
	pipe   int
	signal chan struct{}
	timer  *time.Timer

	armed pipeWatch
}

// pipeWatch is how a pipe is being watched.
type pipeWatch uint8

const (
	unwatched pipeWatch = iota
	once                // for the next input, if that has not come yet
	changes             // for any change
)

// watch makes a waiter for a pipe.
func (p *poller) watch(pipe int) *pollWaiter {
	w := &pollWaiter{p: p, pipe: pipe, signal: make(chan struct{}, 1), timer: time.NewTimer(0)}
	p.mu.Lock()
	p.waiters[int32(pipe)] = w
	p.mu.Unlock()
	return w
}

// release forgets the pipe. It must be called before the pipe is closed: supd
// keeps it open.
func (w *pollWaiter) release() {
	w.p.mu.Lock()
	delete(w.p.waiters, int32(w.pipe))
	w.p.mu.Unlock()
	if w.armed != unwatched {
		_ = unix.EpollCtl(w.p.fd, unix.EPOLL_CTL_DEL, w.pipe, nil)
	}
	w.timer.Stop()
}

func (w *pollWaiter) wake() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

func (w *pollWaiter) wait(what waitFor, d time.Duration) {
	switch what {
	case forTime:
		if d < time.Millisecond {
			w.nap(d)
			return
		}
	case forInput, forMore:
		w.arm(once, unix.EPOLLIN|unix.EPOLLET|unix.EPOLLONESHOT)
		if what == forMore {
			w.p.urgent.Add(1)
			defer w.p.urgent.Add(-1)
			select {
			case w.p.hurry <- struct{}{}:
			default:
			}
		}
	case forWriter:
		// A pipe without writers is ready all the time, and would be told of
		// again whenever that is asked for. So it is asked for once only, and
		// then told of when something changes.
		if w.armed != changes {
			w.arm(changes, unix.EPOLLIN|unix.EPOLLET)
		}
	}
	if d < 0 {
		<-w.signal
		return
	}
	w.timer.Reset(d)
	select {
	case <-w.signal:
		w.timer.Stop()
	case <-w.timer.C:
	}
}

// maxNaps bounds how many channels sleep in the kernel at a time, each of
// which takes a thread.
const maxNaps = 4

// nap sleeps for less than a millisecond, which Go's timers do not: they would
// let a flood wait. If too many do so already it returns at once.
func (w *pollWaiter) nap(d time.Duration) {
	if w.p.asleep.Add(1) <= maxNaps {
		t := unix.NsecToTimespec(int64(d))
		_, _ = unix.Ppoll(nil, &t, nil)
	}
	w.p.asleep.Add(-1)
}

func (w *pollWaiter) arm(as pipeWatch, events uint32) {
	op := unix.EPOLL_CTL_MOD
	if w.armed == unwatched {
		op = unix.EPOLL_CTL_ADD
	}
	w.armed = as
	_ = unix.EpollCtl(w.p.fd, op, w.pipe, &unix.EpollEvent{Events: events, Fd: int32(w.pipe)})
}
