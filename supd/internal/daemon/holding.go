package daemon

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/logwire"
	"sup/lib/spawn"
	"sup/supd/internal/activity"
	"sup/supd/internal/holder"
	"sup/supd/internal/state"
	"sup/supd/internal/suphold"
)

// holdPlane is the loop's side of the process that holds the other ends of the pipes
// of programs (package suphold), so that these outlive us and suplog. A program
// has only the end that it needs: with the other one, too, whoever runs as another
// user below it could read its output.
//
// What is held goes by numbers: those of streams, and those of runs for what
// belongs to one run.
type holdPlane struct {
	d    *Daemon
	conn atomic.Pointer[holder.Conn] // nil while there is none; spawners read it
	// pid and ticks are those of the process, 0 while they are not known, and last
	// is the pid of the last one. It is our child only if orphans are.
	pid    int
	ticks  uint64
	last   int
	began  time.Duration
	before []uint64      // what the process of a daemon before holds, until settle
	gone   chan struct{} // closed at the end of the process
	ending bool
}

// runKey makes the number of a run a key.
const runKey = 1 << 63

func keyOfRun(number int64) uint64 { return runKey | uint64(number) }

// holderPatience is how long the process of a daemon before has to answer, and ours
// to end.
const holderPatience = time.Second

func newHoldPlane(d *Daemon) *holdPlane { return &holdPlane{d: d} }

// heldBefore is what the process of a daemon before holds.
type heldBefore struct {
	conn    *holder.Conn
	pid     int
	entries []holder.Entry
}

// find finds the process of a daemon before; nil if there is none that can be
// used. It is called before the loop runs, and may wait.
func (h *holdPlane) find() *heldBefore {
	conn, err := h.oldConn()
	if err != nil {
		return nil
	}
	b := &heldBefore{conn: conn}
	if b.pid, b.entries, err = conn.Held(holderPatience); err != nil {
		// One that hangs ends when what it holds is of no use any more.
		h.d.log.Print(activity.Warn, "cannot go on with the suphold of the daemon before: "+err.Error()+"; starting another one")
		conn.Close()
		return nil
	}
	if h.d.opts.HolderConn <= 0 && !state.IsHelper(suphold.Name, b.pid) {
		h.d.log.Print(activity.Warn, "what answers in the state directory is no suphold of ours, a container's perhaps; starting another one")
		for _, e := range b.entries {
			closeAll(e.FDs)
		}
		conn.Close()
		return nil
	}
	if len(b.entries) == 0 {
		conn.End()
		conn.Close()
		return nil
	}
	return b
}

func (h *holdPlane) oldConn() (*holder.Conn, error) {
	if fd := h.d.opts.HolderConn; fd > 0 {
		return holder.New(fd)
	}
	if h.d.opts.StateDir == nil {
		return nil, unix.ENOENT
	}
	return holder.Dial(h.d.opts.StateDir.HolderSocket())
}

// begin starts the process, where nothing is taken over. One that an earlier daemon
// may have left is told to end.
func (h *holdPlane) begin() {
	if old := h.find(); old != nil {
		old.conn.End()
		old.conn.Close()
		for _, e := range old.entries {
			closeAll(e.FDs)
		}
	}
	h.launch(h.listen())
}

// goOn goes on with the process of a daemon before, when suplog has handed back
// what it has; what is missing then comes from here: streams of process entries
// that kept says. With nil it starts one. settle is to follow.
func (h *holdPlane) goOn(old *heldBefore, kept func(*proc) bool) {
	if old == nil {
		h.launch(h.listen())
		return
	}
	h.use(old.conn)
	h.started(old.pid)
	missing := map[string]*stream{}
	for _, s := range h.d.logs.streams {
		if s.pipe < 0 && s.state == streamUnopened && kept(s.p) {
			missing[s.settings.Name] = s
		}
	}
	for _, e := range old.entries {
		h.before = append(h.before, e.Key)
		s := missing[e.Name]
		if e.Key&runKey != 0 || s == nil || len(e.FDs) == 0 {
			closeAll(e.FDs)
			continue
		}
		delete(missing, e.Name)
		s.pipe, s.kept = e.FDs[0], e.FDs[1:]
		s.open()
		// Its program may have ended meanwhile.
		h.d.soon(s.rest)
	}
}

// settle has everything held that there is, and nothing else, once it is known what
// was taken over.
func (h *holdPlane) settle() {
	needed := h.tell()
	for _, key := range h.before {
		if !slices.Contains(needed, key) {
			h.drop(key)
		}
	}
	h.before = nil
}

// tell has everything held that there is, and gives the keys.
func (h *holdPlane) tell() (keys []uint64) {
	for _, s := range h.d.logs.streams {
		if s.pipe >= 0 {
			h.holdStream(s)
			keys = append(keys, uint64(s.id))
		}
	}
	for _, p := range h.d.listing {
		if p.m.PID != 0 {
			h.holdRun(p)
			keys = append(keys, keyOfRun(p.run.number))
		}
	}
	return keys
}

// listen makes the socket on which a daemon after us finds the process; nil if
// there is none.
func (h *holdPlane) listen() *logwire.Listener {
	dir := h.d.opts.StateDir
	if dir == nil {
		return nil
	}
	l, err := logwire.Listen(dir.HolderSocket())
	if err != nil {
		h.d.log.Print(activity.Warn, "suphold has no socket: "+err.Error())
		return nil
	}
	return l
}

// restart starts the process again. It does not wait: the socket lies in a
// directory, and that may be on a disk that hangs.
func (h *holdPlane) restart() {
	go func() {
		l := h.listen()
		h.d.post(func() {
			h.launch(l)
			h.tell()
		})
	}()
}

// launch starts the process. What is to be held waits in the connection until it
// is there, so that this holds up no program.
func (h *holdPlane) launch(l *logwire.Listener) {
	if h.ending {
		if l != nil {
			l.Close()
		}
		return
	}
	conn, peer, err := holder.Pair()
	var null *os.File
	if err == nil {
		if null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
			conn.Close()
			peer.Close()
		}
	}
	if err != nil {
		if l != nil {
			l.Close()
		}
		h.failed(err)
		return
	}
	n := int(null.Fd())
	files := []int{n, n, n, int(peer.Fd())}
	if l != nil {
		files = append(files, int(l.File().Fd()))
	}
	h.began = h.d.now()
	serves := h.d.logs.serves()
	h.d.startHelper(&helperJob{
		command: spawn.Command{
			Name: suphold.Name, Path: "/proc/self/exe", Argv: []string{suphold.Name, serves}, Dir: "/",
			Env: suphold.Environ(serves), Umask: -1, UID: -1, Files: files,
		},
		done: func(pid int, err error) {
			null.Close()
			peer.Close()
			if l != nil {
				l.Close()
			}
			if err == nil {
				// It steps aside for the process proper.
				h.d.helpers[pid] = func(unix.WaitStatus) {}
			} else if h.conn.CompareAndSwap(conn, nil) {
				conn.Close()
				h.failed(err)
			}
		},
	})
	h.use(conn)
}

// started notes the process.
func (h *holdPlane) started(pid int) {
	h.pid, h.last = pid, pid
	h.ticks, _, _ = state.Ticks(pid)
}

// use goes on over a connection.
func (h *holdPlane) use(conn *holder.Conn) {
	h.conn.Store(conn)
	gone := make(chan struct{})
	h.gone = gone
	go func() {
		conn.AwaitEnd(func(pid int) { h.d.post(func() { h.started(pid) }) })
		close(gone)
		h.d.post(func() {
			if h.conn.CompareAndSwap(conn, nil) {
				conn.Close()
				h.over()
			}
		})
	}()
}

// over starts the process again.
func (h *holdPlane) over() {
	ready := h.pid != 0
	h.pid, h.ticks = 0, 0
	switch {
	case h.ending:
		return
	case !ready:
		h.failed(errors.New("it has ended before it was ready"))
		return
	}
	const soon = time.Second
	h.d.log.Print(activity.Warn, "suphold ended; starting it again, no output is lost")
	if h.d.now()-h.began < soon {
		h.d.after(soon, h.restart)
		return
	}
	h.restart()
}

func (h *holdPlane) failed(err error) {
	h.d.log.Print(activity.Error, "cannot start suphold: "+err.Error()+"; programs would not outlive the end of both supd and suplog")
	h.d.after(5*time.Second, h.restart)
}

// holdStream has the read end of a stream held, and what suplog keeps with it.
func (h *holdPlane) holdStream(s *stream) {
	if c := h.conn.Load(); c != nil {
		// What is in the first pipe that suplog keeps is not in the log yet.
		c.Hold(uint64(s.id), s.settings.Name, 2, append([]int{s.pipe}, s.kept...)...)
	}
}

// holdRun has our ends of the pipes of a run held.
func (h *holdPlane) holdRun(p *proc) {
	h.holdPipes(p.run.number, p.fullName(), p.ends())
}

// holdPipes is holdRun for a run that is about to be made. Any goroutine may call
// it.
func (h *holdPlane) holdPipes(number int64, name string, fds []int) {
	if c := h.conn.Load(); c != nil && len(fds) > 0 {
		c.Hold(keyOfRun(number), name, 0, fds...)
	}
}

func (h *holdPlane) drop(key uint64) {
	if c := h.conn.Load(); c != nil {
		c.Drop(key)
	}
}

// fd is the descriptor of the connection, to be left to the next image; 0 without
// one.
func (h *holdPlane) fd() int {
	if c := h.conn.Load(); c != nil {
		return c.FD()
	}
	return 0
}

// end tells the process to end. What it holds we have, too.
func (h *holdPlane) end() {
	h.ending = true
	if c := h.conn.Load(); c != nil {
		c.End()
	}
}

// awaitEnd waits until the process has ended, as one of the last things that the
// loop does.
func (h *holdPlane) awaitEnd() {
	if h.conn.Load() == nil {
		return
	}
	patience := time.NewTimer(holderPatience)
	defer patience.Stop()
	for {
		select {
		case f := <-h.d.mail:
			f()
		case <-h.gone:
			h.d.reap()
			return
		case <-patience.C:
			h.d.log.Print(activity.Error, fmt.Sprintf("suphold (pid %d) does not end", h.pid))
			if held, _, err := state.Hold(h.pid, h.ticks); err == nil {
				_ = held.Signal(unix.SIGKILL, false)
				held.Close()
			}
			return
		}
	}
}
