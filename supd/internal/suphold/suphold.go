// Package suphold is the process that holds the other ends of programs' pipes
// while neither supd nor suplog lives: without a reader a program that writes is
// killed by SIGPIPE, and what is in its pipe is lost.
//
// It is supd's own binary, executed with [Variable] in its environment, of which
// a part shows as a process of its own name. It is to be as small as can be: this
// package imports as little as it can, so as to be initialized among the first,
// and its initialization does not return there. What of the binary is not in use
// is given back to the system, and nothing is allocated for a message, since
// nothing is collected either.
//
// It is nobody's child: what supd has started steps aside for it. It reads nothing
// that it holds, and writes nothing. Package holder is supd's side.
//
// # The wire
//
// The process has a connection with supd (descriptor 3), and may have a socket
// (descriptor 4) on which the next supd connects. Both are of type
// SOCK_SEQPACKET; a message is an operation, a key of 8 bytes, a number and a
// name, and the descriptors that go with it, see [Append].
//
// When supd dies the process goes on alone, with what somebody could still write
// to or read from, and ends by itself when there is none left.
package suphold

import "syscall"

// Variable is set in the environment of the process, and of no other, to what is to
// show in its command line.
const Variable = "SUPHOLD"

// Environ is the environment to start the process with. It has one processor, and
// collects nothing.
func Environ(serves string) []string {
	return []string{Variable + "=" + serves, "GOGC=off", "GOMAXPROCS=1", "GODEBUG=containermaxprocs=0,updatemaxprocs=0"}
}

// Name is what the process is called by.
const Name = "suphold"

// The descriptors that the process begins with.
const (
	ConnFD   = 3
	ListenFD = 4
)

// Op says what a message means.
type Op byte

const (
	// Hold has the descriptors held under the key, in place of those that were.
	// The first Data of them may have to do with data that somebody waits for;
	// the first is an end of a program's pipe.
	Hold Op = 'h'
	// Drop gives up what is held under the key.
	Drop Op = 'd'
	// List asks for all that is held: an Info comes back, and as many Held.
	List Op = 'l'
	// End ends the process.
	End Op = 'e'

	// Info answers List: Key is the pid, and the number of entries above it.
	Info Op = 'i'
	// Held is an entry, as it came with Hold.
	Held Op = 'g'
	// Here is the first message to the supd that has started the process: Key is
	// its pid.
	Here Op = 'p'
)

const (
	headerLen = 1 + 8 + 1
	// MaxName and MaxFDs bound what a message has.
	MaxName = 1024
	MaxFDs  = 17
)

// Message is a message without its descriptors.
type Message struct {
	Op   Op
	Key  uint64
	Data byte
	Name []byte
}

// Append appends m as it is sent. Its name is cut off at MaxName.
func Append(b []byte, m *Message) []byte {
	b = append(b, byte(m.Op))
	for i := range 8 {
		b = append(b, byte(m.Key>>(8*i)))
	}
	b = append(b, m.Data)
	return append(b, m.Name[:min(len(m.Name), MaxName)]...)
}

// Parse reads a message. Its name is part of b.
func Parse(b []byte) (m Message, ok bool) {
	if len(b) < headerLen {
		return m, false
	}
	m = Message{Op: Op(b[0]), Data: b[9], Name: b[headerLen:]}
	for i := range 8 {
		m.Key |= uint64(b[1+i]) << (8 * i)
	}
	return m, true
}

var _ = begin()

func begin() bool {
	serves, ok := syscall.Getenv(Variable)
	switch {
	case !ok:
		return false
	case serves != "":
		stepAside(serves)
	default:
		serve()
	}
	syscall.Exit(0)
	return true
}

// stepAside starts the process proper, which belongs to nobody once we have ended.
func stepAside(serves string) {
	files := []uintptr{0, 1, 2, ConnFD}
	if listens(ListenFD) {
		files = append(files, ListenFD)
	}
	_, _ = syscall.ForkExec("/proc/self/exe", []string{Name, serves}, &syscall.ProcAttr{
		Env: Environ(""), Files: files, Sys: &syscall.SysProcAttr{Setsid: true},
	})
}

// listens tells whether a descriptor is a socket that waits for connections.
func listens(fd int) bool {
	n, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
	return err == nil && n != 0
}
