package value

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ParseBool reads true, yes, on or 1, or false, no, off or 0, in any case.
func ParseBool(s string) (bool, error) {
	switch Lower(s) {
	case "true", "yes", "on", "1":
		return true, nil
	case "false", "no", "off", "0":
		return false, nil
	}
	hint := ""
	switch Lower(Trim(s)) {
	case "enabled", "enable", "y", "t":
		hint = "write true"
	case "disabled", "disable", "n", "f", "never", "none":
		hint = "write false"
	}
	return false, newError(BadBoolean, s, hint)
}

// FormatBool writes true or false.
func FormatBool(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

// AutoRestart says when a process that ended by itself is started again.
type AutoRestart uint8

const (
	// RestartUnexpected restarts a process whose exit status is not among
	// its exit codes. It is the default.
	RestartUnexpected AutoRestart = iota
	// RestartNever leaves an ended process alone.
	RestartNever
	// RestartAlways restarts whatever the status was.
	RestartAlways
)

// ParseAutoRestart reads a boolean or the word unexpected.
func ParseAutoRestart(s string) (AutoRestart, error) {
	if Lower(s) == "unexpected" {
		return RestartUnexpected, nil
	}
	b, err := ParseBool(s)
	if err == nil {
		if b {
			return RestartAlways, nil
		}
		return RestartNever, nil
	}
	hint := ""
	switch Lower(Trim(s)) {
	case "always":
		hint = "write true"
	case "never", "no":
		hint = "write false"
	case "on-failure", "on_failure", "onfailure":
		hint = "write unexpected"
	}
	return 0, newError(BadAutoRestart, s, hint)
}

func (a AutoRestart) String() string {
	switch a {
	case RestartNever:
		return "false"
	case RestartAlways:
		return "true"
	}
	return "unexpected"
}

// LogLevels are the levels of the activity log, the gravest first.
var LogLevels = []string{"critical", "error", "warn", "info", "debug", "trace", "blather"}

// ParseLogLevel reads a log level in any case; it returns it in lower case.
func ParseLogLevel(s string) (string, error) {
	l := Lower(s)
	for _, level := range LogLevels {
		if l == level {
			return level, nil
		}
	}
	hint := ""
	switch Lower(Trim(s)) {
	case "warning":
		hint = "write warn"
	case "crit", "fatal", "emerg", "alert":
		hint = "write critical"
	case "err":
		hint = "write error"
	case "notice":
		hint = "write info"
	}
	return "", newError(BadLogLevel, s, hint)
}

// ParseName reads the name of a program, group or process: what stands in
// s without the white space around it.
func ParseName(s string) (string, error) {
	name := Trim(s)
	if i := strings.IndexAny(name, " :/"); i >= 0 {
		what := fmt.Sprintf("%q", name[i:i+1])
		if name[i] == ' ' {
			what = "a blank"
		}
		return "", &Error{Code: BadName, Value: s, Err: errors.New("a name must not contain " + what)}
	}
	return name, nil
}

// ParseList splits s at commas and removes the white space around each part.
// The empty text is the empty list; empty parts stay.
func ParseList(s string) []string {
	if s == "" {
		return nil
	}
	parts := strings.Split(s, ",")
	for i := range parts {
		parts[i] = Trim(parts[i])
	}
	return parts
}

// ParseExitCodes reads numbers from 0 to 255 with commas between them.
func ParseExitCodes(s string) ([]int, error) {
	if s == "" {
		return nil, nil
	}
	parts := strings.Split(s, ",")
	codes := make([]int, len(parts))
	for i, p := range parts {
		n, err := ParseInt(p)
		if err != nil || n < 0 || n > 255 {
			hint := ""
			if Trim(p) == "" {
				hint = "remove the superfluous comma"
			} else if len(Fields(p)) > 1 {
				hint = "put commas between the numbers"
			}
			return nil, newError(BadExitCodes, s, hint)
		}
		codes[i] = int(n)
	}
	return codes, nil
}

// ParseChoice reads one of several words, which are given in lower case.
func ParseChoice(s string, choices []string) (string, error) {
	word := Lower(s)
	if slices.Contains(choices, word) {
		return word, nil
	}
	e := newError(BadChoice, s, "")
	e.Err = errors.New("want " + strings.Join(choices[:len(choices)-1], ", ") + " or " + choices[len(choices)-1])
	return "", e
}
