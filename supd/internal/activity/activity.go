// Package activity is the activity log of supd: lines in Supervisor's format,
// written to a file, to syslog or to standard output by goroutines of its
// own, so that a slow disk never holds up the caller, nor a slow terminal the
// file.
package activity

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"sync"
	"time"
)

// Level is how important a line is. The names are those of loglevel=.
type Level int

const (
	Critical Level = iota
	Error
	Warn
	Info
	Debug
	Trace
	Blather
)

var words = [...]string{"CRIT", "ERRO", "WARN", "INFO", "DEBG", "TRAC", "BLAT"}

// ParseLevel turns a value of loglevel= into a Level.
func ParseLevel(name string) Level {
	for i, n := range [...]string{"critical", "error", "warn", "info", "debug", "trace", "blather"} {
		if n == name {
			return Level(i)
		}
	}
	return Info
}

// maxPending bounds what waits for a disk that does not take it, in bytes.
// Beyond it lines are given up and counted.
const maxPending = 8 << 20

// Sink is where the lines of a log end up. Its methods are called by one
// goroutine only.
type Sink interface {
	io.Writer
	// Reopen opens the file anew by its name.
	Reopen() error
	// Clear empties it.
	Clear() error
	Close() error
}

// Log takes lines from any goroutine. The zero value is not usable; see New.
type Log struct {
	now func() time.Time

	mu      sync.Mutex
	wake    sync.Cond
	level   Level
	pending []byte
	lost    int
	tasks   []func()
	busy    bool // the goroutine writes what it took from pending and tasks
	stuck   bool // it does for longer than somebody would wait
	closing bool
	repeats map[string]*repeat // lines of which there may be many, by kind

	// Owned by the writing goroutine.
	sink    Sink
	console *console // nil without one
	broken  bool
	done    chan struct{}
}

// New makes a log. Both sink and console may be nil; what comes before Start
// waits in memory.
func New(level Level) *Log {
	l := &Log{level: level, now: time.Now, done: make(chan struct{})}
	l.wake.L = &l.mu
	return l
}

// Start begins to write to the sink, and to the console if there is one.
func (l *Log) Start(sink Sink, console io.Writer) {
	l.sink = sink
	if console != nil {
		l.console = newConsole(console)
	}
	go l.run()
}

// Enabled tells whether lines of a level are written at all.
func (l *Log) Enabled(level Level) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return level <= l.level
}

// SetLevel changes which lines are written from now on.
func (l *Log) SetLevel(level Level) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.level = level
}

// Print writes a line. Control characters in it are escaped.
func (l *Log) Print(level Level, message string) { l.Verbatim(level, clean(message)) }

// Verbatim is Print for a message that has several lines on purpose: what a
// program wrote.
func (l *Log) Verbatim(level Level, message string) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.takes(level) {
		l.pending = appendLine(l.pending, now, level, message)
		l.wake.Signal()
	}
}

// Record writes a line that is not copied to the console: one whose figures
// are added up, by people who gather file and console in one place.
func (l *Log) Record(level Level, message string) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.takes(level) {
		line := appendLine(nil, now, level, clean(message))
		l.tasks = append(l.tasks, func() { l.writeSink(line) })
		l.wake.Signal()
	}
}

// takes tells whether a line is to be written, and counts it if it is, but
// cannot be. l.mu must be held.
func (l *Log) takes(level Level) bool {
	if level > l.level {
		return false
	}
	if len(l.pending) > maxPending {
		l.lost++
		return false
	}
	return true
}

// Log writes a line whose level is given as it stands in the log ("INFO").
func (l *Log) Log(word, message string) { l.Print(levelOf(word), message) }

// levelOf is the level of a word as it stands in the log.
func levelOf(word string) Level {
	for i, w := range words {
		if w == word {
			return Level(i)
		}
	}
	return Info
}

// appendLine appends "2026-11-22 20:16:43,120 INFO message".
func appendLine(b []byte, at time.Time, level Level, message string) []byte {
	b = at.AppendFormat(b, "2006-01-02 15:04:05")
	b = append(b, ',')
	ms := at.Nanosecond() / 1e6
	if ms < 100 {
		b = append(b, '0')
	}
	if ms < 10 {
		b = append(b, '0')
	}
	b = strconv.AppendInt(b, int64(ms), 10)
	b = append(b, ' ')
	b = append(b, words[level]...)
	b = append(b, ' ')
	b = append(b, message...)
	return append(b, '\n')
}

// Do runs f on the writing goroutine, after every line printed so far has been
// written, and waits for it.
func (l *Log) Do(f func(Sink) error) error {
	answer := make(chan error, 1)
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		return os.ErrClosed
	}
	l.tasks = append(l.tasks, func() {
		if l.sink == nil {
			answer <- nil
			return
		}
		answer <- f(l.sink)
	})
	l.wake.Signal()
	l.mu.Unlock()
	return <-answer
}

// Settle waits until what was printed so far has been written: who is told of
// something finds it in the log. With a disk that hangs it does not wait longer
// than patience, and the next ones not at all.
func (l *Log) Settle(patience time.Duration) {
	l.mu.Lock()
	if l.closing || l.stuck || !l.busy && len(l.pending)+len(l.tasks) == 0 {
		l.mu.Unlock()
		return
	}
	written := make(chan struct{})
	l.tasks = append(l.tasks, func() { close(written) })
	l.wake.Signal()
	l.mu.Unlock()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-written:
	case <-late.C:
		l.mu.Lock()
		l.stuck = l.busy
		l.mu.Unlock()
	}
}

// Replace makes sink the one that is written to from now on; the old one is
// closed.
func (l *Log) Replace(sink Sink) {
	_ = l.Do(func(Sink) error { return nil }) // a log that was started
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tasks = append(l.tasks, func() {
		if l.sink != nil {
			l.sink.Close()
		}
		l.sink = sink
	})
	l.wake.Signal()
}

// Close writes what is left and ends the goroutine, within the time given.
func (l *Log) Close(patience time.Duration) {
	l.Flush()
	l.mu.Lock()
	l.closing = true
	l.wake.Signal()
	l.mu.Unlock()
	select {
	case <-l.done:
	case <-time.After(patience):
	}
}

func (l *Log) run() {
	defer close(l.done)
	var spare []byte
	for {
		l.mu.Lock()
		l.busy, l.stuck = false, false
		for len(l.pending) == 0 && len(l.tasks) == 0 && !l.closing {
			l.wake.Wait()
		}
		lines, tasks, lost, closing := l.pending, l.tasks, l.lost, l.closing
		l.pending, l.tasks, l.lost, l.busy = spare[:0], nil, 0, true
		l.mu.Unlock()

		if lost > 0 {
			lines = appendLine(lines, l.now(), Warn,
				"the activity log could not be written in time: "+strconv.Itoa(lost)+" lines were given up")
		}
		l.write(lines)
		for _, task := range tasks {
			task()
		}
		if spare = lines[:0]; cap(spare) > 1<<20 {
			spare = nil
		}
		if closing && len(lines) == 0 && len(tasks) == 0 {
			if l.sink != nil {
				l.sink.Close()
			}
			if l.console != nil {
				l.console.close(consolePatience)
			}
			return
		}
	}
}

func (l *Log) write(lines []byte) {
	if len(lines) == 0 {
		return
	}
	if l.console != nil {
		l.console.write(lines)
	}
	l.writeSink(lines)
}

func (l *Log) writeSink(lines []byte) {
	if l.sink == nil {
		return
	}
	_, err := l.sink.Write(lines)
	if err != nil && !l.broken {
		// One word per outage, where it can still be seen.
		os.Stderr.WriteString("cannot write the activity log: " + err.Error() + "\n")
	}
	l.broken = err != nil
}

// Discard is a sink that keeps nothing.
type Discard struct{}

func (Discard) Write(b []byte) (int, error) { return len(b), nil }
func (Discard) Reopen() error               { return nil }
func (Discard) Clear() error                { return nil }
func (Discard) Close() error                { return nil }

// Memory is a sink for tests.
type Memory struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (m *Memory) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.buf.Write(b)
}

func (m *Memory) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.buf.String()
}

func (m *Memory) Reopen() error { return nil }
func (m *Memory) Clear() error  { return nil }
func (m *Memory) Close() error  { return nil }
