package plan

import (
	"fmt"
	"sort"
	"strings"

	"sup/lib/config"
	"sup/lib/value"
)

// MaxProcesses is the most processes that one section can make, maxAll the most
// of all sections together. Linux numbers at most 4,194,304 processes, and most
// machines 32,768.
const (
	MaxProcesses = 10000
	maxAll       = 1 << 16
)

// processes reads a section of a program of any kind and returns its
// processes, sorted by name.
func (l *loader) processes(s *config.Section, k config.Kind, group string) []Process {
	v := l.dec.Values(s, k, l.names())
	v.Names.Group = group
	v.Names.Program = l.name(v, afterColon(s.Name))

	early, numprocs, start := l.earlyKeys(v, k)
	if !l.room(v, numprocs) {
		return nil
	}
	early.Group, early.Section = group, s.Name
	list := make([]Process, 0, max(0, numprocs))
	v.Names.NumProcs = numprocs
	v.Names.OwnEnv = make(map[string]string)
	for num := start; num < start+numprocs && !l.over; num++ {
		v.Names.ProcessNum = num
		p := early
		l.processKeys(v, &p)
		list = append(list, p)
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

// room counts the processes of a section, and tells whether there may be so
// many. A section without any counts, too: a group may name it often.
func (l *loader) room(v *config.Values, numprocs int) bool {
	if l.over {
		return false
	}
	if l.made += max(1, numprocs); l.made <= maxAll {
		return true
	}
	v.Fail(config.CodeTooLarge, "numprocs", v.Text("numprocs"),
		fmt.Sprintf("the configuration makes more than %d processes", maxAll), "lower numprocs, or leave programs out")
	return false
}

// earlyKeys reads the keys that all processes of a section share, and how
// many processes there are, beginning with which number.
func (l *loader) earlyKeys(v *config.Values, k config.Kind) (p Process, numprocs, start int) {
	p.Priority = l.processPriority(v, k)
	p.AutoStart, _ = v.Bool("autostart")
	p.AutoRestart = v.AutoRestart("autorestart")
	p.StartSecs, _ = v.Int("startsecs")
	p.StartRetries, _ = v.Int("startretries")
	p.StopSignal = v.Signal("stopsignal")
	p.StopWaitSecs, _ = v.Int("stopwaitsecs")
	p.StopAsGroup, _ = v.Bool("stopasgroup")
	kill, set := v.Bool("killasgroup")
	p.KillAsGroup = kill
	if !set {
		p.KillAsGroup = p.StopAsGroup
	}
	p.ExitCodes = v.ExitCodes("exitcodes")
	p.RedirectStderr, _ = v.Bool("redirect_stderr")
	numprocs, _ = v.Int("numprocs")
	start, _ = v.Int("numprocs_start")
	p.Stdout.CaptureMaxBytes = v.Bytes("stdout_capture_maxbytes")
	p.Stdout.EventsEnabled, _ = v.Bool("stdout_events_enabled")
	p.Stderr.CaptureMaxBytes = v.Bytes("stderr_capture_maxbytes")
	p.Stderr.EventsEnabled, _ = v.Bool("stderr_events_enabled")
	url := v.Text("serverurl")
	if url.Set && value.Upper(value.Trim(url.Text)) != "AUTO" {
		p.ServerURL, p.HasServerURL = url.Text, true
	}
	var user config.Text
	user, p.UID, p.GID = v.User("user")
	p.User, p.HasUser = user.Text, user.Set
	if p.Umask, p.HasUmask = v.Octal("umask"); !p.HasUmask {
		p.Umask = -1
	}

	raw := v.Raw("process_name")
	pattern, err := value.ParseName(raw.Text)
	if err != nil {
		v.Fail("bad-name", "process_name", raw, err.Error(), nameHint(raw.Text))
	}
	if numprocs > 1 && !strings.Contains(pattern, "%(process_num)") {
		v.Fail("process_num-missing", "process_name", raw,
			fmt.Sprintf("%d processes would have the same name", numprocs),
			"write process_name = %(program_name)s_%(process_num)02d")
	}
	if p.StopAsGroup && !p.KillAsGroup {
		v.Fail("stopasgroup-without-killasgroup", "killasgroup", v.Text("killasgroup"),
			"stopasgroup is true, so killasgroup cannot be false", "remove killasgroup")
	}
	if numprocs > MaxProcesses {
		v.Fail("bad-integer", "numprocs", v.Text("numprocs"),
			fmt.Sprintf("a section cannot make more than %d processes", MaxProcesses), "")
		numprocs = 1
	}
	return p, numprocs, start
}

// processPriority reads the priority of a section's processes. Those of an
// event listener do not share the default of its group.
func (l *loader) processPriority(v *config.Values, k config.Kind) int {
	if k == config.KindEventListener && !v.Has("priority") {
		v = l.dec.Values(nil, config.KindProgram, v.Names)
	}
	n, _ := v.Int("priority")
	return n
}

// processKeys reads the keys that each process has of its own.
func (l *loader) processKeys(v *config.Values, p *Process) {
	// Variables of the environment hide those that an earlier process of the
	// section set for itself, but not the other way round.
	for name := range v.Names.OwnEnv {
		if _, ok := v.Names.Env[name]; ok {
			delete(v.Names.OwnEnv, name)
		}
	}
	p.Environment = v.Environment("environment")
	for name, val := range p.Environment {
		v.Names.OwnEnv[name] = val
	}
	dir := v.Text("directory")
	p.Directory, p.HasDirectory = dir.Text, dir.Set
	l.stream(v, "stdout", &p.Stdout)
	l.stream(v, "stderr", &p.Stderr)
	if p.RedirectStderr {
		if p.Stderr.Kind == LogPath {
			l.warn(v, config.CodeStderrIgnored, "stderr_logfile",
				"redirect_stderr is true, so the file is ignored", "remove the key")
		}
		p.Stderr.Kind, p.Stderr.Path, p.Stderr.More = LogNone, "", ""
	}
	command := v.Text("command")
	if !command.Set {
		v.Missing("command-missing", "command", command)
	}
	p.Command = command.Text
	// The name was checked before it was expanded, and blanks around it
	// were removed then.
	p.Name = v.Trimmed("process_name")
}

// stream reads the keys of one output stream.
func (l *loader) stream(v *config.Values, channel string, s *Stream) {
	key := channel + "_logfile"
	logs := v.LogFile(key)
	s.Backups = v.Backups(key + "_backups")
	s.MaxBytes = v.Bytes(key + "_maxbytes")
	s.Syslog, _ = v.Bool(channel + "_syslog")
	s.Rotate = rotations[v.Choice(key+"_rotate")]
	s.Dated = v.Choice(key+"_names") == "dated"
	s.Compress, _ = v.Bool(key + "_compress")
	days, _ := v.Int(key + "_maxage")
	s.MaxAgeDays = max(0, days)
	s.Timestamp, _ = v.Bool(key + "_timestamp")
	s.Prefix = v.Text(key + "_prefix").Text
	s.Block = v.Choice(channel+"_on_full") == "block"
	s.ReadWrite = v.Choice(channel+"_open") == "rw"
	s.SyslogTag = v.Text(channel + "_syslog_tag").Text
	s.SyslogFacility = 0
	if name := v.Choice(channel + "_syslog_facility"); name != value.SyslogFacilities[0] {
		s.SyslogFacility = value.SyslogFacility(name)
	}
	s.Syslog = s.Syslog || logs.Syslog
	s.More = ""
	for _, log := range logs.More {
		s.More += log + "\x00"
	}
	s.Path = ""
	switch logs.Word {
	case config.LogIsPath:
		s.Kind, s.Path = LogPath, logs.Text.Text
	case config.LogIsNone:
		s.Kind = LogNone
	case config.LogIsSyslog:
		s.Kind, s.Syslog = LogNone, true
		l.warn(v, config.CodeSyslogDeprecated, key,
			"the word syslog is deprecated here", "write "+channel+"_syslog = true and "+key+" = NONE")
	case config.LogIsAuto:
		s.Kind = LogAuto
		if s.MaxBytes == 0 && !logs.Text.Bad {
			l.warn(v, config.CodeAutoWithoutRotation, key,
				"an AUTO log is never rotated and can fill the disk", "set "+key+"_maxbytes above 0")
		}
	}
}

// rotations are the values of *_logfile_rotate.
var rotations = map[string]Rotate{"size": RotateBySize, "daily": RotateDaily, "hourly": RotateHourly}

// warn reports a warning about a key.
func (l *loader) warn(v *config.Values, code, key, message, hint string) {
	p := v.Problem(code, key, v.Raw(key), message, hint)
	p.Severity = config.SeverityWarning
	l.report(p)
}

// SplitCommand cuts a command into words, as is done when a process is
// started. A command without words gives none.
func SplitCommand(command string) ([]string, error) { return value.SplitCommand(command) }
