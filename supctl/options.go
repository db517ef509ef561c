package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"sup/lib/cli"
	"sup/lib/config"
	"sup/lib/value"
)

var optionTable = []cli.Option{
	{Short: 'c', Long: "configuration", Arg: true},
	{Short: 's', Long: "serverurl", Arg: true},
	{Short: 'u', Long: "username", Arg: true},
	{Short: 'p', Long: "password", Arg: true},
	{Short: 'i', Long: "interactive"},
	{Short: 'r', Long: "history_file", Arg: true},
	{Short: 'h', Long: "help"},
	{Short: '?'},
	{Long: "version"},
}

// usage is what --help prints, in Supervisor's notation, which is searched for.
const usage = `supctl, supervisorctl -- control applications that a daemon runs.

Usage: %s [options] [action [arguments]]

-c/--configuration FILENAME -- read this configuration; without it
                               supervisord.conf is searched for
-s/--serverurl URL -- address of the daemon, unix:///path, http://host:port or
                      https://host:port (default: from the file, else http://localhost:9001)
-u/--username NAME -- user name for the daemon
-p/--password TEXT -- password; other users can see it here, so better use the
                      variable SUPERVISOR_PASSWORD or the file
-i/--interactive -- start an interactive shell, after the action if there is one
-r/--history-file FILENAME -- keep the history of the shell in FILENAME; also
                              spelt --history_file
--version -- print the version of this program
-h/-?/--help -- print this text

Without an action the shell is started. "%s help" lists the actions.
`

// settings is what the command line, the environment and the configuration
// file say together. Credentials that are not known are nil.
type settings struct {
	serverURL          string
	username, password *string
	prompt             string
	historyFile        string
	historyGiven       bool // with an option
	interactive        bool
	// file is what the configuration file says.
	file *config.Client
	// words are the action and its arguments.
	words []string
}

// errDone means that the command line asked for something that has been
// printed, and for nothing else.
var errDone = errors.New("done")

// parseArgs reads the command line and what it refers to. Every error but
// errDone is one of usage.
func parseArgs(argv []string, streams cli.Streams) (*settings, error) {
	found, words, err := cli.Getopt(optionTable, historySpelling(argv[1:]))
	if err != nil {
		return nil, err
	}
	var configFile, serverURL, historyFile *string
	s := &settings{words: words}
	for _, f := range found {
		if err := f.Err(); err != nil {
			return nil, err
		}
		switch {
		case f.Is("help"), f.Is("?"):
			fmt.Fprintf(streams.Out, usage, argv[0], argv[0])
			return nil, errDone
		case f.Is("version"):
			fmt.Fprintln(streams.Out, cli.FullVersion())
			return nil, errDone
		case f.Is("configuration"):
			configFile = &f.Arg
		case f.Is("serverurl"):
			if !isURL(f.Arg) {
				return nil, &cli.OptionError{Kind: cli.OptionBadValue, Flag: f.Flag, Value: f.Arg,
					Err: fmt.Errorf("value '%s' is not a URL", f.Arg)}
			}
			serverURL = &f.Arg
		case f.Is("username"):
			s.username = &f.Arg
		case f.Is("password"):
			s.password = &f.Arg
			if cli.IsTerminal(streams.Err) {
				fmt.Fprintf(streams.Err, "%s: hint: a password given with %s can be seen by everybody on this machine; "+
					"better set SUPERVISOR_PASSWORD\n", argv[0], f.Flag)
			}
		case f.Is("interactive"):
			s.interactive = true
		case f.Is("history_file"):
			historyFile = &f.Arg
		}
	}
	if err := s.readConfig(argv[0], configFile, streams.Err); err != nil {
		return nil, err
	}
	if serverURL != nil {
		s.serverURL = *serverURL
	}
	if historyFile != nil {
		s.historyFile, s.historyGiven = *historyFile, true
	}
	if len(s.words) == 0 {
		s.interactive = true
	}
	return s, nil
}

// historySpelling lets --history-file, as Supervisor's help has always spelled
// it, stand for --history_file, as its option parser has.
func historySpelling(args []string) []string {
	fixed := make([]string, 0, len(args))
	for i, a := range args {
		if !strings.HasPrefix(a, "-") || a == "--" {
			return append(fixed, args[i:]...)
		}
		if strings.HasPrefix(a, "--history-") {
			a = strings.Replace(a, "-history-", "-history_", 1)
		}
		fixed = append(fixed, a)
	}
	return fixed
}

// isURL reports whether text has a scheme and something after it.
func isURL(text string) bool {
	scheme, _, ok := strings.Cut(text, ":")
	if !ok || strings.ContainsAny(scheme, "/?#") {
		return false
	}
	u, err := url.Parse(text)
	if err != nil {
		// A bad port, for instance: the connection will fail and say so.
		return true
	}
	return u.Scheme != "" && (u.Host != "" || u.Path != "" || u.Opaque != "")
}

// readConfig fills in what the command line has left open: from the
// environment, then from the configuration file, which is searched for if it
// is nil. Warnings go to stderr if that is a terminal.
func (s *settings) readConfig(prog string, file *string, stderr io.Writer) error {
	options := config.ClientOptions{Program: prog, AnyPlugin: true, Obeyed: true}
	if file != nil {
		options.File = *file
	}
	c, err := config.LoadClient(options)
	if err != nil {
		return err
	}
	if cli.IsTerminal(stderr) {
		// Scripts expect standard error to be empty when all is well.
		for _, w := range c.Warnings {
			fmt.Fprintf(stderr, "%s: warning: %v\n", prog, w)
		}
	}
	s.serverURL, s.prompt, s.historyFile = c.ServerURL, value.Printable(c.Prompt), c.HistoryFile
	s.file = c
	if s.username == nil && c.HasUsername {
		s.username = &c.Username
	}
	if s.password == nil {
		s.password = environmentPassword()
	}
	if s.password == nil && c.HasPassword {
		s.password = &c.Password
	}
	return nil
}

// environmentPassword is the password of SUPERVISOR_PASSWORD, nil if unset.
func environmentPassword() *string {
	if password, ok := os.LookupEnv("SUPERVISOR_PASSWORD"); ok {
		return &password
	}
	return nil
}
