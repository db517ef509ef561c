package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sup/lib/plan"
	"sup/lib/rpc"
)

// fake is a daemon that knows two processes, "one" and "g:m", and notes what
// is asked of it.
type fake struct {
	mu       sync.Mutex
	asked    []string
	state    rpc.State
	mainLog  string
	logs     map[string]string // "group:process channel" to path
	fault    error             // what actions return, if not nil
	block    chan struct{}     // if not nil, StopProcess waits for it
	blocked  chan struct{}     // told when StopProcess waits
	infos    []rpc.ProcessInfo
	panicNow bool
	// infosWait, if not nil, is told of a client who asks for all of them and
	// waits until it goes.
	infosWait chan struct{}
}

var running = rpc.State{Code: 1, Name: "RUNNING"}

func newFake() *fake {
	return &fake{
		state: running, logs: map[string]string{},
		infos: []rpc.ProcessInfo{
			{Name: "m", Group: "g", State: 0, StateName: "STOPPED", Description: "Not started"},
			{Name: "one", Group: "one", State: 20, StateName: "RUNNING", PID: 7, Start: 1, Now: 2, Description: "pid 7, uptime 0:00:01"},
		},
	}
}

func (f *fake) note(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, fmt.Sprintf(format, args...))
	return f.fault
}

// log returns what has been asked since the last call.
func (f *fake) log() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := f.asked
	f.asked = nil
	return asked
}

func (f *fake) setFault(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = err
}

func (f *fake) setState(s rpc.State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = s
}

func (f *fake) Upgrade(context.Context) error { return f.note("Upgrade") }

func (f *fake) Generation(context.Context) (rpc.Generation, error) {
	return rpc.Generation{Generation: 2, PID: 7, Kept: 3}, f.note("Generation")
}

func (f *fake) CompareGroups(_ context.Context, groups string) (added, changed, removed []string, err error) {
	return []string{"new"}, []string{"one"}, nil, f.note("CompareGroups %s", groups)
}

func (f *fake) GroupNames(context.Context) ([]string, error) {
	return []string{"g", "one"}, f.note("GroupNames")
}

func (f *fake) AddProgram(_ context.Context, group, program string, options map[string]string) error {
	return f.note("AddProgram %s %s %v", group, program, options)
}

func (f *fake) RemoveProcess(_ context.Context, group, process string) error {
	return f.note("RemoveProcess %s %s", group, process)
}

func (f *fake) find(group, process string) (rpc.ProcessInfo, error) {
	for _, i := range f.infos {
		if i.Group == group && i.Name == process {
			return i, nil
		}
	}
	return rpc.ProcessInfo{}, rpc.NewFault(rpc.BadName, "")
}

func (f *fake) act(what, group, process string, rest ...any) error {
	if _, err := f.find(group, process); err != nil {
		return err
	}
	return f.note("%s %s %s%s", what, group, process, text(rest))
}

func text(rest []any) string {
	s := ""
	for _, r := range rest {
		s += fmt.Sprintf(" %v", r)
	}
	return s
}

func (f *fake) groupAct(what, group string, rest ...any) ([]rpc.Result, error) {
	if group != "g" && group != "one" {
		return nil, rpc.NewFault(rpc.BadName, "")
	}
	if err := f.note("%s %s%s", what, group, text(rest)); err != nil {
		return nil, err
	}
	return []rpc.Result{
		{Name: "m", Group: group, Status: rpc.Success, Description: "OK"},
		{Name: "n", Group: group, Status: rpc.SpawnError, Description: "SPAWN_ERROR"},
	}, nil
}

func (f *fake) Identification() string { return "supervisor" }
func (f *fake) PID() int               { return 4711 }
func (f *fake) State() rpc.State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}
func (f *fake) Shutdown(context.Context) error { return f.note("Shutdown") }
func (f *fake) Restart(context.Context) error  { return f.note("Restart") }
func (f *fake) ReloadConfig(context.Context) (a, c, r []string, err error) {
	return []string{"new"}, []string{"one"}, nil, f.note("ReloadConfig")
}
func (f *fake) AddGroup(_ context.Context, g string) error    { return f.note("AddGroup %s", g) }
func (f *fake) RemoveGroup(_ context.Context, g string) error { return f.note("RemoveGroup %s", g) }
func (f *fake) StartProcess(_ context.Context, g, p string, wait bool) error {
	return f.act("StartProcess", g, p, wait)
}
func (f *fake) StartGroup(_ context.Context, g string, wait bool) ([]rpc.Result, error) {
	return f.groupAct("StartGroup", g, wait)
}
func (f *fake) StartAll(_ context.Context, wait bool) ([]rpc.Result, error) {
	return f.groupAct("StartAll", "g", wait)
}
func (f *fake) StopProcess(ctx context.Context, g, p string, wait bool) error {
	if f.block != nil {
		f.blocked <- struct{}{}
		select {
		case <-f.block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return f.act("StopProcess", g, p, wait)
}
func (f *fake) StopGroup(_ context.Context, g string, wait bool) ([]rpc.Result, error) {
	return f.groupAct("StopGroup", g, wait)
}
func (f *fake) StopAll(_ context.Context, wait bool) ([]rpc.Result, error) {
	return f.groupAct("StopAll", "g", wait)
}
func (f *fake) SignalProcess(_ context.Context, g, p, s string) error {
	return f.act("SignalProcess", g, p, s)
}
func (f *fake) SignalGroup(_ context.Context, g, s string) ([]rpc.Result, error) {
	return f.groupAct("SignalGroup", g, s)
}
func (f *fake) SignalAll(_ context.Context, s string) ([]rpc.Result, error) {
	return f.groupAct("SignalAll", "g", s)
}
func (f *fake) ProcessInfo(_ context.Context, g, p string) (rpc.ProcessInfo, error) {
	return f.find(g, p)
}
func (f *fake) AllProcessInfo(ctx context.Context) ([]rpc.ProcessInfo, error) {
	if f.infosWait != nil {
		f.infosWait <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if f.panicNow {
		panic("a defect")
	}
	return f.infos, nil
}
func (f *fake) AllLogHealth(context.Context) ([]rpc.LogHealth, error) {
	return []rpc.LogHealth{
		{Group: "one", Name: "one", Channel: "stdout", Failing: true, Dropped: 17},
		{Group: "g", Name: `m"\`, Channel: "stderr"},
	}, nil
}
func (f *fake) AllConfigInfo(context.Context) ([]rpc.ConfigInfo, error) {
	return []rpc.ConfigInfo{{Name: "one", Group: "one", UID: -1}}, nil
}
func (f *fake) LogPath(_ context.Context, g, p, channel string) (string, error) {
	if _, err := f.find(g, p); err != nil {
		return "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.logs[g+":"+p+" "+channel], nil
}
func (f *fake) MainLogPath() string                            { return f.mainLog }
func (f *fake) ClearLogs(_ context.Context, g, p string) error { return f.act("ClearLogs", g, p) }
func (f *fake) ClearMainLog(context.Context) error             { return f.note("ClearMainLog") }
func (f *fake) SendRemoteCommEvent(_ context.Context, k, d string) error {
	return f.note("Event %s %s", k, d)
}
func (f *fake) ClearAllLogs(context.Context) ([]rpc.Result, error) {
	return f.groupAct("ClearAllLogs", "g")
}
func (f *fake) SendStdin(_ context.Context, g, p, chars string) error {
	return f.act("SendStdin", g, p, chars)
}

// testLog collects the lines for the activity log.
type testLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *testLog) Log(level, message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, level+" "+message)
}

func (l *testLog) with(part string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.lines), func(s string) bool { return !strings.Contains(s, part) })
}

// site is a server under test, with one unix socket.
type site struct {
	t       testing.TB
	srv     *Server
	backend *fake
	log     *testLog
	path    string
}

var mainInterface = []plan.RPCInterface{{Name: "supervisor", Factory: "supervisor.rpcinterface:make_main_rpcinterface", Known: true}}

func unixServer(path string) plan.Server {
	return plan.Server{Section: "unix_http_server", Unix: true, Path: path, Chmod: 0o700, UID: -1, GID: -1}
}

// newSite serves conf, to which a unix socket is added, until the test ends.
func newSite(t testing.TB, backend *fake, opts Options, conf ...plan.Server) *site {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	if len(conf) == 0 || !conf[0].Unix {
		conf = append([]plan.Server{unixServer(path)}, conf...)
	} else {
		conf[0].Path = path
	}
	if opts.Interfaces == nil {
		opts.Interfaces = mainInterface
	}
	opts.Version = "4.2.5+test"
	srv, err := Open(conf, opts)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t, srv, backend, &testLog{}, path}
	srv.Serve(backend, s.log)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := srv.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("socket file: %v", err)
		}
	})
	return s
}

func (s *site) dial() net.Conn {
	s.t.Helper()
	c, err := net.Dial("unix", s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(time.Minute)) // for what never comes
	s.t.Cleanup(func() { c.Close() })
	return c
}

// addr is the address of the n-th server.
func (s *site) addr(n int) string { return s.srv.endpoints[n].listener.Addr().String() }

type response struct {
	status int
	header http.Header
	body   string
	close  bool
}

func readResponse(t testing.TB, br *bufio.Reader, method string) response {
	t.Helper()
	r, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("response: %v", err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("body: %v", err)
	}
	return response{r.StatusCode, r.Header, string(body), r.Close}
}

// raw sends bytes on a connection of its own and reads one response.
func (s *site) raw(text string) response {
	s.t.Helper()
	c := s.dial()
	if _, err := io.WriteString(c, text); err != nil {
		s.t.Fatal(err)
	}
	method, _, _ := strings.Cut(text, " ")
	return readResponse(s.t, bufio.NewReader(c), method)
}

// get sends a request with further header lines, which end in \r\n.
func (s *site) get(method, target, header string) response {
	s.t.Helper()
	return s.raw(method + " " + target + " HTTP/1.1\r\nHost: some.host:1234\r\n" + header + "\r\n")
}

func post(body string) string { return postWith("", body) }

func postWith(header, body string) string {
	return fmt.Sprintf("POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\n%sContent-Length: %d\r\n\r\n%s", header, len(body), body)
}

// callBody is a request; params are the contents of value elements.
func callBody(method string, params ...string) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "<?xml version='1.0'?>\n<methodCall>\n<methodName>%s</methodName>\n<params>\n", method)
	for _, p := range params {
		fmt.Fprintf(&b, "<param>\n<value>%s</value>\n</param>\n", p)
	}
	b.WriteString("</params>\n</methodCall>\n")
	return b.String()
}

// call makes a call and returns the result without line ends and the elements
// around it, or "fault CODE TEXT".
func (s *site) call(method string, params ...string) string {
	s.t.Helper()
	r := s.raw(post(callBody(method, params...)))
	if r.status != 200 || r.header.Get("Content-Type") != "text/xml" {
		s.t.Fatalf("%s: %+v", method, r)
	}
	return result(s.t, r.body)
}

func result(t testing.TB, body string) string {
	t.Helper()
	body = strings.ReplaceAll(body, "\n", "")
	const fault = "<?xml version='1.0'?><methodResponse><fault><value><struct><member><name>faultCode</name><value><int>"
	if rest, ok := strings.CutPrefix(body, fault); ok {
		code, rest, _ := strings.Cut(rest, "<")
		_, rest, _ = strings.Cut(rest, "<string>")
		what, _, _ := strings.Cut(rest, "<")
		return "fault " + code + " " + what
	}
	body, ok := strings.CutPrefix(body, "<?xml version='1.0'?><methodResponse><params><param><value>")
	if !ok {
		t.Fatalf("no response: %s", body)
	}
	return strings.TrimSuffix(body, "</value></param></params></methodResponse>")
}

// eventually waits for something that follows without a sign of its own.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("not seen: %s", what)
		}
	}
}
