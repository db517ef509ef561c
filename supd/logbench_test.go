package main

import (
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
	"unsafe"

	"golang.org/x/sys/unix"

	"sup/lib/suptest"
)

// The measurements of logs: programs that print, through supd, through
// supervisord where that is installed, and through the least that can do it, a
// process that reads pipes and writes files. They take turns in every round;
// the figures are medians.

// asPrinter in the environment makes the test binary a program that prints, as
// told by its value; asLimit makes it the least that logs the output of as many
// of them as the value says.
const (
	asPrinter = "SUPD_TEST_PRINTER"
	asLimit   = "SUPD_TEST_LIMIT"
)

// printing is what a program prints: lines of size bytes, total bytes of them
// or, if that is 0, for three seconds; rate of them in a second or, if that is
// 0, as fast as they are taken.
type printing struct{ size, total, rate int }

const printTime = 3 * time.Second

func (p printing) String() string { return fmt.Sprint(p.size, " ", p.total, " ", p.rate) }

// printLines is the program. It begins when there is a file "go" in the working
// directory, and leaves the number of its bytes in NAME.total.
func printLines(spec, name string) {
	var p printing
	if _, err := fmt.Sscan(spec, &p.size, &p.total, &p.rate); err != nil {
		panic(err)
	}
	line := []byte(strings.Repeat("x", p.size-1) + "\n")
	awaitName("go")
	written, start := 0, time.Now()
	for n := 1; p.total > 0 && written < p.total || p.total == 0 && time.Since(start) < printTime; n++ {
		// The bare system call, as a program in C would do it.
		for rest := line; len(rest) > 0; {
			k, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, 1, uintptr(unsafe.Pointer(&rest[0])), uintptr(len(rest)))
			if errno != 0 && errno != syscall.EINTR {
				panic(errno)
			} else if errno == 0 {
				rest = rest[k:]
			}
		}
		written += len(line)
		if p.rate > 0 {
			rest := time.Until(start.Add(time.Duration(n) * time.Second / time.Duration(p.rate)))
			t := unix.NsecToTimespec(max(int64(rest), 0))
			_ = unix.Nanosleep(&t, nil)
		}
	}
	if err := os.WriteFile(name+".tmp", []byte(strconv.Itoa(written)), 0o600); err != nil {
		panic(err)
	}
	if err := os.Rename(name+".tmp", name+".total"); err != nil {
		panic(err)
	}
	select {}
}

// awaitName waits for a file.
func awaitName(path string) {
	for {
		if _, err := os.Stat(path); err == nil {
			return
		}
		_ = unix.Nanosleep(&unix.Timespec{Nsec: 20e6}, nil)
	}
}

// limit starts n programs and logs what they print, until it is killed.
func limit(spec string, n int) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		panic(err)
	}
	logs := map[int32]int{}
	for i := range n {
		name := fmt.Sprintf("p%03d", i)
		var pipe [2]int
		if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
			panic(err)
		}
		_, _ = unix.FcntlInt(uintptr(pipe[0]), unix.F_SETPIPE_SZ, 1<<20)
		cmd := exec.Command(os.Args[0], name)
		cmd.Env = []string{asPrinter + "=" + spec}
		cmd.Stdout = os.NewFile(uintptr(pipe[1]), "pipe")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		unix.Close(pipe[1])
		log, err := unix.Open(name+".log", unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND|unix.O_CLOEXEC, 0o600)
		if err != nil {
			panic(err)
		}
		logs[int32(pipe[0])] = log
		if err := unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, pipe[0], &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(pipe[0])}); err != nil {
			panic(err)
		}
	}
	events, buf := make([]unix.EpollEvent, 64), make([]byte, 64<<10)
	for {
		k, err := unix.EpollWait(poll, events, -1)
		if err != nil && err != unix.EINTR {
			panic(err)
		}
		for _, e := range events[:max(k, 0)] {
			got, err := unix.Read(int(e.Fd), buf)
			if err == nil && got > 0 {
				_, err = unix.Write(logs[e.Fd], buf[:got])
			}
			if err != nil && err != unix.EINTR {
				panic(err)
			}
		}
	}
}

// logged is the outcome of one run.
type logged struct {
	rate     float64 // MB/s, until all is in the logs
	cost     float64 // CPU seconds of the daemon's side for a gigabyte
	percent  float64 // of a processor
	fairness float64 // the least that a program printed, against the most
	lost     int     // bytes
}

// logRun lets n programs print, below a daemon, or the limit if that is "".
func logRun(b *testing.B, daemon string, n int, what printing) logged {
	b.Helper()
	dir := logDir(b)
	defer os.RemoveAll(dir)
	cmd := exec.Command(os.Args[0], strconv.Itoa(n))
	cmd.Env = []string{asLimit + "=" + what.String()}
	if daemon != "" {
		var text strings.Builder
		text.WriteString("[supervisord]\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile=supd.pid\n")
		for i := range n {
			fmt.Fprintf(&text, "[program:p%03d]\ncommand=%s p%03d\nenvironment=%s=\"%s\"\n"+
				"stdout_logfile=p%03d.log\nstdout_logfile_maxbytes=0\nstderr_logfile=NONE\nstopsignal=KILL\n", i, os.Args[0], i, asPrinter, what, i)
		}
		if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(text.String()), 0o600); err != nil {
			b.Fatal(err)
		}
		cmd = exec.Command(daemon, "-n", "-c", "conf")
	}
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		_ = cmd.Wait()
	}()
	side := []int{cmd.Process.Pid}
	await(b, func() bool { return len(logsIn(dir)) == n })
	if filepath.Base(daemon) == "supd" {
		side = append(side, logger(b, side[0]))
	}
	cpu, start := cpuTime(b, side), time.Now()
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		b.Fatal(err)
	}
	var totals []int
	await(b, func() bool {
		totals = totals[:0]
		for i := range n {
			text, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("p%03d.total", i)))
			if err != nil {
				return false
			}
			k, _ := strconv.Atoi(string(text))
			totals = append(totals, k)
		}
		return true
	})
	written, there := 0, 0
	for _, k := range totals {
		written += k
	}
	end := time.Now().Add(5 * time.Second)
	for there < written && time.Now().Before(end) {
		there = 0
		for _, size := range logsIn(dir) {
			there += size
		}
		_ = unix.Nanosleep(&unix.Timespec{Nsec: 1e6}, nil)
	}
	wall := time.Since(start)
	cpu = cpuTime(b, side) - cpu
	return logged{
		rate: float64(written) / 1e6 / wall.Seconds(), cost: cpu.Seconds() / (float64(written) / 1e9),
		percent: 100 * cpu.Seconds() / wall.Seconds(), lost: written - there,
		fairness: float64(slices.Min(totals)) / float64(slices.Max(totals)),
	}
}

// logsIn gives the sizes of the logs in a directory.
func logsIn(dir string) (sizes []int) {
	names, _ := filepath.Glob(filepath.Join(dir, "p*.log"))
	for _, name := range names {
		if info, err := os.Stat(name); err == nil {
			sizes = append(sizes, int(info.Size()))
		}
	}
	return sizes
}

// await waits for a condition that nobody tells of.
func await(b *testing.B, f func() bool) {
	b.Helper()
	for end := time.Now().Add(suptest.Patience); !f(); {
		if time.Now().After(end) {
			b.Fatal("it does not come")
		}
		_ = unix.Nanosleep(&unix.Timespec{Nsec: 1e6}, nil)
	}
}

// logDir is a new directory, in memory if possible.
func logDir(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "sup")
	if err != nil {
		if dir, err = os.MkdirTemp("", "sup"); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}

// logRace lets the daemons take turns and reports some figures of each.
func logRace(b *testing.B, n int, what printing, figures map[string]func(logged) float64) {
	daemons := map[string]string{"supd": suptest.Tool(b, "supd"), "limit": ""}
	suptest.Tool(b, "suplog")
	if path, err := exec.LookPath("supervisord"); err == nil {
		daemons["supervisord"] = path
	}
	runs := map[string][]logged{}
	for b.Loop() {
		for _, name := range []string{"supd", "supervisord", "limit"} {
			if path, ok := daemons[name]; ok {
				runs[name] = append(runs[name], logRun(b, path, n, what))
			}
		}
	}
	b.ReportMetric(0, "ns/op") // of all together it says nothing
	for name, list := range runs {
		for unit, figure := range figures {
			var all []float64
			for _, r := range list {
				all = append(all, figure(r))
			}
			slices.Sort(all)
			b.ReportMetric(all[len(all)/2], name+"-"+unit)
		}
	}
}

// BenchmarkDaemonLog is one program that prints as fast as it can.
func BenchmarkDaemonLog(b *testing.B) {
	for size, total := range map[int]int{100: 64 << 20, 8192: 512 << 20} {
		b.Run(fmt.Sprint("write=", size), func(b *testing.B) {
			logRace(b, 1, printing{size: size, total: total}, map[string]func(logged) float64{
				"MB/s": func(r logged) float64 { return r.rate },
				"s/GB": func(r logged) float64 { return r.cost },
			})
		})
	}
}

// BenchmarkFlood50 is fifty programs that print as fast as they can.
func BenchmarkFlood50(b *testing.B) {
	logRace(b, 50, printing{size: 100}, map[string]func(logged) float64{
		"MB/s":     func(r logged) float64 { return r.rate },
		"fairness": func(r logged) float64 { return r.fairness },
	})
}

// BenchmarkLines200 is 200 programs that print 50 lines a second each.
func BenchmarkLines200(b *testing.B) {
	logRace(b, 200, printing{size: 100, rate: 50}, map[string]func(logged) float64{
		"cpu-%":      func(r logged) float64 { return r.percent },
		"lost-bytes": func(r logged) float64 { return float64(r.lost) },
	})
}
