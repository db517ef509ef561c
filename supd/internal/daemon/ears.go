package daemon

import (
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ears hears what event listeners say. A listener gets one event at a time, so
// how many it gets in a second depends on how long its answer takes to be
// heard. That is why there is a goroutine, and a thread, that waits for answers
// in the kernel and takes a turn of the loop for each: Go's poller, a goroutine
// that reads, and a message to the loop would be three switches of threads.
type ears struct {
	d     *Daemon
	epoll int // -1 before there is a listener
	runs  map[int32]*listenerRun
	buf   []byte // for one read
}

func newEars(d *Daemon) *ears {
	return &ears{d: d, epoll: -1, runs: map[int32]*listenerRun{}, buf: make([]byte, 8<<10)}
}

// attend begins to hear a run of a listener.
func (e *ears) attend(r *listenerRun) error {
	if e.epoll < 0 {
		fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			return os.NewSyscallError("epoll_create1", err)
		}
		e.epoll = fd
		go e.hear()
	}
	e.runs[int32(r.stdout)] = r
	err := unix.EpollCtl(e.epoll, unix.EPOLL_CTL_ADD, r.stdout, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(r.stdout)})
	return os.NewSyscallError("epoll_ctl", err)
}

// leave is to be called before the standard output of a run is closed.
func (e *ears) leave(r *listenerRun) {
	if e.runs[int32(r.stdout)] == r {
		delete(e.runs, int32(r.stdout))
		_ = unix.EpollCtl(e.epoll, unix.EPOLL_CTL_DEL, r.stdout, nil)
	}
}

// hear takes turns for listeners, for the life of the daemon.
func (e *ears) hear() {
	events := make([]unix.EpollEvent, 64)
	d := e.d
	for {
		n, err := unix.EpollWait(e.epoll, events, -1)
		if err != nil && err != unix.EINTR {
			panic("cannot wait for event listeners: " + err.Error()) // nothing can be done without
		}
		d.floor.Lock()
		for i := range max(n, 0) {
			if r := e.runs[events[i].Fd]; r != nil {
				r.read()
			}
		}
		d.progress()
		d.settle()
		d.recall()
		d.floor.Unlock()
	}
}

// recall has the loop look at the timers if one is due before it would wake up,
// or at the end if that has come.
func (d *Daemon) recall() {
	at, ok := d.timers.next()
	if !d.finished && (!ok || at >= d.sleepsUntil) {
		return
	}
	select {
	case d.mail <- func() {}:
	default: // it has enough to wake up for
	}
}

// forever is later than any timer.
const forever = time.Duration(math.MaxInt64)
