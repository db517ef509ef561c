package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"sup/lib/client"
	"sup/lib/rpc"
)

// foreground connects the streams of a process to ours: its logs are followed,
// and lines from standard input are sent to it.
func foreground(ctx context.Context, s *session, daemon *client.Client, arg string) error {
	names := strings.Fields(arg)
	switch {
	case len(names) == 0:
		s.fail(exitGeneric, "ERROR: no process name supplied")
		s.printf("%s", raw(findAction("fg").usage()))
		return nil
	case len(names) > 1:
		s.fail(exitGeneric, "ERROR: too many process names supplied")
		return nil
	}
	name := names[0]
	info, err := daemon.ProcessInfo(ctx, name)
	switch {
	case faultCode(err) == rpc.BadName:
		s.fail(exitGeneric, "ERROR: bad process name supplied")
		return nil
	case err != nil:
		return err
	case info.State != client.StateRunning:
		s.fail(exitGeneric, "ERROR: process not running")
		return nil
	}
	ctx, release := s.interrupts.register(ctx)
	defer release()
	s.printf(banner)
	defer s.followBoth(ctx, daemon, name)()
	return s.sendLines(ctx, daemon, name)
}

// followBoth copies both logs of a process to the output. The function it
// returns ends that.
func (s *session) followBoth(ctx context.Context, daemon *client.Client, name string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var copying sync.WaitGroup
	for _, stream := range []client.Stream{client.Stdout, client.Stderr} {
		path := logPath(name, stream)
		log, err := daemon.Follow(ctx, path)
		if err != nil {
			// Many processes have but one log: no reason to complain.
			if ctx.Err() == nil && !client.IsStatus(err, http.StatusNotFound) {
				s.cannotFollow(path, err)
			}
			continue
		}
		copying.Go(func() {
			defer log.Close()
			io.Copy(s.out, log)
		})
	}
	return func() {
		cancel()
		copying.Wait()
	}
}

// sendLines sends standard input to a process, line by line, until it ends,
// the user interrupts, or the process does not run any more.
func (s *session) sendLines(ctx context.Context, daemon *client.Client, name string) error {
	defer s.printf("Exiting foreground")
	for {
		line, err := s.in.ReadLine(ctx)
		if err != nil {
			return nil // io.EOF, or an interrupt
		}
		err = daemon.SendProcessStdin(ctx, name, line+"\n")
		if err == nil {
			var info rpc.ProcessInfo
			info, err = daemon.ProcessInfo(ctx, name)
			if err == nil && info.State != client.StateRunning {
				err = errGone
			}
		}
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errGone), faultCode(err) == rpc.NotRunning:
			s.printf("Process got killed")
			return nil
		default:
			s.printf("ERROR: %s", describe(err))
			return nil
		}
	}
}

// errGone is a process that was found not running.
var errGone = errors.New("not running")
