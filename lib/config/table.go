package config

import (
	"slices"

	"sup/lib/value"
)

// The one table of sections and keys. Reading, defaults, expansion rules, the
// command line, lint, the sample and the reference all come from it.

// DefaultListenerPriority is the priority of an event listener's group
// without a key; its processes have that of the table.
const DefaultListenerPriority = -1

// Names of the plug-ins that are built in.
const (
	FactoryKey           = "supervisor.rpcinterface_factory"
	CtlFactoryKey        = "supervisor.ctl_factory"
	MainRPCFactory       = "supervisor.rpcinterface:make_main_rpcinterface"
	TwiddlerRPCFactory   = "supervisor_twiddler.rpcinterface:make_twiddler_rpcinterface"
	DefaultResultHandler = "supervisor.dispatchers:default_handler"
	StdoutResultHandler  = "supervisor_stdout:event_handler"
)

// key makes a key with a default.
func key(name string, t Type, names NameSet, def, doc string) Key {
	return Key{Name: name, Type: t, Names: names, Default: def, HasDefault: true, Doc: doc}
}

// bare makes a key without a default.
func bare(name string, t Type, names NameSet, note, doc string) Key {
	return Key{Name: name, Type: t, Names: names, DefaultNote: note, Doc: doc}
}

// need makes a required key.
func need(name string, t Type, names NameSet, example, doc string) Key {
	return Key{Name: name, Type: t, Names: names, Required: true, Example: example, Doc: doc}
}

func (k Key) option(short rune) Key   { k.Option, k.Short = true, short; return k }
func (k Key) flag(short rune) Key     { k.Option, k.Short, k.Flag = true, short, true; return k }
func (k Key) example(text string) Key { k.Example = text; return k }
func (k Key) again(n NameSet) Key     { k.Again = n; return k }

// choice makes a key for one of several words, of which the first is the
// default.
func choice(name string, names NameSet, doc string, choices ...string) Key {
	k := key(name, TypeChoice, names, choices[0], doc)
	k.Choices = choices
	return k
}

func (k Key) ours() Key             { k.Ours = true; return k }
func (k Key) shown(text string) Key { k.Sample = text; return k }

func sections() [numKinds]SectionSchema {
	return [numKinds]SectionSchema{
		KindSupervisord: {
			Kind: KindSupervisord, Name: "supervisord", Example: "supervisord",
			Doc:  "The daemon itself. The section must be there, if only in an included file.",
			Keys: supervisordKeys(),
		},
		KindUnixServer: {
			Kind: KindUnixServer, Name: "unix_http_server", Example: "unix_http_server",
			Doc: "A server for supctl and other clients on a Unix socket.",
			Keys: append([]Key{
				need("file", TypePath, NamesStart, "/tmp/supervisor.sock", "path of the socket").shown("/tmp/supervisor.sock"),
				key("chmod", TypeOctal, NameEnv, "0700", "permissions of the socket"),
				bare("chown", TypeOwner, NameEnv, "left alone", "owner of the socket").example("root:adm"),
			}, slices.Concat(authKeys(), []Key{rolesKey("users and @groups of this machine")}, limitKeys())...),
		},
		KindInetServer: {
			Kind: KindInetServer, Name: "inet_http_server", Example: "inet_http_server",
			Doc: "A server on a TCP port, with the status page. Give it a password: who can reach it can run programs.",
			Keys: append([]Key{
				need("port", TypeInet, NameEnv, "127.0.0.1:9001", "address to listen on; a port alone, or *:PORT, is every IPv4 address"),
				key("allowed_hosts", TypeList, NameEnv, "", "further names under which a server without a password may be addressed").ours().example("sup.example.net"),
			}, slices.Concat(authKeys(), []Key{rolesKey("names of users_file and, as CN=NAME, of client certificates")}, secureKeys(), limitKeys())...),
		},
		KindRPCInterface: {
			Kind: KindRPCInterface, Name: "rpcinterface:", Example: "rpcinterface:supervisor", Open: true,
			Doc: "A set of methods that the servers offer. Without this section there are no supervisor.* methods, and supctl cannot do anything.",
			Keys: []Key{
				need(FactoryKey, TypePlugin, NameEnv, MainRPCFactory, "where the methods come from").shown(MainRPCFactory),
			},
		},
		KindSupervisorctl: {
			Kind: KindSupervisorctl, Name: "supervisorctl", Example: "supervisorctl",
			Doc: "The client.",
			Keys: []Key{
				key("serverurl", TypeURL, NamesStart, "http://localhost:9001", "server to speak to: http://HOST:PORT, https://HOST:PORT or unix://PATH").shown("unix:///tmp/supervisor.sock"),
				bare("username", TypeText, NameEnv, "", "user name for the server").example("chris"),
				bare("password", TypeText, NameEnv, "", "password for the server, in plain text").example("123"),
				bare("ca", TypePath, NamesStart, "those that the system trusts", "file with the certificates, in PEM, one of which must have signed the server's").ours().example("%(here)s/ca.pem"),
				bare("server_name", TypeText, NameEnv, "the host of serverurl", "name that the server's certificate must be for").ours().example("sup.example.net"),
				bare("certificate", TypePath, NamesStart, "", "file with a certificate of our own to show to the server, in PEM").ours().example("%(here)s/client.pem"),
				bare("key", TypePath, NamesStart, "the file of certificate", "file with the key of that certificate, in PEM").ours().example("%(here)s/client.key"),
				key("prompt", TypeText, NameEnv, "supervisor", "prompt of the interactive shell"),
				bare("history_file", TypePath, NamesStart, "", "file that keeps the lines typed in the shell").example("~/.sc_history"),
			},
		},
		KindProgram: {
			Kind: KindProgram, Name: "program:", Example: "program:theprogramname",
			Doc:  "A program to run and to keep running. The part after the colon is its name.",
			Keys: programKeys(),
		},
		KindFCGI: {
			Kind: KindFCGI, Name: "fcgi-program:", Example: "fcgi-program:thefcgiprogramname",
			Doc: "A FastCGI program: its processes get one listening socket as their standard input. It takes all keys of a program, and these.",
			Keys: append([]Key{
				need("socket", TypeSocket, NamesSocket, "unix:///run/%(program_name)s.sock", "socket to listen on"),
				bare("socket_backlog", TypeInteger, NamesStart, "the system's maximum", "length of the queue of connections, 1 to 65535").example("1024"),
				bare("socket_owner", TypeOwner, NamesStart, "the program's user", "owner of a Unix socket").example("www-data"),
				bare("socket_mode", TypeOctal, NamesStart, "0700", "permissions of a Unix socket").example("0700"),
			}, programKeys()...),
		},
		KindEventListener: {
			Kind: KindEventListener, Name: "eventlistener:", Example: "eventlistener:theeventlistenername",
			Doc:  "A program that is told of events on its standard input. It takes all keys of a program, and these.",
			Keys: listenerKeys(),
		},
		KindGroup: {
			Kind: KindGroup, Name: "group:", Example: "group:thegroupname",
			Doc: "Programs to be handled together. They make no groups of their own then.",
			Keys: []Key{
				key("programs", TypeList, NamesStart, "", "names of [program:…] and [fcgi-program:…] sections").example("progname1,progname2"),
				key("priority", TypeInteger, NamesStart, "999", "order of starting, lower first; stopping goes the other way"),
			},
		},
		KindInclude: {
			Kind: KindInclude, Name: "include", Example: "include",
			Doc: "Further files, read after this one. Their %(here)s is their own directory.",
			Keys: []Key{
				need("files", TypePatterns, NamesInclude, "relative/directory/*.conf", "patterns with *, ? and [a-z], relative to this file"),
			},
		},
		KindCtlPlugin: {
			Kind: KindCtlPlugin, Name: "ctlplugin:", Example: "ctlplugin:thepluginname", Open: true,
			Doc: "An extension of the client, written in Python; none can be loaded.",
			Keys: []Key{
				need(CtlFactoryKey, TypePlugin, NameEnv, "package:make_plugin", "where the plug-in comes from"),
			},
		},
	}
}

func supervisordKeys() []Key {
	return []Key{
		key("logfile", TypePathInDir, NamesStart, "supervisord.log", "the activity log; the word syslog sends it there").option('l').shown("/tmp/supervisord.log"),
		key("logfile_maxbytes", TypeBytes, NamesStart, "50MB", "size at which the activity log is rotated, 0 for never").option('y').shown("50MB"),
		key("logfile_backups", TypeBackups, NamesStart, "10", "rotated files to keep; 0 keeps every one, none keeps none").option('z').shown("10"),
		key("loglevel", TypeLogLevel, NamesStart, "info", "least grave messages to log").option('e').shown("info"),
		key("pidfile", TypePathInDir, NamesStart, "supervisord.pid", "file that holds the daemon's process id").option('j').shown("/tmp/supervisord.pid"),
		key("umask", TypeOctal, NamesStart, "022", "file mode mask of the daemon when it runs in the background").option('m'),
		key("nodaemon", TypeBool, NamesStart, "false", "stay in the foreground").flag('n').shown("false"),
		key("silent", TypeBool, NamesStart, "false", "do not copy the activity log to standard output in the foreground").flag('s').shown("false"),
		key("minfds", TypeInteger, NamesStart, "1024", "number of file descriptors that the daemon must be able to open").option('a').shown("1024"),
		key("minprocs", TypeInteger, NamesStart, "200", "number of processes that must be possible").option(0).shown("200"),
		key("nocleanup", TypeBool, NamesStart, "false", "keep old AUTO logs at start").flag('k'),
		bare("childlogdir", TypeDir, NamesStart, "the directory for temporary files", "directory of AUTO logs").option('q').example("/tmp"),
		bare("user", TypeUser, NamesStart, "", "user that the daemon becomes at start").option('u').example("chrism"),
		bare("directory", TypeDir, NamesStart, "", "directory that the daemon changes to when it runs in the background").option('d').example("/tmp"),
		key("strip_ansi", TypeBool, NamesStart, "false", "remove ANSI escape sequences from program logs").flag('t'),
		key("environment", TypeEnvironment, NamesStart, "", "variables for every program; later sections know them as %(ENV_NAME)s").again(NamesInclude).example(`KEY="value"`),
		key("identifier", TypeText, NamesStart, "supervisor", "name of this daemon, for clients and in AUTO logs").option('i'),
		bare("statedir", TypeStateDir, NamesStart, "PIDFILE.state", "directory of what lets programs outlive the daemon, where only its user can write; none switches that off").ours().example("/run/supervisord.pid.state"),
	}
}

// limitKeys bound what clients of a server can make it spend.
func limitKeys() []Key {
	return []Key{
		bare("max_connections", TypeInteger, NameEnv, "a quarter of the descriptors the daemon may have", "connections at a time; a new one takes the place of an idle one").ours().example("1000"),
		bare("max_followers", TypeInteger, NameEnv, "half of the connections", "connections over which a log may be followed at a time; others get status 503").ours().example("100"),
		bare("max_body", TypeBytes, NameEnv, "16MB", "size of a request; more gets status 413").ours().example("1MB"),
		bare("max_values", TypeInteger, NameEnv, "200000", "values that a request may hold").ours().example("10000"),
		bare("request_timeout", TypeInteger, NameEnv, "60", "seconds that a request may take to arrive").ours().example("10"),
	}
}

func authKeys() []Key {
	return []Key{
		bare("username", TypeText, NameEnv, "", "user name that clients must give").example("user"),
		bare("password", TypeText, NameEnv, "", "password that clients must give: what supconf hash prints ({ARGON2ID}, {BCRYPT} or {SHA} and a hash), or plain text").example("123"),
	}
}

func rolesKey(who string) Key {
	return bare("roles", TypeRoles, NameEnv, "everybody is admin", "who may do what, by "+who).ours().example("admin: root, @wheel; operate: @deploy(web:*); read: *")
}

// secureKeys are those of servers on TCP about TLS and several users.
func secureKeys() []Key {
	return []Key{
		bare("users_file", TypePath, NamesStart, "", "file of users and hashes, as htpasswd -B writes it; read anew when it changes").ours().example("%(here)s/users"),
		bare("certificate", TypePath, NamesStart, "no TLS", "file with the server's certificate and those above it, in PEM; switches TLS on; read anew when it changes").ours().example("%(here)s/server.pem"),
		bare("key", TypePath, NamesStart, "the file of certificate", "file with the key of the certificate, in PEM").ours().example("%(here)s/server.key"),
		bare("client_ca", TypePath, NamesStart, "", "file with the certificates, in PEM, one of which must have signed a client's").ours().example("%(here)s/clients.pem"),
		choice("client_cert", NameEnv, "with client_ca: clients must have a certificate, or may have one", "require", "optional").ours(),
	}
}

// programKeys are the keys of programs of all kinds.
func programKeys() []Key {
	keys := []Key{
		need("command", TypeCommand, NamesProcess, "/bin/cat", "the program with its arguments; no shell sees it"),
		key("process_name", TypeName, NamesProcess, "%(program_name)s", "name of the process; with numprocs it must hold %(process_num)d"),
		key("numprocs", TypeInteger, NamesEarly, "1", "number of processes"),
		key("numprocs_start", TypeInteger, NamesEarly, "0", "number of the first process"),
		bare("directory", TypeText, NamesProcess, "", "directory to run in").example("/tmp"),
		bare("umask", TypeOctal, NamesEarly, "the daemon's", "file mode mask of the process").example("022"),
		key("priority", TypeInteger, NamesEarly, "999", "order of starting, lower first; stopping goes the other way"),
		key("autostart", TypeBool, NamesEarly, "true", "start it with the daemon"),
		key("startsecs", TypeInteger, NamesEarly, "1", "seconds it must run to count as started"),
		key("startretries", TypeInteger, NamesEarly, "3", "further tries when starting fails; then it is FATAL"),
		key("autorestart", TypeAutoRestart, NamesEarly, "unexpected", "start it again when it ends; unexpected: unless it ended with one of exitcodes"),
		key("exitcodes", TypeExitCodes, NamesEarly, "0", "exit codes that are expected"),
		key("stopsignal", TypeSignal, NamesEarly, "TERM", "signal that asks it to stop"),
		key("stopwaitsecs", TypeInteger, NamesEarly, "10", "seconds until SIGKILL follows that signal"),
		key("stopasgroup", TypeBool, NamesEarly, "false", "send the stop signal to the whole process group"),
		bare("killasgroup", TypeBool, NamesEarly, "the value of stopasgroup", "send SIGKILL to the whole process group").example("false"),
		bare("user", TypeUser, NamesEarly, "", "user to run as").example("chrism"),
		key("redirect_stderr", TypeBool, NamesEarly, "false", "send standard error where standard output goes"),
	}
	for _, channel := range []string{"stdout", "stderr"} {
		keys = append(keys,
			key(channel+"_logfile", TypeLogFile, NamesProcess, "AUTO", "log of "+channel+": a path, NONE, or AUTO for a temporary file; more after commas: paths, syslog, and at the end |command").again(NamesProcess),
			key(channel+"_logfile_maxbytes", TypeBytes, NamesProcess, "50MB", "size at which it is rotated, 0 for never"),
			key(channel+"_logfile_backups", TypeBackups, NamesProcess, "10", "rotated files to keep; 0 keeps every one, none keeps none"),
			key(channel+"_capture_maxbytes", TypeBytes, NamesEarly, "0", "most bytes taken from a capture section, 0 switches capturing off"),
			key(channel+"_events_enabled", TypeBool, NamesEarly, "false", "send PROCESS_LOG events for what it prints"),
			key(channel+"_syslog", TypeBool, NamesProcess, "false", "send it to syslog too"),
			key(channel+"_syslog_tag", TypeText, NamesProcess, "", "name under which it goes to syslog, in place of supd and the process's name").ours().example("%(program_name)s"),
			choice(channel+"_syslog_facility", NamesProcess, "syslog facility", value.SyslogFacilities...).ours(),
			choice(channel+"_logfile_rotate", NamesProcess, "when it is rotated besides reaching its size: at no time, at midnight, at each full hour", "size", "daily", "hourly").ours(),
			choice(channel+"_logfile_names", NamesProcess, "names of rotated files: .1 for the newest, or the time of rotation", "numbered", "dated").ours(),
			key(channel+"_logfile_compress", TypeBool, NamesProcess, "false", "pack rotated files with gzip; their names are dated then").ours(),
			key(channel+"_logfile_maxage", TypeInteger, NamesProcess, "0", "days after which rotated files are removed, 0 for never; their names are dated then").ours(),
			key(channel+"_logfile_timestamp", TypeBool, NamesProcess, "false", "put the time before each line").ours(),
			key(channel+"_logfile_prefix", TypeText, NamesProcess, "", "text to put before each line, with \" | \" behind it").ours().example("%(program_name)s"),
			choice(channel+"_on_full", NamesProcess, "when the log cannot be written: drop the oldest lines, or block the program", "drop", "block").ours(),
			choice(channel+"_open", NamesProcess, "how the program has its "+channel+" open: w for writing only, or rw for reading, too; then every process that has it can take what is written there away", "w", "rw").ours(),
		)
	}
	return append(keys,
		key("environment", TypeEnvironment, NamesEnviron, "", "variables for the process, on top of the daemon's").example(`A="1",B="2"`),
		key("serverurl", TypeText, NamesEarly, "AUTO", "what the process gets as SUPERVISOR_SERVER_URL; AUTO: the address of a server of this file"),
	)
}

func listenerKeys() []Key {
	keys := append([]Key{
		need("events", TypeList, NamesStart, "PROCESS_STATE", "names of the events it wants"),
		key("buffer_size", TypeInteger, NamesStart, "10", "events kept while it is busy; the oldest are dropped then"),
		key("result_handler", TypePlugin, NamesStart, DefaultResultHandler, "what decides about its answers"),
	}, programKeys()...)
	for i := range keys {
		if keys[i].Name == "priority" {
			keys[i].Default = "-1"
		}
	}
	return keys
}
