package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"sup/lib/client"
	"sup/lib/rpc"
)

// verb is what start, stop and signal have in common: a call for one process,
// one for a group and one for everything, whose results are told in the same
// way whichever call they come from.
type verb struct {
	one      func(name string) error
	group    func(name string) ([]rpc.Result, error)
	everyone func() ([]rpc.Result, error)

	// tell returns the line for a result, false for one it does not expect.
	tell func(r rpc.Result) (line string, ok bool)
	// harmless is the one failure that leaves the exit status alone.
	harmless int
	// noGroup is the exit status for a group that is unknown.
	noGroup int
}

// each applies a verb to names, one after the other.
func (s *session) each(v verb, names []string) error {
	if all(names) {
		return s.tellAll(v)(v.everyone())
	}
	for _, text := range names {
		name := parseName(text)
		var err error
		if name.whole {
			err = s.tellAll(v)(v.group(name.group))
			if faultCode(err) == rpc.BadName {
				s.fail(v.noGroup, "%s: ERROR (no such group)", name.group)
				continue
			}
		} else {
			err = v.one(text)
			result := rpc.Result{Name: name.process, Group: name.group, Status: rpc.Success}
			var fault *rpc.Fault
			if errors.As(err, &fault) {
				result.Status, result.Description = fault.Code, fault.String
				err = nil
			}
			if err == nil {
				err = s.tell(v, result)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tellAll prints the results of a call.
func (s *session) tellAll(v verb) func([]rpc.Result, error) error {
	return func(results []rpc.Result, err error) error {
		if err != nil {
			return err
		}
		for _, r := range results {
			if err := s.tell(v, r); err != nil {
				return err
			}
		}
		return nil
	}
}

// tell prints the line of one result and sets the exit status. A result that
// the verb does not expect is an error.
func (s *session) tell(v verb, r rpc.Result) error {
	line, ok := v.tell(r)
	if !ok {
		return &rpc.Fault{Code: r.Status, String: r.Description}
	}
	s.printf("%s", line)
	switch r.Status {
	case rpc.Success, v.harmless:
	case rpc.SpawnError, rpc.AbnormalTermination, rpc.NotRunning:
		s.status = exitDead
	default:
		s.status = exitGeneric
	}
	return nil
}

// reasons returns a function for verb.tell: done is printed for success, and
// the text of a status in parentheses for failure.
func reasons(done string, texts map[int]string) func(rpc.Result) (string, bool) {
	return func(r rpc.Result) (string, bool) {
		name := processName(r.Group, r.Name)
		if r.Status == rpc.Success {
			return name + ": " + done, true
		}
		text, ok := texts[r.Status]
		return fmt.Sprintf("%s: ERROR (%s)", name, text), ok
	}
}

// failedAsIs has a FAILED result print its text alone.
func failedAsIs(tell func(rpc.Result) (string, bool)) func(rpc.Result) (string, bool) {
	return func(r rpc.Result) (string, bool) {
		if r.Status == rpc.Failed {
			return r.Description, true
		}
		return tell(r)
	}
}

func starting(ctx context.Context, daemon *client.Client) verb {
	return verb{
		one:      func(name string) error { return daemon.StartProcess(ctx, name) },
		group:    func(name string) ([]rpc.Result, error) { return daemon.StartProcessGroup(ctx, name) },
		everyone: func() ([]rpc.Result, error) { return daemon.StartAllProcesses(ctx) },
		tell: reasons("started", map[int]string{
			rpc.BadName:             "no such process",
			rpc.NoFile:              "no such file",
			rpc.NotExecutable:       "file is not executable",
			rpc.AlreadyStarted:      "already started",
			rpc.SpawnError:          "spawn error",
			rpc.AbnormalTermination: "abnormal termination",
		}),
		harmless: rpc.AlreadyStarted,
		noGroup:  exitInvalidArgs,
	}
}

func stopping(ctx context.Context, daemon *client.Client) verb {
	return verb{
		one:      func(name string) error { return daemon.StopProcess(ctx, name) },
		group:    func(name string) ([]rpc.Result, error) { return daemon.StopProcessGroup(ctx, name) },
		everyone: func() ([]rpc.Result, error) { return daemon.StopAllProcesses(ctx) },
		tell: failedAsIs(reasons("stopped", map[int]string{
			rpc.BadName:    "no such process",
			rpc.BadSignal:  "bad signal name",
			rpc.NotRunning: "not running",
		})),
		harmless: rpc.NotRunning,
		noGroup:  exitGeneric,
	}
}

func signalling(ctx context.Context, daemon *client.Client, signal string) verb {
	return verb{
		one:      func(name string) error { return daemon.SignalProcess(ctx, name, signal) },
		group:    func(name string) ([]rpc.Result, error) { return daemon.SignalProcessGroup(ctx, name, signal) },
		everyone: func() ([]rpc.Result, error) { return daemon.SignalAllProcesses(ctx, signal) },
		tell: failedAsIs(reasons("signalled", map[int]string{
			rpc.BadName:    "no such process",
			rpc.BadSignal:  "bad signal name",
			rpc.NotRunning: "not running",
		})),
		noGroup: exitGeneric,
	}
}

func start(ctx context.Context, s *session, daemon *client.Client, arg string) error {
	names := strings.Fields(arg)
	if len(names) == 0 {
		s.misuse(findAction("start"), exitInvalidArgs, "start requires a process name")
		return nil
	}
	return s.each(starting(ctx, daemon), names)
}

func stop(ctx context.Context, s *session, daemon *client.Client, arg string) error {
	names := strings.Fields(arg)
	if len(names) == 0 {
		s.misuse(findAction("stop"), exitGeneric, "stop requires a process name")
		return nil
	}
	return s.each(stopping(ctx, daemon), names)
}

func restart(ctx context.Context, s *session, daemon *client.Client, arg string) error {
	names := strings.Fields(arg)
	if len(names) == 0 {
		s.misuse(findAction("restart"), exitGeneric, "restart requires a process name")
		return nil
	}
	if err := s.each(stopping(ctx, daemon), names); err != nil {
		return err
	}
	return s.each(starting(ctx, daemon), names)
}

func sendSignal(ctx context.Context, s *session, daemon *client.Client, arg string) error {
	words := strings.Fields(arg)
	if len(words) < 2 {
		s.misuse(findAction("signal"), exitGeneric, "signal requires a signal name and a process name")
		return nil
	}
	return s.each(signalling(ctx, daemon, words[0]), words[1:])
}

// clearLogs empties logs. A group cannot be named here.
func clearLogs(ctx context.Context, s *session, daemon *client.Client, arg string) error {
	names := strings.Fields(arg)
	if len(names) == 0 {
		s.misuse(findAction("clear"), exitGeneric, "clear requires a process name")
		return nil
	}
	v := verb{
		everyone: func() ([]rpc.Result, error) { return daemon.ClearAllProcessLogs(ctx) },
		tell: reasons("cleared", map[int]string{
			rpc.BadName: "no such process",
			rpc.Failed:  "failed",
		}),
	}
	if all(names) {
		return s.tellAll(v)(v.everyone())
	}
	for _, text := range names {
		err := daemon.ClearProcessLogs(ctx, text)
		switch faultCode(err) {
		case rpc.BadName:
			s.fail(exitGeneric, "%s: ERROR (no such process)", parseName(text))
		case rpc.Failed:
			s.fail(exitGeneric, "%s: ERROR (failed)", parseName(text))
		default:
			if err != nil {
				return err
			}
			s.printf("%s: cleared", parseName(text))
		}
	}
	return nil
}
