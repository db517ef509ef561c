package server

import (
	"strings"

	"sup/lib/rpc"
)

// apiVersion is that of Supervisor's interface.
const apiVersion = "3.0"

// Parameters that several methods have.
var (
	processParam = parameter{name: "name", kind: nameParam, help: `"group:process", or the bare name if both are the same.`}
	patternParam = parameter{name: "name", kind: nameParam,
		help: `"group:process", the bare name if both are the same, or "group:*" for all of a group.`}
	groupParam  = parameter{name: "name", kind: nameParam, help: "Name of a group."}
	waitParam   = parameter{name: "wait", kind: boolParam, optional: true, help: "Answer when all is done (default), not when it is begun."}
	sigParam    = parameter{name: "signal", kind: signalParam, help: `Name, with or without "SIG", or number.`}
	offsetParam = parameter{name: "offset", kind: intParam, help: "Where to begin, in bytes; if negative, counted from the end."}
	lengthParam = parameter{name: "length", kind: intParam, help: "How many bytes at most; 0 for all there are."}
	tailParams  = []parameter{processParam,
		{name: "offset", kind: intParam, help: "Up to where the log has been seen: the second result of the call before."},
		{name: "length", kind: intParam, help: "How many bytes at most."}}
)

const (
	resultsText = "A struct for each process that was acted on: name, group, status (a fault code, or 80) and description."
	trueText    = "Always true; what goes wrong is a fault."
	readHelp    = "\nA negative offset goes with length 0 only, and means the last bytes."
	tailHelp    = "\nFor following a log: when it has not grown beyond offset, nothing is returned; else its last bytes."
	tailText    = "The text, the size of the log (the offset to ask for next), and whether bytes were left out."
)

// mainMethods are the methods of Supervisor's own interface.
var mainMethods = []method{
	{
		name: "getAPIVersion", needs: reading, aliases: []string{"getVersion"},
		help: "Tell the version of this interface.", returns: "string", result: "The version.",
		run: func(c *call) error { c.out.enc.String(apiVersion); return nil },
	}, {
		name: "getSupervisorVersion", needs: reading,
		help: "Tell the version of the daemon.", returns: "string", result: "The version.",
		run: func(c *call) error { c.out.enc.String(c.srv.opts.Version); return nil },
	}, {
		name: "getIdentification", needs: reading,
		help: "Tell the name of this daemon, which the configuration gives as identifier.", returns: "string", result: "The identifier.",
		run: func(c *call) error { c.out.enc.String(c.srv.backend.Identification()); return nil },
	}, {
		name: "getState", needs: reading,
		help: "Tell the state of the daemon.", returns: "struct", result: "statecode (int) and statename (string).",
		run: func(c *call) error { c.out.enc.State(c.state); return nil },
	}, {
		name: "getPID", needs: reading,
		help: "Tell the process id of the daemon.", returns: "int", result: "The process id.",
		run: func(c *call) error { c.out.enc.Int(int64(c.srv.backend.PID())); return nil },
	}, {
		name: "readLog", needs: reading, aliases: []string{"readMainLog"}, params: []parameter{offsetParam, lengthParam},
		help: "Read a part of the activity log." + readHelp, returns: "string", result: "The text.",
		run: func(c *call) error { return c.readLog(c.srv.backend.MainLogPath(), c.args[0].n, c.args[1].n) },
	}, {
		name: "clearLog", needs: adminOnly,
		help: "Empty the activity log.", returns: "boolean", result: trueText,
		run: func(c *call) error { return c.done(c.srv.backend.ClearMainLog(c.ctx)) },
	}, {
		name: "shutdown", needs: adminOnly,
		help: "Stop all programs and end the daemon. The answer comes before that.", returns: "boolean", result: trueText,
		run: func(c *call) error { return c.done(c.srv.backend.Shutdown(c.ctx)) },
	}, {
		name: "restart", needs: adminOnly,
		help: "Stop all programs, read the configuration anew and start. The answer comes before that.", returns: "boolean", result: trueText,
		run: func(c *call) error { return c.done(c.srv.backend.Restart(c.ctx)) },
	}, {
		name: "reloadConfig", needs: adminOnly,
		help:    "Read the configuration anew and compare it with what is active, which stays as it is.",
		returns: "array", result: "[[added, changed, removed]]: three arrays with names of groups, in an array of their own.",
		run: (*call).reloadConfig,
	}, {
		name: "addProcessGroup", needs: adminOnly, params: []parameter{groupParam},
		help: "Take a group of the configuration that was read last into service.", returns: "boolean", result: trueText,
		run: func(c *call) error {
			return c.done(quote(c.srv.backend.AddGroup(c.ctx, c.args[0].text), c.args[0].text))
		},
	}, {
		name: "removeProcessGroup", needs: adminOnly, params: []parameter{groupParam},
		help: "Take a group out of service, all of whose processes are stopped.", returns: "boolean", result: trueText,
		run: func(c *call) error {
			return c.done(quote(c.srv.backend.RemoveGroup(c.ctx, c.args[0].text), c.args[0].text))
		},
	}, {
		name: "startProcess", needs: operatingProcess, params: []parameter{patternParam, waitParam},
		help: "Start a process, or those of a group.", returns: "boolean", result: `true; for "group:*" the array that startProcessGroup returns.`,
		run: func(c *call) error {
			name, wait := c.args[0].text, c.args[1].yes
			group, process, whole := splitName(name)
			if whole {
				return c.results(c.srv.backend.StartGroup(c.ctx, group, wait))
			}
			return c.done(quote(c.srv.backend.StartProcess(c.ctx, group, process, wait), name))
		},
	}, {
		name: "startProcessGroup", needs: operatingGroup, params: []parameter{groupParam, waitParam},
		help: "Start the processes of a group that do not run.", returns: "array", result: resultsText,
		run: func(c *call) error { return c.results(c.srv.backend.StartGroup(c.ctx, c.args[0].text, c.args[1].yes)) },
	}, {
		name: "startAllProcesses", needs: operatingAll, params: []parameter{waitParam},
		help: "Start all processes that do not run.", returns: "array", result: resultsText,
		run: func(c *call) error { return c.results(c.srv.backend.StartAll(c.ctx, c.args[0].yes)) },
	}, {
		name: "stopProcess", needs: operatingProcess, params: []parameter{patternParam, waitParam},
		help: "Stop a process, or those of a group.", returns: "boolean", result: `true; for "group:*" the array that stopProcessGroup returns.`,
		run: func(c *call) error {
			name, wait := c.args[0].text, c.args[1].yes
			group, process, whole := splitName(name)
			if whole {
				return c.results(c.srv.backend.StopGroup(c.ctx, group, wait))
			}
			return c.done(quote(c.srv.backend.StopProcess(c.ctx, group, process, wait), name))
		},
	}, {
		name: "stopProcessGroup", needs: operatingGroup, params: []parameter{groupParam, waitParam},
		help: "Stop the processes of a group that run.", returns: "array", result: resultsText,
		run: func(c *call) error { return c.results(c.srv.backend.StopGroup(c.ctx, c.args[0].text, c.args[1].yes)) },
	}, {
		name: "stopAllProcesses", needs: operatingAll, params: []parameter{waitParam},
		help: "Stop all processes that run.", returns: "array", result: resultsText,
		run: func(c *call) error { return c.results(c.srv.backend.StopAll(c.ctx, c.args[0].yes)) },
	}, {
		name: "signalProcess", needs: operatingProcess, params: []parameter{patternParam, sigParam},
		help: "Send a signal to a process, or to those of a group.", returns: "boolean", result: `true; for "group:*" the array that signalProcessGroup returns.`,
		run: func(c *call) error {
			name, signal := c.args[0].text, c.args[1].text
			group, process, whole := splitName(name)
			if whole {
				return c.results(c.srv.backend.SignalGroup(c.ctx, group, signal))
			}
			err := c.srv.backend.SignalProcess(c.ctx, group, process, signal)
			if f := faultOrNil(err); f != nil && f.Code == rpc.BadSignal {
				name = c.params[1].Text()
			}
			return c.done(quote(err, name))
		},
	}, {
		name: "signalProcessGroup", needs: operatingGroup, params: []parameter{groupParam, sigParam},
		help: "Send a signal to the processes of a group.", returns: "array", result: resultsText,
		run: func(c *call) error {
			return c.results(c.srv.backend.SignalGroup(c.ctx, c.args[0].text, c.args[1].text))
		},
	}, {
		name: "signalAllProcesses", needs: operatingAll, params: []parameter{sigParam},
		help: "Send a signal to all processes.", returns: "array", result: resultsText,
		run: func(c *call) error { return c.results(c.srv.backend.SignalAll(c.ctx, c.args[0].text)) },
	}, {
		name: "getAllConfigInfo", needs: reading,
		help: "Describe every process of the configuration that was read last.", returns: "array", result: "A struct for each process, by name.",
		run: (*call).allConfigInfo,
	}, {
		name: "getProcessInfo", needs: reading, params: []parameter{processParam},
		help: "Describe a process.", returns: "struct", result: "Its names, times, state, exit status, log files, process id and a line of text.",
		run: func(c *call) error {
			return c.onProcess(func(group, process string) error {
				info, err := c.srv.backend.ProcessInfo(c.ctx, group, process)
				if err == nil {
					c.out.enc.ProcessInfo(&info)
				}
				return err
			})
		},
	}, {
		name: "getAllProcessInfo", needs: reading,
		help: "Describe all processes.", returns: "array", result: "What getProcessInfo returns, for each process, by group and name.",
		run: func(c *call) error {
			infos, err := c.srv.backend.AllProcessInfo(c.ctx)
			if err != nil {
				return err
			}
			c.out.enc.BeginArray()
			for i := range infos {
				c.out.enc.ProcessInfo(&infos[i])
			}
			c.out.enc.EndArray()
			return nil
		},
	}, {
		name: "readProcessStdoutLog", needs: reading, aliases: []string{"readProcessLog"}, params: []parameter{processParam, offsetParam, lengthParam},
		help: "Read a part of the log of a process's standard output." + readHelp, returns: "string", result: "The text.",
		run: func(c *call) error { return c.readProcessLog("stdout") },
	}, {
		name: "readProcessStderrLog", needs: reading, params: []parameter{processParam, offsetParam, lengthParam},
		help: "Read a part of the log of a process's standard error." + readHelp, returns: "string", result: "The text.",
		run: func(c *call) error { return c.readProcessLog("stderr") },
	}, {
		name: "tailProcessStdoutLog", needs: reading, aliases: []string{"tailProcessLog"}, params: tailParams,
		help: "Read the end of the log of a process's standard output." + tailHelp, returns: "array", result: tailText,
		run: func(c *call) error { return c.tailProcessLog("stdout") },
	}, {
		name: "tailProcessStderrLog", needs: reading, params: tailParams,
		help: "Read the end of the log of a process's standard error." + tailHelp, returns: "array", result: tailText,
		run: func(c *call) error { return c.tailProcessLog("stderr") },
	}, {
		name: "clearProcessLogs", needs: operatingProcess, aliases: []string{"clearProcessLog"}, params: []parameter{processParam},
		help: "Empty both logs of a process.", returns: "boolean", result: trueText,
		run: func(c *call) error {
			return c.onProcess(func(group, process string) error {
				return c.done(c.srv.backend.ClearLogs(c.ctx, group, process))
			})
		},
	}, {
		name: "clearAllProcessLogs", needs: operatingAll,
		help: "Empty the logs of all processes.", returns: "array", result: resultsText,
		run: func(c *call) error { return c.results(c.srv.backend.ClearAllLogs(c.ctx)) },
	}, {
		name: "sendProcessStdin", needs: operatingProcess, params: []parameter{processParam,
			{name: "chars", kind: textParam, help: "The text; no end of line is added."}},
		help: "Send text, as UTF-8, to the standard input of a process.", returns: "boolean", result: trueText,
		run: func(c *call) error {
			return c.onProcess(func(group, process string) error {
				err := c.srv.backend.SendStdin(c.ctx, group, process, c.args[1].text)
				if f := faultOrNil(err); f != nil && f.Code == rpc.NoFile && f.String == rpc.NewFault(rpc.NoFile, "").String {
					err = rpc.NewFault(rpc.NoFile, c.args[0].text)
				}
				return c.done(err)
			})
		},
	}, {
		name: "sendRemoteCommEvent", needs: adminOnly, always: true, params: []parameter{
			{name: "type", kind: anyParam, help: "What the event is about; a word of your own."},
			{name: "data", kind: anyParam, help: "Its body."}},
		help: "Send an event to the listeners that have subscribed to REMOTE_COMMUNICATION.", returns: "boolean", result: trueText,
		run: func(c *call) error {
			return c.done(c.srv.backend.SendRemoteCommEvent(c.ctx, c.args[0].text, c.args[1].text))
		},
	},
}

// splitName takes a name apart; whole is true if it means all of a group.
func splitName(name string) (group, process string, whole bool) {
	group, process, ok := strings.Cut(name, ":")
	if !ok {
		return name, name, false
	}
	return group, process, process == "" || process == "*"
}

// joinName is the name by which a process is called.
func joinName(group, process string) string {
	if group == process {
		return process
	}
	return group + ":" + process
}

// onProcess calls do with the process that the first parameter names.
func (c *call) onProcess(do func(group, process string) error) error {
	name := c.args[0].text
	group, process, whole := splitName(name)
	if whole {
		return rpc.NewFault(rpc.BadName, name)
	}
	return quote(do(group, process), name)
}

// done writes true, unless something went wrong.
func (c *call) done(err error) error {
	if err == nil {
		c.out.enc.Bool(true)
	}
	return err
}

// results writes what came of an action on several processes. The group was
// named by the first parameter.
func (c *call) results(list []rpc.Result, err error) error {
	if err != nil {
		return quote(err, c.args[0].text)
	}
	c.out.enc.BeginArray()
	for i := range list {
		r := list[i]
		if quoting[r.Status] && r.Description == rpc.NewFault(r.Status, "").String {
			if r.Status == rpc.BadSignal {
				r.Description += ": " + c.params[len(c.params)-1].Text()
			} else {
				r.Description += ": " + joinName(r.Group, r.Name)
			}
		}
		c.out.enc.Result(&r)
	}
	c.out.enc.EndArray()
	return nil
}

func (c *call) reloadConfig() error {
	added, changed, removed, err := c.srv.backend.ReloadConfig(c.ctx)
	if err != nil {
		return err
	}
	enc := &c.out.enc
	enc.BeginArray()
	enc.BeginArray()
	c.strings(added)
	c.strings(changed)
	c.strings(removed)
	enc.EndArray()
	enc.EndArray()
	return nil
}

func (c *call) allConfigInfo() error {
	infos, err := c.srv.backend.AllConfigInfo(c.ctx)
	if err != nil {
		return err
	}
	c.out.enc.BeginArray()
	for i := range infos {
		c.out.enc.ConfigInfo(&infos[i])
	}
	c.out.enc.EndArray()
	return nil
}

func faultOrNil(err error) *rpc.Fault {
	if err == nil {
		return nil
	}
	return faultOf(err)
}
