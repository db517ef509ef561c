package daemon

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// listener is the part of an event listener's process entry that programs do
// not have: we read its standard output ourselves, because it is a
// conversation, and pass a copy on to the log.
type listener struct {
	p    *proc
	pool *group
	run  *listenerRun // of the process that runs, or whose last output is awaited
}

// listenerRun is one run of a listener.
type listenerRun struct {
	stdout *os.File
	ended  bool   // its standard output is at its end
	atEnd  func() // called then, if set
	// resume lets the reading goroutine go on after a pause; it is closed to
	// end it.
	resume chan struct{}
	paused func() // called when it pauses, if set
}

// pause stops the reading, and calls done when all that was read has been
// dealt with.
func (r *listenerRun) pause(done func()) {
	if r.ended {
		done()
		return
	}
	r.paused = done
	_ = r.stdout.SetReadDeadline(time.Unix(1, 0))
}

func (r *listenerRun) pausedNow() {
	if f := r.paused; f != nil {
		r.paused = nil
		f()
	}
}

// unpause goes on with the reading.
func (r *listenerRun) unpause() {
	if r.ended {
		return
	}
	r.paused = nil
	_ = r.stdout.SetReadDeadline(time.Time{})
	select {
	case r.resume <- struct{}{}:
	default:
	}
}

// started begins to read what a new run of the listener writes.
func (l *listener) started(stdout *os.File) {
	run := &listenerRun{stdout: stdout, resume: make(chan struct{}, 1)}
	l.run = run
	logged := -1
	if l.p.out.pipe >= 0 {
		if fd, err := openWriteEnd(l.p.out.pipe, -1); err == nil {
			_ = unix.SetNonblock(fd, true)
			logged = fd
		}
	}
	d := l.p.d
	go func() {
		defer func() {
			stdout.Close()
			if logged >= 0 {
				unix.Close(logged)
			}
		}()
		for {
			// A buffer a read: the loop keeps what it gets.
			buf := make([]byte, 8<<10)
			n, err := stdout.Read(buf)
			if n > 0 {
				if logged >= 0 {
					// A log that is stuck must not hold the conversation up.
					_, _ = unix.Write(logged, buf[:n])
				}
				d.post(func() {
					if l.run == run {
						d.events.do(l.pool.pool.Output(l.p.cfg.Name, buf[:n]))
						d.progress()
					}
				})
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				d.post(run.pausedNow)
				select {
				case <-run.resume:
					continue
				case <-d.done:
					return
				}
			}
			if err != nil {
				d.post(func() {
					run.ended = true
					run.pausedNow()
					if run.atEnd != nil {
						run.atEnd()
					}
				})
				return
			}
		}
	}()
}

// drain calls done when all that the ended listener wrote was read, or when
// patience ends (a grandchild may keep its standard output open).
func (l *listener) drain(patience time.Duration, done func()) {
	run := l.run
	if run == nil || run.ended {
		done()
		return
	}
	var t *timer
	once := func() {
		if run.atEnd != nil {
			run.atEnd = nil
			l.p.d.timers.clear(t)
			done()
		}
	}
	run.atEnd = once
	t = l.p.d.after(patience, once)
}

// ended closes the books of a run.
func (l *listener) ended() {
	if l.run != nil && !l.run.ended {
		l.run.stdout.Close()
	}
	l.run = nil
}
