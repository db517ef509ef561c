package expand

import (
	"errors"
	"testing"
)

var table = map[string]Value{
	"x": String("abc"), "o": String("z"), "e": String(""), "here": String("/h"),
	"u": String("é\u3000'"), "a(b)c": String("deep"), "ENV_P": String("100%"),
	"n": Int(7), "m": Int(-7), "big": Int(1234567),
}

func lookup(name string) (Value, bool) {
	v, ok := table[name]
	return v, ok
}

func TestExpand(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"plain", "plain"},
		{"100%%", "100%"},
		{"%(x)s-%(x)s", "abc-abc"},
		{"%(ENV_P)s", "100%"},
		{"%(a(b)c)s", "deep"},
		{"%(x)5.2s|", "   ab|"},
		{"%(x)-5s|", "abc  |"},
		{"%(x)05s", "  abc"},
		{"%(x).s|", "|"},
		{"%(u)4s|", " é\u3000'|"},
		{"%(x)#+ s", "abc"},
		{"%(n)s%(n)d%(n)i%(n)u", "7777"},
		{"%(n)02d", "07"},
		{"%(n)05.3d", "00007"},
		{"%(n)-05d|", "7    |"},
		{"%(n)0-5d|", "7    |"},
		{"%(n)+ d", "+7"},
		{"%(n) 05d", " 0007"},
		{"%(n)-+5d|", "+7   |"},
		{"%(n).007d", "0000007"},
		{"%(n).0d", "7"},
		{"%(m)05d", "-0007"},
		{"%(m)08.3d", "-0000007"},
		{"%(m).5d", "-00007"},
		{"%(n)#x", "0x7"},
		{"%(n)#08x", "0x000007"},
		{"%(n)#X", "0X7"},
		{"%(n)#o", "0o7"},
		{"%(m)#o", "-0o7"},
		{"%(n)#.3x", "0x007"},
		{"%(n)#010.5x", "0x00000007"},
		{"%(n)#5x|", "  0x7|"},
		{"%(m)x", "-7"},
		{"%(big)X", "12D687"},
		{"%(n)e", "7.000000e+00"},
		{"%(n)010e", "7.000000e+00"},
		{"%(n)E", "7.000000E+00"},
		{"%(n)#.0e", "7.e+00"},
		{"%(n)+.1f", "+7.0"},
		{"%(n)08.2f", "00007.00"},
		{"%(n).0f", "7"},
		{"%(n)#.0f", "7."},
		{"%(n)g", "7"},
		{"%(big)g", "1.23457e+06"},
		{"%(big).3G", "1.23E+06"},
		{"%(n)#g", "7.00000"},
		{"%(n).0g", "7"},
		{"%(n)ld%(n)hd%(n)Ld", "777"},
		{"%(n)5c|", "    \a|"},
		{"%(o)c", "z"},
		{"%(x)r%(n)r", "'abc'7"},
		{"%(u)a", `"\xe9\u3000'"`},
		{"%(x).1r", "'"},
	} {
		if got, err := Expand(tt.in, lookup); err != nil || got != tt.want {
			t.Errorf("Expand(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
}

func TestExpandUnknown(t *testing.T) {
	// A name is looked up before what follows it is read.
	for s, name := range map[string]string{"%(nope)s": "nope", "%(X)s": "X", "%()s": "", "%(nope)": "nope", "%(nope)q": "nope"} {
		var e *UnknownError
		if _, err := Expand(s, lookup); !errors.As(err, &e) || e.Name != name {
			t.Errorf("Expand(%q): %v", s, err)
		}
	}
}

func TestExpandBadFormat(t *testing.T) {
	for _, s := range []string{
		"%", "a%", "%d", "%s", "50% done", "%5%", "%-%", "%(x)%", "%(x)", "%(x", "%(a(b)s", "%(x)d", "%(x)c", "%(m)c",
		"%(x)q", "%(n)b", "%(n)*d", "%(n).*d", "%(n)lld", "%(n).-3d", "date +%Y", "%(n)99999999d", "%(n).99999999d", "%(n)+",
	} {
		var e *FormatError
		if got, err := Expand(s, lookup); !errors.As(err, &e) {
			t.Errorf("Expand(%q) = %q, %v", s, got, err)
		}
	}
}

func FuzzExpand(f *testing.F) {
	for _, s := range []string{"%(x)s", "%%", "%(n)#05.3x", "%(a(b)c)-10.2s|", "%(x", "100%", "%(n)*d", "%(n)g"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := Expand(Escape(s), lookup); err != nil || got != s {
			t.Fatalf("escaped %q becomes %q, %v", s, got, err)
		}
		want, wantErr := Expand(s, lookup)
		parts, err := Parse(s)
		if err != nil {
			if wantErr == nil {
				t.Fatalf("%q is expanded but not parsed: %v", s, err)
			}
			return
		}
		// Parse, print, expand is expand.
		printed := Print(parts)
		if got, err := Expand(printed, lookup); got != want || (err == nil) != (wantErr == nil) {
			t.Fatalf("%q is printed %q, which becomes %q, %v instead of %q, %v", s, printed, got, err, want, wantErr)
		}
		if again, err := Parse(printed); err != nil || Print(again) != printed {
			t.Fatalf("%q is printed %q, and that as %q, %v", s, printed, Print(again), err)
		}
	})
}

func BenchmarkExpand(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = Expand("/var/log/%(x)s-%(n)02d.log", lookup)
	}
}
