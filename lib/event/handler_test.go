package event

import (
	"errors"
	"strings"
	"testing"
)

func TestHandlerByName(t *testing.T) {
	for _, name := range []string{"", DefaultHandlerName, StdoutHandlerName, " " + StdoutHandlerName} {
		if h, err := HandlerByName(name); err != nil || h == nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	_, err := HandlerByName("my.module:handler")
	if err == nil || !strings.Contains(err.Error(), `unknown result_handler "my.module:handler"`) {
		t.Errorf("error %v", err)
	}
}

func TestDefaultHandler(t *testing.T) {
	if _, err := DefaultHandler([]byte("OK")); err != nil {
		t.Error(err)
	}
	for _, result := range []string{"", "FAIL", "ok", "OK\n", "OKAY"} {
		if _, err := DefaultHandler([]byte(result)); !errors.Is(err, ErrRejected) {
			t.Errorf("%q: %v", result, err)
		}
	}
}

func TestStdoutHandler(t *testing.T) {
	const header = "processname:web groupname:g pid:7 channel:stderr\n"
	for in, want := range map[string]string{
		header + "one\ntwo\n":  "web stderr | one\nweb stderr | two\n",
		header + "no newline":  "web stderr | no newline\n",
		header + "a\n\nb\n":    "web stderr | a\nweb stderr | \nweb stderr | b\n",
		header + "\n":          "web stderr | \n",
		header:                 "",
		header + "caf\u00e9\n": "web stderr | caf\u00e9\n",
	} {
		got, err := StdoutHandler([]byte(in))
		if err != nil || string(got) != want {
			t.Errorf("%q gives %q, %v; want %q", in, got, err, want)
		}
	}
	for _, bad := range []string{"", "OK", "when:5", "processname:x pid:1\ntext", "\n\n"} {
		if out, err := StdoutHandler([]byte(bad)); err == nil || errors.Is(err, ErrRejected) || out != nil {
			t.Errorf("%q gives %q, %v", bad, out, err)
		}
	}
}
