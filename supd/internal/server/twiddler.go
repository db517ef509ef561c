package server

import (
	"slices"
	"strings"

	"sup/lib/rpc"
	"sup/lib/value"
)

// twiddlerVersion is that of the interface of the package
// supervisor_twiddler 1.0, which changes groups while the daemon runs.
const twiddlerVersion = "1.0"

// notInWhitelist is the fault of a method that the configuration does not
// allow.
const notInWhitelist = 230

// twiddlerMethods are the methods of that interface. What they change lasts
// until the daemon reads its configuration anew or ends.
var twiddlerMethods = []method{
	{
		name: "getAPIVersion", needs: reading,
		help: "Tell the version of this interface.", returns: "string", result: "The version.",
		run: func(c *call) error { c.out.enc.String(twiddlerVersion); return nil },
	}, {
		name: "getGroupNames", needs: reading,
		help: "List the groups that are active.", returns: "array", result: "Their names.",
		run: func(c *call) error {
			names, err := c.srv.backend.GroupNames(c.ctx)
			if err == nil {
				c.strings(names)
			}
			return err
		},
	}, {
		name: "log", needs: adminOnly, params: []parameter{
			{name: "message", kind: anyParam, help: "What to write."},
			{name: "level", kind: anyParam, optional: true, help: "CRIT, ERRO, WARN, INFO (default), DEBG, TRAC or BLAT, or its number."}},
		help: "Write a line into the activity log.", returns: "boolean", result: trueText,
		run: func(c *call) error {
			level := "INFO"
			if len(c.params) > 1 {
				if level = logLevel(c.params[1]); level == "" {
					return rpc.NewFault(rpc.IncorrectParameters, "")
				}
			}
			c.srv.log.Log(level, c.args[0].text)
			return c.done(nil)
		},
	}, {
		name: "addProgramToGroup", needs: adminOnly, params: []parameter{
			{name: "group_name", kind: nameParam, help: "Name of an active group."},
			{name: "program_name", kind: nameParam, help: "Name of the program, as in [program:NAME]."},
			{name: "program_options", kind: optionsParam, help: "Its keys and their values, as in the configuration file."}},
		help: "Add a program to a group, and start it if it is to be started with the daemon.", returns: "boolean", result: trueText,
		run: func(c *call) error {
			options := make(map[string]string)
			for _, m := range c.params[2].Members {
				options[m.Name] = m.Value.Text()
			}
			return c.done(c.srv.backend.AddProgram(c.ctx, c.args[0].text, c.args[1].text, options))
		},
	}, {
		name: "removeProcessFromGroup", needs: adminOnly, params: []parameter{
			{name: "group_name", kind: nameParam, help: "Name of an active group."},
			{name: "process_name", kind: nameParam, help: "Name of the process in it."}},
		help: "Take a process that is stopped out of its group.", returns: "boolean", result: trueText,
		run: func(c *call) error {
			return c.done(c.srv.backend.RemoveProcess(c.ctx, c.args[0].text, c.args[1].text))
		},
	},
}

// logLevel is the word of a level that is given by word or number, "" if there
// is none such.
func logLevel(v rpc.Value) string {
	numbers := map[int64]string{50: "CRIT", 40: "ERRO", 30: "WARN", 20: "INFO", 10: "DEBG", 5: "TRAC", 3: "BLAT"}
	if v.Kind != rpc.String {
		n, _ := v.Number()
		return numbers[n]
	}
	word := strings.ToUpper(v.Str)
	for _, w := range numbers {
		if w == word {
			return w
		}
	}
	return ""
}

// whitelisted makes methods that are not in a list, with commas between, fail.
// An empty list allows all.
func whitelisted(methods []method, list string) []method {
	allowed := value.ParseList(list)
	if len(allowed) == 0 {
		return methods
	}
	methods = slices.Clone(methods)
	for i := range methods {
		name := methods[i].name
		if !slices.Contains(allowed, name) {
			methods[i].run = func(*call) error {
				// The package does without a name for this fault.
				return &rpc.Fault{Code: notInWhitelist, String: "UNKNOWN: " + name}
			}
		}
	}
	return methods
}
