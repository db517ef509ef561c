package value

import (
	"errors"
	"strings"
)

// Errors of SplitCommand. Clients see the texts, in faults and in spawnerr, and
// so they are those that Supervisor passes on.
var (
	//lint:ignore ST1005 see above
	ErrCommandQuote = errors.New("No closing quotation")
	//lint:ignore ST1005 see above
	ErrCommandEscape = errors.New("No escaped character")
)

// SplitCommand cuts a command into words like a POSIX shell, without any
// expansion: blanks separate, '…' takes everything as it is, in "…" a
// backslash protects itself and the quotation mark, outside of quotes it
// protects any character. A command without words gives an empty list.
func SplitCommand(s string) ([]string, error) {
	words := []string{}
	var word strings.Builder
	inWord := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch c {
		case ' ', '\t', '\r', '\n':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
			continue
		case '\\':
			i++
			if i == len(s) {
				return nil, ErrCommandEscape
			}
			word.WriteByte(s[i])
		case '\'':
			end := strings.IndexByte(s[i+1:], '\'')
			if end < 0 {
				return nil, ErrCommandQuote
			}
			word.WriteString(s[i+1 : i+1+end])
			i += end + 1
		case '"':
			i++
			for ; i < len(s) && s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
					if i == len(s) {
						return nil, ErrCommandEscape
					}
					if s[i] != '"' && s[i] != '\\' {
						word.WriteByte('\\')
					}
				}
				word.WriteByte(s[i])
			}
			if i == len(s) {
				return nil, ErrCommandQuote
			}
		default:
			word.WriteByte(c)
		}
		inWord = true
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// QuoteWord writes one word so that SplitCommand gives it back.
func QuoteWord(w string) string {
	if w != "" && !strings.ContainsAny(w, " \t\r\n\\'\"") {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}
