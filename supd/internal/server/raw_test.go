package server

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sup/lib/plan"
)

var statusLine = regexp.MustCompile(`HTTP/1\.[01] (\d\d\d)`)

// exchange sends bytes over a connection of its own, says that no more come, and
// returns all that comes back.
func exchange(t testing.TB, network, address, text string) string {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	_, _ = io.WriteString(c, text) // it may be cut off
	c.(interface{ CloseWrite() error }).CloseWrite()
	out, _ := io.ReadAll(c)
	return string(out)
}

func statusesIn(answer string) string {
	var all []string
	for _, m := range statusLine.FindAllStringSubmatch(answer, -1) {
		all = append(all, m[1])
	}
	return strings.Join(all, " ")
}

// TestRawHTTP has what can be sent to a server without a password: what is
// accepted, and how, must not depend on who reads it.
func TestRawHTTP(t *testing.T) {
	f := newFake()
	s := newSite(t, f, Options{}, plan.Server{Section: "inet_http_server", Host: "127.0.0.1"})
	call, stop := callBody("supervisor.getPID"), callBody("supervisor.stopAllProcesses")
	length := fmt.Sprintf("Content-Length: %d\r\n", len(call))
	const head = "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\n"
	good := head + length + "\r\n" + call
	smuggled := head + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(stop)) + stop
	get := func(target string) string { return "GET " + target + " HTTP/1.1\r\nHost: localhost\r\n\r\n" }
	with := func(fields string) string { return head + fields + length + "\r\n" + call }
	host := func(name string) string {
		return "POST /RPC2 HTTP/1.1\r\nHost: " + name + "\r\n" + length + "\r\n" + call
	}
	script := "<script>alert(1)</script>"
	for _, test := range []struct{ name, text, want string }{
		{"plain", good, "200"},
		{"pipelined", good + good + good, "200 200 200"},
		{"two lengths, the same", with(length), "200"},
		{"two lengths", head + "Content-Length: 0\r\n" + length + "\r\n" + smuggled, "400"},
		{"list of lengths", head + fmt.Sprintf("Content-Length: %d, %d\r\n\r\n", len(call), len(call)) + call, "400"},
		{"length with plus", head + fmt.Sprintf("Content-Length: +%d\r\n\r\n", len(call)) + call, "400"},
		{"negative length", head + "Content-Length: -1\r\n\r\n" + call, "400"},
		{"hexadecimal length", head + fmt.Sprintf("Content-Length: 0x%x\r\n\r\n", len(call)) + call, "400"},
		{"length with zeros", head + fmt.Sprintf("Content-Length: 000%d\r\n\r\n", len(call)) + call, "200"},
		{"huge length", head + "Content-Length: 99999999999999999999\r\n\r\n" + call, "400"},
		{"length of a gigabyte", head + "Content-Length: 1073741824\r\n\r\n" + call, "413"},
		{"length and chunks", head + fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 5+len(smuggled)) + smuggled, "411"},
		{"xchunked", with("Transfer-Encoding: xchunked\r\n"), "501"},
		{"space before colon", with("Transfer-Encoding : chunked\r\n"), "400"},
		{"tab before chunked", head + "Transfer-Encoding:\tchunked\r\n" + length + "\r\n0\r\n\r\n" + smuggled, "411"},
		{"folded chunked", head + "Transfer-Encoding:\r\n chunked\r\n" + length + "\r\n0\r\n\r\n" + smuggled, "411"},
		{"chunks", head + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", len(call)) + call + "\r\n0\r\n\r\n", "411"},
		{"CR alone", strings.ReplaceAll(head+length+"\r\n", "\r\n", "\r") + call, "400"},
		{"LF alone", strings.ReplaceAll(head+length+"\r\n", "\r\n", "\n") + call, "200"},
		{"LF in one field", with("X: a\nContent-Length: 0\r\n"), "400"},
		{"NUL in a field", with("X: a\x00b\r\n"), "400"},
		{"space in a name", with("Content Length: 3\r\n"), "400"},
		{"two hosts", with("Host: evil.test\r\n"), "400"},
		{"foreign host", host("evil.test"), "421"},
		{"foreign host, own address", "POST http://localhost/RPC2 HTTP/1.1\r\nHost: evil.test\r\n" + length + "\r\n" + call, "200"},
		{"foreign address", "POST http://evil.test/RPC2 HTTP/1.1\r\nHost: localhost\r\n" + length + "\r\n" + call, "421"},
		{"host with a dot", host("localhost."), "421"},
		{"host that is a domain", host("ai."), "421"},
		{"host with an address in it", host("127.0.0.1.nip.io"), "421"},
		{"empty host", host(""), "200"},
		{"host with a user", host("localhost@evil.test"), "400"},
		{"1.0 without host", "POST /RPC2 HTTP/1.0\r\n" + length + "\r\n" + call, "200"},
		{"0.9", "GET /\r\n\r\n", "400"},
		{"2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"},
		{"origin null", with("Origin: null\r\n"), "403"},
		{"foreign origin", with("Origin: http://evil.test\r\n"), "403"},
		{"cross-site", with("Sec-Fetch-Site: cross-site\r\n"), "403"},
		{"text/plain", with("Content-Type: text/plain\r\n"), "200"},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"},
		{"preflight", "OPTIONS /RPC2 HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.test\r\nAccess-Control-Request-Method: POST\r\n\r\n", "400"},
		{"TRACE", "TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"},
		{"CONNECT", "CONNECT evil:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"},
		{"DELETE", "DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"},
		{"HEAD", "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n", "200"},
		{"HEAD with an action", "HEAD /?action=stopall HTTP/1.1\r\nHost: localhost\r\n\r\n", "200"},
		{"expect", with("Expect: 100-continue\r\n"), "100 200"},
		{"upgrade", "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", "200"},
		{"way up", get("/../../etc/passwd"), "404"},
		{"way up 2", get("/stylesheets/../../web.go"), "404"},
		{"way up 3", get("/stylesheets/%2e%2e/status.html"), "404"},
		{"way up 4", get("/logtail/../../../../etc/passwd"), "404"},
		{"way up 5", get("/logtail/web%2f..%2f..%2fetc%2fpasswd"), "404"},
		{"way up 6", get("/logtail/web/../stderr"), "404"},
		{"large header", "GET /ok.html HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("a", 60000) + "\r\n\r\n", "200"},
		{"larger header", "GET /ok.html HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("a", 1000000) + "\r\n\r\n", "431"},
		{"many fields", "GET /ok.html HTTP/1.1\r\nHost: localhost\r\n" + func() string {
			var b strings.Builder
			for i := range 5000 {
				fmt.Fprintf(&b, "X%d: a\r\n", i)
			}
			return b.String()
		}() + "\r\n", "200"},
		{"long address", get("/" + strings.Repeat("a", 1000000)), "431"},
		{"line in Location", get("/index.html?processname=%0d%0aSet-Cookie:x=1&action=start"), "301"},
		{"script as message", get("/?message=" + script), "200"},
		{"script as name", get("/tail.html?processname=" + script), "200"},
		{"script as filter", get("/?filter=\"'>" + script), "200"},
	} {
		answer := exchange(t, "tcp", s.addr(1), test.text)
		if got := statusesIn(answer); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
		if strings.Contains(answer, script) || strings.Contains(answer, "\nSet-Cookie") || strings.Contains(answer, "root:") {
			t.Errorf("%s: %s", test.name, answer)
		}
		if asked := f.log(); len(asked) > 0 {
			t.Errorf("%s: asked %q", test.name, asked)
		}
	}
}

// TestStrangersGetNothing: without credentials every method and path gets the
// same answer.
func TestStrangersGetNothing(t *testing.T) {
	f := newFake()
	s := newSite(t, f, Options{}, closedServer())
	for _, method := range []string{"GET", "POST", "HEAD", "PUT", "OPTIONS", "FOO"} {
		for _, path := range []string{"/", "/index.html", "/index.html?action=stopall", "/tail.html?processname=one", "/RPC2", "/RPC2/x", "//RPC2", "/logtail/one", "/mainlogtail",
			"/metrics", "/ok.html", "/stylesheets/supervisor.css", "/images/icon.png", "/x", "*", "http://localhost/metrics"} {
			for _, field := range []string{"", "Authorization: Basic eDp5\r\n", "Authorization: Bearer " + strings.TrimPrefix(adminHeader, "Authorization: Basic ")} {
				answer := exchange(t, "unix", s.path, method+" "+path+" HTTP/1.1\r\nHost: localhost\r\n"+field+"Content-Length: 0\r\n\r\n")
				if got := statusesIn(answer); got != "401" {
					t.Errorf("%s %s %q: %s", method, path, field, got)
				}
			}
		}
	}
	if asked := f.log(); len(asked) > 0 {
		t.Errorf("asked %q", asked)
	}
}

// FuzzRawHTTP reads the same bytes with our own reader of calls and with
// net/http: what ours takes, net/http must take for the same call. What ours does
// not take net/http gets, and nothing is lost.
func FuzzRawHTTP(f *testing.F) {
	f.Add([]byte(post(pidBody)))
	f.Add([]byte(postWith("Connection: close\r\nAuthorization: Basic eA==\r\n", "x") + "GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte("POST /RPC2 HTTP/1.0\r\ncontent-length:5\r\nConnection: keep-alive\r\n\r\nabcde"))
	f.Add([]byte("POST /RPC2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"))
	f.Add([]byte("POST /RPC2 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd"))
	f.Add([]byte("POST /RPC2 HTTP/1.1\r\nHost : a\r\nContent-Length:\t 0004 \r\nX:\xff\x80\r\n\r\nabcd"))
	f.Add([]byte("GET /RPC2 HTTP/1.1\nHost: a\n\n"))
	f.Add([]byte("POST /RPC2 HTTP/1.00\nContent-Length:0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, v := parseHead(b)
		if v != plain || h.size+h.length > len(b) {
			return
		}
		// A missing Host is added for net/http, which insists.
		in := bufio.NewReader(bytes.NewReader(withHost(slices.Clone(b))))
		r, err := http.ReadRequest(in)
		if err != nil {
			t.Fatalf("net/http refuses what we take: %v", err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatalf("body: %v", err)
		}
		rest, _ := io.ReadAll(in)
		host := string(h.host)
		switch {
		case r.Method != "POST" || r.URL.Path != "/RPC2" || r.URL.RawQuery != "":
			t.Fatalf("%s %s", r.Method, r.URL)
		case !bytes.Equal(body, b[h.size:h.size+h.length]) || !bytes.Equal(rest, b[h.size+h.length:]):
			t.Fatalf("body %q, rest %q", body, rest)
		case r.Host != host || r.Header.Get("Authorization") != string(h.auth):
			t.Fatalf("host %q, %q; authorization %q, %q", r.Host, host, r.Header.Get("Authorization"), h.auth)
		case r.Close != h.close || (r.ProtoMinor == 0) != h.http10:
			t.Fatalf("close %v, %v; version %s", r.Close, h.close, r.Proto)
		case len(r.TransferEncoding) > 0 || len(r.Trailer) > 0 || r.Header.Get("Content-Length") != "" && len(body) != mustInt(t, r.Header.Get("Content-Length")):
			t.Fatalf("%+v", r)
		case originOf(r) == foreignOrigin || originOf(r) == unprovenOrigin:
			t.Fatalf("from a browser: %+v", r.Header)
		case !bytes.Equal(authorizationOf(b), h.auth):
			t.Fatalf("authorization %q, %q", authorizationOf(b), h.auth)
		}
	})
}

func mustInt(t *testing.T, s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
