// Suptail prints and follows the logs of programs by their names.
//
// Usage:
//
//	suptail [options] NAME...
//
// It asks the daemon where the logs are and reads the files itself, through
// rotation, back into compressed backups, and on through restarts of the daemon.
// Where it cannot read them, because the daemon is on another machine or the
// files are not for everybody, it reads them through the daemon.
//
// A NAME is a program, group:program, group:*, a pattern such as "web*", or
// all. With several, each line begins with the name it comes from.
//
// The options are
//
//	-n, --lines N         print the last N lines (10); "all" for all. With
//	                      --grep or --since, N of those that fit (all)
//	-f, --follow          print what is appended, until interrupted
//	-F                    the same: logs are always followed by name
//	    --stderr          the log of standard error
//	    --since WHEN      leave out what is older: 90s, 10m, 2h, 3d, or a time
//	    --grep RE         only lines that match a regular expression
//	    --json            one JSON object per line
//	-c, --configuration FILE, -s, --serverurl URL, -u, --username NAME,
//	-p, --password TEXT   the daemon, as for supctl
//	-h, --help            print help and exit
//	    --version         print the version and exit
//
// The exit status is 0 if every log was printed, 1 if one could not be, 2 for
// wrong usage, and 4 if the daemon cannot be reached.
//
// Suptail keeps no lines: its memory does not grow with the logs. It tells no
// time of its own; --since goes by the time stamps that lines begin with.
package main

import (
	"context"
	"os"

	"sup/lib/cli"
)

func main() {
	os.Exit(run(cli.UntilReaderGone(context.Background(), os.Stdout), os.Args, cli.Standard()))
}
