package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"sup/lib/access"
)

// peerOf tells who has connected. The kernel vouches for the peer of a Unix
// socket: it is whoever called connect. Its further groups are asked for only if
// they matter.
func peerOf(nc net.Conn, groups bool) visitor {
	peer := visitor{Client: access.Client{UID: -1, GID: -1}}
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
			if groups {
				peer.groups = peerGroups(int(fd))
			}
		}
	})
	return peer
}

// peerGroups are the further groups that the peer had when it connected; none if
// the kernel does not tell (before 4.13).
func peerGroups(fd int) []int {
	var groups []uint32
	for room := 32; ; {
		groups = make([]uint32, room)
		size := uint32(4 * room)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		n := int(size / 4)
		switch {
		case errno == 0:
			list := make([]int, 0, n)
			for _, g := range groups[:min(n, room)] {
				list = append(list, int(g))
			}
			return list
		case errno != unix.ERANGE || n <= room:
			return nil
		}
		room = n
	}
}

// refused names a visitor whose credentials were wrong, with the user that he
// claimed to be.
func (v *visitor) refused(user []byte) string {
	who := v.Client
	text := who.String()
	if len(user) > 0 {
		const most = 64
		text = fmt.Sprintf("%s (%q)", text, user[:min(len(user), most)])
	}
	return text
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
