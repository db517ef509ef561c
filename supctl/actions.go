package main

import (
	"context"
	"errors"
	"sort"
	"strings"

	"sup/lib/client"
)

// action is something supctl can be asked to do.
type action struct {
	name string
	// help has a line for each form: its words, then what it does.
	help [][2]string

	// noArguments actions refuse any before they look for the daemon.
	noArguments bool
	// local actions do without a daemon; run gets nil for it.
	local bool
	// check asks the daemon first whether it is one that we understand.
	check bool
	// down is the exit status if it is not; 0 leaves that to the reason.
	down int
	// complete says what TAB offers after the action's name.
	complete completion

	// run carries the action out. arg is the rest of the line without the
	// blanks around it. An error it returns ends the action with an
	// "error:" line; what it expects to fail it reports itself.
	run func(ctx context.Context, s *session, daemon *client.Client, arg string) error
}

// completion is a kind of words.
type completion uint8

const (
	completeNothing completion = iota
	completeActions
	completeGroups
	completeProcesses
)

// errQuit is returned by the actions that leave the shell.
var errQuit = errors.New("quit")

// actions is the table of all actions, by name.
var actions []*action

// It is filled here because help, which is in it, reads it.
func init() {
	actions = []*action{
		{name: "add", complete: completeGroups, run: add, help: [][2]string{
			{"add GROUP...", "activate groups that reread has found"},
		}},
		{name: "avail", noArguments: true, run: avail, help: [][2]string{
			{"avail", "list every configured process"},
		}},
		{name: "clear", check: true, complete: completeProcesses, run: clearLogs, help: [][2]string{
			{"clear NAME...", "empty the logs of processes"},
			{"clear all", "empty the logs of all processes"},
		}},
		{name: "exit", local: true, run: quit, help: [][2]string{
			{"exit", "leave the shell"},
		}},
		{name: "fg", check: true, complete: completeProcesses, run: foreground, help: [][2]string{
			{"fg NAME", "connect to a process: show its output, send it what is typed;"},
			{"", "Ctrl-C leaves it running"},
		}},
		{name: "help", local: true, complete: completeActions, run: help, help: [][2]string{
			{"help", "list the actions"},
			{"help ACTION", "explain an action"},
		}},
		{name: "maintail", check: true, run: mainTail, help: [][2]string{
			{"maintail", "show the last 1600 bytes of the daemon's activity log"},
			{"maintail -N", "show the last N bytes"},
			{"maintail -f", "follow it; Ctrl-C ends"},
		}},
		{name: "open", local: true, run: open, help: [][2]string{
			{"open URL", "talk to another daemon, at unix:///path, http://host:port or https://host:port"},
		}},
		{name: "pid", check: true, complete: completeProcesses, run: pid, help: [][2]string{
			{"pid", "print the process id of the daemon"},
			{"pid NAME...", "print those of processes, one per line"},
			{"pid all", "print those of all processes"},
		}},
		{name: "quit", local: true, run: quit, help: [][2]string{
			{"quit", "leave the shell"},
		}},
		{name: "reload", noArguments: true, run: reload, help: [][2]string{
			{"reload", "restart the daemon and everything it runs"},
		}},
		{name: "remove", complete: completeGroups, run: remove, help: [][2]string{
			{"remove GROUP...", "remove stopped groups from the active configuration"},
		}},
		{name: "reread", noArguments: true, run: reread, help: [][2]string{
			{"reread", "read the configuration anew, change nothing, tell what update would change"},
		}},
		{name: "restart", check: true, complete: completeProcesses, run: restart, help: [][2]string{
			{"restart NAME...", "stop and start processes"},
			{"restart GROUP:*", "stop and start all processes of a group"},
			{"restart all", "stop and start everything; for changes of the configuration see update"},
		}},
		{name: "shutdown", noArguments: true, run: shutdown, help: [][2]string{
			{"shutdown", "stop everything and end the daemon"},
		}},
		{name: "signal", check: true, complete: completeProcesses, run: sendSignal, help: [][2]string{
			{"signal SIGNAL NAME...", "send a signal, by name or number, to processes"},
			{"signal SIGNAL GROUP:*", "send it to all processes of a group"},
			{"signal SIGNAL all", "send it to all processes"},
		}},
		{name: "start", check: true, complete: completeProcesses, run: start, help: [][2]string{
			{"start NAME...", "start processes and wait until they are up"},
			{"start GROUP:*", "start all processes of a group"},
			{"start all", "start everything"},
		}},
		{name: "status", check: true, down: exitUnknown, complete: completeProcesses, run: status, help: [][2]string{
			{"status", "show the state of all processes"},
			{"status NAME...", "show that of some"},
			{"status GROUP:*", "show that of a group"},
		}},
		{name: "stop", check: true, complete: completeProcesses, run: stop, help: [][2]string{
			{"stop NAME...", "stop processes and wait until they are down"},
			{"stop GROUP:*", "stop all processes of a group"},
			{"stop all", "stop everything"},
		}},
		{name: "tail", check: true, complete: completeProcesses, run: tail, help: [][2]string{
			{"tail NAME [stdout|stderr]", "show the last 1600 bytes of a log"},
			{"tail -N NAME [stdout|stderr]", "show the last N bytes"},
			{"tail -f NAME [stdout|stderr]", "follow it; Ctrl-C ends"},
		}},
		{name: "update", complete: completeGroups, run: update, help: [][2]string{
			{"update", "read the configuration anew, and add, restart and remove groups to match it"},
			{"update GROUP...", "do so for some groups only"},
			{"update all", "the same as update"},
		}},
		{name: "upgrade", noArguments: true, check: true, run: upgrade, help: [][2]string{
			{"upgrade", "replace the daemon, in place, by the program that lies at its path;"},
			{"", "programs run on, and no connection is refused"},
		}},
		{name: "version", noArguments: true, check: true, run: version, help: [][2]string{
			{"version", "print the version of the daemon"},
		}},
	}
}

// findAction returns the action of a name, nil if there is none.
func findAction(name string) *action {
	if name == "EOF" {
		// What Supervisor's shell makes of the end of input can be typed.
		name = "quit"
	}
	i := sort.Search(len(actions), func(i int) bool { return actions[i].name >= name })
	if i < len(actions) && actions[i].name == name {
		return actions[i]
	}
	return nil
}

// splitAction splits a line, which has no blanks around it and is not empty.
// The action's name ends at the first character that no such name has, so that
// "status:x" is the action status. The name is empty if there is none; a "?"
// is help.
func splitAction(line string) (name, arg string) {
	if rest, ok := strings.CutPrefix(line, "?"); ok {
		return "help", strings.TrimSpace(rest)
	}
	end := strings.IndexFunc(line, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_')
	})
	if end < 0 {
		end = len(line)
	}
	return line[:end], strings.TrimSpace(line[end:])
}
