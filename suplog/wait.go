package main

import (
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
}

func newBlockingWaiter(pipe int) (*blockingWaiter, error) {
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return &blockingWaiter{pipe, event}, nil
}

func (w *blockingWaiter) wait(what waitFor, d time.Duration) {
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

func (w *blockingWaiter) wake() {
	one := [8]byte{1}
	_, _ = unix.Write(w.event, one[:])
}
