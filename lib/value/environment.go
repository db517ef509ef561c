package value

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// Pair is one variable of an environment= value.
type Pair struct{ Name, Value string }

// EnvironmentNote is something odd in an environment= value that is accepted
// all the same.
type EnvironmentNote struct {
	// Separator is the token other than a comma that stood between two
	// pairs, "" if the note is of a comment.
	Separator string
	// Before is the name of the variable after which it stood.
	Before string
	// Comment is set if "#" cut the rest of a line off.
	Comment bool
	// Lost is set if the value of Before loses quotation marks that stood within
	// the outer ones; Value is what is left.
	Lost  bool
	Value string
}

var (
	errQuote = errors.New("a quotation mark is not closed")
	errPair  = errors.New("want NAME=value, pairs separated by commas")
)

// ParseEnvironment reads NAME=value pairs. It is lexed like this: words are
// runs of ASCII letters, digits and _/.+-():, quoted texts are taken as they
// are, every other character is a token by itself; "#" begins a comment. Then
// name, "=", value and any one token as separator follow each other. The
// pairs come in the order written, a later one of the same name counts.
func ParseEnvironment(s string) ([]Pair, []EnvironmentNote, error) {
	lex := envLexer{rest: s}
	var pairs []Pair
	var notes []EnvironmentNote
	for {
		name, ok, err := lex.next()
		if err != nil {
			return nil, nil, &Error{Code: BadEnvironment, Value: s, Err: err, Hint: "close it"}
		}
		if !ok {
			break
		}
		eq, ok1, err1 := lex.next()
		val, ok2, err2 := lex.next()
		if err := errors.Join(err1, err2); err != nil {
			return nil, nil, &Error{Code: BadEnvironment, Value: s, Err: errQuote, Hint: "close it"}
		}
		if !ok1 || !ok2 || eq != "=" {
			return nil, nil, &Error{Code: BadEnvironment, Value: s, Err: errPair, Hint: pairHint}
		}
		trimmed := strings.Trim(val, `'"`)
		pairs = append(pairs, Pair{name, trimmed})
		outer := 0
		if val != "" && (val[0] == '"' || val[0] == '\'') {
			outer = 2
		}
		if len(val)-len(trimmed) > outer {
			notes = append(notes, EnvironmentNote{Before: name, Lost: true, Value: trimmed})
		}
		sep, ok, err := lex.next()
		if err != nil {
			return nil, nil, &Error{Code: BadEnvironment, Value: s, Err: err, Hint: "close it"}
		}
		if ok && sep != "," {
			notes = append(notes, EnvironmentNote{Separator: sep, Before: name})
		}
		if !ok {
			break
		}
	}
	if lex.comment {
		notes = append(notes, EnvironmentNote{Comment: true})
	}
	return pairs, notes, nil
}

const pairHint = `put the value in double quotes if it holds anything but letters, digits and _/.+-():`

// envLexer cuts an environment= value into tokens.
type envLexer struct {
	rest    string
	comment bool
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '_' || strings.IndexByte("/.+-():", c) >= 0
}

// next returns the next token; ok is false at the end.
func (l *envLexer) next() (token string, ok bool, err error) {
	for l.rest != "" {
		c := l.rest[0]
		switch {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			l.rest = l.rest[1:]
		case c == '#':
			l.skipLine()
		case isWord(c):
			return l.word(), true, nil
		case c == '"' || c == '\'':
			end := strings.IndexByte(l.rest[1:], c)
			if end < 0 {
				l.rest = ""
				return "", false, errQuote
			}
			token, l.rest = l.rest[:end+2], l.rest[end+2:]
			return token, true, nil
		default:
			_, n := utf8.DecodeRuneInString(l.rest)
			token, l.rest = l.rest[:n], l.rest[n:]
			return token, true, nil
		}
	}
	return "", false, nil
}

// word takes a word. A comment within it does not end it.
func (l *envLexer) word() string {
	var b strings.Builder
	for l.rest != "" {
		n := 0
		for n < len(l.rest) && (isWord(l.rest[n]) || l.rest[n] == '"' || l.rest[n] == '\'') {
			n++
		}
		b.WriteString(l.rest[:n])
		l.rest = l.rest[n:]
		if l.rest == "" || l.rest[0] != '#' {
			break
		}
		l.skipLine()
	}
	return b.String()
}

func (l *envLexer) skipLine() {
	l.comment = true
	if i := strings.IndexByte(l.rest, '\n'); i >= 0 {
		l.rest = l.rest[i+1:]
	} else {
		l.rest = ""
	}
}
