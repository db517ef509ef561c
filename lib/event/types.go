package event

import (
	"fmt"
	"math/bits"
	"strings"
)

// Type is a type of events. Types form a tree: an event is always of a leaf,
// while a subscription may name any of them and means all the leaves below.
type Type uint8

// The leaves come first: a Set has one bit for each.
const (
	ProcessStateStarting Type = iota
	ProcessStateRunning
	ProcessStateBackoff
	ProcessStateStopping
	ProcessStateExited
	ProcessStateStopped
	ProcessStateFatal
	ProcessStateUnknown
	ProcessCommunicationStdout
	ProcessCommunicationStderr
	ProcessLogStdout
	ProcessLogStderr
	ProcessGroupAdded
	ProcessGroupRemoved
	SupervisorStateChangeRunning
	SupervisorStateChangeStopping
	RemoteCommunication
	Tick5
	Tick60
	Tick3600

	// Any is the root, EVENT.
	Any
	ProcessState
	ProcessCommunication
	ProcessLog
	ProcessGroup
	SupervisorStateChange
	Tick

	numTypes
)

// Set is a set of leaves: a subscription.
type Set uint32

// Has tells whether events of a leaf type are in the set.
func (s Set) Has(leaf Type) bool { return s&(1<<leaf) != 0 }

// Types are the leaves in the set.
func (s Set) Types() []Type {
	types := make([]Type, 0, bits.OnesCount32(uint32(s)))
	for t := range Any {
		if s.Has(t) {
			types = append(types, t)
		}
	}
	return types
}

// tree holds, for every type, its name and the leaves below it.
var tree = [numTypes]struct {
	name   string
	leaves Set
}{
	ProcessStateStarting:          {"PROCESS_STATE_STARTING", 1 << ProcessStateStarting},
	ProcessStateRunning:           {"PROCESS_STATE_RUNNING", 1 << ProcessStateRunning},
	ProcessStateBackoff:           {"PROCESS_STATE_BACKOFF", 1 << ProcessStateBackoff},
	ProcessStateStopping:          {"PROCESS_STATE_STOPPING", 1 << ProcessStateStopping},
	ProcessStateExited:            {"PROCESS_STATE_EXITED", 1 << ProcessStateExited},
	ProcessStateStopped:           {"PROCESS_STATE_STOPPED", 1 << ProcessStateStopped},
	ProcessStateFatal:             {"PROCESS_STATE_FATAL", 1 << ProcessStateFatal},
	ProcessStateUnknown:           {"PROCESS_STATE_UNKNOWN", 1 << ProcessStateUnknown},
	ProcessCommunicationStdout:    {"PROCESS_COMMUNICATION_STDOUT", 1 << ProcessCommunicationStdout},
	ProcessCommunicationStderr:    {"PROCESS_COMMUNICATION_STDERR", 1 << ProcessCommunicationStderr},
	ProcessLogStdout:              {"PROCESS_LOG_STDOUT", 1 << ProcessLogStdout},
	ProcessLogStderr:              {"PROCESS_LOG_STDERR", 1 << ProcessLogStderr},
	ProcessGroupAdded:             {"PROCESS_GROUP_ADDED", 1 << ProcessGroupAdded},
	ProcessGroupRemoved:           {"PROCESS_GROUP_REMOVED", 1 << ProcessGroupRemoved},
	SupervisorStateChangeRunning:  {"SUPERVISOR_STATE_CHANGE_RUNNING", 1 << SupervisorStateChangeRunning},
	SupervisorStateChangeStopping: {"SUPERVISOR_STATE_CHANGE_STOPPING", 1 << SupervisorStateChangeStopping},
	RemoteCommunication:           {"REMOTE_COMMUNICATION", 1 << RemoteCommunication},
	Tick5:                         {"TICK_5", 1 << Tick5},
	Tick60:                        {"TICK_60", 1 << Tick60},
	Tick3600:                      {"TICK_3600", 1 << Tick3600},

	Any:                   {"EVENT", 1<<Any - 1},
	ProcessState:          {"PROCESS_STATE", 1<<(ProcessStateUnknown+1) - 1<<ProcessStateStarting},
	ProcessCommunication:  {"PROCESS_COMMUNICATION", 1<<ProcessCommunicationStdout | 1<<ProcessCommunicationStderr},
	ProcessLog:            {"PROCESS_LOG", 1<<ProcessLogStdout | 1<<ProcessLogStderr},
	ProcessGroup:          {"PROCESS_GROUP", 1<<ProcessGroupAdded | 1<<ProcessGroupRemoved},
	SupervisorStateChange: {"SUPERVISOR_STATE_CHANGE", 1<<SupervisorStateChangeRunning | 1<<SupervisorStateChangeStopping},
	Tick:                  {"TICK", 1<<Tick5 | 1<<Tick60 | 1<<Tick3600},
}

// String is the name of the type, as in eventname: and in events=.
func (t Type) String() string {
	if t < numTypes {
		return tree[t].name
	}
	return fmt.Sprintf("Type(%d)", uint8(t))
}

// Is tells whether every event of type t is also one of type of.
func (t Type) Is(of Type) bool { return tree[t].leaves&^tree[of].leaves == 0 }

// Leaf tells whether there are events of this very type.
func (t Type) Leaf() bool { return t < Any }

// Leaves are the leaf types that a subscription to t means.
func (t Type) Leaves() Set { return tree[t].leaves }

// ByName finds a type by its name in any letter case.
func ByName(name string) (Type, bool) {
	name = strings.ToUpper(name)
	for t := range tree {
		if tree[t].name == name {
			return Type(t), true
		}
	}
	return 0, false
}

// Known tells whether name, in any letter case, is that of a type.
func Known(name string) bool {
	_, ok := ByName(name)
	return ok
}

// Names are the names of all types.
func Names() []string {
	names := make([]string, numTypes)
	for t := range tree {
		names[t] = tree[t].name
	}
	return names
}

// Subscription is the set that a list of names means.
func Subscription(names []string) (Set, error) {
	var set Set
	for _, name := range names {
		t, ok := ByName(name)
		if !ok {
			return 0, fmt.Errorf("unknown event type %q", name)
		}
		set |= t.Leaves()
	}
	return set, nil
}
