package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"sup/lib/plan"
	"sup/supd/internal/unixsock"
)

func open(t *testing.T, conf plan.Server, stderr *bytes.Buffer) *Server {
	t.Helper()
	s, err := Open([]plan.Server{conf}, Options{Stderr: stderr})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStaleSocketsAreReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for _, test := range []struct {
		name string
		make func() error
		said bool
	}{
		{"nothing", func() error { return nil }, false},
		{"plain file of ours", func() error { return os.WriteFile(path, []byte("x"), 0o600) }, true},
		{"stale socket", func() error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
			if err == nil {
				l.SetUnlinkOnClose(false)
				err = l.Close()
			}
			return err
		}, true},
	} {
		if err := test.make(); err != nil {
			t.Fatal(test.name, err)
		}
		var said bytes.Buffer
		s := open(t, unixServer(path), &said)
		want := ""
		if test.said {
			want = "Unlinking stale socket " + path + "\n"
		}
		if said.String() != want {
			t.Errorf("%s: said %q", test.name, said.String())
		}
		fi, err := os.Lstat(path)
		if err != nil || fi.Mode() != os.ModeSocket|0o700 {
			t.Errorf("%s: %v, %v", test.name, fi.Mode(), err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if names, _ := filepath.Glob(filepath.Dir(path) + "/*"); len(names) != 0 {
			t.Errorf("%s: left %v", test.name, names)
		}
	}
}

func TestLivingSocketIsRespected(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	var said bytes.Buffer
	s := open(t, unixServer(path), &said)
	defer s.Close(t.Context())
	_, err := Open([]plan.Server{unixServer(path)}, Options{Stderr: &said})
	if !errors.Is(err, errInUse) || said.Len() != 0 {
		t.Errorf("%v, said %q", err, said.String())
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	if names, _ := filepath.Glob(path + "*"); len(names) != 1 {
		t.Errorf("left %v", names)
	}
}

func TestTakenPort(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	path := filepath.Join(t.TempDir(), "s")
	port := l.Addr().(*net.TCPAddr).Port
	_, err = Open([]plan.Server{unixServer(path), {Host: "127.0.0.1", Port: port}}, Options{})
	if !errors.Is(err, errInUse) {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the other socket is left: %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		dir + "/nosuch/s":                    "socket.error reported errno.ENOENT (2)",
		dir + "/" + strings.Repeat("x", 150): "longer than 107 bytes",
	} {
		if _, err := Open([]plan.Server{unixServer(path)}, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestAttackPathOfTheSocketIsTaken: what is no socket is not deleted where others
// could have put it or linked it, and a stranger's socket is respected while somebody listens there.
func TestAttackPathOfTheSocketIsTaken(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to act as somebody else")
	}
	for _, test := range []struct {
		name string
		make func(path string) error
		says string // "" if the socket is opened all the same
	}{
		{"file", func(path string) error { return os.WriteFile(path, []byte("keep"), 0o600) }, "a regular file of user nobody lies there"},
		{"file of ours, in a directory of everybody", func(path string) error { return os.WriteFile(path, []byte("keep"), 0o600) }, "a regular file of user root lies there"},
		{"dangling link", func(path string) error { return os.Symlink("/nowhere", path) }, "a symbolic link of user nobody lies there"},
		{"link to a socket", func(path string) error { return os.Symlink(path+"-other", path) }, "a symbolic link of user nobody lies there"},
		{"pipe", func(path string) error { return syscall.Mkfifo(path, 0o600) }, "a named pipe of user nobody lies there"},
		{"directory", func(path string) error { return os.Mkdir(path, 0o700) }, "a directory of user nobody lies there"},
		{"socket in use", func(path string) error {
			l, err := net.Listen("unix", path)
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		}, "process " + strconv.Itoa(os.Getpid()) + " of user nobody listens there"},
		{"dead socket", func(path string) error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
			if err == nil {
				l.SetUnlinkOnClose(false)
				l.Close()
			}
			return err
		}, ""},
	} {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "s")
		if err := test.make(path); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(test.says, "user root") {
			if err := os.Lchown(path, 65534, 65534); err != nil {
				t.Fatal(err)
			}
		}
		before, _ := os.Lstat(path)
		s, err := Open([]plan.Server{unixServer(path)}, Options{})
		after, _ := os.Lstat(path)
		if test.says == "" {
			if err != nil || os.SameFile(before, after) {
				t.Errorf("%s: %v", test.name, err)
				continue
			}
			s.Close(t.Context())
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "; hint: ") {
			t.Errorf("%s: %v", test.name, err)
		}
		if !os.SameFile(before, after) {
			t.Errorf("%s: it was replaced", test.name)
		}
		if names, _ := os.ReadDir(dir); len(names) != 1 {
			t.Errorf("%s: left %v", test.name, names)
		}
	}
}

func TestSocketMode(t *testing.T) {
	for _, mode := range []int{0o600, 0o700, 0o660, 0o777, 0} {
		for _, umask := range []int{0, 0o022, 0o777} {
			conf := unixServer(filepath.Join(t.TempDir(), "s"))
			conf.Chmod = mode
			old := syscall.Umask(umask)
			s, err := Open([]plan.Server{conf}, Options{})
			syscall.Umask(old)
			if err != nil {
				t.Fatal(err)
			}
			if fi, err := os.Lstat(conf.Path); err != nil || fi.Mode().Perm() != os.FileMode(mode) {
				t.Errorf("%o: %v, %v", mode, fi.Mode(), err)
			}
			s.Close(t.Context())
		}
	}
}

// TestAttackTightenedSocket: the mode and the owner in the file are what the
// socket has, also when it is taken over from a server, or an image, before.
func TestAttackTightenedSocket(t *testing.T) {
	conf := unixServer(filepath.Join(t.TempDir(), "s"))
	look := func(when string, mode os.FileMode, uid int) {
		t.Helper()
		fi, err := os.Lstat(conf.Path)
		if err != nil {
			t.Fatal(when, err)
		}
		if owner := int(fi.Sys().(*syscall.Stat_t).Uid); fi.Mode().Perm() != mode || owner != uid {
			t.Errorf("%s: %v of %d, want %v of %d", when, fi.Mode().Perm(), owner, mode, uid)
		}
	}
	us := os.Geteuid()
	conf.Chmod = 0o777
	s := open(t, conf, new(bytes.Buffer))
	look("start", 0o777, us)
	hand := func(next plan.Server, known bool) {
		t.Helper()
		files, err := s.Files()
		if err != nil {
			t.Fatal(err)
		}
		if !known { // a version before ours does not say what it has made
			for address, f := range files {
				files[address] = Inherited{File: f.File}
			}
		}
		n, err := Open([]plan.Server{next}, Options{Inherited: files})
		if err != nil {
			t.Fatal(err)
		}
		if len(n.warnings) > 0 {
			t.Errorf("warnings %q", n.warnings)
		}
		s.Abandon(t.Context(), n)
		s = n
	}
	conf.Chmod = 0o700
	hand(conf, true)
	look("tighter", 0o700, us)
	conf.Chmod = 0o770
	hand(conf, false)
	look("wider", 0o770, us)
	if us == 0 {
		conf.UID, conf.GID, conf.Chmod = 65534, 65534, 0o640
		hand(conf, true)
		look("given away", 0o640, 65534)
		conf.UID, conf.GID, conf.Chmod = -1, -1, 0o600
		hand(conf, true)
		look("taken back", 0o600, 0)
	}
	c, err := net.Dial("unix", conf.Path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	// What somebody else has put there is left alone.
	if err := os.Rename(conf.Path, conf.Path+"-away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(conf.Path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	files, err := s.Files()
	if err != nil {
		t.Fatal(err)
	}
	n, err := Open([]plan.Server{conf}, Options{Inherited: files})
	if err != nil {
		t.Fatal(err)
	}
	if len(n.warnings) != 1 || !strings.Contains(n.warnings[0], "it is not the socket that was opened there") {
		t.Errorf("warnings %q", n.warnings)
	}
	look("foreign", 0o644, us)
	s.Abandon(t.Context(), n)
	n.Close(t.Context())
	look("foreign, at the end", 0o644, us)
}

// TestFailedReloadKeepsTheSocket: the old servers go on where the new ones cannot
// be opened.
func TestFailedReloadKeepsTheSocket(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	conf := unixServer(filepath.Join(t.TempDir(), "s"))
	s := open(t, conf, new(bytes.Buffer))
	defer s.Close(t.Context())
	files, err := s.Files()
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open([]plan.Server{conf, {Host: "127.0.0.1", Port: taken.Addr().(*net.TCPAddr).Port}}, Options{Inherited: files})
	if !errors.Is(err, errInUse) {
		t.Error(err)
	}
	c, err := net.Dial("unix", conf.Path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestLongTemporaryName(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, strings.Repeat("x", unixsock.MaxPath-len(dir)-1))
	s := open(t, unixServer(path), new(bytes.Buffer))
	defer s.Close(t.Context())
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestReplacedSocketIsNotRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := open(t, unixServer(path), new(bytes.Buffer))
	os.Remove(path)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.Close(t.Context())
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

func TestSocketAddresses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	u, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	tcp, err := net.Listen("tcp4", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	port := tcp.Addr().(*net.TCPAddr).Port
	uf, _ := u.File()
	tf, _ := tcp.(*net.TCPListener).File()
	odd, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer odd.Close()
	m := SocketAddresses([]*os.File{odd, tf, uf})
	unixConf, tcpConf := unixServer(path), plan.Server{Port: port}
	if len(m) != 2 || m[Address(unixConf)].File != uf || m[Address(tcpConf)].File != tf {
		t.Fatalf("%v", m)
	}
	s, err := Open([]plan.Server{unixConf, tcpConf}, Options{Inherited: m})
	if err != nil {
		t.Fatal(err)
	}
	s.Close(t.Context())
	wrong, err := tcp.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open([]plan.Server{unixConf}, Options{Inherited: map[string]Inherited{Address(unixConf): {File: wrong}}}); err == nil {
		t.Error("took a TCP socket for a unix one")
	}
}

// An IPv6 address stands in brackets, and is bound to as such.
func TestIPv6(t *testing.T) {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here: ", err)
	}
	conf := plan.Server{Section: "inet_http_server", Host: "[::1]", Port: l.Addr().(*net.TCPAddr).Port, UID: -1, GID: -1}
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if m := SocketAddresses([]*os.File{f}); m[Address(conf)].File != f {
		t.Errorf("%s is not among %v", Address(conf), m)
	}
	l.Close()
	f.Close()
	s, err := Open([]plan.Server{conf}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	c, err := net.Dial("tcp6", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// Requests may be being served when an upgrade is given up. It is for the race
// detector.
func TestStreamsWhileAnUpgradeIsGivenUp(t *testing.T) {
	s, _ := logSite(t, "line\n")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	var pausing sync.WaitGroup
	enough := make(chan struct{})
	pausing.Go(func() {
		for {
			select {
			case <-enough:
				return
			default:
			}
			if err := s.srv.Pause(over); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			s.srv.Resume()
		}
	})
	for range 200 {
		c := s.dial()
		io.WriteString(c, "GET /logtail/one HTTP/1.1\r\nHost: x\r\n\r\n")
		if r, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil && r.StatusCode != http.StatusOK {
			t.Errorf("%d", r.StatusCode)
		}
		c.Close()
	}
	close(enough)
	pausing.Wait()
}
