package transform

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// sections collects what is captured.
type sections struct {
	cur  []byte
	done []string
}

func (s *sections) Capture(at uint64, p []byte) { s.cur = append(s.cur[:at], p...) }
func (s *sections) Complete(size uint64)        { s.done = append(s.done, string(s.cur[:size])) }

// run transforms in pieces of step bytes.
func run(o Options, in string, step int, flush bool) (plain, lines string, caught []string) {
	var s sections
	t := Transformer{Options: o, Section: &s}
	var st State
	at := time.Date(2026, 1, 31, 12, 0, 0, 123e6, time.UTC)
	for in != "" {
		n := min(step, len(in))
		p, l := t.Transform(&st, []byte(in[:n]), at)
		plain, lines, in = plain+string(p), lines+string(l), in[n:]
	}
	if flush {
		p, l := t.Flush(&st, at)
		plain, lines = plain+string(p), lines+string(l)
	}
	return plain, lines, s.done
}

func TestTransform(t *testing.T) {
	tests := []struct {
		name string
		o    Options
		in   string
		want string
		comm []string
	}{
		{"nothing", Options{}, "a\x1b[1mb" + Begin + "c" + End, "a\x1b[1mb" + Begin + "c" + End, nil},
		{"strip", Options{StripANSI: true}, "\x1b[31mred\x1b[0m plain \x1b[1;32mgreen\x1b[0m\n", "red plain green\n", nil},
		{"strip lone escapes", Options{StripANSI: true}, "a\x1bb\x1b\x1b[Hc\x1b", "a\x1bb\x1bc\x1b", nil},
		{"strip unfinished", Options{StripANSI: true}, "a\x1b[12;12", "a", nil},
		{"capture", Options{Capture: true}, "before" + Begin + "the message" + End + "after\n", "beforeafter\n", []string{"the message"}},
		{"capture twice, empty", Options{Capture: true}, Begin + End + "x" + Begin + "2" + End, "x", []string{"", "2"}},
		{"no tokens", Options{Capture: true}, "<<!--XSUPERVISOR:BEGI N--><!--XSUPERVISOR:END-->", "<<!--XSUPERVISOR:BEGI N--><!--XSUPERVISOR:END-->", nil},
		{"begin in a section", Options{Capture: true}, Begin + "a" + Begin + "<!--" + End + "b", "b", []string{"a" + Begin + "<!--"}},
		{"unfinished token", Options{Capture: true}, "a<!--XSUPER", "a<!--XSUPER", nil},
		{"unfinished section", Options{Capture: true}, "a" + Begin + "secret<!--XSUPERVISOR:E", "a", nil},
		{"capture and strip", Options{Capture: true, StripANSI: true}, "\x1b[1ma" + Begin + "\x1b[2mb" + End + "\x1b[0mc", "ac", []string{"b"}},
		{"strip a sequence around a section", Options{Capture: true, StripANSI: true}, "a\x1b[" + Begin + "b\x1b[1" + End + "1mc" + Begin + "d\x1b" + End, "ac", []string{"b", "d\x1b"}},
		{"timestamp and prefix", Options{Timestamp: true, Prefix: "foo"}, "a\n\nb", "2026-01-31T12:00:00.123Z foo | a\n2026-01-31T12:00:00.123Z foo | \n2026-01-31T12:00:00.123Z foo | b", nil},
	}
	for _, tt := range tests {
		for step := 1; step <= len(tt.in); step++ {
			_, got, comm := run(tt.o, tt.in, step, true)
			if got != tt.want || fmt.Sprint(comm) != fmt.Sprint(tt.comm) {
				t.Errorf("%s, in pieces of %d:\n got %q %q\nwant %q %q", tt.name, step, got, comm, tt.want, tt.comm)
				break
			}
		}
	}
}

// What was written before the end of a section is told of before it, what was
// written after it, after it.
func TestEnds(t *testing.T) {
	const in = "a\x1b[1mb" + Begin + "1" + End + "c\x1b[0m" + Begin + "2" + End + Begin + "3" + End + "d"
	for _, tt := range []struct {
		o    Options
		want string
	}{
		{Options{Capture: true}, "a\x1b[1mb|1|c\x1b[0m|2||3|d"},
		{Options{Capture: true, StripANSI: true}, "ab|1|c|2||3|d"},
		{Options{Capture: true, Prefix: "p"}, "a\x1b[1mb|1|c\x1b[0m|2||3|d"},
	} {
		for step := 1; step <= len(in); step++ {
			var s sections
			tr := Transformer{Options: tt.o, Section: &s}
			var st State
			var got string
			for rest := in; rest != ""; {
				n := min(step, len(rest))
				plain, _ := tr.Transform(&st, []byte(rest[:n]), time.Time{})
				from := 0
				for i, end := range tr.Ends {
					got += string(plain[from:end]) + "|" + s.done[i] + "|"
					from = end
				}
				got += string(plain[from:])
				rest, s.done = rest[n:], nil
			}
			if got != tt.want {
				t.Errorf("%+v, in pieces of %d: got %q, want %q", tt.o, step, got, tt.want)
			}
		}
	}
}

var sequence = regexp.MustCompile(`(?s)\x1b\[[^HfABCDRsuJKhlpm]*([HfABCDRsuJKhlpm]|$)`)

// FuzzTransform: however a stream is cut into pieces, the outcome is the same,
// and that of simple models.
func FuzzTransform(f *testing.F) {
	f.Add("a\x1b[31mb\x1b\x1b[c", 1)
	f.Add("x"+Begin+"y"+End+"z<!--X", 3)
	f.Fuzz(func(t *testing.T, in string, step int) {
		if step <= 0 || len(in) == 0 {
			return
		}
		if got, _, _ := run(Options{StripANSI: true}, in, step, true); got != sequence.ReplaceAllString(in, "") {
			t.Errorf("strip %q: got %q", in, got)
		}
		got, _, comm := run(Options{Capture: true}, in, step, true)
		want, rest, wantComm := "", in, []string(nil)
		for {
			before, after, ok := strings.Cut(rest, Begin)
			want += before
			if !ok {
				break
			}
			inside, after, ok := strings.Cut(after, End)
			if !ok {
				break
			}
			wantComm, rest = append(wantComm, inside), after
		}
		if got != want || fmt.Sprint(comm) != fmt.Sprint(wantComm) {
			t.Errorf("capture %q: got %q %q, want %q %q", in, got, comm, want, wantComm)
		}
		_, lines, _ := run(Options{Prefix: "p"}, in, step, true)
		if n := bytes.Count([]byte(lines), []byte("\n")); n != strings.Count(in, "\n") {
			t.Errorf("%d lines of %q", n, in)
		}
	})
}

func BenchmarkStrip(b *testing.B) {
	line := []byte(strings.Repeat("2026-01-31 \x1b[32mINFO\x1b[0m something happened in the middle of nowhere\n", 900))
	t := Transformer{Options: Options{StripANSI: true}}
	var st State
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		t.Transform(&st, line, time.Time{})
	}
}
