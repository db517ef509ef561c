package config

import (
	"fmt"
	"strings"
	"testing"
)

// dumpText shows a document in short: one line for each section, with its
// entries.
func dumpText(d *Document) string {
	var b strings.Builder
	show := func(s *Section) {
		fmt.Fprintf(&b, "[%s]", s.Name)
		for _, e := range s.Entries {
			fmt.Fprintf(&b, " %s=%q", e.Key, e.Value)
		}
		b.WriteByte('\n')
	}
	if len(d.Defaults.Entries) > 0 {
		show(d.Defaults)
	}
	for _, s := range d.Sections {
		show(s)
	}
	for _, p := range d.Problems {
		fmt.Fprintf(&b, "%s:%d\n", p.Code, p.Line)
	}
	return b.String()
}

func read(text string) *Document {
	d := newDocument()
	d.ReadText("f", text)
	return d
}

func TestReadText(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"empty", "", ""},
		{"comments only", "# a\n  ; b\n", ""},
		{"plain", "[a]\nx=1\ny: 2\n", `[a] x="1" y="2"`},
		{"blanks around", "[a]\n X  =  1  \n", `[a] x="1"`},
		{"first delimiter", "[a]\nx: A=1\ny=http://h:1\n", `[a] x="A=1" y="http://h:1"`},
		{"empty value", "[a]\nx=\n", `[a] x=""`},
		{"line ends", "[a]\r\nx=1\ry=2\n\rz=3", `[a] x="1" y="2" z="3"`},
		{"no line ends", "[a]\nx=1\vy\u0085z\u2028w\fv\n", `[a] x="1\vy\u0085z\u2028w\fv"`},
		{"separators are blanks", "[a]\nx=\x1c1\x1f\n", `[a] x="1"`},
		{"zero width space is none", "[a]\nx=\u200b1\n", `[a] x="\u200b1"`},

		{"header", "[a b]]x] y\nx=1\n", `[a b]]x] x="1"`},
		{"header with comment", "[a] ; b]\nx=1\n", `[a] x="1"`},
		{"header without end", "[a]\n[b=1\n", `[a] [b="1"`},
		{"case of sections", "[A]\n[a]\n", "[A]\n[a]"},
		{"repeated section", "[a]\nx=1\n[b]\n[a]\ny=2\n", "[a] x=\"1\" y=\"2\"\n[b]"},
		{"repeated key", "[a]\nx=1\ny=2\nX=3\n", `[a] x="3" y="2"`},
		{"default", "[a]\nx=1\n[DEFAULT]\ny=2\n", "[DEFAULT] y=\"2\"\n[a] x=\"1\""},

		{"continuation", "[a]\nx=1\n  2\n\t3\n", `[a] x="1\n2\n3"`},
		{"continuation of nothing", "[a]\nx=\n  2\n", `[a] x="\n2"`},
		{"blank lines within", "[a]\nx=1\n\n  \n  2\n\n\ny=3\n", `[a] x="1\n\n\n2" y="3"`},
		{"comment lines within", "[a]\nx=1\n;c\n  # d\n  2\n", `[a] x="1\n2"`},
		{"inline comment within", "[a]\nx=1\n  2 ; c\n", `[a] x="1\n2"`},
		{"swallowed header", "[a]\nx=1\n  [b]\n y=2\n", `[a] x="1\n[b]\ny=2"`},
		{"indented header first", "[a]\n  [b]\nx=1\n", "[a]\n[b] x=\"1\""},
		{"indented keys", "[a]\n  x=1\n  y=2\n    3\n z=4\n", `[a] x="1" y="2\n3" z="4"`},
		{"an indent counts characters", "[a]\n\u3000x=1\n  y=2\n", `[a] x="1\ny=2"`},
		{"backslash at the end", "[a]\nx=1\\\n  2\\\n", `[a] x="1\\\n2\\"`},
		{"quotes", "[a]\nx=\"1\"\ny=`2`\nz=\"\"\"3\"\"\"\n", "[a] x=\"\\\"1\\\"\" y=\"`2`\" z=\"\\\"\\\"\\\"3\\\"\\\"\\\"\""},

		{"inline comment", "[a]\nx=1 ; c\ny=2 # c\nz=3;c#d\n", `[a] x="1" y="2" z="3;c#d"`},
		{"inline comment after other blanks", "[a]\nx=1\t;c\ny=2\u00a0#c\n", `[a] x="1" y="2"`},
		{"inline comment in quotes", "[a]\nx=sh -c 'a ; b'\n", `[a] x="sh -c 'a"`},
		{"mark after the delimiter", "[a]\nx=;1\ny= ;1\n", `[a] x=";1" y=""`},
		{"rounds: a later mark of the other kind", "[a]\nx=a;b ;c #d\n", `[a] x="a;b ;c"`},
		{"rounds: the second round", "[a]\nx=x;y;z ;w #v\n", `[a] x="x;y;z ;w"`},
		{"rounds: leftmost of a round", "[a]\nx=1 #a ;b\n", `[a] x="1"`},
		{"rounds: one kind runs out", "[a]\nx=1#2;3;4 ;5\n", `[a] x="1#2;3;4"`},
		{"rem is no comment", "[a]\nrem x=1\n", `[a] rem x="1"`},

		{"bad lines", "[a]\nx=1\nfoo\n=2\n[]\ny=3\n", "[a] x=\"1\" y=\"3\"\nbad-line:3\nbad-line:4\nbad-line:5"},
		{"a bad line keeps the value open", "[a]\nx=1\nfoo\n  2\n", "[a] x=\"1\\n2\"\nbad-line:3"},
		{"text before", "x=1\ny=2\n[a]\n", "[a]\ntext-before-first-section:1"},
		{"byte-order mark", "\ufeff; c\n[a]\n", "[a]\ntext-before-first-section:1"},
		{"not UTF-8", "[a]\nx=\xe9\n", "not-utf8:2"},
		{"a surrogate", "[a]\n; \xed\xa0\x80\n", "not-utf8:2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.TrimSpace(dumpText(read(tt.in))); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			checkUnwanted(t, tt.in)
		})
	}
}

// checkUnwanted checks that a document that keeps only the section [a] has all
// of it, and finds the problems of the others too.
func checkUnwanted(t *testing.T, text string) {
	t.Helper()
	all := read(text)
	for _, s := range all.Sections {
		if s.Name != "a" {
			s.Entries = nil
		}
	}
	some := newDocument()
	some.wanted = func(name string) bool { return name == "a" }
	some.ReadText("f", text)
	if got, want := dumpText(some), dumpText(all); got != want {
		t.Errorf("%q: only [a] is\n%swant\n%s", text, got, want)
	}
}

func TestUnwanted(t *testing.T) {
	for _, text := range []string{
		"[b]\nx=1\n  2\nfoo\n  3\n=4\n[a]\ny=%(here)s\n [b]\nz=\"a ;b\"\n",
		"[DEFAULT]\nd=1\n[b]\nd=2\n[a]\n[b]\n[a]\nx=1\n\n 2\n",
	} {
		checkUnwanted(t, text)
	}
}

func TestLongLine(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	if got := read("[a]\nk=" + long + "\n").Section("a").Get("k").Value; got != long {
		t.Errorf("a line of %d bytes is read as %d", len(long), len(got))
	}
}

func TestPositions(t *testing.T) {
	d := read("; c\n[a]\nx=1\n\n  2\n\ny=3\n[a]\nx=4\n")
	a := d.Section("a")
	if a.Pos.Line != 2 || a.Get("x").Pos.Line != 9 || a.Get("y").Pos.Line != 7 {
		t.Errorf("section %d, x %d, y %d", a.Pos.Line, a.Get("x").Pos.Line, a.Get("y").Pos.Line)
	}
	if len(d.Notes) != 2 || d.Notes[0].Kind != NoteRepeatedSection || d.Notes[1].Kind != NoteRepeatedKey || d.Notes[1].Earlier.Line != 3 {
		t.Errorf("notes %+v", d.Notes)
	}
	d = read("[a]\nx=1\n  2\n\n  3\n")
	if more := d.Section("a").Get("x").More; len(more) != 2 || more[0].Line != 3 || more[1] != (Line{5, "3"}) {
		t.Errorf("further lines %+v", more)
	}
}

func TestManyEntries(t *testing.T) {
	var b strings.Builder
	b.WriteString("[a]\n")
	for i := range 100 {
		fmt.Fprintf(&b, "k%d=%d\n", i, i)
	}
	b.WriteString("k7=new\n")
	a := read(b.String()).Section("a")
	if len(a.Entries) != 100 || a.Get("k7").Value != "new" || a.Get("k99").Value != "99" || a.Get("k100") != nil {
		t.Errorf("%d entries, k7=%s", len(a.Entries), a.Get("k7").Value)
	}
}

func FuzzReadText(f *testing.F) {
	for _, s := range []string{
		"[a]\nx=1\n", "[a]\nx=1\n  2\n\n  3 ; c\n", "[DEFAULT]\ny=2\n[a]\n", "[a]\nx=a;b ;c #d\n",
		"x\n[a]\nfoo\n=1\n", "[a]\r\nx=`1`\ry=\"2\"\n", "[a]\nx=;1\n\u3000y=\x1c\n", "[a]]\nk =\n\n  z",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		checkUnwanted(t, s)
		d := read(s)
		p, err := d.Printout()
		if err != nil || len(d.Problems) > 0 {
			return
		}
		var b strings.Builder
		if _, err := p.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		// A section of an empty name cannot be; all others are read back.
		again := read(b.String())
		if got, want := dumpText(again), dumpText(d); got != want {
			t.Fatalf("%q is read\n%sand written\n%sand read\n%s", s, want, b.String(), got)
		}
	})
}
