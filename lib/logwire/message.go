// Package logwire is the wire between supd and suplog: the messages, how they
// are encoded, and the descriptors that travel with them.
//
// The wire is a Unix socket of type SOCK_SEQPACKET, so that one datagram is
// one message and descriptors (SCM_RIGHTS) arrive with the message they belong
// to. A message is at most [MaxMessage] bytes; output that is longer is sent
// in parts, every one but the last with More set. Several messages without
// descriptors may share a datagram, if they fit: see [Conn.SendAll].
//
//	supd -> suplog   Hello, Open (+descriptors), Run, Set, Reopen, Clear, Drain, Close, Hold, Stop
//	suplog -> supd   Hello, Serving (+descriptors), Held (+descriptor), Opened, Failed,
//	                 Data, Comm, Drained, Error, Cleared, Reopened, Closed, Keep (+descriptors)
//
// supd names each stream by a number of its own choice. A stream is what comes
// out of one pipe; it lives as long as the process entry, not as long as one
// run. What a stream's Settings say is known to suplog, what a program, a group
// or a state is, is not.
//
// # Order
//
// A connection begins with Hello from supd. suplog answers Hello with what it
// serves already (Count streams, Held descriptors), followed by that many
// Serving and Held messages: a supd that was started anew takes its streams
// back so. Everything else is asked and answered with Seq: the asker chooses
// it, the answer repeats it. Answers to different streams may overtake each
// other; those of one stream do not, and Data and Comm of what was written
// before a Drain was sent come before its Drained.
package logwire

import "golang.org/x/sys/unix"

// Version of the protocol. Messages of a kind, and settings under a tag, that
// a side does not know are ignored by it.
const Version = 2

// SharesDatagrams is the first version that understands datagrams with several
// messages. Whoever has not said Hello yet, or with an earlier version, gets one
// message at a time.
const SharesDatagrams = 2

// IdentityDeposit is the name under which suplog holds what a supd has to know to
// tell which processes are its own: a memory file, for one that has lost its state
// directory and finds the file among suplog's descriptors.
const IdentityDeposit = "identity"

// MaxMessage is the most bytes that one message may have.
const MaxMessage = 60 << 10

// Stream is the number by which supd names a stream, for the life of a suplog.
type Stream uint32

// Kind tells what a message means.
type Kind uint8

const (
	// Hello begins a connection. PID and N (the protocol's version) are those
	// of the sender; from suplog Count and Held announce how many Serving and
	// Held messages follow.
	Hello Kind = 1 + iota

	// Open hands over a stream: FDs[0] is a duplicate of the read end of its
	// pipe; behind it come, unchanged, the descriptors of the last Keep for
	// that stream, if there was one. Settings as wanted, PID of the run, 0 if
	// none. Answered by Opened or Failed. After Failed the stream is served
	// all the same: suplog goes on trying to open the file while there is
	// output, as after any outage.
	Open
	// Run tells which process writes now, so that Data and Comm carry its
	// PID. What was in the pipe before belongs to the run before. Not
	// answered.
	Run
	// Set replaces the Settings of a stream. Answered by Opened or Failed.
	Set
	// Reopen closes the file and opens it by name, as after logrotate.
	// Answered by Reopened, or Failed.
	Reopen
	// Clear empties the log file; rotated files stay. Answered by Cleared, or
	// Failed.
	Clear
	// Drain asks to be told when all that is in the pipe now is in the log.
	// Answered by Drained.
	Drain
	// Close ends a stream once its pipe is empty; suplog then closes its
	// descriptors. Answered by Closed.
	Close
	// Hold deposits the descriptors FDs under the name Text, to be handed
	// back with Held on the next connection; without descriptors it gives up
	// those held under the name. Not answered. For the sake of the deposit
	// IdentityDeposit alone suplog does not stay when there is no supd any more.
	Hold
	// Stop asks suplog to write out what is in the pipes now and to exit.
	Stop

	// Serving tells a new supd of a stream: Settings, PID, FDs as for Open.
	Serving
	// Held hands back a deposit: Text is its name.
	Held
	// Opened: the stream's log is open (or there is none to open).
	Opened
	// Failed: what Seq asked for could not be done. Text names the file and
	// the reason, Errno is the reason's number if it has one.
	Failed
	// Data is output as it was written to the log (after strip_ansi, without
	// captured sections); only for streams whose Settings ask for Events.
	Data
	// Comm is the text of one captured section.
	Comm
	// Drained answers Drain.
	Drained
	// Error tells of trouble with a stream's log, without having been asked:
	// see Condition.
	Error
	// Cleared answers Clear.
	Cleared
	// Reopened answers Reopen.
	Reopened
	// Closed answers Close.
	Closed
	// Keep asks supd to keep FDs with the stream, beside the read end, and to
	// send them along with the next Open of it: they hold the part of the
	// stream that is being worked on, so that nothing is lost with suplog.
	// A later Keep replaces them.
	Keep
	// several is what a datagram with several messages begins with. Conn takes
	// it apart.
	several

	kinds // one more than the last
)

var kindNames = [kinds]string{
	Hello: "hello", Open: "open", Run: "run", Set: "set", Reopen: "reopen", Clear: "clear", Drain: "drain",
	Close: "close", Hold: "hold", Stop: "stop", Serving: "serving", Held: "held", Opened: "opened", Failed: "failed",
	Data: "data", Comm: "comm", Drained: "drained", Error: "error", Cleared: "cleared", Reopened: "reopened",
	Closed: "closed", Keep: "keep", several: "several",
}

func (k Kind) String() string {
	if k < kinds && kindNames[k] != "" {
		return kindNames[k]
	}
	return "unknown"
}

// Condition says what an Error message is about.
type Condition uint8

const (
	// Outage: the log cannot be written at present; Text and Errno say why.
	// Told once per outage. Programs go on writing into their pipe.
	Outage Condition = 1 + iota
	// Dropped: N bytes were given up during an outage because the pipe was
	// full (OnFull is Drop), counted since the last such message of the
	// stream.
	Dropped
	// Healed: the log is written again.
	Healed
	// Note: something else worth a line in the activity log, in Text.
	Note
)

// OnFull says what happens to output when the log cannot be written and the
// pipe has been full for a second.
type OnFull uint8

const (
	// Drop gives up the oldest whole lines, so that the program goes on.
	Drop OnFull = iota
	// Block lets the program wait.
	Block
)

// Rotate says when a log file is begun anew besides reaching its size.
type Rotate uint8

const (
	// RotateBySize begins a new file by MaxBytes only.
	RotateBySize Rotate = iota
	// RotateHourly begins one at each full hour, too.
	RotateHourly
	// RotateDaily begins one at each local midnight, too.
	RotateDaily
)

// Settings is what is to be done with a stream.
type Settings struct {
	// Name stands in messages, as in "foo:bar stdout".
	Name string
	// Path is the log file; "" is none.
	Path string
	// Mode of a log file that is created, before umask; 0 means 0644.
	Mode uint32
	// MaxBytes is the size at which the file is rotated; 0 never rotates.
	MaxBytes int64
	// Backups is the number of rotated files that are kept; 0 keeps every one
	// (under dated names), -1 none.
	Backups int
	// StripANSI takes escape sequences out.
	StripANSI bool
	// Events asks for what is written to be sent as Data, too.
	Events bool
	// CaptureMax, if above 0, cuts sections between the capture tokens out of
	// the log and sends the last CaptureMax bytes of each as Comm.
	CaptureMax int64
	// Syslog sends each line to the system's logger too, as SyslogPrefix
	// followed by the line; SyslogTag is its tag.
	Syslog       bool
	SyslogTag    string
	SyslogPrefix string
	// SyslogFacility is the number of its facility, 0 for that of user
	// programs.
	SyslogFacility int
	// More are further logs that get the same: paths, and command lines after
	// a "|" which read it from their standard input. Each is ended by a NUL
	// byte.
	More string
	// OnFull: see there.
	OnFull OnFull

	// Timestamp puts date and time before each line.
	Timestamp bool
	// Prefix, if not empty, stands before each line, followed by " | ".
	Prefix string
	// Rotate: see there.
	Rotate Rotate
	// Dated names rotated files by their time even if Backups is above 0.
	Dated bool
	// Compress packs rotated files with gzip.
	Compress bool
	// MaxAgeDays, if above 0, removes rotated files that are older.
	MaxAgeDays int
}

// Message is one message; which fields count depends on its Kind.
type Message struct {
	Kind   Kind
	Stream Stream
	// Seq is chosen by the asker and repeated by the answer.
	Seq uint32
	PID int64
	// More is set on a part of Data or Comm that is not the last.
	More bool
	// Settings is set for Open, Set and Serving.
	Settings Settings
	// Data is the output of Data and Comm. In a received message it is valid
	// until the next Receive.
	Data []byte
	// Text, Errno, Condition and N: see the kinds.
	Text      string
	Errno     unix.Errno
	Condition Condition
	N         uint64
	// Count and Held are the numbers in suplog's Hello.
	Count, Held uint32

	// FDs are descriptors that travel along. Send only reads them; who
	// receives them owns them. All are close-on-exec.
	FDs []int
}
