package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sup/lib/cli"
	"sup/lib/client/clienttest"
	"sup/lib/rpc"
	"sup/lib/suptest"
)

func TestMain(m *testing.M) {
	os.Unsetenv("SUPERVISOR_PASSWORD")
	suptest.Main(m)
}

// configFile writes a configuration file with [supervisorctl] and lines in it.
func configFile(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "supervisord.conf")
	text := "[supervisorctl]\n" + strings.Join(lines, "\n") + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// supctl runs a command line against a daemon, with text as standard input.
func supctl(t *testing.T, d *clienttest.Daemon, input string, args ...string) (status int, out string) {
	t.Helper()
	return supctlReading(t, d, strings.NewReader(input), args...)
}

func supctlReading(t *testing.T, d *clienttest.Daemon, input io.Reader, args ...string) (status int, out string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	argv := append([]string{"supctl", "-c", configFile(t, "serverurl="+d.URL)}, args...)
	status = run(argv, cli.Streams{In: input, Out: &stdout, Err: &stderr})
	if stderr.Len() > 0 {
		t.Errorf("%v: standard error has %q", args, stderr.String())
	}
	return status, stdout.String()
}

// check runs a line and compares what comes of it. A line of output that ends
// in "…" stands for any with that beginning; "<help ACTION>" is that action's
// help.
func check(t *testing.T, d *clienttest.Daemon, line string, status int, want string) {
	t.Helper()
	gotStatus, out := supctl(t, d, "", strings.Fields(line)...)
	if gotStatus != status {
		t.Errorf("%s: exit status %d, want %d", line, gotStatus, status)
	}
	compare(t, line, out, want)
}

func compare(t *testing.T, what, got, want string) {
	t.Helper()
	if name, ok := strings.CutSuffix(want, ">\n"); ok {
		if before, name, ok := strings.Cut(name, "<help "); ok {
			want = before + findAction(name).usage() + "\n"
		}
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(want, "\n")
	same := len(gotLines) == len(wantLines)
	for i := 0; same && i < len(wantLines); i++ {
		if beginning, ok := strings.CutSuffix(wantLines[i], "…"); ok {
			same = strings.HasPrefix(gotLines[i], beginning)
		} else {
			same = gotLines[i] == wantLines[i]
		}
	}
	if !same {
		t.Errorf("%s: got\n%s\nwant\n%s", what, got, want)
	}
}

func fault(code int) *rpc.Fault { return rpc.NewFault(code, "extra") }

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

// until waits until text has been written.
func (w *waiting) until(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !strings.Contains(w.text.String(), text) {
		w.cond.Wait()
	}
}

func (w *waiting) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}
