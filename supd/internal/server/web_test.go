package server

import (
	"fmt"
	"html"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sup/lib/rpc"
)

func TestStatusPage(t *testing.T) {
	f := newFake()
	f.infos = append(f.infos,
		rpc.ProcessInfo{Name: "zz", Group: "zz", State: 200, StateName: "FATAL", Description: "can't find <command>"},
		rpc.ProcessInfo{Name: "a&b c", Group: "odd", State: 10, StateName: "STARTING"})
	s := newSite(t, f, Options{})
	for _, path := range []string{"/", "/index.html", "/index.html?message=Hello+%3Cb%3Ethere", "//"} {
		r := s.get("GET", path, "")
		h := r.header
		if r.status != 200 || h.Get("Content-Type") != "text/html;charset=utf-8" || h.Get("Cache-Control") != "no-cache" ||
			h.Get("Pragma") != "no-cache" || !strings.HasPrefix(h.Get("Expires"), "Thu, 01 Jan 1970") ||
			h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %+v", path, h)
		}
		for _, want := range []string{
			"one", "g:m", "running", "stopped", "Not started", "uptime", "4.2.5", "action=refresh", "action=restartall", "action=stopall",
			"processname=one&amp;action=restart", "processname=one&amp;action=stop", "processname=g%3Am&amp;action=start",
			"processname=one&amp;action=clearlog", "tail.html?processname=one", `"logtail/one"`, `"logtail/one/stderr"`, `"logtail/g%3Am"`,
			"groupname=g&amp;action=stop", "fatal", "can&#39;t find &lt;command&gt;", "logtail/odd%3Aa%26b%20c",
		} {
			if !strings.Contains(r.body, want) {
				t.Errorf("%s: no %s in the page", path, want)
			}
		}
		for _, not := range []string{"processname=one&amp;action=start", "processname=zz&amp;action=stop", "groupname=one", "<b>there", "<command>"} {
			if strings.Contains(r.body, not) {
				t.Errorf("%s: %s in the page", path, not)
			}
		}
		if strings.Contains(path, "message") != strings.Contains(r.body, "Hello &lt;b&gt;there") {
			t.Errorf("%s: message", path)
		}
	}
	if r := s.get("GET", "/?filter=G:", ""); strings.Contains(r.body, "processname=one") || !strings.Contains(r.body, "g:m") {
		t.Error("filter")
	}
	if r := s.get("HEAD", "/index.html?action=stopall", ""); r.status != 200 || r.body != "" || r.header.Get("Content-Length") == "" {
		t.Errorf("HEAD: %+v", r)
	}
	f.setState(rpc.State{Code: -1, Name: "SHUTDOWN"})
	if r := s.get("GET", "/", ""); !strings.Contains(r.body, "SHUTDOWN") {
		t.Error("the state is not told")
	}
	f.infos = nil
	if r := s.get("GET", "/", ""); strings.Contains(r.body, "<table>") || !strings.Contains(r.body, "no programs") {
		t.Error("without programs")
	}
	if asked := f.log(); len(asked) != 0 {
		t.Errorf("asked %q", asked)
	}
}

func TestMetrics(t *testing.T) {
	f := newFake()
	s := newSite(t, f, Options{})
	r := s.get("GET", "/metrics", "")
	if r.status != 200 || r.header.Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("%+v", r)
	}
	for _, want := range []string{
		"# HELP sup_process_up 1 if the process is RUNNING, else 0.\n# TYPE sup_process_up gauge\n",
		`sup_process_up{group="one",name="one"} 1` + "\n",
		`sup_process_up{group="g",name="m"} 0` + "\n",
		`sup_process_state{group="one",name="one"} 20` + "\n",
		"# TYPE sup_log_dropped_bytes_total counter\n",
		`sup_log_failing{group="one",name="one",channel="stdout"} 1` + "\n",
		`sup_log_dropped_bytes_total{group="one",name="one",channel="stdout"} 17` + "\n",
		`sup_log_failing{group="g",name="m\"\\",channel="stderr"} 0` + "\n",
	} {
		if !strings.Contains(r.body, want) {
			t.Errorf("no %q in\n%s", want, r.body)
		}
	}
	if r := s.get("POST", "/metrics", ""); r.status != 400 {
		t.Errorf("POST: %+v", r)
	}
}

func TestActions(t *testing.T) {
	f := newFake()
	s := newSite(t, f, Options{})
	for _, test := range []struct {
		query   string
		fault   error
		message string // without the time
		asked   string
	}{
		{"action=refresh", nil, "Page refreshed at ", ""},
		{"action=stopall", nil, "All stopped at ", "StopAll g true"},
		{"action=restartall", nil, "All restarted at ", "StopAll g true; StartAll g true"},
		{"processname=one&action=start", nil, "Process one started", "StartProcess one one true"},
		{"processname=g%3Am&action=stop", nil, "Process g:m stopped", "StopProcess g m true"},
		{"processname=one&action=restart", nil, "Process one restarted", "StopProcess one one true; StartProcess one one true"},
		{"processname=one&action=restart", rpc.NewFault(rpc.SpawnError, ""), "Process one restarted", "StopProcess one one true; StartProcess one one true"},
		{"processname=one&action=clearlog", nil, "Log for one cleared", "ClearLogs one one"},
		{"processname=one&action=start", rpc.NewFault(rpc.NoFile, "x"), "ERROR: Process one: no such file", "StartProcess one one true"},
		{"processname=one&action=start", rpc.NewFault(rpc.NotExecutable, "x"), "ERROR: Process one: file not executable", "StartProcess one one true"},
		{"processname=one&action=start", rpc.NewFault(rpc.AlreadyStarted, ""), "ERROR: Process one: already started", "StartProcess one one true"},
		{"processname=one&action=start", rpc.NewFault(rpc.SpawnError, ""), "ERROR: Process one: spawn error", "StartProcess one one true"},
		{"processname=one&action=start", rpc.NewFault(rpc.AbnormalTermination, ""), "ERROR: Process one: abnormal termination", "StartProcess one one true"},
		{"processname=one&action=start", rpc.NewFault(rpc.ShutdownState, ""), "ERROR: Process one: unexpected rpc fault [6] SHUTDOWN_STATE", "StartProcess one one true"},
		{"processname=one&action=stop", rpc.NewFault(rpc.NotRunning, ""), "unexpected rpc fault [70] NOT_RUNNING: one", "StopProcess one one true"},
		{"processname=nosuch&action=stop", nil, "No such process named nosuch", ""},
		{"processname=g:*&action=stop", nil, "No such process named g:*", ""},
		{"groupname=g&action=restart", nil, "Group g restarted", "StopGroup g true; StartGroup g true"},
		{"groupname=x&action=stop", nil, "unexpected rpc fault [10] BAD_NAME: x", ""},
	} {
		for _, way := range []string{"GET", "POST query", "POST form"} {
			f.setFault(test.fault)
			var r response
			switch way {
			case "GET":
				r = s.get("GET", "/index.html?"+test.query, "")
			case "POST query":
				r = s.get("POST", "/index.html?"+test.query, "Content-Length: 0\r\n")
			case "POST form":
				r = s.raw(strings.Replace(post(test.query), "/RPC2", "/", 1))
			}
			u, err := url.Parse(r.header.Get("Location"))
			if err != nil || r.status != 301 || u.Scheme != "http" || u.Path != "/" || way != "POST form" && u.Host != "some.host:1234" {
				t.Errorf("%s %s: %+v", way, test.query, r)
			}
			message := u.Query().Get("message")
			if strings.HasSuffix(test.message, " at ") {
				message, _, _ = strings.Cut(message, " at ")
				message += " at "
			}
			if asked := strings.Join(f.log(), "; "); message != test.message || asked != test.asked {
				t.Errorf("%s %s: %q, asked %q", way, test.query, message, asked)
			}
		}
	}
	f.setFault(nil)
	for _, query := range []string{"processname=one&action=explode", "action=explode", "groupname=g&action=explode"} {
		if r := s.get("GET", "/?"+query, ""); r.status != 500 {
			t.Errorf("%s: %d", query, r.status)
		}
	}
	r := s.get("POST", "/index.html?processname=one&action=stop&from=page&filter=o", "Sec-Fetch-Site: same-origin\r\nContent-Length: 0\r\n")
	if r.status != 303 || r.header.Get("Location") != "index.html?message=Process%20one%20stopped&filter=o" {
		t.Errorf("from the page: %+v", r)
	}
	if r := s.get("GET", "/?action=refresh&x=%0d%0aX-Evil:%201", ""); r.status != 301 || r.header.Get("X-Evil") != "" {
		t.Errorf("%+v", r)
	}
	if r := s.raw("GET /?action=refresh HTTP/1.0\r\n\r\n"); !strings.HasPrefix(r.header.Get("Location"), "http://localhost/?message=") {
		t.Errorf("%+v", r)
	}
	if r := s.raw("GET /?action=refresh HTTP/1.0\r\nHost: a.b:80\r\n\r\n"); !strings.HasPrefix(r.header.Get("Location"), "http://a.b/?message=Page%20refreshed%20at%20") {
		t.Errorf("%+v", r)
	}
}

// TestAttackForeignPagesPressButtons has every combination of what browsers and
// scripts say of where a request comes from.
func TestAttackForeignPagesPressButtons(t *testing.T) {
	f := newFake()
	s := newSite(t, f, Options{})
	const browser = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n"
	const (
		acts    = 301
		refused = 403
		asks    = 200
	)
	for _, test := range []struct {
		header  string
		script  int
		browser int
	}{
		{"", acts, asks},
		{"Referer:\r\n", acts, asks},
		{"Sec-Fetch-Site: same-origin\r\nReferer: http://some.host:1234/\r\n", acts, acts},
		{"Sec-Fetch-Site: none\r\n", acts, acts},
		{"Origin: http://some.host:1234\r\n", acts, acts},
		{"Origin: http://SOME.host:1234\r\n", acts, acts},
		{"Referer: http://some.host:1234/index.html?filter=a\r\n", acts, acts},
		{"Origin: https://proxy.example\r\nX-Forwarded-Host: proxy.example\r\n", acts, acts},
		{"Origin: https://proxy.example\r\nX-Forwarded-Host: proxy.example:443\r\n", acts, acts},
		// Behind a proxy that says nothing of itself.
		{"Sec-Fetch-Site: same-origin\r\nOrigin: https://proxy.example\r\n", acts, acts},
		{"Origin: http://some.host:1234\r\nReferer: http://some.host:1234/\r\n", acts, acts},
		{"Sec-Fetch-Site: cross-site\r\n", refused, refused},
		{"Sec-Fetch-Site: same-site\r\n", refused, refused},
		{"Sec-Fetch-Site: else\r\n", refused, refused},
		{"Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site\r\n", refused, refused},
		{"Sec-Fetch-Site: cross-site\r\nOrigin: http://some.host:1234\r\n", refused, refused},
		{"Origin: http://evil.example\r\n", refused, refused},
		{"Origin: http://some.host:4321\r\n", refused, refused},
		{"Origin: http://some.host\r\n", refused, refused},
		{"Origin: http://some.host:1234.evil.example\r\n", refused, refused},
		{"Origin: http://some.host:1234@evil.example\r\n", refused, refused},
		{"Origin: http://proxy.example:80\r\nX-Forwarded-Host: proxy.example:443\r\n", refused, refused},
		{"Origin: null\r\n", refused, refused},
		{"Referer: http://evil.example/x\r\n", refused, refused},
		{"Referer: http://evil.example/?http://some.host:1234/\r\n", refused, refused},
		{"Referer: some.host:1234\r\n", refused, refused},
		{"Referer: http://some.host:1234/\r\nReferer: http://evil.example/\r\n", refused, refused},
		{"Origin: http://some.host:1234\r\nReferer: http://evil.example/x\r\n", refused, refused},
	} {
		for _, method := range []string{"GET", "POST"} {
			for agent, want := range map[string]int{"": test.script, "User-Agent: curl/7.88.1\r\n": test.script, browser: test.browser} {
				header := agent + test.header + "Content-Length: 0\r\n"
				for _, target := range []string{"processname=one&action=stop", "groupname=g&action=start", "action=stopall", "action=restartall"} {
					r := s.get(method, "/index.html?"+target, header)
					if asked := f.log(); r.status != want || (len(asked) > 0) != (want == acts) {
						t.Errorf("%s %s %q: %d, want %d, asked %q", method, target, header, r.status, want, asked)
					}
				}
				// Showing the page is no action.
				want := want
				if want == asks {
					want = acts
				}
				if r := s.get(method, "/?action=refresh", header); r.status != want {
					t.Errorf("%s refresh %q: %d, want %d", method, header, r.status, want)
				}
			}
		}
	}
}

// TestConfirmation has a browser that never says where a request comes from.
func TestConfirmation(t *testing.T) {
	f := newFake()
	s := newSite(t, f, Options{})
	const agent = "User-Agent: Mozilla/5.0\r\n"
	r := s.get("GET", `/?processname=<one>%22&action=stop&filter=o`, agent)
	if r.status != 200 || !strings.Contains(r.body, "<h1>Stop &lt;one&gt;&#34;?</h1>") || !strings.Contains(r.header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
		t.Fatalf("%+v", r)
	}
	r = s.get("GET", "/?processname=one&action=stop&filter=o", agent)
	form := url.Values{}
	for _, field := range regexp.MustCompile(`<input type="hidden" name="(\w+)" value="([^"]*)">`).FindAllStringSubmatch(r.body, -1) {
		form.Set(field[1], field[2])
	}
	press := func(form url.Values, header string) response {
		body := form.Encode()
		return s.raw(fmt.Sprintf("POST /index.html HTTP/1.1\r\nHost: some.host:1234\r\n%sContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s",
			header, len(body), body))
	}
	if r := press(form, agent); r.status != 303 || r.header.Get("Location") != "index.html?message=Process%20one%20stopped&filter=o" {
		t.Errorf("%+v", r)
	}
	if asked := f.log(); !slices.Equal(asked, []string{"StopProcess one one true"}) {
		t.Errorf("asked %q", asked)
	}
	if r := press(form, agent+"Origin: http://evil.example\r\n"); r.status != 403 {
		t.Errorf("from another site: %+v", r)
	}
	if r := s.get("GET", "/?"+form.Encode(), agent); r.status != 200 {
		t.Errorf("as a link: %+v", r)
	}
	for name, value := range map[string]string{"action": "start", "processname": "g:m", "groupname": "g", "token": strings.Repeat("0", 64)} {
		other := maps.Clone(form)
		other.Set(name, value)
		if r := press(other, agent); r.status != 200 {
			t.Errorf("%s=%s with the token of another action: %+v", name, value, r)
		}
	}
	if asked := f.log(); len(asked) > 0 {
		t.Errorf("asked %q", asked)
	}
	c := newConsents()
	hour := time.Now().Unix() / 3600
	if a := (action{"stop", "one", ""}); !c.valid(a, c.token(a)) || !c.valid(a, c.at(a, hour-1)) || c.valid(a, c.at(a, hour-3)) || c.valid(a, c.at(a, hour+2)) {
		t.Error("a token must be good for two hours")
	}
}

// TestAttackFormsCallMethods has what a page can make a browser post to /RPC2
// without asking us whether it may.
func TestAttackFormsCallMethods(t *testing.T) {
	f := newFake()
	s := newSite(t, f, Options{})
	body := callBody("supervisor.stopProcess", "one")
	for _, test := range []struct {
		header string
		want   int
	}{
		{"", 200},
		{"Content-Type: text/plain\r\n", 200},
		{"User-Agent: xmlrpclib.py/1.0\r\nContent-Type: text/xml\r\n", 200},
		{"User-Agent: Mozilla/5.0\r\nContent-Type: text/xml; charset=utf-8\r\n", 200},
		{"User-Agent: Mozilla/5.0\r\nContent-Type: text/plain\r\nSec-Fetch-Site: same-origin\r\n", 200},
		{"User-Agent: Mozilla/5.0\r\nContent-Type: text/xml\r\nOrigin: null\r\n", 403},
		{"User-Agent: Mozilla/5.0\r\nContent-Type: text/plain\r\n", 403},
		{"User-Agent: Mozilla/5.0\r\nContent-Type: Text/Plain;charset=UTF-8\r\n", 403},
		{"User-Agent: Mozilla/5.0\r\nContent-Type: multipart/form-data; boundary=x\r\n", 403},
		{"user-agent:Mozilla/5.0\r\n", 403},
	} {
		r := s.raw(fmt.Sprintf("POST /RPC2 HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n%s", test.header, len(body), body))
		if asked := f.log(); r.status != test.want || (len(asked) > 0) != (test.want == 200) {
			t.Errorf("%q: %d, want %d, asked %q", test.header, r.status, test.want, asked)
		}
	}
}

func TestTailPage(t *testing.T) {
	f := newFake()
	path := filepath.Join(t.TempDir(), "o")
	content := "<script>\x1b[0m\xff" + strings.Repeat("a", 3000) + "the end"
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	f.logs["one:one stdout"] = path
	f.logs["one:one stderr"] = path + ".no"
	s := newSite(t, f, Options{})
	for query, want := range map[string]string{
		"?processname=one":                 content[len(content)-1024:],
		"?processname=one&limit=5":         content[len(content)-1024:],
		"?processname=one&limit=-1":        content[len(content)-1024:],
		"?processname=one&limit=x":         content[len(content)-1024:],
		"?processname=one&limit=2000":      content[len(content)-2000:],
		"?processname=one&limit=99999999":  strings.ReplaceAll(content, "\xff", "\ufffd"),
		"":                                 "No process name found",
		"?processname=":                    "No process name found",
		"?processname=nosuch":              "ERROR: unexpected rpc fault [10] BAD_NAME: nosuch",
		"?processname=../../etc/passwd":    "ERROR: unexpected rpc fault [10] BAD_NAME: ../../etc/passwd",
		"?processname=g:*":                 "ERROR: unexpected rpc fault [10] BAD_NAME: g:*",
		"?processname=one&channel=stderr":  "No file for one",
		"?processname=g:m":                 "No file for g:m",
		"?log=main":                        "No file for the activity log",
		"?processname=one%22%3E%3Cscript+": `ERROR: unexpected rpc fault [10] BAD_NAME: one"><script `,
	} {
		r := s.get("GET", "/tail.html"+query, "")
		_, rest, _ := strings.Cut(r.body, "<pre>")
		got, _, _ := strings.Cut(rest, "</pre>")
		if r.status != 200 || html.UnescapeString(got) != want || strings.Contains(r.body, "<script") {
			t.Errorf("%s: %d %.200q", query, r.status, got)
		}
	}
	f.mainLog = path
	if r := s.get("GET", "/tail.html?log=main", ""); !strings.Contains(r.body, "the end") {
		t.Error(r.body)
	}
	if r := s.get("GET", "/tail.html?processname=one&limit=2048", ""); !strings.Contains(r.body, "tail.html?processname=one&amp;limit=2048") {
		t.Error("no link to refresh")
	}
}
