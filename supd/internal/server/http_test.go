package server

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sup/lib/plan"
)

var pidBody = callBody("supervisor.getPID")

func TestHTTPStatus(t *testing.T) {
	s := newSite(t, newFake(), Options{})
	for _, test := range []struct {
		name, request string
		want          int
	}{
		{"call", post(pidBody), 200},
		{"call without declaration", post("<methodCall><methodName>supervisor.getPID</methodName></methodCall>"), 200},
		{"path with slash", strings.Replace(post(pidBody), "/RPC2", "/RPC2/", 1), 200},
		{"path with query", strings.Replace(post(pidBody), "/RPC2", "/RPC2?x=1", 1), 200},
		{"path with more", strings.Replace(post(pidBody), "/RPC2", "/RPC2x", 1), 200},
		{"other case", strings.Replace(post(pidBody), "/RPC2", "/rpc2", 1), 400},
		{"no host", strings.Replace(post(pidBody), "Host: x\r\n", "", 1), 200},
		{"header case", strings.Replace(post(pidBody), "Content-Length", "cOnTeNt-LeNgTh", 1), 200},
		{"unknown header", postWith("X-Some: thing\r\nAccept: */*\r\n", pidBody), 200},
		{"odd connection header", postWith("Connection: keep-alive, x\r\n", pidBody), 200},
		{"expect", postWith("Expect: x\r\n", pidBody), 417},
		{"garbage", post("not xml"), 400},
		{"empty", post(""), 400},
		{"no method name", post("<methodCall><params/></methodCall>"), 400},
		{"entities", post("<!DOCTYPE r [<!ENTITY a 'b'>]><methodCall><methodName>&a;</methodName></methodCall>"), 400},
		{"get", "GET /RPC2 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"put", "PUT /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 400},
		{"head", "HEAD /RPC2 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"no length", "POST /RPC2 HTTP/1.1\r\nHost: x\r\n\r\n", 411},
		{"chunked", "POST /RPC2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411},
		{"negative length", "POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400},
		{"hex length", "POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: 0x1\r\n\r\n", 400},
		{"two lengths", "POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
		{"too long", "POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: 16777217\r\n\r\n", 413},
		{"endless length", "POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
		{"no version", "GET /\r\n\r\n", 400},
		{"malformed", "what is this\r\n\r\n", 400},
		{"nul", "POST /RPC2\x00 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"strange version", "GET / HTTP/9.9\r\nHost: x\r\n\r\n", 505},
		{"large header", "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 80<<10) + "\r\n\r\n", 431},
		{"large header of a call", "POST /RPC2 HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 80<<10) + "\r\n\r\n", 431},
		{"page without host", "GET /ok.html HTTP/1.1\r\n\r\n", 200},
		{"action without host", "GET /index.html?action=refresh HTTP/1.1\r\nX-Host: a\r\n\r\n", 301},
		{"absolute address without host", "GET http://x/nosuch HTTP/1.1\r\n\r\n", 404},
		{"page", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		{"two slashes", "GET //index.html HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		{"unknown path", "GET /nosuch HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		{"post elsewhere", "POST /nosuch HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", 400},
		{"other verb", "DELETE / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"options", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"ok", "GET /ok.html HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		{"head of the page", "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		{"style", "GET /stylesheets/supervisor.css HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		{"icon", "GET /images/icon.png HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		{"traversal", "GET /stylesheets/../status.html HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		{"coded traversal", "GET /stylesheets/..%2fstatus.html HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		{"directory", "GET /stylesheets/ HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		{"foreign origin", postWith("Origin: http://evil.example\r\n", pidBody), 403},
		{"null origin", postWith("Origin: null\r\n", pidBody), 403},
		{"own origin", postWith("Origin: http://x\r\n", pidBody), 200},
		{"cross site", postWith("Sec-Fetch-Site: cross-site\r\n", pidBody), 403},
		{"same site", postWith("Sec-Fetch-Site: same-origin\r\n", pidBody), 200},
		{"foreign referer", postWith("Referer: http://evil.example/x\r\n", pidBody), 403},
		{"referer of a proxy", postWith("Referer: http://me.example/x\r\nX-Forwarded-Host: me.example\r\n", pidBody), 200},
	} {
		r := s.raw(test.request)
		if r.status != test.want {
			t.Errorf("%s: %d, want %d", test.name, r.status, test.want)
		}
		// net/http writes these itself.
		if test.name == "style" && r.header.Get("Content-Type") != "text/css" {
			t.Errorf("style: %s", r.header.Get("Content-Type"))
		}
		own := !slices.Contains([]string{"expect", "negative length", "hex length", "two lengths", "endless length", "no version", "malformed",
			"nul", "strange version", "large header", "large header of a call"}, test.name)
		if own && r.header.Get("Content-Length") == "" {
			t.Errorf("%s: no Content-Length", test.name)
		}
	}
}

func TestHTTPVersionsAndConnections(t *testing.T) {
	s := newSite(t, newFake(), Options{})
	old := func(header string) string {
		return strings.Replace(postWith(header, pidBody), "HTTP/1.1", "HTTP/1.0", 1)
	}
	for _, test := range []struct {
		name, request string
		stays         bool
		connection    string
	}{
		{"1.1", post(pidBody), true, ""},
		{"1.1 close", postWith("Connection: Close\r\n", pidBody), false, "close"},
		{"1.1 keep-alive", postWith("Connection: keep-alive\r\n", pidBody), true, ""},
		{"1.0", old(""), false, "close"},
		{"1.0 keep-alive", old("Connection: Keep-Alive\r\n"), true, "Keep-Alive"},
		{"1.1 slow", postWith("Origin: http://x\r\n", pidBody), true, ""},
		{"1.1 slow close", postWith("Origin: http://x\r\nConnection: close\r\n", pidBody), false, "close"},
		{"1.0 slow", old("Origin: http://x\r\n"), false, "close"},
		{"page 1.0", "GET / HTTP/1.0\r\n\r\n", false, "close"},
		{"fault", post(callBody("x")), true, ""},
		{"bad call", post("x"), false, "close"},
	} {
		c := s.dial()
		br := bufio.NewReader(c)
		io.WriteString(c, test.request)
		r := readResponse(t, br, "POST")
		if got := r.header.Get("Connection"); !strings.EqualFold(got, test.connection) && !r.close {
			t.Errorf("%s: Connection %q", test.name, got)
		}
		if !test.stays {
			if _, err := br.ReadByte(); err != io.EOF {
				t.Errorf("%s: not closed: %v", test.name, err)
			}
			continue
		}
		io.WriteString(c, post(pidBody))
		if r := readResponse(t, br, "POST"); r.status != 200 {
			t.Errorf("%s: then %d", test.name, r.status)
		}
	}
}

func TestPipelining(t *testing.T) {
	f := newFake()
	s := newSite(t, f, Options{})
	c := s.dial()
	var all strings.Builder
	methods := []string{"getPID", "getState", "stopProcess", "getIdentification", "getVersion"}
	for i := range 50 {
		m := methods[i%len(methods)]
		if m == "stopProcess" {
			all.WriteString(post(callBody("supervisor."+m, "one")))
		} else {
			all.WriteString(post(callBody("supervisor." + m)))
		}
	}
	// What comes last, and needs net/http, is answered last.
	all.WriteString("GET /ok.html HTTP/1.1\r\nHost: x\r\n\r\n" + post(pidBody))
	go io.WriteString(c, all.String())
	br := bufio.NewReader(c)
	want := map[string]string{"getPID": num("4711"), "getState": "RUNNING", "stopProcess": isTrue, "getIdentification": str("supervisor"), "getVersion": str("3.0")}
	for i := range 50 {
		m := methods[i%len(methods)]
		if r := readResponse(t, br, "POST"); !strings.Contains(r.body, want[m]) {
			t.Fatalf("%d %s: %+v", i, m, r)
		}
	}
	if r := readResponse(t, br, "GET"); r.body != "OK" {
		t.Errorf("%+v", r)
	}
	if r := readResponse(t, br, "POST"); !strings.Contains(r.body, num("4711")) {
		t.Errorf("%+v", r)
	}
}

func TestRequestInPieces(t *testing.T) {
	s := newSite(t, newFake(), Options{})
	c := s.dial()
	br := bufio.NewReader(c)
	text := callBody("supervisor.sendProcessStdin", "one", strings.Repeat("x", 20_000))
	for range 2 {
		for b := []byte(post(text)); len(b) > 0; {
			n := min(len(b), 997)
			if _, err := c.Write(b[:n]); err != nil {
				t.Fatal(err)
			}
			b = b[n:]
		}
		if r := readResponse(t, br, "POST"); result(t, r.body) != isTrue {
			t.Fatalf("%+v", r)
		}
	}
	if asked := s.backend.log(); len(asked) != 2 || len(asked[0]) < 20_000 {
		t.Errorf("%d", len(asked))
	}
}

func TestLargeRequest(t *testing.T) {
	s := newSite(t, newFake(), Options{})
	for _, header := range []string{"", "Origin: http://x\r\n"} {
		r := s.raw(postWith(header, callBody("supervisor.sendProcessStdin", "one", strings.Repeat("x", 4<<20))))
		if r.status != 200 || result(t, r.body) != isTrue {
			t.Errorf("%q: %+v", header, r)
		}
		eventually(t, "the budget is whole again", func() bool { return s.srv.memory.left.Load() == budgetBodies*defaultBody })
	}
}

func TestHalfClosedClientIsAnswered(t *testing.T) {
	s := newSite(t, newFake(), Options{})
	for _, request := range []string{post(pidBody), "GET /ok.html HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01"} {
		c := s.dial()
		io.WriteString(c, request)
		c.(*net.UnixConn).CloseWrite()
		b, err := io.ReadAll(c)
		if err != nil || request != "\x16\x03\x01" && !strings.Contains(string(b), " 200 OK") {
			t.Errorf("%.20q: %q, %v", request, b, err)
		}
	}
}

func TestWaitingCallDelaysNobody(t *testing.T) {
	f := newFake()
	f.block, f.blocked = make(chan struct{}), make(chan struct{}, 9)
	s := newSite(t, f, Options{})
	c := s.dial()
	io.WriteString(c, post(callBody("supervisor.stopProcess", "one"))+post(pidBody))
	<-f.blocked
	if got := s.call("supervisor.getPID"); got != num("4711") {
		t.Errorf("%s", got)
	}
	close(f.block)
	br := bufio.NewReader(c)
	if r := readResponse(t, br, "POST"); result(t, r.body) != isTrue {
		t.Errorf("%+v", r)
	}
	if r := readResponse(t, br, "POST"); result(t, r.body) != num("4711") {
		t.Errorf("%+v", r)
	}
}

func TestActionGoesOnWithoutItsClient(t *testing.T) {
	f := newFake()
	f.block, f.blocked = make(chan struct{}), make(chan struct{}, 9)
	s := newSite(t, f, Options{})
	c := s.dial()
	io.WriteString(c, post(callBody("supervisor.stopProcess", "one")))
	<-f.blocked
	c.Close()
	close(f.block)
	// The connection ends when the answer cannot be sent.
	eventually(t, "the connection ends", func() bool { return len(s.srv.endpoints[0].all()) == 0 })
	if asked := f.log(); len(asked) != 1 {
		t.Errorf("%q", asked)
	}
}

func TestConnectionLimitClosesIdleOnes(t *testing.T) {
	f := newFake()
	f.block, f.blocked = make(chan struct{}), make(chan struct{}, 9)
	s := newSite(t, f, Options{MaxConns: 8})
	waiting := s.dial()
	io.WriteString(waiting, post(callBody("supervisor.stopProcess", "one")))
	<-f.blocked
	var idle []net.Conn
	for range 30 {
		idle = append(idle, s.dial())
	}
	for range 10 {
		if got := s.call("supervisor.getPID"); got != num("4711") {
			t.Fatal(got)
		}
	}
	closed := 0
	for _, c := range idle[:20] {
		if _, err := c.Read(make([]byte, 1)); err == io.EOF {
			closed++
		}
	}
	if closed != 20 {
		t.Errorf("%d of the 20 oldest were closed", closed)
	}
	close(f.block)
	if r := readResponse(t, bufio.NewReader(waiting), "POST"); result(t, r.body) != isTrue {
		t.Errorf("%+v", r)
	}
}

func TestCloseAnswersWhatIsAsked(t *testing.T) {
	f := newFake()
	f.block, f.blocked = make(chan struct{}), make(chan struct{}, 9)
	s := newSite(t, f, Options{})
	c, idle := s.dial(), s.dial()
	io.WriteString(idle, post(pidBody))
	br := bufio.NewReader(idle)
	readResponse(t, br, "POST")
	io.WriteString(c, post(callBody("supervisor.stopProcess", "one")))
	<-f.blocked
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	// Not yet drained: the call is still waiting. Its context has ended,
	// which it is told.
	s.srv.Close(ctx)
	if _, err := br.ReadByte(); err != io.EOF {
		t.Errorf("idle connection: %v", err)
	}
	if err := s.srv.drained(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestPauseAndResume(t *testing.T) {
	s := newSite(t, newFake(), Options{})
	idle := s.dial()
	br := bufio.NewReader(idle)
	io.WriteString(idle, post(pidBody))
	readResponse(t, br, "POST")
	if err := s.srv.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := br.ReadByte(); err != io.EOF {
		t.Errorf("idle connection: %v", err)
	}
	c := s.dial() // waits in the socket
	io.WriteString(c, post(pidBody))
	s.srv.Resume()
	if r := readResponse(t, bufio.NewReader(c), "POST"); r.status != 200 {
		t.Errorf("%+v", r)
	}
}

func TestSocketsAreHandedOn(t *testing.T) {
	s := newSite(t, newFake(), Options{}, plan.Server{Section: "inet_http_server", Host: "127.0.0.1"})
	files, err := s.srv.Files()
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	conf := []plan.Server{s.srv.endpoints[0].conf, s.srv.endpoints[1].conf}
	next, err := Open(conf, Options{Inherited: files, Interfaces: mainInterface})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.srv.Abandon(t.Context(), next); err != nil {
		t.Error(err)
	}
	c := s.dial() // before anybody serves
	next.Serve(newFake(), &testLog{})
	io.WriteString(c, post(pidBody))
	if r := readResponse(t, bufio.NewReader(c), "POST"); r.status != 200 {
		t.Errorf("%+v", r)
	}
	if err := next.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSlowRequestsAreCutOff(t *testing.T) {
	s := newSite(t, newFake(), Options{})
	for _, test := range []struct {
		begin string
		after time.Duration
	}{
		{"POST /RPC2 HTTP/1.1\r\nX", headerTimeout},
		{"POST /RPC2 HTTP/1.1\r\nContent-Length: 9999\r\n\r\n", defaultTimeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			c := newConn(s.srv.endpoints[0], server)
			c.calls.lent = new([readSize]byte)
			c.calls.buf = c.calls.lent[:copy(c.calls.lent[:], test.begin)]
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					if _, err := client.Write([]byte("x")); err != nil {
						return
					}
					time.Sleep(time.Second) // of the bubble's clock
				}
			}()
			begun := time.Now()
			h, v, err := c.readHead()
			if err == nil && v == plain && !c.answerCall(&h) {
				err = os.ErrDeadlineExceeded
			}
			if !isTimeout(err) || time.Since(begun) != test.after {
				t.Errorf("%q: %v after %v", test.begin, err, time.Since(begun))
			}
			server.Close()
			client.Close()
			<-done
		})
	}
}

func FuzzParseHead(f *testing.F) {
	f.Add([]byte(post(pidBody)))
	f.Add([]byte(postWith("Connection: close\r\nAuthorization: Basic eA==\r\n", "x")))
	f.Add([]byte("POST /RPC2 HTTP/1.0\r\ncontent-length:5\r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, v := parseHead(b)
		if v == plain && (h.size > len(b) || h.length < 0 || h.length > 999_999_999) {
			t.Fatalf("%+v", h)
		}
	})
}
