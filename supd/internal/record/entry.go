// Package record keeps what has happened, and who wanted it: changes of states,
// calls that change something, signals, the life of the daemon, and logs that cannot
// be written. It is a ring of a fixed size in the state directory, which outlives the
// daemon and the machine, and from which it can be read again.
//
// Nobody who adds an entry waits for a disk: one goroutine writes, many entries at a
// time. So a daemon that is killed takes the entries of its last hundredth of a
// second with it. An entry that comes again and again is counted, and not repeated.
package record

import (
	"bytes"
	"encoding/json"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/value"
)

// Kind says what an entry is about.
type Kind string

const (
	// State is a change of the state of a process: Name, From, To, PID, Tries, and
	// at an end Reason and Expected.
	State Kind = "state"
	// Call is a call that changes something: Who, Method, Name, Result, Note.
	Call Kind = "call"
	// Signal is one that the daemon received: Name.
	Signal Kind = "signal"
	// Daemon is a step in the life of the daemon: To, which is "started", "stopped",
	// "upgraded" or "took over", PID, and Reason.
	Daemon Kind = "daemon"
	// Output is a log that cannot be written, or is written again: Name, To, which is
	// "outage" or "healed", and Reason.
	Output Kind = "log"
	// Gap stands for Count entries that could not be written.
	Gap Kind = "gap"
)

// Entry is one thing that has happened. Which fields are set depends on its kind.
type Entry struct {
	// ID numbers the entries, from 1 on. Numbers may be missing, but none comes twice.
	ID int64 `json:"id"`
	// At is Unix time in milliseconds, Mono the monotonic clock of the machine, also
	// in milliseconds, in the life of the machine that Boot names.
	At   int64  `json:"at"`
	Mono int64  `json:"mono"`
	Boot string `json:"boot,omitempty"`
	Kind Kind   `json:"kind"`

	// Name is that of a process, as clients write it, of a group, or of a signal.
	Name string `json:"name,omitempty"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	PID  int    `json:"pid,omitempty"`
	// Reason says in words how a process ended, or why something failed.
	Reason   string `json:"reason,omitempty"`
	Expected bool   `json:"expected,omitempty"`
	Tries    int    `json:"tries,omitempty"`

	Who    *Who   `json:"who,omitempty"`
	Method string `json:"method,omitempty"`
	// Result is OK, or the fault that the client got.
	Result string `json:"result,omitempty"`
	// Note is what the client gave as its reason.
	Note string `json:"note,omitempty"`

	// Count is how many more of the same kind there were, of which this one is the
	// last; 0 for an entry that stands for itself.
	Count int `json:"count,omitempty"`
}

// Who is a client.
type Who struct {
	// UID and PID are the peer's on a Unix socket; UID is -1 elsewhere.
	UID  int    `json:"uid"`
	PID  int    `json:"pid,omitempty"`
	Addr string `json:"addr,omitempty"`
	User string `json:"user,omitempty"`
	Role string `json:"role,omitempty"`
}

// stamp sets the time of an entry that has none.
func (e *Entry) stamp() {
	if e.At != 0 {
		return
	}
	e.At = time.Now().UnixMilli()
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	e.Mono = time.Duration(ts.Nano()).Milliseconds()
}

// longest is the length in bytes after which a text is cut. A line has room for all
// texts of an entry.
const (
	longest     = 256
	longestLine = 8 << 10
)

// appendTo appends the entry as a line.
func (e *Entry) appendTo(b []byte) []byte {
	for _, text := range []*string{&e.Name, &e.From, &e.To, &e.Reason, &e.Method, &e.Result, &e.Note, &e.Boot} {
		*text = clean(*text)
	}
	if e.Who != nil {
		who := *e.Who
		who.Addr, who.User, who.Role = clean(who.Addr), clean(who.User), clean(who.Role)
		e.Who = &who
	}
	line := bytes.NewBuffer(b)
	enc := json.NewEncoder(line)
	enc.SetEscapeHTML(false) // which would make texts six times as long
	if enc.Encode(e) != nil {
		return b // there is nothing in it that cannot be written
	}
	return line.Bytes()
}

// clean makes a text safe to show, and cuts one that is too long.
func clean(text string) string { return cut(value.Printable(cut(text))) }

func cut(text string) string {
	if len(text) > longest {
		return text[:longest] + "..."
	}
	return text
}

// parse reads the entries with numbers above since. What is no entry, such as one
// whose writing was cut short, is left out, and so is one that is out of order. Each
// entry of the result has its Boot.
func parse(text []byte, since int64) (entries []Entry) {
	boot, last := "", int64(0)
	for line := range bytes.Lines(text) {
		e, ok := parseLine(line)
		if !ok || e.ID <= last {
			continue
		}
		last = e.ID
		if e.Boot != "" {
			boot = e.Boot
		}
		e.Boot = boot
		if e.ID > since {
			entries = append(entries, e)
		}
	}
	return entries
}

// mostID is a number that is never reached.
const mostID = 1 << 60

func parseLine(line []byte) (e Entry, ok bool) {
	if len(line) > longestLine || !bytes.HasSuffix(line, []byte("\n")) {
		return e, false
	}
	ok = json.Unmarshal(line, &e) == nil && e.ID > 0 && e.ID < mostID && e.Kind != ""
	return e, ok
}
