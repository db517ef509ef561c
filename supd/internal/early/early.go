// Package early listens to signals from the very beginning of an image that
// replaces another one. The kernel hands SIGTERM to a program that has only
// just been executed, and the Go runtime ends it by that until somebody asks
// for the signal; so this package imports as little as it can, to be
// initialized among the first.
package early

import (
	"os"
	"os/signal"
	"syscall"
)

// Variable is the environment variable that is set in such an image.
const Variable = "SUPD_UPGRADE"

// Signals delivers the signals that came before the daemon listens, and all
// later ones. It is nil in an image that replaces none.
var Signals = listen()

// Wanted are the signals that mean something to the daemon.
var Wanted = []os.Signal{
	syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP,
	syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGCHLD,
}

func listen() chan os.Signal {
	if os.Getenv(Variable) == "" {
		return nil
	}
	signals := make(chan os.Signal, 256)
	signal.Notify(signals, Wanted...)
	return signals
}
