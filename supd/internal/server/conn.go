package server

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/access"
)

// What a connection is doing.
const (
	waiting int32 = iota // for a request, or for the rest of its header
	busy
	gone
)

// start is what times of connections are measured from; monotonic.
var start = time.Now()

// conn is a connection of a client. It is a net.Conn for net/http once that
// has got it.
type conn struct {
	net.Conn          // with TLS, where the server has it
	sock     net.Conn // what the kernel knows
	below    *tap     // between the two, nil without TLS
	// last is set when the connection ends with the next answer.
	last  bool
	ep    *endpoint
	peer  visitor // who is at the other end, as far as the connection tells
	state atomic.Int32
	since atomic.Int64 // when it last changed to waiting, since start
	asked atomic.Bool  // a request has come over it
	once  sync.Once

	// ahead is what has been read and not yet been given to net/http.
	ahead []byte
	// writeBy is the deadline that is set for writing.
	writeBy time.Time
	client  *access.Client // who makes the request that is being served
	known   bool           // a request was admitted, or everybody is
	// refusal is what the gate has said to the last request.
	refusal admission
	calls   callLoop
	// again is a call that was broken off, until it has been made again or goes on
	// elsewhere, as the connection does when held is set.
	again *BrokenOff
	held  bool
}

func newConn(ep *endpoint, nc net.Conn) *conn {
	c := &conn{Conn: nc, sock: nc, ep: ep, peer: peerOf(nc, ep.conf.Roles != nil)}
	if ep.tls != nil {
		c.Conn, c.below = ep.tls.wrap(nc)
	}
	c.since.Store(int64(time.Since(start)))
	return c
}

// Read reads for net/http.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
			c.ahead = nil
		}
		return n, nil
	}
	return c.Conn.Read(p)
}

// Write gives the client writeTimeout to take a part of p, and again for each
// further part.
func (c *conn) Write(p []byte) (n int, err error) {
	for {
		if now := time.Now(); c.writeBy.Sub(now) < writeTimeout {
			// Deadlines are not free; one is good for a few seconds.
			c.writeBy = now.Add(writeTimeout + 5*time.Second)
			c.Conn.SetWriteDeadline(c.writeBy)
		}
		k, err := c.Conn.Write(p[n:min(len(p), n+writePart)])
		n += k
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

const writePart = 256 << 10

// Close closes the connection; more than once does no harm.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.state.Store(gone)
		if !c.held {
			c.discard()
		}
		if c.Conn == c.sock || c.held {
			c.end()
			return
		}
		// TLS ends with a message, for which the client's buffer may have no
		// room; nobody else waits for it.
		cut := time.AfterFunc(farewellTimeout, func() { c.sock.Close() })
		go func() {
			c.end()
			cut.Stop()
		}()
	})
	return nil
}

const farewellTimeout = time.Second

// end closes the connection; it is forgotten then.
func (c *conn) end() {
	if c.held {
		// Whoever goes on with it has something to say yet.
		c.sock.Close()
	} else {
		c.Conn.Close()
	}
	c.ep.mu.Lock()
	delete(c.ep.open, c)
	c.ep.mu.Unlock()
	c.ep.signalRoom()
	c.ep.srv.conns.done()
}

// closeIdle closes the connection if it waits for a request.
func (c *conn) closeIdle() bool {
	if c.state.CompareAndSwap(waiting, gone) {
		c.Close()
		return true
	}
	return false
}

// begin notes that a request has arrived; false if the connection has been
// given up meanwhile.
func (c *conn) begin() bool {
	c.asked.Store(true)
	return c.state.CompareAndSwap(waiting, busy)
}

// idle notes that the connection waits for the next request; false if there
// shall be none.
func (c *conn) idle() bool {
	c.since.Store(int64(time.Since(start)))
	c.state.CompareAndSwap(busy, waiting)
	c.ep.signalRoom()
	return !c.ep.srv.draining.Load()
}

// CloseWrite tells the client that nothing more comes.
func (c *conn) CloseWrite() error {
	if hc, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return hc.CloseWrite()
	}
	return nil
}

// discard reads what has arrived, without waiting: closing a socket with bytes
// unread resets the connection, and the client may lose the answer.
func (c *conn) discard() {
	raw, err := c.rawConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		b := readBuffers.Get().(*[readSize]byte)
		defer readBuffers.Put(b)
		for range lingerBytes / readSize {
			if n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_DONTWAIT); n <= 0 || err != nil {
				return
			}
		}
	})
}

// pending tells whether the client has sent something that is not read yet.
func (c *conn) pending() bool {
	raw, err := c.rawConn()
	if err != nil {
		return false
	}
	var n int
	raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return err == nil && n > 0
}

// left tells whether the client has gone away, as far as that can be told: over
// TCP one that only says that it sends no more counts as gone, as it does for
// Supervisor.
func (c *conn) left() bool {
	raw, err := c.rawConn()
	if err != nil {
		return false
	}
	gone := int16(unix.POLLHUP | unix.POLLERR)
	if !c.ep.conf.Unix {
		gone |= unix.POLLRDHUP
	}
	yes := false
	cerr := raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(p, 0)
		yes = err == nil && n > 0 && p[0].Revents&gone != 0
	})
	return cerr != nil || yes
}

// connState follows what net/http does with a connection.
func connState(nc net.Conn, state http.ConnState) {
	c := nc.(*conn)
	switch state {
	case http.StateActive:
		c.begin()
	case http.StateIdle:
		c.idle()
	}
}

// connQueue is a net.Listener for the connections that are handed over.
type connQueue struct {
	conns chan *conn
	done  <-chan struct{}
	addr  net.Addr
}

func (q *connQueue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *connQueue) Close() error   { return nil }
func (q *connQueue) Addr() net.Addr { return q.addr }

// handOver gives a connection to net/http, together with what has been read
// of the request. The connection is busy.
func (c *conn) handOver(read []byte) {
	c.ahead = append(c.ahead, withHost(read)...)
	c.Conn.SetReadDeadline(time.Time{})
	select {
	case c.ep.queue.conns <- c:
	case <-c.ep.srv.ctx.Done():
		c.Close()
	}
}

// withHost adds an empty Host to a header that lacks one. HTTP/1.1 wants it and
// net/http insists; Supervisor does not, and health checks that were written by
// hand get along without.
func withHost(request []byte) []byte {
	line := bytes.IndexByte(request, '\n') + 1
	end := bytes.Index(request, []byte("\r\n\r\n"))
	if line == 0 || end < line-2 || !bytes.HasSuffix(request[:line], []byte(" HTTP/1.1\r\n")) {
		return request
	}
	for field := range bytes.Lines(request[line : end+2]) {
		if len(field) >= 5 && is(field[:5], "host:") {
			return request
		}
	}
	return slices.Concat(request[:line], []byte("Host:\r\n"), request[line:])
}

func isClosed(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled)
}
