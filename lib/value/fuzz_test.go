package value

import (
	"slices"
	"strings"
	"testing"
)

func FuzzSplitCommand(f *testing.F) {
	for _, s := range []string{"a b", `a "b c" 'd'`, `a\ b`, `""`, `"\$\""`, "x\\"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		words, err := SplitCommand(s)
		if err != nil {
			return
		}
		line := ""
		for i, w := range words {
			if i > 0 {
				line += " "
			}
			line += QuoteWord(w)
		}
		again, err := SplitCommand(line)
		if err != nil || !slices.Equal(words, again) {
			t.Fatalf("%q is written %q and read %q, %v", words, line, again, err)
		}
	})
}

func FuzzParseEnvironment(f *testing.F) {
	for _, s := range []string{"A=1,B=2", `A="a b",`, "A=1;B='x'", "A=a#b\nc", `A="x""y"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		pairs, _, err := ParseEnvironment(s)
		if err != nil {
			return
		}
		env := make(map[string]string)
		for _, p := range pairs {
			env[p.Name] = p.Value
		}
		text, ok := formatEnvironment(env)
		if !ok {
			return
		}
		again, _, err := ParseEnvironment(text)
		if err != nil || len(again) != len(env) {
			t.Fatalf("%v is written %q and read %v, %v", env, text, again, err)
		}
		for _, p := range again {
			if v, ok := env[p.Name]; !ok || v != p.Value {
				t.Fatalf("%v is written %q and read %v", env, text, again)
			}
		}
	})
}

func FuzzParseBytes(f *testing.F) {
	for _, s := range []string{"50MB", "1 kb", "-1", "1_000", "\u0663GB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseBytes(s)
		if err != nil {
			return
		}
		if again, err := ParseBytes(formatBytes(n)); err != nil || again != n {
			t.Fatalf("%d is written %s and read %d, %v", n, formatBytes(n), again, err)
		}
	})
}

func FuzzTrim(f *testing.F) {
	for _, s := range []string{"", " ", "a", " a b\t", "\x1c\u00a0a\u2028 \v", "\u3000", "\xe9 ", " \x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := Trim(s), strings.TrimFunc(s, IsSpace); got != want {
			t.Fatalf("%q is trimmed to %q, want %q", s, got, want)
		}
		if got, want := TrimRight(s), strings.TrimRightFunc(s, IsSpace); got != want {
			t.Fatalf("%q is trimmed on the right to %q, want %q", s, got, want)
		}
	})
}

func FuzzScalars(f *testing.F) {
	for _, s := range []string{"022", "TERM", "0,2", "true", "h:80", "tcp://h:1", "unix:///a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := ParseOctal(s); err == nil {
			if again, err := ParseOctal(FormatOctal(n)); err != nil || again != n {
				t.Fatalf("%o is not read back: %o, %v", n, again, err)
			}
		}
		if sig, err := ParseSignal(s); err == nil {
			if again, err := ParseSignal(FormatSignal(sig)); err != nil || again != sig {
				t.Fatalf("signal %d is not read back: %d, %v", sig, again, err)
			}
		}
		if codes, err := ParseExitCodes(s); err == nil {
			if again, err := ParseExitCodes(formatExitCodes(codes)); err != nil || !slices.Equal(again, codes) {
				t.Fatalf("%v is not read back: %v, %v", codes, again, err)
			}
		}
		if a, err := ParseSocket(s); err == nil {
			if again, err := ParseSocket(a.String()); err != nil || again != a {
				t.Fatalf("%v is not read back: %v, %v", a, again, err)
			}
		}
		_, _, _ = ParseInet(s)
	})
}
