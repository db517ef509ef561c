package server

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"sup/lib/rpc"
)

func logSite(t *testing.T, content string) (*site, string) {
	f := newFake()
	path := filepath.Join(t.TempDir(), "o.log")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	f.logs["one:one stdout"] = path
	f.logs["g:m stdout"] = path + "-missing"
	f.logs["g:m stderr"] = fifo(t)
	f.logs["one:one stderr"] = "/dev/null"
	f.mainLog = path
	return newSite(t, f, Options{}), path
}

func fifo(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func tailed(text, size, overflow string) string {
	return "<array><data><value>" + str(text) + "</value><value>" + num(size) + "</value><value>" + flag(overflow) + "</value></data></array>"
}

func TestReadingLogs(t *testing.T) {
	s, path := logSite(t, "0123456789abcdefghij")
	for _, test := range []struct{ offset, length, want string }{
		{"0", "0", str("0123456789abcdefghij")}, {"0", "5", str("01234")}, {"5", "5", str("56789")}, {"15", "100", str("fghij")},
		{"-5", "0", str("fghij")}, {"-100", "0", str("0123456789abcdefghij")}, {"100", "0", str("")}, {"20", "1", str("")},
		{" 1_0 ", "<double>2.9</double>", str("ab")}, {"<boolean>1</boolean>", "1", str("1")},
		{"-5", "5", "fault 3 BAD_ARGUMENTS"}, {"0", "-1", "fault 3 BAD_ARGUMENTS"},
		{"x", "0", "fault 2 INCORRECT_PARAMETERS"}, {"<nil/>", "0", "fault 2 INCORRECT_PARAMETERS"},
		{"99999999999999999999", "0", str("")},
	} {
		for _, method := range []string{"readProcessStdoutLog", "readProcessLog"} {
			if got := s.call("supervisor."+method, "one", test.offset, test.length); got != test.want {
				t.Errorf("%s %s %s: %s", method, test.offset, test.length, got)
			}
		}
		for _, method := range []string{"readLog", "readMainLog"} {
			if got := s.call("supervisor."+method, test.offset, test.length); got != test.want {
				t.Errorf("%s %s %s: %s", method, test.offset, test.length, got)
			}
		}
	}
	for _, test := range []struct{ offset, length, want string }{
		{"0", "100", tailed("0123456789abcdefghij", "20", "0")}, {"0", "5", tailed("fghij", "20", "1")}, {"5", "5", tailed("fghij", "20", "1")},
		{"18", "5", tailed("fghij", "20", "0")}, {"20", "5", tailed("", "20", "0")}, {"100", "5", tailed("", "20", "0")},
		{"0", "0", tailed("", "20", "1")}, {"0", "20", tailed("0123456789abcdefghij", "20", "0")}, {"0", "-3", tailed("", "20", "1")},
		{"0", "1000000000000", tailed("0123456789abcdefghij", "20", "0")}, {"20", "1000000000000", tailed("", "20", "0")},
	} {
		for _, method := range []string{"tailProcessStdoutLog", "tailProcessLog"} {
			if got := s.call("supervisor."+method, "one", test.offset, test.length); got != test.want {
				t.Errorf("%s %s %s: %s", method, test.offset, test.length, got)
			}
		}
	}
	for _, test := range []struct {
		method string
		params []string
		want   string
	}{
		{"readProcessStderrLog", []string{"one", "0", "0"}, str("")},
		{"readProcessStderrLog", []string{"one", "0", "-1"}, "fault 3 BAD_ARGUMENTS"},
		{"readProcessStdoutLog", []string{"g:m", "0", "-1"}, "fault 20 NO_FILE: " + path + "-missing"},
		{"readProcessStderrLog", []string{"g:m", "0", "0"}, "fault 30 FAILED"},
		{"readProcessStdoutLog", []string{"nosuch", "0", "0"}, "fault 10 BAD_NAME: nosuch"},
		{"readProcessStdoutLog", []string{"g:*", "0", "0"}, "fault 10 BAD_NAME: g:*"},
		{"tailProcessStderrLog", []string{"one", "5", "10"}, tailed("", "0", "0")},
		{"tailProcessStdoutLog", []string{"g:m", "5", "10"}, tailed("", "0", "0")},
		{"tailProcessStderrLog", []string{"g:m", "5", "10"}, tailed("", "5", "0")},
		{"tailProcessStderrLog", []string{"g:m", "5", "10000000"}, tailed("", "5", "0")},
		{"tailProcessStderrLog", []string{"one", "5", "10000000"}, tailed("", "0", "0")},
		{"tailProcessStdoutLog", []string{"nosuch", "0", "0"}, "fault 10 BAD_NAME: nosuch"},
	} {
		if got := s.call("supervisor."+test.method, test.params...); got != test.want {
			t.Errorf("%s %v: %s, want %s", test.method, test.params, got, test.want)
		}
	}
	s.backend.logs["one:one stderr"] = ""
	if got := s.call("supervisor.readProcessStderrLog", "one", "0", "0"); got != "fault 20 NO_FILE" {
		t.Errorf("no log: %s", got)
	}
}

func TestLogsOfAnyBytes(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	s, _ := logSite(t, string(all))
	got := s.call("supervisor.readProcessStdoutLog", "one", "0", "0")
	want := strings.ReplaceAll(str(string(rpc.AppendText(nil, string(all)))), "\n", "")
	if got != want || strings.ContainsAny(got, "\x00\x1b") {
		t.Errorf("got %q", got)
	}
}

// A log that is too large for memory is sent from its file; the answer must be
// the same as if it were not.
func TestLargeLogs(t *testing.T) {
	piece := "line with <markup>, \x1b[0m, grüße, \U0001F600 and \xff\xc3\n"
	content := strings.Repeat(piece, 3*smallLog/len(piece)) + "\xf0\x9f"
	s, _ := logSite(t, content)
	want := string(rpc.AppendText(nil, content))
	for _, header := range []string{"", "Origin: http://x\r\n"} {
		r := s.raw(postWith(header, callBody("supervisor.readProcessStdoutLog", "one", "0", "0")))
		if !strings.Contains(r.body, str(want)) {
			t.Errorf("read: %d bytes", len(r.body))
		}
		r = s.raw(postWith(header, callBody("supervisor.tailProcessStdoutLog", "one", "0", fmt.Sprint(len(content)))))
		if !strings.Contains(r.body, str(want)) || !strings.Contains(r.body, num(fmt.Sprint(len(content)))) {
			t.Errorf("tail: %d bytes", len(r.body))
		}
	}
	r := s.raw(post(callBody("system.multicall", "<array><data>"+entry("supervisor.readLog", "0", "0")+entry("supervisor.getPID")+"</data></array>")))
	if !strings.Contains(r.body, str(want)) || !strings.Contains(r.body, num("4711")) {
		t.Errorf("multicall: %d bytes", len(r.body))
	}
}

// Pages with much of a log do not lie in memory while their readers take their
// time, and hold what small ones do.
func TestLargeTailPages(t *testing.T) {
	piece := "line with <markup> & \"quotes\", \x1b[0m, grüße, \U0001F600 and \xff\n"
	const size = 2 << 20
	content := strings.Repeat(piece, size/len(piece))
	s, _ := logSite(t, content)
	path := fmt.Sprintf("/tail.html?processname=one&limit=%d", size)
	r := s.get("GET", path, "")
	_, rest, _ := strings.Cut(r.body, "<pre>")
	text, end, _ := strings.Cut(rest, "</pre>")
	if want := strings.ToValidUTF8(content, "\ufffd"); html.UnescapeString(text) != want || !strings.Contains(end, "</html>") {
		t.Errorf("%d %d bytes, want %d", r.status, len(text), len(want))
	}
	rest, text = "", ""
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	for range 10 {
		// It has the header of the answer, and reads no further.
		_, resp := stream(t, s, path, "1.1")
		if resp.ContentLength < int64(len(content)) {
			t.Fatalf("the page has %d bytes", resp.ContentLength)
		}
	}
	// Until the sockets are full the pages are being made.
	eventually(t, "ten pages that are being sent take little", func() bool { return heap()-before <= size })
}

func TestHugeLogNeedsLittleMemory(t *testing.T) {
	s, path := logSite(t, "")
	if err := os.Truncate(path, 5<<30); err != nil {
		t.Skip("no sparse files here:", err)
	}
	if got := s.call("supervisor.readProcessStdoutLog", "one", fmt.Sprint(5<<30-3), "0"); got != str("\ufffd\ufffd\ufffd") {
		t.Errorf("%q", got)
	}
	if got := s.call("supervisor.tailProcessStdoutLog", "one", "0", "1"); got != tailed("\ufffd", fmt.Sprint(5<<30), "1") {
		t.Errorf("%q", got)
	}
}

func stream(t *testing.T, s *site, path, version string) (*bufio.Reader, *http.Response) {
	t.Helper()
	c := s.dial()
	io.WriteString(c, "GET "+path+" HTTP/"+version+"\r\nHost: x\r\n\r\n")
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return bufio.NewReader(r.Body), r
}

func expect(t *testing.T, r io.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if n, err := io.ReadFull(r, b); err != nil || string(b) != want {
		t.Fatalf("got %q, %v, want %q", b[:n], err, want)
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestFollowingLogs(t *testing.T) {
	long := strings.Repeat("x", 5000) + strings.Repeat("y", tailStart)
	for _, path := range []string{"/logtail/one", "/logtail/one/stdout", "/logtail/one%3Aone", "/mainlogtail", "/mainlogtail/"} {
		for _, version := range []string{"1.1", "1.0"} {
			s, file := logSite(t, long)
			br, r := stream(t, s, path, version)
			h := r.Header
			if r.StatusCode != 200 || h.Get("Content-Type") != "text/plain;charset=utf-8" || h.Get("Last-Modified") == "" || h.Get("Content-Length") != "" ||
				(h.Get("X-Accel-Buffering") == "no") != strings.HasPrefix(path, "/logtail") || (len(r.TransferEncoding) == 1) != (version == "1.1") {
				t.Errorf("%s %s: %+v", path, version, r)
			}
			expect(t, br, long[5000:])
			appendTo(t, file, "more\n")
			expect(t, br, "more\n")
			if path != "/logtail/one" {
				continue
			}
			if err := os.Rename(file, file+".1"); err != nil {
				t.Fatal(err)
			}
			appendTo(t, file, "new file\n")
			expect(t, br, "new file\n")
			if err := os.Truncate(file, 0); err != nil {
				t.Fatal(err)
			}
			expect(t, br, "==> File truncated <==\n")
			appendTo(t, file, "again\n")
			expect(t, br, "again\n")
		}
	}
}

func TestFollowingNothing(t *testing.T) {
	s, _ := logSite(t, "x")
	s.backend.logs["one:one stderr"] = ""
	for path, want := range map[string]int{
		"/logtail/nosuch": 404, "/logtail/g": 404, "/logtail/g:*": 404, "/logtail/g:m": 404, "/logtail/g:m/stderr": 404, "/logtail/one/stderr": 404,
		"/logtail/one/nope": 404, "/logtail/one/": 404, "/logtail/": 404, "/logtail": 404, "/logtail/one/../../x": 404, "/logtailx/one": 404,
		"/logtail/%2fetc%2fpasswd": 404, "/logtail/g%00": 404, "/mainlogtailx": 404,
	} {
		if r := s.get("GET", path, ""); r.status != want {
			t.Errorf("%s: %d", path, r.status)
		}
	}
	for _, method := range []string{"POST", "HEAD", "PUT"} {
		for _, path := range []string{"/logtail/one", "/mainlogtail", "/logtail/nosuch"} {
			if r := s.get(method, path, "Content-Length: 0\r\n"); r.status != 400 {
				t.Errorf("%s %s: %d", method, path, r.status)
			}
		}
	}
}

// Following /dev/null is waiting, until the server closes.
func TestFollowingNull(t *testing.T) {
	s, _ := logSite(t, "x")
	br, _ := stream(t, s, "/logtail/one/stderr", "1.1")
	if err := s.srv.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
	if b, err := br.ReadByte(); err == nil {
		t.Errorf("got %q", b)
	}
}

func TestStreamsEndWithTheirClient(t *testing.T) {
	s, _ := logSite(t, "start\n")
	for range 20 {
		c := s.dial()
		io.WriteString(c, "GET /logtail/one HTTP/1.1\r\nHost: x\r\n\r\n")
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, r.Body, "start\n")
		c.Close()
	}
	eventually(t, "the connections end", func() bool { return len(s.srv.endpoints[0].all()) == 0 })
}

func TestStreamsEndWithTheServer(t *testing.T) {
	s, _ := logSite(t, "start\n")
	br, _ := stream(t, s, "/logtail/one", "1.1")
	expect(t, br, "start\n")
	if err := s.srv.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(br); err != nil {
		t.Error(err)
	}
}

// TestFollowingAClearedLog: that a log was cut short is told unless a client
// had it cleared.
func TestFollowingAClearedLog(t *testing.T) {
	for path, method := range map[string][]string{
		"/logtail/one": {"clearProcessLogs", "one"}, "/logtail/one:one/stdout": {"clearAllProcessLogs"}, "/mainlogtail": {"clearLog"},
	} {
		s, file := logSite(t, "a long first line\n")
		br, _ := stream(t, s, path, "1.1")
		expect(t, br, "a long first line\n")
		s.call("supervisor."+method[0], method[1:]...)
		if err := os.Truncate(file, 0); err != nil {
			t.Fatal(err)
		}
		appendTo(t, file, "after clear\n")
		expect(t, br, "after clear\n")
		if err := os.Truncate(file, 0); err != nil {
			t.Fatal(err)
		}
		expect(t, br, "==> File truncated <==\n")
		// Another log that is cleared says nothing of this one.
		s.call("supervisor.clearProcessLogs", "g:m")
		appendTo(t, file, "more\n")
		expect(t, br, "more\n")
		if err := os.Truncate(file, 0); err != nil {
			t.Fatal(err)
		}
		expect(t, br, "==> File truncated <==\n")
	}
}
