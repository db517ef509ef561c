// Package process is the life of one supervised process as a state machine
// without I/O: Step takes a state, an event and the time, and returns the next
// state and what is to be done about it. It has no clock, no goroutine and no
// system call, so that every rule of the life cycle is a row of a table test.
//
// The owner of a Machine executes the effects and feeds what comes of them
// back as events.
package process

import "fmt"

// State is the state of a process as clients see it. The numbers are part of
// the XML-RPC interface.
type State int

const (
	Stopped  State = 0
	Starting State = 10
	Running  State = 20
	Backoff  State = 30
	Stopping State = 40
	Exited   State = 100
	Fatal    State = 200
	Unknown  State = 1000
)

// States are all states, in the order of their numbers.
var States = []State{Stopped, Starting, Running, Backoff, Stopping, Exited, Fatal, Unknown}

func (s State) String() string {
	switch s {
	case Stopped:
		return "STOPPED"
	case Starting:
		return "STARTING"
	case Running:
		return "RUNNING"
	case Backoff:
		return "BACKOFF"
	case Stopping:
		return "STOPPING"
	case Exited:
		return "EXITED"
	case Fatal:
		return "FATAL"
	case Unknown:
		return "UNKNOWN"
	}
	return fmt.Sprintf("State(%d)", int(s))
}

// IsStopped tells whether nothing runs and nothing is about to: what removing
// a group wants.
func (s State) IsStopped() bool {
	return s == Stopped || s == Exited || s == Fatal || s == Unknown
}

// IsRunning tells whether the process counts as started: what start refuses
// and stop accepts.
func (s State) IsRunning() bool {
	return s == Starting || s == Running || s == Backoff
}

// IsSignallable tells whether there is a process that a signal can go to.
func (s State) IsSignallable() bool {
	return s == Starting || s == Running || s == Stopping
}
