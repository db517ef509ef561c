// Supd starts programs, watches them, starts them again when they end, and
// answers to supctl: the daemon of sup. It reads Supervisor's configuration and
// behaves as supervisord does.
//
// Usage:
//
//	supd [-c FILE] [-n] [options]
//
// Its manual page, supd.8, lies beside this file.
package main

import (
	"os"
	"runtime/debug"

	"sup/lib/spawn"
)

// gcPercent makes the collector run less often than it does by default: what
// supd holds is small, what it makes for each answer and each start is not.
const gcPercent = 300

func main() {
	spawn.Init()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	os.Exit(run(os.Args, os.Stdout, os.Stderr))
}
