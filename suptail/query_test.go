package main

import (
	"bytes"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"sup/lib/rpc"
)

func TestStamp(t *testing.T) {
	at := time.Date(2026, 11, 22, 8, 5, 3, 0, time.Local)
	for _, tt := range []struct {
		line string
		want time.Time
	}{
		{"2026-11-22T08:05:03.250Z x", time.Date(2026, 11, 22, 8, 5, 3, 250e6, time.UTC)},
		{"2026-11-22T08:05:03+01:00", time.Date(2026, 11, 22, 7, 5, 3, 0, time.UTC)},
		{"2026-11-22 08:05:03,250 INFO x", at.Add(250 * time.Millisecond)},
		{"2026-11-22 08:05:03", at},
		{"[2026-11-22 08:05:03] x", at},
		{"2026/11/22 08:05:03 [error] 7#7: x", at},
		{"", time.Time{}},
		{"2026-11-22", time.Time{}},
		{"1234567890123456789012", time.Time{}},
		{"2026-13-22 08:05:03 x", time.Time{}},
		{" 2026-11-22 08:05:03", time.Time{}},
		{"a line without any time stamp at all", time.Time{}},
	} {
		got, ok := stamp([]byte(tt.line))
		if ok != !tt.want.IsZero() || !got.Equal(tt.want) {
			t.Errorf("%q: %v, %v, want %v", tt.line, got, ok, tt.want)
		}
	}
}

func FuzzStamp(f *testing.F) {
	f.Add([]byte("[2026-11-22 08:05:03,250] x"))
	f.Add([]byte("2026-11-22T08:05:03.123456789+01:00"))
	f.Fuzz(func(t *testing.T, line []byte) { stamp(line) })
}

func TestFilter(t *testing.T) {
	f := filter{query: query{
		since: time.Date(2026, 1, 1, 12, 0, 0, 0, time.Local),
		grep:  regexp.MustCompile("x"),
	}}
	var passed []string
	for _, line := range []string{"no stamp x", "2026-01-01 11:59:59 x", "more x", "2026-01-01 12:00:00 x", "more x", "more", "2026-01-01 12:00:01"} {
		if f.pass([]byte(line)) {
			passed = append(passed, line)
		}
	}
	want := []string{"no stamp x", "2026-01-01 12:00:00 x", "more x"}
	if !reflect.DeepEqual(passed, want) {
		t.Errorf("got %q, want %q", passed, want)
	}
}

func TestSplitter(t *testing.T) {
	long := strings.Repeat("x", longestLine+10)
	for _, tt := range []struct {
		writes []string
		want   []string
	}{
		{nil, nil},
		{[]string{"a\nb\n"}, []string{"a\n", "b\n"}},
		{[]string{"a", "b", "\nc"}, []string{"ab\n", "c"}},
		{[]string{"\n\n"}, []string{"\n", "\n"}},
		{[]string{long + "\n"}, []string{long + "\n"}},
		{[]string{long[:10], long[10:], "y\n"}, []string{long, "y\n"}},
	} {
		var got []string
		s := splitter{emit: func(line []byte) error { got = append(got, string(line)); return nil }}
		for _, w := range tt.writes {
			if n, err := s.Write([]byte(w)); n != len(w) || err != nil {
				t.Fatal(n, err)
			}
		}
		if err := s.flush(); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%.60q: got %.60q", tt.writes, got)
		}
	}
}

func TestPrinter(t *testing.T) {
	var b bytes.Buffer
	p := newPrinter(&output{w: &b}, query{})
	p.prefix = "a | "
	p.skip = 1
	fmt.Fprint(p, "skipped\none\ntwo\nthr")
	if got := b.String(); got != "a | one\na | two\n" {
		t.Errorf("complete lines only: %q", got)
	}
	if err := p.end(); err != nil || b.String() != "a | one\na | two\na | thr\n" {
		t.Errorf("at the end: %q, %v", b.String(), err)
	}

	b.Reset()
	p = newPrinter(&output{w: &b}, query{})
	p.raw = true
	fmt.Fprint(p, "half")
	if b.String() != "half" {
		t.Errorf("raw: %q", b.String())
	}

	b.Reset()
	p = newPrinter(&output{w: &b}, query{})
	p.object = jsonLine("g", "a", "stderr")
	fmt.Fprint(p, "2026-11-22T08:05:03Z <\"\xff\x1b>\n")
	want := `{"group":"g","name":"a","stream":"stderr","time":"2026-11-22T08:05:03Z","text":"2026-11-22T08:05:03Z <\"\ufffd\u001b>"}` + "\n"
	if b.String() != want {
		t.Errorf("JSON: got %s want %s", b.String(), want)
	}
}

func TestResolve(t *testing.T) {
	var infos []rpc.ProcessInfo
	for _, name := range []string{"g:a", "g:b", "web1:web1", "web2:web2", "odd:p"} {
		group, process, _ := strings.Cut(name, ":")
		infos = append(infos, rpc.ProcessInfo{Group: group, Name: process, StdoutLogfile: "/" + name})
	}
	for _, tt := range []struct{ names, want, unknown string }{
		{"web1", "web1", ""},
		{"web1:web1", "web1", ""},
		{"g:a", "g:a", ""},
		{"g:*", "g:a g:b", ""},
		{"g:", "g:a g:b", ""},
		{"g", "", "g"},
		{"web*", "web1 web2", ""},
		{"*:a", "g:a", ""},
		{"*", "g:a g:b web1 web2 odd:p", ""},
		{"all", "g:a g:b web1 web2 odd:p", ""},
		{"web2 g:b web* g:b", "web2 g:b web1", ""},
		{"x web1 y:*", "web1", "x y:*"},
		{"[", "", "["},
	} {
		targets, unknown := resolve(strings.Fields(tt.names), infos, "stdout")
		var got []string
		for _, target := range targets {
			got = append(got, target.name)
		}
		if strings.Join(got, " ") != tt.want || strings.Join(unknown, " ") != tt.unknown {
			t.Errorf("%s: %v, unknown %v", tt.names, got, unknown)
		}
	}
}
