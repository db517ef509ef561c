// Supd starts programs, watches them, starts them again when they end, and
// answers to supctl: the daemon of sup. It reads Supervisor's configuration and
// behaves as supervisord does.
//
// Usage:
//
//	supd [-c FILE] [-n] [options]
//
// Called as pidproxy it is Supervisor's program of that name:
//
//	pidproxy PIDFILE COMMAND [ARGUMENT...]
//
// Its manual page, supd.8, lies beside this file.
package main

import (
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"sup/lib/spawn"
)

// gcPercent makes the collector run less often than it does by default: what
// supd holds is small, what it makes for each answer and each start is not.
// Above memoryLimit, in bytes, it runs as often as that takes: clients that ask for
// much at once make the daemon slower then, and not larger.
const (
	gcPercent   = 300
	memoryLimit = 48 << 20
)

// The main thread does nothing, so that it can be interrupted at any time: the
// kernel hands it the signals to the daemon, and any other thread may hang on a
// disk.
func init() { runtime.LockOSThread() }

func main() {
	spawn.Init()
	status := make(chan int)
	go func() { status <- daemonOrProxy() }()
	os.Exit(<-status)
}

// daemonOrProxy is the program by the name it was called by. The result is its
// exit status.
func daemonOrProxy() int {
	if filepath.Base(os.Args[0]) == proxyName {
		signals := make(chan os.Signal, 16)
		signal.Notify(signals, proxied...)
		return pidproxy(os.Args, []*os.File{os.Stdin, os.Stdout, os.Stderr}, signals)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	return run(os.Args, os.Stdout, os.Stderr)
}
