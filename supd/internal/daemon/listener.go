package daemon

import (
	"bytes"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/spawn"
	"sup/supd/internal/activity"
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
	debug := d.log.Enabled(activity.Debug)
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
			if n > 0 && debug && err == nil {
				n += readRest(stdout, buf, n)
			}
			if n > 0 {
				if logged >= 0 {
					// A log that is stuck must not hold the conversation up.
					_, _ = unix.Write(logged, buf[:n])
				}
				d.post(func() {
					if l.run == run {
						if debug {
							d.log.Print(activity.Debug, spawn.Quote(l.p.cfg.Name)+" stdout output:\n"+spawn.QuoteBytes(buf[:n]))
						}
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

// answerGather is how long a listener may take between a result and the READY
// after it for both to be shown in one piece.
const answerGather = 20 * time.Millisecond

// readRest reads behind the n bytes in buf what comes shortly after them, up to
// a READY: the debug log shows what a listener says as Supervisor's does, a
// result together with READY. It returns how many bytes came.
func readRest(stdout *os.File, buf []byte, n int) (more int) {
	raw, err := stdout.SyscallConn()
	if err != nil {
		return 0
	}
	end := time.Now().Add(answerGather)
	_ = raw.Control(func(fd uintptr) {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for n+more < len(buf) && !bytes.HasSuffix(buf[:n+more], []byte("READY\n")) {
			left := time.Until(end)
			if left <= 0 {
				return
			}
			got, err := unix.Poll(ready, int(left/time.Millisecond)+1)
			if err == unix.EINTR {
				continue
			}
			if err != nil || got == 0 {
				return
			}
			m, err := unix.Read(int(fd), buf[n+more:])
			if err != nil || m <= 0 {
				return
			}
			more += m
		}
	})
	return more
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
