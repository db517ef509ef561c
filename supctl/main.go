// Supctl controls the programs that supd runs.
//
// Usage:
//
//	supctl [options] [action [arguments]]
//
// With an action, supctl carries it out and exits with its status. Without one
// it is a shell that reads actions from standard input.
//
// The options are
//
//	-c, --configuration FILE  read [supervisorctl] of this file; otherwise of
//	                          the first supervisord.conf found, if any
//	-s, --serverurl URL       the daemon: unix:///path, http://host:port or https://…
//	-u, --username NAME       credentials, sent if both are known; the password
//	-p, --password TEXT       is better put into SUPERVISOR_PASSWORD or the file
//	-i, --interactive         start a shell, after the action if there is one
//	-r, --history_file FILE   keep what is typed in the shell
//	-h, -?, --help            print help and exit
//
// What the actions print, and the exit statuses, are those of supervisorctl,
// so that scripts need not know which one they call; supctl(1) lists them. All
// output goes to standard output; standard error gets usage errors only.
package main

import (
	"os"

	"sup/lib/cli"
)

func main() {
	os.Exit(run(os.Args, cli.Standard()))
}
