package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sup/lib/suptest"
	"sup/supd/internal/record"
)

// stateDir lets tests read the record of a daemon.
type stateDir string

func (d stateDir) OpenFile(name string, flags int) (*os.File, error) {
	return os.OpenFile(filepath.Join(string(d), name), flags, 0o600)
}

func (d stateDir) RenameFile(string, string) error { return os.ErrPermission }

// awaitRecord waits for an entry of which line, below, contains all words.
func awaitRecord(d *suptest.Daemon, words ...string) {
	d.Until(fmt.Sprintf("the record has no entry with %q", words), func() error {
		entries, err := record.ReadFrom(stateDir(d.Path("supd.pid.state")), 0)
		if err != nil {
			return err
		}
		var lines []string
		for _, e := range entries {
			line := fmt.Sprintf("%s %s %s>%s %s %s %s note=%s count=%d", e.Kind, e.Name, e.From, e.To, e.Reason, e.Method, e.Result, e.Note, e.Count)
			if e.Who != nil {
				line += fmt.Sprintf(" uid=%d role=%s user=%s addr=%s", e.Who.UID, e.Who.Role, e.Who.User, e.Who.Addr)
			}
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
				return nil
			}
			lines = append(lines, line)
		}
		return fmt.Errorf("it has\n%s", strings.Join(lines, "\n"))
	})
}

// TestRecord looks at what is kept of who did what, over the deaths of daemons.
func TestRecord(t *testing.T) {
	port := suptest.FreePort(t)
	d := suptest.Start(t, suptest.Options{Config: fmt.Sprintf("[program:a]\ncommand=sleep 1000\n"+
		"[program:bad]\ncommand=sh -c 'exit 3'\nstartretries=0\n[inet_http_server]\nport=127.0.0.1:%d\nusername=joe\npassword=secret\n", port)})
	d.Wait("RUNNING", "a")
	awaitRecord(d, "daemon", ">started")
	awaitRecord(d, "state a STARTING>RUNNING")
	awaitRecord(d, "state bad STARTING>BACKOFF exit status 3")

	d.MustCtl("restart", "a")
	me := fmt.Sprint("uid=", os.Getuid(), " role=admin")
	awaitRecord(d, "call a", "supervisor.stopProcess ok", me)
	awaitRecord(d, "call a", "supervisor.startProcess ok", me)

	// A multicall, with a note, and names that would write on a terminal.
	call := func(name, process string) string {
		return fmt.Sprintf("<value><struct><member><name>methodName</name><value><string>%s</string></value></member>"+
			"<member><name>params</name><value><array><data><value><string>%s</string></value></data></array></value></member></struct></value>", name, process)
	}
	body := "<?xml version='1.0'?><methodCall><methodName>system.multicall</methodName><params><param><value><array><data>" +
		call("supervisor.stopProcess", "a") + call("supervisor.getProcessInfo", "a") + call("supervisor.startProcess", "x\u009b31m") +
		"</data></array></value></param></params></methodCall>"
	post := func(url, body string, header ...string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth("joe", "secret")
		for i := 0; i < len(header); i += 2 {
			request.Header.Set(header[i], header[i+1])
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
	}
	post(fmt.Sprintf("http://127.0.0.1:%d/RPC2", port), body, "Content-Type", "text/xml", "X-Sup-Note", "deploy 4711")
	awaitRecord(d, "call a ", "supervisor.stopProcess ok", "note=deploy 4711", "role=admin user=joe addr=127.0.0.1:")
	awaitRecord(d, `call x\u009b31m`, "supervisor.startProcess BAD_NAME", "note=deploy 4711", "user=joe")

	form := url.Values{"action": {"start"}, "processname": {"a"}}
	post(fmt.Sprintf("http://127.0.0.1:%d/index.html", port), form.Encode(), "Content-Type", "application/x-www-form-urlencoded",
		"Origin", fmt.Sprintf("http://127.0.0.1:%d", port))
	awaitRecord(d, "call a", "page start ok", "user=joe")

	d.MustCtl("upgrade")
	awaitRecord(d, "call", "sup.upgrade ok", me)
	awaitRecord(d, "daemon", ">upgraded", "1 programs run on")
	d.Signal(syscall.SIGUSR2)
	awaitRecord(d, "signal SIGUSR2")
	d.Wait("RUNNING", "a")
	d.Crash()
	d.Relaunch()
	awaitRecord(d, "daemon", ">took over", "1 programs run on")
	d.Stop()
	awaitRecord(d, "daemon", ">stopped")

	// Nothing of it is for others.
	info, err := os.Stat(d.Path("supd.pid.state/record"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the record: %v, %v", info.Mode(), err)
	}
	entries, err := record.ReadFrom(stateDir(d.Path("supd.pid.state")), 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range entries {
		if e.ID != int64(i+1) || e.Boot == "" {
			t.Errorf("entry %d is %+v", i, e)
		}
		if e.Method == "supervisor.getProcessInfo" {
			t.Errorf("what changes nothing is on record: %+v", e)
		}
	}
}

// TestAttackRecordFlood has a client try to push the history out of the record.
func TestAttackRecordFlood(t *testing.T) {
	d := suptest.Start(t, suptest.Options{Config: "[program:a]\ncommand=sleep 1000\nstartsecs=0\n"})
	d.Wait("RUNNING", "a")
	const calls = 20000
	for range calls / 1000 {
		names := make([]string, 1000)
		for i := range names {
			names[i] = fmt.Sprintf("<value><struct><member><name>methodName</name><value><string>supervisor.stopProcess</string></value></member>"+
				"<member><name>params</name><value><array><data><value><string>guess-%d-%s</string></value></data></array></value></member></struct></value>", i, strings.Repeat("x", 200))
		}
		body := "<?xml version='1.0'?><methodCall><methodName>system.multicall</methodName><params><param><value><array><data>" +
			strings.Join(names, "") + "</data></array></value></param></params></methodCall>"
		conn, err := net.Dial("unix", d.Path("supd.sock"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /RPC2 HTTP/1.0\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		if answer, err := io.ReadAll(conn); err != nil || !strings.Contains(string(answer), "BAD_NAME") {
			t.Fatalf("%.200s: %v", answer, err)
		}
		conn.Close()
	}
	d.Stop()
	entries, err := record.ReadFrom(stateDir(d.Path("supd.pid.state")), 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if e.Kind == record.Call && e.Method == "supervisor.stopProcess" {
			n += max(e.Count, 1)
		}
		if e.Kind == record.Gap {
			n += e.Count
		}
	}
	if len(entries) > 100 || entries[0].To != "started" || n != calls {
		t.Errorf("%d entries stand for %d calls; the first is %+v", len(entries), n, entries[0])
	}
}
