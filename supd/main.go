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

	"sup/lib/spawn"
)

func main() {
	spawn.Init()
	os.Exit(run(os.Args, os.Stdout, os.Stderr))
}
