package main

import (
	"sup/lib/plan"
	"sup/lib/value"
)

// The shape of what "dump --json" prints. Every key is always there; null
// means none.

type dumped struct {
	Supervisord   dumpedDaemon   `json:"supervisord"`
	InetServers   []dumpedInet   `json:"inet_http_server"`
	UnixServers   []dumpedUnix   `json:"unix_http_server"`
	ServerURL     *string        `json:"serverurl"`
	RPCInterfaces []dumpedPlugin `json:"rpcinterface"`
	Groups        []dumpedGroup  `json:"groups"`
	Warnings      []string       `json:"warnings"`
}

type dumpedDaemon struct {
	Logfile         string            `json:"logfile"`
	LogfileMaxBytes int64             `json:"logfile_maxbytes"`
	LogfileBackups  int               `json:"logfile_backups"`
	LogLevel        string            `json:"loglevel"`
	Pidfile         string            `json:"pidfile"`
	Umask           string            `json:"umask"`
	NoDaemon        bool              `json:"nodaemon"`
	Silent          bool              `json:"silent"`
	MinFDs          int               `json:"minfds"`
	MinProcs        int               `json:"minprocs"`
	NoCleanup       bool              `json:"nocleanup"`
	ChildLogDir     string            `json:"childlogdir"`
	User            *string           `json:"user"`
	Directory       *string           `json:"directory"`
	StripANSI       bool              `json:"strip_ansi"`
	Environment     map[string]string `json:"environment"`
	Identifier      string            `json:"identifier"`
}

type dumpedAuth struct {
	Username *string `json:"username"`
	Password *string `json:"password"`
	// Roles is a key that only we know.
	Roles string `json:"roles,omitempty"`
}

// dumpedLimits are keys that only we know.
type dumpedLimits struct {
	Connections int   `json:"max_connections,omitempty"`
	Followers   int   `json:"max_followers,omitempty"`
	Body        int64 `json:"max_body,omitempty"`
	Values      int   `json:"max_values,omitempty"`
	Seconds     int   `json:"request_timeout,omitempty"`
}

type dumpedInet struct {
	Name *string `json:"name"`
	Host string  `json:"host"`
	Port int     `json:"port"`
	// AllowedHosts is a key that only we know.
	AllowedHosts []string `json:"allowed_hosts,omitempty"`
	dumpedAuth
	// So are these.
	UsersFile   string `json:"users_file,omitempty"`
	Certificate string `json:"certificate,omitempty"`
	Key         string `json:"key,omitempty"`
	ClientCA    string `json:"client_ca,omitempty"`
	ClientCert  string `json:"client_cert,omitempty"`
	dumpedLimits
}

type dumpedUnix struct {
	Name  *string `json:"name"`
	File  string  `json:"file"`
	Chmod string  `json:"chmod"`
	Chown *string `json:"chown"`
	dumpedAuth
	dumpedLimits
}

type dumpedPlugin struct {
	Name    string            `json:"name"`
	Factory string            `json:"factory"`
	Options map[string]string `json:"options"`
}

type dumpedGroup struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Priority int    `json:"priority"`
	*dumpedListener
	*dumpedSocket
	Processes []dumpedProcess `json:"processes"`
}

type dumpedListener struct {
	BufferSize    int      `json:"buffer_size"`
	Events        []string `json:"events"`
	ResultHandler string   `json:"result_handler"`
}

type dumpedSocket struct {
	URL     string  `json:"socket"`
	Backlog *int    `json:"socket_backlog"`
	Owner   *string `json:"socket_owner"`
	Mode    *string `json:"socket_mode"`
}

type dumpedProcess struct {
	Name           string            `json:"process_name"`
	Section        string            `json:"section"`
	Command        string            `json:"command"`
	Argv           []string          `json:"argv"`
	Directory      *string           `json:"directory"`
	Umask          *string           `json:"umask"`
	Priority       int               `json:"priority"`
	AutoStart      bool              `json:"autostart"`
	AutoRestart    any               `json:"autorestart"`
	StartSecs      int               `json:"startsecs"`
	StartRetries   int               `json:"startretries"`
	ExitCodes      []int             `json:"exitcodes"`
	StopSignal     int               `json:"stopsignal"`
	StopWaitSecs   int               `json:"stopwaitsecs"`
	StopAsGroup    bool              `json:"stopasgroup"`
	KillAsGroup    bool              `json:"killasgroup"`
	User           *string           `json:"user"`
	RedirectStderr bool              `json:"redirect_stderr"`
	StdoutLogfile  *string           `json:"stdout_logfile"`
	StdoutMaxBytes int64             `json:"stdout_logfile_maxbytes"`
	StdoutBackups  int               `json:"stdout_logfile_backups"`
	StdoutCapture  int64             `json:"stdout_capture_maxbytes"`
	StdoutEvents   bool              `json:"stdout_events_enabled"`
	StdoutSyslog   bool              `json:"stdout_syslog"`
	StderrLogfile  *string           `json:"stderr_logfile"`
	StderrMaxBytes int64             `json:"stderr_logfile_maxbytes"`
	StderrBackups  int               `json:"stderr_logfile_backups"`
	StderrCapture  int64             `json:"stderr_capture_maxbytes"`
	StderrEvents   bool              `json:"stderr_events_enabled"`
	StderrSyslog   bool              `json:"stderr_syslog"`
	Environment    map[string]string `json:"environment"`
	ServerURL      *string           `json:"serverurl"`

	// What only we know is shown where it is not the default.
	StdoutExtra dumpedStream `json:"stdout,omitzero"`
	StderrExtra dumpedStream `json:"stderr,omitzero"`
}

// dumpedStream holds the settings of a stream that Supervisor does not have.
type dumpedStream struct {
	Rotate    string `json:"logfile_rotate,omitempty"`
	Names     string `json:"logfile_names,omitempty"`
	Compress  bool   `json:"logfile_compress,omitempty"`
	MaxAge    int    `json:"logfile_maxage,omitempty"`
	Timestamp bool   `json:"logfile_timestamp,omitempty"`
	Prefix    string `json:"logfile_prefix,omitempty"`
	OnFull    string `json:"on_full,omitempty"`
	Open      string `json:"open,omitempty"`
	// Logs are those beside the first one.
	Logs           []string `json:"further_logs,omitempty"`
	SyslogTag      string   `json:"syslog_tag,omitempty"`
	SyslogFacility string   `json:"syslog_facility,omitempty"`
}

func dumpStream(s *plan.Stream) dumpedStream {
	d := dumpedStream{
		Compress: s.Compress, MaxAge: s.MaxAgeDays, Timestamp: s.Timestamp, Prefix: s.Prefix,
		Logs: s.Further(), SyslogTag: s.SyslogTag,
	}
	for _, name := range value.SyslogFacilities[1:] {
		if value.SyslogFacility(name) == s.SyslogFacility {
			d.SyslogFacility = name
		}
	}
	switch s.Rotate {
	case plan.RotateDaily:
		d.Rotate = "daily"
	case plan.RotateHourly:
		d.Rotate = "hourly"
	}
	if s.Dated {
		d.Names = "dated"
	}
	if s.Block {
		d.OnFull = "block"
	}
	if s.ReadWrite {
		d.Open = "rw"
	}
	return d
}

// newDump puts a plan into the shape of the dump.
func newDump(p *plan.Plan) *dumped {
	d := &dumped{
		Supervisord:   dumpDaemonSection(&p.Daemon),
		InetServers:   []dumpedInet{},
		UnixServers:   []dumpedUnix{},
		ServerURL:     text(p.ServerURL, p.ServerURL != ""),
		RPCInterfaces: []dumpedPlugin{},
		Groups:        []dumpedGroup{},
		Warnings:      []string{},
	}
	for _, s := range p.Servers {
		auth := dumpedAuth{text(s.Username, s.HasAuth), text(s.Password, s.HasAuth), s.Roles.String()}
		name := text(s.Name, s.Named)
		if s.Unix {
			d.UnixServers = append(d.UnixServers, dumpedUnix{
				Name: name, File: s.Path, Chmod: value.FormatOctal(s.Chmod),
				Chown: text(s.Chown, s.HasChown), dumpedAuth: auth, dumpedLimits: dumpedLimits(s.Limits),
			})
		} else {
			inet := dumpedInet{
				Name: name, Host: s.Host, Port: s.Port, AllowedHosts: s.AllowedHosts, dumpedAuth: auth,
				UsersFile: s.UsersFile, Certificate: s.Certificate, Key: s.Key, ClientCA: s.ClientCA,
				dumpedLimits: dumpedLimits(s.Limits),
			}
			if s.ClientCertOptional {
				inet.ClientCert = "optional"
			}
			d.InetServers = append(d.InetServers, inet)
		}
	}
	for _, r := range p.RPCInterfaces {
		d.RPCInterfaces = append(d.RPCInterfaces, dumpedPlugin{r.Name, r.Factory, r.Options})
	}
	for i := range p.Groups {
		d.Groups = append(d.Groups, dumpGroup(&p.Groups[i]))
	}
	for _, w := range p.Warnings {
		d.Warnings = append(d.Warnings, w.Code)
	}
	return d
}

func dumpDaemonSection(s *plan.Daemon) dumpedDaemon {
	return dumpedDaemon{
		Logfile: s.Logfile, LogfileMaxBytes: s.LogfileMaxBytes, LogfileBackups: s.LogfileBackups,
		LogLevel: s.LogLevel, Pidfile: s.Pidfile, Umask: value.FormatOctal(s.Umask),
		NoDaemon: s.NoDaemon, Silent: s.Silent, MinFDs: s.MinFDs, MinProcs: s.MinProcs,
		NoCleanup: s.NoCleanup, ChildLogDir: s.ChildLogDir, User: text(s.User, s.HasUser),
		Directory: text(s.Directory, s.HasDirectory), StripANSI: s.StripANSI,
		Environment: s.Environment, Identifier: s.Identifier,
	}
}

func dumpGroup(g *plan.Group) dumpedGroup {
	d := dumpedGroup{
		Name: g.Name, Type: string(g.Kind), Priority: g.Priority,
		Processes: []dumpedProcess{},
	}
	switch g.Kind {
	case plan.KindEventListener:
		d.dumpedListener = &dumpedListener{g.BufferSize, g.Events, g.ResultHandler}
	case plan.KindFCGI:
		s := g.Socket
		d.dumpedSocket = &dumpedSocket{URL: s.URL, Owner: text(s.Owner, s.HasOwner), Mode: octal(s.Mode, s.Unix())}
		if s.Backlog > 0 {
			d.dumpedSocket.Backlog = &s.Backlog
		}
	}
	for i := range g.Processes {
		d.Processes = append(d.Processes, dumpProcess(&g.Processes[i]))
	}
	return d
}

func dumpProcess(p *plan.Process) dumpedProcess {
	argv, err := plan.SplitCommand(p.Command)
	if err != nil {
		argv = nil
	}
	codes := p.ExitCodes
	if codes == nil {
		codes = []int{}
	}
	var restart any
	switch p.AutoRestart {
	case value.RestartAlways:
		restart = true
	case value.RestartNever:
		restart = false
	default:
		restart = p.AutoRestart.String()
	}
	return dumpedProcess{
		Name: p.Name, Section: p.Section, Command: p.Command, Argv: argv,
		Directory: text(p.Directory, p.HasDirectory), Umask: octal(p.Umask, p.HasUmask),
		Priority: p.Priority, AutoStart: p.AutoStart, AutoRestart: restart,
		StartSecs: p.StartSecs, StartRetries: p.StartRetries, ExitCodes: codes,
		StopSignal: int(p.StopSignal), StopWaitSecs: p.StopWaitSecs,
		StopAsGroup: p.StopAsGroup, KillAsGroup: p.KillAsGroup,
		User: text(p.User, p.HasUser), RedirectStderr: p.RedirectStderr,
		StdoutLogfile: logfile(&p.Stdout), StdoutMaxBytes: p.Stdout.MaxBytes,
		StdoutBackups: p.Stdout.Backups, StdoutCapture: p.Stdout.CaptureMaxBytes,
		StdoutEvents: p.Stdout.EventsEnabled, StdoutSyslog: p.Stdout.Syslog,
		StderrLogfile: logfile(&p.Stderr), StderrMaxBytes: p.Stderr.MaxBytes,
		StderrBackups: p.Stderr.Backups, StderrCapture: p.Stderr.CaptureMaxBytes,
		StderrEvents: p.Stderr.EventsEnabled, StderrSyslog: p.Stderr.Syslog,
		Environment: p.Environment, ServerURL: text(p.ServerURL, p.HasServerURL),
		StdoutExtra: dumpStream(&p.Stdout), StderrExtra: dumpStream(&p.Stderr),
	}
}

func logfile(s *plan.Stream) *string {
	switch s.Kind {
	case plan.LogPath:
		return &s.Path
	case plan.LogAuto:
		return text("AUTO", true)
	}
	return nil
}

func octal(n int, set bool) *string { return text(value.FormatOctal(n), set) }
