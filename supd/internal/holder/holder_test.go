package holder

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/logwire"
	"sup/lib/spawn"
	"sup/supd/internal/suphold"
)

// process is a suphold. This test's binary is one, too, if its environment says so.
type process struct {
	t    *testing.T
	conn *Conn
	path string // of its socket
	pid  int
	gone chan struct{}
}

func start(t *testing.T) *process {
	t.Helper()
	conn, peer, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	p := launch(t, conn, peer)
	here := make(chan int, 1)
	p.gone = make(chan struct{})
	go func() {
		conn.AwaitEnd(func(pid int) { here <- pid })
		close(p.gone)
	}()
	select {
	case p.pid = <-here:
	case <-p.gone:
		t.Fatal("it has ended at once")
	}
	t.Cleanup(func() { _ = unix.Kill(p.pid, unix.SIGKILL) })
	return p
}

// launch makes the process, which has yet to begin its work.
func launch(t *testing.T, conn *Conn, peer *os.File) *process {
	t.Helper()
	p := &process{t: t, conn: conn, path: filepath.Join(t.TempDir(), "holder.sock")}
	l, err := logwire.Listen(p.path)
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := int(null.Fd())
	child, err := spawn.Helper(&spawn.Command{
		Name: "suphold", Path: "/proc/self/exe", Argv: []string{"suphold", "test"}, Env: suphold.Environ("test"),
		Files: []int{n, n, n, int(peer.Fd()), int(l.File().Fd())},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Wait4(child, nil, 0, nil); err != nil { // it steps aside
		t.Fatal(err)
	}
	peer.Close()
	l.Close()
	null.Close()
	return p
}

// next connects as the next supd does.
func (p *process) next() ([]Entry, error) {
	p.t.Helper()
	p.conn.Close()
	conn, err := Dial(p.path)
	if err != nil {
		return nil, err
	}
	p.conn = conn
	p.t.Cleanup(conn.Close)
	pid, entries, err := conn.Held(10 * time.Second)
	if err == nil && p.pid != 0 && pid != p.pid {
		p.t.Errorf("pid %d, want %d", pid, p.pid)
	}
	return entries, err
}

func (p *process) mustNext() map[uint64]Entry {
	p.t.Helper()
	entries, err := p.next()
	if err != nil {
		p.t.Fatal(err)
	}
	byKey := map[uint64]Entry{}
	for _, e := range entries {
		byKey[e.Key] = e
		p.t.Cleanup(func() { logwire.CloseFDs(e.FDs) })
	}
	return byKey
}

func pipe(t *testing.T) (r, w int) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	return fds[0], fds[1]
}

func TestHold(t *testing.T) {
	p := start(t)
	a, aw := pipe(t)
	b, bw := pipe(t)
	c, cw := pipe(t)
	defer logwire.CloseFDs([]int{aw, bw, c})
	p.conn.Hold(1, "a stdout", 2, a)
	p.conn.Hold(2, "b stdout", 2, b, a)
	p.conn.Hold(1<<63|7, "c", 0, cw)
	p.conn.Hold(3, "d", 1, a)
	p.conn.Drop(3)
	p.conn.Hold(1, strings.Repeat("é", suphold.MaxName), 2, a, b)
	p.conn.Hold(1, "a stdout", 2, a)
	logwire.CloseFDs([]int{a, b, cw})
	if _, err := unix.Write(aw, []byte("text")); err != nil {
		t.Error(err)
	}

	held := p.mustNext()
	if len(held) != 3 || held[1].Name != "a stdout" || len(held[1].FDs) != 1 || len(held[2].FDs) != 2 || held[1<<63|7].Name != "c" {
		t.Fatalf("held is %v", held)
	}
	var text [10]byte
	if n, err := unix.Read(held[1].FDs[0], text[:]); string(text[:max(n, 0)]) != "text" {
		t.Errorf("read %q, %v", text[:max(n, 0)], err)
	}
	if flags, err := unix.FcntlInt(uintptr(held[1].FDs[0]), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("a descriptor that was handed back is inherited: %v, %v", flags, err)
	}

	// It ends when it is told to.
	p.conn.End()
	p.conn.AwaitEnd(nil)
	if _, err := p.next(); err == nil {
		t.Error("it has not ended")
	}
}

// A supd may be gone before the process that it has started begins its work.
func TestGoneBeforeItBegins(t *testing.T) {
	conn, peer, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	r, w := pipe(t)
	defer unix.Close(w)
	conn.Hold(7, "a stdout", 1, r)
	unix.Close(r)
	conn.Close()
	p := launch(t, conn, peer)
	held := p.mustNext()
	if len(held) != 1 || held[7].Name != "a stdout" {
		t.Errorf("held: %v", held)
	}
	p.conn.End()
	p.conn.AwaitEnd(func(int) {})
}

// Left alone, it holds what somebody can still write to or would read, and then
// ends.
func TestAlone(t *testing.T) {
	p := start(t)
	written, w1 := pipe(t)
	open, w2 := pipe(t)
	empty, w3 := pipe(t)
	staging, w4 := pipe(t)
	over, w5 := pipe(t)
	for i, fds := range [][]int{{written}, {open}, {empty}, {over, staging}} {
		p.conn.Hold(uint64(i), fmt.Sprint(i), 2, fds...)
	}
	for _, w := range []int{w1, w4} {
		if _, err := unix.Write(w, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	logwire.CloseFDs([]int{written, open, empty, staging, over, w1, w3, w5})
	// For a moment nobody is there; whether it comes to look then is chance.
	held := p.mustNext()
	for _, k := range []uint64{0, 1, 3} {
		if _, ok := held[k]; !ok {
			t.Errorf("%d is not held", k)
		}
	}
	for key := range held {
		if key != 1 {
			p.conn.Drop(key)
		}
	}
	gone := make(chan struct{})
	pidfd, err := spawn.Pidfd(p.pid)
	if err != nil {
		t.Skip(err)
	}
	defer unix.Close(pidfd)
	go func() {
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 10000)
		close(gone)
	}()
	p.conn.Close()
	select {
	case <-gone:
		t.Fatal("it has ended, and somebody can still write")
	default:
	}
	unix.Close(w2)
	unix.Close(w4)
	<-gone
	if _, err := p.next(); err == nil {
		t.Error("it has not ended when it was of no use any more")
	}
}

// What it takes does not grow with what it has done, and a burst that it does not
// take at once is queued.
func TestChurn(t *testing.T) {
	p := start(t)
	r, w := pipe(t)
	defer logwire.CloseFDs([]int{r, w})
	round := func() {
		for i := range 5000 {
			p.conn.Hold(uint64(i%50), fmt.Sprint("program ", i, " stdout"), 2, r, w)
			if i%3 == 0 {
				p.conn.Drop(uint64(i % 50))
			}
		}
	}
	size := func() int {
		entries := p.mustNext() // all that came before has been done
		if len(entries) == 0 {
			t.Error("nothing is held")
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.pid))
		if err != nil {
			t.Fatal(err)
		}
		var total, resident, shared int
		if _, err := fmt.Sscan(string(text), &total, &resident, &shared); err != nil {
			t.Fatal(err)
		}
		return (resident - shared) * os.Getpagesize()
	}
	settle := func() int {
		round()
		for done := false; !done; {
			p.conn.mu.Lock()
			done = len(p.conn.queue) == 0
			p.conn.mu.Unlock()
		}
		return size()
	}
	was := settle()
	for range 4 {
		settle()
	}
	if now := settle(); now > was+128<<10 {
		t.Errorf("it has grown from %d to %d bytes", was, now)
	}
}
