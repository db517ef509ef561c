package password

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// User is one line of a file of users.
type User struct {
	Name   string
	Secret *Secret
	// Text is the hash as it is written.
	Text string
	Line int
}

// LineError is what is wrong with a line of a file of users.
type LineError struct {
	Line    int
	Message string
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Message) }

// ParseUsers reads a file of users, as htpasswd writes it: lines NAME:HASH.
// Empty lines and those that begin with # are passed over. The error is a
// *LineError.
func ParseUsers(text string) ([]User, error) {
	var users []User
	seen := map[string]int{}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if trimmed := strings.TrimSpace(line); trimmed == "" || trimmed[0] == '#' {
			continue
		}
		name, hash, ok := strings.Cut(line, ":")
		hash = strings.TrimSpace(hash)
		bad := func(format string, args ...any) error { return &LineError{number, fmt.Sprintf(format, args...)} }
		switch first := seen[name]; {
		case !ok:
			return nil, bad("there is no colon between a name and its hash")
		case name == "":
			return nil, bad("there is no name before the colon")
		case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
			return nil, bad("the name has characters that are not printable")
		case first != 0:
			return nil, bad("the user %q has been given in line %d", name, first)
		}
		secret, err := ParseHash(hash)
		if err != nil {
			return nil, bad("user %q: %v", name, err)
		}
		seen[name] = number
		users = append(users, User{Name: name, Secret: secret, Text: hash, Line: number})
	}
	return users, nil
}
