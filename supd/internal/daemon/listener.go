package daemon

import (
	"bytes"
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
	run  *listenerRun // of the process that runs, or that ran last
}

// listenerRun is one run of a listener. It belongs to the loop.
type listenerRun struct {
	l      *listener
	stdout int  // non-blocking
	logged int  // where the copy goes, -1 for nowhere
	ended  bool // its standard output is at its end, and closed
	// gathered is what was read and waits to be shown in the debug log; late
	// ends the wait.
	gathered []byte
	late     *timer
}

// answerGather is how long a listener may take between a result and the READY
// after it for both to be shown in one piece.
const answerGather = 20 * time.Millisecond

// started begins to read what a new run of the listener writes to stdout, a
// non-blocking descriptor that is ours from then on.
func (l *listener) started(stdout int) {
	run := &listenerRun{l: l, stdout: stdout, logged: -1}
	l.run = run
	if l.p.out.pipe >= 0 {
		if fd, err := openWriteEnd(l.p.out.pipe, -1, false); err == nil {
			_ = unix.SetNonblock(fd, true)
			run.logged = fd
		}
	}
	if err := l.p.d.ears.attend(run); err != nil {
		l.p.d.log.Print(activity.Error, "cannot listen to "+l.p.fullName()+": "+err.Error())
	}
}

// mostDrained bounds what is read of a listener that has ended, in bytes: what
// it has started may go on writing.
const mostDrained = 1 << 20

// drain reads what the ended listener wrote.
func (l *listener) drain() {
	for n := 0; l.run != nil && n < mostDrained; {
		m := l.run.read()
		if m == 0 {
			break
		}
		n += m
	}
	if l.run != nil {
		l.run.show()
	}
}

// ended closes the books of a run.
func (l *listener) ended() {
	if l.run != nil {
		l.run.end()
	}
	l.run = nil
}

// read deals with what there is to be read, up to a few kilobytes, and tells how
// much it was.
func (r *listenerRun) read() int {
	if r.ended {
		return 0
	}
	d := r.l.p.d
	n, err := unix.Read(r.stdout, d.ears.buf)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return 0
	case err != nil || n == 0:
		r.end()
		return 0
	}
	data := d.ears.buf[:n]
	if r.logged >= 0 {
		// A log that is stuck must not hold the conversation up.
		_, _ = unix.Write(r.logged, data)
	}
	if d.events.hub.Debug {
		r.gather(data)
	} else {
		d.events.do(r.l.pool.pool.Output(r.l.p.cfg.Name, data))
	}
	return n
}

// gather waits a moment for a READY to follow what was read: the debug log shows
// what a listener says as Supervisor's does, a result together with READY.
func (r *listenerRun) gather(data []byte) {
	r.gathered = append(r.gathered, data...)
	switch {
	case bytes.HasSuffix(r.gathered, []byte("READY\n")):
		r.show()
	case r.late == nil:
		r.late = r.l.p.d.after(answerGather, func() {
			r.show()
			r.l.p.d.progress()
		})
	}
}

// show shows what was gathered, and deals with it.
func (r *listenerRun) show() {
	d, name := r.l.p.d, r.l.p.cfg.Name
	if r.late != nil {
		d.timers.clear(r.late)
		r.late = nil
	}
	data := r.gathered
	r.gathered = nil
	if len(data) > 0 && r.l.run == r {
		d.log.Verbatim(activity.Debug, spawn.Quote(name)+" stdout output:\n"+spawn.QuoteBytes(data))
		d.events.do(r.l.pool.pool.Output(name, data))
	}
}

func (r *listenerRun) end() {
	r.show()
	if r.ended {
		return
	}
	r.ended = true
	r.l.p.d.ears.leave(r)
	unix.Close(r.stdout)
	if r.logged >= 0 {
		unix.Close(r.logged)
	}
}
