package event

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// converse feeds a listener's output piece by piece and tells what came of it.
// A piece "!" stands for the delivery of an event.
func converse(p *Protocol, pieces ...string) string {
	var said []string
	for _, piece := range pieces {
		if piece == "!" {
			p.Deliver()
			continue
		}
		for _, o := range p.Feed([]byte(piece)) {
			switch o.Kind {
			case GotReady:
				said = append(said, "ready")
			case GotResult:
				said = append(said, fmt.Sprintf("result %q", o.Body))
			case GotJunk:
				said = append(said, fmt.Sprintf("junk %q", o.Body))
			case GotBadResult:
				said = append(said, fmt.Sprintf("bad %q", o.Body))
			}
		}
	}
	return strings.Join(append(said, p.State().String()), ", ")
}

func TestProtocol(t *testing.T) {
	for _, test := range []struct {
		name, pieces, want string // pieces are separated by |
	}{
		{"start", "", "ACKNOWLEDGED"},
		{"ready", "READY\n", "ready, READY"},
		{"ready in pieces", "R|EA|DY|\n", "ready, READY"},
		{"five bytes decide nothing", "hello", "ACKNOWLEDGED"},
		{"six bytes decide", "hello!", `junk "hello!", UNKNOWN`},
		{"pieces of junk", "hel|lo, w", `junk "hello, w", UNKNOWN`},
		{"unknown takes all", "hello!|READY\n|x", `junk "hello!", UNKNOWN`},
		{"carriage return", "READY\r\n", `junk "READY\r\n", UNKNOWN`},
		{"output while ready", "READY\n|x", `ready, junk "x", UNKNOWN`},
		{"ready twice", "READY\nREADY\n", `ready, junk "READY\n", UNKNOWN`},
		{"ok", "READY\n|!|RESULT 2\nOK", `ready, result "OK", ACKNOWLEDGED`},
		{"ok and ready", "READY\n|!|RESULT 2\nOKREADY\n", `ready, result "OK", ready, READY`},
		{"result in pieces", "READY\n|!|RES|ULT |2|\n|O|K|READ|Y\n", `ready, result "OK", ready, READY`},
		{"newline after the body", "READY\n|!|RESULT 2\nOK\nREADY\n", `ready, result "OK", junk "\nREADY\n", UNKNOWN`},
		{"late newline", "READY\n|!|RESULT 2\nOK|\n|READY|\n", `ready, result "OK", junk "\nREADY", UNKNOWN`},
		{"fail", "READY\n|!|RESULT 4\nFAIL", `ready, result "FAIL", ACKNOWLEDGED`},
		{"empty body", "READY\n|!|RESULT 0\n", `ready, result "", ACKNOWLEDGED`},
		{"empty body and ready", "READY\n|!|RESULT 0\nREADY\n", `ready, result "", ready, READY`},
		{"blanks around the number", "READY\n|!|RESULT  2 \r\nOK", `ready, result "OK", ACKNOWLEDGED`},
		{"sign", "READY\n|!|RESULT +2\nOK", `ready, result "OK", ACKNOWLEDGED`},
		{"prefix is not checked", "READY\n|!|ANYHOW_2\nOK", `ready, result "OK", ACKNOWLEDGED`},
		{"no number", "READY\n|!|RESULT two\nOK", `ready, bad "RESULT two", UNKNOWN`},
		{"no number in pieces", "READY\n|!|RESULT |two|\nOK", `ready, bad "RESULT two", UNKNOWN`},
		{"negative", "READY\n|!|RESULT -1\nOK", `ready, bad "RESULT -1", UNKNOWN`},
		{"short line", "READY\n|!|RES\n", `ready, bad "RES", UNKNOWN`},
		{"empty line", "READY\n|!|\n", `ready, bad "", UNKNOWN`},
		{"ready when busy", "READY\n|!|READY\n", `ready, bad "READY", UNKNOWN`},
		{"huge", "READY\n|!|RESULT 99999999999\nxxx", `ready, bad "RESULT 99999999999", UNKNOWN`},
		{"beyond numbers", "READY\n|!|RESULT 99999999999999999999999\n", `ready, bad "RESULT 99999999999999999999999", UNKNOWN`},
		{"just too long", fmt.Sprintf("READY\n|!|RESULT %d\n", MaxResult+1), fmt.Sprintf(`ready, bad "RESULT %d", UNKNOWN`, MaxResult+1)},
		{"longest", fmt.Sprintf("READY\n|!|RESULT %d\nabc", MaxResult), `ready, BUSY`},
		{"result after junk", "READY\n|!|RESULT 2\nOKREADY\n|!|RESULT 3\nxyzw", `ready, result "OK", ready, result "xyz", ACKNOWLEDGED`},
	} {
		var p Protocol
		if got := converse(&p, strings.Split(test.pieces, "|")...); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.name, got, test.want)
		}
	}
}

func TestProtocolEndlessLine(t *testing.T) {
	var p Protocol
	converse(&p, "READY\n", "!")
	got := ""
	for range 100 {
		got += converse(&p, strings.Repeat("x", 100)) + ";"
		if len(p.buf) > maxResultLine {
			t.Fatalf("%d bytes are kept", len(p.buf))
		}
	}
	if want := fmt.Sprintf(`bad "%s", UNKNOWN`, strings.Repeat("x", 1100)); !strings.Contains(got, want) {
		t.Errorf("got %s", got)
	}
}

// A body that comes byte by byte must not cost a copy for each of them.
func TestProtocolBodyByteByByte(t *testing.T) {
	var p Protocol
	converse(&p, "READY\n", "!", fmt.Sprintf("RESULT %d\n", MaxResult))
	for i := range MaxResult {
		outcomes := p.Feed([]byte{byte(i)})
		if (len(outcomes) == 1) != (i == MaxResult-1) {
			t.Fatalf("byte %d: %d outcomes", i, len(outcomes))
		}
		if len(outcomes) == 1 && len(outcomes[0].Body) != MaxResult {
			t.Fatalf("body of %d bytes", len(outcomes[0].Body))
		}
	}
}

func TestProtocolRecall(t *testing.T) {
	var p Protocol
	if got := converse(&p, "READY\n", "!", "RES"); got != "ready, BUSY" {
		t.Fatal(got)
	}
	p.Recall()
	if got := converse(&p, "!", "RESULT 2\nOK"); got != `result "OK", ACKNOWLEDGED` {
		t.Error(got)
	}
	p.Recall()
	if p.State() != Acknowledged {
		t.Error("Recall without a delivery changed the state")
	}
	defer func() {
		if recover() == nil {
			t.Error("a delivery to a listener that is not ready did not panic")
		}
	}()
	p.Deliver()
}

func TestListenerStateNames(t *testing.T) {
	for state, want := range map[ListenerState]string{Acknowledged: "ACKNOWLEDGED", Ready: "READY", Busy: "BUSY", Lost: "UNKNOWN", 9: "ListenerState(9)"} {
		if got := state.String(); got != want {
			t.Errorf("%d is %s", state, got)
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "''",
		"RESULT two":             "'RESULT two'",
		"it's\n\r\t\x1b[1m\\":    `'it\'s\n\r\t\x1b[1m\\'`,
		"\xff\u2028ü":            `'\xff\u2028ü'`,
		strings.Repeat("a", 201): "'" + strings.Repeat("a", 200) + "'… (201 bytes)",
	} {
		if got := quote([]byte(in)); got != want {
			t.Errorf("%q gives %s, want %s", in, got, want)
		}
	}
}

// Whatever a listener writes and however it is cut: no panic, bounded memory,
// and the same outcomes as if it had come at once. Where the text has a '!', an
// event is delivered if the listener is ready.
func FuzzProtocol(f *testing.F) {
	f.Add("READY\n!RESULT 2\nOKREADY\n!RESULT 4\nFAILREADY\n", uint8(3))
	f.Add("READY\n!RESULT two\nOK", uint8(1))
	f.Add("hello, not the token\n", uint8(5))
	f.Add("READY\nchatter", uint8(2))
	f.Add("READY\n!RESULT 99999999999\nx", uint8(4))
	f.Add("READY\n!RESULT 0\nREADY\n!RESULT 1048577\n", uint8(6))
	f.Fuzz(func(t *testing.T, text string, cut uint8) {
		size := int(cut%16) + 1
		run := func(size int) string {
			var p Protocol
			var said strings.Builder
			for part := range strings.SplitSeq(text, "!") {
				for len(part) > 0 {
					n := min(size, len(part))
					before := p.State()
					for _, o := range p.Feed([]byte(part[:n])) {
						body := o.Body
						if o.Kind == GotJunk || o.Kind == GotBadResult {
							body = nil // as much as had come by then
						}
						fmt.Fprintf(&said, "%d %q\n", o.Kind, body)
						if len(body) > MaxResult {
							t.Fatal("body too long")
						}
					}
					if before == Lost && p.State() != Lost {
						t.Fatal("came back from UNKNOWN")
					}
					if kept := len(p.buf); p.State() == Lost && kept > 0 || p.State() == Ready && kept > 0 ||
						p.State() == Acknowledged && kept >= len(readyToken) || kept > MaxResult {
						t.Fatalf("%d bytes are kept in state %v", kept, p.State())
					}
					part = part[n:]
				}
				if p.State() == Ready {
					p.Deliver()
				}
			}
			fmt.Fprint(&said, p.State())
			return said.String()
		}
		if whole, cut := run(len(text)+1), run(size); whole != cut {
			t.Errorf("at once:\n%s\nin pieces of %d:\n%s", whole, size, cut)
		}
	})
}

func BenchmarkProtocol(b *testing.B) {
	var p Protocol
	p.Feed([]byte("READY\n"))
	data := []byte("RESULT 2\nOKREADY\n")
	b.ReportAllocs()
	for b.Loop() {
		p.Deliver()
		if len(p.Feed(data)) != 2 || !bytes.HasPrefix(data, []byte("RES")) {
			b.Fatal("no result")
		}
	}
}
