package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// certificate writes a certificate that ends after a time, with its key.
func certificate(t *testing.T, path string, mode os.FileMode, ends time.Duration) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sup.test"},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(ends)}
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
	if err := os.WriteFile(path, b.Bytes(), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestLintCertificates(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir+"/good.pem", 0o600, 365*24*time.Hour)
	certificate(t, dir+"/other.pem", 0o600, 365*24*time.Hour)
	certificate(t, dir+"/open.pem", 0o644, 365*24*time.Hour)
	certificate(t, dir+"/ended.pem", 0o600, -time.Hour)
	certificate(t, dir+"/soon.pem", 0o600, 48*time.Hour)
	if err := os.WriteFile(dir+"/junk.pem", []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for keys, want := range map[string][]string{
		"certificate = good.pem":                         nil,
		"certificate = good.pem\nkey = other.pem":        {"bad-certificate"},
		"certificate = junk.pem":                         {"bad-certificate"},
		"certificate = none.pem":                         {"bad-certificate"},
		"certificate = open.pem":                         {"readable-secret"},
		"certificate = ended.pem":                        {"expired-certificate"},
		"certificate = soon.pem":                         {"expiring-certificate"},
		"certificate = good.pem\nclient_ca = good.pem":   nil,
		"certificate = good.pem\nclient_ca = junk.pem":   {"bad-certificate"},
		"certificate = good.pem\nclient_cert = optional": {"incomplete-tls"},
		"certificate =":                                  {"no-such-file"},
		"client_ca = good.pem":                           {"incomplete-tls"},
	} {
		file := filepath.Join(dir, "x.conf")
		text := "[supervisord]\n[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n" +
			"[inet_http_server]\nport = 192.0.2.1:9001\nusername = joe\npassword = x\n" + keys + "\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Chdir(dir)
		var codes []string
		for _, p := range lintFile(file, false) {
			// Without TLS the password is one more mistake.
			if p.Code != "open-password" {
				codes = append(codes, p.Code)
			}
		}
		if !slices.Equal(codes, want) {
			t.Errorf("%q: %q, want %q", keys, codes, want)
		}
	}
}
