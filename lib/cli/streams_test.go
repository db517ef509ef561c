package cli

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
)

func TestUsageError(t *testing.T) {
	var b strings.Builder
	if status := UsageError(&b, "/usr/bin/supctl", errors.New("option -x not recognized")); status != 2 {
		t.Errorf("status %d", status)
	}
	if got := b.String(); got != "Error: option -x not recognized\nFor help, use /usr/bin/supctl -h\n" {
		t.Errorf("got %q", got)
	}
}

func TestIsTerminal(t *testing.T) {
	_, tty := openTerminal(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if !IsTerminal(tty) || IsTerminal(w) || IsTerminal(&strings.Builder{}) {
		t.Error("IsTerminal is wrong")
	}
	for _, tt := range []struct {
		term, noColor string
		want          bool
	}{{"xterm", "", true}, {"xterm", "1", false}, {"dumb", "", false}, {"", "", false}} {
		t.Setenv("TERM", tt.term)
		t.Setenv("NO_COLOR", tt.noColor)
		if got := Colours(tty); got != tt.want {
			t.Errorf("TERM=%s NO_COLOR=%s: %v", tt.term, tt.noColor, got)
		}
		if Colours(w) {
			t.Error("colours on a pipe")
		}
	}
}

func TestUntilReaderGone(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ctx := UntilReaderGone(context.Background(), w)
	if ctx.Err() != nil {
		t.Error("done although somebody reads")
	}
	r.Close()
	<-ctx.Done()
}
