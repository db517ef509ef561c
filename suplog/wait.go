package main

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// waiter lets a channel wait. wait belongs to the channel's goroutine, wake may
// be called by any.
type waiter interface {
	// wait returns when what it is to wait for has come; when wake has been
	// called since the last wait; or when d has passed, unless d is negative.
	// It may return without cause.
	wait(what waitFor, d time.Duration)
	wake()
}

type waitFor uint8

const (
	forTime   waitFor = iota // only for d to pass
	forInput                 // for the pipe to be readable, or without writers
	forMore                  // the same amid a flood, which should not be kept waiting
	forWriter                // the same for a pipe that was without writers
)

// blockingWaiter waits in the kernel, which is right for a process that has
// only one pipe: it wakes up sooner and costs less than a poller.
type blockingWaiter struct {
	pipe  int
	event int // an eventfd
	// peek is a pipe into which one byte is duplicated to find out that there
	// is one. Once a pipe has been polled, the kernel wakes somebody up for
	// each write to it, for good; to wait in tee(2) does not have that cost.
	// It cannot be interrupted, hence idle.
	peekR, peekW int
	idle         atomic.Bool
}

func newBlockingWaiter(pipe int) (*blockingWaiter, error) {
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	return &blockingWaiter{pipe: pipe, event: event, peekR: fds[0], peekW: fds[1]}, nil
}

func (w *blockingWaiter) wait(what waitFor, d time.Duration) {
	if what != forTime && d < 0 && w.waitInput() {
		return
	}
	p := [2]unix.PollFd{{Fd: int32(w.event), Events: unix.POLLIN}, {Fd: int32(w.pipe), Events: unix.POLLIN}}
	n := 1
	if what != forTime {
		n = 2
	}
	var timeout *unix.Timespec
	if d >= 0 {
		t := unix.NsecToTimespec(int64(d))
		timeout = &t
	}
	if _, err := unix.Ppoll(p[:n], timeout, nil); err == nil && p[0].Revents != 0 {
		var b [8]byte
		_, _ = unix.Read(w.event, b[:])
	}
}

// waitInput waits until the pipe can be read, or has come to its end. It
// returns false if it cannot wait, because somebody made the pipe non-blocking.
func (w *blockingWaiter) waitInput() bool {
	w.idle.Store(true)
	defer w.idle.Store(false)
	n, err := unix.Tee(w.pipe, w.peekW, 1, 0)
	if n > 0 {
		var b [1]byte
		_, _ = unix.Read(w.peekR, b[:])
	}
	return err == nil || err == unix.EINTR
}

// wake does not wake a channel that waits for input: that has nothing to do
// until there is some, and then looks at its requests first.
func (w *blockingWaiter) wake() {
	one := [8]byte{1}
	_, _ = unix.Write(w.event, one[:])
}
