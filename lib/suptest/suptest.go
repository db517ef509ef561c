// Package suptest is for tests that need a daemon: it builds the tools, runs
// supd in a temporary directory, waits for what is to happen, and at the end
// sees to it that nothing is left. Only tests import it.
//
//	func TestMain(m *testing.M) { suptest.Main(m) }
//
//	func TestRestart(t *testing.T) {
//		d := suptest.Start(t, suptest.Options{Config: "[program:a]\ncommand=sleep 1000\n"})
//		d.Wait("RUNNING", "a")
//		d.MustCtl("restart", "a")
//		d.Stop()
//	}
//
// With SUPTEST_DAEMON and SUPTEST_CTL set to supervisord and supervisorctl the
// tests run against Supervisor instead, which tells whether they are right.
package suptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"sup/lib/client"
	"sup/lib/rpc"
)

// Patience is how long anything that is waited for may take. It is long: a
// test that passes does not use it up.
const Patience = 30 * time.Second

// pause is the time between two questions to the daemon.
const pause = 5 * time.Millisecond

// The files of a daemon in its directory.
const (
	configName = "supervisord.conf"
	socketName = "supd.sock"
	pidName    = "supd.pid"
	logName    = "supd.log"
)

// preamble comes before Options.Config.
const preamble = `[unix_http_server]
file=%(here)s/` + socketName + `
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://%(here)s/` + socketName + `
[supervisord]
logfile=%(here)s/` + logName + `
pidfile=%(here)s/` + pidName + `
childlogdir=%(here)s
`

// Options say what daemon to start.
type Options struct {
	// Config are sections for supervisord.conf. They come after a preamble with
	// a socket, and may continue its last section, [supervisord].
	Config string
	// Tree is a directory whose content is copied to the daemon's. If there is
	// a supervisord.conf in it, that is used as it is and Config must be empty;
	// its socket, pid file and log must be supd.sock, supd.pid and supd.log in
	// its own directory.
	Tree string
	// Args are added to the daemon's command line, Env to its environment.
	Args, Env []string
	// Prefix are the words of a command that runs the daemon, in a namespace, say.
	// If it does not become the daemon, PID is its own.
	Prefix []string
	// Dir is a directory to use (of a daemon that has ended, say), instead of a new
	// one.
	Dir string
	// Supd is the daemon's binary, instead of the one that Tool builds. Beside
	// it there must be a suplog.
	Supd string
	// Output is what the daemon gets as standard output and error, instead of
	// the file "output" in its directory.
	Output *os.File
	// Terminal becomes the daemon's controlling terminal and standard input.
	Terminal *os.File
	// Doomed is for a daemon that is expected to end before it answers, or
	// soon after: Start does not wait for its answer.
	Doomed bool
}

// Daemon is a running daemon.
type Daemon struct {
	// Dir is its working directory, where its configuration lies too.
	Dir string
	// Client speaks to it.
	Client *client.Client

	t      T
	o      Options
	cmd    *exec.Cmd
	output *os.File
	ended  chan struct{} // closed when the process has ended
	done   bool          // Stop or Abandon was called
}

// Start starts a daemon and waits until it answers. When the test ends it is
// stopped as Stop does, unless that was done before.
func Start(t T, o Options) *Daemon {
	t.Helper()
	d := &Daemon{t: t, o: o, Dir: o.Dir}
	if d.Dir == "" {
		d.Dir = tempDir(t)
	}
	if o.Tree != "" {
		if err := os.CopyFS(d.Dir, os.DirFS(o.Tree)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(d.Path(configName)); errors.Is(err, fs.ErrNotExist) || o.Config != "" {
		d.WriteConfig(o.Config)
	}
	output, err := os.OpenFile(d.Path("output"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	d.output = output
	if d.Client, err = client.New("unix://"+d.Path(socketName), nil, nil); err != nil {
		t.Fatal(err)
	}
	d.launch(o.Env)
	t.Cleanup(d.cleanUp)
	if !o.Doomed {
		d.awaitAnswer()
	}
	return d
}

// launch starts the process.
func (d *Daemon) launch(env []string) {
	d.t.Helper()
	args := []string{d.o.Supd}
	if d.o.Supd == "" {
		args = command(d.t, "supd")
	}
	args = append(args, "-n", "-c", d.Path(configName))
	args = slices.Concat(d.o.Prefix, args, d.o.Args)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = d.Dir
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = d.output, d.output
	if d.o.Output != nil {
		cmd.Stdout, cmd.Stderr = d.o.Output, d.o.Output
	}
	if d.o.Terminal != nil {
		cmd.Stdin = d.o.Terminal
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	}
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	ended := make(chan struct{})
	d.cmd, d.ended = cmd, ended
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
}

func (d *Daemon) awaitAnswer() {
	d.t.Helper()
	d.Until("the daemon answers", func() error {
		select {
		case <-d.ended:
			d.t.Fatalf("the daemon ended at once: %v\n%s", d.cmd.ProcessState, d.read("output"))
		default:
		}
		var state rpc.State
		return d.Client.Call(d.t.Context(), &state, "supervisor.getState")
	})
}

// Crash kills the daemon with SIGKILL, and nothing else.
func (d *Daemon) Crash() {
	d.t.Helper()
	d.Signal(syscall.SIGKILL)
	d.AwaitEnd()
}

// AwaitEnd waits until the daemon's process has ended, however that comes.
func (d *Daemon) AwaitEnd() {
	d.t.Helper()
	select {
	case <-d.ended:
	case <-time.After(Patience):
		d.t.Fatal("the daemon does not end")
	}
}

// Relaunch starts a daemon that has ended anew, with its command line and this
// environment added to the test's, and waits until it answers.
func (d *Daemon) Relaunch(env ...string) {
	d.t.Helper()
	d.RelaunchDoomed(env...)
	d.awaitAnswer()
}

// RelaunchDoomed is Relaunch for a daemon that is expected to end again: it does
// not wait for an answer.
func (d *Daemon) RelaunchDoomed(env ...string) {
	d.t.Helper()
	d.Client.Close()
	d.launch(env)
}

// DirVar in the environment names the directory that a daemon is to have if none is
// asked for. There can be one daemon at a time then.
const DirVar = "SUPTEST_DIR"

// tempDir is like t.TempDir, but with a short path: that of a socket may have
// no more than 107 bytes.
func tempDir(t T) string {
	t.Helper()
	dir := os.Getenv(DirVar)
	var err error
	if dir == "" {
		dir, err = os.MkdirTemp("", "sup")
	} else {
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// WriteConfig replaces the daemon's configuration by the preamble and these
// sections. It does not tell the daemon.
func (d *Daemon) WriteConfig(sections string) {
	d.t.Helper()
	d.WriteFile(configName, preamble+sections)
}

// Path is a file in the daemon's directory.
func (d *Daemon) Path(name string) string { return filepath.Join(d.Dir, name) }

// WriteFile writes a file in the daemon's directory. It is executable.
func (d *Daemon) WriteFile(name, text string) {
	d.t.Helper()
	if err := os.WriteFile(d.Path(name), []byte(text), 0o755); err != nil {
		d.t.Fatal(err)
	}
}

// ReadFile is the content of a file in the daemon's directory.
func (d *Daemon) ReadFile(name string) string {
	d.t.Helper()
	text, err := os.ReadFile(d.Path(name))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(text)
}

// read is like ReadFile, for files that may be missing.
func (d *Daemon) read(name string) string {
	text, err := os.ReadFile(d.Path(name))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Log is the activity log.
func (d *Daemon) Log() string { return d.read(logName) }

// PID is the daemon's process id.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Until waits until check gives no error.
func (d *Daemon) Until(what string, check func() error) {
	d.t.Helper()
	Until(d.t, what, check)
}

// Until waits until check gives no error, and fails the test if that takes too
// long.
func Until(t T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s: %v", what, err)
		}
		time.Sleep(pause)
	}
}

// Info tells about a process.
func (d *Daemon) Info(name string) rpc.ProcessInfo {
	d.t.Helper()
	info, err := d.Client.ProcessInfo(d.t.Context(), name)
	if err != nil {
		d.t.Fatal(err)
	}
	return info
}

// Wait waits until all the named processes are in the given state.
func (d *Daemon) Wait(state string, names ...string) {
	d.t.Helper()
	for _, name := range names {
		d.Until(name+" is "+state, func() error {
			info, err := d.Client.ProcessInfo(d.t.Context(), name)
			if err != nil {
				return err
			}
			if info.StateName != state {
				return fmt.Errorf("it is %s (%s)", info.StateName, info.Description)
			}
			return nil
		})
	}
}

// WaitFile waits until a text is in a file of the daemon's directory.
func (d *Daemon) WaitFile(name, text string) {
	d.t.Helper()
	d.Until(fmt.Sprintf("%q is in %s", text, name), func() error {
		if !strings.Contains(d.read(name), text) {
			return errors.New("it is not")
		}
		return nil
	})
}

// Ctl runs supctl and tells what it printed and its exit status.
func (d *Daemon) Ctl(args ...string) (output string, status int) {
	d.t.Helper()
	words := append(command(d.t, "supctl"), "-c", d.Path(configName))
	words = append(words, args...)
	ctx, cancel := context.WithTimeout(d.t.Context(), Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir = d.Dir
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		d.t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// MustCtl is Ctl for commands that must succeed.
func (d *Daemon) MustCtl(args ...string) (output string) {
	d.t.Helper()
	output, status := d.Ctl(args...)
	if status != 0 {
		d.t.Fatalf("supctl %s: exit status %d\n%s", strings.Join(args, " "), status, output)
	}
	return output
}

// Signal sends a signal to the daemon.
func (d *Daemon) Signal(sig syscall.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(sig); err != nil {
		d.t.Fatal(err)
	}
}

// Stop ends the daemon with SIGTERM. Exit status 0 is expected, and that no
// process, socket or pid file is left.
func (d *Daemon) Stop() {
	d.t.Helper()
	d.Finish(func() { d.Signal(syscall.SIGTERM) })
}

// Finish is Stop with another way to ask for the end.
func (d *Daemon) Finish(ask func()) {
	d.t.Helper()
	d.done = true
	family := descendants(d.PID())
	ask()
	select {
	case <-d.ended:
	case <-time.After(Patience):
		d.t.Errorf("the daemon does not end")
		d.kill()
		return
	}
	if status := d.cmd.ProcessState; !status.Success() {
		d.t.Errorf("the daemon ended with %v", status)
	}
	// Orphans are seen for a moment after their end, until init has reaped them.
	deadline := time.Now().Add(5 * time.Second)
	left := survivors(family, d.Dir)
	for len(left) > 0 && time.Now().Before(deadline) {
		time.Sleep(pause)
		left = survivors(family, d.Dir)
	}
	for _, p := range left {
		d.t.Errorf("process %d is left: %s", p.pid, p.commandLine())
		p.kill()
	}
	for _, name := range []string{socketName, pidName} {
		if _, err := os.Lstat(d.Path(name)); !errors.Is(err, fs.ErrNotExist) {
			d.t.Errorf("%s is left", name)
		}
	}
}

// kill ends the daemon and all that belongs to it by force.
func (d *Daemon) kill() {
	family := descendants(d.PID())
	_ = d.cmd.Process.Kill()
	<-d.ended
	for _, p := range survivors(family, d.Dir) {
		p.kill()
	}
}

// cleanUp ends the test: in order, if nothing went wrong.
func (d *Daemon) cleanUp() {
	// Deferred, because an error may end the test here and now.
	defer func() {
		select {
		case <-d.ended:
		default:
			d.kill()
		}
		d.output.Close()
		d.Client.Close()
		if d.t.Failed() {
			d.t.Logf("activity log:\n%s", tail(d.Log()))
			d.t.Logf("output of the daemon:\n%s", tail(d.read("output")))
		}
	}()
	if _, inScript := d.t.(*script); !d.done && (inScript || !d.t.Failed()) {
		d.Stop()
	}
}

// tail is the end of a long text.
func tail(text string) string {
	const most = 16 << 10
	if len(text) <= most {
		return text
	}
	_, rest, _ := strings.Cut(text[len(text)-most:], "\n")
	return "…\n" + rest
}

// FreePort is a TCP port of loopback that nobody listens on just now.
func FreePort(t T) int {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// Numbered checks that text has, once each and in this order, the lines
// "<prefix> 1" to "<prefix> n", whatever n is, among others. It returns n.
func Numbered(t T, text, prefix string) (n int) {
	t.Helper()
	for line := range bytes.Lines([]byte(text)) {
		number, ok := strings.CutPrefix(strings.TrimSuffix(string(line), "\n"), prefix+" ")
		if !ok {
			continue
		}
		n++
		if number != fmt.Sprint(n) {
			t.Fatalf("line %d of %q is %q", n, prefix, line)
		}
	}
	return n
}
