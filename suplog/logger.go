package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/logfile"
	"sup/lib/logwire"
	"sup/lib/spawn"
	"sup/lib/value"
)

// shortLife is how long a logger has to run not to count as one that fails at
// once, which is given a pause before it is started again.
const shortLife = time.Second

// logger is a log that is a process: it reads the output from its standard
// input. supd keeps the pipe to it, and a descriptor of the process, together
// with the stream, so that it goes on with the next suplog. While it is away
// output waits in the pipe; what it had read but not dealt with when it died is
// lost with it. Its fields are guarded by the lock of its sink.
type logger struct {
	command string
	channel *channel // that it belongs to

	r, w    int // of its pipe, -1 without one
	pidfd   int // readable when it has ended; -1 while it does not run
	started time.Time
}

// loggers are those of the process that run.
var loggers loggerSet

type loggerSet struct {
	mu      sync.Mutex
	running map[int]int // a pidfd to the process id, 0 if it is no child of ours
	ended   sync.WaitGroup
}

// finish waits until all loggers have ended, having no more input. Those that
// take longer than patience are told to.
func (l *loggerSet) finish(patience time.Duration) {
	done := make(chan struct{})
	go func() {
		l.ended.Wait()
		close(done)
	}()
	for range 2 {
		select {
		case <-done:
			return
		case <-time.After(patience):
		}
		l.mu.Lock()
		for pidfd, pid := range l.running {
			if pid > 0 {
				// It is not reaped while it is here.
				_ = spawn.Kill(pid, unix.SIGTERM, false)
			} else {
				_ = unix.PidfdSendSignal(pidfd, unix.SIGTERM, nil, 0)
			}
		}
		l.mu.Unlock()
	}
}

// fds are what supd keeps.
func (l *logger) fds() []int {
	if l == nil || l.pidfd < 0 {
		return nil
	}
	return []int{l.r, l.w, l.pidfd}
}

// onProbation tells whether a logger has not been running for long.
func (l *logger) onProbation() bool { return l != nil && time.Since(l.started) < shortLife }

// openLogger starts the logger if it does not run, and opens its pipe.
func (s *sink) openLogger() error {
	l := s.logger
	if l.pidfd < 0 {
		if err := l.start(s); err != nil {
			return fmt.Errorf("cannot start logger %q: %w", l.command, err)
		}
		l.channel.keep(l.channel.staging)
	}
	file, err := logfile.Open("/dev/fd/"+strconv.Itoa(l.w), s.options)
	if err == nil {
		s.file = file
	}
	return err
}

// start makes the process.
func (l *logger) start(s *sink) error {
	if l.r < 0 {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
			return err
		}
		// Only our end: the logger may rely on waiting for input.
		if err := unix.SetNonblock(fds[1], true); err != nil {
			logwire.CloseFDs(fds[:])
			return err
		}
		l.r, l.w = fds[0], fds[1]
	}
	argv, err := value.SplitCommand(l.command)
	if err != nil {
		return err
	}
	if len(argv) == 0 {
		return unix.ENOENT
	}
	where, ok := os.LookupEnv("PATH")
	if !ok {
		where = spawn.DefaultPath
	}
	path, err := spawn.Lookup(argv[0], where)
	switch {
	case errors.Is(err, spawn.ErrNotExecutable):
		return unix.EACCES
	case err != nil:
		return unix.ENOENT
	}
	pid, err := spawn.Helper(&spawn.Command{Name: argv[0], Path: path, Argv: argv, Env: spawn.Inherited(os.Environ()), Files: []int{l.r, 1, 2}})
	if err != nil {
		return err
	}
	if l.pidfd, err = endOf(pid); err != nil {
		_ = spawn.Kill(pid, unix.SIGKILL, false)
		_, _ = unix.Wait4(pid, nil, 0, nil)
		return err
	}
	l.started = time.Now()
	l.mind(s, pid)
	return nil
}

// adoptLogger takes over a logger that an earlier suplog has left.
func (s *sink) adoptLogger(fds []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.logger
	l.r, l.w, l.pidfd = fds[0], fds[1], fds[2]
	l.started = time.Now()
	l.mind(s, 0)
}

// mind watches over a process, until its end. pid is 0 if it is no child of
// ours.
func (l *logger) mind(s *sink, pid int) {
	own := duplicates([]int{l.pidfd})
	if len(own) == 0 {
		return // no descriptors; it is noticed by nobody when it ends
	}
	pidfd := own[0]
	loggers.mu.Lock()
	if loggers.running == nil {
		loggers.running = map[int]int{}
	}
	loggers.running[pidfd] = pid
	loggers.mu.Unlock()
	loggers.ended.Add(1)
	watched := l.pidfd
	go func() {
		defer loggers.ended.Done()
		how := awaitEnd(pidfd, pid)
		l.channel.post(func() { s.loggerEnded(watched, how) })
	}()
}

// endOf is a descriptor that is readable when a child has ended: that of the
// process, or where the system has none a counter, which takes a thread. A suplog
// after this one does not hear of the end then.
func endOf(pid int) (fd int, err error) {
	if fd, err = spawn.Pidfd(pid); err == nil {
		return fd, nil
	}
	if fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return -1, err
	}
	own := duplicates([]int{fd})
	if len(own) == 0 {
		unix.Close(fd)
		return -1, unix.EMFILE
	}
	go func() {
		defer unix.Close(own[0])
		spawn.AwaitChild(pid)
		_, _ = unix.Write(own[0], []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}()
	return fd, nil
}

// awaitEnd waits for the end of a process, without taking a thread for it,
// closes its pidfd, which is among those that run, and describes how it ended.
func awaitEnd(pidfd, pid int) string {
	f := os.NewFile(uintptr(pidfd), "pidfd")
	defer f.Close()
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Read(func(fd uintptr) bool {
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := unix.Poll(fds, 0)
			return err == nil && n > 0
		})
	}
	loggers.mu.Lock()
	delete(loggers.running, pidfd)
	loggers.mu.Unlock()
	var status unix.WaitStatus
	if pid == 0 {
		return "it had an earlier suplog"
	}
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil {
		return err.Error()
	}
	if status.Signaled() {
		return "terminated by " + unix.SignalName(status.Signal())
	}
	return "exit status " + strconv.Itoa(status.ExitStatus())
}

// loggerEnded starts a logger again, which has ended as how says. It belongs to
// the channel's goroutine.
func (s *sink) loggerEnded(pidfd int, how string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.logger
	if l.pidfd != pidfd || l.w < 0 {
		return // it is not wanted any more
	}
	soon := l.onProbation()
	unix.Close(l.pidfd)
	l.pidfd = -1
	err := fmt.Errorf("logger %q has ended (%s); starting it again", l.command, how)
	if !soon {
		s.report(logwire.Note, err)
		if err := l.start(s); err == nil {
			l.channel.keep(l.channel.staging)
			return
		}
	}
	s.rest(err)
}

// rest lets a logger that fails at once be, for a moment. The lock is held.
func (s *sink) rest(err error) {
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
	_ = s.failed(err, time.Now())
	time.AfterFunc(shortLife, func() {
		s.logger.channel.post(func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			// There may be input for it, whether there is more output or not.
			if s.logger.w >= 0 && s.file == nil {
				if err := s.open(); err != nil {
					s.rest(err)
				}
			}
		})
	})
}

// close lets the logger come to the end of its input. One that has died is
// started once more if there is some left.
func (l *logger) close(s *sink) {
	if l == nil {
		return
	}
	if l.pidfd < 0 && l.r >= 0 {
		if n, err := logfile.Queued(l.r); err == nil && n > 0 {
			_ = l.start(s)
		}
	}
	for _, fd := range []*int{&l.r, &l.w, &l.pidfd} {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
}
