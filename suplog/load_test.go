package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/logfile"
	"sup/lib/logwire"
)

// loadLines is how many lines each of the streams under load gets. With
// -lines 2000000 ten of them write a gigabyte together.
var loadLines = flag.Int("lines", 20000, "lines for each stream of the tests under load")

// writers feeds streams with numbered lines, each from a goroutine.
type writers struct {
	sync.WaitGroup
	written atomic.Int64 // lines of all streams
	total   int64
	failed  atomic.Pointer[error]
}

// counted counts lines on their way.
type counted struct {
	w  fdWriter
	by *writers
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.by.written.Add(int64(strings.Count(string(p[:n]), "\n")))
	return n, err
}

func (d *daemon) load(streams []*testStream, n int) *writers {
	ws := &writers{total: int64(len(streams) * n)}
	for i, s := range streams {
		ws.Add(1)
		go func() {
			defer ws.Done()
			if err := numbered(counted{fdWriter(s.w), ws}, fmt.Sprint("s", i), 0, n); err != nil {
				ws.failed.Store(&err)
			}
		}()
	}
	return ws
}

// at waits until the part n of m of all lines has been written, or nothing
// more is written because suplog is not there to take it.
func (ws *writers) at(n, m int64) {
	deadline := time.Now().Add(patience)
	for ws.written.Load()*m < ws.total*n && time.Now().Before(deadline) {
		_ = unix.Nanosleep(&unix.Timespec{Nsec: 200e3}, nil)
	}
}

func (ws *writers) finish(t *testing.T) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		ws.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the writers are not done")
	}
	if err := ws.failed.Load(); err != nil {
		t.Error(*err)
	}
}

func TestLoadWithRotation(t *testing.T) {
	d := newDaemon(t)
	d.start()
	var streams []*testStream
	for i := range 10 {
		streams = append(streams, d.stream(logwire.Settings{Path: d.log(fmt.Sprint(i, ".log")), MaxBytes: 300e3, Backups: 10000}))
	}
	d.load(streams, *loadLines).finish(t)
	for i, s := range streams {
		d.drain(s)
		sameLog(t, fmt.Sprint(i), whole(t, s.settings.Path), lines(fmt.Sprint("s", i), *loadLines))
		for _, b := range logfile.Backups(s.settings.Path) {
			if s := read(t, b); !strings.HasSuffix(s, "\n") || len(s) < 300e3 || len(s) > 300e3+200 {
				t.Errorf("%s has %d bytes and ends with %q", b, len(s), s[len(s)-1:])
			}
		}
	}
}

// TestKillUnderLoad kills suplog again and again: whatever it was doing, each
// line is there once and in order.
func TestKillUnderLoad(t *testing.T) {
	d := newDaemon(t)
	d.start()
	var streams []*testStream
	for i := range 8 {
		settings := logwire.Settings{Path: d.log(fmt.Sprint(i, ".log")), MaxBytes: 100e3, Backups: 10000}
		switch i {
		case 2, 3:
			settings.Events = true
		case 4:
			settings.StripANSI = true
		case 5:
			settings.Prefix = "pre"
		case 6:
			settings.Timestamp = true
		case 7:
			settings.CaptureMax = 100
		}
		streams = append(streams, d.stream(settings))
	}
	ws := d.load(streams, *loadLines)
	const kills = 30
	for i := range int64(kills) {
		ws.at(i+1, kills+1)
		d.kill()
		d.start()
	}
	ws.finish(t)
	stamp := regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d\d:\d\d) `)
	for i, s := range streams {
		d.drain(s)
		want := lines(fmt.Sprint("s", i), *loadLines)
		got := whole(t, s.settings.Path)
		if s.settings.Prefix != "" {
			want = strings.TrimSuffix("pre | "+strings.ReplaceAll(want, "\n", "\npre | "), "pre | ")
		}
		if s.settings.Timestamp {
			got = stamp.ReplaceAllString(got, "")
		}
		sameLog(t, fmt.Sprint(i), got, want)
	}
}

// TestKillWithSharedFile: streams that share a file lose nothing to each
// other.
func TestKillWithSharedFile(t *testing.T) {
	d := newDaemon(t)
	d.start()
	var streams []*testStream
	for i := range 4 {
		streams = append(streams, d.stream(logwire.Settings{Path: d.log("shared.log"), MaxBytes: 1 << 20, Backups: 1000, StripANSI: i%2 == 1}))
	}
	ws := d.load(streams, *loadLines)
	const kills = 15
	for i := range int64(kills) {
		ws.at(i+1, kills+1)
		d.kill()
		d.start()
	}
	ws.finish(t)
	for _, s := range streams {
		d.drain(s)
	}
	// Lines of one stream may be cut by those of another, but not lost.
	got := whole(t, d.log("shared.log"))
	want := 0
	for i := range streams {
		want += len(lines(fmt.Sprint("s", i), *loadLines))
	}
	if len(got) != want {
		t.Errorf("the log has %d bytes, want %d", len(got), want)
	}
}

func TestReopenUnderLoad(t *testing.T) {
	d := newDaemon(t)
	d.start()
	streams := []*testStream{
		d.stream(logwire.Settings{Path: d.log("0.log")}),
		d.stream(logwire.Settings{Path: d.log("1.log"), StripANSI: true}),
	}
	ws := d.load(streams, *loadLines)
	const times = 10
	for i := range int64(times) {
		ws.at(i+1, times+1)
		for _, s := range streams {
			if err := os.Rename(s.settings.Path, fmt.Sprintf("%s.%d", s.settings.Path, times-i)); err != nil {
				t.Fatal(err)
			}
			d.must(logwire.Message{Kind: logwire.Reopen, Stream: s.id}, logwire.Reopened)
		}
	}
	ws.finish(t)
	for i, s := range streams {
		d.drain(s)
		sameLog(t, fmt.Sprint(i), whole(t, s.settings.Path), lines(fmt.Sprint("s", i), *loadLines))
	}
}

// TestClearUnderLoad: what is left after a clear is the unbroken end.
func TestClearUnderLoad(t *testing.T) {
	d := newDaemon(t)
	d.start()
	streams := []*testStream{
		d.stream(logwire.Settings{Path: d.log("0.log")}),
		d.stream(logwire.Settings{Path: d.log("1.log"), StripANSI: true}),
	}
	ws := d.load(streams, *loadLines)
	for i := range int64(5) {
		ws.at(i+1, 6)
		for _, s := range streams {
			d.must(logwire.Message{Kind: logwire.Clear, Stream: s.id}, logwire.Cleared)
		}
	}
	ws.finish(t)
	for i, s := range streams {
		s.write(t, "end\n")
		d.drain(s)
		got := read(t, s.settings.Path)
		if want := lines(fmt.Sprint("s", i), *loadLines) + "end\n"; !strings.HasSuffix(want, got) || got == "" {
			t.Errorf("stream %d: %d bytes are not the end of what was written: %.60q", i, len(got), got)
		}
	}
}

// TestCopytruncate: somebody else cuts the file short under load, and the file
// has no hole afterwards.
func TestCopytruncate(t *testing.T) {
	d := newDaemon(t)
	d.start()
	s := d.stream(logwire.Settings{Path: d.log("0.log")})
	ws := d.load([]*testStream{s}, *loadLines)
	for i := range int64(10) {
		ws.at(i+1, 11)
		if err := os.Truncate(s.settings.Path, 0); err != nil {
			t.Fatal(err)
		}
	}
	ws.finish(t)
	s.write(t, "end\n")
	d.drain(s)
	got := read(t, s.settings.Path)
	if want := lines("s0", *loadLines) + "end\n"; !strings.HasSuffix(want, got) || got == "" {
		t.Errorf("%d bytes are not the end of what was written: %.60q", len(got), got)
	}
}

// small mounts a file system with room for size bytes.
func small(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestDiskFullDrop(t *testing.T) {
	for _, settings := range []logwire.Settings{{}, {StripANSI: true}} {
		dir := small(t, "512k")
		d := newDaemon(t)
		d.start()
		settings.Path = filepath.Join(dir, "a.log")
		s := d.stream(settings)
		n := max(*loadLines, 60000)
		ws := d.load([]*testStream{s}, n)
		ws.finish(t) // although there is no room
		d.other(func(m *logwire.Message) bool {
			return m.Kind == logwire.Error && m.Condition == logwire.Outage && m.Errno == unix.ENOSPC
		})
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=64m"); err != nil {
			t.Fatal(err)
		}
		d.drain(s)
		got, want := read(t, settings.Path), lines("s0", n)
		missing := uint64(len(want) - len(got))
		var dropped uint64 // which may be told in parts
		for healed := false; !healed || dropped < missing; {
			m := d.other(func(m *logwire.Message) bool { return m.Kind == logwire.Error })
			switch m.Condition {
			case logwire.Healed:
				healed = true
			case logwire.Dropped:
				dropped += m.N
			case logwire.Outage:
				t.Error("the outage is told more than once")
			}
		}
		if dropped != missing {
			t.Errorf("%d bytes are missing, %d were told", missing, dropped)
		}
		for l := range strings.Lines(got) {
			if !strings.HasPrefix(l, "s0 ") || !strings.HasSuffix(l, "\n") || strings.Count(l, "s0") != 1 {
				t.Fatalf("a torn line: %q", l)
			}
		}
	}
}

func TestDiskFullBlock(t *testing.T) {
	dir := small(t, "512k")
	d := newDaemon(t)
	d.start()
	s := d.stream(logwire.Settings{Path: filepath.Join(dir, "a.log"), OnFull: logwire.Block})
	n := max(*loadLines, 60000)
	ws := d.load([]*testStream{s}, n)
	d.other(func(m *logwire.Message) bool { return m.Kind == logwire.Error && m.Condition == logwire.Outage })
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	ws.finish(t)
	d.drain(s)
	sameLog(t, "a.log", read(t, s.settings.Path), lines("s0", n))
}

// TestManyStreams: a stream costs no thread.
func TestManyStreams(t *testing.T) {
	d := newDaemon(t)
	d.start()
	var streams []*testStream
	for i := range 300 {
		streams = append(streams, d.stream(logwire.Settings{Path: d.log(fmt.Sprint(i)), Events: i%3 == 0}))
	}
	for round := range 3 {
		for _, s := range streams {
			s.write(t, fmt.Sprintln("round", round))
		}
		for _, s := range streams {
			d.drain(s)
		}
	}
	for _, s := range streams {
		sameLog(t, s.settings.Path, read(t, s.settings.Path), "round 0\nround 1\nround 2\n")
	}
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", d.cmd.Process.Pid))
	if err != nil || len(tasks) > 30 {
		t.Errorf("suplog has %d threads, %v", len(tasks), err)
	}
}
