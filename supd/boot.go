package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/cli"
	"sup/lib/plan"
	"sup/lib/process"
	"sup/lib/safepath"
	"sup/lib/trust"
	"sup/supd/internal/activity"
	"sup/supd/internal/daemon"
	"sup/supd/internal/early"
	"sup/supd/internal/fcgi"
	"sup/supd/internal/hurry"
	"sup/supd/internal/record"
	"sup/supd/internal/server"
	"sup/supd/internal/state"
	"sup/supd/internal/systemd"
	"sup/supd/internal/unixsock"
)

// run is supd from its command line to its exit status: 0 after an orderly
// end, 2 if it could not begin, 1 if it had to leave something behind.
func run(args []string, stdout, stderr io.Writer) int {
	prog := filepath.Base(args[0])
	if len(args) == 2 && args[1] == demoFlag {
		return demo(args[0], stdout, stderr)
	}
	if len(args) > 1 && args[len(args)-1] == daemon.CheckFlag {
		return checkUpgrade(args[:len(args)-1], stdout, stderr)
	}
	parsed, err := plan.ParseDaemonArgs(args[1:])
	if err != nil {
		return usageError(stderr, prog, err)
	}
	switch {
	case parsed.Help:
		io.WriteString(stdout, usage(prog))
		return 0
	case parsed.Version:
		fmt.Fprintln(stdout, cli.FullVersion())
		return 0
	}
	// Programs may be waiting for somebody to take them over.
	unhurry := hurry.Begin()
	loadText := func(text *string) (*plan.Plan, error) {
		return plan.Load(plan.Options{File: parsed.File, Text: text, Program: args[0], Overrides: parsed.Overrides, AnyPlugin: true, Obeyed: true})
	}
	load := func() (*plan.Plan, error) { return loadText(nil) }
	piped, err := pipedConfig(parsed.File)
	if err != nil {
		return usageError(stderr, prog, err)
	}
	p, err := loadText(piped)
	if err != nil {
		return usageError(stderr, prog, err)
	}
	upgraded := inheritance()
	// While the environment still speaks of us.
	activated := systemd.Sockets()
	closeOnExec()
	toBe, detached := daemonToBe()
	self, err := os.Executable()
	if err != nil {
		return usageError(stderr, prog, fmt.Errorf("cannot find supd's own file: %w", err))
	}
	if !p.Daemon.NoDaemon && !detached && upgraded == nil {
		unhurry()
		if p.Daemon.UID <= 0 {
			if err := trust.Binary(self); err != nil {
				return usageError(stderr, prog, err)
			}
		}
		return launch(self, args, piped, stderr)
	}
	return boot(&start{
		prog: prog, self: self, args: args, plan: p, load: load, detacher: toBe, upgraded: upgraded,
		activated: activated, stdout: stdout, stderr: stderr, unhurry: unhurry,
	})
}

// start is what the steps of starting up share.
type start struct {
	prog     string
	self     string   // path of the binary
	args     []string // the whole command line
	plan     *plan.Plan
	load     func() (*plan.Plan, error)
	detacher *detacher // nil in the foreground
	upgraded *heritage // what the image before has left us, nil if there was none
	// activated are the sockets that the service manager has opened for us,
	// lent the addresses of those that servers could have.
	activated []*os.File
	lent      []string
	stdout    io.Writer
	stderr    io.Writer

	unhurry func() // once programs have been taken over
	log     *activity.Log
	servers *server.Server
	signals chan os.Signal
	suplog  string
	pidfile string // "" while there is none
	state   *state.Dir
	// identity is that of the state directory, or of an image before us that has
	// none; nil if a new one is to be made.
	identity *state.Identity
	saved    *state.State
	record   *record.Log
	daemon   *daemon.Daemon
}

// boot takes the steps of Supervisor's start in their order, so that every
// error up to and including the sockets shows where the command was typed.
func boot(s *start) int {
	p := s.plan
	writable := writableByOthers(p.Files)
	privileges, err := dropPrivileges(&p.Daemon)
	if err != nil {
		return usageError(s.stderr, s.prog, err)
	}
	limits, err := raiseLimits(&p.Daemon)
	if err != nil {
		return usageError(s.stderr, s.prog, err)
	}
	if s.suplog, err = findSuplog(); err != nil {
		return usageError(s.stderr, s.prog, err)
	}
	// An upgrade was checked by the image before, and there is no way back.
	if s.upgraded == nil {
		for _, binary := range []string{s.self, s.suplog} {
			if err := trust.Binary(binary); err != nil {
				return usageError(s.stderr, s.prog, err)
			}
		}
	}
	sink, err := openActivityLog(&p.Daemon)
	if err != nil {
		return usageError(s.stderr, s.prog, err)
	}
	s.log = activity.New(activity.ParseLevel(p.Daemon.LogLevel))
	if err := s.openState(); err != nil {
		return usageError(s.stderr, s.prog, err)
	}
	s.openRecord()
	if err := s.probeSockets(); err != nil && s.upgraded == nil {
		var taken *unixsock.TakenError
		if errors.As(err, &taken) {
			return usageError(s.stderr, s.prog, err)
		}
		fmt.Fprintf(s.stderr, "Error: %v\n", err)
		return 1
	}
	inherited := s.takeSockets()
	opts := s.serverOptions(p)
	opts.Inherited = inherited
	// Whoever comes back to programs that run does not fail for a file.
	opts.Tolerant = s.upgraded != nil || s.saved != nil
	s.servers, err = server.Open(p.Servers, opts)
	if err != nil {
		return usageError(s.stderr, s.prog, err)
	}
	s.signals = catchSignals()
	console := s.console(&p.Daemon)
	if s.detacher != nil {
		unix.Umask(p.Daemon.Umask)
		s.log.Print(activity.Info, "daemonizing the supervisord process")
		if dir := p.Daemon.Directory; dir != "" {
			if err := os.Chdir(dir); err != nil {
				s.log.Print(activity.Critical, fmt.Sprintf("can't chdir into %q: %v", dir, err))
			} else {
				s.log.Print(activity.Info, "set current directory: '"+dir+"'")
			}
		}
		if err := s.detacher.detach(); err != nil {
			return usageError(s.stderr, s.prog, err)
		}
	}
	s.log.Start(sink, console)
	if s.upgraded == nil {
		s.preliminaries(privileges, limits)
		s.warn(writable)
	}
	return s.supervise()
}

// openState takes the state directory, and reads what a daemon before has left
// in it. Without a directory programs cannot be taken over, but all else works.
func (s *start) openState() error {
	path := s.plan.Daemon.StateDir
	if s.upgraded != nil {
		s.state, s.saved = s.upgraded.state()
		s.identity, _ = state.ParseSecret(s.upgraded.Identity)
		s.useState()
		return nil
	}
	var dir *state.Dir
	var err error
	switch path {
	case "none":
		return nil
	case "":
		// Beside a device there is no place for a directory, and more than one
		// daemon may name it.
		if specialFile(s.plan.Daemon.Pidfile) {
			return nil
		}
		dir, err = state.OpenFor(s.plan.Daemon.Pidfile)
	default:
		dir, err = state.OpenAt(path)
	}
	var locked *state.LockedError
	if errors.As(err, &locked) && !locked.Elsewhere || errors.As(err, new(*state.UnsafeError)) {
		return err
	}
	if err != nil {
		s.log.Print(activity.Warn, err.Error()+"; programs could not be taken over by a supd after this one")
		return nil
	}
	s.state = dir
	s.useState()
	if !dir.Abandoned() {
		return nil // there is nothing, or what an orderly end has left
	}
	if s.saved, err = dir.Load(); err != nil {
		s.log.Print(activity.Warn, err.Error()+"; looking for programs by their marks")
	}
	return nil
}

// useState takes over from the state directory what is not the state.
func (s *start) useState() {
	if s.state == nil {
		return
	}
	s.identity = s.state.Identity()
	s.warn(s.state.Notes())
}

// openRecord goes on with the record of events: in the state directory, in memory
// where there is none.
func (s *start) openRecord() {
	var place record.Place
	if s.state != nil {
		place = s.state
	}
	s.record = record.Open(place, state.BootID(), func(text string) { s.log.Print(activity.Warn, text) })
}

// probeSockets finds out whether the sockets of FastCGI programs can be made.
func (s *start) probeSockets() error {
	for _, g := range s.plan.Groups {
		if g.Socket == nil || s.mayListen(g.Name) {
			continue
		}
		lines, err := daemon.ProbeSocket(fcgi.New(*g.Socket))
		for _, line := range lines {
			s.log.Print(activity.Info, line)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mayListen tells whether processes that an earlier daemon has started may listen
// on the socket of a group: then it is not probed, which would take it from them.
func (s *start) mayListen(group string) bool {
	if s.saved == nil {
		return s.state != nil && s.state.Abandoned()
	}
	return slices.ContainsFunc(s.saved.Processes, func(p state.Process) bool {
		return p.Group == group && (p.PID != 0 || p.State == int(process.Starting))
	})
}

// console is where the activity log is copied to: standard output in the
// foreground, unless it is silent or the log goes there anyway.
func (s *start) console(cfg *plan.Daemon) io.Writer {
	if !cfg.NoDaemon || cfg.Silent || isStdout(cfg.Logfile) {
		return nil
	}
	return s.stdout
}

// isStdout tells whether a log file is our standard output.
func isStdout(path string) bool {
	file, err := safepath.Stat(path)
	regular := file.Mode&unix.S_IFMT == unix.S_IFREG
	if err != nil || regular && path[0] == '/' && filepath.Dir(path) != "/dev" && filepath.Dir(path) != "/dev/fd" {
		return false
	}
	var out unix.Stat_t
	return unix.Fstat(unix.Stdout, &out) == nil && file.Dev == out.Dev && file.Ino == out.Ino
}

// preliminaries are the lines before the first one about programs.
func (s *start) preliminaries(privileges string, limits []string) {
	p := s.plan
	if privileges != "" {
		s.log.Print(activity.Info, privileges)
	} else if os.Geteuid() == 0 {
		s.log.Print(activity.Critical, "supd runs as root and so will every program without user=; if that is what you want, say user=root in [supervisord]")
	}
	for _, line := range limits {
		s.log.Print(activity.Info, line)
	}
	s.announcePlan(p)
}

func (s *start) warn(lines []string) {
	for _, line := range lines {
		s.log.Print(activity.Warn, line)
	}
}

// announcePlan says what there is to say about a configuration once the log is
// open.
func (s *start) announcePlan(p *plan.Plan) {
	if len(p.Files) > 1 {
		for _, file := range p.Files[1:] {
			s.log.Print(activity.Info, fmt.Sprintf("Included extra file %q during parsing", file))
		}
	}
	for _, w := range p.Warnings {
		s.log.Print(activity.Warn, w.String())
	}
	for _, i := range p.RPCInterfaces {
		// Of one that is not ours a warning has told.
		if i.Known && len(p.Servers) > 0 {
			s.log.Print(activity.Info, "RPC interface '"+i.Name+"' initialized")
		}
	}
	for _, srv := range p.Servers {
		if srv.SendsPasswordsOpenly() {
			s.log.Print(activity.Warn, "Server '"+srv.Section+"' has passwords sent over the network as they are; give it certificate=, or an address of this machine only")
		}
	}
	for _, srv := range server.Unprotected(p.Servers) {
		s.log.Print(activity.Critical, "Server '"+srv.Section+"' running without any HTTP authentication checking")
	}
}

// announcePid writes the pid file and says that the daemon runs, or that the
// file could not be written; it goes on in that case.
func (s *start) announcePid() {
	s.pidfile = s.plan.Daemon.Pidfile
	if err := writePidfile(s.pidfile); err != nil {
		s.log.Print(activity.Critical, "could not write pidfile "+s.pidfile)
		level := activity.Debug
		if refused := (*safepath.Error)(nil); errors.As(err, &refused) {
			level = activity.Error
		}
		s.log.Print(level, err.Error())
		s.pidfile = ""
		return
	}
	s.log.Print(activity.Info, fmt.Sprintf("supervisord started with pid %d", os.Getpid()))
}

// supervise runs the daemon until it ends, and cleans up behind it.
func (s *start) supervise() int {
	p := s.plan
	if s.upgraded == nil {
		s.announcePid()
	} else {
		s.pidfile = p.Daemon.Pidfile
	}
	var ready func()
	suplogConn, holderConn := 0, 0
	var calls []server.HeldCall
	var sockets map[string]int
	if s.upgraded != nil {
		suplogConn, holderConn = s.upgraded.Suplog, s.upgraded.Holder
		calls, sockets = s.upgraded.calls(), s.upgraded.FastCGI
	}
	notify, err := s.notify()
	if err != nil {
		s.log.Print(activity.Warn, err.Error())
	}
	if s.identity == nil {
		s.identity = state.NewIdentity()
	}
	d := daemon.New(daemon.Options{
		Plan: p, Reload: s.load, Reopen: s.reopen, Log: s.log,
		Signals: s.signals, Suplog: s.suplog, Record: s.record,
		StateDir: s.state, Identity: s.identity, Saved: s.saved, Upgraded: s.upgraded != nil, SuplogConn: suplogConn, HolderConn: holderConn, Sockets: sockets,
		Self: s.self, Args: s.args, Vet: trust.Binary, Pause: s.pause, Resume: s.resume, Replace: s.replace,
		Resumed: s.unhurry, First: func() { cleanAutoLogs(&p.Daemon) }, Ready: func() { ready() }, Notify: notify,
	})
	s.daemon = d
	ready = func() {
		s.servers.Serve(d, s.log)
		s.servers.Continue(calls)
	}
	status := d.Run(context.Background())
	s.record.Add(record.Entry{Kind: record.Daemon, To: "stopped", PID: os.Getpid()})
	s.record.Close(recordPatience)

	ctx, cancel := context.WithTimeout(context.Background(), logPatience)
	defer cancel()
	// Their files may be on a disk that hangs.
	within(cleanUpPatience, func() {
		s.servers.Close(ctx)
		if s.pidfile != "" {
			removePidfile(s.pidfile)
		}
	})
	s.log.Close(logPatience)
	return status
}

// How long the end of the daemon, or a step to another configuration or image,
// waits for a disk.
const (
	logPatience     = 2 * time.Second
	recordPatience  = 500 * time.Millisecond
	cleanUpPatience = 4 * time.Second
)

// within runs f and waits until it has returned, or for patience. It reports
// whether f has returned.
func within(patience time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// reopen makes the activity log and the servers follow a new configuration
// after a restart by SIGHUP, when every program has stopped.
func (s *start) reopen(p *plan.Plan) error {
	var problems []error
	if p.Daemon.Logfile != s.plan.Daemon.Logfile || p.Daemon.LogfileMaxBytes != s.plan.Daemon.LogfileMaxBytes ||
		p.Daemon.LogfileBackups != s.plan.Daemon.LogfileBackups {
		sink, err := openActivityLog(&p.Daemon)
		if err != nil {
			problems = append(problems, err)
		} else {
			s.log.Replace(sink)
		}
	} else if err := s.log.Do(activity.Sink.Reopen); err != nil {
		problems = append(problems, err)
	}
	if err := s.reopenServers(p); err != nil {
		problems = append(problems, err)
	}
	cleanAutoLogs(&p.Daemon)
	if s.pidfile != "" && s.pidfile != p.Daemon.Pidfile {
		removePidfile(s.pidfile)
	}
	s.plan = p
	s.announcePlan(p)
	s.warn(writableByOthers(p.Files))
	s.announcePid()
	return errors.Join(problems...)
}

// reopenServers goes over to the servers of a new configuration. Sockets that
// both have stay open, so that no client is refused.
func (s *start) reopenServers(p *plan.Plan) error {
	files, err := s.servers.Files()
	if err != nil {
		return err
	}
	defer func() {
		for _, f := range files {
			f.File.Close()
		}
	}()
	opts := s.serverOptions(p)
	opts.Inherited = files
	opts.Before = s.servers
	next, err := server.Open(p.Servers, opts)
	if err != nil {
		return fmt.Errorf("the servers stay as they were: %w", err)
	}
	old := s.servers
	s.servers = next
	next.Serve(s.daemon, s.log)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	go func() {
		defer cancel()
		_ = old.Abandon(ctx, next)
	}()
	return nil
}

// closeOnExec keeps whatever descriptors we were given from reaching programs.
func closeOnExec() {
	if unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	// A kernel before 5.11.
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// catchSignals takes over every signal that means something to us, and SIGPIPE,
// which must not end a daemon whose standard output has gone. They are caught,
// not ignored: what is ignored would stay so in programs.
func catchSignals() chan os.Signal {
	signals := early.Signals
	if signals == nil {
		signals = make(chan os.Signal, 256)
		signal.Notify(signals, early.Wanted...)
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return signals
}

// findSuplog finds the log process's binary: beside our own, else in PATH.
func findSuplog() (string, error) {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "suplog")
		if unix.Access(beside, unix.X_OK) == nil {
			return beside, nil
		}
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		file := filepath.Join(dir, "suplog")
		if fi, err := os.Stat(file); err == nil && fi.Mode().IsRegular() && unix.Access(file, unix.X_OK) == nil {
			return file, nil
		}
	}
	return "", errors.New("cannot find suplog, neither beside supd nor in PATH; hint: install it beside supd")
}
