package server

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sup/lib/access"
	"sup/lib/password"
	"sup/lib/plan"
)

// Unprotected returns the servers that ask nobody who he is. Supervisor warns
// of each at every start.
func Unprotected(servers []plan.Server) []plan.Server {
	var list []plan.Server
	for _, s := range servers {
		if !s.AsksWho() && (s.Roles == nil || !s.Unix) {
			list = append(list, s)
		}
	}
	return list
}

// gate decides who is let in to a server, and with which role.
type gate struct {
	conf  plan.Server
	login *login     // that of username= and password=, nil if there is none
	users *usersFile // nil if there is none
	brake *brake     // that of all servers
	// turn is held by who checks a password: one at a time, since that may cost
	// much on purpose. Waiting are those that queue for it.
	turn    chan struct{}
	waiting chan struct{}
	right   *rightOnes
	// accounts are asked about peers of Unix sockets.
	accounts *accounts
}

// maxWaiting is how many passwords may wait to be checked against hashes that
// take long.
const maxWaiting = 256

// login is one name and its password. The name is kept as a digest, so that
// comparing takes the same time whatever is offered.
type login struct {
	name   [sha256.Size]byte
	secret *password.Secret
	text   string
}

func newGate(conf plan.Server, b *brake, a *accounts) (*gate, error) {
	g := &gate{conf: conf, brake: b, accounts: a, right: newRightOnes(), turn: make(chan struct{}, 1), waiting: make(chan struct{}, maxWaiting)}
	if conf.HasAuth && conf.Username != "" {
		secret, err := password.Parse(conf.Password)
		if err != nil {
			return nil, fmt.Errorf("cannot use the password of [%s]: %w", conf.Section, err)
		}
		g.login = &login{sha256.Sum256([]byte(conf.Username)), secret, conf.Password}
	}
	if conf.UsersFile != "" {
		g.users = &usersFile{path: conf.UsersFile}
		if err := g.users.read(); err != nil {
			return g, &unreadable{err}
		}
	}
	return g, nil
}

// unreadable is the error of a file that a server needs, beside which there is
// one that works in all else.
type unreadable struct{ error }

func (u *unreadable) Unwrap() error { return u.error }

// open tells whether everybody is let in.
func (g *gate) open() bool { return g.login == nil && g.users == nil && g.conf.Roles == nil }

// admission is what the gate says to a request. If status is not 0 it is
// refused with that.
type admission struct {
	client *access.Client
	status int
	// retry is after what time a request may be made again that came too early.
	retry time.Duration
	// wrong tells that credentials were given which are not right.
	wrong bool
}

// visitor is what is known of who makes a request before that says anything.
type visitor struct {
	access.Client
	groups []int             // of a Unix socket's peer when it connected
	cert   *x509.Certificate // that has been verified; nil if there is none
}

// check decides about a request with an Authorization header, which may be
// empty.
func (g *gate) check(v *visitor, authorization []byte, log Logger) admission {
	client := v.Client
	asks := g.login != nil || g.users != nil
	user, pass, given := parseBasic(authorization)
	administrator := false
	switch {
	case asks && given:
		a, isLogin := g.verify(v.Client, user, pass, log)
		if a.status != 0 {
			return a
		}
		client.User, administrator = string(user), isLogin
	case asks && (len(authorization) > 0 || g.conf.Roles == nil || !v.known()):
		return admission{status: http.StatusUnauthorized, wrong: len(authorization) > 0}
	case v.cert != nil:
		client.User = certificateName(v.cert)
	case v.Unix():
		client.User = g.accounts.of(v.UID).name
	}
	if g.conf.Roles == nil || administrator {
		client.Role = access.Admin
		return admission{client: &client}
	}
	named := ""
	if asks && given {
		named = client.User
	}
	client.Role, client.Names = g.conf.Roles.Decide(func(s access.Subject) bool { return g.is(v, named, s) })
	if client.Role == access.None {
		if asks && !given {
			return admission{status: http.StatusUnauthorized}
		}
		return admission{client: &client, status: http.StatusForbidden}
	}
	return admission{client: &client}
}

// known tells whether a visitor need not say who he is.
func (v *visitor) known() bool { return v.Unix() || v.cert != nil }

// is tells whether a visitor, who has shown to be the user of that name unless
// it is "", is a subject.
func (g *gate) is(v *visitor, user string, s access.Subject) bool {
	switch {
	case s.Kind == access.Anyone:
		return true
	case s.Kind == access.Certificate:
		return v.cert != nil && certified(v.cert, s)
	case !g.conf.Unix:
		return s.Kind == access.User && user != "" && s.Name == user
	case user != "":
		// Who gives the password of username= is no account of the machine.
		return false
	}
	return g.accounts.is(v.UID, v.GID, v.groups, s)
}

// certified tells whether a certificate names a subject.
func certified(cert *x509.Certificate, s access.Subject) bool {
	switch s.Attribute {
	case "CN":
		return cert.Subject.CommonName == s.Name
	case "OU":
		return slices.Contains(cert.Subject.OrganizationalUnit, s.Name)
	case "O":
		return slices.Contains(cert.Subject.Organization, s.Name)
	case "DNS":
		return slices.ContainsFunc(cert.DNSNames, func(name string) bool { return strings.EqualFold(name, s.Name) })
	}
	return false
}

func certificateName(cert *x509.Certificate) string {
	if name := cert.Subject.CommonName; name != "" {
		return "CN=" + name
	}
	if len(cert.DNSNames) > 0 {
		return "DNS=" + cert.DNSNames[0]
	}
	return cert.Subject.String()
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

// verify checks a user and his password. IsLogin tells that they are those of
// username= and password=.
func (g *gate) verify(peer access.Client, user, pass []byte, log Logger) (a admission, isLogin bool) {
	var listed []password.User
	if g.users != nil {
		listed = g.users.current(log)
	}
	// What was right before is never held up.
	if isLogin, ok := g.remembered(user, pass, listed); ok {
		return admission{}, isLogin
	}
	source, braked := sourceOf(peer)
	tooEarly := func() (admission, bool) {
		if braked {
			if wait := g.brake.wait(source); wait > 0 {
				return admission{status: http.StatusTooManyRequests, retry: wait}, true
			}
		}
		return admission{}, false
	}
	if a, early := tooEarly(); early {
		return a, false
	}
	if g.slow(listed) {
		select {
		case g.waiting <- struct{}{}:
			defer func() { <-g.waiting }()
		default:
			return admission{status: http.StatusServiceUnavailable, retry: time.Second}, false
		}
	}
	g.turn <- struct{}{}
	defer func() { <-g.turn }()
	// Others with the same credentials, or from the same address, may have had
	// their turn meanwhile.
	if isLogin, ok := g.remembered(user, pass, listed); ok {
		return admission{}, isLogin
	}
	if a, early := tooEarly(); early {
		return a, false
	}
	if g.login != nil && g.login.check(user, pass) {
		g.right.add(user, pass, g.login.text, true)
		return admission{}, true
	}
	if u := checkUser(listed, user, pass); u != nil {
		g.right.add(user, pass, u.Text, false)
		return admission{}, false
	}
	if braked {
		g.brake.fail(source)
	}
	return admission{status: http.StatusUnauthorized, wrong: true}, false
}

// slow tells whether checking a password may take long.
func (g *gate) slow(listed []password.User) bool {
	return g.login != nil && g.login.secret.Slow() || slices.ContainsFunc(listed, func(u password.User) bool { return u.Secret.Slow() })
}

// check compares both: the time must not tell which was wrong.
func (l *login) check(user, pass []byte) bool {
	name := sha256.Sum256(user)
	same, right := subtle.ConstantTimeCompare(name[:], l.name[:]), l.secret.Check(pass)
	return same == 1 && right
}

// checkUser looks for a user and checks his password. A refusal takes about as
// long as the hash that takes the longest, for who is listed, in whatever form, as
// for who is not: the time must not tell who is.
func checkUser(users []password.User, name, pass []byte) *password.User {
	if len(users) == 0 {
		return nil
	}
	found, is := find(users, name)
	if is && found.Secret.Check(pass) {
		return found
	}
	slowest := slices.MaxFunc(users, func(a, b password.User) int { return cmp.Compare(a.Secret.Work(), b.Secret.Work()) }).Secret
	if !is || found.Secret.Work() < slowest.Work() {
		slowest.Check(pass)
	}
	return nil
}

// find looks for a user, and gives some other one if he is not listed.
func find(users []password.User, name []byte) (*password.User, bool) {
	found, is := &users[0], false
	for i := range users {
		if subtle.ConstantTimeCompare([]byte(users[i].Name), name) == 1 {
			found, is = &users[i], true
		}
	}
	return found, is
}

// remembered tells whether a user and password were right before, for a hash
// that still counts.
func (g *gate) remembered(user, pass []byte, listed []password.User) (isLogin, ok bool) {
	if g.login != nil && g.right.has(user, pass, g.login.text, true) {
		return true, true
	}
	if len(listed) == 0 {
		return false, false
	}
	u, is := find(listed, user)
	return false, g.right.has(user, pass, u.Text, false) && is
}

// rightOnes remembers credentials that were right, as HMACs under a key that
// never leaves the process. The hash that they were right for is part of what
// is remembered, so that a new password makes the old one forgotten.
type rightOnes struct {
	key  [32]byte
	mu   sync.Mutex
	seen map[[sha256.Size]byte]struct{}
}

func newRightOnes() *rightOnes {
	r := new(rightOnes)
	rand.Read(r.key[:])
	return r
}

// maxRight bounds how many are remembered.
const maxRight = 1024

func (r *rightOnes) digest(user, pass []byte, hash string, isLogin bool) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, r.key[:])
	var length [8]byte
	part := func(b []byte) {
		binary.LittleEndian.PutUint64(length[:], uint64(len(b)))
		mac.Write(length[:])
		mac.Write(b)
	}
	part(user)
	part(pass)
	part([]byte(hash))
	if isLogin {
		part(nil)
	}
	mac.Sum(sum[:0])
	return sum
}

func (r *rightOnes) has(user, pass []byte, hash string, isLogin bool) bool {
	d := r.digest(user, pass, hash, isLogin)
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.seen[d]
	return ok
}

func (r *rightOnes) add(user, pass []byte, hash string, isLogin bool) {
	d := r.digest(user, pass, hash, isLogin)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil || len(r.seen) >= maxRight {
		r.seen = make(map[[sha256.Size]byte]struct{})
	}
	r.seen[d] = struct{}{}
}

// usersFile is a file of users that is read again when it has changed.
type usersFile struct {
	path string
	// looking is held by who looks whether the file has changed; the others do
	// not wait for a disk.
	looking sync.Mutex
	listed  atomic.Pointer[userList]
}

// userList is what a file held; it is never changed.
type userList struct {
	users []password.User
	state fileState
	when  time.Time // of the last look
	// trouble says why the file could not be read in this state, "" if it could.
	trouble string
}

func (u *usersFile) read() error {
	users, info, err := password.ReadUsers(u.path)
	if err != nil {
		return err
	}
	u.listed.Store(&userList{users: users, state: stateOf(&info), when: time.Now()})
	return nil
}

// current gives the users. A file that cannot be read changes nothing, and is
// tried again: the reason may have been a lack of descriptors.
func (u *usersFile) current(log Logger) []password.User {
	l := u.listed.Load()
	if time.Since(l.when) < lookAgain || !u.looking.TryLock() {
		return l.users
	}
	defer u.looking.Unlock()
	state := stateAt(u.path)
	if state == l.state && l.trouble == "" {
		u.listed.Store(&userList{users: l.users, state: state, when: time.Now()})
		return l.users
	}
	if err := u.read(); err != nil {
		u.listed.Store(&userList{l.users, state, time.Now(), err.Error()})
		if err.Error() != l.trouble {
			log.Log("WARN", err.Error()+"; the users stay as they were")
		}
		return l.users
	}
	l = u.listed.Load()
	log.Log("INFO", fmt.Sprintf("read %d users of %s, which has changed", len(l.users), u.path))
	return l.users
}

// brake slows down who guesses passwords: after freeGuesses wrong ones an address
// is refused for a second, then for twice as long after each further one, up to
// a minute. What it knows of an address is forgotten with time.
type brake struct {
	mu   sync.Mutex
	seen map[netip.Prefix]*guesses
}

type guesses struct {
	wrong int
	last  time.Time
	until time.Time
}

const (
	freeGuesses = 5
	longestWait = time.Minute
	// forgetAfter is how long after its last wrong password an address is
	// forgotten.
	forgetAfter = 15 * time.Minute
	// maxSources bounds the addresses that are known.
	maxSources = 4096
)

// sourceOf is what is braked as one: an IPv4 address, or an IPv6 network of 64
// bits. The machine itself, where the kernel vouches for users or a proxy
// stands for many, is not.
func sourceOf(peer access.Client) (source netip.Prefix, braked bool) {
	addr := peer.Addr.Addr().Unmap().WithZone("")
	if peer.Unix() || !addr.IsValid() || addr.IsLoopback() {
		return netip.Prefix{}, false
	}
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	source, err := addr.Prefix(bits)
	return source, err == nil
}

// wait is how long a source has to wait, 0 if it need not.
func (b *brake) wait(source netip.Prefix) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if g := b.seen[source]; g != nil {
		return max(0, time.Until(g.until))
	}
	return 0
}

// fail counts a wrong password.
func (b *brake) fail(source netip.Prefix) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.seen[source]
	if g == nil || now.Sub(g.last) > forgetAfter {
		if g == nil && len(b.seen) >= maxSources {
			b.makeRoom(now)
		}
		g = &guesses{}
		if b.seen == nil {
			b.seen = make(map[netip.Prefix]*guesses)
		}
		b.seen[source] = g
	}
	g.wrong++
	g.last = now
	if over := g.wrong - freeGuesses; over >= 0 {
		g.until = now.Add(min(longestWait, time.Second<<min(over, 6)))
	}
}

// makeRoom forgets addresses: those whose time is up, or the one that has been
// quiet for the longest of a few.
func (b *brake) makeRoom(now time.Time) {
	var oldest netip.Prefix
	looked := 0
	for source, g := range b.seen {
		if now.Sub(g.last) > forgetAfter {
			delete(b.seen, source)
			continue
		}
		if looked == 0 || g.last.Before(b.seen[oldest].last) {
			oldest = source
		}
		if looked++; looked == 64 {
			break
		}
	}
	if len(b.seen) >= maxSources {
		delete(b.seen, oldest)
	}
}

// failureLog logs refused credentials, at most once a second.
type failureLog struct {
	mu      sync.Mutex
	last    time.Time
	skipped int
}

func (f *failureLog) add(log Logger, section, who string) {
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
	log.Log("WARN", fmt.Sprintf("Server %q refused wrong credentials of %s%s", section, who, more))
}
