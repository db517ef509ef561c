package server

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/chacha20poly1305"
)

// Sealed is what is needed to send one more answer over a connection with TLS
// 1.3 whose state went with the image before: the secret that the server's keys
// come from and how many records it has sent with them. Nothing more is read.
type Sealed struct {
	Suite  uint16
	Secret []byte
	Sent   uint64
	// Client is the client's certificate, as it was verified; nil if there is
	// none.
	Client []byte
}

// tap lies below TLS. It learns the secret of what the server sends, which the
// library tells only whoever logs its keys, and counts the records.
type tap struct {
	net.Conn
	secret  []byte
	counts  atomic.Bool // the handshake is over
	records atomic.Uint64
	unclear atomic.Bool // something was written that is no whole record
	greeted int         // bytes that were read for the handshake
}

// maxGreeting is how many bytes a client may send for the handshake: a chain of
// certificates is well below. TLS keeps all of it.
const maxGreeting = 16 << 10

var errGreeting = errors.New("the client says too much before TLS is agreed upon")

func (t *tap) Read(p []byte) (int, error) {
	if t.counts.Load() {
		return t.Conn.Read(p)
	}
	if t.greeted >= maxGreeting {
		return 0, errGreeting
	}
	n, err := t.Conn.Read(p[:min(len(p), maxGreeting-t.greeted)])
	t.greeted += n
	return n, err
}

// keyLog takes the lines of a log of keys: a label, the client's random number
// and the secret.
func (t *tap) keyLog() io.Writer { return keyLog{t} }

type keyLog struct{ tap *tap }

func (k keyLog) Write(line []byte) (int, error) {
	if f := bytes.Fields(line); len(f) == 3 && string(f[0]) == "SERVER_TRAFFIC_SECRET_0" {
		k.tap.secret = make([]byte, hex.DecodedLen(len(f[2])))
		if _, err := hex.Decode(k.tap.secret, f[2]); err != nil {
			k.tap.secret = nil
		}
	}
	return len(line), nil
}

// recordHead is the length of a record's header.
const recordHead = 5

func (t *tap) Write(p []byte) (int, error) {
	n, err := t.Conn.Write(p)
	if !t.counts.Load() {
		return n, err
	}
	for rest := p[:n]; len(rest) > 0; {
		if len(rest) < recordHead {
			t.unclear.Store(true)
			break
		}
		size := recordHead + int(binary.BigEndian.Uint16(rest[3:]))
		if size > len(rest) {
			t.unclear.Store(true)
			break
		}
		rest = rest[size:]
		t.records.Add(1)
	}
	return n, err
}

// sealed is the state of a connection whose handshake is over, nil if it cannot
// go on elsewhere.
func (t *tap) sealed(state tls.ConnectionState) *Sealed {
	if state.Version != tls.VersionTLS13 || t.secret == nil || t.unclear.Load() {
		return nil
	}
	s := &Sealed{Suite: state.CipherSuite, Secret: t.secret, Sent: t.records.Load()}
	if len(state.VerifiedChains) > 0 {
		s.Client = state.VerifiedChains[0][0].Raw
	}
	return s
}

// sealedConn writes what a Sealed allows to write. It has nothing to read.
type sealedConn struct {
	net.Conn
	from Sealed
	mu   sync.Mutex
	aead cipher.AEAD
	iv   []byte
	sent uint64
	said bool // that nothing more comes
}

func (s *Sealed) open(nc net.Conn) (*sealedConn, error) {
	sum, size, suite := sha256.New, 16, gcm
	switch s.Suite {
	case tls.TLS_AES_128_GCM_SHA256:
	case tls.TLS_AES_256_GCM_SHA384:
		sum, size = sha512.New384, 32
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		size, suite = chacha20poly1305.KeySize, chacha20poly1305.New
	default:
		return nil, errors.ErrUnsupported
	}
	key, err := expandLabel(sum, s.Secret, "key", size)
	if err != nil {
		return nil, err
	}
	iv, err := expandLabel(sum, s.Secret, "iv", 12)
	if err != nil {
		return nil, err
	}
	aead, err := suite(key)
	if err != nil {
		return nil, err
	}
	return &sealedConn{Conn: nc, from: *s, aead: aead, iv: iv, sent: s.Sent}, nil
}

func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// expandLabel is HKDF-Expand-Label of RFC 8446, 7.1, without a context.
func expandLabel(sum func() hash.Hash, secret []byte, label string, size int) ([]byte, error) {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(size))
	info = append(info, byte(len(label)))
	info = append(info, label...)
	info = append(info, 0)
	return hkdf.Expand(sum, secret, string(info), size)
}

// Types of records, and the most that one holds.
const (
	recordAlert = 21
	recordData  = 23
	maxRecord   = 16 << 10
)

// again is what an image after this one needs.
func (c *sealedConn) again() *Sealed {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.from
	s.Sent = c.sent
	return &s
}

// Read has nothing: what the client sends from now on is not understood.
func (*sealedConn) Read([]byte) (int, error) { return 0, io.EOF }

func (c *sealedConn) Write(p []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(p) > 0 {
		part := p[:min(len(p), maxRecord)]
		if err := c.record(recordData, part); err != nil {
			return n, err
		}
		n += len(part)
		p = p[len(part):]
	}
	return n, nil
}

// record sends one record. The caller holds c.mu.
func (c *sealedConn) record(kind byte, content []byte) error {
	size := len(content) + 1 + c.aead.Overhead()
	b := make([]byte, recordHead, recordHead+size)
	b[0], b[1], b[2] = recordData, 3, 3
	binary.BigEndian.PutUint16(b[3:], uint16(size))
	nonce := bytes.Clone(c.iv)
	for i, x := range binary.BigEndian.AppendUint64(nil, c.sent) {
		nonce[len(nonce)-8+i] ^= x
	}
	c.sent++
	inner := append(bytes.Clone(content), kind)
	_, err := c.Conn.Write(c.aead.Seal(b, nonce, inner, b[:recordHead]))
	return err
}

// CloseWrite tells the client that nothing more comes.
func (c *sealedConn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.said {
		return nil
	}
	c.said = true
	return c.record(recordAlert, []byte{1, 0})
}

func (c *sealedConn) Close() error {
	_ = c.CloseWrite()
	return c.Conn.Close()
}
