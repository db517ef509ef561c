// Package rpc is the XML-RPC interface that supd offers and the tools speak:
// method names, argument and result structures, faults, and their encoding.
package rpc

import "fmt"

// Fault codes. They are Supervisor's and part of the interface.
const (
	UnknownMethod        = 1
	IncorrectParameters  = 2
	BadArguments         = 3
	SignatureUnsupported = 4
	ShutdownState        = 6
	BadName              = 10
	BadSignal            = 11
	NoFile               = 20
	NotExecutable        = 21
	Failed               = 30
	AbnormalTermination  = 40
	SpawnError           = 50
	AlreadyStarted       = 60
	NotRunning           = 70
	Success              = 80
	AlreadyAdded         = 90
	StillRunning         = 91
	CantReread           = 92
)

var faultNames = map[int]string{
	UnknownMethod: "UNKNOWN_METHOD", IncorrectParameters: "INCORRECT_PARAMETERS", BadArguments: "BAD_ARGUMENTS",
	SignatureUnsupported: "SIGNATURE_UNSUPPORTED", ShutdownState: "SHUTDOWN_STATE", BadName: "BAD_NAME",
	BadSignal: "BAD_SIGNAL", NoFile: "NO_FILE", NotExecutable: "NOT_EXECUTABLE", Failed: "FAILED",
	AbnormalTermination: "ABNORMAL_TERMINATION", SpawnError: "SPAWN_ERROR", AlreadyStarted: "ALREADY_STARTED",
	NotRunning: "NOT_RUNNING", Success: "SUCCESS", AlreadyAdded: "ALREADY_ADDED", StillRunning: "STILL_RUNNING",
	CantReread: "CANT_REREAD",
}

// Fault is an XML-RPC fault, as an error.
type Fault struct {
	Code   int
	String string
}

func (f *Fault) Error() string { return fmt.Sprintf("fault %d: %s", f.Code, f.String) }

// NewFault makes the fault of a code: its string is the name of the code,
// followed by ": extra" if extra is not empty.
func NewFault(code int, extra string) *Fault {
	name := faultNames[code]
	if extra != "" {
		name += ": " + extra
	}
	return &Fault{Code: code, String: name}
}

// ProcessInfo is the answer of getProcessInfo. Times are Unix seconds, 0 for
// never.
type ProcessInfo struct {
	Name          string `xmlrpc:"name"`
	Group         string `xmlrpc:"group"`
	Start         int64  `xmlrpc:"start"`
	Stop          int64  `xmlrpc:"stop"`
	Now           int64  `xmlrpc:"now"`
	State         int    `xmlrpc:"state"`
	StateName     string `xmlrpc:"statename"`
	SpawnErr      string `xmlrpc:"spawnerr"`
	ExitStatus    int    `xmlrpc:"exitstatus"`
	Logfile       string `xmlrpc:"logfile"`
	StdoutLogfile string `xmlrpc:"stdout_logfile"`
	StderrLogfile string `xmlrpc:"stderr_logfile"`
	PID           int    `xmlrpc:"pid"`
	Description   string `xmlrpc:"description"`
}

// Result is one element of the answer of a method that acts on several
// processes. Status is a fault code, or Success.
type Result struct {
	Name        string `xmlrpc:"name"`
	Group       string `xmlrpc:"group"`
	Status      int    `xmlrpc:"status"`
	Description string `xmlrpc:"description"`
}

// State is the answer of getState.
type State struct {
	Code int    `xmlrpc:"statecode"`
	Name string `xmlrpc:"statename"`
}

// Generation tells how a daemon came to be.
type Generation struct {
	// Generation counts the takeovers and upgrades in its line.
	Generation int `xmlrpc:"generation"`
	PID        int `xmlrpc:"pid"`
	// Kept is how many programs it took over from the one before.
	Kept int `xmlrpc:"kept"`
}

// LogHealth tells how the log of one output of a process does.
type LogHealth struct {
	Group, Name string // of the process
	Channel     string // "stdout" or "stderr"
	Failing     bool   // it cannot be written at present
	// Dropped is how many bytes were given up since the daemon was started,
	// because the log could not be written.
	Dropped uint64
}

// StreamConfig is the part of ConfigInfo that exists once for stdout and once
// for stderr; its fields are sent with the prefix stdout_ or stderr_.
type StreamConfig struct {
	Logfile         string // path, "auto" or "none"
	LogfileBackups  int
	LogfileMaxBytes int64
	CaptureMaxBytes int64
	EventsEnabled   bool
	Syslog          bool
}

// ConfigInfo is one element of the answer of getAllConfigInfo. Unset texts
// are sent as "none".
type ConfigInfo struct {
	Name, Group            string
	GroupPrio, ProcessPrio int
	InUse                  bool
	AutoStart              bool
	AutoRestart            any // "unexpected", true or false
	Command                string
	Directory              string // "" is sent as "none"
	UID                    int    // -1 is sent as "none"
	ExitCodes              []int
	StartRetries           int
	StartSecs              int
	StopSignal             int
	StopWaitSecs           int
	KillAsGroup            bool
	RedirectStderr         bool
	ServerURL              string // "" is sent as "none"
	Stdout, Stderr         StreamConfig
}
