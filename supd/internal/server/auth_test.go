package server

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sup/lib/access"
	"sup/lib/password"
	"sup/lib/plan"
)

func basic(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }

func testGate(t *testing.T, conf plan.Server) *gate {
	t.Helper()
	g, err := newGate(conf, new(brake), new(accounts))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// from is a visitor at an address on TCP.
func from(addr string) *visitor {
	return &visitor{Client: access.Client{UID: -1, GID: -1, Addr: netip.MustParseAddrPort(addr)}}
}

func TestCredentials(t *testing.T) {
	plainText := testGate(t, plan.Server{HasAuth: true, Username: "joe", Password: "se:cr et"})
	hashed := testGate(t, plan.Server{HasAuth: true, Username: "ann", Password: "{SHA}82ab876d1387bfafe46cc1c8a2ef074eae50cb1d"})
	upper := testGate(t, plan.Server{HasAuth: true, Username: "ann", Password: "{SHA}82AB876D1387BFAFE46CC1C8A2EF074EAE50CB1D"})
	slow := testGate(t, plan.Server{HasAuth: true, Username: "ann", Password: "{BCRYPT}" + bcryptOfThepassword})
	for _, test := range []struct {
		gate   *gate
		header string
		want   bool
	}{
		{plainText, basic("joe:se:cr et"), true},
		{plainText, strings.Replace(basic("joe:se:cr et"), "Basic", "bAsIc", 1), true},
		{plainText, basic("joe:se:cr et") + " ", true},
		{plainText, basic("joe:se:cr et "), false},
		{plainText, basic("joe:se:cr"), false},
		{plainText, basic("joe"), false},
		{plainText, basic(":se:cr et"), false},
		{plainText, basic("jo:se:cr et"), false},
		{plainText, "Basic", false},
		{plainText, "Basic ", false},
		{plainText, "Basic !!!!", false},
		{plainText, "Bearer x", false},
		{plainText, "", false},
		{hashed, basic("ann:thepassword"), true},
		{hashed, basic("ann:{SHA}82ab876d1387bfafe46cc1c8a2ef074eae50cb1d"), false},
		{hashed, basic("ann:82ab876d1387bfafe46cc1c8a2ef074eae50cb1d"), false},
		{upper, basic("ann:thepassword"), false},
		{slow, basic("ann:thepassword"), true},
		{slow, basic("ann:thepasswor"), false},
		{slow, basic("an:thepassword"), false},
		{slow, basic("ann:{BCRYPT}" + bcryptOfThepassword), false},
	} {
		// The second time it is remembered, or not.
		for range 2 {
			a := test.gate.check(from("127.0.0.1:1"), []byte(test.header), &testLog{})
			if got := a.status == 0; got != test.want || !got && a.status != 401 || a.wrong != (!got && test.header != "") {
				t.Errorf("%q: %+v", test.header, a)
			} else if got && (a.client.Role != access.Admin || a.client.User == "") {
				t.Errorf("%q: %+v", test.header, a.client)
			}
		}
	}
	list := Unprotected([]plan.Server{{Section: "a", HasAuth: true, Username: "u"}, {Section: "b"}, {Section: "c", HasAuth: true},
		{Section: "d", UsersFile: "x"}, {Section: "e", ClientCA: "x"}, {Section: "f", ClientCA: "x", ClientCertOptional: true},
		{Section: "g", Unix: true, Roles: access.Rules{}}, {Section: "h", Unix: true}})
	names := ""
	for _, s := range list {
		names += s.Section
	}
	if names != "bcfh" {
		t.Errorf("%s", names)
	}
}

// bcryptOfThepassword is one that takes little time.
const bcryptOfThepassword = "$2y$05$abcdefghijklmnopqrstuuJohtMp2EdYCuLXcN2hacxgW4wPMiP3m"

func TestAttackGuessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := testGate(t, plan.Server{HasAuth: true, Username: "joe", Password: "right"})
		try := func(addr, password string) admission {
			header := ""
			if password != "" {
				header = basic("joe:" + password)
			}
			return g.check(from(addr), []byte(header), &testLog{})
		}
		const attacker = "192.0.2.7:1000"
		if a := try("198.51.100.1:1", "right"); a.status != 0 {
			t.Fatalf("%+v", a)
		}
		for i := range 5 {
			if a := try(attacker, "wrong"); a.status != 401 {
				t.Fatalf("guess %d: %+v", i, a)
			}
		}
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
			want *= time.Second
			if a := try(attacker, "wrong"); a.status != 429 || a.retry != want {
				t.Fatalf("%+v, want %s", a, want)
			}
			// What is refused does not count, another port is the same address, and
			// a credential that was right before is never refused, not even there.
			for range 20 {
				if a := try("192.0.2.7:2000", "wrong"); a.status != 429 || a.retry != want {
					t.Fatalf("%+v, want %s", a, want)
				}
			}
			if a := try("192.0.2.7:2000", "right"); a.status != 0 {
				t.Fatalf("a right one: %+v", a)
			}
			if a := try("192.0.2.8:1", "wrong"); a.status == 429 && want == time.Second {
				t.Fatalf("the neighbour: %+v", a)
			}
			if a := try(attacker, ""); a.status != 401 {
				t.Fatalf("without credentials: %+v", a)
			}
			time.Sleep(want - time.Millisecond)
			if a := try(attacker, "wrong"); a.status != 429 {
				t.Fatalf("early: %+v", a)
			}
			time.Sleep(time.Millisecond)
			if a := try(attacker, "wrong"); a.status != 401 {
				t.Fatalf("in time: %+v", a)
			}
		}
		time.Sleep(forgetAfter + time.Second)
		for range 5 {
			if a := try(attacker, "wrong"); a.status != 401 {
				t.Fatalf("after a long time: %+v", a)
			}
		}
	})
}

// One address may not have hundreds of guesses under way before the first is
// counted.
func TestAttackParallelGuessing(t *testing.T) {
	g := testGate(t, plan.Server{HasAuth: true, Username: "joe", Password: "right"})
	var checked atomic.Int32
	// Others log in at the same time.
	for range 500 {
		go g.check(from("192.0.2.8:1"), []byte(basic("joe:right")), &testLog{})
	}
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			switch a := g.check(from("192.0.2.7:1"), []byte(basic(fmt.Sprintf("joe:%d", i))), &testLog{}); a.status {
			case 401:
				checked.Add(1)
			case 429:
			default:
				t.Errorf("%+v", a)
			}
		})
	}
	wg.Wait()
	if n := checked.Load(); n != freeGuesses {
		t.Errorf("%d passwords were tried", n)
	}
}

// While passwords are being hashed, those who were let in before are.
func TestKnownCredentialsDoNotWait(t *testing.T) {
	g := testGate(t, plan.Server{HasAuth: true, Username: "joe", Password: "{BCRYPT}" + bcryptOfThepassword})
	right := []byte(basic("joe:thepassword"))
	if a := g.check(from("192.0.2.1:1"), right, &testLog{}); a.status != 0 {
		t.Fatalf("%+v", a)
	}
	g.turn <- struct{}{} // somebody's hash takes for ever
	for range maxWaiting {
		g.waiting <- struct{}{}
	}
	if a := g.check(from("192.0.2.2:1"), right, &testLog{}); a.status != 0 {
		t.Errorf("known: %+v", a)
	}
	if a := g.check(from("192.0.2.2:1"), []byte(basic("joe:x")), &testLog{}); a.status != 503 || a.retry != time.Second {
		t.Errorf("unknown: %+v", a)
	}
}

func TestBrakedSources(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.7:1": "192.0.2.7/32", "[2001:db8:1:2:3::4]:1": "2001:db8:1:2::/64", "[fe80::1%eth0]:5": "fe80::/64",
		"[::ffff:192.0.2.7]:1": "192.0.2.7/32", "127.0.0.1:1": "", "127.9.9.9:1": "", "[::1]:1": "", "[::ffff:127.0.0.1]:1": "",
	} {
		source, braked := sourceOf(from(addr).Client)
		if braked != (want != "") || braked && source.String() != want {
			t.Errorf("%s: %s %v", addr, source, braked)
		}
	}
	if _, braked := sourceOf(access.Client{UID: 5}); braked {
		t.Error("a unix socket")
	}
	b := new(brake)
	for i := range 3 * maxSources {
		for range freeGuesses {
			b.fail(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32))
		}
	}
	if n := len(b.seen); n > maxSources {
		t.Errorf("%d addresses are remembered", n)
	}
}

func TestUsersFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "users")
		write := func(text string) {
			if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
			time.Sleep(lookAgain)
		}
		write("ann:" + bcryptOfThepassword + "\nbob:{SHA}gquHbROHv6/kbMHIou8HTq5Qyx0=\n")
		rules, err := access.ParseRules("admin: ann; read: *")
		if err != nil {
			t.Fatal(err)
		}
		g := testGate(t, plan.Server{UsersFile: path, Roles: rules, HasAuth: true, Username: "root", Password: "x"})
		log := &testLog{}
		role := func(credentials string) string {
			a := g.check(from("127.0.0.1:1"), []byte(basic(credentials)), log)
			if a.status != 0 {
				return fmt.Sprint(a.status)
			}
			return a.client.User + " " + a.client.Role.String()
		}
		expect := func(credentials, want string) {
			t.Helper()
			for range 2 {
				if got := role(credentials); got != want {
					t.Errorf("%s: %s, want %s", credentials, got, want)
				}
			}
		}
		expect("ann:thepassword", "ann admin")
		expect("bob:thepassword", "bob read")
		expect("root:x", "root admin")
		expect("carol:thepassword", "401")
		expect("ann:x", "401")
		expect("root:thepassword", "401")
		if a := g.check(from("127.0.0.1:1"), nil, log); a.status != 401 {
			t.Errorf("* is not everybody: %+v", a)
		}
		write("bob:{SHA}c0b5b1b0b7e4a9bfdd6f3a1b1a3e5f6f2a4e9c11\ncarol:" + bcryptOfThepassword + "\n")
		expect("ann:thepassword", "401")
		expect("bob:thepassword", "401")
		expect("carol:thepassword", "carol read")
		write("carol\n")
		expect("carol:thepassword", "carol read")
		if n := len(log.with(path + ":1: there is no colon")); n != 1 {
			t.Errorf("%q", log.lines)
		}
		os.Remove(path)
		time.Sleep(lookAgain)
		expect("carol:thepassword", "carol read")
		write("")
		expect("carol:thepassword", "401")
	})
	if _, err := newGate(plan.Server{UsersFile: filepath.Join(t.TempDir(), "none")}, new(brake), new(accounts)); err == nil {
		t.Error("a file of users that is not there")
	}
}

// A reload makes nobody known a stranger, and no guesser unknown; and nothing of the
// server before stays in memory.
func TestAttackGuessingAcrossReloads(t *testing.T) {
	conf := plan.Server{Section: "inet_http_server", Host: "127.0.0.1", HasAuth: true, Username: "joe", Password: "{BCRYPT}" + bcryptOfThepassword}
	log := &testLog{}
	next := func(before *Server, conf plan.Server) *Server {
		s, err := Open([]plan.Server{conf}, Options{Before: before})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close(t.Context()) })
		return s
	}
	status := func(s *Server, credentials string) int {
		return s.endpoints[0].gate.check(from("192.0.2.1:1"), []byte(basic(credentials)), log).status
	}
	first := next(nil, conf)
	if got := status(first, "joe:thepassword"); got != 0 {
		t.Fatal(got)
	}
	for range freeGuesses {
		status(first, "joe:wrong")
	}
	second := next(first, conf)
	if got := status(second, "joe:wrong"); got != http.StatusTooManyRequests {
		t.Errorf("a guesser after a reload: %d", got)
	}
	if got := status(second, "joe:thepassword"); got != 0 {
		t.Errorf("who is known, after a reload: %d", got)
	}
	conf.Password = "another"
	if got := status(next(second, conf), "joe:thepassword"); got != http.StatusTooManyRequests {
		t.Errorf("with the password of before: %d", got)
	}
	if second.opts.Before != nil {
		t.Error("the server before stays in memory")
	}
}

// Whoever is listed is refused no sooner than who is not.
func TestAttackTimeTellsWhoIsListed(t *testing.T) {
	const costly = "$2y$10$abcdefghijklmnopqrstuuJohtMp2EdYCuLXcN2hacxgW4wPMiP3m"
	users, err := password.ParseUsers("ann:{SHA}gquHbROHv6/kbMHIou8HTq5Qyx0=\nbob:" + bcryptOfThepassword + "\ncarol:" + costly + "\n")
	if err != nil {
		t.Fatal(err)
	}
	hash, least := users[2].Secret, time.Hour
	for range 3 {
		began := time.Now()
		hash.Check([]byte("wrong"))
		least = min(least, time.Since(began))
	}
	for _, name := range []string{"ann", "bob", "carol", "nobody", ""} {
		began := time.Now()
		if checkUser(users, []byte(name), []byte("wrong")) != nil {
			t.Errorf("%q is let in", name)
		}
		if took := time.Since(began); took < least/2 {
			t.Errorf("%q is refused after %v, where the longest hash takes %v", name, took, least)
		}
	}
}

// What could not be read, for want of a descriptor perhaps, is tried again although
// the file has not changed.
func TestSecretsAreTriedAgain(t *testing.T) {
	log := &testLog{}
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte("ann:"+bcryptOfThepassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	u := &usersFile{path: path}
	u.listed.Store(&userList{state: stateAt(path), trouble: "too many open files"})
	if users := u.current(log); len(users) != 1 || u.listed.Load().trouble != "" {
		t.Errorf("%d users", len(users))
	}
	path = testCertificate(t)
	c := &certificates{conf: plan.Server{Certificate: path, Key: path}, log: func() Logger { return log }}
	c.loaded.Store(&loadedTLS{files: c.states(), trouble: "too many open files"})
	if c.current() == nil || c.loaded.Load().trouble != "" {
		t.Error("no certificate")
	}
	// What goes on is said once.
	os.Remove(path)
	for range 3 {
		again := *c.loaded.Load()
		again.when = time.Time{}
		c.loaded.Store(&again)
		if c.current() == nil {
			t.Error("the certificate has not stayed")
		}
	}
	if n := len(log.with("the certificate stays as it was")); n != 1 {
		t.Errorf("%d lines", n)
	}
}

func TestEveryPathWantsCredentials(t *testing.T) {
	f := newFake()
	conf := unixServer("")
	conf.HasAuth, conf.Username, conf.Password = true, "joe", "secret"
	s := newSite(t, f, Options{}, conf)
	right := "Authorization: " + basic("joe:secret") + "\r\n"
	for _, path := range []string{"/", "/index.html", "/index.html?action=stopall", "/RPC2", "/logtail/one", "/mainlogtail", "/tail.html?processname=one",
		"/stylesheets/supervisor.css", "/nosuch", "//", "/RPC2/", "/rpc2", "/ok.html"} {
		for _, method := range []string{"GET", "HEAD", "POST", "DELETE"} {
			for _, header := range []string{"", "Authorization: Basic YWRt\r\n", "Authorization: " + basic("joe:wrong") + "\r\n"} {
				if method == "POST" {
					// The body does not come: nobody may wait for it.
					header += "Content-Length: 100000\r\n"
				}
				r := s.get(method, path, header)
				if r.status != 401 || r.header.Get("WWW-Authenticate") != `Basic realm="default"` || !r.close {
					t.Errorf("%s %s %q: %+v", method, path, header, r)
				}
			}
		}
	}
	if asked := f.log(); len(asked) != 0 {
		t.Errorf("done without credentials: %q", asked)
	}
	if n := len(s.log.with("refused wrong credentials")); n == 0 || n > 5 {
		t.Errorf("%d log lines", n)
	}
	if r := s.raw(postWith(right, pidBody)); r.status != 200 {
		t.Errorf("call: %+v", r)
	}
	if r := s.raw(postWith(right+"Origin: http://x\r\n", pidBody)); r.status != 200 {
		t.Errorf("call not in plain form: %+v", r)
	}
	if r := s.get("GET", "/ok.html", right); r.status != 200 {
		t.Errorf("page: %+v", r)
	}
}

func TestFailureLogIsSlow(t *testing.T) {
	var f failureLog
	l := &testLog{}
	for range 1000 {
		f.add(l, "inet_http_server", "192.0.2.1:5")
	}
	f.last = time.Now().Add(-time.Minute)
	f.add(l, "inet_http_server", "192.0.2.1:5")
	if len(l.lines) != 2 || !strings.Contains(l.lines[1], "999 times more") {
		t.Errorf("%q", l.lines)
	}
}

func TestHostGuard(t *testing.T) {
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	g := newHostGuard(plan.Server{Host: "sup.example.net", AllowedHosts: []string{"Allowed.example"}})
	for host, want := range map[string]bool{
		"127.0.0.1:9001": true, "127.0.0.1": true, "[::1]:9001": true, "10.1.2.3": true, "localhost:9001": true, "LOCALHOST": true,
		"a.localhost": true, "container:9001": true, own + ":9001": true, "sup.example.net:9001": true, "allowed.example": true,
		"evil.example": false, "evil.example:9001": false, "127.0.0.1.evil.example": false, "sup.example.net.evil": false, "evil.example:x:y": false,
	} {
		if got := g.allow(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
	protectedServer := plan.Server{HasAuth: true, Username: "u"}
	if newHostGuard(plan.Server{Unix: true}) != nil || newHostGuard(protectedServer) != nil {
		t.Error("a guard where none is needed")
	}
}

func TestForeignHostIsMisdirected(t *testing.T) {
	s := newSite(t, newFake(), Options{}, plan.Server{Section: "inet_http_server", Host: "127.0.0.1"})
	for _, test := range []struct {
		request string
		want    int
	}{
		{post(pidBody), 200},
		{strings.Replace(post(pidBody), "Host: x", "Host: "+s.addr(1), 1), 200},
		{strings.Replace(post(pidBody), "Host: x", "Host: evil.example", 1), 421},
		{"GET / HTTP/1.1\r\nHost: evil.example:80\r\n\r\n", 421},
		{"GET /ok.html HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 200},
		{"GET /ok.html HTTP/1.0\r\n\r\n", 200},
	} {
		c, err := net.Dial("tcp", s.addr(1))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, test.request)
		if r := readResponse(t, bufio.NewReader(c), "POST"); r.status != test.want {
			t.Errorf("%q: %d", test.request, r.status)
		}
	}
}

// ownAddress is an IPv4 address of this machine that is not loopback.
func ownAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	t.Skip("this machine has no address but loopback")
	return ""
}

func TestAttackGuessingOverTheNetwork(t *testing.T) {
	host := ownAddress(t)
	for _, test := range []struct {
		host   string
		braked bool
	}{{host, true}, {"127.0.0.1", false}} {
		s := newSite(t, newFake(), Options{}, plan.Server{Section: "inet_http_server", Host: test.host, HasAuth: true, Username: "joe", Password: "right"})
		ask := func(request string) response {
			t.Helper()
			c, err := net.Dial("tcp", s.addr(1))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			io.WriteString(c, request)
			return readResponse(t, bufio.NewReader(c), "POST")
		}
		call := func(credentials string) response {
			return ask(postWith("Authorization: "+basic(credentials)+"\r\n", pidBody))
		}
		if r := call("joe:right"); r.status != 200 {
			t.Fatalf("%+v", r)
		}
		refused := 0
		for i := range 50 {
			r := call(fmt.Sprintf("joe:%d", i))
			if i%2 == 0 {
				r = ask("GET /index.html?action=stopall HTTP/1.1\r\nHost: x\r\nAuthorization: " + basic(fmt.Sprintf("joe:%d", i)) + "\r\n\r\n")
			}
			switch {
			case r.status == 429 && r.header.Get("Retry-After") >= "1" && r.close:
				refused++
			case r.status != 401:
				t.Errorf("%s: %+v", test.host, r)
			}
			if r := ask(post(pidBody)); r.status != 401 {
				t.Fatalf("%s: without credentials: %+v", test.host, r)
			}
		}
		if test.braked != (refused > 30) || !test.braked && refused > 0 {
			t.Errorf("%s: %d of 50 guesses were refused", test.host, refused)
		}
		if r := call("joe:right"); r.status != 200 {
			t.Errorf("%s: who was let in before: %+v", test.host, r)
		}
		if n := len(s.log.with("refused wrong credentials")); n == 0 || n > 10 {
			t.Errorf("%s: %d lines in the log", test.host, n)
		}
	}
}
