package event

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Handler judges the result that a listener gave for an event. It answers with
// text for the daemon's standard output, if any, and an error: nil if the
// event is done with, ErrRejected if it is to be delivered again. Any other
// error says that the result makes no sense; the listener then gets no more
// events.
type Handler func(result []byte) (output []byte, err error)

// ErrRejected is the answer of a Handler for an event that was not accepted.
var ErrRejected = errors.New("event was rejected")

// Names of the handlers that exist, as result_handler= has them.
const (
	DefaultHandlerName = "supervisor.dispatchers:default_handler"
	StdoutHandlerName  = "supervisor_stdout:event_handler"
)

// HandlerByName finds the handler that result_handler= names; "" is the
// default.
func HandlerByName(name string) (Handler, error) {
	switch strings.TrimSpace(name) {
	case "", DefaultHandlerName:
		return DefaultHandler, nil
	case StdoutHandlerName:
		return StdoutHandler, nil
	}
	return nil, fmt.Errorf("unknown result_handler %q: Python code cannot be loaded; known are %q and %q",
		name, DefaultHandlerName, StdoutHandlerName)
}

// DefaultHandler accepts the result "OK" and rejects all others.
func DefaultHandler(result []byte) ([]byte, error) {
	if string(result) == "OK" {
		return nil, nil
	}
	return nil, ErrRejected
}

// StdoutHandler is that of the package supervisor-stdout, whose listener
// returns the PROCESS_LOG event as it got it: it puts "process channel | "
// before each line of the output.
func StdoutHandler(result []byte) ([]byte, error) {
	header, text, ok := bytes.Cut(result, []byte{'\n'})
	if !ok {
		return nil, errors.New("result has no header line")
	}
	process, ok1 := headerValue(header, "processname")
	channel, ok2 := headerValue(header, "channel")
	if !ok1 || !ok2 {
		return nil, errors.New("result is not that of a PROCESS_LOG event")
	}
	if len(text) == 0 {
		return nil, nil
	}
	text = bytes.TrimSuffix(text, []byte{'\n'})
	prefix := process + " " + channel + " | "
	out := make([]byte, 0, len(text)+(bytes.Count(text, []byte{'\n'})+1)*(len(prefix)+1))
	for line := range bytes.SplitSeq(text, []byte{'\n'}) {
		out = append(append(append(out, prefix...), line...), '\n')
	}
	return out, nil
}

// headerValue is the value of one name:value pair of a payload's first line.
func headerValue(header []byte, name string) (string, bool) {
	for pair := range bytes.FieldsSeq(header) {
		if key, value, ok := bytes.Cut(pair, []byte{':'}); ok && string(key) == name {
			return string(value), true
		}
	}
	return "", false
}
