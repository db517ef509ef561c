package server

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sup/lib/plan"
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
		{"stale socket", func() error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
			if err == nil {
				l.SetUnlinkOnClose(false)
				err = l.Close()
			}
			return err
		}, true},
		{"plain file", func() error { return os.WriteFile(path, []byte("x"), 0o600) }, true},
		{"dangling link", func() error { return os.Symlink(path+"-nosuch", path) }, true},
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
	os.Mkdir(dir+"/d", 0o700)
	if _, err := Open([]plan.Server{unixServer(dir + "/d")}, Options{}); err == nil {
		t.Error("a directory was replaced")
	}
}

func TestSocketMode(t *testing.T) {
	for _, mode := range []int{0o600, 0o700, 0o660, 0o777} {
		path := filepath.Join(t.TempDir(), "s")
		// A umask that gives everything away: the file must be born with
		// no more than its mode.
		old := syscall.Umask(0)
		l, err := bindUnix(path, mode)
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		fi, err := os.Lstat(path)
		if err != nil || fi.Mode().Perm() != os.FileMode(mode) {
			t.Errorf("%o: %v, %v", mode, fi.Mode(), err)
		}
		l.Close()
		// And one that takes away.
		conf := unixServer(path)
		conf.Chmod = mode
		os.Remove(path)
		old = syscall.Umask(0o777)
		s, err := Open([]plan.Server{conf}, Options{})
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		if fi, err := os.Lstat(path); err != nil || fi.Mode().Perm() != os.FileMode(mode) {
			t.Errorf("%o: %v, %v", mode, fi.Mode(), err)
		}
		s.Close(t.Context())
	}
}

func TestLongTemporaryName(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, strings.Repeat("x", maxSocketPath-len(dir)-1))
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
	if len(m) != 2 || m[Address(unixConf)] != uf || m[Address(tcpConf)] != tf {
		t.Fatalf("%v", m)
	}
	s, err := Open([]plan.Server{unixConf, tcpConf}, Options{Inherited: m})
	if err != nil {
		t.Fatal(err)
	}
	s.Close(t.Context())
	if _, err := Open([]plan.Server{unixConf}, Options{Inherited: map[string]*os.File{Address(unixConf): func() *os.File { f, _ := tcp.(*net.TCPListener).File(); return f }()}}); err == nil {
		t.Error("took a TCP socket for a unix one")
	}
}
