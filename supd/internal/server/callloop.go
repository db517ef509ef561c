package server

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sup/lib/access"
	"sup/supd/internal/suspend"
)

const readSize = 8 << 10

// readBuffers are lent to connections while they have something to read, so
// that an idle one costs none.
var readBuffers = sync.Pool{New: func() any { return new([readSize]byte) }}

// callLoop is the state of a connection that has not been handed over.
type callLoop struct {
	raw    syscall.RawConn
	readFn func(fd uintptr) bool
	lent   *[readSize]byte // nil while nothing is there
	buf    []byte          // what has been read: lent[:n], or a larger buffer
	err    error           // of the last read by readFn

	readBy  time.Time // the deadline that is set for reading
	patient bool      // a call has been answered
	host    string    // the last Host that was found acceptable
}

// serve serves calls until the connection ends or is handed over.
func (c *conn) serve() {
	defer c.settle()
	l := &c.calls
	raw, err := c.rawConn()
	if err != nil || !c.handshake() {
		c.Close()
		return
	}
	l.raw, l.readFn = raw, l.tryRead
	c.known = c.ep.gate.open()
	for {
		h, v, err := c.readHead()
		switch {
		case err != nil && len(l.buf) == 0 || isTimeout(err) || !c.begin():
			l.release()
			c.Close()
			return
		case err != nil || v == other || h.length > c.ep.bounds.body || !c.admitted(&h):
			if a := c.knock(err); a.status != 0 {
				c.deny(a)
				return
			}
			c.handOver(l.take())
			return
		}
		h.close = h.close || c.last
		if !c.answerCall(&h) || !c.idle() {
			if !c.held {
				c.linger()
			}
			c.Close()
			return
		}
	}
}

// take returns what has been read and not used, and gives the buffer back.
func (l *callLoop) take() []byte {
	b := append([]byte(nil), l.buf...)
	l.release()
	return b
}

func (l *callLoop) release() {
	if l.lent != nil {
		readBuffers.Put(l.lent)
	}
	l.lent, l.buf = nil, nil
}

// tryRead is called with the descriptor when it may be readable. It borrows a
// buffer only for as long as there is something to put into it.
func (l *callLoop) tryRead(fd uintptr) bool {
	b := readBuffers.Get().(*[readSize]byte)
	n, err := syscall.Read(int(fd), b[:])
	for err == syscall.EINTR {
		n, err = syscall.Read(int(fd), b[:])
	}
	if err == syscall.EAGAIN {
		readBuffers.Put(b)
		return false
	}
	if n > 0 {
		l.lent, l.buf, l.err = b, b[:n], nil
		return true
	}
	readBuffers.Put(b)
	if l.err = err; err == nil {
		l.err = io.EOF
	}
	return true
}

// readFirst waits for something through TLS. As tryRead it borrows a buffer only
// when something is there.
func (c *conn) readFirst() error {
	var first [1]byte
	if _, err := io.ReadFull(c.Conn, first[:]); err != nil {
		return err
	}
	b := readBuffers.Get().(*[readSize]byte)
	b[0] = first[0]
	c.calls.lent, c.calls.buf = b, b[:1]
	return nil
}

// readUntil sets the read deadline.
func (c *conn) readUntil(d time.Duration) {
	c.calls.readBy = time.Now().Add(d)
	c.Conn.SetReadDeadline(c.calls.readBy)
}

// idleUntil sets the read deadline, unless one is set that is near enough:
// setting them for each of many calls costs too much.
func (c *conn) idleUntil(d time.Duration) {
	if left := time.Until(c.calls.readBy); left > d || left < d-d/8 {
		c.readUntil(d)
	}
}

// readHead reads until a header is complete. The buffer holds it then, and
// perhaps more.
func (c *conn) readHead() (h callHead, v verdict, err error) {
	l := &c.calls
	if len(l.buf) == 0 {
		l.release()
		if l.patient {
			c.idleUntil(callerTimeout)
		} else {
			c.idleUntil(silentTimeout)
		}
		if c.Conn != c.sock {
			if err := c.readFirst(); err != nil {
				return h, other, err
			}
		} else if err := l.raw.Read(l.readFn); err != nil {
			return h, other, err
		} else if l.err != nil {
			return h, other, l.err
		}
	}
	for timed := false; ; timed = true {
		if h, v = parseHead(l.buf); v != incomplete {
			return h, v, nil
		}
		if !timed {
			c.readUntil(min(headerTimeout, c.ep.bounds.timeout))
		}
		most := maxHeader
		if !c.known {
			most = strangerHeader
		}
		if len(l.buf) >= most {
			return h, other, errHeader
		}
		if err := c.readMore(most); err != nil {
			return h, other, err
		}
	}
}

// errHeader is returned for a header that is too large.
var errHeader = errors.New("the header is too large")

// readMore reads more behind what is in the buffer, which may grow to max.
func (c *conn) readMore(max int) error {
	l := &c.calls
	if len(l.buf) == cap(l.buf) {
		bigger := make([]byte, len(l.buf), min(2*cap(l.buf), max))
		copy(bigger, l.buf)
		l.release()
		l.buf = bigger
	}
	n, err := c.Conn.Read(l.buf[len(l.buf):cap(l.buf)])
	l.buf = l.buf[:len(l.buf)+n]
	if n > 0 {
		return nil
	}
	return err
}

// admitted tells whether the client may call at all. If the gate refuses, that
// is c.refusal; any other reason is found again, and answered, by net/http.
func (c *conn) admitted(h *callHead) bool {
	// Where everybody is let in, the answer is the same for all of a connection.
	if c.client == nil || !c.ep.gate.open() {
		a := c.ep.gate.check(&c.peer, h.auth, c.ep.srv.log)
		if c.refusal = a; a.status != 0 {
			return false
		}
		c.client, c.known = a.client, true
	}
	if c.ep.hosts != nil && h.host != nil && string(h.host) != c.calls.host {
		host := string(h.host)
		if !c.ep.hosts.allow(host) {
			return false
		}
		c.calls.host = host
	}
	return true
}

// knock asks the gate about a request that is to be handed over. Strangers are
// not: what they send must not cost more than the header that is in the buffer.
// err is that of reading it.
func (c *conn) knock(err error) admission {
	switch {
	case c.known:
		return admission{}
	case errors.Is(err, errHeader):
		return admission{status: http.StatusRequestHeaderFieldsTooLarge}
	case c.refusal.status == 0:
		c.refusal = c.ep.gate.check(&c.peer, authorizationOf(c.calls.buf), c.ep.srv.log)
		c.known = c.refusal.status == 0
	}
	return c.refusal
}

// authorizationOf is the first such field of a header, which may be in any form.
func authorizationOf(head []byte) []byte {
	const name = "authorization:"
	for line := range bytes.Lines(head) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if len(line) >= len(name) && is(line[:len(name)], name) {
			return bytes.TrimSpace(line[len(name):])
		}
	}
	return nil
}

// deny answers a stranger, and closes the connection.
func (c *conn) deny(a admission) {
	head := c.calls.buf
	if a.wrong {
		user, _, _ := parseBasic(authorizationOf(head))
		c.ep.srv.failures.add(c.ep.srv.log, c.ep.conf.Section, c.peer.refused(user))
	}
	fields := ""
	for _, f := range a.fields() {
		fields += f[0] + ": " + f[1] + "\r\n"
	}
	get, only := bytes.HasPrefix(head, []byte("GET ")), bytes.HasPrefix(head, []byte("HEAD "))
	c.refuseWith(a.status, fields, !only)
	c.calls.release()
	if get || only {
		c.linger()
	} else {
		c.drain() // of the body nothing may have come yet
	}
	c.Close()
}

// fields are what belongs into the header of the answer.
func (a admission) fields() [][2]string {
	switch a.status {
	case http.StatusUnauthorized:
		return [][2]string{{"WWW-Authenticate", `Basic realm="default"`}}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return [][2]string{{"Retry-After", strconv.Itoa(int((a.retry + time.Second - 1) / time.Second))}}
	}
	return nil
}

// answerCall reads the body of a call and answers it; false if the connection
// is to be closed.
func (c *conn) answerCall(h *callHead) bool {
	l := &c.calls
	s := c.ep.srv
	size := h.size + h.length
	var taken int64
	defer func() { s.memory.give(taken) }()
	if len(l.buf) < size {
		c.readUntil(c.ep.bounds.timeout)
	}
	for len(l.buf) < size {
		if len(l.buf) == cap(l.buf) && cap(l.buf) >= largeBody {
			more := int64(min(2*cap(l.buf), size)) - taken
			if !s.memory.take(more) {
				c.refuse(http.StatusServiceUnavailable)
				return false
			}
			taken += more
		}
		if c.readMore(size) != nil {
			return false
		}
	}
	a := s.newAnswer()
	defer a.free()
	ctx := s.callCtx
	if c.again != nil {
		ctx = suspend.With(s.ctx, c.again.Memo)
	}
	client := c.client
	if len(h.note) > 0 {
		client = client.With(string(h.note))
	}
	status, broken := s.answer(access.With(ctx, client), c, l.buf[h.size:size], a)
	if status == http.StatusOK {
		c.again = broken
	}
	if broken != nil && c.hold(l.buf[:size]) {
		return false
	}
	c.settle()
	if rest := l.buf[size:]; len(rest) == 0 {
		l.release()
	} else {
		// The next request is already there.
		l.buf = append(l.buf[:0], rest...)
	}
	if status != http.StatusOK {
		c.refuse(status)
		return false
	}
	l.patient = true
	return c.send(a, h) == nil && !h.close
}

// largeBody is how large a request may be before it counts against the memory
// budget, and has to wait for its turn to be read.
const largeBody = 128 << 10

// send writes an answer with its header. What is in memory goes out in one
// piece.
func (c *conn) send(a *answer, h *callHead) error {
	var head [headRoom]byte
	b := head[:0]
	if h.http10 {
		b = append(b, "HTTP/1.0 200 OK\r\nDate: "...)
	} else {
		b = append(b, "HTTP/1.1 200 OK\r\nDate: "...)
	}
	b = append(b, httpDate()...)
	b = append(b, "\r\nContent-Type: text/xml\r\nContent-Length: "...)
	b = strconv.AppendInt(b, a.size(), 10)
	switch {
	case h.close:
		b = append(b, "\r\nConnection: close"...)
	case h.http10:
		b = append(b, "\r\nConnection: Keep-Alive"...)
	}
	b = append(b, "\r\n\r\n"...)
	return a.writeTo(c, b)
}

// refuse sends an error page and announces the end of the connection.
func (c *conn) refuse(status int) { c.refuseWith(status, "", true) }

// refuseWith is refuse with further lines of the header, and without the page if
// only the header was asked for.
func (c *conn) refuseWith(status int, fields string, whole bool) {
	text := strconv.Itoa(status) + " " + http.StatusText(status)
	page := errorPage(status)
	head := "HTTP/1.1 " + text + "\r\nDate: " + httpDate() + "\r\nContent-Type: text/html\r\nX-Content-Type-Options: nosniff\r\n" + fields +
		"Content-Length: " + strconv.Itoa(len(page)) + "\r\nConnection: close\r\n\r\n"
	if whole {
		head += page
	}
	c.Write([]byte(head))
}

// linger gives a client that is still sending the time to read the answer.
func (c *conn) linger() {
	if c.pending() {
		c.drain()
	}
}

// drain takes what a client still sends, for a short while.
func (c *conn) drain() {
	c.CloseWrite()
	c.Conn.SetReadDeadline(time.Now().Add(lingerTimeout))
	io.CopyN(io.Discard, c.Conn, lingerBytes)
}

const (
	lingerTimeout = 500 * time.Millisecond
	lingerBytes   = 1 << 20
)

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// dateText is the Date header of a second.
type dateText struct {
	unix int64
	text string
}

var lastDate atomic.Pointer[dateText]

// httpDate returns the time as HTTP wants it.
func httpDate() string {
	now := time.Now()
	if d := lastDate.Load(); d != nil && d.unix == now.Unix() {
		return d.text
	}
	d := &dateText{now.Unix(), now.UTC().Format(http.TimeFormat)}
	lastDate.Store(d)
	return d.text
}
