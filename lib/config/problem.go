package config

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Severity tells an error, which keeps a configuration from being used, from
// a warning.
type Severity uint8

const (
	SeverityError Severity = iota
	SeverityWarning
)

func (s Severity) String() string {
	if s == SeverityWarning {
		return "warning"
	}
	return "error"
}

// Codes of problems that are not those of a value's type (see value.Code).
const (
	CodeNoSuchFile             = "no-such-file"
	CodeUnreadableFile         = "unreadable-file"
	CodeNotUTF8                = "not-utf8"
	CodeTextBeforeFirstSection = "text-before-first-section"
	CodeBadLine                = "bad-line"
	CodeIncludeWithoutFiles    = "include-without-files"
	CodeNoSupervisord          = "no-supervisord-section"
	CodeNoSupervisorctl        = "no-supervisorctl-section"
	CodeUnknownExpansion       = "unknown-expansion"
	CodeBadExpansion           = "bad-expansion"
	CodeNoSuchUser             = "no-such-user"
	CodeNoSuchDirectory        = "no-such-directory"
	CodeBadLogCommand          = "bad-log-command"
	CodeUnknownPlugin          = "unknown-plugin"
	CodeFactoryMissing         = "factory-missing"
	CodeTooLarge               = "too-large"
	CodeStrangersFile          = "strangers-file"
	CodeUnknownProgram         = "unknown-program"

	CodeBadOption          = "bad-option"
	CodeBadOptionValue     = "bad-option-value"
	CodeRepeatedOption     = "repeated-option"
	CodePositionalArgument = "positional-argument"

	// Warnings that Supervisor gives too.
	CodeIncludeMatchesNothing = "include-matches-nothing"
	CodeSyslogDeprecated      = "logfile-syslog-deprecated"
	CodeAutoWithoutRotation   = "auto-log-without-rotation"
	CodeStderrIgnored         = "stderr_logfile-ignored"
)

// Problem is one thing that is wrong, or doubtful, in a configuration. It is
// the error type of this package and of package plan.
type Problem struct {
	Severity Severity
	// Code names the kind of problem.
	Code string
	// File and Line say where; "" and 0 if there is no such place, as with
	// a command line option or a section that is missing.
	File string
	Line int
	// Section and Key name the value, Value is its text. Any may be "".
	Section, Key, Value string
	// Message says what is wrong, Hint how to mend it ("" if unknown).
	Message, Hint string
}

// Place is FILE:LINE, FILE, or "".
func (p *Problem) Place() string {
	if p.File == "" || p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// What is the message with the section and the key it is about, in one line
// that is fit for a terminal.
func (p *Problem) What() string {
	var b strings.Builder
	if p.Section != "" {
		b.WriteString("[" + p.Section + "] ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Message)
	return oneLine(b.String())
}

// HintLine is the hint in one line that is fit for a terminal.
func (p *Problem) HintLine() string { return oneLine(p.Hint) }

// mostLine is the most characters of a message: it may hold a whole value.
const mostLine = 500

// oneLine shortens s and writes control characters, line ends among them, as
// in Go's string literals.
func oneLine(s string) string {
	if len(s) <= mostLine && !strings.ContainsFunc(s, unicode.IsControl) {
		return s
	}
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > mostLine {
			b.WriteString("…")
			break
		}
		if unicode.IsControl(r) {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// shortened cuts a value to what a problem keeps of it: many may be kept.
func shortened(s string) string {
	const most = 4096
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// Error is place, subject and message in one line, without the hint.
func (p *Problem) Error() string {
	if place := p.Place(); place != "" {
		return place + ": " + p.What()
	}
	return p.What()
}

// at places a problem at pos.
func (p *Problem) at(pos Pos) *Problem {
	p.File, p.Line = pos.File, pos.Line
	return p
}
