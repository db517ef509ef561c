package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sup/lib/plan"
	"sup/lib/safepath"
	"sup/supd/internal/unixsock"
)

// errInUse has Supervisor's words; people search for them.
//
//lint:ignore ST1005 they are a sentence
var errInUse = errors.New("Another program is already listening on a port that one of our HTTP servers is configured to use." +
	"  Shut this program down first before starting supervisord.")

// Address names the socket of a server: "unix:/path" or "tcp:host:port". It
// is the key under which a listening socket is handed on.
func Address(s plan.Server) string {
	if s.Unix {
		return "unix:" + s.Path
	}
	return "tcp:" + hostPort(s)
}

// hostPort is the address of a TCP server. The configuration has an IPv6 address in
// brackets.
func hostPort(s plan.Server) string {
	return net.JoinHostPort(strings.TrimSuffix(strings.TrimPrefix(s.Host, "["), "]"), strconv.Itoa(s.Port))
}

// network is IPv4, as with Supervisor, unless the host is an IPv6 address.
func network(s plan.Server) string {
	if strings.Contains(s.Host, ":") {
		return "tcp6"
	}
	return "tcp4"
}

// SocketAddresses sorts listening sockets that somebody else has opened, as
// systemd does, by the address that they are bound to. A socket bound to every
// address is found under the empty host. Files that are no such sockets are
// left out.
func SocketAddresses(files []*os.File) map[string]Inherited {
	m := make(map[string]Inherited)
	for _, f := range files {
		l, err := net.FileListener(f)
		if err != nil {
			continue
		}
		switch a := l.Addr().(type) {
		case *net.UnixAddr:
			m[Address(plan.Server{Unix: true, Path: a.Name})] = Inherited{File: f}
		case *net.TCPAddr:
			host := a.IP.String()
			if a.IP.IsUnspecified() {
				host = ""
			}
			m[Address(plan.Server{Host: host, Port: a.Port})] = Inherited{File: f}
		}
		l.Close()
	}
	return m
}

// Inherited is a listening socket that somebody else has opened, and its file if
// it is a unix socket of ours.
type Inherited struct {
	File *os.File
	ID   unixsock.ID
}

// listen opens the socket of a server, or takes over the inherited one, which it
// then closes. A lent one is left as it is.
func (s *Server) listen(conf plan.Server, inherited Inherited) (l listener, id unixsock.ID, err error) {
	switch {
	case inherited.File != nil:
		if l, err = adopt(conf, inherited.File); err == nil && conf.Unix && !slices.Contains(s.opts.Lent, Address(conf)) {
			id = s.adjust(conf, inherited.ID)
		}
	case conf.Unix:
		return listenUnix(conf, s.opts.Stderr)
	default:
		var lc net.ListenConfig
		var nl net.Listener
		if nl, err = lc.Listen(context.Background(), network(conf), hostPort(conf)); err == nil {
			l = nl.(*net.TCPListener)
		}
	}
	if err != nil {
		return nil, unixsock.ID{}, openError(err)
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
	var refused *safepath.Error
	if errors.As(err, &refused) || !errors.As(err, &errno) {
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

// socketSpec is what the socket of a server is to be like.
func socketSpec(s plan.Server) unixsock.Spec {
	return unixsock.Spec{Path: s.Path, Mode: s.Chmod, UID: s.UID, GID: s.GID, Backlog: backlog}
}

// backlog is more than any limit of the system, which the kernel puts in its
// place.
const backlog = 1 << 16

func listenUnix(s plan.Server, stderr io.Writer) (listener, unixsock.ID, error) {
	made, err := unixsock.Listen(socketSpec(s))
	if err != nil {
		return nil, unixsock.ID{}, unixError(s, err)
	}
	if made.Replaced {
		fmt.Fprintf(stderr, "Unlinking stale socket %s\n", s.Path)
	}
	l, err := adopt(s, os.NewFile(uintptr(made.FD), s.Path))
	if err != nil {
		_ = unixsock.Remove(s.Path, made.ID)
		return nil, unixsock.ID{}, openError(err)
	}
	return l, made.ID, nil
}

// unixError puts what keeps a unix socket from being opened into words, which are
// Supervisor's where it has some.
func unixError(s plan.Server, err error) error {
	var taken *unixsock.TakenError
	switch {
	case errors.As(err, &taken) && taken.Listening && taken.UID == os.Geteuid():
		return errInUse
	case errors.As(err, &taken) && taken.Listening:
		return fmt.Errorf("%w (%w)", errInUse, err)
	case errors.As(err, &taken):
		return err
	case errors.Is(err, unixsock.ErrOwner) && errors.Is(err, syscall.EPERM):
		//lint:ignore ST1005 Supervisor's words
		return fmt.Errorf("Not permitted to chown %s to uid/gid (%d, %d); adjust \"sockchown\" value in config file or on command line"+
			" to values that the current user can successfully chown", s.Path, s.UID, s.GID)
	}
	return openError(err)
}

// adjust gives the file of a socket that was taken over the mode and the owner
// that the configuration says now. Clients are served all the same where that
// cannot be done.
func (s *Server) adjust(conf plan.Server, known unixsock.ID) unixsock.ID {
	id, err := unixsock.Adjust(socketSpec(conf), known)
	if err != nil {
		s.warnings = append(s.warnings, fmt.Sprintf("cannot set the mode and the owner of the socket %s: %v; hint: restart supd", conf.Path, err))
	}
	return id
}
