package daemon

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"sup/lib/plan"
	"sup/lib/process"
	"sup/lib/rpc"
	"sup/lib/value"
)

// PID is the daemon's.
func (d *Daemon) PID() int { return os.Getpid() }

// State is the daemon's own.
func (d *Daemon) State() rpc.State {
	switch Mood(d.shown.Load()) {
	case MoodRunning:
		return rpc.State{Code: int(MoodRunning), Name: "RUNNING"}
	case MoodRestarting:
		return rpc.State{Code: int(MoodRestarting), Name: "RESTARTING"}
	}
	return rpc.State{Code: int(MoodShutdown), Name: "SHUTDOWN"}
}

// ProcessInfo tells of one process.
func (d *Daemon) ProcessInfo(ctx context.Context, group, name string) (info rpc.ProcessInfo, err error) {
	err = d.queryProcess(ctx, group, name, func(p *proc) error {
		info = p.info(time.Now(), d.now())
		return nil
	})
	return info, err
}

// AllProcessInfo tells of every process, by group name, then process name.
func (d *Daemon) AllProcessInfo(ctx context.Context) (infos []rpc.ProcessInfo, err error) {
	err = d.query(ctx, func() error {
		infos = make([]rpc.ProcessInfo, len(d.listing))
		wall, now := time.Now(), d.now()
		for i, p := range d.listing {
			infos[i] = p.info(wall, now)
		}
		return nil
	})
	return infos, err
}

func (p *proc) info(wall time.Time, now time.Duration) rpc.ProcessInfo {
	i := rpc.ProcessInfo{
		Name: p.cfg.Name, Group: p.group.name(),
		Start: p.m.Started, Stop: p.m.Ended, Now: wall.Unix(),
		State: int(p.m.State), StateName: p.m.State.String(),
		SpawnErr: p.m.SpawnErr, ExitStatus: p.m.ExitStatus, PID: p.m.PID,
		StdoutLogfile: p.out.settings.Path,
	}
	if p.err != nil {
		i.StderrLogfile = p.err.settings.Path
	}
	i.Logfile = i.StdoutLogfile
	i.Description = p.describe(now)
	return i
}

// describe is the description of a process, as status shows it.
func (p *proc) describe(now time.Duration) string {
	switch p.m.State {
	case process.Running:
		return "pid " + strconv.Itoa(p.m.PID) + ", uptime " + uptime(now-p.m.StartedAt) + p.outages()
	case process.Backoff, process.Fatal:
		if p.m.SpawnErr != "" {
			return p.m.SpawnErr
		}
		return `unknown error (try "tail ` + p.cfg.Name + `")`
	case process.Stopped, process.Exited:
		if p.m.Started == 0 {
			return "Not started"
		}
		if p.m.Ended == 0 {
			return ""
		}
		return time.Unix(p.m.Ended, 0).Format("Jan 02 03:04 PM")
	}
	return ""
}

// AllLogHealth tells of every log, in the order of AllProcessInfo.
func (d *Daemon) AllLogHealth(ctx context.Context) (logs []rpc.LogHealth, err error) {
	err = d.query(ctx, func() error {
		for _, p := range d.listing {
			for _, s := range p.streams() {
				logs = append(logs, rpc.LogHealth{
					Group: p.group.name(), Name: p.cfg.Name, Channel: s.channel,
					Failing: s.outage != "", Dropped: s.dropped,
				})
			}
		}
		return nil
	})
	return logs, err
}

// outages says which logs of a process cannot be written, for the end of a line;
// mostly it is "".
func (p *proc) outages() string {
	text := ""
	for _, s := range p.streams() {
		if s.outage != "" {
			text += ", " + s.outage
		}
	}
	return text
}

// uptime writes a duration as H:MM:SS, after whole days if there are any.
func uptime(t time.Duration) string {
	s := max(int(t/time.Second), 0)
	days, s := s/86400, s%86400
	b := make([]byte, 0, 24)
	switch {
	case days == 1:
		b = append(b, "1 day, "...)
	case days > 1:
		b = strconv.AppendInt(b, int64(days), 10)
		b = append(b, " days, "...)
	}
	b = strconv.AppendInt(b, int64(s/3600), 10)
	two := func(n int) { b = append(b, ':', byte('0'+n/10), byte('0'+n%10)) }
	two(s / 60 % 60)
	two(s % 60)
	return string(b)
}

// AllConfigInfo tells of every process of the configuration that was read
// last, by process name.
func (d *Daemon) AllConfigInfo(ctx context.Context) (infos []rpc.ConfigInfo, err error) {
	err = d.query(ctx, func() error {
		infos = []rpc.ConfigInfo{}
		for i := range d.plan.Groups {
			g := &d.plan.Groups[i]
			for k := range g.Processes {
				infos = append(infos, d.configInfo(g, &g.Processes[k]))
			}
		}
		return nil
	})
	slices.SortStableFunc(infos, func(a, b rpc.ConfigInfo) int { return strings.Compare(a.Name, b.Name) })
	return infos, err
}

func (d *Daemon) configInfo(g *plan.Group, c *plan.Process) rpc.ConfigInfo {
	i := rpc.ConfigInfo{
		Name: c.Name, Group: g.Name, GroupPrio: g.Priority, ProcessPrio: c.Priority,
		InUse: d.groups[g.Name] != nil, AutoStart: c.AutoStart, Command: c.Command, Directory: c.Directory,
		UID: c.UID, ExitCodes: c.ExitCodes, StartRetries: c.StartRetries, StartSecs: c.StartSecs,
		StopSignal: int(c.StopSignal), StopWaitSecs: c.StopWaitSecs, KillAsGroup: c.KillAsGroup,
		RedirectStderr: c.RedirectStderr, ServerURL: c.ServerURL,
	}
	switch c.AutoRestart {
	case value.RestartAlways:
		i.AutoRestart = true
	case value.RestartNever:
		i.AutoRestart = false
	default:
		i.AutoRestart = "unexpected"
	}
	p := d.find(g.Name, c.Name)
	var out, err *stream
	if p != nil && p.group.reread == d.rereads {
		// What was read anew has no files of its own until it becomes active.
		out, err = p.out, p.err
	}
	i.Stdout = streamConfig(&c.Stdout, out)
	i.Stderr = streamConfig(&c.Stderr, err)
	if c.RedirectStderr {
		i.Stderr.Logfile = "none"
	}
	return i
}

func streamConfig(c *plan.Stream, live *stream) rpc.StreamConfig {
	s := rpc.StreamConfig{
		Logfile: "none", LogfileBackups: c.Backups, LogfileMaxBytes: c.MaxBytes,
		CaptureMaxBytes: c.CaptureMaxBytes, EventsEnabled: c.EventsEnabled, Syslog: c.Syslog,
	}
	switch {
	case c.Kind == plan.LogPath:
		s.Logfile = c.Path
	case c.Kind == plan.LogAuto && live != nil && live.auto():
		s.Logfile = live.settings.Path
	case c.Kind == plan.LogAuto:
		s.Logfile = "auto"
	}
	return s
}

// LogPath is the file of a stream's log, "" if it has none, after what was
// written so far has reached it.
func (d *Daemon) LogPath(ctx context.Context, group, name, channel string) (string, error) {
	return call(ctx, d, func(reply func(string, error)) {
		if err := d.shuttingDown(); err != nil {
			reply("", err)
			return
		}
		p := d.find(group, name)
		if p == nil {
			reply("", d.badName())
			return
		}
		s := p.out
		if channel == "stderr" {
			s = p.err
		}
		if s == nil || s.settings.Path == "" {
			reply("", nil)
			return
		}
		s.drain(100*time.Millisecond, func() { reply(s.settings.Path, nil) })
	})
}

// MainLogPath is the file of the activity log, "" if it has none.
func (d *Daemon) MainLogPath() string {
	path := ""
	_ = d.ask(context.Background(), func() { path = d.plan.Daemon.Logfile })
	if path == "syslog" {
		return ""
	}
	return path
}
