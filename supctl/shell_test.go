package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"sup/lib/cli"
	"sup/lib/client/clienttest"
	"sup/lib/rpc"
)

// oneAndOff is a daemon with two programs.
func oneAndOff(t *testing.T) *clienttest.Daemon {
	d := clienttest.Start(t)
	d.Answer("getAllProcessInfo", []rpc.ProcessInfo{stops, runs})
	return d
}

const (
	oneLine = "one                              RUNNING   pid 7, uptime 0:00:03\n"
	offLine = "off                              STOPPED   Not started\n"
)

func TestShell(t *testing.T) {
	for _, tt := range []struct{ name, input, want string }{
		{"end of input", "", "supervisor> \n"},
		{"quit", "quit now\nstatus\n", "supervisor> \n"},
		{"actions", "  status one \n\n   \nnosuch x\nstatus off", "supervisor> " + oneLine + "supervisor> supervisor> supervisor> " +
			"*** Unknown syntax: nosuch x\nsupervisor> " + offLine + "supervisor> \n"},
		{"help", "? nosuch\n", "supervisor> *** No help on nosuch\nsupervisor> \n"},
		{"shutdown", "shutdown\nno\nshutdown\n\nshutdown\nYes\nreload\ny\n", "supervisor> Really shut the remote supervisord process down y/N? " +
			"supervisor> Really shut the remote supervisord process down y/N? " +
			"supervisor> Really shut the remote supervisord process down y/N? Shut down\n" +
			"supervisor> Really restart the remote supervisord process y/N? Restarted supervisord\nsupervisor> \n"},
		{"no answer", "reload\n", "supervisor> Really restart the remote supervisord process y/N? error: EOF\nsupervisor> \n"},
		{"another daemon", "open unix:///nosuch/s\npid\n", "supervisor> unix:///nosuch/s no such file\n" +
			"supervisor> unix:///nosuch/s no such file\nsupervisor> \n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, out := supctl(t, oneAndOff(t), tt.input)
			if status != 0 {
				t.Errorf("exit status %d", status)
			}
			compare(t, tt.name, out, offLine+oneLine+tt.want)
		})
	}
}

func TestShellAfterAction(t *testing.T) {
	status, out := supctl(t, oneAndOff(t), "", "-i", "status", "off")
	if status != 0 {
		t.Errorf("exit status %d", status)
	}
	compare(t, "-i status off", out, offLine+offLine+oneLine+"supervisor> \n")
}

func TestPrompt(t *testing.T) {
	d := oneAndOff(t)
	var out bytes.Buffer
	conf := configFile(t, "serverurl="+d.URL, "prompt=here", "username=joe", "password=from file")
	status := run([]string{"supctl", "-c", conf}, cli.Streams{In: strings.NewReader(""), Out: &out, Err: io.Discard})
	if status != 0 || !strings.HasSuffix(out.String(), "here> \n") {
		t.Errorf("status %d, output %q", status, out.String())
	}
}

func TestLogin(t *testing.T) {
	d := oneAndOff(t)
	d.Auth = "joe:secret"
	s := newSession(&settings{serverURL: d.URL, interactive: true}, cli.Streams{Out: io.Discard, Err: io.Discard})
	answers := []string{"joe", "wrong", "joe", "secret"}
	s.ask = func(_ context.Context, prompt string, hidden bool) (string, error) {
		if want := len(answers)%2 == 1; hidden != want {
			t.Errorf("%s: hidden is %v", prompt, hidden)
		}
		if len(answers) == 0 {
			return "", io.EOF
		}
		answer := answers[0]
		answers = answers[1:]
		return answer, nil
	}
	var out bytes.Buffer
	s.out = &lockedWriter{w: &out}
	s.perform(context.Background(), "status one")
	const asked = "Server requires authentication\n\n"
	compare(t, "login", out.String(), asked+asked+oneLine)

	out.Reset()
	s.perform(context.Background(), "status one")
	compare(t, "kept", out.String(), oneLine)

	out.Reset()
	d.Auth = "joe:other"
	s.perform(context.Background(), "status one")
	compare(t, "end of input", out.String(), "Server requires authentication\nerror: EOF\n")
}

func TestCompletion(t *testing.T) {
	d := clienttest.Start(t)
	d.Answer("getAllProcessInfo", []rpc.ProcessInfo{inA, inB, stops, runs})
	s := newSession(&settings{serverURL: d.URL}, cli.Streams{})
	defer s.disconnect()
	for _, tt := range []struct{ before, want string }{
		{"st", "start status stop"},
		{"  st", "start status stop"},
		{"help re", "reload remove reread restart"},
		{"x ", ""},
		{"version ", ""},
		{"update ", "g off one"},
		{"add o", "off one"},
		{"start ", "g:a g:* g:b off one"},
		{"stop g:", "g:a g:* g:b"},
		{"tail o", "off one"},
		{"tail -f one: o", "off one"},
		{"pid off:", "off:off off:*"},
		{"signal HUP g:b", "g:b"},
		{"status zzz", ""},
	} {
		word := tt.before[strings.LastIndex(tt.before, " ")+1:]
		got := s.candidates(tt.before, word)
		if !reflect.DeepEqual(got, strings.Fields(tt.want)) && len(got)+len(tt.want) > 0 {
			t.Errorf("%q: got %q, want %q", tt.before, got, tt.want)
		}
	}
	if n := len(s.candidates("", "")); n != len(actions) {
		t.Errorf("%d candidates on an empty line", n)
	}
	if calls := d.Calls(); len(calls) != 1 {
		t.Errorf("the daemon was asked %d times", len(calls))
	}
	s.perform(context.Background(), "")
	d.Close()
	s.infos = nil
	if got := s.candidates("start ", ""); got != nil {
		t.Errorf("without a daemon: %q", got)
	}
}

// logs serves /logtail with a text, and then keeps the connection.
func logs(texts map[string]string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := texts[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, text)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
}

func TestTailFollow(t *testing.T) {
	d := clienttest.Start(t)
	d.Log = logs(map[string]string{"/logtail/g:a/stderr": "text \x1b[1m\xff\n", "/mainlogtail": "main\n"})
	for _, tt := range []struct{ line, text string }{
		{"tail -f g:a stderr", "text \x1b[1m\xff\n"},
		{"maintail -f", "main\n"},
	} {
		out := newWaiting()
		s := newSession(&settings{serverURL: d.URL}, cli.Streams{Out: out, Err: io.Discard})
		done := make(chan struct{})
		go func() {
			s.perform(context.Background(), tt.line)
			close(done)
		}()
		out.until(tt.text)
		s.interrupts.interrupt()
		<-done
		if s.status != 0 {
			t.Errorf("%s: status %d", tt.line, s.status)
		}
		compare(t, tt.line, out.String(), "==> Press Ctrl-C to exit <==\n"+tt.text+"\n")
		s.disconnect()
	}
}

func TestTailFollowRefused(t *testing.T) {
	d := clienttest.Start(t)
	var out, errout bytes.Buffer
	status := run([]string{"supctl", "-c", configFile(t), "-s", d.URL, "tail", "-f", "a:*"}, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errout})
	if status != 1 {
		t.Errorf("status %d", status)
	}
	compare(t, "output", out.String(), "==> Press Ctrl-C to exit <==\n")
	compare(t, "errors", errout.String(), d.URL+"/logtail/a:*/stdout Cannot read, status code 404\n")
}

// The daemon goes away while its log is followed.
func TestTailFollowEnds(t *testing.T) {
	d := clienttest.Start(t)
	d.Log = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "last\n") })
	check(t, d, "tail -f a", 0, "==> Press Ctrl-C to exit <==\nlast\n")
}

func TestForeground(t *testing.T) {
	const banner = "==> Press Ctrl-C to exit <==\n"
	d := clienttest.Start(t)
	d.Log = logs(map[string]string{"/logtail/one/stdout": ""})
	info := runs
	d.Handle("getProcessInfo", func([]string) any { return info })

	status, out := supctl(t, d, "hello\nthere", "fg", "one")
	if status != 0 {
		t.Errorf("status %d", status)
	}
	compare(t, "end of input", out, banner+"Exiting foreground\n")
	sent := strings.Join(d.Calls(), "|")
	if !strings.Contains(sent, "sendProcessStdin(one, hello\n)") || !strings.Contains(sent, "sendProcessStdin(one, there\n)") {
		t.Errorf("calls: %s", sent)
	}

	d.Handle("sendProcessStdin", func([]string) any { info = stops; return true })
	_, out = supctl(t, d, "x\ny\n", "fg", "one")
	compare(t, "process ended", out, banner+"Process got killed\nExiting foreground\n")

	check(t, d, "fg one", 1, "ERROR: process not running\n")
	info = runs
	d.Answer("sendProcessStdin", fault(rpc.NotRunning))
	_, out = supctl(t, d, "x\n", "fg", "one")
	compare(t, "not running", out, banner+"Process got killed\nExiting foreground\n")
	d.Answer("sendProcessStdin", fault(rpc.NoFile))
	_, out = supctl(t, d, "x\n", "fg", "one")
	compare(t, "no stdin", out, banner+"ERROR: NO_FILE: extra\nExiting foreground\n")
}

// An interrupt ends fg, not the shell, and what is typed next goes to the
// shell.
func TestForegroundInterrupted(t *testing.T) {
	d := oneAndOff(t)
	d.Answer("getProcessInfo", runs)
	d.Log = logs(map[string]string{"/logtail/one/stdout": "log\n", "/logtail/one/stderr": ""})
	in, typing := io.Pipe()
	out := newWaiting()
	s := newSession(&settings{serverURL: d.URL, prompt: "p", interactive: true}, cli.Streams{In: in, Out: out, Err: io.Discard})
	done := make(chan struct{})
	go func() {
		s.shell()
		close(done)
	}()
	io.WriteString(typing, "fg one\n")
	out.until("log\n")
	s.interrupts.interrupt()
	out.until("Exiting foreground\np> ")
	io.WriteString(typing, "status off\n")
	out.until(offLine + "p> ")
	s.interrupts.interrupt()
	<-done
	compare(t, "shell", out.String(), offLine+oneLine+"p> ==> Press Ctrl-C to exit <==\nlog\nExiting foreground\np> "+offLine+"p> \n")
	typing.Close()
}
