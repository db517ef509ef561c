package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sup/lib/client"
	"sup/lib/suptest"
)

// ctlAs runs supctl as a user with groups of its own.
func ctlAs(t *testing.T, d *suptest.Daemon, uid uint32, groups []uint32, args ...string) (string, int) {
	t.Helper()
	c := exec.Command(suptest.Tool(t, "supctl"), append([]string{"-s", "unix://" + d.Path("supd.sock")}, args...)...)
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid, Groups: groups}}
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), c.ProcessState.ExitCode()
}

func TestAttackUsersOfASocket(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may be somebody else")
	}
	os.Chmod(filepath.Dir(suptest.Tool(t, "supctl")), 0o755)
	d := suptest.Start(t, suptest.Options{Config: `[unix_http_server]
chmod=0666
roles=admin: root; operate: @54321(web:*), 54322(db); read: *
[program:web]
command=sleep 1000
startsecs=0
numprocs=2
process_name=w%(process_num)d
[program:db]
command=sleep 1000
startsecs=0
[supervisord]
`})
	os.Chmod(d.Dir, 0o755)
	d.Wait("RUNNING", "web:w0", "web:w1", "db")
	const stranger = 54320
	for _, test := range []struct {
		uid    uint32
		groups []uint32
		line   string
		status int
		output string
	}{
		{stranger, nil, "status db", 0, "RUNNING"},
		{stranger, nil, "pid db", 0, ""},
		{stranger, nil, "tail db", 0, ""},
		{stranger, nil, "stop db", 1, "uid 54320 (role read) may not stopProcess db; it needs operate"},
		{stranger, nil, "restart all", 1, "may not stopAllProcesses; it needs operate"},
		{stranger, nil, "signal KILL db", 1, "may not signalProcess db"},
		{stranger, nil, "clear all", 1, "may not clearAllProcessLogs"},
		{stranger, nil, "shutdown", 1, "uid 54320 (role read) may not shutdown; it needs admin"},
		{stranger, nil, "reload", 1, "may not restart; it needs admin"},
		{stranger, nil, "update", 1, "may not reloadConfig; it needs admin"},
		{stranger, nil, "reread", 1, "may not reloadConfig; it needs admin"},
		{stranger, nil, "add db", 1, "may not addProcessGroup db; it needs admin"},
		{stranger, nil, "remove db", 1, "may not removeProcessGroup db; it needs admin"},
		{stranger, nil, "upgrade", 1, "may not upgrade; it needs admin"},
		{stranger, []uint32{54321}, "restart web:w0", 0, "web:w0: started"},
		{stranger, []uint32{54321}, "restart web:*", 0, "web:w1: started"},
		{stranger, []uint32{54321}, "stop db", 1, "may not stopProcess db; the role is for web:* only"},
		{stranger, []uint32{54321}, "stop all", 1, "that acts on db, and the role is for web:* only"},
		{54321, nil, "restart web:w0", 0, "web:w0: started"},
		{54322, nil, "restart db", 0, "db: started"},
		{54322, nil, "restart web:*", 1, "may not stopProcessGroup web"},
		{0, nil, "restart all", 0, "db: started"},
	} {
		output, status := ctlAs(t, d, test.uid, test.groups, strings.Fields(test.line)...)
		if status != test.status || !strings.Contains(output, test.output) {
			t.Errorf("uid %d %v: supctl %s: status %d, want %d, %q, want %q", test.uid, test.groups, test.line, status, test.status, output, test.output)
		}
	}

	// A new configuration counts for connections that are open, too.
	c, err := net.Dial("unix", d.Path("supd.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answers := bufio.NewReader(c)
	ask := func() (int, error) {
		const body = "<methodCall><methodName>supervisor.clearAllProcessLogs</methodName></methodCall>"
		fmt.Fprintf(c, "POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		r, err := http.ReadResponse(answers, nil)
		if err != nil {
			return 0, err
		}
		defer r.Body.Close()
		text, _ := io.ReadAll(r.Body)
		if bytes.Contains(text, []byte("may not")) {
			return 403, nil
		}
		return r.StatusCode, nil
	}
	if status, err := ask(); status != 200 {
		t.Fatalf("%d %v", status, err)
	}
	text, err := os.ReadFile(d.Path("supervisord.conf"))
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("admin: root;"), []byte("admin: daemon;"), 1)
	if err := os.WriteFile(d.Path("supervisord.conf"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(d.PID(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	// The old servers end, and with them the connection; or it is refused.
	for end := time.Now().Add(suptest.Patience); ; {
		status, err := ask()
		if err != nil || status == 403 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the old roles count for a connection that was open")
		}
	}
	d.Wait("RUNNING", "db")
	if output, status := ctlAs(t, d, 0, nil, "stop", "db"); status != 1 || !strings.Contains(output, "root (role read) may not stopProcess db") {
		t.Errorf("after a reload: %d %q", status, output)
	}
	// The end of the test is an admin's.
	if err := syscall.Kill(d.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{}
	a.cert, a.key = a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

var serial int64

// sign makes a certificate and its key. The first one signs itself.
func (a *authority) sign(t *testing.T, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial++
	template.SerialNumber = big.NewInt(serial)
	if template.NotBefore.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// write writes certificates to a file, and a key behind them unless it is nil.
func writePEM(t *testing.T, path string, key *ecdsa.PrivateKey, certs ...*x509.Certificate) {
	t.Helper()
	var b bytes.Buffer
	for _, c := range certs {
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	if key != nil {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	if err := os.WriteFile(path+".new", b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func serverCert(name string) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
}

func clientCert(name string) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
}

// freePort is one on which nobody listens.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	cert, key := ours.sign(t, serverCert("sup.test"))
	writePEM(t, dir+"/server.pem", key, cert)
	writePEM(t, dir+"/ca.pem", nil, ours.cert)
	for _, name := range []string{"deploy", "boss", "watcher"} {
		cert, key := ours.sign(t, clientCert(name))
		writePEM(t, dir+"/"+name+".pem", key, cert)
	}
	expired := clientCert("boss")
	expired.NotBefore, expired.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	cert, key = ours.sign(t, expired)
	writePEM(t, dir+"/expired.pem", key, cert)
	cert, key = theirs.sign(t, clientCert("boss"))
	writePEM(t, dir+"/foreign.pem", key, cert)
	port, second := freePort(t), freePort(t)
	const hash = "$2y$05$abcdefghijklmnopqrstuuJohtMp2EdYCuLXcN2hacxgW4wPMiP3m" // of thepassword
	if err := os.WriteFile(dir+"/users", []byte("ann:"+hash+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := suptest.Start(t, suptest.Options{Config: fmt.Sprintf(`[inet_http_server]
port=127.0.0.1:%d
certificate=%s/server.pem
username=joe
password=x
[inet_http_server:second]
port=127.0.0.1:%d
certificate=%s/server.pem
client_ca=%s/ca.pem
client_cert=optional
users_file=%s/users
roles=admin: CN=boss; operate: CN=deploy(a), ann; read: *
[program:a]
command=sleep 1000
startsecs=0
[program:b]
command=sleep 1000
startsecs=0
[supervisord]
`, port, dir, second, dir, dir, dir)})
	d.Wait("RUNNING", "a", "b")
	ctl := func(port int, client, line string, more ...string) (string, int) {
		conf := fmt.Sprintf("[supervisorctl]\nserverurl=https://127.0.0.1:%d\nca=%s/ca.pem\n%s\n", port, dir, strings.Join(more, "\n"))
		if client != "" {
			conf += "certificate=" + dir + "/" + client + ".pem\n"
		}
		file := filepath.Join(t.TempDir(), "ctl.conf")
		if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		c := exec.Command(suptest.Tool(t, "supctl"), append([]string{"-c", file}, strings.Fields(line)...)...)
		output, _ := c.CombinedOutput()
		return string(output), c.ProcessState.ExitCode()
	}
	password := []string{"username=joe", "password=x"}
	for _, test := range []struct {
		port   int
		client string
		line   string
		more   []string
		status int
		output string
	}{
		{port, "", "restart a", password, 0, "a: started"},
		{port, "", "status", append(password, "server_name=sup.test"), 0, "RUNNING"},
		{port, "", "status", append(password, "server_name=other.test"), 1, "its certificate is not for other.test"},
		{port, "", "status", append(password, "ca="), 1, "signed by nobody who is trusted"},
		{port, "", "status", append(password, "ca="+dir+"/none.pem"), 1, "cannot read " + dir + "/none.pem"},
		{port, "", "status", nil, 1, "Server requires authentication"},
		{port, "boss", "status", nil, 1, "Server requires authentication"},
		{second, "", "status", nil, 1, "Server requires authentication"},
		{second, "boss", "restart b", nil, 0, "b: started"},
		{second, "deploy", "restart a", nil, 0, "a: started"},
		{second, "deploy", "restart b", nil, 1, "CN=deploy (role operate) may not stopProcess b; the role is for a only"},
		{second, "watcher", "status b", nil, 0, "RUNNING"},
		{second, "watcher", "stop b", nil, 1, "CN=watcher (role read) may not stopProcess b; it needs operate"},
		{second, "", "restart b", []string{"username=ann", "password=thepassword"}, 0, "b: started"},
		{second, "", "shutdown", []string{"username=ann", "password=thepassword"}, 1, "ann (role operate) may not shutdown; it needs admin"},
		{second, "boss", "status", []string{"username=ann", "password=wrong"}, 1, "Server requires authentication"},
		{second, "foreign", "status", nil, 1, "Server requires authentication"},
		{second, "expired", "status", nil, 1, "error"},
	} {
		output, status := ctl(test.port, test.client, test.line, test.more...)
		if status != test.status || !strings.Contains(output, test.output) {
			t.Errorf("%s %s %q: status %d, want %d, %q, want %q", test.client, test.line, test.more, status, test.status, output, test.output)
		}
	}

	// The page, the logs and plain HTTP.
	pool := x509.NewCertPool()
	pool.AddCert(ours.cert)
	browser := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: suptest.Patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	get := func(url string) *http.Response {
		t.Helper()
		r, err := http.NewRequest("GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("joe", "x")
		answer, err := browser.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer
	}
	base := fmt.Sprintf("https://127.0.0.1:%d/", port)
	if r := get(base); r.StatusCode != 200 || r.TLS.Version < tls.VersionTLS12 {
		t.Errorf("%+v", r)
	}
	if r := get(base + "?action=refresh"); r.StatusCode != 301 || !strings.HasPrefix(r.Header.Get("Location"), base+"?message=") {
		t.Errorf("%+v", r)
	}
	if r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port)); err != nil || r.StatusCode != 400 {
		t.Errorf("plain HTTP: %v %v", r, err)
	}
	output, status := exec.Command(suptest.Tool(t, "supctl"), "-s", fmt.Sprintf("http://127.0.0.1:%d", port), "status").CombinedOutput()
	if !strings.Contains(string(output), "use https:// in place of http://") {
		t.Errorf("plain supctl: %s %v", output, status)
	}
	old := &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	if c, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port), old); err == nil {
		c.Close()
		t.Error("TLS 1.1 is spoken")
	}

	// A new certificate is used without a word from anybody, a broken one is not.
	number := func() int64 {
		t.Helper()
		c, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port), &tls.Config{RootCAs: pool})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	cert, key = ours.sign(t, serverCert("sup.test"))
	writePEM(t, dir+"/server.pem", key, cert)
	for end := time.Now().Add(suptest.Patience); number() != serial; {
		if time.Now().After(end) {
			t.Fatal("the new certificate is not used")
		}
	}
	if err := os.WriteFile(dir+"/server.pem", []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(suptest.Patience); ; {
		if number() != serial {
			t.Fatal("another certificate is used")
		}
		text, _ := os.ReadFile(d.Path("supd.log"))
		if bytes.Contains(text, []byte("the certificate stays as it was")) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("nothing is said of a broken certificate")
		}
	}
	writePEM(t, dir+"/server.pem", key, cert)

	// An upgrade in place keeps the port, and breaks off nothing that is done.
	if output, err := exec.Command(suptest.Tool(t, "supctl"), "-c", d.Path("supervisord.conf"), "upgrade").CombinedOutput(); err != nil {
		t.Fatalf("%s %v", output, err)
	}
	if output, status := ctl(port, "", "status a", password...); status != 0 {
		t.Errorf("after an upgrade: %s", output)
	}
}

// What sends no TLS, or half of it, costs the others nothing, and a server that
// ends does not wait for it.
func TestAttackHalfTLS(t *testing.T) {
	dir := t.TempDir()
	ours := newAuthority(t, "ours")
	cert, key := ours.sign(t, serverCert("sup.test"))
	writePEM(t, dir+"/server.pem", key, cert)
	port := freePort(t)
	d := suptest.Start(t, suptest.Options{Config: fmt.Sprintf("[inet_http_server]\nport=127.0.0.1:%d\ncertificate=%s/server.pem\n[supervisord]\n", port, dir)})
	address := fmt.Sprintf("127.0.0.1:%d", port)
	for i := range 50 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		// The beginning of a greeting, a record too long, nothing, and noise.
		io.WriteString(c, []string{"\x16\x03\x01\x02\x00\x01\x00", "\x16\x03\x01\xff\xff" + strings.Repeat("x", 1000), "", "\x00\x00\x00\x00\x00\x00"}[i%4])
	}
	pool := x509.NewCertPool()
	pool.AddCert(ours.cert)
	ctx, cancel := context.WithTimeout(t.Context(), suptest.Patience)
	defer cancel()
	c, err := (&tls.Dialer{Config: &tls.Config{RootCAs: pool}}).DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	began := time.Now()
	d.Stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the daemon has taken %s to end", took)
	}
}

// Calls that wait are answered by the next image, or the one after it, through
// TLS, with the rights that a client's certificate gives.
func TestUpgradeKeepsCallsThroughTLS(t *testing.T) {
	dir := t.TempDir()
	ours := newAuthority(t, "ours")
	cert, key := ours.sign(t, serverCert("sup.test"))
	writePEM(t, dir+"/server.pem", key, cert)
	writePEM(t, dir+"/ca.pem", nil, ours.cert)
	cert, key = ours.sign(t, clientCert("deploy"))
	writePEM(t, dir+"/deploy.pem", key, cert)
	port := freePort(t)
	d := suptest.Start(t, suptest.Options{Config: fmt.Sprintf(`[inet_http_server]
port=127.0.0.1:%d
certificate=%s/server.pem
client_ca=%s/ca.pem
roles=operate: CN=deploy(stubborn)
[program:stubborn]
command=sh -c 'trap "" TERM; echo yes >deaf; while [ ! -e go ]; do sleep 0.02; done'
directory=%%(here)s
startsecs=0
stopwaitsecs=1000
[supervisord]
`, port, dir, dir)})
	d.WaitFile("deaf", "yes")
	c, err := client.New(fmt.Sprintf("https://127.0.0.1:%d", port), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Secure(client.TLS{CA: dir + "/ca.pem", Certificate: dir + "/deploy.pem"})
	if _, err := c.PID(t.Context()); err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	go func() { answer <- c.StopProcess(t.Context(), "stubborn") }()
	d.Wait("STOPPING", "stubborn")
	upgraded(t, d, 1)
	upgraded(t, d, 2)
	d.WriteFile("go", "")
	if err := <-answer; err != nil {
		t.Error(err)
	}
	d.Wait("STOPPED", "stubborn")
	// The connection is another one now.
	if _, err := c.PID(t.Context()); err != nil {
		t.Error(err)
	}
}

// Files that become unusable cost no reload and no comeback; only a first start
// fails, where somebody sees it, and so does an upgrade, which changes nothing then.
func TestBrokenSecrets(t *testing.T) {
	dir := t.TempDir()
	ours := newAuthority(t, "ours")
	cert, key := ours.sign(t, serverCert("sup.test"))
	writePEM(t, dir+"/server.pem", key, cert)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const users = "joe:{SHA}gquHbROHv6/kbMHIou8HTq5Qyx0=\n" // thepassword
	write("users", users)
	port := freePort(t)
	d := suptest.Start(t, suptest.Options{Config: fmt.Sprintf(`[inet_http_server]
port=127.0.0.1:%d
certificate=%s/server.pem
users_file=%s/users
[program:a]
command=sleep 1000
startsecs=0
[supervisord]
`, port, dir, dir)})
	d.Wait("RUNNING", "a")
	pid := d.Info("a").PID
	pool := x509.NewCertPool()
	pool.AddCert(ours.cert)
	ask := func() (int, error) {
		one := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}, Timeout: suptest.Patience}
		r, err := http.NewRequest("GET", fmt.Sprintf("https://127.0.0.1:%d/ok.html", port), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("joe", "thepassword")
		answer, err := one.Do(r)
		if err != nil {
			return 0, err
		}
		answer.Body.Close()
		return answer.StatusCode, nil
	}
	served := func(what string) {
		t.Helper()
		if status, err := ask(); status != 200 {
			t.Errorf("%s: %d %v", what, status, err)
		}
	}
	served("at first")
	broken := func() {
		write("server.pem", "junk")
		write("users", "junk\n")
	}
	mended := func() {
		t.Helper()
		writePEM(t, dir+"/server.pem", key, cert)
		write("users", users)
		d.Until("it is mended", func() error {
			status, err := ask()
			if err == nil && status != 200 {
				err = fmt.Errorf("status %d", status)
			}
			return err
		})
	}
	broken()
	d.Signal(syscall.SIGHUP)
	d.WaitFile("supd.log", "what was read before stays")
	d.Until("the program runs again", func() error {
		if p := d.Info("a").PID; p == pid || p == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	served("after a reload")
	// The next image would be without what this one has read.
	if output, status := d.Ctl("upgrade"); status == 0 || !strings.Contains(output, "server.pem") && !strings.Contains(output, "users") {
		t.Errorf("an upgrade: %d %q", status, output)
	}
	served("after an upgrade that was refused")
	pid = d.Info("a").PID
	d.Crash()
	d.Relaunch()
	if p := d.Info("a").PID; p != pid {
		t.Errorf("the program has pid %d, and had %d", p, pid)
	}
	if status, err := ask(); err == nil {
		t.Errorf("without a certificate: %d", status)
	}
	mended()
}
