package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// errShape is an answer of another structure than the method promises.
var errShape = errors.New("cannot read the server's answer: it has an unexpected shape")

// Reasons for which no daemon answers; to be tested for with errors.Is.
var (
	// ErrNoSocket means that the socket file does not exist.
	ErrNoSocket = errors.New("no such file")
	// ErrRefused means that nobody listens.
	ErrRefused = errors.New("refused connection")
	// ErrStranger means that somebody listens who is not to know the password.
	ErrStranger = errors.New("is not served by whom the password is for")
)

// checkPeer makes sure that credentials go to nobody but root, ourselves and who
// is trusted.
func (c *Client) checkPeer(nc net.Conn) error {
	if !c.Unix() || c.authorization == "" {
		return nil
	}
	var peer *unix.Ucred
	var cerr error
	raw, err := nc.(*net.UnixConn).SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { peer, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	}
	if err = errors.Join(err, cerr); err != nil {
		return fmt.Errorf("cannot tell who serves %s: %w", c.serverURL, err)
	}
	uid := int(peer.Uid)
	if uid == 0 || uid == os.Geteuid() || c.trusts != nil && c.trusts(uid) {
		return nil
	}
	return fmt.Errorf("%s %w: the daemon there runs as user %d, which is neither root nor you nor the owner of the configuration; "+
		"hint: if it is the right one, write user = %d into [supervisord] of the file that you use", c.serverURL, ErrStranger, uid, uid)
}

// StatusError is an HTTP answer other than 200.
type StatusError struct {
	// Code is the status, 401 for instance.
	Code int
	// Reason is the text after it, "Unauthorized".
	Reason string
	// Hint says more, if that is known.
	Hint string
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("the server answered with HTTP status %d (%s)", e.Code, e.Reason)
	if e.Hint != "" {
		text += ": " + e.Hint
	}
	return text
}

func (c *Client) statusError(r *http.Response) *StatusError {
	e := &StatusError{Code: r.StatusCode, Reason: http.StatusText(r.StatusCode)}
	switch {
	case e.Code == http.StatusForbidden:
		e.Hint = "you have no role there; see roles= in its configuration"
	case e.Code == http.StatusTooManyRequests:
		e.Hint = "too many wrong passwords came from this address"
		if wait := r.Header.Get("Retry-After"); wait != "" {
			e.Hint += "; try again in " + wait + " s"
		}
	case e.Code == http.StatusServiceUnavailable:
		e.Hint = "it has too much to do at the same time, or as many logs are followed as max_followers= allows; try again"
	case e.Code == http.StatusBadRequest && c.network == "tcp" && !c.secure && r.Header.Get("Content-Type") == "text/plain":
		e.Hint = "it speaks TLS; use https:// in place of http://"
	}
	return e
}

// IsStatus reports whether err is an HTTP answer of the status given.
func IsStatus(err error, code int) bool {
	var status *StatusError
	return errors.As(err, &status) && status.Code == code
}

// conn is a connection with what was read of it and not yet used.
type conn struct {
	net.Conn
	in *bufio.Reader
}

func (c *Client) dial(ctx context.Context) (*conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, c.network, c.address)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	if err := c.checkPeer(nc); err != nil {
		nc.Close()
		return nil, err
	}
	if c.secure {
		secured, err := c.secured(ctx, nc)
		if err != nil {
			nc.Close()
			return nil, c.explain(ctx, err)
		}
		nc = secured
	}
	return &conn{Conn: nc, in: bufio.NewReaderSize(nc, 32<<10)}, nil
}

// roundTrip sends a request and returns the body of the answer. The caller
// holds c.mu.
func (c *Client) roundTrip(ctx context.Context, verb, path string, body []byte) ([]byte, error) {
	request := c.request(verb, path, body)
	for {
		reused := c.idle != nil
		if !reused {
			cn, err := c.dial(ctx)
			if err != nil {
				return nil, err
			}
			c.idle = cn
		}
		answer, err := c.attempt(ctx, request)
		if errors.Is(err, errNoAnswer) && reused && ctx.Err() == nil {
			// The server closed the connection while it was idle.
			continue
		}
		if err != nil {
			return nil, c.explain(ctx, err)
		}
		return answer, nil
	}
}

// attempt makes one exchange on the idle connection, and keeps the connection
// if the answer was read to its end and the server will read another request.
func (c *Client) attempt(ctx context.Context, request []byte) ([]byte, error) {
	cn := c.idle
	stop := context.AfterFunc(ctx, func() { cn.Close() })
	defer stop()
	response, err := cn.exchange(request)
	if err != nil {
		c.drop()
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		c.drop()
		return nil, c.statusError(response)
	}
	body, err := readBody(response)
	if err != nil || response.Close {
		c.drop()
	}
	return body, err
}

// drop closes the idle connection.
func (c *Client) drop() {
	if c.idle != nil {
		c.idle.Close()
		c.idle = nil
	}
}

// errNoAnswer is an exchange in which the server closed the connection before
// it said anything.
var errNoAnswer = errors.New("the server closed the connection without an answer")

// exchange writes a request and reads the head of its answer.
func (cn *conn) exchange(request []byte) (*http.Response, error) {
	_, writeErr := cn.Write(request)
	// A server that refuses a request may answer before it has read all of
	// it: the answer counts, not the broken pipe.
	if _, err := cn.in.Peek(1); err != nil {
		if writeErr != nil {
			err = writeErr
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
			return nil, errNoAnswer
		}
		return nil, err
	}
	return http.ReadResponse(cn.in, nil)
}

func readBody(response *http.Response) ([]byte, error) {
	defer response.Body.Close()
	if n := response.ContentLength; n >= 0 && n < 64<<20 {
		body := make([]byte, n)
		_, err := io.ReadFull(response.Body, body)
		return body, err
	}
	return io.ReadAll(response.Body)
}

// request returns a whole HTTP request.
func (c *Client) request(verb, path string, body []byte) []byte {
	b := make([]byte, 0, 512+len(body))
	b = append(b, verb...)
	b = append(b, ' ')
	b = append(b, path...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, c.host...)
	b = append(b, "\r\nUser-Agent: sup\r\n"...)
	if c.authorization != "" {
		b = append(b, "Authorization: "...)
		b = append(b, c.authorization...)
		b = append(b, "\r\n"...)
	}
	if body != nil {
		b = append(b, "Accept: text/xml\r\nContent-Type: text/xml\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(len(body)), 10)
		b = append(b, "\r\n"...)
	}
	b = append(b, "\r\n"...)
	return append(b, body...)
}

// explain gives errors of the network the shape that Client promises. A
// context that is done is the reason for whatever went wrong.
func (c *Client) explain(ctx context.Context, err error) error {
	var status *StatusError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &status):
		return err
	case c.network == "unix" && errors.Is(err, syscall.ENOENT):
		return &unreachable{url: c.serverURL, reason: ErrNoSocket}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &unreachable{url: c.serverURL, reason: ErrRefused}
	}
	return fmt.Errorf("cannot talk to %s: %w", c.serverURL, shorten(err))
}

// shorten takes the addresses that net puts around an error away: the URL
// says the same.
func shorten(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// unreachable reads "URL no such file", or "URL refused connection".
type unreachable struct {
	url    string
	reason error
}

func (e *unreachable) Error() string { return e.url + " " + e.reason.Error() }
func (e *unreachable) Unwrap() error { return e.reason }
