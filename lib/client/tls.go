package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"sup/lib/pemfile"
)

// TLS says how a server at https:// is known, and how we are known to it.
type TLS struct {
	// CA is a file in PEM with the certificates one of which must have signed
	// the server's; "" is for those that the system trusts.
	CA string
	// Certificate and Key are files in PEM with a certificate of our own; "" for
	// none. Without Key that lies in the file of Certificate.
	Certificate, Key string
	// ServerName is what the server's certificate must be for, "" for the host
	// of the URL.
	ServerName string
}

// Secure sets what is used for https:// from the next connection on. The files
// are read when it is made.
func (c *Client) Secure(t TLS) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tls = t
}

// config reads the files.
func (t *TLS) config(host string) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if t.ServerName != "" {
		conf.ServerName = t.ServerName
	}
	var err error
	if t.CA != "" {
		if conf.RootCAs, err = pemfile.Pool(t.CA); err != nil {
			return nil, err
		}
	}
	if t.Certificate != "" {
		pair, err := pemfile.Pair(t.Certificate, cmp.Or(t.Key, t.Certificate))
		if err != nil {
			return nil, err
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}

// secured puts TLS on a connection.
func (c *Client) secured(ctx context.Context, nc net.Conn) (net.Conn, error) {
	host, _, _ := strings.Cut(c.host, ":")
	if h, _, err := net.SplitHostPort(c.address); err == nil {
		host = h
	}
	conf, err := c.tls.config(host)
	if err != nil {
		return nil, err
	}
	t := tls.Client(nc, conf)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, handshakeError(err, conf.ServerName)
	}
	return t, nil
}

// handshakeError says in plain words what is wrong with a server's TLS.
func handshakeError(err error, name string) error {
	var unknown x509.UnknownAuthorityError
	var wrongName x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		return errors.New("its certificate is signed by nobody who is trusted; name the file with the signer's certificate with ca= in [supervisorctl]")
	case errors.As(err, &wrongName):
		return fmt.Errorf("its certificate is not for %s; name what it is for with server_name= in [supervisorctl]", name)
	case errors.As(err, &invalid):
		return fmt.Errorf("its certificate is not valid: %w", invalid)
	case errors.As(err, &record):
		return errors.New("it does not speak TLS; use http:// in place of https://")
	}
	return err
}
