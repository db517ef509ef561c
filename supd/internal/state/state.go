// Package state is what supd leaves behind so that a supd started after it can
// take over the programs that still run: one small JSON file in a directory of
// its own, written before and after every change, and the lock that keeps two
// daemons from using one directory.
//
// The file has to survive a dead process, not a dead machine: it is replaced
// by rename, without fsync, and counts only while the machine has not been
// started anew since.
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Version of the format. A reader ignores fields that it does not know, and
// refuses a file of a higher version.
const Version = 1

// Head is what is kept beside groups and processes.
type Head struct {
	Version int `json:"version"`
	// BootID tells one life of the machine from the next.
	BootID string `json:"boot_id"`
	// PIDNS tells one life of the PID namespace from the next, see PIDNamespace.
	// States of before have none.
	PIDNS string `json:"pid_ns,omitempty"`
	// Instance is the name of this line of daemons, the first part of the
	// marks of its programs.
	Instance string `json:"instance"`
	// Generation counts the daemons that have taken over from each other.
	Generation int `json:"generation"`
	// Dir is the path of the state directory.
	Dir string `json:"dir,omitempty"`
	// Supd is the pid of the daemon that wrote this.
	Supd int `json:"supd"`
	// Suplog is the pid of the log process, SuplogTicks when it was started.
	Suplog      int    `json:"suplog,omitempty"`
	SuplogTicks uint64 `json:"suplog_ticks,omitempty"`
	// Runs counts the programs started so far, for their marks.
	Runs int64 `json:"runs"`
	// Serial is the serial number of the next event.
	Serial int64 `json:"serial"`
	// Sweeps are for what stopped programs have left behind.
	Sweeps []Sweep `json:"sweeps,omitempty"`
	// Leaving is set during a shutdown or a restart: what has stopped by then
	// was not meant to stay so.
	Leaving bool `json:"leaving,omitempty"`
	// Asked is the number of the last question to suplog. It and all that
	// follows is there only in an upgrade in place.
	Asked uint32 `json:"asked,omitempty"`
	// Stdin is what waits to be read by processes, by group and name.
	Stdin map[string]map[string][]byte `json:"stdin,omitempty"`
	// Pools are the event pools with what waits in them.
	Pools json.RawMessage `json:"pools,omitempty"`
}

// Sweep is the end of what a killasgroup program has left when it stopped.
type Sweep struct {
	// Leader was its pid, Ticks its start time, Mark its value of SUPD_RUN.
	Leader int    `json:"leader"`
	Ticks  uint64 `json:"ticks"`
	Mark   string `json:"mark"`
	// Unseen is set if it ended while no daemon looked.
	Unseen bool `json:"unseen,omitempty"`
	// UntilMono is when what is left is killed, on the monotonic clock.
	UntilMono time.Duration `json:"until_mono"`
}

// State is the whole of it, as it is read.
type State struct {
	Head
	// Groups are the active groups, as the plan had them when they were
	// activated (plan.Group as JSON).
	Groups    []json.RawMessage `json:"groups"`
	Processes []Process         `json:"processes"`
}

// Snapshot is the whole of it, as it is written: groups and processes are JSON
// already, so that writing after the change of one process does not encode all
// others anew.
type Snapshot struct {
	Head
	Groups, Processes [][]byte
}

// Append appends the snapshot as it stands in the file.
func (s *Snapshot) Append(b []byte) ([]byte, error) {
	head, err := json.Marshal(s.Head)
	if err != nil {
		return b, err
	}
	list := func(b []byte, name string, items [][]byte) []byte {
		b = append(append(append(b, ",\n\""...), name...), "\":["...)
		for i, item := range items {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(b, '\n'), item...)
		}
		return append(b, ']')
	}
	b = append(b, head[:len(head)-1]...)
	b = list(b, "groups", s.Groups)
	b = list(b, "processes", s.Processes)
	return append(b, "}\n"...), nil
}

// Process is the state of one process entry.
type Process struct {
	Group string `json:"group"`
	Name  string `json:"name"`

	State int `json:"state"`
	// PID is 0 when there is no process, or when one was about to be made:
	// then Mark is set.
	PID int `json:"pid,omitempty"`
	// Ticks is the start time of the process in clock ticks after boot. With
	// it a pid means one process only.
	Ticks uint64 `json:"ticks,omitempty"`
	// Mark is the value of SUPD_RUN in the environment of the run.
	Mark string `json:"mark,omitempty"`

	Failures   int    `json:"failures,omitempty"`
	Started    int64  `json:"started,omitempty"`
	Ended      int64  `json:"ended,omitempty"`
	ExitStatus int    `json:"exit_status,omitempty"`
	SpawnErr   string `json:"spawn_err,omitempty"`
	// StartedMono and DeadlineMono are moments on the machine's monotonic
	// clock; 0 for none.
	StartedMono  time.Duration `json:"started_mono,omitempty"`
	DeadlineMono time.Duration `json:"deadline_mono,omitempty"`

	// Stdout and Stderr are where the logs are whose names were chosen at run
	// time.
	Stdout string `json:"stdout,omitempty"`
	Stderr string `json:"stderr,omitempty"`
	// Added is set for a process that a client has added to its group.
	Added bool `json:"added,omitempty"`
	// Listener is where an event listener stands in its protocol.
	Listener string `json:"listener,omitempty"`
}

// Monotonic is the machine's monotonic clock, which goes on over the death of
// a daemon.
func Monotonic() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return time.Duration(ts.Nano())
}

// BootID is the present life of the machine.
func BootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// Parse reads a state. After the machine was started anew it is nil, and so is that
// of another PID namespace, or of another life of ours: what it tells of is gone.
func Parse(text []byte) (*State, error) {
	var s State
	if len(text) == 0 {
		return nil, errors.New("cannot use the state of the daemon before: the file is empty")
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("cannot use the state of the daemon before: %w", err)
	}
	if s.Version < 1 || s.Version > Version {
		return nil, fmt.Errorf("cannot use the state of the daemon before: its version is %d, known is %d", s.Version, Version)
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("cannot use the state of the daemon before: %w", err)
	}
	switch boot := BootID(); {
	case s.BootID == boot && (s.PIDNS == "" || SameNamespace(s.PIDNS, PIDNamespace())):
		return &s, nil
	case s.BootID == "":
		return nil, errors.New("cannot use the state of the daemon before: the file is none of supd's")
	}
	return nil, nil
}

// check refuses numbers that no daemon has written: they would name no process, or
// many, or count on beyond the largest number.
func (s *State) check() error {
	const most = 1 << 62
	pid := func(pid int) bool { return pid == 0 || pid > 1 }
	ok := s.Runs >= 0 && s.Runs < most && s.Serial >= 0 && s.Serial < most && s.Generation >= 0 && s.Generation < most && pid(s.Suplog)
	for i := range s.Processes {
		p := &s.Processes[i]
		ok = ok && pid(p.PID)
	}
	for _, w := range s.Sweeps {
		ok = ok && w.Leader > 1
	}
	if !ok {
		return errors.New("there are numbers in it that no daemon writes")
	}
	return nil
}
