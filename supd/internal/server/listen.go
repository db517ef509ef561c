package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"sup/lib/plan"
)

// errInUse has Supervisor's words; people search for them.
//
//lint:ignore ST1005 they are a sentence
var errInUse = errors.New("Another program is already listening on a port that one of our HTTP servers is configured to use." +
	"  Shut this program down first before starting supervisord.")

// maxSocketPath is the longest path of a unix socket, in bytes.
const maxSocketPath = 107

// Address names the socket of a server: "unix:/path" or "tcp:host:port". It
// is the key under which a listening socket is handed on.
func Address(s plan.Server) string {
	if s.Unix {
		return "unix:" + s.Path
	}
	return "tcp:" + net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
}

// SocketAddresses sorts listening sockets that somebody else has opened, as
// systemd does, by the address that they are bound to. A socket bound to every
// address is found under the empty host. Files that are no such sockets are
// left out.
func SocketAddresses(files []*os.File) map[string]*os.File {
	m := make(map[string]*os.File)
	for _, f := range files {
		l, err := net.FileListener(f)
		if err != nil {
			continue
		}
		switch a := l.Addr().(type) {
		case *net.UnixAddr:
			m[Address(plan.Server{Unix: true, Path: a.Name})] = f
		case *net.TCPAddr:
			host := a.IP.String()
			if a.IP.IsUnspecified() {
				host = ""
			}
			m[Address(plan.Server{Host: host, Port: a.Port})] = f
		}
		l.Close()
	}
	return m
}

// fileID tells one file from another.
type fileID struct{ dev, ino uint64 }

func idOf(path string) (fileID, error) {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return fileID{}, err
	}
	return fileID{uint64(st.Dev), st.Ino}, nil
}

// listen opens the socket of a server, or takes over the one in inherited,
// which it then closes.
func listen(s plan.Server, inherited *os.File, stderr io.Writer) (l listener, id fileID, err error) {
	switch {
	case inherited != nil:
		l, err = adopt(s, inherited)
	case s.Unix:
		return listenUnix(s, stderr)
	default:
		var lc net.ListenConfig
		var nl net.Listener
		if nl, err = lc.Listen(context.Background(), "tcp4", net.JoinHostPort(s.Host, strconv.Itoa(s.Port))); err == nil {
			l = nl.(*net.TCPListener)
		}
	}
	if err != nil {
		return nil, fileID{}, openError(err)
	}
	if s.Unix {
		id, _ = idOf(s.Path)
	}
	return l, id, nil
}

// listener is what *net.UnixListener and *net.TCPListener have in common.
type listener interface {
	net.Listener
	SetDeadline(time.Time) error
	File() (*os.File, error)
}

func adopt(s plan.Server, f *os.File) (listener, error) {
	nl, err := net.FileListener(f)
	f.Close()
	if err != nil {
		return nil, err
	}
	l, ok := nl.(listener)
	if _, unix := nl.(*net.UnixListener); !ok || unix != s.Unix {
		nl.Close()
		return nil, fmt.Errorf("cannot use the socket that was handed over for %s: it is of another kind", Address(s))
	}
	return l, nil
}

// openError gives an error the words that Supervisor has for it, if any.
func openError(err error) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err
	}
	if errno == syscall.EADDRINUSE {
		return errInUse
	}
	//lint:ignore ST1005 Supervisor's words
	return fmt.Errorf("Cannot open an HTTP server: socket.error reported errno.%s (%d)", errnoName(errno), int(errno))
}

// errnoName returns the symbol of the errors that opening a socket can give.
func errnoName(e syscall.Errno) string {
	names := map[syscall.Errno]string{
		syscall.EACCES: "EACCES", syscall.EADDRNOTAVAIL: "EADDRNOTAVAIL", syscall.EAFNOSUPPORT: "EAFNOSUPPORT",
		syscall.EEXIST: "EEXIST", syscall.EINVAL: "EINVAL", syscall.EISDIR: "EISDIR", syscall.ELOOP: "ELOOP",
		syscall.EMFILE: "EMFILE", syscall.ENAMETOOLONG: "ENAMETOOLONG", syscall.ENFILE: "ENFILE", syscall.ENOENT: "ENOENT",
		syscall.ENOSPC: "ENOSPC", syscall.ENOTDIR: "ENOTDIR", syscall.EPERM: "EPERM", syscall.EROFS: "EROFS",
	}
	if n, ok := names[e]; ok {
		return n
	}
	return e.Error()
}

// listenUnix makes the socket under a temporary name beside its path and moves
// it into place when its mode and owner are right, so that it never exists with
// wider rights than it is to have.
func listenUnix(s plan.Server, stderr io.Writer) (listener, fileID, error) {
	if len(s.Path) > maxSocketPath {
		return nil, fileID{}, fmt.Errorf("cannot listen on %q: the path is longer than %d bytes", s.Path, maxSocketPath)
	}
	temp := s.Path + "." + strconv.Itoa(os.Getpid())
	os.Remove(temp)
	l, err := bindUnix(temp, s.Chmod)
	if err != nil {
		return nil, fileID{}, openError(err)
	}
	fail := func(err error) (listener, fileID, error) {
		l.Close()
		os.Remove(temp)
		return nil, fileID{}, err
	}
	// The umask may have taken rights away.
	if err := os.Chmod(temp, os.FileMode(s.Chmod)); err != nil {
		return fail(openError(err))
	}
	if s.UID >= 0 || s.GID >= 0 {
		if err := os.Lchown(temp, s.UID, s.GID); err != nil {
			if errors.Is(err, syscall.EPERM) {
				//lint:ignore ST1005 Supervisor's words
				err = fmt.Errorf("Not permitted to chown %s to uid/gid (%d, %d); adjust \"sockchown\" value in config file or on command line"+
					" to values that the current user can successfully chown", s.Path, s.UID, s.GID)
			} else {
				err = openError(err)
			}
			return fail(err)
		}
	}
	if err := place(temp, s.Path, stderr); err != nil {
		return fail(err)
	}
	id, err := idOf(s.Path)
	if err != nil {
		return fail(openError(err))
	}
	return l, id, nil
}

// bindUnix makes a listening socket whose file has at most the rights of mode
// from the moment it exists: the file takes over the mode of the socket.
func bindUnix(path string, mode int) (*net.UnixListener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), uint32(mode)) }); cerr != nil {
			return cerr
		}
		return err
	}}
	name := path
	if len(name) > maxSocketPath {
		// The temporary name is longer than the real one, and too long: bind
		// it through its directory.
		dir, err := os.Open(filepath.Dir(path))
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		name = fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))
	}
	l, err := lc.Listen(context.Background(), "unix", name)
	if err != nil {
		return nil, err
	}
	ul := l.(*net.UnixListener)
	ul.SetUnlinkOnClose(false)
	return ul, nil
}

// place moves the socket from its temporary name to its path. What is there
// already is replaced if nobody answers.
func place(temp, path string, stderr io.Writer) error {
	err := os.Link(temp, path)
	if err == nil {
		os.Remove(temp)
		return nil
	}
	if !errors.Is(err, syscall.EEXIST) {
		// No hard links on this file system, or the directory is gone; the
		// latter shows below too.
		if _, serr := os.Lstat(path); errors.Is(serr, os.ErrNotExist) {
			err = os.Rename(temp, path)
			if err != nil {
				return openError(err)
			}
			return nil
		}
	}
	if inUse(path) {
		return errInUse
	}
	fmt.Fprintf(stderr, "Unlinking stale socket %s\n", path)
	if err := os.Rename(temp, path); err != nil {
		return openError(err)
	}
	return nil
}

// inUse tells whether somebody listens on a path, or may do so.
func inUse(path string) bool {
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
		return true
	}
	return !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENOTSOCK)
}
