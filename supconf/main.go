// Supconf checks, prints and compares configurations of sup.
//
// Usage:
//
//	supconf lint [-c FILE] [--strict] [--json] [--offline] [FILE…]
//	supconf dump [-c FILE] [--json] [--offline] [--client] [-- OPTION…]
//	supconf expand [-c FILE] [--offline]
//	supconf init
//	supconf diff [--json] [--offline] [-c FILE] [-s URL]
//	supconf diff [--json] [--offline] OLD NEW
//	supconf reference [--format md|roff]
//	supconf hash [--scheme argon2id|bcrypt|sha]
//
// It reads the files that supervisord reads, in the same way, and starts
// nothing. Without -c it looks for supervisord.conf at the usual places. The
// exit status is 0 if all is well, 1 if lint or diff found something, 2 if a
// command line or, for the other verbs, a configuration cannot be used.
//
// Called as echo_supervisord_conf it prints the sample of "supconf init".
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"

	"sup/lib/cli"
	"sup/lib/config"
)

// Exit statuses.
const (
	exitOK    = 0
	exitFound = 1
	exitUsage = cli.ExitUsage
)

// memoryLimit is the size, in bytes, from which garbage is collected.
const memoryLimit = 128 << 20

func main() {
	// A run is over before there is much garbage.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(memoryLimit)
	os.Exit(run(cli.Standard(), os.Args))
}

// verb is one thing that supconf does.
type verb struct {
	name string
	// args is the rest of the usage line, short says what the verb does.
	args, short string
	// help tells more, one paragraph or several.
	help string
	opts []cli.Option
	run  func(*command) int
}

// command is one call of a verb.
type command struct {
	cli.Streams
	verb  *verb
	found []cli.Found
	args  []string
}

// verbs is in the order of the help.
func verbs() []*verb {
	return []*verb{lintVerb(), dumpVerb(), expandVerb(), initVerb(), diffVerb(), referenceVerb(), hashVerb()}
}

// run is supconf as a function from its command line to its exit status.
func run(std cli.Streams, argv []string) int {
	args := argv[1:]
	if filepath.Base(argv[0]) == "echo_supervisord_conf" {
		return runVerb(std, initVerb(), args)
	}
	if len(args) == 0 {
		printUsage(std.Err)
		return exitUsage
	}
	switch args[0] {
	case "-h", "--help", "help":
		if len(args) > 1 {
			return helpVerb(std, args[1])
		}
		printUsage(std.Out)
		return exitOK
	case "-v", "--version", "version":
		fmt.Fprintln(std.Out, cli.FullVersion())
		return exitOK
	}
	v := findVerb(args[0])
	if v == nil {
		usageError(std.Err, unknownVerb(args[0]))
		return exitUsage
	}
	return runVerb(std, v, args[1:])
}

func findVerb(name string) *verb {
	for _, v := range verbs() {
		if v.name == name {
			return v
		}
	}
	return nil
}

// unknownVerb is the error of a verb that does not exist.
func unknownVerb(name string) error {
	var names []string
	for _, v := range verbs() {
		names = append(names, v.name)
	}
	if near := config.Nearest(name, names); near != "" {
		return fmt.Errorf("there is no verb %q; did you mean %s?", name, near)
	}
	return fmt.Errorf("there is no verb %q", name)
}

// runVerb reads the options of a verb and runs it.
func runVerb(std cli.Streams, v *verb, args []string) int {
	opts := append([]cli.Option{{Short: 'h', Long: "help"}}, v.opts...)
	c := &command{Streams: std, verb: v}
	// Files may stand before, between and after options.
	for {
		found, rest, err := cli.Getopt(opts, args)
		if err != nil {
			return c.usage(err)
		}
		c.found = append(c.found, found...)
		ended := len(args) > len(rest) && args[len(args)-len(rest)-1] == "--" && !argOf(found, "--")
		if ended || len(rest) == 0 {
			c.args = append(c.args, rest...)
			break
		}
		c.args = append(c.args, rest[0])
		args = rest[1:]
	}
	seen := make(map[string]bool)
	for _, f := range c.found {
		if f.Is("help") {
			printHelp(std.Out, v)
			return exitOK
		}
		name := f.Option.Long
		if seen[name] && !f.Option.Repeatable {
			return c.usage(&cli.OptionError{Kind: cli.OptionRepeated, Flag: f.Flag})
		}
		seen[name] = true
	}
	return v.run(c)
}

// argOf reports whether the last option found took s as its argument.
func argOf(found []cli.Found, s string) bool {
	return len(found) > 0 && found[len(found)-1].Option.Arg && found[len(found)-1].Arg == s
}

// opt returns the argument of an option, and whether it was given.
func (c *command) opt(long string) (string, bool) {
	for _, f := range c.found {
		if f.Option.Long == long {
			return f.Arg, true
		}
	}
	return "", false
}

// has reports whether an option was given.
func (c *command) has(long string) bool {
	_, ok := c.opt(long)
	return ok
}

// usage reports a wrong command line.
func (c *command) usage(err error) int {
	fmt.Fprintf(c.Err, "Error: %v\nFor help, use supconf %s --help\n", err, c.verb.name)
	return exitUsage
}

// fail reports a configuration that cannot be used.
func (c *command) fail(err error) int {
	fmt.Fprintf(c.Err, "Error: %v\n", err)
	var p *config.Problem
	if errors.As(err, &p) && p.Hint != "" {
		fmt.Fprintf(c.Err, "Hint: %s\n", p.HintLine())
	}
	return exitUsage
}

func usageError(w io.Writer, err error) {
	fmt.Fprintf(w, "Error: %v\nFor help, use supconf --help\n", err)
}

// Options that several verbs share.
var (
	optConfig  = cli.Option{Short: 'c', Long: "configuration", Arg: true}
	optOffline = cli.Option{Long: "offline"}
	optJSON    = cli.Option{Long: "json"}
)
