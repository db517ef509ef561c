// Package client speaks to a daemon: XML-RPC, and logs followed over HTTP,
// through a Unix socket or TCP.
//
// It needs little of HTTP (one request at a time on a connection that stays
// open), and does that itself on top of net: a command such as "supctl pid"
// lives for a few milliseconds, and an http.Client would spend more than one
// of them on machinery that is of no use here.
package client

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"sup/lib/rpc"
)

// Client talks to one daemon. Its methods may be called from several
// goroutines; calls are made one after the other.
type Client struct {
	serverURL string
	// network and address are for net.Dial, host is for the Host header.
	network, address, host string
	// authorization is the value of that header, "" to send none.
	authorization string
	// trusts tells who else may have it; nil for nobody.
	trusts func(uid int) bool
	// secure tells that the daemon speaks TLS.
	secure bool

	mu sync.Mutex
	// idle is the connection of the call before, if it can be used again.
	idle *conn
	tls  TLS
}

// New makes a client of the daemon at serverURL, which is unix:///path or
// http://host:port (port 80 if there is none), or https://host:port (443; see
// Secure). Credentials are sent if neither
// username nor password is nil. No connection is made before the first call.
func New(serverURL string, username, password *string) (*Client, error) {
	c := &Client{serverURL: serverURL}
	switch {
	case strings.HasPrefix(serverURL, "unix://"):
		c.network, c.address, c.host = "unix", strings.TrimPrefix(serverURL, "unix://"), "localhost"
	case strings.HasPrefix(serverURL, "http://"), strings.HasPrefix(serverURL, "https://"):
		u, err := url.Parse(serverURL)
		if err != nil {
			return nil, fmt.Errorf("cannot understand server URL: %w", err)
		}
		c.secure = u.Scheme == "https"
		port := u.Port()
		if port == "" {
			port = map[bool]string{false: "80", true: "443"}[c.secure]
		}
		c.network, c.address, c.host = "tcp", net.JoinHostPort(u.Hostname(), port), u.Host
	default:
		return nil, fmt.Errorf("unknown protocol in server URL %s; use unix:///path, http://host:port or https://host:port", serverURL)
	}
	if username != nil && password != nil {
		c.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(*username+":"+*password))
	}
	return c, nil
}

// Trust says as which users, beside root and ourselves, a daemon on a Unix socket
// may run to be sent credentials. In a directory like /tmp anybody can be the
// first to make a socket of that name.
func (c *Client) Trust(user func(uid int) bool) { c.trusts = user }

// URL returns the server URL the client was made with.
func (c *Client) URL() string { return c.serverURL }

// Unix reports whether the daemon is reached through a Unix socket.
func (c *Client) Unix() bool { return c.network == "unix" }

// Local reports whether the daemon runs on this machine, as far as its address
// tells: it is a Unix socket or a loopback address.
func (c *Client) Local() bool {
	if c.Unix() {
		return true
	}
	host, _, err := net.SplitHostPort(c.address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "" || strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// Close closes the connection, if one is open. The client can be used again.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop()
}

// Call calls an XML-RPC method and stores its value in what result points to
// (see [rpc.DecodeResponse]; nil to ignore it). A fault is returned as
// *rpc.Fault, an HTTP status other than 200 as *StatusError. That the daemon
// is not there shows as [ErrNoSocket] or [ErrRefused].
func (c *Client) Call(ctx context.Context, result any, method string, args ...any) error {
	body, err := rpc.EncodeCall(method, args...)
	if err != nil {
		return err
	}
	c.mu.Lock()
	answer, err := c.roundTrip(ctx, "POST", "/RPC2", body)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return rpc.DecodeResponse(answer, result)
}

// Follow asks for a resource that does not end, such as /logtail/NAME, on a
// connection of its own. Reading blocks until more arrives; closing the reader,
// or the end of ctx, ends the connection.
func (c *Client) Follow(ctx context.Context, path string) (io.ReadCloser, error) {
	cn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { cn.Close() })
	response, err := cn.exchange(c.request("GET", path, nil))
	if err == nil && response.StatusCode != http.StatusOK {
		err = c.statusError(response)
	}
	if err != nil {
		stop()
		cn.Close()
		return nil, c.explain(ctx, err)
	}
	return &following{Reader: response.Body, conn: cn, stop: stop}, nil
}

type following struct {
	io.Reader
	conn *conn
	stop func() bool
}

func (f *following) Close() error {
	f.stop()
	return f.conn.Close()
}
