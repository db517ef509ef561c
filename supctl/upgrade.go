package main

import (
	"context"
	"errors"
	"time"

	"sup/lib/client"
	"sup/lib/rpc"
)

// upgradePatience is how long the new daemon has to answer.
const upgradePatience = 15 * time.Second

// upgrade has the daemon replace itself in place, and waits for the new one.
func upgrade(ctx context.Context, s *session, daemon *client.Client, _ string) error {
	before, err := daemon.Generation(ctx)
	if faultCode(err) == rpc.UnknownMethod {
		s.fail(exitGeneric, "ERROR: this daemon cannot be upgraded in place; it is not supd")
		return nil
	}
	if err != nil {
		return err
	}
	if err := daemon.Upgrade(ctx); err != nil {
		var fault *rpc.Fault
		if errors.As(err, &fault) {
			s.fail(exitGeneric, "ERROR: nothing was changed: %s", fault.String)
			return nil
		}
		return err
	}
	// Connections that are made meanwhile wait in the daemon's sockets until
	// the new image takes them.
	ctx, cancel := context.WithTimeout(ctx, upgradePatience)
	defer cancel()
	for {
		g, err := daemon.Generation(ctx)
		switch {
		case err == nil && g.Generation > before.Generation:
			s.printf("upgraded: pid %d, generation %d, %d programs kept", g.PID, g.Generation, g.Kept)
			return nil
		case ctx.Err() != nil:
			s.fail(exitGeneric, "ERROR: the daemon went on as it was; its log says why")
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}
