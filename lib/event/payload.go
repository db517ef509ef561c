package event

import (
	"strconv"
	"unicode/utf8"

	"sup/lib/value"
)

// Event is something to tell listeners.
type Event struct {
	// Type is a leaf.
	Type Type
	// Payload is valid UTF-8.
	Payload string
}

// StateChange is the change of state of a process. States are given by their
// names, as in "RUNNING".
type StateChange struct {
	Process, Group string
	From, To       string
	// PID belongs to RUNNING, STOPPING, EXITED and STOPPED; in the last two it
	// is that of the process just ended, 0 if there was none.
	PID int
	// Tries is the number of failed attempts so far; for STARTING and BACKOFF.
	Tries int
	// Expected tells, in EXITED, whether the status is among the exit codes.
	Expected bool
}

// stateTypes maps the state that was reached to the type of the event.
var stateTypes = map[string]Type{
	"STARTING": ProcessStateStarting,
	"RUNNING":  ProcessStateRunning,
	"BACKOFF":  ProcessStateBackoff,
	"STOPPING": ProcessStateStopping,
	"EXITED":   ProcessStateExited,
	"STOPPED":  ProcessStateStopped,
	"FATAL":    ProcessStateFatal,
	"UNKNOWN":  ProcessStateUnknown,
}

// StateType is the type of the event for a state that was reached, for asking
// Hub.Wants. It panics if there is no such state.
func StateType(to string) Type {
	t, ok := stateTypes[to]
	if !ok {
		panic("event: no process state " + strconv.Quote(to))
	}
	return t
}

// Event is the PROCESS_STATE event of the change. It panics if c.To is no state.
func (c StateChange) Event() Event {
	t := StateType(c.To)
	b := appendProcess(make([]byte, 0, 96+len(c.Process)+len(c.Group)), c.Process, c.Group)
	b = append(append(b, " from_state:"...), c.From...)
	switch t {
	case ProcessStateStarting, ProcessStateBackoff:
		b = strconv.AppendInt(append(b, " tries:"...), int64(c.Tries), 10)
	case ProcessStateExited:
		expected := byte('0')
		if c.Expected {
			expected = '1'
		}
		b = append(append(b, " expected:"...), expected)
		b = appendPID(b, c.PID)
	case ProcessStateRunning, ProcessStateStopping, ProcessStateStopped:
		b = appendPID(b, c.PID)
	}
	return Event{t, string(b)}
}

// Channel is an output stream of a process.
type Channel string

// The two output streams.
const (
	Stdout Channel = "stdout"
	Stderr Channel = "stderr"
)

// LogType is the type of the PROCESS_LOG event of a stream.
func (c Channel) LogType() Type {
	if c == Stderr {
		return ProcessLogStderr
	}
	return ProcessLogStdout
}

// CommunicationType is the type of the PROCESS_COMMUNICATION event of a stream.
func (c Channel) CommunicationType() Type {
	if c == Stderr {
		return ProcessCommunicationStderr
	}
	return ProcessCommunicationStdout
}

// Log is the PROCESS_LOG event of a piece of output. The text comes from a
// Decoder.
func (c Channel) Log(process, group string, pid int, text string) Event {
	b := appendProcess(make([]byte, 0, 72+len(process)+len(group)+len(text)), process, group)
	b = append(append(appendPID(b, pid), " channel:"...), c...)
	b = append(append(b, '\n'), text...)
	return Event{c.LogType(), string(b)}
}

// Communication is the PROCESS_COMMUNICATION event of one captured section.
func (c Channel) Communication(process, group string, pid int, captured []byte) Event {
	b := appendProcess(make([]byte, 0, 64+len(process)+len(group)+len(captured)), process, group)
	b = append(appendPID(b, pid), '\n')
	return Event{c.CommunicationType(), string(b) + Text(captured)}
}

// Remote is the event of sendRemoteCommEvent.
func Remote(kind, data string) Event {
	return Event{RemoteCommunication, valid("type:" + kind + "\n" + data)}
}

// GroupAdded is the event of a group that became active. The pool of a group
// of listeners is to be opened first: it hears of its own group.
func GroupAdded(group string) Event {
	return Event{ProcessGroupAdded, "groupname:" + value.Token(group) + "\n"}
}

// GroupRemoved is the event of a group that was removed. The pool of a group
// of listeners is to be closed first.
func GroupRemoved(group string) Event {
	return Event{ProcessGroupRemoved, "groupname:" + value.Token(group) + "\n"}
}

// SupervisorRunning is the event of the daemon's loop beginning.
func SupervisorRunning() Event { return Event{SupervisorStateChangeRunning, ""} }

// SupervisorStopping is the event of a shutdown or restart beginning.
func SupervisorStopping() Event { return Event{SupervisorStateChangeStopping, ""} }

func appendProcess(b []byte, process, group string) []byte {
	// A name with a blank or a line end must not pass for further words.
	b = append(append(b, "processname:"...), value.Token(process)...)
	return append(append(b, " groupname:"...), value.Token(group)...)
}

func appendPID(b []byte, pid int) []byte {
	return strconv.AppendInt(append(b, " pid:"...), int64(pid), 10)
}

// valid replaces what is no UTF-8, each bad byte by one replacement character.
func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}
