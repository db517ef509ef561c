package server

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sup/lib/plan"
)

// testCertificate writes a certificate that signs itself, and its key.
func testCertificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sup.test"}, DNSNames: []string{"sup.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	path := filepath.Join(t.TempDir(), "server.pem")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// sealedAnswer makes a handshake with one who connects, writes some records as
// the library does, and the rest as another image does.
func sealedAnswer(t *testing.T, l net.Listener, certs *certificates, rest string) error {
	nc, err := l.Accept()
	if err != nil {
		return err
	}
	defer nc.Close()
	c, below := certs.wrap(nc)
	if err := c.Handshake(); err != nil {
		return err
	}
	below.counts.Store(true)
	if c.ConnectionState().Version != tls.VersionTLS13 {
		if below.sealed(c.ConnectionState()) != nil {
			t.Error("an older TLS can go on elsewhere")
		}
		io.WriteString(c, rest)
		return c.Close()
	}
	// More than one record, at sizes that the library chooses.
	if _, err := io.WriteString(c, strings.Repeat("a", 100_000)); err != nil {
		return err
	}
	text, err := json.Marshal(below.sealed(c.ConnectionState()))
	if err != nil {
		return err
	}
	var s Sealed
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	next, err := s.open(nc)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(next, rest); err != nil {
		return err
	}
	s = *next.again()
	if next, err = s.open(nc); err != nil {
		return err
	}
	if _, err := io.WriteString(next, "z"); err != nil {
		return err
	}
	return next.Close()
}

func TestAnswerOfTheNextImage(t *testing.T) {
	path := testCertificate(t)
	certs, err := newCertificates(plan.Server{Certificate: path, Key: path}, func() Logger { return &testLog{} })
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	rest := strings.Repeat("b", 70_000)
	want := strings.Repeat("a", 100_000) + rest + "z"
	served := make(chan error, 1)
	serve := func() { served <- sealedAnswer(t, l, certs, rest) }
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)

	go serve()
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "sup.test"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// Its end is an orderly one, too.
	if got, err := io.ReadAll(c); err != nil || string(got) != want {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}

	go serve()
	old, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "sup.test", MaxVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if got, err := io.ReadAll(old); err != nil || string(got) != rest {
		t.Errorf("TLS 1.2: %d bytes, %v", len(got), err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}

	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl, for the other ciphers, is not installed")
	}
	for _, suite := range []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"} {
		go serve()
		cmd := exec.CommandContext(t.Context(), openssl, "s_client", "-quiet", "-ciphersuites", suite, "-CAfile", path, "-connect", l.Addr().String())
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		if got, err := cmd.Output(); err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v", suite, len(got), err)
		}
		if err := <-served; err != nil {
			t.Errorf("%s: %v", suite, err)
		}
	}
}

// TestAttackGreeting has a client that never comes to an end with the handshake.
func TestAttackGreeting(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	ours.SetDeadline(time.Now().Add(time.Minute))
	go io.Copy(io.Discard, theirs) // it is told why
	go func() {
		// Records of a ClientHello that says that it is 16 MiB long.
		record := append([]byte{22, 3, 1, 0x10, 0}, make([]byte, 0x1000)...)
		copy(record[5:], []byte{1, 0xff, 0xff, 0xff})
		for range 1000 {
			if _, err := theirs.Write(record); err != nil {
				return
			}
		}
		t.Error("all was read")
	}()
	path := testCertificate(t)
	certs, err := newCertificates(plan.Server{Certificate: path, Key: path}, func() Logger { return &testLog{} })
	if err != nil {
		t.Fatal(err)
	}
	c, below := certs.wrap(ours)
	if err := c.Handshake(); err == nil || below.greeted > maxGreeting {
		t.Errorf("%v after %d bytes", err, below.greeted)
	}
	ours.Close()
}
