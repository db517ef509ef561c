package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/logfile"
	"sup/lib/logwire"
)

// patience bounds every wait of the tests.
const patience = 60 * time.Second

// daemon plays supd: it makes pipes, keeps their read ends, and hands them to a
// real suplog, again after that was killed.
type daemon struct {
	t    testing.TB
	dir  string
	path string // of the socket, "" for a pair

	cmd  *exec.Cmd
	conn *logwire.Conn
	seq  uint32
	// received is closed when all that came over conn has been received.
	received chan struct{}

	mu      sync.Mutex
	streams map[logwire.Stream]*testStream
	waiting map[uint32]chan logwire.Message
	hello   chan logwire.Message
	others  chan logwire.Message // Error, Serving, Held
}

// testStream is a stream as supd sees it.
type testStream struct {
	id       logwire.Stream
	r, w     int // w is a write end of ours, -1 if closed
	settings logwire.Settings
	kept     []int
	data     bytes.Buffer // guarded by daemon.mu
	pids     map[int64]int
	comms    []string
	part     []byte
}

func newDaemon(t testing.TB) *daemon {
	d := &daemon{
		t: t, dir: t.TempDir(), streams: map[logwire.Stream]*testStream{},
		waiting: map[uint32]chan logwire.Message{}, hello: make(chan logwire.Message, 16), others: make(chan logwire.Message, 1000),
	}
	t.Cleanup(d.cleanup)
	return d
}

func (d *daemon) cleanup() {
	if d.cmd != nil {
		d.kill()
	}
	d.mu.Lock() // receive may still be at what was said last
	defer d.mu.Unlock()
	for _, s := range d.streams {
		unix.Close(s.r)
		if s.w >= 0 {
			unix.Close(s.w)
		}
		logwire.CloseFDs(s.kept)
	}
}

// start starts suplog and hands it every stream.
func (d *daemon) start() {
	d.t.Helper()
	var control *os.File
	var err error
	if d.path != "" {
		l, err := logwire.Listen(d.path)
		if err != nil {
			d.t.Fatal(err)
		}
		control = l.File()
	} else if d.conn, control, err = logwire.Pair(); err != nil {
		d.t.Fatal(err)
	}
	d.cmd = exec.Command(os.Args[0], "--serve", d.dir, "--control", "3")
	d.cmd.Env = append(os.Environ(), asSuplog+"=1")
	d.cmd.ExtraFiles = []*os.File{control}
	d.cmd.Stderr = os.Stderr
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	control.Close()
	if d.path != "" {
		d.connect()
	}
	d.received = make(chan struct{})
	go d.receive(d.conn, d.received)
	d.send(logwire.Message{Kind: logwire.Hello, N: logwire.Version})
	for _, s := range d.streams {
		d.mu.Lock()
		fds := append([]int{s.r}, s.kept...)
		d.mu.Unlock()
		d.send(logwire.Message{Kind: logwire.Open, Stream: s.id, Seq: d.next(), PID: 1, Settings: s.settings, FDs: fds})
	}
}

func (d *daemon) connect() {
	d.t.Helper()
	var err error
	if d.conn, err = logwire.Dial(d.path); err != nil {
		d.t.Fatal(err)
	}
}

// kill kills suplog at once and waits for its end.
func (d *daemon) kill() {
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
	<-d.received // what it still had to say
	d.conn.Close()
	d.cmd = nil
}

// ends waits for suplog to end by itself.
func (d *daemon) ends() {
	d.t.Helper()
	if err := d.cmd.Wait(); err != nil {
		d.t.Errorf("suplog ends with %v", err)
	}
	<-d.received // what it still had to say
	d.cmd = nil
}

func (d *daemon) send(m logwire.Message) {
	if err := d.conn.Send(&m); err != nil {
		d.t.Errorf("send %s: %v", m.Kind, err)
	}
}

func (d *daemon) next() uint32 {
	d.seq++
	return d.seq
}

// receive sorts what suplog says, until it is gone.
func (d *daemon) receive(conn *logwire.Conn, done chan<- struct{}) {
	defer close(done)
	for {
		var m logwire.Message
		if conn.Receive(&m) != nil {
			return
		}
		d.mu.Lock()
		s := d.streams[m.Stream]
		switch m.Kind {
		case logwire.Hello:
			select {
			case d.hello <- m:
			default:
			}
		case logwire.Data:
			s.data.Write(m.Data)
			s.pids[m.PID] += len(m.Data)
		case logwire.Comm:
			s.part = append(s.part, m.Data...)
			if !m.More {
				s.comms = append(s.comms, string(s.part))
				s.part = nil
			}
		case logwire.Keep:
			logwire.CloseFDs(s.kept)
			s.kept = m.FDs
		default:
			if ch := d.waiting[m.Seq]; ch != nil && m.Seq != 0 {
				delete(d.waiting, m.Seq)
				ch <- m
			} else {
				select {
				case d.others <- m:
				default:
				}
			}
		}
		d.mu.Unlock()
	}
}

// ask sends a question and waits for its answer.
func (d *daemon) ask(m logwire.Message) logwire.Message {
	d.t.Helper()
	m.Seq = d.next()
	ch := make(chan logwire.Message, 1)
	d.mu.Lock()
	d.waiting[m.Seq] = ch
	d.mu.Unlock()
	d.send(m)
	select {
	case a := <-ch:
		return a
	case <-time.After(patience):
		d.t.Fatalf("no answer to %s", m.Kind)
		panic("unreachable")
	}
}

// must asks and wants an answer of the kind given.
func (d *daemon) must(m logwire.Message, want logwire.Kind) {
	d.t.Helper()
	if a := d.ask(m); a.Kind != want {
		d.t.Errorf("%s is answered by %s: %s", m.Kind, a.Kind, a.Text)
	}
}

// other waits for a message that is no answer.
func (d *daemon) other(is func(*logwire.Message) bool) logwire.Message {
	d.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case m := <-d.others:
			if is(&m) {
				return m
			}
		case <-timeout:
			d.t.Fatal("the message does not come")
		}
	}
}

// stream makes a stream and opens it, with a write end of ours.
func (d *daemon) stream(settings logwire.Settings) *testStream {
	d.t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		d.t.Fatal(err)
	}
	s := &testStream{r: fds[0], w: fds[1], settings: settings, pids: map[int64]int{}}
	if s.settings.Name == "" {
		s.settings.Name = "test"
	}
	d.mu.Lock()
	s.id = logwire.Stream(len(d.streams) + 1)
	d.streams[s.id] = s
	d.mu.Unlock()
	if a := d.ask(logwire.Message{Kind: logwire.Open, Stream: s.id, PID: 1, Settings: s.settings, FDs: []int{s.r}}); a.Kind != logwire.Opened {
		d.t.Logf("open is answered by %s: %s", a.Kind, a.Text)
	}
	return s
}

func (d *daemon) log(name string) string { return filepath.Join(d.dir, name) }

// write writes all of p into the stream's pipe.
func (s *testStream) write(t testing.TB, p string) {
	t.Helper()
	for b := []byte(p); len(b) > 0; {
		n, err := unix.Write(s.w, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		b = b[n:]
	}
}

// reopenWriter opens a fresh write end from the read end, as for a new run.
func (s *testStream) reopenWriter(t testing.TB) {
	t.Helper()
	var err error
	if s.w, err = unix.Open("/proc/self/fd/"+strconv.Itoa(s.r), unix.O_WRONLY|unix.O_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
}

func (s *testStream) closeWriter() {
	unix.Close(s.w)
	s.w = -1
}

func (d *daemon) drain(s *testStream) {
	d.t.Helper()
	d.must(logwire.Message{Kind: logwire.Drain, Stream: s.id}, logwire.Drained)
}

// emitted is what came as Data so far.
func (d *daemon) emitted(s *testStream) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return s.data.String()
}

// whole gives what a log and its backups hold, the oldest first.
func whole(t testing.TB, path string) string {
	t.Helper()
	var b bytes.Buffer
	for _, p := range append(logfile.Backups(path), path) {
		f, err := logfile.OpenLog(p)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(&b, f)
		f.Close()
	}
	return b.String()
}

// numbered writes lines that can be told apart.
func numbered(w io.Writer, tag string, from, to int) error {
	var b bytes.Buffer
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "%s %d %s\n", tag, i, "................................................................................................"[:i*7%97])
		if b.Len() > 3000 || i+1 == to {
			if _, err := w.Write(b.Bytes()); err != nil {
				return err
			}
			b.Reset()
		}
	}
	return nil
}

// lines is what numbered writes.
func lines(tag string, n int) string {
	var b bytes.Buffer
	_ = numbered(&b, tag, 0, n)
	return b.String()
}

// sameLog compares a log with what it should hold, and says where they part.
func sameLog(t testing.TB, name, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	t.Errorf("%s: %d bytes, want %d; they part at %d: %.60q, want %.60q", name, len(got), len(want), i, got[i:], want[i:])
}

type fdWriter int

func (w fdWriter) Write(p []byte) (n int, err error) {
	for n < len(p) {
		m, err := unix.Write(int(w), p[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}
