package plan

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"sup/lib/config"
	"sup/lib/value"
)

// groups reads all groups: those of [group:x], the programs that are in none
// of them, event listeners, and FastCGI programs in no group.
func (l *loader) groups() {
	grouped := make(map[string]bool)
	var groups []Group
	for _, s := range l.sectionsOf(config.KindGroup) {
		if l.over {
			return
		}
		groups = append(groups, l.group(s, grouped))
	}
	for _, s := range l.sectionsOf(config.KindProgram) {
		if l.over {
			return
		}
		if grouped[s.Name] {
			continue
		}
		v := l.groupLevel(s, config.KindProgram)
		name := l.name(v, afterColon(s.Name))
		priority, _ := v.Int("priority")
		groups = append(groups, Group{
			Name: name, Kind: KindProgram, Priority: priority,
			Processes: l.processes(s, config.KindProgram, name),
		})
	}
	for _, s := range l.sectionsOf(config.KindEventListener) {
		if l.over {
			return
		}
		groups = append(groups, l.listener(s))
	}
	for _, s := range l.sectionsOf(config.KindFCGI) {
		if l.over {
			return
		}
		if !grouped[s.Name] {
			groups = append(groups, l.fcgi(s))
		}
	}
	sortGroups(groups)
	l.mergeEnvironments(groups)
	l.plan.Groups = groups
}

// groupLevel reads a section's keys as those of its group, where fewer names
// are known.
func (l *loader) groupLevel(s *config.Section, k config.Kind) *config.Values {
	v := l.dec.Values(s, k, l.names())
	v.Narrow = config.NamesStart
	return v
}

// name reads the name of a program or group.
func (l *loader) name(v *config.Values, text string) string {
	name, err := value.ParseName(text)
	if err != nil {
		v.Report(v.Problem("bad-name", "", config.Text{Text: text}, err.Error(), nameHint(text)))
	}
	return name
}

// nameHint proposes a name without what is not allowed in one.
func nameHint(text string) string {
	words := strings.FieldsFunc(text, func(r rune) bool { return value.IsSpace(r) || r == ':' || r == '/' })
	return "write for example " + strings.Join(words, "_")
}

// group reads a [group:x] and marks the sections of its programs.
func (l *loader) group(s *config.Section, grouped map[string]bool) Group {
	v := l.dec.Values(s, config.KindGroup, l.names())
	g := Group{Name: l.name(v, afterColon(s.Name)), Kind: KindGroup}
	programs := v.Text("programs")
	g.Priority, _ = v.Int("priority")
	for _, p := range value.ParseList(programs.Text) {
		if l.over {
			break
		}
		program, fcgi := l.doc.Section("program:"+p), l.doc.Section("fcgi-program:"+p)
		switch {
		case program == nil && fcgi == nil:
			v.Fail(config.CodeUnknownProgram, "programs", programs, fmt.Sprintf("there is no program %q", p), l.memberHint(p, programs.Text))
			continue
		case program != nil && fcgi != nil:
			v.Fail("ambiguous-program", "programs", programs,
				fmt.Sprintf("both [program:%s] and [fcgi-program:%s] exist", p, p), "rename one of them")
			continue
		case program != nil:
			grouped[program.Name] = true
			g.Processes = append(g.Processes, l.processes(program, config.KindProgram, g.Name)...)
		default:
			// Within a group it runs as a plain program: nobody opens its
			// socket.
			grouped[fcgi.Name] = true
			g.Processes = append(g.Processes, l.processes(fcgi, config.KindFCGI, g.Name)...)
		}
	}
	return g
}

// memberHint says how to mend the name of a program in programs=.
func (l *loader) memberHint(name, list string) string {
	if name == "" {
		return "remove the superfluous comma"
	}
	if len(value.Fields(name)) > 1 {
		return "put commas between the names"
	}
	for _, prefix := range []string{"eventlistener:", "group:"} {
		if l.doc.Section(prefix+name) != nil {
			return fmt.Sprintf("[%s%s] cannot be in a group", prefix, name)
		}
	}
	var names []string
	for _, s := range l.doc.Sections {
		if k, ok := config.KindOf(s.Name); ok && (k == config.KindProgram || k == config.KindFCGI) {
			names = append(names, afterColon(s.Name))
		}
	}
	if i := slices.IndexFunc(names, func(n string) bool { return value.Trim(n) == name }); i >= 0 {
		return fmt.Sprintf("remove the blanks in the header of [program:%s]", names[i])
	}
	if near := config.Nearest(name, names); near != "" {
		return "did you mean " + near + "?"
	}
	return "add a section [program:" + name + "]"
}

// listener reads an [eventlistener:x].
func (l *loader) listener(s *config.Section) Group {
	v := l.groupLevel(s, config.KindEventListener)
	g := Group{Name: afterColon(s.Name), Kind: KindEventListener}
	g.Priority, _ = v.Int("priority")

	size := v.Text("buffer_size")
	g.BufferSize, _ = v.Int("buffer_size")
	if g.BufferSize < 1 {
		v.Fail("bad-buffer_size", "buffer_size", size, "the buffer must hold at least one event", "")
	}

	handler := v.Text("result_handler")
	g.ResultHandler = handler.Text
	switch PluginName(handler.Text) {
	case config.DefaultResultHandler, config.StdoutResultHandler:
	default:
		l.unknownPlugin(v, "result_handler", handler,
			"the default decides instead, for which the result OK accepts an event and any other rejects it",
			config.DefaultResultHandler, config.StdoutResultHandler)
	}

	events := v.Text("events")
	g.Events = l.events(v, events)
	redirect := v.Text("redirect_stderr")
	if on, _ := v.Bool("redirect_stderr"); on {
		v.Fail("listener-redirect_stderr", "redirect_stderr", redirect,
			"an event listener speaks on its standard output, so standard error must not go there", "remove the key")
	}
	g.Processes = l.processes(s, config.KindEventListener, g.Name)
	return g
}

// events reads the names of events.
func (l *loader) events(v *config.Values, t config.Text) []string {
	var names []string
	for _, e := range value.ParseList(t.Text) {
		names = append(names, value.Upper(e))
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 {
		v.Missing("events-missing", "events", t)
		return nil
	}
	for _, e := range names {
		if _, ok := slices.BinarySearch(eventNames, e); !ok {
			hint := "remove the superfluous comma"
			if e != "" {
				hint = ""
				if near := config.Nearest(e, eventNames); near != "" {
					hint = "did you mean " + near + "?"
				}
			}
			v.Fail("unknown-event", "events", t, fmt.Sprintf("there is no event %q", e), hint)
		}
	}
	return names
}

// eventNames are the names that events= may hold, sorted.
var eventNames = []string{
	"EVENT",
	"PROCESS_COMMUNICATION", "PROCESS_COMMUNICATION_STDERR", "PROCESS_COMMUNICATION_STDOUT",
	"PROCESS_GROUP", "PROCESS_GROUP_ADDED", "PROCESS_GROUP_REMOVED",
	"PROCESS_LOG", "PROCESS_LOG_STDERR", "PROCESS_LOG_STDOUT",
	"PROCESS_STATE", "PROCESS_STATE_BACKOFF", "PROCESS_STATE_EXITED", "PROCESS_STATE_FATAL",
	"PROCESS_STATE_RUNNING", "PROCESS_STATE_STARTING", "PROCESS_STATE_STOPPED",
	"PROCESS_STATE_STOPPING", "PROCESS_STATE_UNKNOWN",
	"REMOTE_COMMUNICATION",
	"SUPERVISOR_STATE_CHANGE", "SUPERVISOR_STATE_CHANGE_RUNNING", "SUPERVISOR_STATE_CHANGE_STOPPING",
	"TICK", "TICK_3600", "TICK_5", "TICK_60",
}

// fcgi reads an [fcgi-program:x] that is in no group.
func (l *loader) fcgi(s *config.Section) Group {
	v := l.groupLevel(s, config.KindFCGI)
	g := Group{Kind: KindFCGI}
	g.Name = l.name(v, afterColon(s.Name))
	g.Priority, _ = v.Int("priority")
	_, uid, gid := v.User("user")
	sock := &Socket{Mode: -1}
	g.Socket = sock

	backlog := v.Text("socket_backlog")
	if backlog.Set {
		n, err := value.ParseInt(backlog.Text)
		switch {
		case err != nil:
			v.BadValue("socket_backlog", backlog, err)
		case n < 1 || n > 65535:
			v.Fail("bad-socket_backlog", "socket_backlog", backlog, "the backlog must be from 1 to 65535", "")
		}
		sock.Backlog = int(n)
	}
	owner, ownerUID, ownerGID := v.Owner("bad-socket_owner", "socket_owner")
	sock.Owner, sock.HasOwner = owner.Text, owner.Set
	sock.UID, sock.GID = ownerUID, ownerGID
	mode := v.Text("socket_mode")
	octal := 0o700
	if mode.Set {
		n, err := value.ParseOctal(mode.Text)
		if err != nil {
			v.Fail("bad-socket_mode", "socket_mode", mode, err.Error(), "write for example 0700")
		}
		octal = n
	}

	v.Narrow = config.NamesSocket
	v.Names.Program = g.Name
	t := v.Text("socket")
	if t.Text == "" {
		v.Missing("socket-missing", "socket", t)
	} else if addr, err := value.ParseSocket(t.Text); err != nil {
		// A socket that is no Unix socket must not have an owner or a mode,
		// and that is looked at first.
		l.tcpOptions(v, t.Text, owner, mode)
		v.BadValue("socket", t, err)
	} else {
		sock.URL = addr.String()
		l.tcpOptions(v, t.Text, owner, mode)
		if addr.Unix() {
			sock.Mode = octal
			if !owner.Set && uid >= 0 && uid != os.Getuid() {
				sock.UID, sock.GID = uid, gid
			}
		}
	}
	g.Processes = l.processes(s, config.KindFCGI, g.Name)
	return g
}

// tcpOptions reports keys that only a Unix socket can have.
func (l *loader) tcpOptions(v *config.Values, url string, owner, mode config.Text) {
	if strings.HasPrefix(url, "unix://") {
		return
	}
	fail := func(key string, t config.Text) {
		if t.Set {
			v.Fail("socket-option-on-tcp", key, t, "only a Unix socket has an owner and a mode", "remove the key")
		}
	}
	fail("socket_owner", owner)
	fail("socket_mode", mode)
}

// maxMerged is the most variables that all processes may have together besides
// their own.
const maxMerged = 1 << 20

// mergeEnvironments puts the daemon's environment under that of each process.
func (l *loader) mergeEnvironments(groups []Group) {
	daemon := l.plan.Daemon.Environment
	if len(daemon) == 0 {
		return
	}
	merged := 0
	for i := range groups {
		for j := range groups[i].Processes {
			p := &groups[i].Processes[j]
			if len(p.Environment) > 0 {
				merged += len(daemon)
			}
			if merged > maxMerged {
				v := l.dec.Values(l.doc.Section("supervisord"), config.KindSupervisord, l.names())
				v.Fail(config.CodeTooLarge, "environment", v.Raw("environment"),
					fmt.Sprintf("%d variables for each of so many processes are too many", len(daemon)), "")
				return
			}
			l.mergeEnvironment(p)
		}
	}
}

// mergeEnvironment puts the daemon's environment under that of a process. One
// that has none of its own shares it.
func (l *loader) mergeEnvironment(p *Process) {
	daemon := l.plan.Daemon.Environment
	switch {
	case len(daemon) == 0:
		return
	case len(p.Environment) == 0:
		p.Environment = daemon
		return
	}
	env := make(map[string]string, len(daemon)+len(p.Environment))
	for k, v := range daemon {
		env[k] = v
	}
	for k, v := range p.Environment {
		env[k] = v
	}
	p.Environment = env
}
