package activity

import (
	"io"
	"sync"
	"time"
)

// consolePatience is how long the log waits for its copy on the console. A
// terminal or pipe that takes nothing for longer must not keep the log itself
// from being written: what is meant for it waits in memory then.
const consolePatience = 500 * time.Millisecond

// console is the copy of a log, written by a goroutine of its own.
type console struct {
	w io.Writer

	mu      sync.Mutex
	wake    sync.Cond
	pending []byte
	closing bool
	late    bool          // it takes nothing, and nobody waits for it
	idle    chan struct{} // closed when all is written; nil if it is
}

func newConsole(w io.Writer) *console {
	c := &console{w: w}
	c.wake.L = &c.mu
	go c.run()
	return c
}

// write has lines written, and waits for that as long as the console is in time.
func (c *console) write(lines []byte) {
	c.mu.Lock()
	if len(c.pending) > maxPending {
		c.mu.Unlock()
		return // they are in the log
	}
	c.pending = append(c.pending, lines...)
	if c.idle == nil {
		c.idle = make(chan struct{})
	}
	idle, late := c.idle, c.late
	c.wake.Signal()
	c.mu.Unlock()
	if !late && !awaited(idle, consolePatience) {
		c.mu.Lock()
		c.late = c.idle != nil
		c.mu.Unlock()
	}
}

// close ends the goroutine when all is written, and waits for that within the
// time given, unless the console is late anyway.
func (c *console) close(patience time.Duration) {
	c.mu.Lock()
	c.closing = true
	idle, late := c.idle, c.late
	c.wake.Signal()
	c.mu.Unlock()
	if idle != nil && !late {
		awaited(idle, patience)
	}
}

func (c *console) run() {
	for {
		c.mu.Lock()
		if len(c.pending) == 0 && c.idle != nil {
			close(c.idle)
			c.idle, c.late = nil, false
		}
		for len(c.pending) == 0 && !c.closing {
			c.wake.Wait()
		}
		lines := c.pending
		c.pending = nil
		c.mu.Unlock()
		if len(lines) == 0 {
			return
		}
		_, _ = c.w.Write(lines)
	}
}

// awaited waits until a channel is closed, and tells whether that was in time.
func awaited(done <-chan struct{}, patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
