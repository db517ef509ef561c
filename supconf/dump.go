package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"sup/lib/cli"
	"sup/lib/config"
	"sup/lib/plan"
)

func dumpVerb() *verb {
	return &verb{
		name:  "dump",
		args:  "[-c FILE] [--json] [--offline] [--client] [-- OPTION…]",
		short: "print the effective configuration as JSON",
		help: `
Prints one JSON object: every setting of the daemon, the servers, the groups
in the order they are started in, and every process, with all expressions
expanded and all defaults filled in; or, if the configuration cannot be used,
an object with "error" (a code), "message" and, where they are known, "file",
"line", "section", "key", "value" and "hint". The exit status is 0 or 2.

Options of supervisord (with --client: of supervisorctl) may follow "--"; they
win over the file.`,
		opts: []cli.Option{optConfig, optJSON, optOffline, {Long: "client"}},
		run:  runDump,
	}
}

func runDump(c *command) int {
	file, _ := c.opt("configuration")
	args := c.args
	if file != "" {
		// A second -c among the options is one too many.
		args = append([]string{"-c", file}, args...)
	}
	var out any
	var err error
	if c.has("client") {
		out, err = dumpClient(args, c.has("offline"))
	} else {
		out, err = dumpDaemon(args, c.has("offline"))
	}
	if err != nil {
		out = errorObject(err)
	}
	if werr := writeJSON(c, out); werr != nil {
		return c.fail(werr)
	}
	if err != nil {
		return exitUsage
	}
	return exitOK
}

// writeJSON prints v, indented.
func writeJSON(c *command, v any) error {
	enc := json.NewEncoder(c.Out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	return enc.Encode(v)
}

// jsonProblem is a problem as JSON has it.
type jsonProblem struct {
	Error    string `json:"error,omitempty"`
	Severity string `json:"severity,omitempty"`
	Code     string `json:"code,omitempty"`
	Message  string `json:"message"`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Section  string `json:"section,omitempty"`
	Key      string `json:"key,omitempty"`
	Value    string `json:"value,omitempty"`
	Hint     string `json:"hint,omitempty"`
}

func problemObject(p *config.Problem) jsonProblem {
	return jsonProblem{
		Message: p.Message, File: p.File, Line: p.Line,
		Section: p.Section, Key: p.Key, Value: p.Value, Hint: p.Hint,
	}
}

// errorObject is what is printed instead of a configuration.
func errorObject(err error) jsonProblem {
	var p *config.Problem
	if !errors.As(err, &p) {
		return jsonProblem{Error: "error", Message: err.Error()}
	}
	o := problemObject(p)
	o.Error = p.Code
	return o
}

// errHelp refuses the options that end a program at once.
var errHelp = &config.Problem{
	Code:    config.CodeBadOption,
	Message: "options that ask for help or the version have no effect on the configuration",
}

func dumpDaemon(args []string, offline bool) (any, error) {
	a, err := plan.ParseDaemonArgs(args)
	if err != nil {
		return nil, err
	}
	if a.Help || a.Version {
		return nil, errHelp
	}
	p, err := plan.Load(plan.Options{File: a.File, Overrides: a.Overrides, Offline: offline})
	if err != nil {
		return nil, err
	}
	return newDump(p), nil
}

// clientOptions are the client's options.
var clientOptions = []cli.Option{
	{Short: 'h', Long: "help"},
	{Short: '?'},
	{Short: 'c', Long: "configuration", Arg: true},
	{Short: 'i', Long: "interactive"},
	{Short: 's', Long: "serverurl", Arg: true},
	{Short: 'u', Long: "username", Arg: true},
	{Short: 'p', Long: "password", Arg: true},
	{Short: 'r', Long: "history_file", Arg: true},
}

// dumpedClient is the client's configuration.
type dumpedClient struct {
	ServerURL   string  `json:"serverurl"`
	Username    *string `json:"username"`
	Password    *string `json:"password"`
	Prompt      string  `json:"prompt"`
	HistoryFile *string `json:"history_file"`
}

func dumpClient(args []string, offline bool) (any, error) {
	found, _, err := cli.Getopt(clientOptions, args)
	if err != nil {
		return nil, plan.OptionProblem(err)
	}
	given := make(map[string]*string)
	for _, f := range found {
		if f.Is("h") || f.Is("?") {
			return nil, errHelp
		}
		if f.Is("serverurl") && !config.IsURL(f.Arg) {
			return nil, &config.Problem{
				Code:    config.CodeBadOptionValue,
				Value:   f.Arg,
				Message: fmt.Sprintf("invalid value for %s: %q is no URL", f.Flag, f.Arg),
				Hint:    "write http://HOST:PORT, https://HOST:PORT or unix:///PATH",
			}
		}
		if err := f.Err(); err != nil {
			return nil, plan.OptionProblem(err)
		}
		given[f.Option.Long] = &f.Arg
	}
	o := config.ClientOptions{Program: os.Args[0], Offline: offline}
	if file := given["configuration"]; file != nil {
		o.File = *file
	}
	c, err := config.LoadClient(o)
	if err != nil {
		return nil, err
	}
	d := dumpedClient{ServerURL: c.ServerURL, Prompt: c.Prompt}
	d.Username = text(c.Username, c.HasUsername)
	d.Password = text(c.Password, c.HasPassword)
	d.HistoryFile = text(c.HistoryFile, c.HistoryFile != "")
	if url := given["serverurl"]; url != nil {
		d.ServerURL = *url
	}
	if user := given["username"]; user != nil {
		d.Username = user
	}
	if password := given["password"]; password != nil {
		d.Password = password
	}
	return map[string]any{"supervisorctl": d}, nil
}

// text is a pointer to s, or nil if it is not set.
func text(s string, set bool) *string {
	if !set {
		return nil
	}
	return &s
}
