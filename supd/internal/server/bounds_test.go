package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"sup/lib/plan"
)

// closedServer has a password.
func closedServer() plan.Server {
	s := unixServer("")
	s.HasAuth, s.Username, s.Password = true, "admin", "geheim"
	return s
}

const adminHeader = "Authorization: Basic YWRtaW46Z2VoZWlt\r\n"

// memory is what the process has taken of the system for its heap and stacks, and
// not given back.
func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// TestAttackConnectionsOfStrangers opens many connections to a server with a
// password, each with as much of a header as it takes. A connection must not
// cost more than its 8 KiB of buffers, and the server's own small change, and
// others must be served.
func TestAttackConnectionsOfStrangers(t *testing.T) {
	const connections = 1000
	s := newSite(t, newFake(), Options{MaxConns: connections + 100}, closedServer())
	ours := int64(8 << 10) // what the test's side of a connection costs at most
	before := memory()
	for name, text := range map[string]string{
		"idle":         "",
		"large header": "POST /RPC2 HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 60000),
		"slow header":  "GET /ok.html HTTP/1.1\r\nHost: x\r\nExpect: x\r\nX: " + strings.Repeat("a", 2000),
		"body":         "POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("a", 60000),
		"body of a form": "POST /index.html HTTP/1.1\r\nHost: x\r\nAuthorization: Basic eDp5\r\nOrigin: http://x\r\nContent-Length: 60000\r\n\r\n" +
			strings.Repeat("a", 3000),
	} {
		var all []net.Conn
		for range connections {
			c, err := net.Dial("unix", s.path)
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(time.Minute))
			all = append(all, c)
			c.SetWriteDeadline(time.Now().Add(5 * time.Millisecond))
			_, _ = io.WriteString(c, text) // as much as it takes
		}
		if r := s.get("GET", "/ok.html", adminHeader+"Connection: close\r\n"); r.status != 200 {
			t.Errorf("%s: somebody else: %+v", name, r)
		}
		each := int64(0)
		eventually(t, name+": a connection costs at most 8 KiB", func() bool {
			each = (memory() - before) / connections
			return each <= 8<<10+4<<10+ours
		})
		t.Logf("%s: %d bytes for each connection, the client's side included", name, each)
		for _, c := range all {
			c.Close()
		}
		eventually(t, "the connections are gone", func() bool { return len(s.srv.endpoints[0].all()) == 0 })
	}
}

// TestHeadersOfStrangers: what a client must show before it may send more.
func TestHeadersOfStrangers(t *testing.T) {
	s := newSite(t, newFake(), Options{}, closedServer(), plan.Server{Section: "inet_http_server", Host: "127.0.0.1"})
	long := "X: " + strings.Repeat("a", 20000) + "\r\n"
	for _, test := range []struct {
		name, text string
		want       int
	}{
		{"right", "GET /ok.html HTTP/1.1\r\nHost: x\r\n" + adminHeader + "\r\n", 200},
		{"right, long", "GET /ok.html HTTP/1.1\r\nHost: x\r\n" + adminHeader + long + "\r\n", 431},
		{"none, long", "GET /ok.html HTTP/1.1\r\nHost: x\r\n" + long + "\r\n", 431},
		{"wrong", "GET /ok.html HTTP/1.1\r\nHost: x\r\nAuthorization: Basic eDp5\r\n\r\n", 401},
		{"none, head", "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", 401},
		{"no HTTP", "what is this\r\n\r\n", 401},
		{"line ends", "GET / HTTP/1.1\nHost: x\n\n", 401},
		{"wrong first", "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic eDp5\r\n" + adminHeader + "\r\n", 401},
		{"in the body", "GET / HTTP/1.1\r\nHost: x\r\n\r\n" + adminHeader + "\r\n", 401},
	} {
		if r := s.raw(test.text); r.status != test.want || !r.close && test.want != 200 {
			t.Errorf("%s: %d, want %d, close %v", test.name, r.status, test.want, r.close)
		} else if (r.status == 401) != (r.header.Get("WWW-Authenticate") != "") {
			t.Errorf("%s: %v", test.name, r.header)
		}
	}
	// A body that comes later than the answer does not break the client's write.
	late := s.dial()
	io.WriteString(late, "POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
	if r := readResponse(t, bufio.NewReader(late), "POST"); r.status != 401 {
		t.Errorf("%+v", r)
	}
	if _, err := io.WriteString(late, strings.Repeat("x", 100)); err != nil {
		t.Error(err)
	}
	// Who is known may send more, over the same connection.
	c := s.dial()
	io.WriteString(c, strings.Replace(postWith(adminHeader, pidBody), "Host: x", "Host: y", 1))
	br := bufio.NewReader(c)
	if r := readResponse(t, br, "POST"); r.status != 200 {
		t.Fatalf("%+v", r)
	}
	io.WriteString(c, postWith(adminHeader+long, pidBody))
	if r := readResponse(t, br, "POST"); r.status != 200 {
		t.Errorf("a long header of one who is known: %d", r.status)
	}
	io.WriteString(c, post(pidBody))
	if r := readResponse(t, br, "POST"); r.status != 401 {
		t.Errorf("no credentials, after right ones: %d", r.status)
	}
	// A server without a password knows no strangers.
	o, err := net.Dial("tcp", s.addr(1))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	io.WriteString(o, "GET /ok.html HTTP/1.1\r\nHost: localhost\r\n"+long+"\r\n")
	if r := readResponse(t, bufio.NewReader(o), "GET"); r.status != 200 {
		t.Errorf("open server: %d", r.status)
	}
}

// TestAttackFollowersFillTheListener: those who follow logs must leave room.
func TestAttackFollowersFillTheListener(t *testing.T) {
	f := newFake()
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("a line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.logs["one:one stdout"] = path
	conf := unixServer("")
	conf.Limits = plan.Limits{Connections: 40}
	s := newSite(t, f, Options{}, conf)
	follow := func() (net.Conn, int) {
		c := s.dial()
		io.WriteString(c, "GET /logtail/one HTTP/1.1\r\nHost: x\r\n\r\n")
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		return c, r.StatusCode
	}
	var all []net.Conn
	statuses := map[int]int{}
	for range 60 {
		c, status := follow()
		statuses[status]++
		if status == 200 {
			all = append(all, c)
		}
	}
	if statuses[200] != 20 || statuses[503] != 40 {
		t.Errorf("statuses %v", statuses)
	}
	for range 50 {
		if r := s.get("GET", "/ok.html", ""); r.status != 200 {
			t.Fatalf("another client: %+v", r)
		}
	}
	all[0].Close()
	eventually(t, "one may come for one that goes", func() bool {
		c, status := follow()
		c.Close()
		return status == 200
	})
	for _, test := range []struct {
		limits    plan.Limits
		conns     int
		followers int
	}{
		{plan.Limits{}, 64, 32}, {plan.Limits{Connections: 10}, 10, 5}, {plan.Limits{Connections: 10, Followers: 3}, 10, 3},
		{plan.Limits{Followers: 100}, 64, 32},
	} {
		if b := newBounds(test.limits, 64); b.conns != test.conns || b.followers != test.followers {
			t.Errorf("%+v: %+v", test.limits, b)
		}
	}
}

func TestLimits(t *testing.T) {
	conf := unixServer("")
	conf.Limits = plan.Limits{Body: 100 << 10, Values: 1000, Seconds: 1}
	s := newSite(t, newFake(), Options{}, conf)
	for _, header := range []string{"", "Origin: http://x\r\n"} {
		if r := s.raw(postWith(header, callBody("supervisor.sendProcessStdin", "one", strings.Repeat("x", 90<<10)))); r.status != 200 {
			t.Errorf("%q: %+v", header, r)
		}
		if r := s.raw(postWith(header, callBody("supervisor.sendProcessStdin", "one", strings.Repeat("x", 100<<10)))); r.status != 413 {
			t.Errorf("%q: a large body: %d", header, r.status)
		}
		if r := s.raw(postWith(header, callBody("supervisor.x", "<array><data>"+strings.Repeat("<value/>", 1000)+"</data></array>"))); r.status != 400 {
			t.Errorf("%q: many values: %d", header, r.status)
		}
		c := s.dial()
		io.WriteString(c, postWith(header+"Content-Length: 1000\r\n", "")[:20])
		begun := time.Now()
		if b, _ := io.ReadAll(c); time.Since(begun) > 30*time.Second {
			t.Errorf("%q: a slow request: %q", header, b)
		}
	}
}

// TestAttackSlowSenders announce large bodies and don't send them: that must not
// keep others from sending theirs.
func TestAttackSlowSenders(t *testing.T) {
	s := newSite(t, newFake(), Options{})
	for i := range 20 {
		header := []string{"", "Origin: http://x\r\n"}[i%2]
		fmt.Fprintf(s.dial(), "POST /RPC2 HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n%s", header, defaultBody, strings.Repeat("x", 100<<10))
	}
	for _, header := range []string{"", "Origin: http://x\r\n"} {
		r := s.raw(postWith(header, callBody("supervisor.sendProcessStdin", "one", strings.Repeat("x", 12<<20))))
		if r.status != 200 {
			t.Errorf("%q: %+v", header, r)
		}
	}
}

// TestAttackLargeCallsThatWait: a large call that waits for a program keeps no
// turn.
func TestAttackLargeCallsThatWait(t *testing.T) {
	f := newFake()
	f.block, f.blocked = make(chan struct{}), make(chan struct{}, 9)
	s := newSite(t, f, Options{})
	pad := "<!--" + strings.Repeat("x", 8<<20) + "-->"
	var waiting []net.Conn
	for range 3 {
		c := s.dial()
		waiting = append(waiting, c)
		io.WriteString(c, post(callBody("supervisor.stopProcess", "one")+pad))
		<-f.blocked
	}
	if r := s.raw(post(callBody("supervisor.getPID") + pad)); r.status != 200 {
		t.Errorf("another large call: %+v", r)
	}
	close(f.block)
	for _, c := range waiting {
		if r := readResponse(t, bufio.NewReader(c), "POST"); result(t, r.body) != isTrue {
			t.Errorf("%+v", r)
		}
	}
	eventually(t, "the budget is whole again", func() bool { return s.srv.memory.left.Load() == budgetBodies*defaultBody })
}

func TestTurns(t *testing.T) {
	ctx := t.Context()
	tr := &turns{room: 10}
	if err := tr.wait(ctx, 6); err != nil {
		t.Fatal(err)
	}
	come := make(chan int, 3)
	queue := func(n int, size int64, ctx context.Context) {
		before := func() int { tr.mu.Lock(); defer tr.mu.Unlock(); return len(tr.queue) }()
		go func() {
			if err := tr.wait(ctx, size); err == nil {
				come <- n
			} else if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}()
		eventually(t, "it queues", func() bool { tr.mu.Lock(); defer tr.mu.Unlock(); return len(tr.queue) == before+1 })
	}
	gone, leave := context.WithCancel(ctx)
	queue(1, 10, gone)
	queue(2, 4, ctx) // there is room, but not before the first
	queue(3, 10, ctx)
	select {
	case n := <-come:
		t.Fatalf("%d came out of turn", n)
	default:
	}
	leave()
	if n := <-come; n != 2 {
		t.Fatalf("%d came", n)
	}
	tr.give(4)
	tr.give(6)
	if n := <-come; n != 3 {
		t.Fatalf("%d came", n)
	}
	tr.give(10)
	if tr.room != 10 || len(tr.queue) != 0 {
		t.Errorf("%+v", tr)
	}
}

// TestAttackWorkForNobody: a client that has gone is worked for no longer.
func TestAttackWorkForNobody(t *testing.T) {
	f := newFake()
	f.block, f.blocked = make(chan struct{}), make(chan struct{}, maxCalls)
	s := newSite(t, f, Options{})
	calls := callBody("system.multicall", "<array><data>"+strings.Repeat(entry("supervisor.stopProcess", "one"), 1000)+"</data></array>")
	c := s.dial()
	io.WriteString(c, post(calls))
	<-f.blocked
	c.Close()
	close(f.block)
	eventually(t, "the server is done", func() bool { return len(s.srv.endpoints[0].all()) == 0 })
	if n := len(f.log()); n > 2 {
		t.Errorf("%d calls were made for nobody", n)
	}

	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f.logs["one:one stdout"] = path
	if err := os.Truncate(path, 15<<30); err != nil {
		t.Skip("no sparse files here:", err)
	}
	for _, header := range []string{"", "Origin: http://x\r\n"} {
		c := s.dial()
		io.WriteString(c, postWith(header, callBody("supervisor.readProcessStdoutLog", "one", "0", "0")))
		eventually(t, "it is read", func() bool { return len(s.srv.endpoints[0].all()) == 1 })
		c.Close()
		begun := time.Now()
		eventually(t, "the server is done", func() bool { return len(s.srv.endpoints[0].all()) == 0 })
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("%q: went on for %v", header, took)
		}
	}
	if err := os.Truncate(path, 1<<40); err != nil {
		t.Skip("no sparse files here:", err)
	}
	if got := s.call("supervisor.readProcessStdoutLog", "one", "0", "0"); !strings.HasPrefix(got, "fault 30 FAILED: the answer is too large") {
		t.Errorf("%.200s", got)
	}
	// A half-closed connection is no client that has gone.
	h := s.dial()
	io.WriteString(h, post(callBody("system.multicall", "<array><data>"+strings.Repeat(entry("supervisor.getPID"), 100)+"</data></array>")))
	h.(*net.UnixConn).CloseWrite()
	if r := readResponse(t, bufio.NewReader(h), "POST"); strings.Count(r.body, num("4711")) != 100 {
		t.Errorf("%.200s", r.body)
	}
}

// TestAbortedPagesAreCounted: browsers abort requests all the time.
func TestAbortedPagesAreCounted(t *testing.T) {
	f := newFake()
	f.infosWait = make(chan struct{})
	s := newSite(t, f, Options{})
	for range 5 {
		c := s.dial()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		<-f.infosWait
		c.Close()
	}
	eventually(t, "they are counted", func() bool { return s.srv.aborted.Load() == 5 })
	if lines := s.log.with("WARN"); len(lines) > 0 {
		t.Errorf("%q", lines)
	}
}

// TestControlCharactersAreNotShown: a name or a message is what is seen.
func TestControlCharactersAreNotShown(t *testing.T) {
	f := newFake()
	f.infos[0].Name, f.infos[0].Group, f.infos[0].Description = "a\x1b[31m\nb", "g\u202e", "x\x00y"
	s := newSite(t, f, Options{})
	for _, target := range []string{"/", "/?message=a%1b%5b31m%0d%0ab", "/tail.html?processname=g:%1b%5b31m", "/?processname=%0d%0aSet-Cookie:x&action=start"} {
		r := s.get("GET", target, "")
		if strings.ContainsAny(r.body, "\x1b\x00\u202e\r") || r.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %q %v", target, r.body, r.header)
		}
	}
}
