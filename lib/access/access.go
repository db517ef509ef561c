// Package access says who a client of the daemon is and what it may do.
package access

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
)

// Role is what a client may do. Each role may do what those before it may.
type Role uint8

const (
	// None may do nothing.
	None Role = iota
	// Read may look at everything, logs included.
	Read
	// Operate may start, stop and signal programs, write to their standard
	// input and clear their logs.
	Operate
	// Admin may do everything.
	Admin
)

var roleNames = [...]string{"none", "read", "operate", "admin"}

func (r Role) String() string { return roleNames[r] }

// Client is who makes a request. It is never changed once a request is being
// served.
type Client struct {
	// UID, GID and PID are those of the peer of a Unix socket when it
	// connected; -1, -1 and 0 on TCP.
	UID, GID, PID int
	// Addr is the peer's address on TCP.
	Addr netip.AddrPort
	// User is the name whose password was right, or the subject of the client's
	// certificate; else the account of UID. It is "" if none is known.
	User string
	Role Role
	// Note is what the client says about why it makes the request.
	Note string
	// Names are the processes that an operator may act on; nil means all.
	Names []Pattern
}

// With is the client with a note about what it does now.
func (c *Client) With(note string) *Client {
	noted := *c
	noted.Note = note
	return &noted
}

// MayOperate tells whether the client may act on a process.
func (c *Client) MayOperate(group, process string) bool {
	if c.Role != Operate || c.Names == nil {
		return c.Role >= Operate
	}
	return slices.ContainsFunc(c.Names, func(p Pattern) bool { return p.Match(group, process) })
}

// Unix tells whether the client came over a Unix socket.
func (c *Client) Unix() bool { return c.UID >= 0 }

// String names the client for people: "alice (uid 1000, pid 42)", "uid 1000, pid 42",
// "joe at 192.0.2.1:4711" or "192.0.2.1:4711".
func (c *Client) String() string {
	switch {
	case c.Unix() && c.User != "":
		return fmt.Sprintf("%s (uid %d, pid %d)", c.User, c.UID, c.PID)
	case c.Unix():
		return fmt.Sprintf("uid %d, pid %d", c.UID, c.PID)
	case !c.Addr.IsValid():
		return c.User
	case c.User != "":
		return c.User + " at " + c.Addr.String()
	}
	return c.Addr.String()
}

type key struct{}

// With returns a context for what is done on behalf of a client.
func With(ctx context.Context, c *Client) context.Context { return context.WithValue(ctx, key{}, c) }

// From returns the client on whose behalf something is done, nil if it is the
// daemon's own doing.
func From(ctx context.Context) *Client {
	c, _ := ctx.Value(key{}).(*Client)
	return c
}
