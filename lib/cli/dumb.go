package cli

import (
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

// isDumb tells of a terminal that knows no escape sequences.
func isDumb() bool {
	name := os.Getenv("TERM")
	return name == "" || name == "dumb"
}

// dumbWidth is the width a line is edited in on a terminal that cannot go up:
// to the editor it never ends.
const dumbWidth = 1 << 20

// dumbWriter shows on a terminal without escape sequences what the editor
// writes for one that has them: it goes back with backspaces, forward by
// writing again what stands there, and wipes out with blanks. Of a sequence
// that is none of these nothing is shown.
type dumbWriter struct {
	w io.Writer
	// line is what stands on the line, col where the cursor is in it.
	line []rune
	col  int
	// rest is the beginning of a sequence or character that came in parts.
	rest []byte
}

func (d *dumbWriter) Write(p []byte) (int, error) {
	d.rest = append(d.rest, p...)
	var b strings.Builder
	for len(d.rest) > 0 {
		n := d.step(&b, d.rest)
		if n == 0 {
			break
		}
		d.rest = d.rest[n:]
	}
	if _, err := io.WriteString(d.w, b.String()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// step shows the first character or sequence of p and returns its length, or
// 0 if it is not complete.
func (d *dumbWriter) step(b *strings.Builder, p []byte) int {
	switch {
	case p[0] == '\x1b' && len(p) == 1, !utf8.FullRune(p):
		return 0
	case p[0] == '\x1b' && p[1] == '[':
		for i := 2; i < len(p); i++ {
			if p[i] >= '@' && p[i] <= '~' {
				d.sequence(b, string(p[2:i]), p[i])
				return i + 1
			}
		}
		return 0
	case p[0] == '\x1b':
		return 2
	}
	r, size := utf8.DecodeRune(p)
	switch r {
	case '\r':
		d.col = 0
	case '\n':
		d.line, d.col = nil, 0
	case '\b':
		d.col = max(0, d.col-1)
	case '\a':
	default:
		d.line = append(d.line[:d.col], append([]rune{r}, d.line[min(d.col+1, len(d.line)):]...)...)
		d.col++
	}
	b.Write(p[:size])
	return size
}

func (d *dumbWriter) sequence(b *strings.Builder, params string, final byte) {
	n, err := strconv.Atoi(params)
	if err != nil || n < 1 {
		n = 1
	}
	switch final {
	case 'D':
		n = min(n, d.col)
		b.WriteString(strings.Repeat("\b", n))
		d.col -= n
	case 'C':
		n = min(n, len(d.line)-d.col)
		b.WriteString(string(d.line[d.col : d.col+n]))
		d.col += n
	case 'K':
		n = len(d.line) - d.col
		b.WriteString(strings.Repeat(" ", n) + strings.Repeat("\b", n))
		d.line = d.line[:d.col]
	}
}
