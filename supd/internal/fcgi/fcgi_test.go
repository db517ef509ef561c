package fcgi

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sup/lib/plan"
	"sup/supd/internal/unixsock"
)

func unixConfig(path string) plan.Socket {
	return plan.Socket{URL: "unix://" + path, UID: -1, GID: -1, Mode: 0o700}
}

// freePort is a port of loopback that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// open opens s and closes the descriptor when the test ends.
func open(t *testing.T, s *Socket) (fd int, line string) {
	t.Helper()
	s.Use()
	fd, line, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd, line
}

func TestCounting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	port := freePort(t)
	for _, test := range []struct {
		config           plan.Socket
		network, address string
	}{
		{unixConfig(path), "unix", path},
		{plan.Socket{URL: fmt.Sprintf("tcp://127.0.0.1:%d", port), UID: -1, GID: -1, Mode: -1}, "tcp4", fmt.Sprintf("127.0.0.1:%d", port)},
	} {
		answers := func() bool {
			c, err := net.Dial(test.network, test.address)
			if err != nil {
				return false
			}
			c.Close()
			return true
		}
		s := New(test.config)
		for range 2 { // again after it was closed
			s.Use()
			first, line, err := s.Open()
			if err != nil || line != "Creating socket "+test.config.URL || !answers() {
				t.Fatalf("%s: %q, %v", test.config.URL, line, err)
			}
			s.Use()
			second, line, err := s.Open()
			if err != nil || line != "" || second == first || second == s.FD() {
				t.Fatalf("%s: second use: %q, %v", test.config.URL, line, err)
			}
			s.Use() // a user that was counted but never opened it
			for _, fd := range []int{first, second} {
				if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); flags&unix.O_NONBLOCK != 0 {
					t.Error("non-blocking")
				}
				if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
					t.Error("not close-on-exec")
				}
				unix.Close(fd)
			}
			for range 2 {
				if line := s.Done(); line != "" || !answers() {
					t.Fatalf("%s: closed too early: %q", test.config.URL, line)
				}
			}
			if line := s.Done(); line != "Closing socket "+test.config.URL || answers() || s.FD() != -1 {
				t.Fatalf("%s: not closed: %q", test.config.URL, line)
			}
			if strings.HasPrefix(test.config.URL, "unix:") {
				if _, err := net.Dial("unix", path); !errors.Is(err, unix.ECONNREFUSED) {
					t.Errorf("clients are not refused: %v", err)
				}
			}
		}
	}
}

func TestNeverOpened(t *testing.T) {
	s := New(unixConfig(filepath.Join(t.TempDir(), "s")))
	s.Use()
	if line := s.Done(); line != "" {
		t.Errorf("line %q", line)
	}
}

func TestModeAndOwner(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	for _, mode := range []int{0o700, 0o777, 0o660, 0} {
		config := unixConfig(filepath.Join(t.TempDir(), "s"))
		config.Mode = mode
		if os.Geteuid() == 0 {
			config.UID, config.GID = 65534, 65533
		} else {
			config.UID, config.GID = os.Geteuid(), os.Getegid()
		}
		s := New(config)
		open(t, s)
		var st unix.Stat_t
		if err := unix.Lstat(strings.TrimPrefix(config.URL, "unix://"), &st); err != nil {
			t.Fatal(err)
		}
		if int(st.Mode&0o777) != mode || int(st.Uid) != config.UID || int(st.Gid) != config.GID {
			t.Errorf("mode %o, owner %d:%d; want %o, %d:%d", st.Mode&0o777, st.Uid, st.Gid, mode, config.UID, config.GID)
		}
		s.Done()
	}
}

func TestOwnerNotAllowed(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may give files to anybody")
	}
	path := filepath.Join(t.TempDir(), "s")
	config := unixConfig(path)
	config.UID = 0
	s := New(config)
	s.Use()
	_, _, err := s.Open()
	if err == nil || !strings.Contains(err.Error(), "cannot change the owner of the socket") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket is left")
	}
}

// A socket that a run before has left is replaced, whether somebody has it or
// not, and so is a plain file of ours; nothing else is.
func TestAttackStrangerAtThePath(t *testing.T) {
	socket := func(path string) error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		t.Cleanup(func() { unix.Close(fd) })
		return unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	}
	listening := func(path string) error {
		l, err := net.Listen("unix", path)
		if err == nil {
			t.Cleanup(func() { l.Close() })
		}
		return err
	}
	for _, test := range []struct {
		name    string
		make    func(path string) error
		foreign bool
		refused string
	}{
		{"dead socket", socket, false, ""},
		{"dead socket of somebody else", socket, true, ""},
		{"socket of a program that is left", listening, false, ""},
		{"socket in use of somebody else", listening, true, "of user nobody listens there"},
		{"file of ours", func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) }, false, ""},
		{"file of somebody else", func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) }, true, "a regular file of user nobody"},
		{"dangling link", func(path string) error { return os.Symlink("/nowhere/at/all", path) }, true, "a symbolic link of user nobody"},
		{"directory", func(path string) error { return os.Mkdir(path, 0o700) }, false, "a directory of user root"},
	} {
		if os.Geteuid() != 0 && (test.foreign || test.refused != "") {
			continue // needs root
		}
		path := filepath.Join(t.TempDir(), "s")
		if err := test.make(path); err != nil {
			t.Fatal(err)
		}
		if test.foreign {
			if err := os.Lchown(path, 65534, 65534); err != nil {
				t.Fatal(err)
			}
		}
		before, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		s := New(unixConfig(path))
		s.Use()
		fd, line, err := s.Open()
		if line != "Creating socket unix://"+path {
			t.Errorf("%s: %q", test.name, line)
		}
		after, lerr := os.Lstat(path)
		if lerr != nil {
			t.Fatal(lerr)
		}
		if test.refused != "" {
			var taken *unixsock.TakenError
			if !errors.As(err, &taken) || !strings.Contains(err.Error(), test.refused) || !strings.Contains(err.Error(), "; hint: ") {
				t.Errorf("%s: %v", test.name, err)
			}
			if !os.SameFile(before, after) || before.Mode() != after.Mode() {
				t.Errorf("%s: it was replaced", test.name)
			}
			if line := s.Done(); line != "" {
				t.Errorf("%s: a socket that was never made is closed: %q", test.name, line)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		unix.Close(fd)
		if c, err := net.Dial("unix", path); err != nil || os.SameFile(before, after) {
			t.Errorf("%s: not replaced: %v", test.name, err)
		} else {
			c.Close()
		}
		s.Done()
	}
}

// TestAttackTightenedSocket: a socket that is taken over has the mode and the
// owner that the configuration says now.
func TestAttackTightenedSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	config := unixConfig(path)
	config.Mode = 0o777
	before := New(config)
	open(t, before)
	fd, err := unix.Dup(before.FD())
	if err != nil {
		t.Fatal(err)
	}
	config.Mode = 0o600
	after := New(config)
	if err := errors.Join(after.Adopt(fd), after.Adjust()); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Lstat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := after.Adjust(); !errors.Is(err, unixsock.ErrNotOurs) || !strings.Contains(err.Error(), "; hint: ") {
		t.Errorf("of a file that has come to the path: %v", err)
	}
	if fi, err := os.Lstat(path); err != nil || fi.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	before.Done()
	after.Use()
	after.Done()
}

// A socket that somebody put in the place of ours is not removed.
func TestPathTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ours := New(unixConfig(path))
	open(t, ours)
	theirs := New(unixConfig(path))
	open(t, theirs)
	ours.Done()
	if _, err := net.Dial("unix", path); err != nil {
		t.Error(err)
	}
	theirs.Done()
}

func TestErrors(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	url := "tcp://" + taken.Addr().String()
	for _, test := range []struct {
		url  string
		want error
	}{
		{url, unix.EADDRINUSE},
		{"unix:///nowhere/at/all/s", unix.ENOENT},
		{"unix:///tmp/" + strings.Repeat("x", 200), unixsock.ErrTooLong},
	} {
		s := New(plan.Socket{URL: test.url, UID: -1, GID: -1, Mode: -1})
		s.Use()
		fd, line, err := s.Open()
		if fd != -1 || line != "Creating socket "+test.url || !errors.Is(err, test.want) ||
			!strings.HasPrefix(err.Error(), "cannot create FastCGI socket "+test.url+": ") {
			t.Errorf("%s: %q, %v", test.url, line, err)
		}
	}
	for name, f := range map[string]func(*Socket){"Open": func(s *Socket) { _, _, _ = s.Open() }, "Done": func(s *Socket) { s.Done() }} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s without Use did not panic", name)
				}
			}()
			f(New(unixConfig("/x")))
		}()
	}
}

// A port in TIME_WAIT can be had again at once.
func TestReuse(t *testing.T) {
	port := freePort(t)
	s := New(plan.Socket{URL: fmt.Sprintf("tcp://127.0.0.1:%d", port), Mode: -1})
	for range 2 {
		s.Use()
		fd, _, err := s.Open()
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		served, _, err := unix.Accept(fd)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(served) // the server's end closes first
		c.Close()
		unix.Close(fd)
		s.Done()
	}
}

// The socket outlives its daemon in a process that has it.
func TestAdopt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := New(unixConfig(path))
	fd, _ := open(t, s)
	cmd := exec.Command("sleep", "60")
	f := os.NewFile(uintptr(mustDup(t, fd)), "socket")
	defer f.Close()
	cmd.Stdin = f
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	pidfd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	got, err := Fetch(pidfd)
	if err != nil {
		t.Skipf("the system does not let us take descriptors: %v", err)
	}
	next := New(unixConfig(path))
	if err := next.Adopt(got); err != nil {
		t.Fatal(err)
	}
	if _, line := open(t, next); line != "" {
		t.Errorf("a socket was made: %q", line)
	}
	if line := next.Done(); line != "Closing socket unix://"+path {
		t.Errorf("line %q", line)
	}

	var pair [2]int
	if err := unix.Pipe2(pair[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	for _, fd := range pair {
		if next.Adopt(fd) == nil {
			t.Error("a pipe was adopted")
		}
		unix.Close(fd)
	}
}

func mustDup(t *testing.T, fd int) int {
	t.Helper()
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return dup
}
