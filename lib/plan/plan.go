// Package plan is the configuration as the daemon runs it: a flat, expanded,
// checked list of groups and processes. A Plan is a value; nobody edits one
// after Load has returned it.
package plan

import (
	"net/netip"
	"strings"

	"sup/lib/access"
	"sup/lib/value"
)

// Plan is the outcome of reading one configuration.
type Plan struct {
	// File is the absolute path of the main file, Here its directory.
	File, Here string
	// Files are the main file and every included one, in reading order.
	Files []string

	Daemon        Daemon
	Servers       []Server
	RPCInterfaces []RPCInterface
	// ServerURL is what children get as SUPERVISOR_SERVER_URL: the first
	// unix server, else the last inet one, else "".
	ServerURL string
	// Groups are sorted by (priority, name), stably, names byte-wise.
	Groups []Group
	// Warnings are the ones that Supervisor gives too; they are logged once
	// the activity log is open.
	Warnings []Warning
}

// Warning is something that does not keep a configuration from being used.
type Warning struct {
	Code, Message string
	File          string
	Line          int
}

// String is the warning with its place, if it has one, before it.
func (w Warning) String() string {
	if w.File == "" || w.Line == 0 {
		return w.Message
	}
	return w.File + ":" + value.FormatInt(int64(w.Line)) + ": " + w.Message
}

// Daemon holds the settings of [supervisord].
type Daemon struct {
	// Logfile is an absolute path, or the word "syslog".
	Logfile         string
	LogfileMaxBytes int64
	// LogfileBackups is the number of rotated files to keep; 0 keeps every
	// one (under dated names), NoBackups none.
	LogfileBackups int
	// LogLevel is the lower-case name: critical, error, warn, info, debug,
	// trace or blather.
	LogLevel    string
	Pidfile     string
	Umask       int
	NoDaemon    bool
	Silent      bool
	MinFDs      int
	MinProcs    int
	NoCleanup   bool
	ChildLogDir string
	// User is the text as given, UID and GID what it means (-1 if unset).
	User     string
	HasUser  bool
	UID, GID int
	// Directory is where to change to in the background.
	Directory    string
	HasDirectory bool
	StripANSI    bool
	// Environment holds only what environment= sets.
	Environment map[string]string
	Identifier  string
	// StateDir is statedir=: "" means <pidfile>.state, "none" switches
	// takeover off.
	StateDir string
}

// NoBackups is the value of a backups key that was written as "none".
const NoBackups = -1

// Server is one [unix_http_server] or [inet_http_server] section.
type Server struct {
	// Name is the text after the colon of the section name, Named whether
	// there was one.
	Name    string
	Named   bool
	Section string
	// Unix servers: Path is absolute.
	Unix  bool
	Path  string
	Chmod int
	// Chown is the text as given; UID and GID are -1 where nothing is to
	// change.
	Chown    string
	HasChown bool
	UID, GID int
	// Inet servers: Host is "" for every IPv4 address.
	Host string
	Port int
	// AllowedHosts are further names under which an inet server without a
	// password may be addressed.
	AllowedHosts []string
	Limits       Limits
	// HasAuth tells whether username and password were given (an empty
	// Username switches checking off).
	HasAuth            bool
	Username, Password string
	// UsersFile holds further users and their hashes, "" for none; inet
	// servers only.
	UsersFile string
	// Roles say who may do what; nil means that everybody may do everything.
	Roles access.Rules
	// Certificate and Key are files in PEM, both "" without TLS; ClientCA is
	// "" if clients need no certificate. With ClientCertOptional they may do
	// without. Inet servers only.
	Certificate, Key, ClientCA string
	ClientCertOptional         bool
}

// TLS tells whether the server speaks TLS.
func (s *Server) TLS() bool { return s.Certificate != "" }

// Loopback tells whether an inet server can be reached from this machine only.
func (s *Server) Loopback() bool { return Loopback(s.Host) }

// Loopback tells whether a host is this machine, as it knows itself.
func Loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback()
}

// SendsPasswordsOpenly tells whether clients on other machines have to send
// their passwords as they are.
func (s *Server) SendsPasswordsOpenly() bool {
	return !s.Unix && !s.TLS() && s.Port != 0 && !s.Loopback() && (s.HasAuth && s.Username != "" || s.UsersFile != "")
}

// AsksWho tells whether the server lets in only whoever has shown, with a
// password or a certificate, who he is.
func (s *Server) AsksWho() bool {
	return s.HasAuth && s.Username != "" || s.UsersFile != "" || s.ClientCA != "" && !s.ClientCertOptional
}

// RPCInterface is one [rpcinterface:x] section.
type RPCInterface struct {
	Name    string
	Factory string
	Options map[string]string
	// Known tells whether the factory is one of ours.
	Known bool
}

// Kind is the kind of section a group comes from.
type Kind string

const (
	KindGroup         Kind = "group"
	KindProgram       Kind = "program"
	KindEventListener Kind = "eventlistener"
	KindFCGI          Kind = "fcgi-program"
)

// Group is a process group.
type Group struct {
	Name     string
	Kind     Kind
	Priority int

	// Event listeners only. Events are upper case, sorted.
	BufferSize    int
	Events        []string
	ResultHandler string

	// FCGI programs only.
	Socket *Socket

	Processes []Process
}

// Socket is the listening socket of an [fcgi-program:x].
type Socket struct {
	// URL is tcp://host:port or unix:///path, normalised.
	URL string
	// Backlog is 0 for the system's maximum.
	Backlog int
	// Owner is the text as given ("" if unset); UID and GID are -1 where
	// nothing is to change.
	Owner    string
	HasOwner bool
	UID, GID int
	// Mode is -1 for tcp.
	Mode int
}

// Unix reports whether s is a Unix socket.
func (s *Socket) Unix() bool { return strings.HasPrefix(s.URL, "unix:") }

// Process is one process to supervise, every expansion done.
type Process struct {
	// Name is process_name after expansion, Group the name of its group,
	// Section the section that defined it, exactly as written.
	Name, Group, Section string

	// Command is the text; it is split when the process is started
	// (see SplitCommand), since one that cannot be split loads all the same.
	Command string
	// Directory is the directory to run in; without HasDirectory it is the
	// daemon's. (An empty one that was set cannot be changed to.)
	Directory    string
	HasDirectory bool
	// Umask is the file mode mask; without HasUmask, and then -1, it is the
	// daemon's.
	Umask    int
	HasUmask bool
	Priority int

	AutoStart    bool
	AutoRestart  value.AutoRestart
	StartSecs    int
	StartRetries int
	ExitCodes    []int

	StopSignal   value.Signal
	StopWaitSecs int
	StopAsGroup  bool
	KillAsGroup  bool

	// User is the text as given ("" if unset); UID is -1 if unset.
	User     string
	HasUser  bool
	UID, GID int

	RedirectStderr bool
	Stdout, Stderr Stream

	// Environment is [supervisord]'s with the program's on top.
	Environment map[string]string
	// ServerURL is serverurl= ("" if unset or AUTO).
	ServerURL    string
	HasServerURL bool
}

// LogKind says where the output of a stream goes.
type LogKind uint8

const (
	// LogAuto is a file in childlogdir whose name is chosen at run time.
	LogAuto LogKind = iota
	// LogNone keeps nothing.
	LogNone
	// LogPath is a file named by the configuration.
	LogPath
)

// Stream is what is to be done with the standard output, or the standard
// error, of a process.
type Stream struct {
	Kind            LogKind
	Path            string // LogPath only, as written after ~ was expanded
	MaxBytes        int64
	Backups         int // 0: unlimited; NoBackups: none
	CaptureMaxBytes int64
	EventsEnabled   bool
	Syslog          bool

	// More are logs beside the first one: paths, and commands that begin with
	// "|", each ended by a NUL byte, so that Streams can be compared.
	More string
	// SyslogTag is the name in syslog, "" for the daemon's choice;
	// SyslogFacility the number of its facility, 0 for the default.
	SyslogTag      string
	SyslogFacility int

	// Rotate says when the log is rotated besides reaching MaxBytes.
	Rotate Rotate
	// Dated gives rotated files dated names. They have these too where
	// Backups is 0, Compress is set or MaxAgeDays is above 0.
	Dated bool
	// Compress packs rotated files.
	Compress bool
	// MaxAgeDays, if above 0, is the age at which rotated files are removed.
	MaxAgeDays int
	// Timestamp puts the time, Prefix a text (if not "") before each line.
	Timestamp bool
	Prefix    string
	// Block lets the program wait while its log cannot be written, instead
	// of dropping the oldest lines.
	Block bool
	// ReadWrite opens the program's end of the pipe for reading, too.
	ReadWrite bool
}

// Further gives the logs of More.
func (s *Stream) Further() []string {
	if s.More == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s.More, "\x00"), "\x00")
}

// Rotate is a time at which logs are rotated.
type Rotate uint8

const (
	RotateBySize Rotate = iota // at no time
	RotateDaily                // at midnight
	RotateHourly               // at each full hour
)
