package value

import (
	"errors"
	"fmt"
	"strconv"
)

// Code names a kind of mistake. The codes are part of the interface of
// "supconf dump" and of the messages of the tools.
type Code string

const (
	BadInteger     Code = "bad-integer"
	BadBoolean     Code = "bad-boolean"
	BadOctal       Code = "bad-octal"
	BadSignal      Code = "bad-signal"
	BadExitCodes   Code = "bad-exitcodes"
	BadAutoRestart Code = "bad-autorestart"
	BadLogLevel    Code = "bad-loglevel"
	BadEnvironment Code = "bad-environment"
	BadName        Code = "bad-name"
	BadPort        Code = "bad-port"
	BadSocket      Code = "bad-socket"
	BadChoice      Code = "bad-choice"
)

// ErrRange is wrapped by the error of a number that is too large.
var ErrRange = errors.New("the number is too large")

// Error is the error of a value that is not of its type.
type Error struct {
	Code Code
	// Value is the text that was not understood.
	Value string
	// Hint says how to mend it, if that is known.
	Hint string
	// Err tells more than the code does, or is nil.
	Err error
}

func newError(code Code, text, hint string) *Error {
	return &Error{Code: code, Value: text, Hint: hint}
}

// wanted says what a value of each type is.
var wanted = map[Code]string{
	BadInteger:     "a whole number",
	BadBoolean:     "true or false",
	BadOctal:       "an octal number such as 022",
	BadSignal:      "a signal such as TERM or 15",
	BadExitCodes:   "a list of numbers from 0 to 255 with commas between them",
	BadAutoRestart: "true, false or unexpected",
	BadLogLevel:    "one of critical, error, warn, info, debug, trace, blather",
	BadEnvironment: "a list such as NAME=\"value\",OTHER=\"value\"",
	BadName:        "a name without blank, \"/\" and \":\"",
	BadPort:        "PORT or HOST:PORT with a port from 1 to 65535",
	BadSocket:      "tcp://HOST:PORT or unix:///PATH",
}

// Words are the words that a value of a type may be, in the usual notation,
// for a proposal where one is misspelt; none if there are no such words.
func Words(code Code) []string {
	switch code {
	case BadBoolean:
		return []string{"true", "false"}
	case BadAutoRestart:
		return []string{"true", "false", "unexpected"}
	case BadLogLevel:
		return LogLevels
	case BadSignal:
		var names []string
		for sig := Signal(1); sig <= lastPlainSignal; sig++ {
			names = append(names, FormatSignal(sig), "SIG"+FormatSignal(sig))
		}
		return names
	}
	return nil
}

// mostShown is the most bytes of a value in a message.
const mostShown = 500

func (e *Error) Error() string {
	shown := strconv.Quote(e.Value[:min(len(e.Value), mostShown)])
	if len(e.Value) > mostShown {
		shown += "…"
	}
	if e.Err != nil {
		return fmt.Sprintf("cannot use %s: %v", shown, e.Err)
	}
	return fmt.Sprintf("cannot use %s: want %s", shown, wanted[e.Code])
}

func (e *Error) Unwrap() error { return e.Err }
