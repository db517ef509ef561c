package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sup/lib/pemfile"
	"sup/lib/plan"
)

// certificates are what a server with TLS needs: its own certificate, and those
// that must have signed a client's. They are read again when a file has changed.
type certificates struct {
	conf plan.Server
	log  func() Logger
	// looking is held by who looks whether a file has changed; the others do not
	// wait for a disk.
	looking sync.Mutex
	loaded  atomic.Pointer[loadedTLS]
}

// loadedTLS is what the files held; it is never changed.
type loadedTLS struct {
	config *tls.Config
	files  [3]fileState
	when   time.Time // of the last look
	// trouble says why the files could not be used in this state, "" if they
	// could.
	trouble string
}

// newCertificates reads the files of a server, nil if it does without TLS.
func newCertificates(conf plan.Server, log func() Logger) (*certificates, error) {
	if !conf.TLS() {
		return nil, nil
	}
	c := &certificates{conf: conf, log: log}
	files := c.states()
	config, err := loadTLS(conf)
	if err != nil {
		c.loaded.Store(&loadedTLS{nil, files, time.Now(), err.Error()})
		return c, &unreadable{fmt.Errorf("[%s]: %w", conf.Section, err)}
	}
	c.loaded.Store(&loadedTLS{config: config, files: files, when: time.Now()})
	return c, nil
}

// loadTLS reads the files of a server.
func loadTLS(conf plan.Server) (*tls.Config, error) {
	pair, err := pemfile.Pair(conf.Certificate, conf.Key)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	// A session that is resumed would go on with a client's certificate that is no
	// longer good, and a ticket would be a record too many for an upgrade.
	config.SessionTicketsDisabled = true
	if conf.ClientCA == "" {
		return config, nil
	}
	if config.ClientCAs, err = pemfile.Pool(conf.ClientCA); err != nil {
		return nil, err
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	if conf.ClientCertOptional {
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return config, nil
}

func (c *certificates) states() [3]fileState {
	s := [3]fileState{stateAt(c.conf.Certificate), stateAt(c.conf.Key)}
	if c.conf.ClientCA != "" {
		s[2] = stateAt(c.conf.ClientCA)
	}
	return s
}

// current is what to use for a new connection. Files that cannot be used change
// nothing, and are tried again.
func (c *certificates) current() *tls.Config {
	l := c.loaded.Load()
	if time.Since(l.when) < lookAgain || !c.looking.TryLock() {
		return l.config
	}
	defer c.looking.Unlock()
	next := &loadedTLS{config: l.config, files: c.states(), when: time.Now()}
	defer c.loaded.Store(next)
	if next.files == l.files && l.trouble == "" {
		return l.config
	}
	config, err := loadTLS(c.conf)
	if err != nil {
		if next.trouble = err.Error(); next.trouble != l.trouble {
			c.log().Log("WARN", fmt.Sprintf("[%s]: %v; the certificate stays as it was", c.conf.Section, err))
		}
		return l.config
	}
	next.config = config
	c.log().Log("INFO", fmt.Sprintf("[%s]: read the certificate %s, which has changed", c.conf.Section, c.conf.Certificate))
	return config
}

// wrap puts TLS on a connection. The handshake is made when the connection is
// served.
func (c *certificates) wrap(nc net.Conn) (*tls.Conn, *tap) {
	below := &tap{Conn: nc}
	return tls.Server(below, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			config := c.current()
			if config == nil {
				return nil, errors.New("there is no certificate that can be used")
			}
			config = config.Clone()
			config.KeyLogWriter = below.keyLog()
			return config, nil
		},
	}), below
}

// handshakeTimeout is how long a client has to agree on TLS.
const handshakeTimeout = 10 * time.Second

// plainAnswer is for who speaks HTTP where TLS is spoken.
const plainAnswer = "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n" +
	"This port speaks TLS: use https:// in place of http://.\n"

// handshake agrees with the client on TLS, where the server has it.
func (c *conn) handshake() bool {
	t, ok := c.Conn.(*tls.Conn)
	if !ok {
		return true
	}
	ctx, cancel := context.WithTimeout(c.ep.srv.ctx, handshakeTimeout)
	defer cancel()
	err := t.HandshakeContext(ctx)
	if err == nil {
		c.below.counts.Store(true)
		if chain := t.ConnectionState().VerifiedChains; len(chain) > 0 {
			c.peer.cert = chain[0][0]
		}
		return true
	}
	var other tls.RecordHeaderError
	if errors.As(err, &other) && looksLikeHTTP(other.RecordHeader) {
		c.sock.SetWriteDeadline(time.Now().Add(time.Second))
		io.WriteString(c.sock, plainAnswer)
		return false
	}
	c.ep.srv.log.Log("DEBG", fmt.Sprintf("TLS with %s: %v", c.sock.RemoteAddr(), err))
	return false
}

// looksLikeHTTP tells whether the first bytes of a connection are those of a
// request.
func looksLikeHTTP(head [5]byte) bool {
	switch string(head[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH", "CONNE", "TRACE":
		return true
	}
	return false
}

// rawConn is the descriptor of a connection, below TLS.
func (c *conn) rawConn() (syscall.RawConn, error) {
	sc, ok := c.sock.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return sc.SyscallConn()
}
