// Package pemfile reads certificates and keys from files in PEM that a
// configuration names.
package pemfile

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"sup/lib/safepath"
)

// maxSize bounds the size of a file, in bytes.
const maxSize = 4 << 20

// Pool reads the certificates of authorities, of which there must be one.
func Pool(path string) (*x509.CertPool, error) {
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("there is no certificate in %s", path)
	}
	return pool, nil
}

// Pair reads a certificate, with those between it and an authority, and its key.
func Pair(certificate, key string) (tls.Certificate, error) {
	certificateText, err := read(certificate)
	if err != nil {
		return tls.Certificate{}, err
	}
	keyText, err := read(key)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(certificateText, keyText)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("cannot use the certificate %s with the key %s: %w", certificate, key, err)
	}
	return pair, nil
}

func read(path string) ([]byte, error) {
	text, err := safepath.ReadFile(path, maxSize)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, safepath.Reason(err))
	}
	return text, nil
}
