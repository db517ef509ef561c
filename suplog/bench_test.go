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

	"sup/lib/logwire"
	"sup/lib/suptest"
)

// contender is a command that copies its standard input to a file.
type contender struct {
	name    string
	command []string
	toFile  bool // standard output is the file
}

// limit is the least that can rotate: it reads and writes, and looks at
// nothing.
func limit(size string) {
	most, err := strconv.Atoi(size)
	if err != nil {
		panic(err)
	}
	buf, out, there := make([]byte, 64<<10), -1, 0
	for file := 0; ; {
		if out < 0 {
			name := fmt.Sprint("out.", file)
			if out, err = unix.Open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC, 0o600); err != nil {
				panic(err)
			}
			there, file = 0, file+1
		}
		n, err := unix.Read(0, buf)
		if n == 0 && err == nil {
			os.Exit(0)
		}
		if err == nil {
			_, err = unix.Write(out, buf[:n])
		}
		if err != nil && err != unix.EINTR {
			panic(err)
		}
		if there += max(n, 0); there >= most {
			unix.Close(out)
			out = -1
		}
	}
}

// BenchmarkMemory1000 is what suplog needs for a thousand streams that have
// been written to.
func BenchmarkMemory1000(b *testing.B) {
	var used []float64
	for b.Loop() {
		d := newDaemon(b)
		d.start()
		for i := range 1000 {
			s := d.stream(logwire.Settings{Path: d.log(strconv.Itoa(i))})
			s.write(b, "a line\n")
			d.drain(s)
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", d.cmd.Process.Pid))
		if err != nil {
			b.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), "\nPss:")
		var kilobytes float64
		if _, err := fmt.Sscan(rest, &kilobytes); err != nil {
			b.Fatal(err)
		}
		used = append(used, kilobytes/1024)
		d.cleanup()
		d.streams = nil
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(used), "MB")
}

// BenchmarkFilter is a stream through suplog and through those of its kind that
// are installed, one after the other in every round: MB/s from the first write
// until the filter has ended, and CPU seconds for a gigabyte. Medians.
func BenchmarkFilter(b *testing.B) {
	suplog := suptest.Tool(b, "suplog")
	for _, size := range []int{100, 8192} {
		for _, rotate := range []bool{false, true} {
			list := contenders(suplog, rotate)
			b.Run(fmt.Sprintf("write=%d/rotate=%t", size, rotate), func(b *testing.B) { race(b, list, size) })
		}
	}
}

// contenders are those that are installed. They write into the directory
// they run in.
func contenders(suplog string, rotate bool) []contender {
	var all []contender
	if rotate {
		all = []contender{
			{"suplog", []string{suplog, "--maxbytes", "50MB", "--backups", "10", "out"}, false},
			{"svlogd", []string{"svlogd", "rotating"}, false},
			{"s6-log", []string{"s6-log", "-b", "n10", "s50000000", "./out"}, false},
			{"multilog", []string{"multilog", "n10", "s16777215", "./out"}, false},
			{"limit", []string{os.Args[0], "50000000"}, false},
		}
	} else {
		all = []contender{
			{"suplog", []string{suplog, "--maxbytes", "0", "out"}, false},
			{"cat", []string{"cat"}, true},
			{"svlogd", []string{"svlogd", "plain"}, false},
			{"s6-log", []string{"s6-log", "-b", "n10", "s268435455", "./out"}, false},
		}
	}
	return slices.DeleteFunc(all, func(f contender) bool {
		_, err := exec.LookPath(f.command[0])
		return err != nil
	})
}

// race lets contenders run in turn.
func race(b *testing.B, list []contender, size int) {
	total := 64 << 20
	if size >= 4096 {
		total = 512 << 20
	}
	rates, costs := map[string][]float64{}, map[string][]float64{}
	for b.Loop() {
		for _, f := range list {
			wall, cpu := pump(b, f, size, total)
			rates[f.name] = append(rates[f.name], float64(total)/1e6/wall.Seconds())
			costs[f.name] = append(costs[f.name], cpu.Seconds()/(float64(total)/1e9))
		}
	}
	b.ReportMetric(0, "ns/op") // of all together it says nothing
	for _, f := range list {
		b.ReportMetric(median(rates[f.name]), f.name+"-MB/s")
		b.ReportMetric(median(costs[f.name]), f.name+"-s/GB")
	}
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// pump sends total bytes in writes of one size through a filter.
func pump(b *testing.B, f contender, size, total int) (wall, cpu time.Duration) {
	b.Helper()
	dir := workDir(b)
	defer os.RemoveAll(dir)
	// svlogd takes its limits from a file.
	for name, config := range map[string]string{"rotating": "s50000000\nn10\n", "plain": "s0\n"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "config"), []byte(config), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		b.Fatal(err)
	}
	stdin := os.NewFile(uintptr(pipe[0]), "stdin")
	cmd := exec.Command(f.command[0], f.command[1:]...)
	cmd.Dir, cmd.Stdin, cmd.Stderr = dir, stdin, os.Stderr
	if f.name == "limit" {
		cmd.Env = append(os.Environ(), asLimit+"=1")
	}
	if f.toFile {
		out, err := os.Create(filepath.Join(dir, "out"))
		if err != nil {
			b.Fatal(err)
		}
		defer out.Close()
		cmd.Stdout = out
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	stdin.Close()

	line := make([]byte, size)
	for i := range line {
		line[i] = 'a' + byte(i%26)
	}
	line[size-1] = '\n'
	start := time.Now()
	for range total / size {
		for rest := line; len(rest) > 0; {
			// The bare system call, as a program in C would do it: the scheduler
			// is not told.
			n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(pipe[1]), uintptr(unsafe.Pointer(&rest[0])), uintptr(len(rest)))
			switch errno {
			case 0:
				rest = rest[n:]
			case syscall.EINTR:
			default:
				b.Fatal(errno)
			}
		}
	}
	unix.Close(pipe[1])
	if err := cmd.Wait(); err != nil {
		b.Fatalf("%s: %v", f.name, err)
	}
	wall = time.Since(start)
	return wall, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// workDir is a new directory, in memory if possible.
func workDir(b *testing.B) string {
	b.Helper()
	root := "/dev/shm"
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		root = ""
	}
	dir, err := os.MkdirTemp(root, "suplog"+strconv.Itoa(os.Getpid()))
	if err != nil {
		b.Fatal(err)
	}
	return dir
}
