package server

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"os"

	"sup/supd/internal/record"
)

// HeldCall is a call that was broken off for an upgrade in place, with the
// connection on which its answer is awaited.
type HeldCall struct {
	// Address is that of the server, see Address.
	Address string
	Conn    *os.File
	// Request is the whole request as it came.
	Request []byte
	BrokenOff
	// TLS is nil if the answer goes out as it is.
	TLS *Sealed
}

// BrokenOff is what is left of a call that was broken off.
type BrokenOff struct {
	// Memo is what the backend needs to go on with it.
	Memo json.RawMessage
	// Entry goes on record if the call is never made again: what it began was
	// done for its client all the same. It has no Kind if there is nothing to
	// record.
	Entry record.Entry
}

// settle puts a call on record that will not be made again, if there is one.
func (b *BrokenOff) settle(log *record.Log) {
	if b != nil && b.Entry.Kind != "" {
		log.Add(b.Entry)
	}
}

// settle does so with the call of this connection.
func (c *conn) settle() {
	c.again.settle(c.ep.srv.opts.Record)
	c.again = nil
}

// hold keeps the call that was made last and is to be made again, and its
// connection, for whoever goes on with it. It reports false if that cannot be
// done.
func (c *conn) hold(request []byte) bool {
	nc, ok := c.sock.(interface{ File() (*os.File, error) })
	if !ok {
		return false
	}
	var sealed *Sealed
	switch t := c.Conn.(type) {
	case *tls.Conn:
		if sealed = c.below.sealed(t.ConnectionState()); sealed == nil {
			return false
		}
	case *sealedConn:
		sealed = t.again()
	}
	file, err := nc.File()
	if err != nil {
		return false
	}
	s := c.ep.srv
	s.heldMu.Lock()
	defer s.heldMu.Unlock()
	s.held = append(s.held, HeldCall{Address(c.ep.conf), file, append([]byte(nil), request...), *c.again, sealed})
	c.again, c.held = nil, true
	return true
}

// Held are the calls that were broken off since the server paused. They still
// belong to it.
func (s *Server) Held() []HeldCall {
	s.heldMu.Lock()
	defer s.heldMu.Unlock()
	return s.held
}

func (s *Server) takeHeld() []HeldCall {
	s.heldMu.Lock()
	defer s.heldMu.Unlock()
	held := s.held
	s.held = nil
	return held
}

// Continue makes calls again that were broken off, here or in the image before,
// and answers them. It takes over their connections.
func (s *Server) Continue(calls []HeldCall) {
	for _, h := range calls {
		c, err := s.continued(h)
		if err != nil {
			// The client sees the end of its connection.
			h.settle(s.opts.Record)
			continue
		}
		go c.ep.receive(c)
	}
}

// continued is the connection on which a call is made again.
func (s *Server) continued(h HeldCall) (*conn, error) {
	nc, err := net.FileConn(h.Conn)
	h.Conn.Close()
	if err != nil {
		return nil, err
	}
	ep := s.endpointAt(h.Address)
	if ep == nil {
		nc.Close()
		return nil, net.ErrClosed
	}
	c, err := newHeld(ep, nc, h.TLS)
	if err != nil {
		nc.Close()
		return nil, err
	}
	c.asked.Store(true)
	c.again = &h.BrokenOff
	c.calls.buf = h.Request
	return c, nil
}

// newHeld is a connection on which an answer is awaited.
func newHeld(ep *endpoint, nc net.Conn, sealed *Sealed) (*conn, error) {
	c := newConn(ep, nc)
	switch {
	case sealed != nil:
		conn, err := sealed.open(nc)
		if err != nil {
			return nil, err
		}
		c.Conn, c.below, c.last = conn, nil, true
		if sealed.Client != nil {
			if c.peer.cert, err = x509.ParseCertificate(sealed.Client); err != nil {
				return nil, err
			}
		}
	case c.below != nil:
		return nil, errors.ErrUnsupported
	}
	return c, nil
}

func (s *Server) endpointAt(address string) *endpoint {
	for _, ep := range s.endpoints {
		if Address(ep.conf) == address {
			return ep
		}
	}
	return nil
}
