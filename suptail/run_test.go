package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sup/lib/cli"
	"sup/lib/client"
	"sup/lib/client/clienttest"
	"sup/lib/rpc"
)

// waiting is a writer that lets a test wait for what is written to it.
type waiting struct {
	mu   sync.Mutex
	cond *sync.Cond
	text strings.Builder
}

func newWaiting() *waiting {
	w := &waiting{}
	w.cond = sync.NewCond(&w.mu)
	return w
}

func (w *waiting) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	w.cond.Broadcast()
	return len(p), nil
}

// until waits until text has been written, and returns all.
func (w *waiting) until(text string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !strings.Contains(w.text.String(), text) {
		w.cond.Wait()
	}
	return w.text.String()
}

func info(group, name, stdout, stderr string) rpc.ProcessInfo {
	return rpc.ProcessInfo{Group: group, Name: name, State: client.StateRunning, StateName: "RUNNING",
		Logfile: stdout, StdoutLogfile: stdout, StderrLogfile: stderr}
}

func suptail(d *clienttest.Daemon, args ...string) (status int, out, errs string) {
	var stdout, stderr bytes.Buffer
	argv := append([]string{"suptail", "-s", d.URL}, args...)
	status = run(context.Background(), argv, cli.Streams{Out: &stdout, Err: &stderr})
	return status, stdout.String(), stderr.String()
}

func appendFile(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestRun(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	dir := t.TempDir()
	a, b, e := filepath.Join(dir, "a.log"), filepath.Join(dir, "b.log"), filepath.Join(dir, "e.log")
	for i := range 20 {
		appendFile(t, a, fmt.Sprintf("a%d\n", i+1))
	}
	appendFile(t, b, "b1\nb2")
	appendFile(t, e, "err\n")
	d := clienttest.Start(t)
	d.Answer("getAllProcessInfo", []rpc.ProcessInfo{
		info("a", "a", a, e), info("g", "b", b, ""), info("none", "none", "", ""), info("gone", "gone", filepath.Join(dir, "gone"), ""), info("null", "null", "/dev/null", ""),
	})
	d.Answer("tailProcessStdoutLog", []any{"", 0, false})
	d.Answer("readProcessStdoutLog", rpc.NewFault(rpc.NoFile, ""))
	for _, tt := range []struct {
		args        string
		status      int
		out, errors string
	}{
		{"-n 2 a", 0, "a19\na20\n", ""},
		{"a -n2", 0, "a19\na20\n", ""},
		{"-n 0 a", 0, "", ""},
		{"--stderr a", 0, "err\n", ""},
		{"g:b", 0, "b1\nb2", ""},
		{"-n 1 a g:*", 0, "a | a20\ng:b | b2\n", ""},
		{"-n all --grep [13]$ a", 0, "a1\na3\na11\na13\n", ""},
		{"-n 1 --grep 1 a", 0, "a19\n", ""},
		{"-n 1 --json g:b", 0, `{"group":"g","name":"b","stream":"stdout","text":"b2"}` + "\n", ""},
		{"-n 1 a nosuch", 1, "a20\n", "suptail: no such process: nosuch\n"},
		{"nosuch:*", 1, "", "suptail: no such process: nosuch:*\n"},
		{"none", 1, "", "suptail: cannot show the log of none: no log file\n"},
		{"gone", 1, "", "suptail: cannot show the log of gone: no log file\n"},
		{"--stderr g:b", 1, "", "suptail: cannot show the log of g:b: no log file\n"},
		{"-f null", 1, "", "suptail: cannot follow the log of null: not a regular file\n"},
		{"-f none", 1, "", "suptail: cannot follow the log of none: no log file\n"},
		{"", 2, "", "Error: there is no program named; for all of them, say all\nFor help, use suptail -h\n"},
		{"-n x a", 2, "", "Error: invalid value for -n 'x': not a number of lines\nFor help, use suptail -h\n"},
		{"--since soon a", 2, "", "Error: invalid value for --since 'soon': neither a duration such as 10m nor a time such as 2006-01-02 15:04\nFor help, use suptail -h\n"},
		{"--grep ( a", 2, "", "Error: invalid value for --grep '(': error parsing regexp: missing closing ): `(`\nFor help, use suptail -h\n"},
		{"--nosuch a", 2, "", "Error: option --nosuch not recognized\nFor help, use suptail -h\n"},
		{"a --nosuch", 2, "", "Error: option --nosuch not recognized\nFor help, use suptail -h\n"},
		{"-s ftp://x a", 2, "", "Error: unknown protocol in server URL ftp://x; use unix:///path, http://host:port or https://host:port\nFor help, use suptail -h\n"},
		{"-s unix:///nosuch/s a", 4, "", "suptail: unix:///nosuch/s no such file\n"},
		{"--version", 0, cli.FullVersion() + "\n", ""},
	} {
		status, out, errs := suptail(d, strings.Fields(tt.args)...)
		if status != tt.status || out != tt.out || errs != tt.errors {
			t.Errorf("suptail %s: status %d, want %d, output %q, want %q, errors %q, want %q", tt.args, status, tt.status, out, tt.out, errs, tt.errors)
		}
	}
	if status, out, _ := suptail(d, "--help"); status != 0 || !strings.HasPrefix(out, "Usage: suptail ") {
		t.Errorf("--help: %d, %q", status, out)
	}
	d.Auth = "joe:secret"
	if status, _, errs := suptail(d, "a"); status != 4 || errs != "suptail: the daemon wants a user name and a password\n" {
		t.Errorf("without credentials: %d, %q", status, errs)
	}
	t.Setenv("SUPERVISOR_PASSWORD", "secret")
	if status, out, _ := suptail(d, "-u", "joe", "-n", "1", "a"); status != 0 || out != "a20\n" {
		t.Errorf("with credentials: %d, %q", status, out)
	}
}

func TestParseSince(t *testing.T) {
	now := time.Date(2026, 5, 5, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"90s":                  now.Add(-90 * time.Second),
		"1h30m":                now.Add(-90 * time.Minute),
		"2d":                   now.Add(-48 * time.Hour),
		"0.5d":                 now.Add(-12 * time.Hour),
		"2026-05-01":           time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC),
		"2026-05-01 10:30":     time.Date(2026, 5, 1, 10, 30, 0, 0, time.UTC),
		"2026-05-01T10:30:05Z": time.Date(2026, 5, 1, 10, 30, 5, 0, time.UTC),
	} {
		if got, err := parseSince(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "-5m", "-1d", "10"} {
		if got, err := parseSince(text, now); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// following runs a viewer and returns what it prints, a channel that makes it
// ask the daemon again, and a function that ends it and returns the status.
func following(t *testing.T, d *clienttest.Daemon, args ...string) (out *waiting, ticks chan time.Time, end func() int) {
	t.Helper()
	out = newWaiting()
	streams := cli.Streams{Out: out, Err: out}
	o, err := parseArgs(append([]string{"suptail", "-f", "-s", d.URL}, args...), streams, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	daemon, err := o.connect("suptail")
	if err != nil {
		t.Fatal(err)
	}
	ticks = make(chan time.Time)
	v := &viewer{options: *o, daemon: daemon, out: &output{w: out}, ticks: ticks}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int)
	go func() { done <- v.run(ctx, streams) }()
	return out, ticks, func() int {
		cancel()
		defer daemon.Close()
		return <-done
	}
}

func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	appendFile(t, path, "one\ntwo\n")
	d := clienttest.Start(t)
	d.Answer("getAllProcessInfo", []rpc.ProcessInfo{info("a", "a", path, "")})
	out, _, end := following(t, d, "-n", "1", "a")
	out.until("two\n")
	appendFile(t, path, "three\n")
	out.until("three\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	appendFile(t, path, "four\n")
	out.until("four\n")
	d.Close() // the daemon may go
	appendFile(t, path, "half")
	got := out.until("half")
	if status := end(); status != 0 || got != "two\nthree\nfour\nhalf" {
		t.Errorf("status %d, output %q", status, got)
	}
}

// A daemon that restarts gives logs other names, and its groups other members.
func TestFollowMovedLog(t *testing.T) {
	dir := t.TempDir()
	first, second, other := filepath.Join(dir, "1"), filepath.Join(dir, "2"), filepath.Join(dir, "other")
	appendFile(t, first, "before\n")
	appendFile(t, other, "old\nolder\n")
	d := clienttest.Start(t)
	d.Answer("getAllProcessInfo", []rpc.ProcessInfo{info("g", "a", first, "")})
	out, ticks, end := following(t, d, "-n", "1", "g:*")
	out.until("g:a | before\n")
	appendFile(t, second, "first of all\nafter\n")
	d.Answer("getAllProcessInfo", []rpc.ProcessInfo{info("g", "a", second, ""), info("g", "b", other, "")})
	ticks <- time.Now()
	out.until("g:b | older\n")
	out.until("g:a | after\n")
	appendFile(t, second, "more\n")
	got := out.until("g:a | more\n")
	if status := end(); status != 0 || strings.Contains(got, "old\n") || !strings.Contains(got, "g:a | first of all\ng:a | after\n") {
		t.Errorf("status %d, output %q", status, got)
	}
}

func TestFollowFiltered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	appendFile(t, path, "x1\ny\nx2\ny\nx3\n")
	d := clienttest.Start(t)
	d.Answer("getAllProcessInfo", []rpc.ProcessInfo{info("a", "a", path, "")})
	out, _, end := following(t, d, "-n", "2", "--grep", "x", "a")
	out.until("x3\n")
	appendFile(t, path, "y\nx")
	appendFile(t, path, "4\n")
	got := out.until("x4\n")
	if end(); got != "x2\nx3\nx4\n" {
		t.Errorf("output %q", got)
	}
}

// failing is an output whose reader is gone.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestFollowEndsWithReader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	appendFile(t, path, "one\n")
	d := clienttest.Start(t)
	d.Answer("getAllProcessInfo", []rpc.ProcessInfo{info("a", "a", path, "")})
	errs := newWaiting()
	status := run(context.Background(), []string{"suptail", "-s", d.URL, "-f", "a"}, cli.Streams{Out: failing{}, Err: errs})
	if status != 0 || errs.until("") != "" {
		t.Errorf("status %d, errors %q", status, errs.until(""))
	}
}

// remoteFile serves the text of a log as a daemon does.
type remoteFile struct {
	mu   sync.Mutex
	text string
}

func (f *remoteFile) set(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.text = text
}

func (f *remoteFile) serve(d *clienttest.Daemon) {
	d.Handle("tailProcessStdoutLog", func([]string) any {
		f.mu.Lock()
		defer f.mu.Unlock()
		return []any{"", len(f.text), false}
	})
	d.Handle("readProcessStdoutLog", func(args []string) any {
		f.mu.Lock()
		defer f.mu.Unlock()
		offset, _ := strconv.Atoi(args[1])
		length, _ := strconv.Atoi(args[2])
		from := min(offset, len(f.text))
		return f.text[from:min(from+length, len(f.text))]
	})
}

func TestRemote(t *testing.T) {
	d := clienttest.Start(t)
	var text strings.Builder
	for i := range 8000 {
		fmt.Fprintf(&text, "line %d of a log that is longer than a block\n", i+1)
	}
	file := &remoteFile{text: text.String()}
	file.serve(d)
	daemon, err := client.New(d.URL, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer daemon.Close()
	log := remoteLog{daemon: daemon, name: "a", stream: client.Stdout}
	for _, tt := range []struct {
		n    int
		want int
	}{{0, 0}, {1, 1}, {10, 10}, {7000, 7000}, {50000, 8000}, {allLines, 8000}} {
		var b bytes.Buffer
		p := newPrinter(&output{w: &b}, query{lines: tt.n})
		p.raw = true
		if err := log.show(context.Background(), query{lines: tt.n}, p); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(b.String(), "\n"); got != tt.want || !strings.HasSuffix(file.text, b.String()) {
			t.Errorf("last %d lines: got %d", tt.n, got)
		}
	}
}

func TestRemoteFollow(t *testing.T) {
	d := clienttest.Start(t)
	file := &remoteFile{text: "one\ntwo\nthr"}
	file.serve(d)
	daemon, err := client.New(d.URL, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer daemon.Close()
	ticks := make(chan time.Time)
	log := remoteLog{daemon: daemon, name: "a", stream: client.Stdout, ticks: ticks}
	out := newWaiting()
	p := newPrinter(&output{w: out}, query{lines: 2})
	p.raw = true
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- log.follow(ctx, query{lines: 2}, p) }()
	out.until("two\nthr")
	file.set("one\ntwo\nthree\nfour\n")
	ticks <- time.Now()
	out.until("three\nfour\n")
	file.set("new\n") // rotated
	ticks <- time.Now()
	out.until("new\n")
	d.Answer("tailProcessStdoutLog", clienttest.HTTPStatus(503)) // away
	ticks <- time.Now()
	file.serve(d)
	file.set("new\nlast\n")
	ticks <- time.Now()
	got := out.until("last\n")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if got != "two\nthree\nfour\nnew\nlast\n" {
		t.Errorf("output %q", got)
	}
}
