package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal returns both ends of a pseudo terminal.
func openTerminal(t *testing.T) (master, tty *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("there are no pseudo terminals here: %v", err)
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return master, tty
}

// screen collects what a terminal shows until it has shown text.
func screen(t *testing.T, master *os.File, text string) string {
	t.Helper()
	var shown strings.Builder
	buf := make([]byte, 1000)
	for !strings.Contains(shown.String(), text) {
		n, err := master.Read(buf)
		if err != nil {
			t.Fatalf("the terminal shows %q, not %q: %v", shown.String(), text, err)
		}
		shown.Write(buf[:n])
	}
	return shown.String()
}

// A terminal without escape sequences gets none, and shows what readline would
// show there.
func TestEditorDumbTerminal(t *testing.T) {
	t.Setenv("TERM", "dumb")
	for _, tt := range []struct{ name, typed, want, shows string }{
		{"plain", "pid a\r", "pid a", "> pid a\r\n"},
		{"deleted", "abc\x7f\x7fd\r", "ad", "> abc\b \b\b \bd\r\n"},
		{"history", "x\x1b[A\r", "older", "> x\bolder\r\n"},
		{"shorter history", "newest one\x1b[A\r", "older", "> newest one" + strings.Repeat("\b", 10) + "older     " + strings.Repeat("\b", 5) + "\r\n"},
		{"back and forth", "grü\x1b[D\x1b[D\x1b[C!\r", "gr!ü", "> grü\b\br!ü\bü\r\n"},
		{"longer than the terminal", strings.Repeat("long ", 30) + "\x01x\r", "x" + strings.Repeat("long ", 30), ""},
		{"listed", "st\t\top\x7f\r", "sto", "> st\a\r\nstart   stop    \r\n> stop\b \b\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			master, tty := openTerminal(t)
			e := NewEditor(NewInput(tty), tty, tty, func(_, word string) []string { return []string{"start", "stop"} })
			e.History().Add("older")
			type result struct {
				line string
				err  error
			}
			done := make(chan result)
			go func() {
				line, err := e.ReadLine(context.Background(), "> ", true)
				done <- result{line, err}
			}()
			prompt := screen(t, master, "> ")
			io.WriteString(master, tt.typed)
			end := "\r\n"
			if tt.name == "listed" {
				end = "\b\r\n"
			}
			shown := prompt + screen(t, master, end)
			if got := <-done; got.line != tt.want || got.err != nil {
				t.Errorf("read %q, %v, want %q", got.line, got.err, tt.want)
			}
			if strings.Contains(shown, "\x1b") || tt.shows != "" && shown != tt.shows {
				t.Errorf("shown %q, want %q", shown, tt.shows)
			}
		})
	}
}

func TestEditor(t *testing.T) {
	t.Setenv("TERM", "xterm")
	words := []string{"start", "status", "stop", "grüße"}
	complete := func(_, word string) []string {
		var fit []string
		for _, w := range words {
			if strings.HasPrefix(w, word) {
				fit = append(fit, w)
			}
		}
		return fit
	}
	for _, tt := range []struct {
		name, typed, want string
		shows             string
	}{
		{"plain", "pid a\r", "pid a", "> pid a\r\n"},
		{"several ways", "sta\t\r", "sta", "> sta\a\r\n"},
		{"unambiguous", "stop x\t\r", "stop x", ""},
		{"one way", "sto\t\r", "stop ", "> stop \r\n"},
		{"beyond ASCII", "gr\tx\r", "grüße x", "> grüße x\r\n"},
		{"second word", "x sto\ty\r", "x stop y", "> x stop y\r\n"},
		{"common part", "s\ta\t\r", "sta", "> st"},
		{"listed", "st\t\top\r", "stop", "> st\a\r\nstart    status   stop     \r\n> stop\r\n"},
		{"nothing typed", "\tpid\r", "pid", "> \apid\r\n"},
		{"history", "\x1b[A\r", "older", "older"},
		{"edited", "ab\x1b[D\x1b[DX\r", "Xab", ""},
		{"deleted", "abc\x7f\x7fd\r", "ad", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			master, tty := openTerminal(t)
			e := NewEditor(NewInput(tty), tty, tty, complete)
			e.History().Add("older")
			type result struct {
				line string
				err  error
			}
			done := make(chan result)
			go func() {
				line, err := e.ReadLine(context.Background(), "> ", true)
				fmt.Fprint(tty, "END")
				done <- result{line, err}
			}()
			shown := screen(t, master, "> ")
			if _, err := io.WriteString(master, tt.typed); err != nil {
				t.Fatal(err)
			}
			shown += screen(t, master, "END")
			r := <-done
			if r.err != nil || r.line != tt.want {
				t.Errorf("got %q, %v, want %q", r.line, r.err, tt.want)
			}
			if !strings.Contains(shown, tt.shows) {
				t.Errorf("the terminal shows %q, want %q in it", shown, tt.shows)
			}
			if e.History().At(0) != tt.want {
				t.Errorf("youngest in the history is %q", e.History().At(0))
			}
		})
	}
}

func TestEditorEnds(t *testing.T) {
	for _, key := range []string{"\x03", "\x04"} {
		master, tty := openTerminal(t)
		e := NewEditor(NewInput(tty), tty, tty, nil)
		done := make(chan error)
		go func() {
			_, err := e.ReadLine(context.Background(), "> ", true)
			done <- err
		}()
		screen(t, master, "> ")
		io.WriteString(master, key)
		if err := <-done; err != io.EOF {
			t.Errorf("after %q: %v", key, err)
		}
	}
}

func TestEditorGivenUp(t *testing.T) {
	master, tty := openTerminal(t)
	e := NewEditor(NewInput(tty), tty, tty, nil)
	before, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		_, err := e.ReadLine(ctx, "> ", true)
		done <- err
	}()
	screen(t, master, "> ")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	after, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("the terminal was not set back: %+v, %v, want %+v", after, err, before)
	}
}

func TestEditorPassword(t *testing.T) {
	master, tty := openTerminal(t)
	e := NewEditor(NewInput(tty), tty, tty, nil)
	done := make(chan string)
	go func() {
		password, err := e.ReadPassword(context.Background(), "Password:")
		fmt.Fprint(tty, "END")
		done <- fmt.Sprint(password, err)
	}()
	shown := screen(t, master, "Password:")
	io.WriteString(master, "secret\r")
	shown += screen(t, master, "END")
	if got := <-done; got != "secret<nil>" {
		t.Errorf("got %s", got)
	}
	if strings.Contains(shown, "secret") {
		t.Errorf("the terminal shows %q", shown)
	}
	if e.History().Len() != 0 {
		t.Error("the password is in the history")
	}
}

func TestColumns(t *testing.T) {
	for _, tt := range []struct {
		words string
		width int
		want  string
	}{
		{"a b c d", 80, "a  b  c  d\n"},
		{"a b c d", 4, "a  c\nb  d\n"},
		{"a b c", 1, "a\nb\nc\n"},
		{"abc b abcd", 10, "abc   abcd\nb\n"},
	} {
		if got := Columns(strings.Fields(tt.words), tt.width); got != tt.want {
			t.Errorf("%q in %d: %q, want %q", tt.words, tt.width, got, tt.want)
		}
	}
}
