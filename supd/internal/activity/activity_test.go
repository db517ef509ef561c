package activity

import (
	"strings"
	"testing"
	"time"
)

// gate is a sink that lets writes through when it is told to.
type gate struct {
	Memory
	open chan struct{}
}

func (g *gate) Write(b []byte) (int, error) {
	<-g.open
	return g.Memory.Write(b)
}

func TestSettle(t *testing.T) {
	var sink Memory
	l := New(Info)
	l.Start(&sink, nil)
	for range 1000 {
		l.Print(Info, "a line")
		l.Settle(time.Minute)
		if !strings.HasSuffix(sink.String(), " INFO a line\n") {
			t.Fatal("the line is not there")
		}
		sink.buf.Reset()
	}
	l.Print(Debug, "nothing")
	l.Settle(time.Minute)
	l.Close(time.Minute)
	l.Settle(time.Minute)
}

// A disk that hangs costs one client the patience, not every one.
func TestSettleWithoutEnd(t *testing.T) {
	sink := &gate{open: make(chan struct{})}
	l := New(Info)
	l.Start(sink, nil)
	l.Print(Info, "one")
	l.Settle(time.Millisecond)
	for begin := time.Now(); ; {
		l.mu.Lock()
		stuck := l.stuck
		l.mu.Unlock()
		if stuck {
			break
		}
		if time.Since(begin) > time.Minute {
			t.Fatal("not noticed")
		}
		l.Settle(time.Millisecond) // the goroutine may not have begun
	}
	l.Settle(time.Hour)
	close(sink.open)
	l.Print(Info, "two")
	l.Close(time.Minute)
	if text := sink.String(); !strings.Contains(text, "one") || !strings.Contains(text, "two") {
		t.Errorf("got %q", text)
	}
}
