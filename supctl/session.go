package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"sup/lib/cli"
	"sup/lib/client"
	"sup/lib/rpc"
	"sup/lib/value"
)

// Exit statuses.
const (
	exitGeneric     = 1
	exitInvalidArgs = 2
	// exitNotRunning and exitUnknown are those of status: something listed
	// does not run, and a name is unknown or the daemon out of reach.
	exitNotRunning = 3
	exitUnknown    = 4
	// The others are reasons for which no action is possible.
	exitNoInterface = 3
	exitRefused     = 4
	exitWrongAPI    = 5
	// exitDead is a process, or a daemon, that does not run.
	exitDead = 7
)

// apiVersion is the version of the XML-RPC interface that we speak.
const apiVersion = "3.0"

// session is one run of supctl: the daemon it talks to, its streams, and what
// the actions so far have come to.
type session struct {
	settings
	in  *cli.Input
	out *lockedWriter
	err io.Writer
	// editor is nil if standard input or output is no terminal.
	editor  *cli.Editor
	colours bool
	// ask asks for credentials.
	ask func(ctx context.Context, prompt string, hidden bool) (string, error)

	interrupts *interrupts

	// daemon is made when first needed; see connect.
	daemon *client.Client
	// status is what supctl exits with. A failure overwrites it, a success
	// leaves it.
	status int
	// infos is what completion knows of the processes; the next action
	// makes it forget.
	infos []rpc.ProcessInfo
}

// lockedWriter is written to by several goroutines while logs are followed.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// run is supctl as a function from a command line to an exit status.
func run(argv []string, streams cli.Streams) int {
	settings, err := parseArgs(argv, streams)
	if errors.Is(err, errDone) {
		return 0
	}
	if err != nil {
		return cli.UsageError(streams.Err, argv[0], err)
	}
	s := newSession(settings, streams)
	defer s.disconnect()
	if len(s.words) > 0 {
		quit := s.perform(context.Background(), strings.Join(s.words, " "))
		if quit || !s.interactive {
			return s.status
		}
	}
	s.shell()
	return 0
}

func newSession(settings *settings, streams cli.Streams) *session {
	s := &session{
		settings:   *settings,
		in:         cli.NewInput(streams.In),
		out:        &lockedWriter{w: streams.Out},
		err:        streams.Err,
		colours:    cli.Colours(streams.Out),
		interrupts: newInterrupts(),
	}
	s.ask = s.askUser
	if s.interactive {
		s.useTerminal(streams)
	}
	return s
}

// raw is text that is printed as it is: of several lines, or a program's.
type raw string

// printf prints a line. Names and texts of others cannot make more of it, nor
// anything on a terminal.
func (s *session) printf(format string, args ...any) {
	fmt.Fprintf(s.out, format+"\n", shown(args)...)
}

// shown makes what is to be printed harmless.
func shown(args []any) []any {
	for i, arg := range args {
		switch arg := arg.(type) {
		case string:
			args[i] = value.Printable(arg)
		case error:
			args[i] = value.Printable(strings.ReplaceAll(arg.Error(), "\n", " "))
		case fmt.Stringer:
			args[i] = value.Printable(arg.String())
		}
	}
	return args
}

// fail prints a line and sets the exit status.
func (s *session) fail(status int, format string, args ...any) {
	s.printf(format, args...)
	s.status = status
}

// misuse prints why an action cannot be understood, and its help.
func (s *session) misuse(a *action, status int, format string, args ...any) {
	s.fail(status, "Error: "+format, args...)
	s.printf("%s", raw(a.usage()))
}

// connect returns the client of the daemon.
func (s *session) connect() (*client.Client, error) {
	if s.daemon == nil {
		daemon, err := client.New(s.serverURL, s.username, s.password)
		if err != nil {
			return nil, err
		}
		if s.file != nil {
			daemon.Trust(s.file.Trusts)
			daemon.Secure(client.TLS(s.file.TLS))
		}
		s.daemon = daemon
	}
	return s.daemon, nil
}

// disconnect makes the next action connect anew, with the settings it finds.
func (s *session) disconnect() {
	if s.daemon != nil {
		s.daemon.Close()
		s.daemon = nil
	}
}

// perform carries out one line and reports whether it asks to leave the shell.
func (s *session) perform(ctx context.Context, line string) (quit bool) {
	line = strings.TrimSpace(line)
	if line == "" {
		return false
	}
	s.infos = nil
	name, arg := splitAction(line)
	a := findAction(name)
	if a == nil {
		s.fail(exitGeneric, "*** Unknown syntax: %s", line)
		return false
	}
	for {
		err := s.try(ctx, a, arg)
		switch {
		case err == nil || ctx.Err() != nil:
			return false
		case errors.Is(err, errQuit):
			return true
		case client.IsStatus(err, http.StatusUnauthorized):
			s.fail(exitGeneric, "Server requires authentication")
			if !s.interactive {
				return false
			}
			if err = s.login(ctx); err == nil {
				continue
			}
		}
		// The reason of a fault may have lines of its own.
		text := strings.ReplaceAll(fmt.Sprint(describe(err)), "\n", " ")
		s.fail(exitGeneric, "error: %s", text)
		return false
	}
}

// try carries out an action. The errors it returns are those the action did
// not expect.
func (s *session) try(ctx context.Context, a *action, arg string) error {
	if a.noArguments && arg != "" {
		s.misuse(a, exitGeneric, "%s accepts no arguments", a.name)
		return nil
	}
	if a.local {
		return a.run(ctx, s, nil, arg)
	}
	daemon, err := s.connect()
	if err != nil {
		return err
	}
	if a.check {
		ok, err := s.check(ctx, daemon)
		if err != nil {
			return err
		}
		if !ok {
			if a.down != 0 {
				s.status = a.down
			}
			return nil
		}
	}
	return a.run(ctx, s, daemon, arg)
}

// check finds out whether a daemon is there that we understand. If not, it
// says so, sets the exit status, and returns false.
func (s *session) check(ctx context.Context, daemon *client.Client) (bool, error) {
	version, err := daemon.APIVersion(ctx)
	switch {
	case errors.Is(err, client.ErrNoSocket):
		s.fail(exitDead, "%v", err)
	case errors.Is(err, client.ErrRefused), errors.Is(err, client.ErrStranger):
		s.fail(exitRefused, "%v", err)
	case faultCode(err) == rpc.UnknownMethod:
		s.fail(exitNoInterface, "%s answers, but offers no supervisor interface: "+
			"its configuration lacks the section [rpcinterface:supervisor]", s.serverURL)
	case err != nil:
		return false, err
	case version != apiVersion:
		s.fail(exitWrongAPI, "%s speaks version %s of the interface, and this program version %s only",
			s.serverURL, version, apiVersion)
	default:
		return true, nil
	}
	return false, nil
}

// faultCode returns the code of an XML-RPC fault, 0 for other errors.
func faultCode(err error) int {
	var fault *rpc.Fault
	if errors.As(err, &fault) {
		return fault.Code
	}
	return 0
}

// describe returns what an error line says: for a fault its text, which names
// the fault, and the code only if there is no text.
func describe(err error) string {
	var fault *rpc.Fault
	if errors.As(err, &fault) && fault.String != "" {
		return fault.String
	}
	return err.Error()
}
