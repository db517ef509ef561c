// Package holder is supd's side of the process that holds the other ends of
// programs' pipes, see package suphold.
package holder

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/logwire"
	"sup/supd/internal/suphold"
)

// Conn is a connection to the process. Any goroutine may call its methods, and
// none but Held and AwaitEnd waits: what the process does not take at once is
// queued.
type Conn struct {
	file *os.File
	raw  syscall.RawConn

	mu     sync.Mutex
	fd     int       // -1 once it is closed
	queue  []message // what was not taken, in order
	buffer []byte
}

// message is one that waits. Its descriptors are ours.
type message struct {
	text []byte
	fds  []int
}

// Entry is what is held under a key.
type Entry struct {
	Key  uint64
	Name string
	FDs  []int
}

// New takes over fd, one end of a connection of type SOCK_SEQPACKET.
func New(fd int) (*Conn, error) {
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	// Starts come in bursts.
	const room = 4 << 20
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, room) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, room)
	}
	file := os.NewFile(uintptr(fd), "holder")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &Conn{file: file, raw: raw, fd: fd}, nil
}

// Pair makes a connection to a process that is about to be started; peer is to be
// its descriptor suphold.ConnFD. What is sent meanwhile waits in it.
func Pair() (c *Conn, peer *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	if c, err = New(fds[0]); err != nil {
		unix.Close(fds[1])
		return nil, nil, err
	}
	return c, os.NewFile(uintptr(fds[1]), "holder peer"), nil
}

// Dial connects to the process that a supd before has left, by its socket.
func Dial(path string) (*Conn, error) {
	fd, err := logwire.Connect(path)
	if err != nil {
		return nil, err
	}
	return New(fd)
}

// FD is the descriptor, which belongs to c; 0 once c is closed.
func (c *Conn) FD() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(c.fd, 0)
}

// Close gives the connection up.
func (c *Conn) Close() {
	c.mu.Lock()
	queue := c.queue
	c.fd, c.queue = -1, nil
	c.mu.Unlock()
	// This waits for flush.
	c.file.Close()
	for _, m := range queue {
		logwire.CloseFDs(m.fds)
	}
}

// Hold has descriptors held under a key, in place of those that are. The first is
// an end of a program's pipe; what can be read from the first few, data of them,
// is not to be lost.
func (c *Conn) Hold(key uint64, name string, data int, fds ...int) {
	c.send(&suphold.Message{Op: suphold.Hold, Key: key, Data: byte(data), Name: []byte(name)}, fds[:min(len(fds), suphold.MaxFDs)])
}

// Drop gives up what is held under a key.
func (c *Conn) Drop(key uint64) { c.send(&suphold.Message{Op: suphold.Drop, Key: key}, nil) }

// End ends the process.
func (c *Conn) End() { c.send(&suphold.Message{Op: suphold.End}, nil) }

// send sends a message, or queues it. An error that does not pass is the end of
// the connection, which AwaitEnd reports.
func (c *Conn) send(m *suphold.Message, fds []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return
	}
	c.buffer = suphold.Append(c.buffer[:0], m)
	if len(c.queue) == 0 && !passes(sendTo(c.fd, c.buffer, fds)) {
		return
	}
	own := make([]int, 0, len(fds))
	for _, fd := range fds {
		if n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3); err == nil {
			own = append(own, n)
		}
	}
	c.queue = append(c.queue, message{append([]byte(nil), c.buffer...), own})
	if len(c.queue) == 1 {
		go c.flush()
	}
}

func sendTo(fd int, text []byte, fds []int) error {
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	for {
		_, err := unix.SendmsgN(fd, text, oob, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// passes tells whether a message may be taken later. For ordinary users there is
// a limit to the descriptors under way.
func passes(err error) bool {
	for _, e := range []error{unix.EAGAIN, unix.ETOOMANYREFS, unix.ENOBUFS, unix.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// flush sends what is queued.
func (c *Conn) flush() {
	const pause = 5 * time.Millisecond
	for {
		var err error
		closed := c.raw.Write(func(fd uintptr) bool {
			err = c.sendQueued(int(fd))
			return !errors.Is(err, unix.EAGAIN)
		})
		if closed != nil || err == nil {
			return
		}
		time.Sleep(pause)
	}
}

// sendQueued sends as much of the queue as is taken; the error is one that passes.
func (c *Conn) sendQueued(fd int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) > 0 {
		m := c.queue[0]
		if err := sendTo(fd, m.text, m.fds); passes(err) {
			return err
		}
		logwire.CloseFDs(m.fds)
		c.queue = c.queue[1:]
	}
	return nil
}

// Held asks for the pid of the process, and for what it holds. It may be called
// once, before AwaitEnd. The descriptors belong to the caller.
func (c *Conn) Held(patience time.Duration) (pid int, entries []Entry, err error) {
	_ = c.file.SetReadDeadline(time.Now().Add(patience))
	defer c.file.SetReadDeadline(time.Time{})
	c.send(&suphold.Message{Op: suphold.List}, nil)
	for left := 1; left > 0; left-- {
		m, fds, err := c.receive()
		switch {
		case err != nil:
		case m.Op == suphold.Here:
			left++ // the supd before has not read it
			continue
		case pid == 0 && m.Op == suphold.Info:
			pid = int(uint32(m.Key))
			left += int(m.Key >> 32)
			continue
		case pid != 0 && m.Op == suphold.Held:
			entries = append(entries, Entry{m.Key, string(m.Name), fds})
			continue
		default:
			err = errors.New("it does not answer what it was asked")
		}
		logwire.CloseFDs(fds)
		for _, e := range entries {
			logwire.CloseFDs(e.FDs)
		}
		return 0, nil, err
	}
	return pid, entries, nil
}

// AwaitEnd returns when the process has ended, or c is closed. If the process was
// started for c, here is called with its pid.
func (c *Conn) AwaitEnd(here func(pid int)) {
	for {
		m, fds, err := c.receive()
		logwire.CloseFDs(fds)
		if err != nil {
			return
		}
		if m.Op == suphold.Here {
			here(int(m.Key))
		}
	}
}

// receive waits for a message.
func (c *Conn) receive() (m suphold.Message, fds []int, err error) {
	text := make([]byte, 2*suphold.MaxName)
	oob := make([]byte, unix.CmsgSpace(4*suphold.MaxFDs))
	n, oobn := 0, 0
	closed := c.raw.Read(func(fd uintptr) bool {
		for {
			n, oobn, _, _, err = unix.Recvmsg(int(fd), text, oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
			if !errors.Is(err, unix.EINTR) {
				return !errors.Is(err, unix.EAGAIN)
			}
		}
	})
	switch {
	case closed != nil:
		return m, nil, closed
	case err != nil:
		return m, nil, os.NewSyscallError("recvmsg", err)
	case n == 0:
		return m, nil, io.EOF
	}
	control, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return m, nil, os.NewSyscallError("recvmsg", err)
	}
	for i := range control {
		if got, err := unix.ParseUnixRights(&control[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	m, ok := suphold.Parse(text[:n])
	if !ok {
		return m, fds, io.ErrUnexpectedEOF
	}
	return m, fds, nil
}
