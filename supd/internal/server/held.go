package server

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"os"
)

// HeldCall is a call that was broken off for an upgrade in place, with the
// connection on which its answer is awaited.
type HeldCall struct {
	// Address is that of the server, see Address.
	Address string
	Conn    *os.File
	// Request is the whole request as it came.
	Request []byte
	// Memo is the backend's.
	Memo json.RawMessage
	// TLS is nil if the answer goes out as it is.
	TLS *Sealed
}

// hold keeps the call that was read last, and its connection, for whoever goes
// on with it. It reports false if that cannot be done.
func (c *conn) hold(request []byte, memo json.RawMessage) bool {
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
	s.held = append(s.held, HeldCall{Address(c.ep.conf), file, append([]byte(nil), request...), memo, sealed})
	c.held = true
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
		nc, err := net.FileConn(h.Conn)
		h.Conn.Close()
		if err != nil {
			continue // the client sees the end of its connection
		}
		ep := s.endpointAt(h.Address)
		if ep == nil {
			nc.Close()
			continue
		}
		c, err := newHeld(ep, nc, h.TLS)
		if err != nil {
			nc.Close()
			continue
		}
		c.asked.Store(true)
		c.memo = h.Memo
		c.calls.buf = h.Request
		go ep.receive(c)
	}
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
