package server

import (
	"context"

	"sup/lib/rpc"
)

// Backend is what the methods need of the daemon. Every method may be called
// from any goroutine; those that wait for a process end early with ctx's error
// when ctx is done, without undoing what was begun. Errors that a client is to
// see are *rpc.Fault.
//
// Processes are named by (group, process); an unknown one gives BAD_NAME. The
// name in a fault's text is the one that the client wrote, which only the
// server knows: where the daemon returns a bare fault, rpc.NewFault(code, ""),
// for a code whose text names the process, group or signal (BAD_NAME,
// BAD_SIGNAL, ALREADY_STARTED, NOT_RUNNING, SPAWN_ERROR, ABNORMAL_TERMINATION,
// ALREADY_ADDED, STILL_RUNNING, and NO_FILE of SendStdin), the server adds it.
// In a Result it adds "group:process" to a bare Description of such a code.
type Backend interface {
	Identification() string
	PID() int
	// State is the daemon's own: RUNNING, RESTARTING or SHUTDOWN. It is asked
	// before nearly every call and so should not cost one.
	State() rpc.State

	Shutdown(ctx context.Context) error
	Restart(ctx context.Context) error
	// ReloadConfig reads the configuration anew and tells which groups
	// differ. CANT_REREAD if it cannot be read.
	ReloadConfig(ctx context.Context) (added, changed, removed []string, err error)
	AddGroup(ctx context.Context, group string) error
	RemoveGroup(ctx context.Context, group string) error

	StartProcess(ctx context.Context, group, process string, wait bool) error
	StartGroup(ctx context.Context, group string, wait bool) ([]rpc.Result, error)
	StartAll(ctx context.Context, wait bool) ([]rpc.Result, error)
	StopProcess(ctx context.Context, group, process string, wait bool) error
	StopGroup(ctx context.Context, group string, wait bool) ([]rpc.Result, error)
	StopAll(ctx context.Context, wait bool) ([]rpc.Result, error)
	// SignalProcess and its siblings take the signal as the client wrote it.
	SignalProcess(ctx context.Context, group, process, signal string) error
	SignalGroup(ctx context.Context, group, signal string) ([]rpc.Result, error)
	SignalAll(ctx context.Context, signal string) ([]rpc.Result, error)

	ProcessInfo(ctx context.Context, group, process string) (rpc.ProcessInfo, error)
	AllProcessInfo(ctx context.Context) ([]rpc.ProcessInfo, error)
	AllConfigInfo(ctx context.Context) ([]rpc.ConfigInfo, error)
	// AllLogHealth tells of every log, in the order of AllProcessInfo.
	AllLogHealth(ctx context.Context) ([]rpc.LogHealth, error)

	// LogPath tells where the log of a stream ("stdout" or "stderr") is,
	// after what the process has written so far has reached it. "" if the
	// stream is not kept in a file.
	LogPath(ctx context.Context, group, process, channel string) (string, error)
	// MainLogPath is the activity log's file, "" if it has none.
	MainLogPath() string
	ClearLogs(ctx context.Context, group, process string) error
	ClearAllLogs(ctx context.Context) ([]rpc.Result, error)
	ClearMainLog(ctx context.Context) error

	SendStdin(ctx context.Context, group, process, chars string) error
	// Upgrade begins to replace the daemon in place. It returns when that has
	// been prepared so far that it will be done; FAILED with the reason if it
	// cannot be.
	Upgrade(ctx context.Context) error
	Generation(ctx context.Context) (rpc.Generation, error)

	// CompareGroups tells how groups, the JSON of a []plan.Group, differ from
	// the active ones, as ReloadConfig does.
	CompareGroups(ctx context.Context, groups string) (added, changed, removed []string, err error)

	// GroupNames are the names of the active groups, in the order of starting.
	GroupNames(ctx context.Context) ([]string, error)
	// AddProgram adds the processes of a program, whose options are the keys
	// of a [program:x] section, to an active group. It faults with
	// BAD_NAME if there is no such group, or one of the names is taken, and
	// with INCORRECT_PARAMETERS if the options cannot be used.
	AddProgram(ctx context.Context, group, program string, options map[string]string) error
	// RemoveProcess takes a process out of its group, with STILL_RUNNING if it
	// is not stopped.
	RemoveProcess(ctx context.Context, group, process string) error

	SendRemoteCommEvent(ctx context.Context, kind, data string) error
}

// Logger takes the server's messages for the activity log. Level is one of
// CRIT, ERRO, WARN, INFO, DEBG.
type Logger interface {
	Log(level, message string)
}
