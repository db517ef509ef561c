package spawn

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	Init()
	os.Exit(m.Run())
}

// The environment of a program whose command cannot be executed is in no command
// line, and the stand-in has no descriptor that the program would not have. It
// cannot say what went wrong here, so it can be looked at.
func TestAttackStandInSecrets(t *testing.T) {
	const secret = "hunter2hunter2"
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("#!/no/such/interpreter\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r, w := fullPipe(t)
	pid := startOnThread(t, &Command{
		Name: "bad", Path: bad, Argv: []string{"bad"}, Env: []string{"PASSWORD=" + secret},
		Umask: -1, UID: -1, Files: []int{w, w, w},
	})
	proc := fmt.Sprintf("/proc/%d/", pid)
	// It sleeps in its write, in whatever thread, once it has done all else.
	writes := func() bool {
		threads, err := filepath.Glob(proc + "task/*/syscall")
		if err != nil || len(threads) == 0 {
			t.Fatal("the stand-in is gone")
		}
		for _, thread := range threads {
			call, err := os.ReadFile(thread)
			if errors.Is(err, fs.ErrPermission) {
				t.Skip("cannot see what a process waits for: ", err)
			}
			if strings.HasPrefix(string(call), fmt.Sprint(unix.SYS_WRITE, " 0x2 ")) {
				return true
			}
		}
		return false
	}
	const patience = time.Minute
	for begun := time.Now(); !writes(); runtime.Gosched() {
		if time.Since(begun) > patience {
			t.Fatal("the stand-in does not write")
		}
	}
	cmdline, err := os.ReadFile(proc + "cmdline")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(cmdline), secret) {
		t.Errorf("the command line tells the environment: %q", cmdline)
	}
	fds, err := os.ReadDir(proc + "fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if target, _ := os.Readlink(proc + "fd/" + fd.Name()); strings.Contains(target, "memfd") {
			t.Errorf("descriptor %s is %s", fd.Name(), target)
		}
	}
	unix.Close(w)
	text := drainPipe(r)
	if want := "supervisor: couldn't exec bad: ENOENT\nsupervisor: child process was not spawned\n"; !strings.HasSuffix(text, want) {
		t.Errorf("the stand-in says %q, want %q", text[max(0, len(text)-200):], want)
	}
	var st unix.WaitStatus
	if _, err := unix.Wait4(pid, &st, 0, nil); err != nil || st.ExitStatus() != 127 {
		t.Errorf("exit status %d, %v", st.ExitStatus(), err)
	}
}

// fullPipe is a pipe to which nothing more can be written, until it is read.
func fullPipe(t *testing.T) (r, w int) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := unix.Write(fds[1], make([]byte, 4096)); errors.Is(err, unix.EAGAIN) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, false); err != nil {
			t.Fatal(err)
		}
	}
	return fds[0], fds[1]
}

// drainPipe reads a pipe to its end and closes it.
func drainPipe(r int) string {
	f := os.NewFile(uintptr(r), "pipe")
	defer f.Close()
	var text strings.Builder
	_, _ = f.WriteTo(&text)
	return text.String()
}

// startOnThread makes a process with a Spawner of its own.
func startOnThread(t *testing.T, c *Command) int {
	t.Helper()
	type result struct {
		pid int
		err error
	}
	made := make(chan result)
	go func() {
		s, err := NewSpawner()
		if err != nil {
			made <- result{0, err}
			return
		}
		pid, err := s.Start(c)
		made <- result{pid, err}
	}()
	r := <-made
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.pid
}
