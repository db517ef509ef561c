package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/logwire"
)

// more names further logs.
func more(logs ...string) string { return strings.Join(logs, "\x00") + "\x00" }

func TestSeveralLogs(t *testing.T) {
	d := newDaemon(t)
	d.start()
	s := d.stream(logwire.Settings{Path: d.log("a.log"), More: more(d.log("b.log"), d.log("./a.log")), MaxBytes: 20, Backups: 5, Prefix: "x"})
	other := d.stream(logwire.Settings{Path: d.log("c.log"), More: more(d.log("b.log")), MaxBytes: 20, Backups: 5})
	for i := range 4 {
		s.write(t, fmt.Sprintln("line", i))
		d.drain(s)
	}
	for _, name := range []string{"a.log", "b.log"} {
		sameLog(t, name, whole(t, d.log(name)), "x | line 0\nx | line 1\nx | line 2\nx | line 3\n")
		if got := read(t, d.log(name)+".1"); got != "x | line 2\nx | line 3\n" {
			t.Errorf("%s.1 holds %q", name, got)
		}
	}
	d.must(logwire.Message{Kind: logwire.Clear, Stream: s.id}, logwire.Cleared)
	os.Rename(d.log("a.log"), d.log("a.old"))
	d.must(logwire.Message{Kind: logwire.Reopen, Stream: s.id}, logwire.Reopened)
	s.write(t, "again")
	d.drain(s)
	other.write(t, " and\n")
	d.drain(other)
	sameLog(t, "a.log", read(t, d.log("a.log")), "x | again")
	sameLog(t, "b.log", read(t, d.log("b.log")), "x | again and\n")
	sameLog(t, "c.log", read(t, d.log("c.log")), " and\n")

	// From several to one, and back.
	d.must(logwire.Message{Kind: logwire.Set, Stream: s.id, Settings: logwire.Settings{Path: d.log("a.log")}}, logwire.Opened)
	s.write(t, " one\n")
	d.drain(s)
	d.must(logwire.Message{Kind: logwire.Set, Stream: s.id, Settings: logwire.Settings{More: more(d.log("d.log"), d.log("a.log"))}}, logwire.Opened)
	s.write(t, "two\n")
	d.must(logwire.Message{Kind: logwire.Close, Stream: s.id}, logwire.Closed)
	sameLog(t, "a.log", read(t, d.log("a.log")), "x | again one\ntwo\n")
	sameLog(t, "d.log", read(t, d.log("d.log")), "two\n")
}

// TestKillWithSeveralLogs: whatever suplog was doing, each of the logs has each
// line once and in order.
func TestKillWithSeveralLogs(t *testing.T) {
	d := newDaemon(t)
	d.start()
	settings := []logwire.Settings{
		{Path: d.log("0.log"), More: more(d.log("0.copy")), MaxBytes: 100e3, Backups: 10000},
		{Path: d.log("1.log"), More: more(d.log("1.copy"), "/dev/null"), StripANSI: true},
		{More: more(d.log("2.copy"), d.log("2.log")), Events: true},
	}
	var streams []*testStream
	for _, s := range settings {
		streams = append(streams, d.stream(s))
	}
	ws := d.load(streams, *loadLines)
	const kills = 30
	for i := range int64(kills) {
		ws.at(i+1, kills+1)
		d.kill()
		d.start()
	}
	ws.finish(t)
	for i, s := range streams {
		d.drain(s)
		for _, name := range []string{"log", "copy"} {
			name = fmt.Sprint(i, ".", name)
			sameLog(t, name, whole(t, d.log(name)), lines(fmt.Sprint("s", i), *loadLines))
		}
	}
}

// One of several logs that cannot be written misses something; the others do
// not.
func TestOneOfSeveralLogsFails(t *testing.T) {
	d := newDaemon(t)
	d.start()
	s := d.stream(logwire.Settings{Path: d.log("a.log"), More: more("/dev/full", d.log("b.log"))})
	// However little there is: nobody waits for the pipe to be full.
	for _, line := range []string{"early\n", "later\n"} {
		s.write(t, line)
		until(t, "a.log does not get its line", func() bool { return strings.HasSuffix(read(t, d.log("a.log")), line) })
	}
	const n = 100000
	ws := d.load([]*testStream{s}, n)
	ws.finish(t)
	d.drain(s)
	d.send(logwire.Message{Kind: logwire.Stop})
	all := "early\nlater\n" + lines("s0", n)
	lost := uint64(0)
	for want := uint64(len(all)); lost < want; {
		m := d.other(func(m *logwire.Message) bool { return m.Condition == logwire.Dropped })
		if lost += m.N; m.Errno != unix.ENOSPC || lost > want {
			t.Fatalf("told of %d bytes (%v), %d of %d altogether", m.N, m.Errno, lost, want)
		}
	}
	d.ends()
	sameLog(t, "a.log", read(t, d.log("a.log")), all)
	sameLog(t, "b.log", read(t, d.log("b.log")), all)
}

// With on_full=block all logs wait for the one that cannot be written, and
// nothing is lost.
func TestSeveralLogsWait(t *testing.T) {
	d := newDaemon(t)
	d.start()
	if err := os.Mkdir(d.log("dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := d.stream(logwire.Settings{Path: d.log("a.log"), More: more(d.log("dir/b.log")), OnFull: logwire.Block})
	if err := os.RemoveAll(d.log("dir")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.log("dir"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const n = 30000
	ws := d.load([]*testStream{s}, n)
	d.other(func(m *logwire.Message) bool { return m.Condition == logwire.Outage })
	if err := os.Remove(d.log("dir")); err != nil {
		t.Fatal(err)
	}
	ws.finish(t)
	d.drain(s)
	sameLog(t, "a.log", read(t, d.log("a.log")), lines("s0", n))
	sameLog(t, "b.log", read(t, d.log("dir/b.log")), lines("s0", n))
}

// lossless is a logger that loses nothing when it is killed: suplog itself.
func lossless(path string) string { return "|" + os.Args[0] + " --maxbytes 0 " + path }

// loggerOf finds the process that writes to path, 0 if there is none.
func loggerOf(path string) int {
	found, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range found {
		line, err := os.ReadFile(name)
		if err == nil && bytes.HasSuffix(line, []byte("\x00"+path+"\x00")) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			return pid
		}
	}
	return 0
}

// until waits for a condition that nobody tells of.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
		_ = unix.Nanosleep(&unix.Timespec{Nsec: 2e6}, nil)
	}
}

// TestLogger: a logger gets everything, whoever is killed, and ends with the
// stream.
func TestLogger(t *testing.T) {
	d := newDaemon(t)
	d.start()
	only := d.stream(logwire.Settings{More: more(lossless(d.log("only.log"))), OnFull: logwire.Block})
	beside := d.stream(logwire.Settings{Path: d.log("beside.log"), More: more(lossless(d.log("copy.log"))), OnFull: logwire.Block})
	ws := d.load([]*testStream{only, beside}, *loadLines)
	const kills = 6
	logger, killed := 0, 0
	for i := range int64(kills) {
		ws.at(i+1, kills+1)
		until(t, "there is no logger", func() bool {
			logger = loggerOf(d.log("only.log"))
			return logger > 0 && logger != killed
		})
		switch i {
		case 1, 4:
			// The logger that is there stays.
			d.kill()
			d.start()
			if now := loggerOf(d.log("only.log")); now != logger {
				t.Errorf("logger %d was followed by %d", logger, now)
			}
		default:
			killed = logger
			_ = unix.Kill(killed, unix.SIGKILL)
		}
	}
	ws.finish(t)
	for _, s := range []*testStream{only, beside} {
		d.drain(s)
		d.must(logwire.Message{Kind: logwire.Close, Stream: s.id}, logwire.Closed)
		s.release()
	}
	for _, name := range []string{"only.log", "copy.log"} {
		until(t, "the logger of "+name+" does not end", func() bool { return loggerOf(d.log(name)) == 0 })
	}
	sameLog(t, "only.log", read(t, d.log("only.log")), lines("s0", *loadLines))
	sameLog(t, "beside.log", read(t, d.log("beside.log")), lines("s1", *loadLines))
	// A piece on its way when suplog was killed may have come twice.
	if got, want := read(t, d.log("copy.log")), lines("s1", *loadLines); len(got) < len(want) || !strings.HasSuffix(got, want[len(want)-1000:]) {
		t.Errorf("copy.log has %d bytes, want %d", len(got), len(want))
	}
}

// release gives up what the next suplog would get, as supd does at the end of a
// stream.
func (s *testStream) release() {
	logwire.CloseFDs(s.kept)
	s.kept = nil
}

// A logger that cannot be started keeps a program from being started. One that
// fails at once is told once, and tried until it works.
func TestLoggerFails(t *testing.T) {
	d := newDaemon(t)
	d.start()
	s := d.stream(logwire.Settings{More: more("|no-such-command x")})
	a := d.ask(logwire.Message{Kind: logwire.Set, Stream: s.id, Settings: logwire.Settings{More: more("|no-such-command y")}})
	if a.Kind != logwire.Failed || !strings.Contains(a.Text, `cannot start logger "no-such-command y": no such file`) || a.Errno != unix.ENOENT {
		t.Errorf("got %+v", a)
	}
	script := d.log("script")
	must := func(text string) {
		if err := os.WriteFile(script, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	must("exit 3")
	d.must(logwire.Message{Kind: logwire.Set, Stream: s.id, Settings: logwire.Settings{More: more("|" + script)}}, logwire.Opened)
	s.write(t, "line\n")
	m := d.other(func(m *logwire.Message) bool { return m.Condition == logwire.Outage })
	if !strings.Contains(m.Text, "exit status 3") {
		t.Errorf("told %q", m.Text)
	}
	must("exec cat >" + d.log("out"))
	until(t, "the logger is not started again", func() bool {
		b, _ := os.ReadFile(d.log("out"))
		return string(b) == "line\n"
	})
}

// Stop lets loggers finish.
func TestStopWithLogger(t *testing.T) {
	d := newDaemon(t)
	d.start()
	s := d.stream(logwire.Settings{Path: d.log("a.log")})
	d.must(logwire.Message{Kind: logwire.Set, Stream: s.id, Settings: logwire.Settings{More: more("|sh -c 'cat >" + d.log("out") + "; echo done >>" + d.log("out") + "'")}}, logwire.Opened)
	s.write(t, "line\n")
	d.send(logwire.Message{Kind: logwire.Stop})
	// supd gives up what it keeps when it is told to.
	until(t, "nothing is given up", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(s.kept) == 0
	})
	d.ends()
	sameLog(t, "out", read(t, d.log("out")), "line\ndone\n")
}

// A FIFO that nobody reads yet does not keep a program from being started.
func TestFIFOWithoutReader(t *testing.T) {
	d := newDaemon(t)
	d.start()
	if err := unix.Mkfifo(d.log("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := d.stream(logwire.Settings{})
	d.must(logwire.Message{Kind: logwire.Set, Stream: s.id, Settings: logwire.Settings{Path: d.log("fifo")}}, logwire.Opened)
	s.write(t, "line\n")
	d.other(func(m *logwire.Message) bool { return m.Condition == logwire.Outage && m.Errno == unix.ENXIO })
	reader, err := os.Open(d.log("fifo"))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	got := make([]byte, 10)
	if n, err := reader.Read(got); string(got[:n]) != "line\n" {
		t.Errorf("read %q, %v", got[:n], err)
	}
}

func TestSyslogMessage(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	for _, tt := range []struct {
		settings logwire.Settings
		want     string
	}{
		{logwire.Settings{SyslogTag: "supd", SyslogPrefix: "foo "}, "<14>Jan  2 03:04:05 supd: foo line"},
		{logwire.Settings{SyslogTag: "bar", SyslogFacility: 16}, "<134>Jan  2 03:04:05 bar: line"},
	} {
		if got := string(newSyslogger(&tt.settings).message([]byte("line"), at)); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
