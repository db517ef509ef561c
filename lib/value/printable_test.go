package value

import "testing"

func TestPrintable(t *testing.T) {
	for _, tt := range []struct{ in, line, token string }{
		{"", "", ""},
		{"web_01", "web_01", "web_01"},
		{"a b", "a b", `a\x20b`},
		{"é 世界", "é 世界", `é\x20世界`},
		{"a\nb\tc\r", `a\nb\tc\r`, `a\nb\tc\r`},
		{"\x1b[31mred\a\x7f", `\x1b[31mred\a\x7f`, `\x1b[31mred\a\x7f`},
		{"\u009b31m\u2028\u202e", `\u009b31m\u2028\u202e`, `\u009b31m\u2028\u202e`},
		{"a\xffb", `a\xffb`, `a\xffb`},
		{"a\u00a0b", "a\u00a0b", `a\u00a0b`},
		{`back\slash "quote" 'single'`, `back\slash "quote" 'single'`, `back\slash\x20"quote"\x20'single'`},
	} {
		if got := Printable(tt.in); got != tt.line {
			t.Errorf("Printable(%q) = %s", tt.in, got)
		}
		if got := Token(tt.in); got != tt.token {
			t.Errorf("Token(%q) = %s", tt.in, got)
		}
	}
}
