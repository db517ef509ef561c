// Package fcgi makes the listening socket that the processes of an
// [fcgi-program:x] share as their descriptor 0.
//
// # Use
//
// The supervisor loop has one Socket for each group of that kind and owns it.
// It calls Use before it asks the spawner for a process, and Done when that
// process has ended or could not be made. Making a socket may take time, so the
// spawner calls Open, for every process it makes. The socket is thus opened
// before the first process and closed after the last, and while Open runs
// nobody else touches it: there is a user, so Done does not close it.
//
// A socket that cannot be made should keep the daemon from starting; a round of
// Use, Open and Done when the group becomes active finds out, as Supervisor
// does.
package fcgi

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"sup/lib/plan"
	"sup/supd/internal/unixsock"
)

// Socket is a listening socket with a count of its users.
type Socket struct {
	config plan.Socket
	// users is atomic for Open only, which may run while others are counted.
	users atomic.Int32
	// opening is held by Open: where making a process hangs, two may be made
	// at a time.
	opening sync.Mutex
	fd      int // -1 while there is no socket
}

// New is a socket that is not open yet.
func New(config plan.Socket) *Socket { return &Socket{config: config, fd: -1} }

// Use counts a user more.
func (s *Socket) Use() { s.users.Add(1) }

// Open makes the socket if there is none, and returns a descriptor of its own
// for it, which the caller has to close. It is blocking and close-on-exec. The
// line, if not empty, is for the activity log (INFO), also when there is an
// error. There must be a user.
func (s *Socket) Open() (fd int, line string, err error) {
	if s.users.Load() == 0 {
		panic("fcgi: Open without Use")
	}
	s.opening.Lock()
	defer s.opening.Unlock()
	if s.fd < 0 {
		line = "Creating socket " + s.config.URL
		if err := s.create(); err != nil {
			return -1, line, fmt.Errorf("cannot create FastCGI socket %s: %w", s.config.URL, err)
		}
	}
	fd, err = unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, 0)
	return fd, line, err
}

// Done counts a user less. With the last one the socket is closed; then there is
// a line for the activity log (INFO). The path of a unix socket stays, as with
// Supervisor: clients are refused, as they are by a TCP socket that is closed,
// and whoever watches the path sees it replaced and not come and go.
func (s *Socket) Done() (line string) {
	if s.users.Load() == 0 {
		panic("fcgi: Done without Use")
	}
	if s.users.Add(-1) > 0 || s.fd < 0 {
		return ""
	}
	unix.Close(s.fd)
	s.fd = -1
	return "Closing socket " + s.config.URL
}

// FD is the descriptor of the open socket, for handing it to a daemon that
// replaces this one, or -1.
func (s *Socket) FD() int { return s.fd }

// Adopt makes fd, which another daemon had opened for the same address, the
// socket. It is Socket's from then on.
func (s *Socket) Adopt(fd int) error {
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return err
	}
	if listens == 0 {
		return errors.New("not a listening socket")
	}
	unix.CloseOnExec(fd)
	s.fd = fd
	return nil
}

// Adjust gives the file of an adopted socket the mode and the owner of our
// configuration. What is at the path may be somebody else's by now; then it is left
// alone, and that is an error.
func (s *Socket) Adjust() error {
	path, ok := s.path()
	if !ok {
		return nil
	}
	if _, err := unixsock.Adjust(s.spec(path), unixsock.ID{}); err != nil {
		return fmt.Errorf("cannot set the mode and the owner of the socket %s: %w; hint: restart its programs", path, err)
	}
	return nil
}

// Fetch gets the socket from a process that has it as descriptor 0, for Adopt.
func Fetch(pidfd int) (fd int, err error) {
	return unix.PidfdGetfd(pidfd, 0, 0)
}

// path is the file of a unix socket.
func (s *Socket) path() (string, bool) { return strings.CutPrefix(s.config.URL, "unix://") }

func (s *Socket) create() error {
	if path, ok := s.path(); ok {
		return s.createUnix(path)
	}
	address, ok := strings.CutPrefix(s.config.URL, "tcp://")
	if !ok {
		return errors.New("bad socket format")
	}
	return s.createTCP(address)
}

func (s *Socket) createTCP(address string) error {
	a, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return err
	}
	sa := &unix.SockaddrInet4{Port: a.Port}
	copy(sa.Addr[:], a.IP.To4()) // none: every address
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, sa))
	}
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, s.backlog()))
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	s.fd = fd
	return nil
}

// createUnix makes a unix socket. One that a run before has left is replaced, also
// if somebody still has it: programs that outlived their daemon do. Those of
// other users are left alone while somebody listens there.
func (s *Socket) createUnix(path string) error {
	made, err := unixsock.Listen(s.spec(path))
	if err != nil {
		return err
	}
	// Programs expect one that blocks.
	if err := unix.SetNonblock(made.FD, false); err != nil {
		unix.Close(made.FD)
		return err
	}
	s.fd = made.FD
	return nil
}

// spec is what a unix socket is to be like.
func (s *Socket) spec(path string) unixsock.Spec {
	mode := s.config.Mode
	if mode < 0 {
		mode = 0o700
	}
	return unixsock.Spec{
		Path: path, Mode: mode, UID: s.config.UID, GID: s.config.GID, Backlog: s.backlog(),
		Reclaim: []int{unix.Geteuid(), s.config.UID},
	}
}

// manyConnections is more than any limit of the system, which the kernel puts
// in its place.
const manyConnections = 1 << 16

func (s *Socket) backlog() int {
	if s.config.Backlog <= 0 {
		return manyConnections
	}
	return s.config.Backlog
}
