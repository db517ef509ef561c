package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"sup/lib/client"
	"sup/lib/rpc"
	"sup/lib/value"
)

// status prints a line for each process named.
func status(ctx context.Context, s *session, daemon *client.Client, arg string) error {
	infos, err := daemon.AllProcessInfo(ctx)
	if err != nil {
		return err
	}
	names := strings.Fields(arg)
	if len(names) > 0 && !all(names) {
		infos = s.choose(infos, names)
	}
	s.out.Write(s.statusLines(infos))
	for _, info := range infos {
		switch info.State {
		case client.StateStopped, client.StateExited, client.StateFatal, client.StateUnknown:
			s.status = exitNotRunning
		}
	}
	return nil
}

// choose returns the infos that are named, in the order of the names, and
// complains of names that are unknown.
func (s *session) choose(infos []rpc.ProcessInfo, names []string) []rpc.ProcessInfo {
	var chosen []rpc.ProcessInfo
	for _, text := range names {
		name := parseName(text)
		found := false
		for _, info := range infos {
			if info.Group == name.group && (name.whole || info.Name == name.process) {
				chosen = append(chosen, info)
				found = true
			}
		}
		switch {
		case found:
		case name.whole:
			s.fail(exitUnknown, "%s: ERROR (no such group)", name.group)
		default:
			s.fail(exitUnknown, "%s: ERROR (no such process)", text)
		}
	}
	return chosen
}

const (
	// nameWidth is the least width of the column of names, without the gap.
	nameWidth  = 30
	nameGap    = 3
	stateWidth = 10
)

// statusLines returns the lines of status.
func (s *session) statusLines(infos []rpc.ProcessInfo) []byte {
	width := nameWidth
	for _, info := range infos {
		width = max(width, utf8.RuneCountInString(value.Printable(processName(info.Group, info.Name))))
	}
	var b bytes.Buffer
	for _, info := range infos {
		// The whole line has one colour: programs that read a terminal look
		// for what stands in it.
		if s.colours {
			b.WriteString(colour(info.State))
		}
		fmt.Fprintf(&b, "%-*s%-*s%s", width+nameGap, value.Printable(processName(info.Group, info.Name)),
			stateWidth, value.Printable(info.StateName), value.Printable(info.Description))
		if s.colours {
			b.WriteString(colourOff)
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

const colourOff = "\x1b[0m"

// colour returns the escape sequence that a state is shown in.
func colour(state int) string {
	switch state {
	case client.StateRunning:
		return "\x1b[32m" // green
	case client.StateStarting, client.StateStopping, client.StateBackoff:
		return "\x1b[33m" // yellow
	case client.StateFatal, client.StateUnknown:
		return "\x1b[31m" // red
	}
	return "\x1b[2m" // faint
}

// pid prints process ids, one per line: the daemon's, or those of processes.
func pid(ctx context.Context, s *session, daemon *client.Client, arg string) error {
	names := strings.Fields(arg)
	if len(names) == 0 {
		number, err := daemon.PID(ctx)
		if err != nil {
			return err
		}
		s.printf("%d", number)
		return nil
	}
	if all(names) {
		infos, err := daemon.AllProcessInfo(ctx)
		if err != nil {
			return err
		}
		for _, info := range infos {
			s.printf("%d", info.PID)
		}
		return nil
	}
	for _, name := range names {
		info, err := daemon.ProcessInfo(ctx, name)
		switch {
		case faultCode(err) == rpc.BadName:
			s.fail(exitGeneric, "No such process %s", name)
		case err != nil:
			return err
		case info.PID == 0:
			s.fail(exitDead, "0")
		default:
			s.printf("%d", info.PID)
		}
	}
	return nil
}

// avail prints a line for each process of the configuration last read.
func avail(ctx context.Context, s *session, daemon *client.Client, _ string) error {
	available, err := daemon.AllConfigInfo(ctx)
	if faultCode(err) == rpc.ShutdownState {
		s.fail(exitGeneric, "ERROR: supervisor shutting down")
		return nil
	}
	if err != nil {
		return err
	}
	for _, p := range available {
		use, start := "avail", "manual"
		if p.InUse {
			use = "in use"
		}
		if p.AutoStart {
			start = "auto"
		}
		s.printf("%-32s %-9s %-9s %d:%d", processName(p.Group, p.Name), use, start, p.GroupPriority, p.ProcessPriority)
	}
	return nil
}

// version prints the daemon's version.
func version(ctx context.Context, s *session, daemon *client.Client, _ string) error {
	text, err := daemon.SupervisorVersion(ctx)
	if err != nil {
		return err
	}
	s.printf("%s", text)
	return nil
}
