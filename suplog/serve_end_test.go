package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/logwire"
)

// Two programs whose output goes to one file are both told of its outage, also
// when the first of them is gone.
func TestOutageOfASharedFile(t *testing.T) {
	d := newDaemon(t)
	d.start()
	os.Mkdir(d.log("dir"), 0o755)
	shared := logwire.Settings{Path: d.log("dir/a.log")}
	a, b, c := d.stream(shared), d.stream(shared), d.stream(shared)
	d.must(logwire.Message{Kind: logwire.Close, Stream: a.id}, logwire.Closed)
	if err := os.RemoveAll(d.log("dir")); err != nil {
		t.Fatal(err)
	}
	// Now the directory cannot be made again.
	if err := os.WriteFile(d.log("dir"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.write(t, "line\n")
	for _, want := range []logwire.Condition{logwire.Outage, logwire.Healed} {
		told := map[logwire.Stream]bool{}
		for len(told) < 2 {
			m := d.other(func(m *logwire.Message) bool { return m.Kind == logwire.Error })
			if m.Condition != want || told[m.Stream] || m.Stream == a.id {
				t.Fatalf("condition %d of stream %d: %s", m.Condition, m.Stream, m.Text)
			}
			told[m.Stream] = true
		}
		os.Remove(d.log("dir"))
	}
	d.drain(b)
	d.drain(c)
	sameLog(t, "a.log", read(t, d.log("dir/a.log")), "line\n")
}

// Stop does not wait for a disk that stays full; what is given up is told.
func TestStopDuringAnOutage(t *testing.T) {
	for _, onFull := range []logwire.OnFull{logwire.Drop, logwire.Block} {
		d := newDaemon(t)
		d.start()
		plain := d.stream(logwire.Settings{Path: "/dev/full", OnFull: onFull})
		looked := d.stream(logwire.Settings{Path: "/dev/full", OnFull: onFull, Prefix: "x"})
		plain.write(t, "given up\n")
		looked.write(t, "this too\n")
		for range 2 {
			d.other(func(m *logwire.Message) bool { return m.Condition == logwire.Outage })
		}
		began := time.Now()
		d.send(logwire.Message{Kind: logwire.Stop})
		lost := map[logwire.Stream]uint64{}
		for range 2 {
			m := d.other(func(m *logwire.Message) bool { return m.Condition == logwire.Dropped })
			lost[m.Stream] += m.N
		}
		d.ends()
		if took := time.Since(began); took >= endPatience {
			t.Errorf("suplog ends after %v", took)
		}
		// What has been looked at counts as it would have been written.
		if raw := uint64(len("this too\n")); lost[plain.id] != uint64(len("given up\n")) || lost[looked.id] != raw && lost[looked.id] != raw+uint64(len("x | ")) {
			t.Errorf("told %v", lost)
		}
	}
}

// A file that somebody else cuts short is written on, and nothing is told.
func TestTruncationIsNoOutage(t *testing.T) {
	d := newDaemon(t)
	d.start()
	a := d.stream(logwire.Settings{Path: d.log("a.log")})
	b := d.stream(logwire.Settings{Path: d.log("a.log")})
	for range 5 {
		for _, s := range []*testStream{a, b} {
			s.write(t, "some line\n")
			d.drain(s)
		}
		if err := os.Truncate(d.log("a.log"), 0); err != nil {
			t.Fatal(err)
		}
		a.write(t, "line\n")
		d.drain(a)
		sameLog(t, "a.log", read(t, d.log("a.log")), "line\n")
	}
	select {
	case m := <-d.others:
		if m.Kind == logwire.Error {
			t.Errorf("told %q", m.Text)
		}
	default:
	}
}

// A FIFO that nobody reads does not keep a stream from being closed.
func TestStopWithASlowLog(t *testing.T) {
	d := newDaemon(t)
	d.start()
	if err := unix.Mkfifo(d.log("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(d.log("fifo"), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	s := d.stream(logwire.Settings{Path: d.log("fifo")})
	const size = 90000
	s.write(t, strings.Repeat("x", size/2))
	d.drain(s)
	s.write(t, strings.Repeat("y", size/2))
	d.send(logwire.Message{Kind: logwire.Stop})
	m := d.other(func(m *logwire.Message) bool { return m.Condition == logwire.Dropped })
	d.ends()
	got := make([]byte, size)
	n, _ := reader.Read(got)
	if m.N == 0 || int(m.N)+n != size || m.Errno != unix.EAGAIN {
		t.Errorf("%d bytes arrived, %d were told as dropped (%v)", n, m.N, m.Errno)
	}
}

// Without supd, SIGTERM ends suplog. Nothing is lost by that: what it has not
// written stays in the pipe.
func TestTermWithoutDaemon(t *testing.T) {
	d := newDaemon(t)
	d.path = d.log("keeper.sock")
	d.start()
	plain := d.stream(logwire.Settings{Path: d.log("a.log")})
	held := d.stream(logwire.Settings{Path: d.log("b.log"), StripANSI: true})
	down := d.stream(logwire.Settings{Path: d.log("no/such/dir/c.log")})
	for _, s := range []*testStream{plain, held} {
		s.write(t, "one\n")
		d.drain(s)
	}
	if err := d.cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*testStream{plain, held} { // it is still there
		s.write(t, "two\n")
		d.drain(s)
	}
	held.write(t, "end\x1b")
	down.write(t, "stays\n")
	d.drain(held)
	d.conn.Close()
	<-d.received
	// Its side may take a moment to see that.
	gone := make(chan error, 1)
	cmd := d.cmd
	go func() { gone <- cmd.Wait() }()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for done := false; !done; {
		select {
		case err := <-gone:
			if err != nil {
				t.Errorf("suplog ends with %v", err)
			}
			done = true
		case <-again.C:
			_ = cmd.Process.Signal(unix.SIGTERM)
		case <-time.After(patience):
			t.Fatal("SIGTERM does not end it")
		}
	}
	d.cmd = nil
	sameLog(t, "a.log", read(t, d.log("a.log")), "one\ntwo\n")
	sameLog(t, "b.log", read(t, d.log("b.log")), "one\ntwo\nend\x1b")
	if n, err := unix.IoctlGetInt(down.r, unix.TIOCINQ); err != nil || n != len("stays\n") {
		t.Errorf("%d bytes stay in the pipe, %v", n, err)
	}
}
