package main

import (
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/logfile"
	"sup/lib/logwire"
	"sup/lib/safepath"
)

const (
	// outageRetry is how often a log that cannot be written is tried again.
	outageRetry = 500 * time.Millisecond
	// nameCheck is how often, while there is output, the open file is
	// compared with what lies under its name.
	nameCheck = 2 * time.Second
)

// verdict is how an attempt to move output from a pipe to a log ended.
type verdict uint8

const (
	moved verdict = iota // there may be more
	empty                // the pipe is
	ended                // the pipe is empty, and nobody has it open to write
	down                 // the log cannot be written at present
	slow                 // the log is a pipe or a terminal that is full
)

// sink is a log, together with what is known of its present outage. Streams
// that name the same file share one. Whoever holds mu may write; reports are
// made with mu held.
type sink struct {
	key    string // under which the server has it
	path   string
	logger *logger // the process that it is, if path begins with "|"
	report func(cond logwire.Condition, err error)

	mu      sync.Mutex
	options logfile.Options
	file    *logfile.File // nil while it cannot be opened
	checked time.Time     // when the name was compared last
	// copying is set for a log that the kernel does not splice to, or whose
	// file somebody else cuts short: it has to be written to from memory.
	copying atomic.Bool

	why   error // what keeps the log from being written, nil if nothing does
	retry time.Time

	// users is the number of streams; the coordinator changes it.
	users atomic.Int32

	audienceMu sync.Mutex
	audience   []logwire.Stream // the streams, each as often as it uses the log
}

// join notes that a stream uses the log, and tells whether it is the first.
func (s *sink) join(id logwire.Stream) bool {
	s.audienceMu.Lock()
	s.audience = append(s.audience, id)
	s.audienceMu.Unlock()
	return s.users.Add(1) == 1
}

// leave undoes one join, and tells whether it was the last.
func (s *sink) leave(id logwire.Stream) bool {
	s.audienceMu.Lock()
	if i := slices.Index(s.audience, id); i >= 0 {
		s.audience = slices.Delete(s.audience, i, i+1)
	}
	s.audienceMu.Unlock()
	return s.users.Add(-1) == 0
}

// streams gives the streams that use the log, each once.
func (s *sink) streams() []logwire.Stream {
	s.audienceMu.Lock()
	defer s.audienceMu.Unlock()
	ids := slices.Clone(s.audience)
	slices.Sort(ids)
	return slices.Compact(ids)
}

// acquire locks s and makes its file ready to be written. If it returns an
// error there is an outage, and s is not locked. source is the pipe that output
// may come from, or -1 if there is output.
func (s *sink) acquire(source int, now time.Time) error {
	s.mu.Lock()
	if err := s.prepare(source, now); err != nil {
		s.mu.Unlock()
		return err
	}
	return nil
}

func (s *sink) prepare(source int, now time.Time) error {
	if s.why != nil && now.Before(s.retry) {
		return s.why
	}
	if s.file == nil {
		if err := s.open(); err != nil {
			return s.failed(err, now)
		}
		s.checked = now
	}
	if now.Sub(s.checked) >= nameCheck && !isEmpty(source) {
		s.checked = now
		if _, err := s.file.Check(); err != nil {
			return s.failed(err, now)
		}
	}
	if !s.copying.Load() && s.file.Truncations() > 0 && s.file.SetAppending() == nil {
		s.copying.Store(true)
	}
	return nil
}

// isEmpty tells whether there is nothing in a pipe: then a log that somebody
// has removed is not missed yet.
func isEmpty(pipe int) bool {
	if pipe < 0 {
		return false
	}
	n, err := logfile.Queued(pipe)
	return err == nil && n == 0
}

func (s *sink) open() error {
	if s.logger != nil {
		return s.openLogger()
	}
	file, err := logfile.Open(s.path, s.options)
	if err != nil {
		return err
	}
	file.SetTrouble(func(err error) { s.report(logwire.Note, err) })
	s.file = file
	return nil
}

// failed notes that the log cannot be written, and tells of it once.
func (s *sink) failed(err error, now time.Time) error {
	if s.why == nil {
		s.report(logwire.Outage, err)
	}
	s.why, s.retry = err, now.Add(outageRetry)
	return err
}

// worked notes that the log was written.
func (s *sink) worked() {
	if s.why != nil && !s.logger.onProbation() {
		why := s.why
		s.why = nil
		s.report(logwire.Healed, why)
	}
}

// splice moves at most max bytes from a pipe to the log.
func (s *sink) splice(pipe, max int, now time.Time) (int, verdict) {
	if s.acquire(pipe, now) != nil {
		return 0, down
	}
	defer s.mu.Unlock()
	if s.copying.Load() {
		return 0, moved // as it has just turned out; the next turn knows
	}
	n, err := s.file.Splice(pipe, max)
	if s.why != nil && err == nil && 0 < n && n < max {
		// That may have been the last of the room, such as what a line has left
		// that was taken back. The outage is over if more goes, or nothing waits,
		// or the log is a pipe that is merely full.
		var more int
		more, err = s.file.Splice(pipe, max-n)
		n += more
		if errors.Is(err, unix.EAGAIN) || err == io.EOF {
			err = nil
		}
	}
	v := s.judge(n, err, now)
	if v == moved && n > 0 {
		s.worked()
	}
	return n, v
}

// judge turns the error of a write into a verdict.
func (s *sink) judge(n int, err error, now time.Time) verdict {
	switch {
	case err == nil:
		return moved
	case err == unix.EAGAIN:
		return empty
	case err == io.EOF:
		return ended
	case errors.Is(err, unix.EAGAIN):
		return slow
	case errors.Is(err, logfile.ErrNoSplice) && !s.copying.Load():
		s.copying.Store(true)
		return moved
	}
	_ = s.failed(err, now)
	return down
}

// reopen opens the file by its name.
func (s *sink) reopen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.file == nil:
		return s.open()
	case s.logger != nil:
		return nil
	}
	return s.file.Reopen()
}

// clear empties the file that has the log's name. One that was renamed stays as
// it is.
func (s *sink) clear() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		if err := s.open(); err != nil {
			return err
		}
	}
	if _, err := s.file.Check(); err != nil {
		return err
	}
	return s.file.Clear()
}

// set changes how the log is rotated.
func (s *sink) set(o logfile.Options) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.options != o {
		s.options = o
		if s.file != nil {
			s.file.SetOptions(o)
		}
	}
}

// tryOpen opens the file unless that has been done. An outage that begins here
// is not reported: the caller does that.
func (s *sink) tryOpen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		return nil
	}
	err := s.open()
	switch {
	case err == nil:
	case errors.Is(err, unix.ENXIO) && isFIFO(s.path):
		// It only has no reader yet, which is no reason not to start.
		_ = s.failed(err, time.Now())
		return nil
	default:
		s.why = err
	}
	return err
}

func isFIFO(path string) bool {
	st, err := safepath.Stat(path)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO
}

func (s *sink) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logger.close(s)
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
}

// reason gives the number of the error of the present outage.
func (s *sink) reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why
}

// errno is the system's number of an error, 0 if it has none.
func errno(err error) unix.Errno {
	var e unix.Errno
	errors.As(err, &e)
	return e
}

// errnoName is a short word for an error, such as ENOSPC.
func errnoName(err error) string {
	if e := errno(err); e != 0 {
		return unix.ErrnoName(e)
	}
	return "error"
}
