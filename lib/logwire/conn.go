package logwire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxFDs is the most descriptors that one message may carry.
const maxFDs = 16

// Conn is one end of the wire. One goroutine may receive while others send.
// Waiting is done by Go's poller: a connection costs no thread.
type Conn struct {
	file *os.File
	raw  syscall.RawConn

	sendMu  sync.Mutex
	sendBuf []byte

	recvBuf []byte
	oob     []byte
	// rest is what is left of a datagram with several messages.
	rest []byte
}

// NewConn takes over fd, a connected socket of type SOCK_SEQPACKET.
func NewConn(fd int) (*Conn, error) {
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	// As much as the system allows: the daemon may be busy for a moment
	// while output is announced.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20)
	file := os.NewFile(uintptr(fd), "logwire")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &Conn{
		file: file, raw: raw,
		recvBuf: make([]byte, 64<<10),
		oob:     make([]byte, unix.CmsgSpace(4*maxFDs)),
	}, nil
}

// Pair makes both ends of a wire that has no name. The second is given as a
// file, to be inherited by suplog as its descriptor 3.
func Pair() (*Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	c, err := NewConn(fds[0])
	if err != nil {
		unix.Close(fds[1])
		return nil, nil, err
	}
	return c, os.NewFile(uintptr(fds[1]), "logwire peer"), nil
}

// Dial connects to the socket at path. The error is ECONNREFUSED if nobody
// listens any more, ENOENT if there is no such socket.
func Dial(path string) (*Conn, error) {
	fd, err := Connect(path)
	if err != nil {
		return nil, err
	}
	return NewConn(fd)
}

// Connect is Dial for those who speak another language there.
func Connect(path string) (fd int, err error) {
	if fd, err = newSocket(); err != nil {
		return -1, err
	}
	err = withAddress(path, func(a unix.Sockaddr) error {
		for {
			if err := unix.Connect(fd, a); err != unix.EINTR {
				return err
			}
		}
	})
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("cannot connect to %q: %w", path, err)
	}
	return fd, nil
}

func newSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	return fd, nil
}

// withAddress calls f with an address for path, also where path is longer
// than the 107 bytes that an address holds.
func withAddress(path string, f func(unix.Sockaddr) error) error {
	if len(path) < 108 {
		return f(&unix.SockaddrUnix{Name: path})
	}
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	return f(&unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(dir) + "/" + filepath.Base(path)})
}

// Close closes the connection; a Receive that waits returns [os.ErrClosed].
func (c *Conn) Close() error { return c.file.Close() }

// SetWriteDeadline bounds how long a Send may wait for a peer that does not
// receive; the error is then [os.ErrDeadlineExceeded].
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.file.SetWriteDeadline(t) }

// SetReadDeadline makes a Receive that waits, and all later ones, return
// [os.ErrDeadlineExceeded] from t on; the zero time stands for never. What has
// arrived stays.
func (c *Conn) SetReadDeadline(t time.Time) { _ = c.file.SetReadDeadline(t) }

// FD is the descriptor. It belongs to c.
func (c *Conn) FD() (fd int) {
	_ = c.raw.Control(func(n uintptr) { fd = int(n) })
	return fd
}

// PeerUID is the user that the other end belongs to.
func (c *Conn) PeerUID() (int, error) {
	var cred *unix.Ucred
	var err error
	if werr := c.raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); werr != nil {
		return -1, werr
	}
	if err != nil {
		return -1, os.NewSyscallError("getsockopt", err)
	}
	return int(cred.Uid), nil
}

// Send sends m. Data or Comm longer than a message are sent in parts, nothing
// else in between. The descriptors in m.FDs go with the first part and stay
// open here. Send waits while the peer's queue is full.
func (c *Conn) Send(m *Message) error {
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	return c.send(m)
}

func (c *Conn) send(m *Message) error {
	const room = MaxMessage - headerLen - 16
	part := *m
	for (part.Kind == Data || part.Kind == Comm) && len(part.Data) > room {
		rest := part.Data[room:]
		part.Data, part.More = part.Data[:room], true
		if err := c.sendOne(&part); err != nil {
			return err
		}
		part.Data, part.More, part.FDs = rest, m.More, nil
	}
	return c.sendOne(&part)
}

func (c *Conn) sendOne(m *Message) error {
	if len(m.FDs) > maxFDs {
		return fmt.Errorf("cannot send %s: %d descriptors in one message", m.Kind, len(m.FDs))
	}
	c.sendBuf = Append(c.sendBuf[:0], m)
	if len(c.sendBuf) > MaxMessage {
		return fmt.Errorf("cannot send %s: %w", m.Kind, unix.EMSGSIZE)
	}
	var oob []byte
	if len(m.FDs) > 0 {
		oob = unix.UnixRights(m.FDs...)
	}
	return c.sendBytes(oob, true)
}

// sendBytes sends what is in sendBuf as one datagram. If it is not to wait, the
// error for a peer whose queue is full is EAGAIN.
func (c *Conn) sendBytes(oob []byte, wait bool) error {
	var err error
	werr := c.raw.Write(func(fd uintptr) bool {
		for {
			_, err = unix.SendmsgN(int(fd), c.sendBuf, oob, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
			if err != unix.EINTR {
				return err != unix.EAGAIN || !wait
			}
		}
	})
	if werr != nil {
		return werr
	}
	return os.NewSyscallError("sendmsg", err)
}

// SendAll sends the first few of some messages, in as few datagrams as they
// fit into, and tells how many were sent; all, unless there is an error. Only a
// peer whose Version is at least [SharesDatagrams] understands it. If it is not
// to wait for a peer whose queue is full, the error is then EAGAIN.
func (c *Conn) SendAll(messages []*Message, wait bool) (sent int, err error) {
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	for sent < len(messages) {
		n := c.pack(messages[sent:])
		if n == 0 {
			// It does not fit, or has descriptors. With the peer's queue full,
			// it must not be sent in part.
			if !wait {
				return sent, unix.EAGAIN
			}
			err = c.send(messages[sent])
			n = 1
		} else {
			err = c.sendBytes(nil, wait)
		}
		if err != nil {
			return sent, err
		}
		sent += n
	}
	return sent, nil
}

// pack makes one datagram of the first few of some messages, and tells of how
// many.
func (c *Conn) pack(messages []*Message) (n int) {
	b := append(c.sendBuf[:0], byte(several))
	b = append(b, make([]byte, headerLen-1)...)
	for ; n < len(messages) && len(messages[n].FDs) == 0; n++ {
		at := len(b)
		if at+len(messages[n].Data)+len(messages[n].Text) > MaxMessage {
			break
		}
		b = Append(append(b, 0, 0), messages[n])
		if len(b) > MaxMessage {
			b = b[:at]
			break
		}
		binary.LittleEndian.PutUint16(b[at:], uint16(len(b)-at-2))
	}
	c.sendBuf = b
	return n
}

// More tells whether the next Receive has a message without waiting: one that
// came in the same datagram as the one before.
func (c *Conn) More() bool { return len(c.rest) > 0 }

// Receive waits for a message and stores it in m; m.FDs, which replaces what
// was there, belongs to the caller. It returns io.EOF when the peer has closed
// the connection, [ErrMalformed] for a message that cannot be understood, and
// [ErrNoDescriptors] for one, stored in m, that has lost its descriptors on
// the way; the connection can be used after these.
func (c *Conn) Receive(m *Message) error {
	if len(c.rest) > 0 {
		m.FDs = nil
		return c.nextOfSeveral(m)
	}
	var n, oobn, flags int
	var err error
	rerr := c.raw.Read(func(fd uintptr) bool {
		for {
			n, oobn, flags, _, err = unix.Recvmsg(int(fd), c.recvBuf, c.oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	m.FDs = nil
	if rerr != nil {
		return rerr
	}
	if errors.Is(err, unix.ECONNRESET) || err == nil && n == 0 {
		return io.EOF
	}
	if err != nil {
		return os.NewSyscallError("recvmsg", err)
	}
	if oobn > 0 {
		if m.FDs, err = parseRights(c.oob[:oobn]); err != nil {
			return err
		}
	}
	switch {
	case flags&unix.MSG_TRUNC != 0:
		err = ErrMalformed
	case flags&unix.MSG_CTRUNC != 0:
		if err = Parse(c.recvBuf[:n], m); err == nil {
			err = ErrNoDescriptors
		}
	case n > headerLen && Kind(c.recvBuf[0]) == several && len(m.FDs) == 0:
		c.rest = c.recvBuf[headerLen:n]
		return c.nextOfSeveral(m)
	default:
		err = Parse(c.recvBuf[:n], m)
	}
	if err != nil {
		CloseFDs(m.FDs)
		m.FDs = nil
	}
	return err
}

// nextOfSeveral takes the next message from a datagram.
func (c *Conn) nextOfSeveral(m *Message) error {
	if len(c.rest) < 2 {
		c.rest = nil
		return ErrMalformed
	}
	n := 2 + int(binary.LittleEndian.Uint16(c.rest))
	if n > len(c.rest) {
		c.rest = nil
		return ErrMalformed
	}
	one := c.rest[2:n]
	c.rest = c.rest[n:]
	return Parse(one, m)
}

func parseRights(oob []byte) ([]int, error) {
	var fds []int
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, os.NewSyscallError("recvmsg", err)
	}
	for i := range msgs {
		if got, err := unix.ParseUnixRights(&msgs[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	return fds, nil
}

// CloseFDs closes descriptors that came with a message and are not wanted.
func CloseFDs(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// Listener is the socket in the state directory on which suplog waits for
// supd.
type Listener struct {
	file *os.File
	raw  syscall.RawConn
}

// Listen makes the socket at path, with mode 0600 from its birth. A socket
// file that lies there is replaced: the caller has made sure, by the lock of
// the state directory, that nobody uses it.
func Listen(path string) (*Listener, error) {
	fd, err := newSocket()
	if err != nil {
		return nil, err
	}
	err = unix.Fchmod(fd, 0o600)
	if err == nil {
		if err = unix.Unlink(path); err == unix.ENOENT {
			err = nil
		}
	}
	if err == nil {
		err = withAddress(path, func(a unix.Sockaddr) error { return unix.Bind(fd, a) })
	}
	if err == nil {
		err = unix.Listen(fd, 8)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot listen on %q: %w", path, err)
	}
	return NewListener(fd)
}

// NewListener takes over fd, a listening socket, as suplog inherits it.
func NewListener(fd int) (*Listener, error) {
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(fd), "logwire listener")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &Listener{file: file, raw: raw}, nil
}

// File is the socket, to be inherited by suplog as its descriptor 3. It
// belongs to l.
func (l *Listener) File() *os.File { return l.file }

// Close closes the socket here; its file stays.
func (l *Listener) Close() error { return l.file.Close() }

// Accept waits for the next connection.
func (l *Listener) Accept() (*Conn, error) {
	var conn int
	var err error
	rerr := l.raw.Read(func(fd uintptr) bool {
		for {
			conn, _, err = unix.Accept4(int(fd), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			if err != unix.EINTR && err != unix.ECONNABORTED {
				return err != unix.EAGAIN
			}
		}
	})
	if rerr != nil {
		return nil, rerr
	}
	if err != nil {
		return nil, os.NewSyscallError("accept", err)
	}
	return NewConn(conn)
}

// IsListening tells whether fd is a socket that listens, rather than one end
// of a pair.
func IsListening(fd int) bool {
	v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return err == nil && v == 1
}
