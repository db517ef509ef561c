package rpc

import "strconv"

// ProcessInfo writes the struct that describes a process.
func (e *Encoder) ProcessInfo(p *ProcessInfo) {
	b := e.buf
	b = append(b, openStruct+openMember+"name"+valueOfString...)
	b = AppendText(b, p.Name)
	b = append(b, nextString+"group"+valueOfString...)
	b = AppendText(b, p.Group)
	b = append(b, nextString+"start"+valueOfInt...)
	b = strconv.AppendInt(b, p.Start, 10)
	b = append(b, nextInt+"stop"+valueOfInt...)
	b = strconv.AppendInt(b, p.Stop, 10)
	b = append(b, nextInt+"now"+valueOfInt...)
	b = strconv.AppendInt(b, p.Now, 10)
	b = append(b, nextInt+"state"+valueOfInt...)
	b = strconv.AppendInt(b, int64(p.State), 10)
	b = append(b, nextInt+"statename"+valueOfString...)
	b = AppendText(b, p.StateName)
	b = append(b, nextString+"spawnerr"+valueOfString...)
	b = AppendText(b, p.SpawnErr)
	b = append(b, nextString+"exitstatus"+valueOfInt...)
	b = strconv.AppendInt(b, int64(p.ExitStatus), 10)
	b = append(b, nextInt+"logfile"+valueOfString...)
	b = AppendText(b, p.Logfile)
	b = append(b, nextString+"stdout_logfile"+valueOfString...)
	b = AppendText(b, p.StdoutLogfile)
	b = append(b, nextString+"stderr_logfile"+valueOfString...)
	b = AppendText(b, p.StderrLogfile)
	b = append(b, nextString+"pid"+valueOfInt...)
	b = strconv.AppendInt(b, int64(p.PID), 10)
	b = append(b, nextInt+"description"+valueOfString...)
	b = AppendText(b, p.Description)
	e.buf = append(b, closeString+closeMember+closeStruct...)
}

// Result writes one element of the answer of a method that acts on several
// processes.
func (e *Encoder) Result(r *Result) {
	e.BeginStruct()
	e.stringMember("name", r.Name)
	e.stringMember("group", r.Group)
	e.intMember("status", int64(r.Status))
	e.stringMember("description", r.Description)
	e.EndStruct()
}

// State writes the answer of getState.
func (e *Encoder) State(s State) {
	e.BeginStruct()
	e.intMember("statecode", int64(s.Code))
	e.stringMember("statename", s.Name)
	e.EndStruct()
}

// Generation writes the answer of getGeneration.
func (e *Encoder) Generation(g *Generation) {
	e.BeginStruct()
	e.intMember("generation", int64(g.Generation))
	e.intMember("pid", int64(g.PID))
	e.intMember("kept", int64(g.Kept))
	e.EndStruct()
}

// ConfigInfo writes the struct that describes a process in the configuration.
func (e *Encoder) ConfigInfo(c *ConfigInfo) {
	e.BeginStruct()
	e.boolMember("autostart", c.AutoStart)
	e.BeginMember("autorestart")
	switch v := c.AutoRestart.(type) {
	case bool:
		e.Bool(v)
	case string:
		e.String(v)
	default:
		e.String("unexpected")
	}
	e.EndMember()
	e.stringMember("directory", orNone(c.Directory))
	if c.UID < 0 {
		e.stringMember("uid", "none")
	} else {
		e.intMember("uid", int64(c.UID))
	}
	e.stringMember("command", c.Command)
	e.BeginMember("exitcodes")
	e.BeginArray()
	for _, n := range c.ExitCodes {
		e.Int(int64(n))
	}
	e.EndArray()
	e.EndMember()
	e.stringMember("group", c.Group)
	e.intMember("group_prio", int64(c.GroupPrio))
	e.boolMember("inuse", c.InUse)
	e.boolMember("killasgroup", c.KillAsGroup)
	e.stringMember("name", c.Name)
	e.intMember("process_prio", int64(c.ProcessPrio))
	e.boolMember("redirect_stderr", c.RedirectStderr)
	e.intMember("startretries", int64(c.StartRetries))
	e.intMember("startsecs", int64(c.StartSecs))
	e.streamConfig("stdout", &c.Stdout)
	e.intMember("stopsignal", int64(c.StopSignal))
	e.intMember("stopwaitsecs", int64(c.StopWaitSecs))
	e.streamConfig("stderr", &c.Stderr)
	e.stringMember("serverurl", orNone(c.ServerURL))
	e.EndStruct()
}

func (e *Encoder) streamConfig(prefix string, s *StreamConfig) {
	e.intMember(prefix+"_capture_maxbytes", s.CaptureMaxBytes)
	e.boolMember(prefix+"_events_enabled", s.EventsEnabled)
	e.stringMember(prefix+"_logfile", orNone(s.Logfile))
	e.intMember(prefix+"_logfile_backups", int64(s.LogfileBackups))
	e.intMember(prefix+"_logfile_maxbytes", s.LogfileMaxBytes)
	e.boolMember(prefix+"_syslog", s.Syslog)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func (e *Encoder) stringMember(name, s string) {
	e.BeginMember(name)
	e.String(s)
	e.EndMember()
}

func (e *Encoder) intMember(name string, n int64) {
	e.BeginMember(name)
	e.Int(n)
	e.EndMember()
}

func (e *Encoder) boolMember(name string, v bool) {
	e.BeginMember(name)
	e.Bool(v)
	e.EndMember()
}
