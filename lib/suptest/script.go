package suptest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// T is what this package needs of a test.
type T interface {
	Helper()
	Context() context.Context
	Cleanup(func())
	Logf(format string, args ...any)
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Failed() bool
}

// RunScripts runs the scripts in a directory (*.txtar; see
// https://pkg.go.dev/github.com/rogpeppe/go-internal/testscript). Each has a
// directory to itself, in which it starts; the tools that are named are found
// in PATH. There are these commands besides the usual ones:
//
//	daemon [args]         starts supd -n with the directory's supervisord.conf
//	                      and waits until it answers on its socket, supd.sock
//	await STATE NAME...   waits until the processes are in that state
//	await-log TEXT        waits until the text is in the activity log, supd.log
//	await-file FILE TEXT  waits until the text is in the file
//	signal SIGNAL NAME    sends a signal to a process by its pid; the name supd
//	                      means the daemon
//	shutdown              ends the daemon as Daemon.Stop does
//
// The condition [reference] holds if the tests run against Supervisor. A daemon
// that still runs when the script ends is shut down in the same way.
func RunScripts(t *testing.T, dir string, tools ...string) {
	t.Helper()
	commands := map[string]string{}
	for _, name := range tools {
		commands[name] = strings.Join(command(t, name), " ")
	}
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Setup: func(env *testscript.Env) error {
			bin := filepath.Join(env.WorkDir, ".bin")
			if err := os.Mkdir(bin, 0o755); err != nil {
				return err
			}
			for name, words := range commands {
				script := fmt.Sprintf("#!/bin/sh\nexec %s \"$@\"\n", words)
				// A child of another test that is about to execute its program would have
				// the file open for writing, and it could not be executed.
				syscall.ForkLock.RLock()
				err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755)
				syscall.ForkLock.RUnlock()
				if err != nil {
					return err
				}
			}
			env.Values[stageKey{}] = &stage{test: env.T()}
			env.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"daemon":     scriptDaemon,
			"await":      scriptAwait,
			"await-log":  scriptAwaitLog,
			"await-file": scriptAwaitFile,
			"signal":     scriptSignal,
			"shutdown":   scriptShutdown,
		},
		Condition: func(name string) (bool, error) {
			if name == "reference" {
				return Reference(), nil
			}
			return false, fmt.Errorf("unknown condition %s", name)
		},
		// The names of directories are part of socket paths, which must be short.
		WorkdirRoot: tempDir(t),
	})
}

// script is a T for what a script's commands do. The first error ends the
// script.
type script struct {
	*testscript.TestScript
	test testscript.T
	// over is set when the last command was run. What goes wrong from then on
	// is not an error of a command.
	over bool
}

func (s *script) Helper()                           {}
func (s *script) Context() context.Context          { return context.Background() }
func (s *script) Error(args ...any)                 { s.Fatalf("%s", fmt.Sprint(args...)) }
func (s *script) Errorf(format string, args ...any) { s.Fatalf(format, args...) }
func (s *script) Fatal(args ...any)                 { s.Fatalf("%s", fmt.Sprint(args...)) }

// Failed is unknown to scripts; so the daemon's log is always shown, which for
// a script that passes is with -v only.
func (s *script) Failed() bool { return true }

func (s *script) Cleanup(f func()) {
	s.Defer(func() {
		s.over = true
		f()
	})
}

func (s *script) Fatalf(format string, args ...any) {
	if s.over {
		s.test.Fatal(fmt.Sprintf(format, args...))
	}
	s.TestScript.Fatalf(format, args...)
}

// stageKey finds the *stage of a script.
type stageKey struct{}

// stage is what a script's commands share.
type stage struct {
	test   testscript.T
	daemon *Daemon
}

// onStage is what every command begins with. Commands other than daemon need
// one that runs.
func onStage(ts *testscript.TestScript, neg bool, args []string, least int, usage string) *Daemon {
	if neg || len(args) < least {
		ts.Fatalf("usage: %s", usage)
	}
	d := ts.Value(stageKey{}).(*stage).daemon
	if d == nil {
		ts.Fatalf("there is no daemon")
	}
	return d
}

func scriptDaemon(ts *testscript.TestScript, neg bool, args []string) {
	stage := ts.Value(stageKey{}).(*stage)
	if neg || stage.daemon != nil {
		ts.Fatalf("usage: daemon [args], once")
	}
	stage.daemon = Start(&script{TestScript: ts, test: stage.test}, Options{Dir: ts.MkAbs("."), Args: args})
}

func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	d := onStage(ts, neg, args, 2, "await STATE NAME...")
	d.Wait(args[0], args[1:]...)
}

func scriptAwaitLog(ts *testscript.TestScript, neg bool, args []string) {
	d := onStage(ts, neg, args, 1, "await-log TEXT")
	d.WaitFile(logName, strings.Join(args, " "))
}

func scriptAwaitFile(ts *testscript.TestScript, neg bool, args []string) {
	d := onStage(ts, neg, args, 2, "await-file FILE TEXT")
	d.WaitFile(args[0], strings.Join(args[1:], " "))
}

func scriptSignal(ts *testscript.TestScript, neg bool, args []string) {
	d := onStage(ts, neg, args, 2, "signal SIGNAL NAME")
	sig := unix.SignalNum("SIG" + strings.TrimPrefix(args[0], "SIG"))
	if sig == 0 {
		ts.Fatalf("unknown signal %s", args[0])
	}
	pid := d.PID()
	if args[1] != "supd" {
		pid = d.Info(args[1]).PID
	}
	ts.Check(syscall.Kill(pid, sig))
}

func scriptShutdown(ts *testscript.TestScript, neg bool, args []string) {
	d := onStage(ts, neg, args, 0, "shutdown")
	d.Stop()
	ts.Value(stageKey{}).(*stage).daemon = nil
}
