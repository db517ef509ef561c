package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/logwire"
	"sup/suplog/internal/transform"
)

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestStreamReachesItsFile(t *testing.T) {
	d := newDaemon(t)
	d.start()
	s := d.stream(logwire.Settings{Path: d.log("a.log")})
	s.write(t, "hello\nprompt> ")
	d.drain(s)
	sameLog(t, "a.log", read(t, d.log("a.log")), "hello\nprompt> ")

	// The end of a run is not the end of the stream.
	s.closeWriter()
	d.drain(s)
	s.reopenWriter(t)
	s.write(t, "again\n")
	d.drain(s)
	sameLog(t, "a.log", read(t, d.log("a.log")), "hello\nprompt> again\n")

	os.Rename(d.log("a.log"), d.log("a.old"))
	s.write(t, "old\n")
	d.drain(s)
	d.must(logwire.Message{Kind: logwire.Reopen, Stream: s.id}, logwire.Reopened)
	s.write(t, "new\n")
	d.drain(s)
	sameLog(t, "a.log", read(t, d.log("a.log")), "new\n")
	sameLog(t, "a.old", read(t, d.log("a.old")), "hello\nprompt> again\nold\n")

	d.must(logwire.Message{Kind: logwire.Clear, Stream: s.id}, logwire.Cleared)
	sameLog(t, "a.log", read(t, d.log("a.log")), "")
	s.write(t, "cleared\n")
	d.must(logwire.Message{Kind: logwire.Set, Stream: s.id, Settings: logwire.Settings{Path: d.log("b.log")}}, logwire.Opened)
	s.write(t, "to b\n")
	d.must(logwire.Message{Kind: logwire.Close, Stream: s.id}, logwire.Closed)
	if got := read(t, d.log("a.log")) + read(t, d.log("b.log")); got != "cleared\nto b\n" {
		t.Errorf("the two logs hold %q", got)
	}
	if a := d.ask(logwire.Message{Kind: logwire.Drain, Stream: s.id}); a.Kind != logwire.Failed {
		t.Errorf("a closed stream answers %s", a.Kind)
	}
}

func TestEventsCarryThePID(t *testing.T) {
	d := newDaemon(t)
	d.start()
	for _, path := range []string{d.log("a.log"), ""} {
		s := d.stream(logwire.Settings{Path: path, Events: true})
		s.write(t, "one\n")
		d.send(logwire.Message{Kind: logwire.Run, Stream: s.id, PID: 2})
		d.drain(s)
		s.write(t, "second\n")
		d.drain(s)
		if got := d.emitted(s); got != "one\nsecond\n" {
			t.Errorf("emitted %q", got)
		}
		d.mu.Lock()
		if s.pids[1] != 4 || s.pids[2] != 7 {
			t.Errorf("bytes by pid are %v", s.pids)
		}
		d.mu.Unlock()
		if path != "" {
			sameLog(t, path, read(t, path), "one\nsecond\n")
		}
	}
}

func TestCapture(t *testing.T) {
	d := newDaemon(t)
	d.start()
	s := d.stream(logwire.Settings{Path: d.log("a.log"), CaptureMax: 10, StripANSI: true, Events: true})
	for _, b := range []byte("be\x1b[1mfore" + transform.Begin + "short" + transform.End + transform.Begin + "much too long" + transform.End + "after\n<!--X") {
		s.write(t, string(b))
		if b == 'X' {
			d.drain(s)
		}
	}
	sameLog(t, "a.log", read(t, d.log("a.log")), "beforeafter\n")
	s.closeWriter()
	d.drain(s)
	sameLog(t, "a.log", read(t, d.log("a.log")), "beforeafter\n<!--X")
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(s.comms) != 2 || s.comms[0] != "short" || s.comms[1] != "h too long" {
		t.Errorf("captured %q", s.comms)
	}
	if got := s.data.String(); got != "beforeafter\n<!--X" {
		t.Errorf("emitted %q", got)
	}
}

func TestOpenFails(t *testing.T) {
	d := newDaemon(t)
	d.start()
	os.Mkdir(d.log("dir"), 0o755)
	s := d.stream(logwire.Settings{Path: d.log("dir")})
	a := d.ask(logwire.Message{Kind: logwire.Reopen, Stream: s.id})
	if a.Kind != logwire.Failed || a.Errno != unix.EISDIR || !strings.Contains(a.Text, "is a directory") {
		t.Errorf("got %+v", a)
	}
	// It is served all the same, and heals.
	s.write(t, "kept\n")
	os.Remove(d.log("dir"))
	d.drain(s)
	sameLog(t, "dir", read(t, d.log("dir")), "kept\n")
	d.other(func(m *logwire.Message) bool { return m.Kind == logwire.Error && m.Condition == logwire.Healed })
}

func TestSharedFile(t *testing.T) {
	d := newDaemon(t)
	d.start()
	a := d.stream(logwire.Settings{Path: d.log("a.log"), MaxBytes: 20, Backups: 5})
	b := d.stream(logwire.Settings{Path: d.log("./a.log"), MaxBytes: 20, Backups: 5})
	for range 3 {
		a.write(t, "from a\n")
		d.drain(a)
		b.write(t, "from b\n")
		d.drain(b)
	}
	if got := whole(t, d.log("a.log")); got != strings.Repeat("from a\nfrom b\n", 3) {
		t.Errorf("the log holds %q", got)
	}
	d.must(logwire.Message{Kind: logwire.Close, Stream: a.id}, logwire.Closed)
	b.write(t, "b alone\n")
	d.drain(b)
	if got := whole(t, d.log("a.log")); !strings.HasSuffix(got, "from b\nb alone\n") {
		t.Errorf("the log holds %q", got)
	}
}

func TestNewDaemonTakesItsStreamsBack(t *testing.T) {
	d := newDaemon(t)
	d.path = d.log("keeper.sock")
	d.start()
	<-d.hello
	settings := logwire.Settings{Name: "x stdout", Path: d.log("a.log"), StripANSI: true}
	s := d.stream(settings)
	s.write(t, "one\n")
	d.drain(s)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	d.send(logwire.Message{Kind: logwire.Hold, Text: "deposit", FDs: []int{int(r.Fd())}})
	r.Close()
	d.drain(s)

	d.conn.Close() // the daemon dies
	s.write(t, "two\n")
	d.connect()
	d.received = make(chan struct{})
	go d.receive(d.conn, d.received)
	d.send(logwire.Message{Kind: logwire.Hello, N: logwire.Version})
	if h := <-d.hello; h.Count != 1 || h.Held != 1 || int(h.PID) != d.cmd.Process.Pid {
		t.Errorf("hello is %+v", h)
	}
	m := d.other(func(m *logwire.Message) bool { return m.Kind == logwire.Serving })
	if m.Stream != s.id || m.Settings != settings || m.PID != 1 || len(m.FDs) != 1+stagingFDs || !samePipe(m.FDs[0], s.r) {
		t.Errorf("serving is %+v", m)
	}
	logwire.CloseFDs(m.FDs)
	m = d.other(func(m *logwire.Message) bool { return m.Kind == logwire.Held })
	if m.Text != "deposit" || len(m.FDs) != 1 {
		t.Errorf("held is %+v", m)
	}
	logwire.CloseFDs(m.FDs)
	d.drain(s)
	sameLog(t, "a.log", read(t, d.log("a.log")), "one\ntwo\n")

	d.send(logwire.Message{Kind: logwire.Stop})
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("suplog ends with %v", err)
	}
	d.cmd = nil
}

// What a daemon has sent before it died is not lost when the next one is there
// before it was read: a program may have ended meanwhile, and nobody else has its
// pipe.
func TestLastWordsOfADaemon(t *testing.T) {
	d := newDaemon(t)
	d.path = d.log("keeper.sock")
	d.start()
	<-d.hello
	if err := d.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("last words\n"); err != nil {
		t.Fatal(err)
	}
	d.send(logwire.Message{Kind: logwire.Open, Stream: 77, Seq: 1, Settings: logwire.Settings{Name: "y stdout", Path: d.log("b.log")}, FDs: []int{int(r.Fd())}})
	r.Close()
	w.Close()
	d.conn.Close()
	d.connect()
	d.received = make(chan struct{})
	go d.receive(d.conn, d.received)
	d.send(logwire.Message{Kind: logwire.Hello, N: logwire.Version})
	if err := d.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if h := <-d.hello; h.Count != 1 {
		t.Errorf("hello is %+v", h)
	}
	d.send(logwire.Message{Kind: logwire.Stop})
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("suplog ends with %v", err)
	}
	d.cmd = nil
	sameLog(t, "b.log", read(t, d.log("b.log")), "last words\n")
}

// The last of several daemons is served though those before it are still there.
func TestLastOfSeveralDaemons(t *testing.T) {
	d := newDaemon(t)
	d.path = d.log("keeper.sock")
	d.start()
	<-d.hello
	var before []*logwire.Conn
	for range 2 {
		before = append(before, d.conn)
		d.connect()
	}
	d.received = make(chan struct{})
	go d.receive(d.conn, d.received)
	d.send(logwire.Message{Kind: logwire.Hello, N: logwire.Version})
	select {
	case <-d.hello:
	case <-time.After(20 * time.Second):
		t.Error("no answer")
	}
	for _, conn := range before {
		conn.Close()
	}
	d.send(logwire.Message{Kind: logwire.Stop})
	d.ends()
}

func TestPairEndsWithTheLastWriter(t *testing.T) {
	d := newDaemon(t)
	d.start()
	s := d.stream(logwire.Settings{Path: d.log("a.log")})
	d.conn.Close()
	s.write(t, "last words\n")
	s.closeWriter()
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("suplog ends with %v", err)
	}
	d.cmd = nil
	sameLog(t, "a.log", read(t, d.log("a.log")), "last words\n")
}

func TestStopWritesWhatThereIs(t *testing.T) {
	d := newDaemon(t)
	d.start()
	s := d.stream(logwire.Settings{Path: d.log("a.log"), Events: true})
	want := strings.Repeat("x", 60000) + "\n"
	s.write(t, want)
	d.send(logwire.Message{Kind: logwire.Stop})
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("suplog ends with %v", err)
	}
	d.cmd = nil
	sameLog(t, "a.log", read(t, d.log("a.log")), want)
}

// TestRemovedLog: a log that somebody removed or renamed is there again when
// there is output, or when it is cleared, and not before.
func TestRemovedLog(t *testing.T) {
	d := newDaemon(t)
	d.start()
	path := d.log("a.log")
	s := d.stream(logwire.Settings{Path: path})
	s.write(t, "one\n")
	d.drain(s)
	os.Remove(path)
	d.drain(s)
	if _, err := os.Stat(path); err == nil {
		t.Error("the removed log is there again without output")
	}
	s.write(t, "two\n")
	d.drain(s)
	sameLog(t, "a.log", read(t, path), "two\n")
	os.Remove(path)
	d.must(logwire.Message{Kind: logwire.Clear, Stream: s.id}, logwire.Cleared)
	sameLog(t, "a.log", read(t, path), "")
	s.write(t, "three\n")
	d.drain(s)
	os.Rename(path, path+".moved")
	d.must(logwire.Message{Kind: logwire.Clear, Stream: s.id}, logwire.Cleared)
	s.write(t, "four\n")
	d.drain(s)
	sameLog(t, "a.log.moved", read(t, path+".moved"), "three\n")
	sameLog(t, "a.log", read(t, path), "four\n")
}
