package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/suptest"
)

// The measurements of the daemon. None of them asserts a time. Programs tell of
// their start by writing into a FIFO; the figures include the time that a shell
// takes to come so far.

// fleet is a directory for a daemon with many programs, and the FIFO.
type fleet struct {
	suptest.Options
	fifo *os.File
}

// birth is the start of a program, seen at the other end of the FIFO.
type birth struct {
	pid int
	at  time.Time
}

// newFleet makes the directory and the configuration of n programs.
func newFleet(b *testing.B, n int) *fleet {
	b.Helper()
	dir, err := os.MkdirTemp("", "sup") // the path of a socket must be short
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "births")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		b.Fatal(err)
	}
	// Open for both, so that it has a reader and a writer throughout.
	fifo, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { fifo.Close() })
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "[program:p%03d]\n"+
			"command=sh -c 'echo $$ >%%(here)s/births; exec sleep 1000000'\n"+
			"autorestart=true\nstartsecs=0\n", i)
	}
	return &fleet{suptest.Options{Dir: dir, Config: text.String()}, fifo}
}

// births waits until some programs have started.
func (f *fleet) births(count int) ([]birth, error) {
	if err := f.fifo.SetReadDeadline(time.Now().Add(suptest.Patience)); err != nil {
		return nil, err
	}
	var list []birth
	buf := make([]byte, 4096)
	for held := 0; len(list) < count; {
		n, err := f.fifo.Read(buf[held:])
		if err != nil {
			return nil, fmt.Errorf("%d of %d programs have started: %w", len(list), count, err)
		}
		now, rest := time.Now(), buf[:held+n]
		for {
			line, after, whole := bytes.Cut(rest, []byte("\n"))
			if !whole {
				break
			}
			pid, err := strconv.Atoi(string(line))
			if err != nil {
				return nil, fmt.Errorf("a program has written %q", line)
			}
			list = append(list, birth{pid, now})
			rest = after
		}
		held = copy(buf, rest)
	}
	return list, nil
}

// launch starts the daemon, and waits until it answers and all n programs have
// started.
func (f *fleet) launch(b *testing.B, n int) (*suptest.Daemon, []birth) {
	b.Helper()
	var list []birth
	all := make(chan error, 1)
	go func() {
		var err error
		list, err = f.births(n)
		all <- err
	}()
	d := suptest.Start(b, f.Options)
	if err := <-all; err != nil {
		b.Fatal(err)
	}
	return d, list
}

// end ends the daemon and tells how long that took.
func end(b *testing.B, d *suptest.Daemon) (took time.Duration) {
	b.Helper()
	pidfd, err := unix.PidfdOpen(d.PID(), 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(pidfd)
	d.Finish(func() {
		start := time.Now()
		d.Signal(syscall.SIGTERM)
		for {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(suptest.Patience.Milliseconds()))
			if err != unix.EINTR {
				break
			}
		}
		took = time.Since(start)
	})
	return took
}

// report prints a percentile of some durations.
func report(b *testing.B, d []time.Duration, percent int, unit string) {
	slices.Sort(d)
	b.ReportMetric(float64(d[(len(d)-1)*percent/100])/float64(time.Millisecond), unit)
}

// BenchmarkRestart is the time from the death of a program by SIGKILL to the
// first doing of its successor.
func BenchmarkRestart(b *testing.B) {
	f := newFleet(b, 1)
	_, list := f.launch(b, 1)
	pid := list[0].pid
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			b.Fatal(err)
		}
		list, err := f.births(1)
		if err != nil {
			b.Fatal(err)
		}
		pid = list[0].pid
		took = append(took, list[0].at.Sub(start))
	}
	report(b, took, 50, "p50-ms")
	report(b, took, 99, "p99-ms")
}

// BenchmarkFleet200 is the life of a daemon with 200 programs: the time from its
// launch to the first and the last program's first doing, and from SIGTERM until
// it and all of them are gone.
func BenchmarkFleet200(b *testing.B) {
	var first, last, stop []time.Duration
	for b.Loop() {
		f := newFleet(b, 200)
		start := time.Now()
		d, list := f.launch(b, 200)
		first = append(first, list[0].at.Sub(start))
		last = append(last, list[len(list)-1].at.Sub(start))
		stop = append(stop, end(b, d))
	}
	report(b, first, 50, "first-ms")
	report(b, last, 50, "last-ms")
	report(b, stop, 50, "stop-ms")
}

// BenchmarkControl200 is whole commands of supctl with 200 programs.
func BenchmarkControl200(b *testing.B) {
	f := newFleet(b, 200)
	d, _ := f.launch(b, 200)
	d.MustCtl("version") // so that supctl is built
	b.Run("status", func(b *testing.B) {
		for b.Loop() {
			d.MustCtl("status")
		}
	})
	b.Run("restart-one", func(b *testing.B) {
		for b.Loop() {
			d.MustCtl("restart", "p100")
			if _, err := f.births(1); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("restart-all", func(b *testing.B) {
		for b.Loop() {
			d.MustCtl("restart", "all")
			if _, err := f.births(200); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkCommand is "supctl --version", the whole command: what every call
// costs before anything is asked.
func BenchmarkCommand(b *testing.B) {
	path := suptest.Tool(b, "supctl")
	for b.Loop() {
		if err := exec.Command(path, "--version").Run(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIdle200 is what supd and suplog use for 200 programs that do nothing.
func BenchmarkIdle200(b *testing.B) {
	f := newFleet(b, 200)
	d, _ := f.launch(b, 200)
	pids := []int{d.PID(), logger(b, d.PID())}
	var cpu, wall time.Duration
	for b.Loop() {
		before, start := cpuTime(b, pids), time.Now()
		<-time.After(5 * time.Second)
		cpu += cpuTime(b, pids) - before
		wall += time.Since(start)
	}
	b.ReportMetric(0, "ns/op") // it would be the five seconds
	b.ReportMetric(100*cpu.Seconds()/wall.Seconds(), "cpu-%")
	b.ReportMetric(memory(b, pids[0]), "supd-MB")
	b.ReportMetric(memory(b, pids[1]), "suplog-MB")
}

// logger is the pid of a daemon's suplog.
func logger(b *testing.B, daemon int) int {
	b.Helper()
	// A child belongs to the thread that made it.
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", daemon))
	if err != nil {
		b.Fatal(err)
	}
	var children []byte
	for _, task := range tasks {
		more, _ := os.ReadFile(task) // the thread may have ended
		children = append(children, more...)
	}
	for field := range strings.FieldsSeq(string(children)) {
		name, _ := os.ReadFile("/proc/" + field + "/comm")
		if pid, err := strconv.Atoi(field); err == nil && string(name) == "suplog\n" {
			return pid
		}
	}
	b.Fatal("supd has no suplog")
	return 0
}

// cpuTime is the time that some processes have spent on processors.
func cpuTime(b *testing.B, pids []int) (sum time.Duration) {
	b.Helper()
	for _, pid := range pids {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil || len(tasks) == 0 {
			b.Fatalf("process %d has no threads: %v", pid, err)
		}
		for _, task := range tasks {
			text, err := os.ReadFile(task)
			if err != nil {
				continue // a thread that has ended
			}
			var nanoseconds int64
			if _, err := fmt.Sscan(string(text), &nanoseconds); err != nil {
				b.Fatal(err)
			}
			sum += time.Duration(nanoseconds)
		}
	}
	return sum
}

// memory is the proportional share of a process, in megabytes.
func memory(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\nPss:")
	var kilobytes float64
	if _, err := fmt.Sscan(rest, &kilobytes); err != nil {
		b.Fatal(err)
	}
	return kilobytes / 1024
}
