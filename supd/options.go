package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"sup/lib/cli"
	"sup/lib/logfile"
	"sup/lib/plan"
	"sup/supd/internal/activity"
	"sup/supd/internal/daemon"
	"sup/supd/internal/server"
	"sup/supd/internal/systemd"
)

// usageError says what is wrong with the command line or the configuration, in
// the form that Supervisor has: an Error line and where to find help.
func usageError(stderr io.Writer, prog string, err error) int {
	fmt.Fprintf(stderr, "Error: %s\nFor help, use %s -h\n", strings.TrimSpace(err.Error()), prog)
	return 2
}

// usage is what --help prints: the names of the command, as on a manual page,
// then an option a line in Supervisor's notation, which is searched for.
func usage(prog string) string {
	return `supd, supervisord -- run a set of applications and watch over them.

Usage: ` + prog + ` [options]

-c/--configuration FILENAME -- read this configuration; without it
                               supervisord.conf is searched for
-n/--nodaemon -- stay in the foreground
-s/--silent -- in the foreground: do not copy the activity log to stdout
-h/-?/--help -- print this text
-v/--version -- print the version
--demo -- run a demo configuration in a temporary directory

These win over the same keys of [supervisord]:

-u/--user USER -- run as this user, a name or a number
-m/--umask MASK -- umask of the daemon, octal
-d/--directory DIRECTORY -- change to DIRECTORY when daemonizing
-l/--logfile FILENAME -- use FILENAME as the activity log
-y/--logfile_maxbytes SIZE -- rotate it at this size, such as 50MB
-z/--logfile_backups NUM -- keep so many rotated files
-e/--loglevel LEVEL -- critical, error, warn, info, debug, trace or blather
-j/--pidfile FILENAME -- write the pid of the daemon to FILENAME
-i/--identifier NAME -- name of this daemon
-q/--childlogdir DIRECTORY -- where logs with automatic names go
-k/--nocleanup -- keep old logs with automatic names
-a/--minfds NUM -- open files that programs must be able to have
-t/--strip_ansi -- remove escape sequences from program logs
--minprocs NUM -- processes that the user must be able to have
--profile_options LIST -- accepted, and without effect

Exit status: 0 after an orderly end, 1 if something had to be left behind,
2 if the command line or the configuration is wrong or a socket is taken.
The manual is supd(8); check a configuration with "supconf lint".
`
}

// serverOptions are the settings of the servers of a plan. Sockets are not
// among them.
func (s *start) serverOptions(p *plan.Plan) server.Options {
	return server.Options{Version: cli.FullVersion(), Interfaces: p.RPCInterfaces, Record: s.record, Stderr: s.stderr, Lent: s.lent}
}

// takeSockets finds the sockets that we were given at our start: by the image
// before us, or by the service manager. It may be called once.
func (s *start) takeSockets() map[string]server.Inherited {
	if s.upgraded != nil {
		s.lent = s.upgraded.Lent
		return s.upgraded.sockets()
	}
	sockets := server.SocketAddresses(s.activated)
	s.lent = slices.Sorted(maps.Keys(sockets))
	return sockets
}

// notify is our side of the talk with the service manager, nil if there is
// none.
func (s *start) notify() (*daemon.Notify, error) {
	n, err := systemd.NewNotifier()
	if n == nil || err != nil {
		return nil, err
	}
	return &daemon.Notify{Send: n.Send, Reloading: systemd.Reloading, Watchdog: systemd.Watchdog()}, nil
}

// openActivityLog opens what logfile= names.
func openActivityLog(cfg *plan.Daemon) (activity.Sink, error) {
	if cfg.Logfile == "syslog" {
		return activity.NewSyslog("supd"), nil
	}
	f, err := logfile.Open(cfg.Logfile, logfile.Options{MaxBytes: cfg.LogfileMaxBytes, Backups: cfg.LogfileBackups})
	if err != nil {
		return nil, err
	}
	return f, nil
}
