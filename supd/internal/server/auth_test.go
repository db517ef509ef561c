package server

import (
	"bufio"
	"encoding/base64"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"sup/lib/plan"
)

func basic(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }

func TestCredentials(t *testing.T) {
	plainText := newCredentials(plan.Server{HasAuth: true, Username: "joe", Password: "se:cr et"})
	hashed := newCredentials(plan.Server{HasAuth: true, Username: "ann", Password: "{SHA}82ab876d1387bfafe46cc1c8a2ef074eae50cb1d"})
	upper := newCredentials(plan.Server{HasAuth: true, Username: "ann", Password: "{SHA}82AB876D1387BFAFE46CC1C8A2EF074EAE50CB1D"})
	for _, test := range []struct {
		creds  *credentials
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
	} {
		if got := test.creds.allow([]byte(test.header)); got != test.want {
			t.Errorf("%q: %v", test.header, got)
		}
	}
	if newCredentials(plan.Server{HasAuth: true, Password: "x"}) != nil {
		t.Error("an empty user name switches checking off")
	}
	list := Unprotected([]plan.Server{{Section: "a", HasAuth: true, Username: "u"}, {Section: "b"}, {Section: "c", HasAuth: true}})
	if len(list) != 2 || list[0].Section != "b" || list[1].Section != "c" {
		t.Errorf("%v", list)
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
		f.add(l, "inet_http_server")
	}
	f.last = time.Now().Add(-time.Minute)
	f.add(l, "inet_http_server")
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
