package value

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseInt(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want int64
		ok   bool
	}{
		{"0", 0, true},
		{"007", 7, true},
		{"+5", 5, true},
		{"-5", -5, true},
		{" 12\t", 12, true},
		{"\u00a012\u2003", 12, true},
		{"1_000", 1000, true},
		{"\u0663\u0664", 34, true},
		{"\u0663_4", 34, true},
		{"", 0, false},
		{"+", 0, false},
		{"+ 5", 0, false},
		{"--5", 0, false},
		{"_1", 0, false},
		{"1_", 0, false},
		{"1__0", 0, false},
		{"1 000", 0, false},
		{"0x10", 0, false},
		{"1.0", 0, false},
		{"1e3", 0, false},
		{"\x1c5", 0, false}, // white space elsewhere, but not here
		{"\uff0b5", 0, false},
		{"9223372036854775807", 9223372036854775807, true},
		{"9223372036854775808", 0, false},
	} {
		got, err := ParseInt(tt.in)
		if (err == nil) != tt.ok || got != tt.want {
			t.Errorf("ParseInt(%q) = %d, %v", tt.in, got, err)
		}
		checkCode(t, err, BadInteger)
	}
}

func checkCode(t *testing.T, err error, code Code) {
	t.Helper()
	var e *Error
	if err != nil && (!errors.As(err, &e) || e.Code != code) {
		t.Errorf("error %v has not the code %s", err, code)
	}
}

func TestParseOctal(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want int
		ok   bool
	}{
		{"022", 0o22, true},
		{"22", 0o22, true},
		{"0o22", 0o22, true},
		{"0O22", 0o22, true},
		{"0o_22", 0o22, true},
		{"0_22", 0o22, true},
		{"-0o7", -7, true},
		{"\uff10o7", 7, true},
		{"0o", 0, false},
		{"0o__7", 0, false},
		{"0o 7", 0, false},
		{"9", 0, false},
		{"0x12", 0, false},
		{"u=rwx", 0, false},
		{"", 0, false},
	} {
		got, err := ParseOctal(tt.in)
		if (err == nil) != tt.ok || got != tt.want {
			t.Errorf("ParseOctal(%q) = %o, %v", tt.in, got, err)
		}
		checkCode(t, err, BadOctal)
	}
	for n, want := range map[int]string{0: "0000", 0o22: "0022", 0o1777: "1777", 0o17777: "17777", -1: "-001"} {
		if got := FormatOctal(n); got != want {
			t.Errorf("FormatOctal(%o) = %q, want %q", n, got, want)
		}
	}
}

func TestParseBytes(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want int64
		ok   bool
	}{
		{"0", 0, true},
		{"50MB", 50 << 20, true},
		{"5 kb", 5 << 10, true},
		{"1gB", 1 << 30, true},
		{"-1KB", -1024, true},
		{"1_0KB", 10 << 10, true},
		{"2\u212aB", 2 << 10, true}, // the Kelvin sign is a k in lower case
		{"5M", 0, false},
		{"10B", 0, false},
		{"1KiB", 0, false},
		{"1.5MB", 0, false},
		{"KB", 0, false},
		{"", 0, false},
		{"9999999999GB", 0, false},
	} {
		got, err := ParseBytes(tt.in)
		if (err == nil) != tt.ok || got != tt.want {
			t.Errorf("ParseBytes(%q) = %d, %v", tt.in, got, err)
		}
		checkCode(t, err, BadInteger)
	}
	for n, want := range map[int64]string{0: "0", 1: "1", 1024: "1KB", 50 << 20: "50MB", 1 << 30: "1GB", -2048: "-2KB"} {
		if got := formatBytes(n); got != want {
			t.Errorf("formatBytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestHints(t *testing.T) {
	_, err := ParseBytes("5M")
	var e *Error
	if !errors.As(err, &e) || e.Hint != "write 5MB" {
		t.Errorf("ParseBytes(5M): hint %q", e.Hint)
	}
	_, err = ParseLogLevel("warning")
	if !errors.As(err, &e) || e.Hint != "write warn" {
		t.Errorf("ParseLogLevel(warning): hint %q", e.Hint)
	}
	_, err = ParseAutoRestart("always")
	if !errors.As(err, &e) || e.Hint != "write true" {
		t.Errorf("ParseAutoRestart(always): hint %q", e.Hint)
	}
}

func TestParseBool(t *testing.T) {
	for _, s := range []string{"true", "YES", "On", "1"} {
		if b, err := ParseBool(s); err != nil || !b {
			t.Errorf("ParseBool(%q) = %t, %v", s, b, err)
		}
	}
	for _, s := range []string{"false", "NO", "oFF", "0"} {
		if b, err := ParseBool(s); err != nil || b {
			t.Errorf("ParseBool(%q) = %t, %v", s, b, err)
		}
	}
	for _, s := range []string{"", "2", "t", "true ", "-1", "enabled"} {
		_, err := ParseBool(s)
		if err == nil {
			t.Errorf("ParseBool(%q) succeeds", s)
		}
		checkCode(t, err, BadBoolean)
	}
}

func TestParseAutoRestart(t *testing.T) {
	for s, want := range map[string]AutoRestart{"true": RestartAlways, "No": RestartNever, "UNEXPECTED": RestartUnexpected} {
		got, err := ParseAutoRestart(s)
		if err != nil || got != want {
			t.Errorf("ParseAutoRestart(%q) = %v, %v", s, got, err)
		}
		if back, err := ParseAutoRestart(got.String()); err != nil || back != got {
			t.Errorf("%v is not read back", got)
		}
	}
	_, err := ParseAutoRestart("on-failure")
	checkCode(t, err, BadAutoRestart)
}

func TestParseSignal(t *testing.T) {
	for s, want := range map[string]Signal{
		"TERM": 15, "sigterm": 15, " int ": 2, "9": 9, "CLD": 17, "IOT": 6, "POLL": 29, "STKFLT": 16,
		"RTMIN": 34, "SIGRTMAX": 64, "34": 34, "64": 64, "\u0661": 1, "1_5": 15, "\ufb06op": 19,
	} {
		if got, err := ParseSignal(s); err != nil || got != want {
			t.Errorf("ParseSignal(%q) = %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "SIG", "RTMIN+1", "32", "33", "35", "63", "65", "0", "-1", "NOPE", "SIGSIGTERM"} {
		_, err := ParseSignal(s)
		if err == nil {
			t.Errorf("ParseSignal(%q) succeeds", s)
		}
		checkCode(t, err, BadSignal)
	}
	for n := Signal(1); n <= 64; n++ {
		sig, err := ParseSignal(FormatInt(int64(n)))
		if err != nil {
			continue
		}
		if back, err := ParseSignal(FormatSignal(sig)); err != nil || back != sig {
			t.Errorf("signal %d is written %s and read %d, %v", sig, FormatSignal(sig), back, err)
		}
	}
}

func TestParseExitCodes(t *testing.T) {
	for s, want := range map[string][]int{"": nil, "0": {0}, "0, 2": {0, 2}, "2,0,2": {2, 0, 2}, "\u0663": {3}} {
		got, err := ParseExitCodes(s)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("ParseExitCodes(%q) = %v, %v", s, got, err)
		}
		if back, err := ParseExitCodes(formatExitCodes(got)); err != nil || !slices.Equal(back, got) {
			t.Errorf("%v is not read back", got)
		}
	}
	for _, s := range []string{"0,", "256", "-1", "a", " ", "0;1"} {
		_, err := ParseExitCodes(s)
		if err == nil {
			t.Errorf("ParseExitCodes(%q) succeeds", s)
		}
		checkCode(t, err, BadExitCodes)
	}
}

func TestParseName(t *testing.T) {
	for s, want := range map[string]string{"a": "a", " a\t": "a", "": "", "[x]": "[x]", "a\tb": "a\tb", "é.@": "é.@"} {
		if got, err := ParseName(s); err != nil || got != want {
			t.Errorf("ParseName(%q) = %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"a b", "a:b", "a/b"} {
		_, err := ParseName(s)
		if err == nil {
			t.Errorf("ParseName(%q) succeeds", s)
		}
		checkCode(t, err, BadName)
	}
}

func TestParseLogLevel(t *testing.T) {
	for _, level := range LogLevels {
		if got, err := ParseLogLevel(strings.ToUpper(level)); err != nil || got != level {
			t.Errorf("ParseLogLevel(%q) = %q, %v", level, got, err)
		}
	}
	for _, s := range []string{"", "warning", "20", "fatal"} {
		_, err := ParseLogLevel(s)
		if err == nil {
			t.Errorf("ParseLogLevel(%q) succeeds", s)
		}
		checkCode(t, err, BadLogLevel)
	}
}

func TestParseInet(t *testing.T) {
	for s, want := range map[string]struct {
		host string
		port int
	}{
		"9001": {"", 9001}, ":9001": {"", 9001}, "*:9001": {"", 9001}, "Host:80": {"host", 80},
		"[::1]:80": {"[::1]", 80}, "h: 8_0": {"h", 80},
	} {
		host, port, err := ParseInet(s)
		if err != nil || host != want.host || port != want.port {
			t.Errorf("ParseInet(%q) = %q, %d, %v", s, host, port, err)
		}
	}
	for _, s := range []string{"", "h:", "h", "h:0", "65536", "h:http", "-1"} {
		_, _, err := ParseInet(s)
		if err == nil {
			t.Errorf("ParseInet(%q) succeeds", s)
		}
		checkCode(t, err, BadPort)
	}
}

func TestParseSocket(t *testing.T) {
	for s, want := range map[string]string{
		"tcp://Host:80":     "tcp://host:80",
		"tcp://h:\u0668":    "tcp://h:8",
		"unix:///a/../b//c": "unix:///b/c",
		"unix:////a":        "unix:////a",
		"unix://///a":       "unix:///a",
	} {
		a, err := ParseSocket(s)
		if err != nil || a.String() != want {
			t.Errorf("ParseSocket(%q) = %s, %v, want %s", s, a, err, want)
		}
	}
	for s, code := range map[string]Code{
		"": BadSocket, "/a": BadSocket, "unix://a": BadSocket, "tcp://h": BadSocket, "tcp://:1": BadSocket,
		"tcp://a b:1": BadSocket, "tcp://h:1x": BadSocket, "tcp://::1:80": BadSocket, "tcp://h:70000": BadPort,
	} {
		_, err := ParseSocket(s)
		if err == nil {
			t.Errorf("ParseSocket(%q) succeeds", s)
		}
		checkCode(t, err, code)
	}
}

func TestParseEnvironment(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"A=1,B=2", "A=1|B=2"},
		{"A=1,", "A=1"},
		{"A=1;B=2", "A=1|B=2"},
		{`A="a,b c",B='"'`, `A=a,b c|B=`},
		{"A=1,\nB=2", "A=1|B=2"},
		// A character that belongs to no word takes the place of the value,
		// and the word after it that of the separator.
		{"A=$HOME", "A=$"},
		{"A==1", "A=="},
		{`A="x""y"`, "A=x"},
		{"URL=http://h/p?x=y", "URL=http://h/p|x=y"},
		{"A=a#b\nc,B=1", "A=ac|B=1"},
		{"A=it's", "A=it's"},
		{"A=it'", "A=it"},
		{`"A"=1`, `"A"=1`},
	} {
		pairs, _, err := ParseEnvironment(tt.in)
		var words []string
		for _, p := range pairs {
			words = append(words, p.Name+"="+p.Value)
		}
		if got := strings.Join(words, "|"); err != nil || got != tt.want {
			t.Errorf("ParseEnvironment(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
	for _, s := range []string{"A", "A=", "A=1 B=2", "A=me@host", "A=a=b", `A="x"y,B=1`, `A="x`, ",A=1", `A=1,B="`} {
		_, _, err := ParseEnvironment(s)
		if err == nil {
			t.Errorf("ParseEnvironment(%q) succeeds", s)
		}
		checkCode(t, err, BadEnvironment)
	}
	_, notes, _ := ParseEnvironment("A=1;B=2#x")
	if len(notes) != 2 || notes[0].Separator != ";" || notes[0].Before != "A" || !notes[1].Comment {
		t.Errorf("notes %+v", notes)
	}
}

func TestSplitCommand(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{" \t\r\n", nil},
		{"a b", []string{"a", "b"}},
		{`a "b c" 'd e'`, []string{"a", "b c", "d e"}},
		{`a"b"'c'd`, []string{"abcd"}},
		{`"" ''`, []string{"", ""}},
		{`a\ b \\ \"`, []string{"a b", `\`, `"`}},
		{`"\$ \" \\ \x"`, []string{`\$ " \ \x`}},
		{`'\n'`, []string{`\n`}},
		{"a\\\nb", []string{"a\nb"}},
		{"a\u00a0b\vc", []string{"a\u00a0b\vc"}},
		{"a #b ; c && d", []string{"a", "#b", ";", "c", "&&", "d"}},
	} {
		got, err := SplitCommand(tt.in)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("SplitCommand(%q) = %q, %v", tt.in, got, err)
		}
	}
	for s, want := range map[string]error{`a "b`: ErrCommandQuote, `a 'b`: ErrCommandQuote, `a \`: ErrCommandEscape, `"\`: ErrCommandEscape} {
		if _, err := SplitCommand(s); err != want {
			t.Errorf("SplitCommand(%q): %v, want %v", s, err, want)
		}
	}
}

func TestCases(t *testing.T) {
	for s, want := range map[string]string{"ABC": "abc", "\u0130": "i\u0307", "ΑΣ": "ας", "ΑΣΑ": "ασα", "Σ": "σ"} {
		if got := Lower(s); got != want {
			t.Errorf("Lower(%q) = %q, want %q", s, got, want)
		}
	}
	for s, want := range map[string]string{"tick": "TICK", "t\u0131ck": "TICK", "ß": "SS"} {
		if got := Upper(s); got != want {
			t.Errorf("Upper(%q) = %q, want %q", s, got, want)
		}
	}
}

func TestCleanPath(t *testing.T) {
	for s, want := range map[string]string{"/a/./b/../c": "/a/c", "//a": "//a", "///a": "/a", "": ".", "//": "//"} {
		if got := CleanPath(s); got != want {
			t.Errorf("CleanPath(%q) = %q, want %q", s, got, want)
		}
	}
}
