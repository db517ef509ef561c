// Package state is what supd leaves behind so that a supd started after it can
// take over the programs that still run: one small JSON file in a directory of
// its own, written before and after every change, and the lock that keeps two
// daemons from using one directory.
//
// The file has to survive a dead process, not a dead machine: it is replaced
// by rename, without fsync, and counts only while the machine has not been
// started anew since.
package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"sup/supd/internal/crash"
)

// Version of the format. A reader ignores fields that it does not know, and
// refuses a file of a higher version.
const Version = 1

// Head is what is kept beside groups and processes.
type Head struct {
	Version int `json:"version"`
	// BootID tells one life of the machine from the next.
	BootID string `json:"boot_id"`
	// PIDNS tells one life of the PID namespace from the next, see PIDNamespace.
	// States of before have none.
	PIDNS string `json:"pid_ns,omitempty"`
	// Instance is the name of this line of daemons, the first part of the
	// marks of its programs.
	Instance string `json:"instance"`
	// Generation counts the daemons that have taken over from each other.
	Generation int `json:"generation"`
	// Supd is the pid of the daemon that wrote this.
	Supd int `json:"supd"`
	// Suplog is the pid of the log process, SuplogTicks when it was started.
	Suplog      int    `json:"suplog,omitempty"`
	SuplogTicks uint64 `json:"suplog_ticks,omitempty"`
	// Runs counts the programs started so far, for their marks.
	Runs int64 `json:"runs"`
	// Serial is the serial number of the next event.
	Serial int64 `json:"serial"`
	// Sweeps are for what stopped programs have left behind.
	Sweeps []Sweep `json:"sweeps,omitempty"`
	// Leaving is set during a shutdown or a restart: what has stopped by then
	// was not meant to stay so.
	Leaving bool `json:"leaving,omitempty"`
	// Asked is the number of the last question to suplog. It and all that
	// follows is there only in an upgrade in place.
	Asked uint32 `json:"asked,omitempty"`
	// Stdin is what waits to be read by processes, by group and name.
	Stdin map[string]map[string][]byte `json:"stdin,omitempty"`
	// Pools are the event pools with what waits in them.
	Pools json.RawMessage `json:"pools,omitempty"`
}

// Sweep is the end of what a killasgroup program has left when it stopped.
type Sweep struct {
	// Leader was its pid, Ticks its start time, Mark its value of SUPD_RUN.
	Leader int    `json:"leader"`
	Ticks  uint64 `json:"ticks"`
	Mark   string `json:"mark"`
	// UntilMono is when what is left is killed, on the monotonic clock.
	UntilMono time.Duration `json:"until_mono"`
}

// State is the whole of it, as it is read.
type State struct {
	Head
	// Groups are the active groups, as the plan had them when they were
	// activated (plan.Group as JSON).
	Groups    []json.RawMessage `json:"groups"`
	Processes []Process         `json:"processes"`
}

// Snapshot is the whole of it, as it is written: groups and processes are JSON
// already, so that writing after the change of one process does not encode all
// others anew.
type Snapshot struct {
	Head
	Groups, Processes [][]byte
}

// Append appends the snapshot as it stands in the file.
func (s *Snapshot) Append(b []byte) ([]byte, error) {
	head, err := json.Marshal(s.Head)
	if err != nil {
		return b, err
	}
	list := func(b []byte, name string, items [][]byte) []byte {
		b = append(append(append(b, ",\n\""...), name...), "\":["...)
		for i, item := range items {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(b, '\n'), item...)
		}
		return append(b, ']')
	}
	b = append(b, head[:len(head)-1]...)
	b = list(b, "groups", s.Groups)
	b = list(b, "processes", s.Processes)
	return append(b, "}\n"...), nil
}

// Process is the state of one process entry.
type Process struct {
	Group string `json:"group"`
	Name  string `json:"name"`

	State int `json:"state"`
	// PID is 0 when there is no process, or when one was about to be made:
	// then Mark is set.
	PID int `json:"pid,omitempty"`
	// Ticks is the start time of the process in clock ticks after boot. With
	// it a pid means one process only.
	Ticks uint64 `json:"ticks,omitempty"`
	// Mark is the value of SUPD_RUN in the environment of the run.
	Mark string `json:"mark,omitempty"`

	Failures   int    `json:"failures,omitempty"`
	Started    int64  `json:"started,omitempty"`
	Ended      int64  `json:"ended,omitempty"`
	ExitStatus int    `json:"exit_status,omitempty"`
	SpawnErr   string `json:"spawn_err,omitempty"`
	// StartedMono and DeadlineMono are moments on the machine's monotonic
	// clock; 0 for none.
	StartedMono  time.Duration `json:"started_mono,omitempty"`
	DeadlineMono time.Duration `json:"deadline_mono,omitempty"`

	// Stdout and Stderr are where the logs are whose names were chosen at run
	// time.
	Stdout string `json:"stdout,omitempty"`
	Stderr string `json:"stderr,omitempty"`
	// Added is set for a process that a client has added to its group.
	Added bool `json:"added,omitempty"`
	// Listener is where an event listener stands in its protocol.
	Listener string `json:"listener,omitempty"`
}

// InstanceOf is the name of the line of daemons that uses a state directory.
// It follows from the directory, so that programs are found by their marks
// also where the state itself is lost.
func InstanceOf(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return hex.EncodeToString(sum[:6])
}

// Monotonic is the machine's monotonic clock, which goes on over the death of
// a daemon.
func Monotonic() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return time.Duration(ts.Nano())
}

// BootID is the present life of the machine.
func BootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// Dir is a state directory that this daemon has to itself.
type Dir struct {
	path      string
	lock      *os.File
	abandoned bool
	text      []byte     // what Save wrote last, to be written over
	onRecord  []recorded // of the daemon before
}

// LockedError says that another daemon uses the directory.
type LockedError struct {
	Path string
	PID  int // 0 if it is not known
}

func (e *LockedError) Error() string {
	who := "another supd"
	if e.PID > 0 {
		who += fmt.Sprintf(" (pid %d)", e.PID)
	}
	return who + " uses " + e.Path
}

// Open makes the directory if need be, and locks it. The error is a
// *LockedError if another daemon has it.
func Open(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the state directory: %w", err)
	}
	if err := private(path); err != nil {
		return nil, err
	}
	fd, isNew, err := openLock(filepath.Join(path, "lock"))
	if err != nil {
		return nil, fmt.Errorf("cannot open the lock of the state directory %s: %w", path, err)
	}
	lock := os.NewFile(uintptr(fd), "lock")
	if err := flock(fd); err != nil {
		pid := lockOwner(lock)
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &LockedError{path, pid}
		}
		return nil, fmt.Errorf("cannot lock the state directory %s: %w", path, err)
	}
	d := &Dir{path: path, lock: lock, abandoned: lockOwner(lock) > 0 || isNew && len(Loggers(path)) > 0}
	if d.abandoned {
		d.readRecords()
	}
	d.sign()
	return d, nil
}

// openLock opens the lock of a state directory, and reports whether there was
// none.
func openLock(path string) (fd int, isNew bool, err error) {
	const how = unix.O_RDWR | unix.O_NOFOLLOW | unix.O_CLOEXEC
	if fd, err = unix.Open(path, how|unix.O_CREAT|unix.O_EXCL, 0o600); err == nil {
		return fd, true, nil
	}
	fd, err = unix.Open(path, how|unix.O_CREAT, 0o600)
	return fd, false, err
}

// lockPatience is how long a lock is waited for. A daemon that was killed while
// it made a process leaves a child that shares the lock until it executes its
// program.
const lockPatience = time.Second

// flock locks a file for us alone. It waits no longer than lockPatience.
func flock(fd int) error {
	for deadline := time.Now().Add(lockPatience); ; time.Sleep(5 * time.Millisecond) {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			return err
		}
	}
}

// Abandoned reports whether the daemon that had the directory before did not
// come to an orderly end. Only then anything is taken over. A directory that is
// new counts as abandoned if a log process serves it: then there was another one
// at its place, which was removed while a daemon used it.
func (d *Dir) Abandoned() bool { return d.abandoned }

// Inherit takes over a directory that an earlier image of this process has
// locked, by the descriptor of its lock.
func Inherit(path string, fd int) *Dir {
	unix.CloseOnExec(fd)
	return &Dir{path: path, lock: os.NewFile(uintptr(fd), "lock"), abandoned: true}
}

// sign notes who has the lock, for those who find it taken.
func (d *Dir) sign() {
	_, _ = d.lock.WriteAt(fmt.Appendf(nil, "%-*d\n", ownerSize-1, os.Getpid()), 0)
}

func lockOwner(lock *os.File) int {
	var text [ownerSize]byte
	n, _ := lock.ReadAt(text[:], 0)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	return pid
}

// private makes sure that a directory is ours, a real one, and closed to
// others.
func private(path string) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("the state directory %s is not a directory", path)
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("the state directory %s belongs to user %d; hint: remove it, or name another one with statedir=", path, st.Uid)
	}
	return os.Chmod(path, 0o700)
}

// Path is the directory's.
func (d *Dir) Path() string { return d.path }

// LockFD is the descriptor that holds the lock.
func (d *Dir) LockFD() int { return int(d.lock.Fd()) }

// Socket is the path of suplog's control socket.
func (d *Dir) Socket() string { return filepath.Join(d.path, "keeper.sock") }

func (d *Dir) file() string { return filepath.Join(d.path, "state") }

// Load reads what an earlier daemon has left. Without anything, or after the
// machine was started anew, the result is nil without an error. The error
// says why what is there cannot be used.
func (d *Dir) Load() (*State, error) {
	fd, err := unix.Open(d.file(), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the state in %s: %w", d.file(), err)
	}
	f := os.NewFile(uintptr(fd), "state")
	defer f.Close()
	var text bytes.Buffer
	const most = 256 << 20
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() || fi.Size() > most {
		return nil, fmt.Errorf("cannot use the state in %s: it is not a file of ours", d.file())
	}
	if _, err := text.ReadFrom(f); err != nil {
		return nil, fmt.Errorf("cannot read the state in %s: %w", d.file(), err)
	}
	return Parse(text.Bytes())
}

// Parse reads a state. After the machine was started anew it is nil.
func Parse(text []byte) (*State, error) {
	var s State
	if len(text) == 0 {
		return nil, errors.New("cannot use the state of the daemon before: the file is empty")
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("cannot use the state of the daemon before: %w", err)
	}
	if s.Version < 1 || s.Version > Version {
		return nil, fmt.Errorf("cannot use the state of the daemon before: its version is %d, known is %d", s.Version, Version)
	}
	switch boot := BootID(); {
	case s.BootID == boot:
		return &s, nil
	case s.BootID == "":
		return nil, errors.New("cannot use the state of the daemon before: the file is none of supd's")
	}
	return nil, nil
}

// Save replaces the state.
func (d *Dir) Save(s *Snapshot) error {
	crash.Point(crash.BeforeSave)
	text, err := s.Append(d.text[:0])
	if err != nil {
		return err
	}
	d.text = text
	temp := d.file() + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot write the state in %s: %w", d.path, err)
	}
	fd, err := unix.Open(temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("cannot write the state in %s: %w", d.path, err)
	}
	f := os.NewFile(uintptr(fd), temp)
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		crash.Point(crash.DuringSave)
		err = replace(temp, d.file())
		crash.Point(crash.AfterSave)
	}
	if err != nil {
		return fmt.Errorf("cannot write the state in %s: %w", d.path, err)
	}
	return nil
}

// replace renames a file to another's name. Where that exists the two are
// exchanged, and what was there is removed: a plain rename over a file makes
// some file systems (ext4) write the new one to the disk at once, which may
// take seconds when the disk is busy, and is of no use to us.
func replace(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE)
	if err != nil {
		return os.Rename(from, to)
	}
	return os.Remove(from)
}

// Forget removes the state after an orderly end. The lock stays: it is never
// unlinked, since somebody may be waiting for it.
func (d *Dir) Forget() error {
	_ = d.lock.Truncate(0)
	err := os.Remove(d.file())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Close gives the directory up.
func (d *Dir) Close() error { return d.lock.Close() }
