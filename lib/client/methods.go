package client

import (
	"context"

	"sup/lib/rpc"
)

// APIVersion returns the version of the interface, "3.0". It goes by the
// method's old name, which servers of every age know.
func (c *Client) APIVersion(ctx context.Context) (version string, err error) {
	err = c.Call(ctx, &version, "supervisor.getVersion")
	return version, err
}

// SupervisorVersion returns the version of the daemon.
func (c *Client) SupervisorVersion(ctx context.Context) (version string, err error) {
	err = c.Call(ctx, &version, "supervisor.getSupervisorVersion")
	return version, err
}

// PID returns the daemon's process id.
func (c *Client) PID(ctx context.Context) (pid int, err error) {
	err = c.Call(ctx, &pid, "supervisor.getPID")
	return pid, err
}

// Shutdown asks the daemon to stop everything and exit. It does not wait.
func (c *Client) Shutdown(ctx context.Context) error {
	return c.Call(ctx, nil, "supervisor.shutdown")
}

// Restart asks the daemon to stop everything and start anew. It does not wait.
func (c *Client) Restart(ctx context.Context) error {
	return c.Call(ctx, nil, "supervisor.restart")
}

// Upgrade asks the daemon to replace itself, in place, by the program that now
// lies at its path. It does not wait for the new one; see Generation.
func (c *Client) Upgrade(ctx context.Context) error {
	return c.Call(ctx, nil, "sup.upgrade")
}

// Generation tells how the daemon that answers came to be.
func (c *Client) Generation(ctx context.Context) (g rpc.Generation, err error) {
	err = c.Call(ctx, &g, "sup.getGeneration")
	return g, err
}

// Changes are the names of the groups by which the configuration differs from
// what runs.
type Changes struct {
	Added, Changed, Removed []string
}

// ReloadConfig makes the daemon read its configuration anew; nothing that runs
// changes.
func (c *Client) ReloadConfig(ctx context.Context) (Changes, error) {
	// The value is [[added, changed, removed]].
	var answer [][][]string
	if err := c.Call(ctx, &answer, "supervisor.reloadConfig"); err != nil {
		return Changes{}, err
	}
	if len(answer) != 1 || len(answer[0]) != 3 {
		return Changes{}, errShape
	}
	return Changes{Added: answer[0][0], Changed: answer[0][1], Removed: answer[0][2]}, nil
}

// CompareGroups tells how the groups of a plan, as JSON, differ from those
// that are active. Only supd knows the method.
func (c *Client) CompareGroups(ctx context.Context, groups string) (Changes, error) {
	var answer [][]string
	if err := c.Call(ctx, &answer, "sup.compareGroups", groups); err != nil {
		return Changes{}, err
	}
	if len(answer) != 3 {
		return Changes{}, errShape
	}
	return Changes{Added: answer[0], Changed: answer[1], Removed: answer[2]}, nil
}

// AddProcessGroup activates a configured group.
func (c *Client) AddProcessGroup(ctx context.Context, group string) error {
	return c.Call(ctx, nil, "supervisor.addProcessGroup", group)
}

// RemoveProcessGroup removes a stopped group.
func (c *Client) RemoveProcessGroup(ctx context.Context, group string) error {
	return c.Call(ctx, nil, "supervisor.removeProcessGroup", group)
}

// StartProcess starts a process and waits until it is up.
func (c *Client) StartProcess(ctx context.Context, name string) error {
	return c.Call(ctx, nil, "supervisor.startProcess", name)
}

// StartProcessGroup starts a group's processes that do not run.
func (c *Client) StartProcessGroup(ctx context.Context, group string) ([]rpc.Result, error) {
	return c.results(ctx, "supervisor.startProcessGroup", group)
}

// StartAllProcesses starts every process that does not run.
func (c *Client) StartAllProcesses(ctx context.Context) ([]rpc.Result, error) {
	return c.results(ctx, "supervisor.startAllProcesses")
}

// StopProcess stops a process and waits until it is down.
func (c *Client) StopProcess(ctx context.Context, name string) error {
	return c.Call(ctx, nil, "supervisor.stopProcess", name)
}

// StopProcessGroup stops a group's processes that run.
func (c *Client) StopProcessGroup(ctx context.Context, group string) ([]rpc.Result, error) {
	return c.results(ctx, "supervisor.stopProcessGroup", group)
}

// StopAllProcesses stops every process that runs.
func (c *Client) StopAllProcesses(ctx context.Context) ([]rpc.Result, error) {
	return c.results(ctx, "supervisor.stopAllProcesses")
}

// SignalProcess sends a signal, by name or number, to a process.
func (c *Client) SignalProcess(ctx context.Context, name, signal string) error {
	return c.Call(ctx, nil, "supervisor.signalProcess", name, signal)
}

// SignalProcessGroup sends a signal to a group's processes.
func (c *Client) SignalProcessGroup(ctx context.Context, group, signal string) ([]rpc.Result, error) {
	return c.results(ctx, "supervisor.signalProcessGroup", group, signal)
}

// SignalAllProcesses sends a signal to every process.
func (c *Client) SignalAllProcesses(ctx context.Context, signal string) ([]rpc.Result, error) {
	return c.results(ctx, "supervisor.signalAllProcesses", signal)
}

func (c *Client) results(ctx context.Context, method string, args ...any) (results []rpc.Result, err error) {
	err = c.Call(ctx, &results, method, args...)
	return results, err
}

// ProcessInfo tells about one process.
func (c *Client) ProcessInfo(ctx context.Context, name string) (info rpc.ProcessInfo, err error) {
	err = c.Call(ctx, &info, "supervisor.getProcessInfo", name)
	return info, err
}

// AllProcessInfo tells about every process, sorted by group and name.
func (c *Client) AllProcessInfo(ctx context.Context) (infos []rpc.ProcessInfo, err error) {
	err = c.Call(ctx, &infos, "supervisor.getAllProcessInfo")
	return infos, err
}

// Available is what getAllConfigInfo says of one configured process, as far
// as clients have a use for it.
type Available struct {
	Name, Group                    string
	InUse, AutoStart               bool
	GroupPriority, ProcessPriority int
}

// AllConfigInfo tells about every process of the configuration last read.
func (c *Client) AllConfigInfo(ctx context.Context) ([]Available, error) {
	var answer []struct {
		Name        string `xmlrpc:"name"`
		Group       string `xmlrpc:"group"`
		GroupPrio   int    `xmlrpc:"group_prio"`
		ProcessPrio int    `xmlrpc:"process_prio"`
		InUse       any    `xmlrpc:"inuse"`
		AutoStart   any    `xmlrpc:"autostart"`
	}
	if err := c.Call(ctx, &answer, "supervisor.getAllConfigInfo"); err != nil {
		return nil, err
	}
	all := make([]Available, len(answer))
	for i, a := range answer {
		all[i] = Available{
			Name: a.Name, Group: a.Group,
			InUse: isTrue(a.InUse), AutoStart: isTrue(a.AutoStart),
			GroupPriority: a.GroupPrio, ProcessPriority: a.ProcessPrio,
		}
	}
	return all, nil
}

// isTrue reads a boolean, which servers may also send as a number.
func isTrue(v any) bool { return v == true || v == int64(1) }

// ReadLog reads from the activity log. With length 0, a negative offset asks
// for that many bytes at the end, another one for all from there on.
func (c *Client) ReadLog(ctx context.Context, offset, length int64) (text string, err error) {
	err = c.Call(ctx, &text, "supervisor.readLog", offset, length)
	return text, err
}

// Stream is an output stream of a process.
type Stream string

// The streams, as they stand in paths below /logtail.
const (
	Stdout Stream = "stdout"
	Stderr Stream = "stderr"
)

// method puts the stream's name into that of a method.
func (s Stream) method(before, after string) string {
	if s == Stderr {
		return "supervisor." + before + "Stderr" + after
	}
	return "supervisor." + before + "Stdout" + after
}

// ReadProcessLog reads from the log of a process; offset and length are as in
// [Client.ReadLog].
func (c *Client) ReadProcessLog(ctx context.Context, name string, stream Stream, offset, length int64) (text string, err error) {
	err = c.Call(ctx, &text, stream.method("readProcess", "Log"), name, offset, length)
	return text, err
}

// LogSize returns the size of a process's log in bytes, 0 if there is none.
func (c *Client) LogSize(ctx context.Context, name string, stream Stream) (size int64, err error) {
	// The value is [text, size, overflow]; no text is asked for.
	var text string
	var overflow bool
	answer := []any{&text, &size, &overflow}
	err = c.Call(ctx, &answer, stream.method("tailProcess", "Log"), name, 0, 0)
	return size, err
}

// ClearProcessLogs empties both logs of a process.
func (c *Client) ClearProcessLogs(ctx context.Context, name string) error {
	return c.Call(ctx, nil, "supervisor.clearProcessLogs", name)
}

// ClearAllProcessLogs empties every log of every process.
func (c *Client) ClearAllProcessLogs(ctx context.Context) ([]rpc.Result, error) {
	return c.results(ctx, "supervisor.clearAllProcessLogs")
}

// SendProcessStdin writes to the standard input of a process.
func (c *Client) SendProcessStdin(ctx context.Context, name, chars string) error {
	return c.Call(ctx, nil, "supervisor.sendProcessStdin", name, chars)
}
