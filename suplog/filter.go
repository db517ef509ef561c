package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/cli"
	"sup/lib/logwire"
)

// termPatience is how long SIGTERM waits for the present turn to end, which
// on a disk that hangs it may not do.
const termPatience = time.Second

// errGivenUp is the end of a filter that could not write all it had read.
var errGivenUp = errors.New("output was given up")

// filter writes descriptor 0 to a file, until its end.
func filter(a arguments, std cli.Streams) error {
	const pipe = 0
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR2)
	// Whoever read our messages, or the copy, may go: the log goes on. Nobody
	// looks into this channel; without it the first write would end us.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	h := &filterHost{err: std.Err}
	if a.also {
		h.also, a.settings.Events = std.Out, true
	}
	pipe0, err := pipeOf(pipe)
	if err != nil {
		return err
	}
	w, err := newBlockingWaiter(pipe0)
	if err != nil {
		return fmt.Errorf("cannot wait: %w", err)
	}
	s := &sink{path: a.settings.Path, options: rotation(&a.settings), report: h.report}
	if err := s.tryOpen(); err != nil {
		return err
	}
	c := &channel{pipe: pipe0, host: h, waiter: w}
	c.configure(a.settings, []*sink{s})
	c.grow()
	done := make(chan struct{})
	go func() {
		c.run()
		close(done)
	}()
	for {
		select {
		case <-done:
			if h.gaveUp {
				return errGivenUp
			}
			return nil
		case sig := <-signals:
			if sig == unix.SIGHUP || sig == unix.SIGUSR2 {
				if err := s.reopen(); err != nil {
					fmt.Fprintf(std.Err, "suplog: %v\n", err)
				}
				continue
			}
			c.post(func() {
				c.outage.report(c)
				c.stopped = true
			})
			if w.idle.Load() {
				// It looks at its requests before it takes anything.
				return nil
			}
			select {
			case <-done:
			case <-time.After(termPatience):
			}
			return nil
		}
	}
}

// pipeOf gives a pipe that holds what comes from fd: fd itself if it is one. A
// file or a terminal is copied into one.
func pipeOf(fd int) (int, error) {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0); err == nil {
		return fd, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return -1, fmt.Errorf("cannot read standard input: %w", err)
	}
	in := os.NewFile(uintptr(fd), "standard input")
	go func() {
		_, _ = io.Copy(w, in)
		w.Close()
	}()
	dup, err := unix.FcntlInt(r.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	r.Close()
	if err != nil {
		return -1, fmt.Errorf("cannot read standard input: %w", err)
	}
	return dup, nil
}

// filterHost tells a person, on standard error.
type filterHost struct {
	err    io.Writer
	also   io.Writer // nil, or where a copy goes
	gaveUp bool
}

func (h *filterHost) report(cond logwire.Condition, err error) {
	switch cond {
	case logwire.Outage:
		fmt.Fprintf(h.err, "suplog: %v; trying again\n", err)
	case logwire.Healed:
		fmt.Fprintf(h.err, "suplog: writing again after %s\n", errnoName(err))
	default:
		fmt.Fprintf(h.err, "suplog: %v\n", err)
	}
}

func (h *filterHost) dropped(c *channel, n uint64, err error) {
	h.gaveUp = h.gaveUp || !c.outage.endSince.IsZero()
	fmt.Fprintf(h.err, "suplog: dropped %d bytes (%s)\n", n, errnoName(err))
}

func (h *filterHost) output(_ *channel, p []byte) {
	if h.also != nil {
		if _, err := h.also.Write(p); err != nil {
			h.also = nil // nobody reads it any more
		}
	}
}

func (h *filterHost) section(*channel, []byte) {}

func (h *filterHost) keep(*channel, []int) bool { return false }
