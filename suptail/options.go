package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"sup/lib/cli"
	"sup/lib/client"
	"sup/lib/config"
)

var optionTable = []cli.Option{
	{Short: 'n', Long: "lines", Arg: true},
	{Short: 'f', Long: "follow"},
	{Short: 'F'},
	{Long: "stderr"},
	{Long: "since", Arg: true},
	{Long: "grep", Arg: true},
	{Long: "json"},
	{Short: 'c', Long: "configuration", Arg: true},
	{Short: 's', Long: "serverurl", Arg: true},
	{Short: 'u', Long: "username", Arg: true},
	{Short: 'p', Long: "password", Arg: true},
	{Short: 'h', Long: "help"},
	{Short: '?'},
	{Long: "version"},
}

const usage = `Usage: %s [options] NAME...

Prints the end of the logs of programs, and follows them. NAME is a program,
group:program, group:*, a pattern such as 'web*', or all.

Options:
  -n, --lines N             print the last N lines (default 10), or all; with
                            --grep or --since: of those that fit (default all)
  -f, --follow, -F          print what is appended, across rotations and restarts
      --stderr              the log of standard error instead of standard output
      --since WHEN          leave out what is older: 90s, 10m, 2h, 3d or a time
                            such as '2006-01-02 15:04'
      --grep RE             print only lines that match a regular expression
      --json                print a JSON object for each line
  -c, --configuration FILE  configuration file (searched for if not given)
  -s, --serverurl URL       the daemon, unix:///path, http://host:port or
                            https://host:port
  -u, --username NAME       user name for the daemon
  -p, --password TEXT       password; better set the variable SUPERVISOR_PASSWORD
      --version             print the version of this program and exit
  -h, --help                print this help and exit
`

// defaultLines is how many lines are printed if nothing else is said.
const defaultLines = 10

// allLines stands for no limit.
const allLines = -1

type options struct {
	names    []string
	follow   bool
	json     bool
	stream   client.Stream
	query    query
	config   string
	url      *string
	username *string
	password *string
}

// errDone means that the command line asked for something that has been
// printed, and for nothing else.
var errDone = errors.New("done")

// parseArgs reads the command line. Options may stand after names. now is what
// --since counts from.
func parseArgs(argv []string, streams cli.Streams, now time.Time) (*options, error) {
	found, names, err := cli.Getopt(optionTable, argv[1:])
	if err != nil {
		return nil, err
	}
	o := &options{stream: client.Stdout}
	for len(names) > 0 {
		o.names = append(o.names, names[0])
		var more []cli.Found
		more, names, err = cli.Getopt(optionTable, names[1:])
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	lines := ""
	for _, f := range found {
		var err error
		switch {
		case f.Is("help"), f.Is("?"):
			fmt.Fprintf(streams.Out, usage, argv[0])
			return nil, errDone
		case f.Is("version"):
			fmt.Fprintln(streams.Out, cli.FullVersion())
			return nil, errDone
		case f.Is("lines"):
			lines = f.Arg
			o.query.lines, err = parseLines(f.Arg)
		case f.Is("follow"), f.Is("F"):
			o.follow = true
		case f.Is("stderr"):
			o.stream = client.Stderr
		case f.Is("since"):
			o.query.since, err = parseSince(f.Arg, now)
		case f.Is("grep"):
			o.query.grep, err = regexp.Compile(f.Arg)
		case f.Is("json"):
			o.json = true
		case f.Is("configuration"):
			o.config = f.Arg
		case f.Is("serverurl"):
			o.url = &f.Arg
		case f.Is("username"):
			o.username = &f.Arg
		case f.Is("password"):
			o.password = &f.Arg
		}
		if err != nil {
			return nil, &cli.OptionError{Kind: cli.OptionBadValue, Flag: f.Flag, Value: f.Arg, Err: err}
		}
	}
	if len(o.names) == 0 {
		return nil, errors.New("there is no program named; for all of them, say all")
	}
	if lines == "" {
		o.query.lines = defaultLines
		if o.query.selects() && !o.follow || !o.query.since.IsZero() {
			o.query.lines = allLines
		}
	}
	return o, nil
}

func parseLines(text string) (int, error) {
	if text == "all" {
		return allLines, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, errors.New("not a number of lines")
	}
	return n, nil
}

// parseSince reads a point in time: a duration before now, in which d is a day,
// or a date.
func parseSince(text string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil && n >= 0 {
			return now.Add(-time.Duration(n * float64(24*time.Hour))), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("neither a duration such as 10m nor a time such as 2006-01-02 15:04")
}

// connect makes the client of the daemon that the options name.
func (o *options) connect(prog string) (*client.Client, error) {
	c, err := config.LoadClient(config.ClientOptions{Program: prog, File: o.config, AnyPlugin: true, Obeyed: true})
	if err != nil && o.url == nil {
		return nil, err
	}
	if err != nil {
		// The daemon is named: a file that is not needed may be broken.
		c = &config.Client{}
	}
	url, username, password := c.ServerURL, o.username, o.password
	if o.url != nil {
		url = *o.url
	}
	if username == nil && c.HasUsername {
		username = &c.Username
	}
	if text, ok := os.LookupEnv("SUPERVISOR_PASSWORD"); ok && password == nil {
		password = &text
	}
	if password == nil && c.HasPassword {
		password = &c.Password
	}
	daemon, err := client.New(url, username, password)
	if err == nil {
		daemon.Trust(c.Trusts)
		daemon.Secure(client.TLS(c.TLS))
	}
	return daemon, err
}
