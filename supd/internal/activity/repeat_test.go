package activity

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What may come at any rate is counted instead of repeated.
func TestAttackRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sink Memory
		l := New(Info)
		l.Start(&sink, nil)
		for i := range 100_000 {
			l.Repeated(Error, fmt.Sprintf("pool p event buffer overflowed, discarding event %d", i))
		}
		l.Repeated(Warn, "another line")
		l.Repeated(Debug, "not wanted")
		synctest.Wait()
		if text := sink.String(); strings.Count(text, "overflowed") != repeatMost || !strings.Contains(text, "discarding event 0\n") ||
			strings.Count(text, "another line\n") != 1 {
			t.Fatalf("at once:\n%s", text)
		}
		// What is due at the same moment comes in any order.
		time.Sleep(repeatTime + time.Second)
		l.Repeated(Error, "pool p event buffer overflowed, discarding event 100000")
		time.Sleep(repeatTime)
		l.Repeated(Warn, "another line")
		time.Sleep(repeatTime)
		synctest.Wait()
		if len(l.repeats) != 0 {
			t.Errorf("%d kinds are remembered", len(l.repeats))
		}
		for i := range 2 * repeatKinds {
			l.Repeated(Warn, "kind "+strings.Repeat("x", i%100)+strings.Repeat("y", i/100))
		}
		for range 2 * repeatMost {
			l.Repeated(Warn, "the end")
		}
		l.Close(time.Minute)
		text := sink.String()
		for _, want := range []string{
			"ERRO pool p event buffer overflowed, discarding event 99999 (99989 lines like this one were left out before it)\n",
			"ERRO pool p event buffer overflowed, discarding event 100000\n", "WARN the end",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is missing", want)
			}
		}
		if n := strings.Count(text, "\n"); n > repeatKinds+100 {
			t.Errorf("%d lines", n)
		}
	})
}

// No name or text of others makes a line of its own, or acts on a terminal.
func TestAttackLines(t *testing.T) {
	var sink Memory
	l := New(Info)
	l.Start(&sink, nil)
	l.Print(Info, "a\n2026-11-22 20:16:43,120 CRIT forged \x1b[31m\r\u009b")
	l.Record(Info, "b\nc")
	l.Close(time.Minute)
	if text := sink.String(); strings.Count(text, "\n") != 2 || strings.ContainsAny(text, "\x1b\r\u009b") ||
		!strings.Contains(text, ` INFO a\n2026-11-22 20:16:43,120 CRIT forged \x1b[31m\r\u009b`) {
		t.Errorf("got %q", text)
	}
}
