package main

import (
	"context"
	"errors"
	"strings"

	"sup/lib/client"
	"sup/lib/rpc"
)

// shutdown ends the daemon.
func shutdown(ctx context.Context, s *session, daemon *client.Client, _ string) error {
	if ok, err := s.confirm(ctx, "Really shut the remote supervisord process down y/N? "); err != nil || !ok {
		return err
	}
	err := daemon.Shutdown(ctx)
	switch {
	case faultCode(err) == rpc.ShutdownState:
		s.printf("ERROR: already shutting down")
	case errors.Is(err, client.ErrNoSocket), errors.Is(err, client.ErrRefused):
		s.fail(exitGeneric, "ERROR: %v (already shut down?)", err)
	case err != nil:
		return err
	default:
		s.printf("Shut down")
	}
	return nil
}

// reload restarts the daemon.
func reload(ctx context.Context, s *session, daemon *client.Client, _ string) error {
	if ok, err := s.confirm(ctx, "Really restart the remote supervisord process y/N? "); err != nil || !ok {
		return err
	}
	err := daemon.Restart(ctx)
	if faultCode(err) == rpc.ShutdownState {
		s.fail(exitGeneric, "ERROR: already shutting down")
		return nil
	}
	if err != nil {
		return err
	}
	s.printf("Restarted supervisord")
	return nil
}

// confirm asks a question in a shell; a script has made up its mind.
func (s *session) confirm(ctx context.Context, question string) (bool, error) {
	if !s.interactive {
		return true, nil
	}
	answer, err := s.readLine(ctx, question, false)
	if err != nil {
		return false, err
	}
	return strings.HasPrefix(strings.ToLower(answer), "y"), nil
}

// open uses another daemon from now on and shows its status, whose exit status
// does not count.
func open(ctx context.Context, s *session, _ *client.Client, arg string) error {
	scheme, _, ok := strings.Cut(strings.ToLower(arg), ":")
	if !ok || scheme != "unix" && scheme != "http" && scheme != "https" {
		s.fail(exitGeneric, "ERROR: url must be http://, https:// or unix://")
		return nil
	}
	s.disconnect()
	s.serverURL = arg
	before := s.status
	err := s.try(ctx, findAction("status"), "")
	s.status = before
	return err
}
