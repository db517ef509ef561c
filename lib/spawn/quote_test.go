package spawn

import "testing"

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"":                                   "''",
		"/bin/x":                             "'/bin/x'",
		`sleep "1`:                           `'sleep "1'`,
		"sleep '1":                           `"sleep '1"`,
		`"it's"`:                             `'"it\'s"'`,
		`a\`:                                 `'a\\'`,
		"a\tb\nc\rd\x01\x7f":                 `'a\tb\nc\rd\x01\x7f'`,
		"größe \u2028 \U0001F600 \U000E0001": "'größe \\u2028 \U0001F600 \\U000e0001'",
		"\xff\uFFFD":                         "'\\udcff\uFFFD'",
	} {
		if got := Quote(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestQuoteBytes(t *testing.T) {
	for in, want := range map[string]string{
		"":                 `b''`,
		"\x88\n":           `b'\x88\n'`,
		"it's\t":           `b"it's\t"`,
		`"it's" \`:         `b'"it\'s" \\'`,
		"RESULT 2\nOK\x00": `b'RESULT 2\nOK\x00'`,
		"ö\r\x7f":          `b'\xc3\xb6\r\x7f'`,
	} {
		if got := QuoteBytes([]byte(in)); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
