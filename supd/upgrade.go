package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"sup/lib/cli"
	"sup/lib/plan"
	"sup/lib/spawn"
	"sup/lib/trust"
	"sup/supd/internal/crash"
	"sup/supd/internal/daemon"
	"sup/supd/internal/early"
	"sup/supd/internal/server"
	"sup/supd/internal/state"
	"sup/supd/internal/unixsock"
)

// The descriptor part of an upgrade in place: what goes over from one image to
// the next lies in a memory file, whose number is in the environment.

// heritageVar names that number.
const heritageVar = early.Variable

// heritage is what an image leaves to the next. Unknown members are ignored
// and missing ones have their zero value, so that versions can follow each
// other.
type heritage struct {
	// StateDir is the locked state directory, "" for none; Lock is the
	// descriptor of its lock.
	StateDir string
	Lock     int
	// StateFD is the descriptor of the directory, 0 from an image that knew it by
	// its path, -1 if it is not there any more. Identity is the secret of the marks.
	StateFD  int
	Identity string
	// Sockets are the listening sockets, by address; SocketFiles the files of
	// unix sockets among them.
	Sockets     map[string]int
	SocketFiles map[string]unixsock.ID
	// Lent are the addresses of those that the service manager has opened.
	Lent []string
	// Calls are those that wait for a process.
	Calls []heldCall
	// Suplog is the descriptor of the connection to suplog, 0 if a new one is to
	// be made.
	Suplog int
	// Holder is that of the connection to suphold.
	Holder int
	// FastCGI are the listening sockets of FastCGI groups, by name.
	FastCGI map[string]int
	State   json.RawMessage
}

// heldCall is a server.HeldCall with the number of its connection.
type heldCall struct {
	Address string
	Conn    int
	Request []byte
	server.BrokenOff
	TLS *server.Sealed `json:",omitempty"`
}

// inheritance reads what the image before has left, nil if there was none.
func inheritance() *heritage {
	text, ok := os.LookupEnv(heritageVar)
	if !ok {
		return nil
	}
	os.Unsetenv(heritageVar)
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return nil
	}
	f := os.NewFile(uintptr(fd), "upgrade")
	defer f.Close()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil
	}
	h := new(heritage)
	if err := json.NewDecoder(f).Decode(h); err != nil {
		return nil
	}
	return h
}

// state gives the state directory and what is to be taken over.
func (h *heritage) state() (*state.Dir, *state.State) {
	var dir *state.Dir
	if h.StateDir != "" {
		dir = state.Inherit(state.Inherited{Path: h.StateDir, Lock: h.Lock, FD: h.StateFD, Secret: h.Identity})
	}
	saved, err := state.Parse(h.State)
	if err != nil {
		saved = nil
	}
	return dir, saved
}

func (h *heritage) sockets() map[string]server.Inherited {
	sockets := map[string]server.Inherited{}
	for address, fd := range h.Sockets {
		sockets[address] = server.Inherited{File: os.NewFile(uintptr(fd), address), ID: h.SocketFiles[address]}
	}
	return sockets
}

// calls are the calls that wait for a process, to be answered by us.
func (h *heritage) calls() (held []server.HeldCall) {
	for _, c := range h.Calls {
		unix.CloseOnExec(c.Conn)
		held = append(held, server.HeldCall{Address: c.Address, Conn: os.NewFile(uintptr(c.Conn), "connection"), Request: c.Request, BrokenOff: c.BrokenOff, TLS: c.TLS})
	}
	return held
}

// checkUpgrade says whether this program could take over with a command line:
// it reads the configuration, and the state as it lies in the state directory.
func checkUpgrade(args []string, stdout, stderr io.Writer) int {
	parsed, err := plan.ParseDaemonArgs(args[1:])
	if err != nil {
		return usageError(stderr, args[0], err)
	}
	p, err := plan.Load(plan.Options{File: parsed.File, Program: args[0], Overrides: parsed.Overrides, AnyPlugin: true, Obeyed: true})
	if err != nil {
		return usageError(stderr, args[0], err)
	}
	if dir := p.Daemon.StateDir; dir != "none" {
		if _, err := state.Peek(dir, p.Daemon.Pidfile); err != nil {
			return usageError(stderr, args[0], err)
		}
	}
	// What we have read before would be lost with us.
	if err := server.CheckSecrets(p.Servers); err != nil {
		return usageError(stderr, args[0], err)
	}
	fmt.Fprintln(stdout, daemon.CheckAnswer, cli.FullVersion())
	return 0
}

// pause stops taking requests.
func (s *start) pause(ctx context.Context) error { return s.servers.Pause(ctx) }

// resume takes requests again after an upgrade that could not be done.
func (s *start) resume() { s.servers.Resume() }

// replace turns this process into the program that lies at our path now. It
// returns only if that fails.
func (s *start) replace(snapshot *state.Snapshot, left daemon.Descriptors) error {
	text, err := snapshot.Append(nil)
	if err != nil {
		return err
	}
	files, err := s.servers.Files()
	if err != nil {
		return err
	}
	h := heritage{Sockets: map[string]int{}, SocketFiles: map[string]unixsock.ID{}, Lent: s.lent, State: text}
	var pass []int
	for address, f := range files {
		defer f.File.Close()
		fd := int(f.File.Fd())
		h.Sockets[address], h.SocketFiles[address] = fd, f.ID
		pass = append(pass, fd)
	}
	for _, c := range s.servers.Held() {
		fd := int(c.Conn.Fd())
		h.Calls = append(h.Calls, heldCall{c.Address, fd, c.Request, c.BrokenOff, c.TLS})
		pass = append(pass, fd)
	}
	if left.Suplog > 0 {
		h.Suplog = left.Suplog
		pass = append(pass, left.Suplog)
	}
	if left.Holder > 0 {
		h.Holder = left.Holder
		pass = append(pass, left.Holder)
	}
	h.FastCGI = left.Sockets
	for _, fd := range left.Sockets {
		pass = append(pass, fd)
	}
	h.Identity = s.identity.Secret()
	if s.state != nil {
		left := s.state.Leave()
		h.StateDir, h.Lock, h.StateFD = left.Path, left.Lock, left.FD
		pass = append(pass, h.Lock)
		if h.StateFD >= 0 {
			pass = append(pass, h.StateFD)
		}
	}
	memory, err := h.store()
	if err != nil {
		return err
	}
	defer unix.Close(memory)
	pass = append(pass, memory)
	// Every line is to be in the log before the next image writes to it, unless
	// its disk hangs.
	s.log.Flush()
	s.log.Settle(logPatience)

	env := spawn.Environ(os.Environ(), [2]string{heritageVar, strconv.Itoa(memory)})
	s.record.Flush(recordPatience)
	// From here to the new image's first instructions nobody listens to
	// signals; ignored, most of them do no harm.
	quiet := []os.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM}
	signal.Ignore(quiet...)
	// No child is to be made while descriptors of ours are open to it.
	syscall.ForkLock.Lock()
	for _, fd := range pass {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
	}
	crash.Point(crash.BeforeExec)
	if err = trust.Binary(s.self); err == nil {
		err = syscall.Exec(s.self, s.args, env)
	}
	for _, fd := range pass {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.Unlock()
	signal.Notify(s.signals, quiet...)
	return fmt.Errorf("cannot execute %s: %w", s.self, err)
}

// store puts the heritage into a memory file and reads it back.
func (h *heritage) store() (int, error) {
	text, err := json.Marshal(h)
	if err != nil {
		return -1, err
	}
	fd, err := unix.MemfdCreate("supd-upgrade", unix.MFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("cannot make a memory file: %w", err)
	}
	back := make([]byte, len(text))
	for done := 0; err == nil && done < len(text); {
		var n int
		n, err = unix.Pwrite(fd, text[done:], int64(done))
		done += n
	}
	if err == nil {
		_, err = unix.Pread(fd, back, 0)
	}
	if err == nil && !bytes.Equal(back, text) {
		err = errors.New("it does not keep what was written")
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("cannot use a memory file: %w", err)
	}
	return fd, nil
}
