package rpc

import (
	"bytes"
	"unicode/utf8"
)

// next returns the next token. Comments, processing instructions and the
// document type are passed over.
func (p *reader) next() (token, error) {
	for {
		if p.pos >= len(p.b) {
			return token{}, nil
		}
		rest := p.b[p.pos:]
		if rest[0] != '<' {
			n := bytes.IndexByte(rest, '<')
			if n < 0 {
				n = len(rest)
			}
			p.pos += n
			return token{tokText, rest[:n]}, nil
		}
		if len(rest) < 2 {
			return token{}, p.fail("an unfinished tag")
		}
		switch rest[1] {
		case '/':
			return p.closeTag()
		case '?':
			if p.pos > p.begin && hasPrefix(rest, "<?xml") && len(rest) > 5 && isBlank(rest[5]) {
				return token{}, p.fail("a declaration that is not at the beginning")
			}
			if err := p.skip(2, "?>"); err != nil {
				return token{}, err
			}
		case '!':
			switch {
			case hasPrefix(rest, "<!--"):
				if err := p.skip(4, "-->"); err != nil {
					return token{}, err
				}
			case hasPrefix(rest, "<![CDATA["):
				const start = len("<![CDATA[")
				n := bytes.Index(rest[start:], []byte("]]>"))
				if n < 0 {
					return token{}, p.fail("an unfinished CDATA section")
				}
				p.pos += start + n + len("]]>")
				return token{tokCDATA, rest[start : start+n]}, nil
			case hasPrefix(rest, "<!DOCTYPE") && p.depth == 0:
				n := bytes.IndexAny(rest, "[>")
				if n < 0 || rest[n] == '[' {
					return token{}, p.fail("a document type with declarations")
				}
				p.pos += n + 1
			default:
				return token{}, p.fail("an unknown declaration")
			}
		default:
			return p.startTag()
		}
	}
}

// skip moves past the first end that follows the next n bytes.
func (p *reader) skip(n int, end string) error {
	i := bytes.Index(p.b[min(p.pos+n, len(p.b)):], []byte(end))
	if i < 0 {
		return p.fail("an unfinished " + end)
	}
	p.pos += n + i + len(end)
	return nil
}

func (p *reader) closeTag() (token, error) {
	i := p.pos + 2
	j := nameEnd(p.b, i)
	k := skipBlank(p.b, j)
	if j == i || k >= len(p.b) || p.b[k] != '>' {
		return token{}, p.fail("a bad end tag")
	}
	p.pos = k + 1
	return token{tokClose, p.b[i:j]}, nil
}

func (p *reader) startTag() (token, error) {
	b := p.b
	i := p.pos + 1
	j := nameEnd(b, i)
	if j == i {
		return token{}, p.fail("a bad tag")
	}
	t := token{tokStart, b[i:j]}
	for {
		k := skipBlank(b, j)
		switch {
		case k >= len(b):
			return token{}, p.fail("an unfinished tag")
		case b[k] == '>':
			p.pos = k + 1
			return t, nil
		case b[k] == '/':
			if k+1 >= len(b) || b[k+1] != '>' {
				return token{}, p.fail("a bad tag")
			}
			p.pos = k + 2
			t.kind = tokEmpty
			return t, nil
		case k == j:
			return token{}, p.fail("a bad tag")
		}
		if j = skipAttribute(b, k); j < 0 {
			return token{}, p.fail("a bad attribute")
		}
	}
}

// skipAttribute returns the place after the attribute that begins at i, -1 if
// there is none.
func skipAttribute(b []byte, i int) int {
	j := nameEnd(b, i)
	if j == i {
		return -1
	}
	j = skipBlank(b, j)
	if j >= len(b) || b[j] != '=' {
		return -1
	}
	j = skipBlank(b, j+1)
	if j >= len(b) || (b[j] != '"' && b[j] != '\'') {
		return -1
	}
	n := bytes.IndexByte(b[j+1:], b[j])
	if n < 0 || bytes.IndexByte(b[j+1:j+1+n], '<') >= 0 {
		return -1
	}
	return j + 1 + n + 1
}

// nameEnd returns the end of the name that begins at i. It takes more for a
// name than XML does; none of that matches a name we know.
func nameEnd(b []byte, i int) int {
	for i < len(b) {
		switch b[i] {
		case ' ', '\t', '\r', '\n', '/', '>', '<', '=', '"', '\'', '&', '!', '?':
			return i
		}
		i++
	}
	return i
}

func skipBlank(b []byte, i int) int {
	for i < len(b) && isBlank(b[i]) {
		i++
	}
	return i
}

func isBlank(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

func blank(b []byte) bool { return skipBlank(b, 0) == len(b) }

func hasPrefix(b []byte, s string) bool { return len(b) >= len(s) && string(b[:len(s)]) == s }

// validRune tells whether XML 1.0 allows a character.
func validRune(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' ||
		r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= utf8.MaxRune
}

// invalidByte returns the place of the first byte that does not belong to a
// character which XML allows, -1 if there is none.
func invalidByte(b []byte) int {
	for i := 0; i < len(b); {
		c := b[i]
		if c < utf8.RuneSelf {
			if c < 0x20 && !isBlank(c) {
				return i
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 || !validRune(r) {
			return i
		}
		i += n
	}
	return -1
}
