package main

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"sup/lib/logwire"
)

// limitDescriptors lets suplog have n descriptors more than it has, for as long
// as the function that is returned is not called.
func (d *daemon) limitDescriptors(n int) (restore func()) {
	d.t.Helper()
	pid := d.cmd.Process.Pid
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		d.t.Fatal(err)
	}
	var was unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &was); err != nil {
		d.t.Skipf("cannot limit the descriptors of suplog: %v", err)
	}
	few := unix.Rlimit{Cur: uint64(len(open) + n), Max: was.Max}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &few, nil); err != nil {
		d.t.Skipf("cannot limit the descriptors of suplog: %v", err)
	}
	return func() {
		if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &was, nil); err != nil {
			d.t.Fatal(err)
		}
	}
}

// TestNoDescriptors: a stream that suplog has no room for is refused, with the
// reason, and taken when it is offered again.
func TestNoDescriptors(t *testing.T) {
	d := newDaemon(t)
	d.start()
	first := d.stream(logwire.Settings{Path: d.log("first.log")})
	restore := d.limitDescriptors(0)
	s := &testStream{r: -1, w: -1, pids: map[int64]int{}, settings: logwire.Settings{Name: "test", Path: d.log("second.log")}}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	s.r, s.w = fds[0], fds[1]
	d.mu.Lock()
	s.id = logwire.Stream(len(d.streams) + 1)
	d.streams[s.id] = s
	d.mu.Unlock()
	open := logwire.Message{Kind: logwire.Open, Stream: s.id, PID: 1, Settings: s.settings, FDs: []int{s.r}}
	if a := d.ask(open); a.Kind != logwire.Failed || a.Errno != unix.EMFILE {
		t.Errorf("open is answered by %s: %s", a.Kind, a.Text)
	}
	s.write(t, "waits\n")
	first.write(t, "goes on\n")
	d.drain(first)
	restore()
	d.must(open, logwire.Opened)
	d.drain(s)
	sameLog(t, "first", read(t, first.settings.Path), "goes on\n")
	sameLog(t, "second", read(t, s.settings.Path), "waits\n")
}
