package activity

import (
	"strconv"
	"time"

	"sup/lib/value"
)

// What programs and clients can bring about as often as they like must not fill
// the log, and with that rotate away what was written before. Of lines that
// differ in nothing but their numbers only some are written in a time; the others
// are counted, and the last of them is written with their number when the time is
// over.
const (
	repeatTime = 10 * time.Second
	repeatMost = 10
	// repeatKinds bounds how many kinds of lines are told apart.
	repeatKinds = 1000
)

// repeat is what was written, and what was not, of lines of one kind.
type repeat struct {
	written, left int
	level         Level
	last          string // of those that were left out
	timer         *time.Timer
}

// Repeated writes a line of a kind that may come very often.
func (l *Log) Repeated(level Level, message string) {
	if !l.Enabled(level) {
		return
	}
	kind := words[level] + shape(message)
	l.mu.Lock()
	r := l.repeats[kind]
	if r == nil && len(l.repeats) >= repeatKinds {
		kind = ""
		r = l.repeats[kind]
	}
	if r == nil {
		r = &repeat{}
		if l.repeats == nil {
			l.repeats = map[string]*repeat{}
		}
		l.repeats[kind] = r
		r.timer = time.AfterFunc(repeatTime, func() { l.settleRepeat(kind, r) })
	}
	if r.written < repeatMost {
		r.written++
		l.mu.Unlock()
		l.Print(level, message)
		return
	}
	r.left++
	r.level, r.last = level, message
	l.mu.Unlock()
}

// RepeatedAs is Repeated for a level that is given as it stands in the log.
func (l *Log) RepeatedAs(word, message string) { l.Repeated(levelOf(word), message) }

// settleRepeat is called when the time of a kind is over.
func (l *Log) settleRepeat(kind string, r *repeat) {
	l.mu.Lock()
	if l.repeats[kind] != r {
		l.mu.Unlock()
		return
	}
	if r.left == 0 {
		delete(l.repeats, kind)
		l.mu.Unlock()
		return
	}
	line, level := r.summary(), r.level
	r.written, r.left, r.last = repeatMost, 0, ""
	r.timer.Reset(repeatTime)
	l.mu.Unlock()
	l.Print(level, line)
}

// summary is the last line that was left out, with the number of the others.
func (r *repeat) summary() string {
	if r.left == 1 {
		return r.last
	}
	return r.last + " (" + strconv.Itoa(r.left-1) + " lines like this one were left out before it)"
}

// Flush writes what there is to say about lines that were left out so far.
func (l *Log) Flush() {
	l.mu.Lock()
	var lines []func()
	for kind, r := range l.repeats {
		r.timer.Stop()
		if r.left > 0 {
			level, line := r.level, r.summary()
			lines = append(lines, func() { l.Print(level, line) })
		}
		delete(l.repeats, kind)
	}
	l.mu.Unlock()
	for _, print := range lines {
		print()
	}
}

// shape is a text without what tells lines of one kind apart.
func shape(s string) string {
	const most = 120
	b := make([]byte, 0, min(len(s), most))
	number := false
	for i := 0; i < len(s) && len(b) < most; i++ {
		digit := '0' <= s[i] && s[i] <= '9'
		if digit && number {
			continue
		}
		if number = digit; digit {
			b = append(b, '0')
		} else {
			b = append(b, s[i])
		}
	}
	return string(b)
}

// clean is a message as it stands in the log: one line, whatever names and texts
// of others are in it.
func clean(message string) string { return value.Printable(message) }
