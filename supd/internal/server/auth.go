package server

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"

	"sup/lib/plan"
)

// Unprotected returns the servers that ask for no password. Supervisor warns
// of each at every start.
func Unprotected(servers []plan.Server) []plan.Server {
	var list []plan.Server
	for _, s := range servers {
		if !protected(s) {
			list = append(list, s)
		}
	}
	return list
}

func protected(s plan.Server) bool { return s.HasAuth && s.Username != "" }

// credentials are those that a server wants. They are kept as digests, so that
// comparing takes the same time whatever is offered.
type credentials struct {
	user, password [sha256.Size]byte
	hashed         bool // password is the digest of a SHA-1 in hex
}

func newCredentials(s plan.Server) *credentials {
	if !protected(s) {
		return nil
	}
	c := &credentials{user: sha256.Sum256([]byte(s.Username))}
	hash, hashed := strings.CutPrefix(s.Password, "{SHA}")
	c.hashed = hashed
	c.password = sha256.Sum256([]byte(hash))
	return c
}

// parseBasic takes the value of an Authorization header apart.
func parseBasic(header []byte) (user, password []byte, ok bool) {
	const scheme = "basic "
	if len(header) < len(scheme) || !bytes.EqualFold(header[:len(scheme)], []byte(scheme)) {
		return nil, nil, false
	}
	text := bytes.TrimSpace(header[len(scheme):])
	plain := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(plain, text)
	if err != nil {
		return nil, nil, false
	}
	return bytes.Cut(plain[:n], []byte{':'})
}

// allow checks the value of an Authorization header.
func (c *credentials) allow(header []byte) bool {
	user, password, ok := parseBasic(header)
	if !ok {
		return false
	}
	if c.hashed {
		sum := sha1.Sum(password)
		password = hex.AppendEncode(nil, sum[:])
	}
	u, p := sha256.Sum256(user), sha256.Sum256(password)
	// Both are always compared: the time must not tell which was wrong.
	return subtle.ConstantTimeCompare(u[:], c.user[:])&subtle.ConstantTimeCompare(p[:], c.password[:]) == 1
}

// failureLog tells of refused credentials, at most once a second.
type failureLog struct {
	mu      sync.Mutex
	last    time.Time
	skipped int
}

func (f *failureLog) add(log Logger, section string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if !f.last.IsZero() && now.Sub(f.last) < time.Second {
		f.skipped++
		return
	}
	more := ""
	if f.skipped > 0 {
		more = fmt.Sprintf(" (and %d times more since the last such line)", f.skipped)
	}
	f.last, f.skipped = now, 0
	log.Log("WARN", fmt.Sprintf("Server %q refused wrong credentials%s", section, more))
}
