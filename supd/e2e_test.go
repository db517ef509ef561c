package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"sup/lib/suptest"
)

func TestMain(m *testing.M) {
	if what := os.Getenv(asPrinter); what != "" {
		printLines(what, os.Args[1])
	}
	if what := os.Getenv(asLimit); what != "" {
		n, _ := strconv.Atoi(os.Args[1])
		limit(what, n)
	}
	if mode := os.Getenv(asOldKernel); mode != "" {
		becomeOldKernel(mode)
	}
	suptest.Main(m)
}

func TestScripts(t *testing.T) {
	suptest.RunScripts(t, "testdata/script", "supd", "supctl", "supconf", "suptail")
}

// needServers skips a test where Debian's packages are not installed.
func needServers(t *testing.T, packages map[string]string) {
	t.Helper()
	for path, name := range packages {
		if _, err := os.Stat(path); err != nil {
			t.Skipf("%s is not there: install Debian's package %s to run this test", path, name)
		}
	}
}

// nginxConf is a configuration of nginx with one server.
func nginxConf(port int, location string) string {
	user := "" // an ordinary user cannot choose one
	if os.Geteuid() == 0 {
		user = "user root;\n"
	}
	return user + fmt.Sprintf(`worker_processes 1;
pid nginx.pid;
error_log stderr;
events { worker_connections 64; }
http {
	access_log /dev/stdout;
	client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
	server {
		listen 127.0.0.1:%d;
		location / { %s }
	}
}
`, port, location)
}

// get fetches a page; a status other than 200 is an error.
func get(url string) (string, error) {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: suptest.Patience}
	r, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = errors.New(r.Status)
	}
	return string(body), err
}

// ping asks a redis server whether it is there.
func ping(address string) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "PING\r\n"); err != nil {
		return err
	}
	answer, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && answer != "+PONG\r\n" {
		err = fmt.Errorf("redis answered %q", answer)
	}
	return err
}

// allOf is a log with its numbered backups, oldest first.
func allOf(t *testing.T, path string) (text string, backups int) {
	t.Helper()
	number := func(file string) int {
		n, _ := strconv.Atoi(strings.TrimPrefix(file, path+"."))
		return n
	}
	files, err := filepath.Glob(path + ".*")
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(files, func(a, b string) int { return number(b) - number(a) })
	for _, file := range append(files, path) {
		part, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text += string(part)
	}
	return text, len(files)
}

// TestRealServers runs a site of real servers from testdata/real.
func TestRealServers(t *testing.T) {
	needServers(t, map[string]string{"/usr/bin/redis-server": "redis-server", "/usr/sbin/nginx": "nginx-light"})
	redis, web := suptest.FreePort(t), suptest.FreePort(t)
	redisAddress, webURL := fmt.Sprintf("127.0.0.1:%d", redis), fmt.Sprintf("http://127.0.0.1:%d/", web)
	tree := t.TempDir()
	if err := os.CopyFS(tree, os.DirFS("testdata/real")); err != nil {
		t.Fatal(err)
	}
	conf := nginxConf(web, `return 200 "hello\n";`)
	if err := os.WriteFile(filepath.Join(tree, "nginx.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	d := suptest.Start(t, suptest.Options{Tree: tree, Env: []string{fmt.Sprintf("REDIS_PORT=%d", redis)}})
	servers := []string{"site:redis", "site:nginx"}
	workers := []string{"worker:worker_01", "worker:worker_02", "worker:worker_03"}
	d.Wait("RUNNING", slices.Concat(servers, workers)...)

	answers := func() {
		t.Helper()
		d.Until("redis answers", func() error { return ping(redisAddress) })
		d.Until("nginx answers", func() error {
			_, err := get(webURL)
			return err
		})
	}
	answers()
	status := d.MustCtl("status")
	for i, name := range []string{"site:nginx", "site:redis", "worker:worker_01", "worker:worker_02", "worker:worker_03"} {
		line := strings.Split(status, "\n")[i]
		if fields := strings.Fields(line); len(fields) < 2 || fields[0] != name || fields[1] != "RUNNING" {
			t.Errorf("line %d of status is %q", i+1, line)
		}
	}

	// Rotated logs of workers, stdout and stderr in one, are complete.
	for i := 1; i <= 3; i++ {
		path := d.Path(fmt.Sprintf("log/worker_%d.log", i))
		done := fmt.Sprintf("worker %d is done\n", i)
		d.Until(done, func() error {
			if text, _ := allOf(t, path); !strings.HasSuffix(text, done) {
				return errors.New("it is not in the log")
			}
			return nil
		})
		text, backups := allOf(t, path)
		who := fmt.Sprintf("I am worker_%02d of worker, worker %d, worker/worker, at example.org: good day; all of you\n", i, i)
		if !strings.HasPrefix(text, who) {
			t.Errorf("%s begins with %.200q, want %q", path, text, who)
		}
		if n := suptest.Numbered(t, text, "line"); n != 10000 || backups < 1 {
			t.Errorf("%s has %d lines, %d backups", path, n, backups)
		}
	}

	// A server that is killed is back.
	old := d.Info("site:redis").PID
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.Until("redis is another process", func() error {
		info := d.Info("site:redis")
		if info.PID == old || info.StateName != "RUNNING" {
			return fmt.Errorf("it is %d, %s", info.PID, info.StateName)
		}
		return nil
	})
	answers()
	if want := "exited: redis (terminated by SIGKILL; not expected)"; !strings.Contains(d.Log(), want) {
		t.Errorf("not in the activity log: %s", want)
	}

	// The group is restarted, the workers are not.
	pids := func(names []string) (pids []int) {
		for _, name := range names {
			pids = append(pids, d.Info(name).PID)
		}
		return pids
	}
	oldServers, oldWorkers := pids(servers), pids(workers)
	printed := d.MustCtl("restart", "site:*")
	for _, line := range []string{"site:redis: stopped", "site:nginx: stopped", "site:redis: started", "site:nginx: started"} {
		if strings.Count(printed, line+"\n") != 1 {
			t.Errorf("restart printed\n%s\nwithout %q", printed, line)
		}
	}
	for i, pid := range pids(servers) {
		if pid == oldServers[i] {
			t.Errorf("%s is still process %d", servers[i], pid)
		}
	}
	if got := pids(workers); !slices.Equal(got, oldWorkers) {
		t.Errorf("workers were %v, are %v", oldWorkers, got)
	}
	answers()

	// Every request is in the access log, once and in order.
	const requests = 100
	for i := range requests {
		if page, err := get(fmt.Sprintf("%srequest/%d", webURL, i+1)); err != nil || page != "hello\n" {
			t.Fatalf("request %d: %q, %v", i+1, page, err)
		}
	}
	d.WaitFile("log/access.log", fmt.Sprintf("GET /request/%d ", requests))
	seen := 0
	for line := range strings.Lines(d.ReadFile("log/access.log")) {
		if _, rest, ok := strings.Cut(line, "GET /request/"); ok {
			seen++
			if number, _, _ := strings.Cut(rest, " "); number != strconv.Itoa(seen) {
				t.Fatalf("request %d in the log is %q", seen, line)
			}
		}
	}
	if tail := d.MustCtl("tail", "-100", "site:nginx"); !strings.Contains(tail, fmt.Sprintf("GET /request/%d ", requests)) {
		t.Errorf("tail printed %q", tail)
	}
	d.Stop()
	for _, address := range []string{redisAddress, fmt.Sprintf("127.0.0.1:%d", web)} {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			t.Errorf("somebody still answers at %s", address)
		}
	}
}

// TestFastCGI runs two FastCGI processes on one socket behind nginx.
func TestFastCGI(t *testing.T) {
	needServers(t, map[string]string{"/usr/sbin/nginx": "nginx-light"})
	responder := filepath.Join(t.TempDir(), "responder")
	if out, err := exec.Command("go", "build", "-o", responder, "./testdata/responder").CombinedOutput(); err != nil {
		t.Fatalf("cannot build the responder: %v\n%s", err, out)
	}
	port := suptest.FreePort(t)
	for _, test := range []struct {
		name, socket, pass string
	}{
		{"unix", "unix://%(here)s/app.sock\nsocket_mode=0600", "unix:app.sock"},
		{"tcp", fmt.Sprintf("tcp://127.0.0.1:%d", port), fmt.Sprintf("127.0.0.1:%d", port)},
	} {
		t.Run(test.name, func(t *testing.T) { fastCGI(t, responder, test.socket, test.pass) })
	}
}

func fastCGI(t *testing.T, responder, socket, pass string) {
	web := suptest.FreePort(t)
	d := suptest.Start(t, suptest.Options{Config: `
[fcgi-program:app]
command=` + responder + `
socket=` + socket + `
process_name=app%(process_num)d
numprocs=2

[program:nginx]
command=/usr/sbin/nginx -p %(here)s/ -c nginx.conf -g "daemon off;"
autostart=false
`})
	if path, ok := strings.CutPrefix(pass, "unix:"); ok {
		pass = "unix:" + d.Path(path)
	}
	d.WriteFile("nginx.conf", nginxConf(web, `fastcgi_pass `+pass+`;
			fastcgi_param REQUEST_METHOD $request_method; fastcgi_param REQUEST_URI $request_uri;
			fastcgi_param SERVER_PROTOCOL $server_protocol;`))
	d.Wait("RUNNING", "app:app0", "app:app1")
	d.MustCtl("start", "nginx")

	// who asks for a page and tells which process answered.
	who := func() string {
		t.Helper()
		page, err := get(fmt.Sprintf("http://127.0.0.1:%d/some/path", web))
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(page)
		if len(fields) != 3 || fields[2] != "/some/path" {
			t.Fatalf("the page is %q", page)
		}
		if pid := d.Info("app:" + fields[0]).PID; strconv.Itoa(pid) != fields[1] {
			t.Errorf("%s answered as process %s, but is %d", fields[0], fields[1], pid)
		}
		return fields[0]
	}
	d.Until("nginx answers", func() error {
		_, err := get(fmt.Sprintf("http://127.0.0.1:%d/", web))
		return err
	})
	for range 20 {
		who()
	}

	// Each of them answers while the other is stopped.
	for _, test := range [][2]string{{"app0", "app1"}, {"app1", "app0"}} {
		d.MustCtl("stop", "app:"+test[0])
		for range 3 {
			if got := who(); got != test[1] {
				t.Errorf("%s answered while %s was stopped", got, test[0])
			}
		}
		d.MustCtl("start", "app:"+test[0])
	}

	// One is killed: the other answers at once, and it is back.
	d.MustCtl("stop", "app:app1")
	old := d.Info("app:app0").PID
	d.MustCtl("signal", "KILL", "app:app0")
	d.Until("app0 is back", func() error {
		if info := d.Info("app:app0"); info.PID == old || info.StateName != "RUNNING" {
			return fmt.Errorf("it is %d, %s", info.PID, info.StateName)
		}
		return nil
	})
	who()

	// With the last one the socket goes; with the next it is back.
	d.MustCtl("stop", "app:*")
	if _, err := get(fmt.Sprintf("http://127.0.0.1:%d/", web)); err == nil || !strings.HasPrefix(err.Error(), "502") {
		t.Errorf("nobody runs, and yet: %v", err)
	}
	if strings.HasPrefix(socket, "unix:") {
		if _, err := net.Dial("unix", d.Path("app.sock")); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("clients are not refused: %v", err)
		}
	}
	d.MustCtl("start", "app:*")
	who()
	url, _, _ := strings.Cut(strings.ReplaceAll(socket, "%(here)s", d.Dir), "\n")
	for _, line := range []string{"INFO Creating socket " + url, "INFO Closing socket " + url} {
		if !strings.Contains(d.Log(), line+"\n") {
			t.Errorf("not in the activity log: %s", line)
		}
	}
	d.Stop()
}
