package client_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sup/lib/client"
	"sup/lib/client/clienttest"
	"sup/lib/rpc"
)

func dial(t *testing.T, url string) *client.Client {
	t.Helper()
	c, err := client.New(url, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestNew(t *testing.T) {
	for _, tt := range []struct {
		url   string
		ok    bool
		local bool
	}{
		{"unix:///run/s.sock", true, true},
		{"unix://relative", true, true},
		{"http://localhost:9001", true, true},
		{"http://127.0.0.1", true, true},
		{"http://[::1]:9001", true, true},
		{"http://:9001", true, true},
		{"http://example.org:9001/", true, false},
		{"http://localhost:x", false, false},
		{"https://localhost", true, true},
		{"https://example.org", true, false},
		{"HTTPS://localhost", false, false},
		{"HTTP://localhost", false, false},
		{"ftp://x/", false, false},
		{"", false, false},
	} {
		c, err := client.New(tt.url, nil, nil)
		if (err == nil) != tt.ok {
			t.Errorf("New(%q): %v", tt.url, err)
		}
		if err == nil && c.Local() != tt.local {
			t.Errorf("New(%q).Local() = %v", tt.url, c.Local())
		}
	}
}

func TestUnreachable(t *testing.T) {
	dir := t.TempDir()
	ctx := context.Background()
	missing := "unix://" + filepath.Join(dir, "missing")
	_, err := dial(t, missing).PID(ctx)
	if !errors.Is(err, client.ErrNoSocket) || err.Error() != missing+" no such file" {
		t.Errorf("missing socket: %v", err)
	}

	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	_, err = dial(t, "unix://"+stale).PID(ctx)
	if !errors.Is(err, client.ErrRefused) || err.Error() != "unix://"+stale+" refused connection" {
		t.Errorf("stale socket: %v", err)
	}

	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + tcp.Addr().String()
	tcp.Close()
	if _, err = dial(t, url).PID(ctx); !errors.Is(err, client.ErrRefused) {
		t.Errorf("nobody listens: %v", err)
	}

	_, err = dial(t, "unix://"+filepath.Join(dir, strings.Repeat("x", 200))).PID(ctx)
	if err == nil || errors.Is(err, client.ErrNoSocket) || errors.Is(err, client.ErrRefused) {
		t.Errorf("path too long: %v", err)
	}
}

func TestCalls(t *testing.T) {
	d := clienttest.Start(t)
	c := dial(t, d.URL)
	ctx := context.Background()
	info := rpc.ProcessInfo{Name: "a", Group: "g", State: client.StateRunning, StateName: "RUNNING", Description: "x <y> & z", PID: 7}
	d.Answer("getProcessInfo", info)
	d.Answer("getAllProcessInfo", []rpc.ProcessInfo{info, info})
	d.Answer("reloadConfig", []any{[]any{[]string{"new"}, []string{}, []string{"old", "older"}}})
	d.Answer("readProcessStdoutLog", "text\n")
	d.Answer("tailProcessStderrLog", []any{"", int64(1 << 40), false})
	d.Answer("stopProcessGroup", []rpc.Result{{Name: "a", Group: "g", Status: rpc.Success, Description: "OK"}})
	d.Answer("getAllConfigInfo", []any{map[string]any{
		"name": "a", "group": "g", "inuse": true, "autostart": 1, "group_prio": 1, "process_prio": -2,
		"uid": "none", "exitcodes": []int{0}, "autorestart": "unexpected",
	}})

	check := func(what string, got, want any, err error) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s = %v, %v, want %v", what, got, err, want)
		}
	}
	one, err := c.ProcessInfo(ctx, "g:a")
	check("ProcessInfo", one, info, err)
	all, err := c.AllProcessInfo(ctx)
	check("AllProcessInfo", all, []rpc.ProcessInfo{info, info}, err)
	changes, err := c.ReloadConfig(ctx)
	check("ReloadConfig", changes, client.Changes{Added: []string{"new"}, Removed: []string{"old", "older"}}, err)
	text, err := c.ReadProcessLog(ctx, "g:a", client.Stdout, -5, 0)
	check("ReadProcessLog", text, "text\n", err)
	size, err := c.LogSize(ctx, "g:a", client.Stderr)
	check("LogSize", size, int64(1<<40), err)
	results, err := c.StopProcessGroup(ctx, "g")
	check("StopProcessGroup", results, []rpc.Result{{Name: "a", Group: "g", Status: rpc.Success, Description: "OK"}}, err)
	available, err := c.AllConfigInfo(ctx)
	check("AllConfigInfo", available, []client.Available{{
		Name: "a", Group: "g", InUse: true, AutoStart: true, GroupPriority: 1, ProcessPriority: -2,
	}}, err)
	check("StartProcess", nil, nil, c.StartProcess(ctx, "a<b>"))

	want := "getProcessInfo(g:a) getAllProcessInfo() reloadConfig() readProcessStdoutLog(g:a, -5, 0) " +
		"tailProcessStderrLog(g:a, 0, 0) stopProcessGroup(g) getAllConfigInfo() startProcess(a<b>)"
	if got := strings.Join(d.Calls(), " "); got != want {
		t.Errorf("calls\n %s\nwant\n %s", got, want)
	}
	if n := d.Connections(); n != 1 {
		t.Errorf("%d connections were made, want 1", n)
	}
}

func TestFaultsAndStatuses(t *testing.T) {
	d := clienttest.Start(t)
	c := dial(t, d.URL)
	ctx := context.Background()
	d.Answer("startProcess", rpc.NewFault(rpc.BadName, "x"))
	var fault *rpc.Fault
	if err := c.StartProcess(ctx, "x"); !errors.As(err, &fault) || fault.Code != rpc.BadName || fault.String != "BAD_NAME: x" {
		t.Errorf("fault: %v", err)
	}
	d.Answer("startProcess", clienttest.HTTPStatus(500))
	if err := c.StartProcess(ctx, "x"); !client.IsStatus(err, 500) {
		t.Errorf("status 500: %v", err)
	}
	d.Answer("reloadConfig", []any{})
	if _, err := c.ReloadConfig(ctx); err == nil {
		t.Error("an answer of the wrong shape is accepted")
	}
}

func TestAuthentication(t *testing.T) {
	d := clienttest.Start(t)
	d.Auth = "joe:a b:c"
	user, right, wrong := "joe", "a b:c", "x"
	for _, tt := range []struct {
		user, password *string
		ok             bool
	}{{&user, &right, true}, {&user, &wrong, false}, {&user, nil, false}, {nil, &right, false}} {
		c, err := client.New(d.URL, tt.user, tt.password)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.APIVersion(context.Background())
		if tt.ok && err != nil || !tt.ok && !client.IsStatus(err, http.StatusUnauthorized) {
			t.Errorf("user %v, password %v: %v", tt.user, tt.password, err)
		}
		c.Close()
	}
}

// A server may close a connection that is idle; the next call must not suffer.
func TestIdleConnectionClosed(t *testing.T) {
	d := clienttest.Start(t)
	c := dial(t, d.URL)
	for range 3 {
		if _, err := c.APIVersion(context.Background()); err != nil {
			t.Fatal(err)
		}
		d.CloseConnections()
	}
	if n := d.Connections(); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
}

// A server that says nothing at all must not be asked for ever.
func TestNoAnswer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			bufio.NewReader(conn).ReadString('\n')
			conn.Close()
		}
	}()
	if _, err := dial(t, "unix://"+path).PID(context.Background()); err == nil {
		t.Error("no error")
	}
}

func TestCancel(t *testing.T) {
	d := clienttest.Start(t)
	c := dial(t, d.URL)
	called, release := make(chan struct{}), make(chan struct{})
	d.Handle("startProcess", func([]string) any { close(called); <-release; return true })
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-called; cancel() }()
	if err := c.StartProcess(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	close(release)
	if _, err := c.APIVersion(context.Background()); err != nil {
		t.Errorf("after a cancelled call: %v", err)
	}
}

func TestFollow(t *testing.T) {
	d := clienttest.Start(t)
	c := dial(t, d.URL)
	more := make(chan string)
	d.Log = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/logtail/a%b/stdout" {
			http.NotFound(w, r)
			return
		}
		for text := range more {
			io.WriteString(w, text)
			w.(http.Flusher).Flush()
		}
	})
	if _, err := c.Follow(context.Background(), "/logtail/x/stdout"); !client.IsStatus(err, 404) {
		t.Errorf("unknown name: %v", err)
	}
	go func() { more <- "one\n" }()
	log, err := c.Follow(context.Background(), "/logtail/a%25b/stdout")
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(log)
	for _, want := range []string{"one\n", "two\n"} {
		line, err := in.ReadString('\n')
		if err != nil || line != want {
			t.Fatalf("%q, %v, want %q", line, err, want)
		}
		if want == "one\n" {
			more <- "two\n"
		}
	}
	close(more)
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	log.Close()
}

func TestFollowEndsWithContext(t *testing.T) {
	d := clienttest.Start(t)
	d.Log = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(context.Background())
	log, err := dial(t, d.URL).Follow(ctx, "/mainlogtail")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cancel()
	if _, err := io.Copy(io.Discard, log); err == nil {
		t.Error("reading ended without an error")
	}
}

func TestMain(m *testing.M) {
	os.Unsetenv("TMPDIR") // sockets need short paths
	os.Exit(m.Run())
}
