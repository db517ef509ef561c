package cli

// Version is sup's own version. The Makefile sets it with the linker
// (-X sup/lib/cli.Version=…).
var Version = "0.1.0"

// Compatible is the version of Supervisor whose behaviour, interfaces and
// file format the tools follow.
const Compatible = "4.2.5"

// FullVersion is what the tools print and what getSupervisorVersion answers:
// the version of Supervisor that scripts may compare with, and our own as
// build metadata.
func FullVersion() string { return Compatible + "+sup" + Version }
