package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Place is where the record lies: a directory that is ours and closed to others.
type Place interface {
	// OpenFile opens a file of ours, made with mode 0600.
	OpenFile(name string, flags int) (*os.File, error)
	// RenameFile gives a file another name, and replaces what has that.
	RenameFile(from, to string) error
}

// The record is two files, of which the older is given up when the younger has
// become half as large as both may be.
const (
	youngName   = "record"
	oldName     = "record.1"
	damagedName = "record.damaged"
	maxBytes    = 1 << 20
	half        = maxBytes / 2
)

const (
	// pause is how long the writer waits for more after the first entry.
	pause = 10 * time.Millisecond
	// mostPending is how many entries may wait for a disk.
	mostPending = 4096
	// mostKept is how many entries are kept in memory where there is no place.
	mostKept = 2000
	// mostText is how large a buffer is kept.
	mostText = 64 << 10
)

// Log is the record of this daemon. Its methods may be called by any goroutine; a nil
// Log keeps nothing.
type Log struct {
	place Place // nil: in memory only
	boot  string
	warn  func(text string)

	mu      sync.Mutex
	pending []Entry
	lost    int
	closed  bool
	kept    []Entry // without a place

	woken   chan struct{}
	flushes chan chan struct{}
	done    chan struct{}

	// What follows is the writer's.
	file    *os.File
	size    int64
	last    int64 // ID
	torn    bool  // the file does not end with a whole line
	booted  bool  // boot stands in the file
	repeats repeats
	broken  bool // writing has failed, and that was said
	text    []byte
}

// Open goes on with the record at a place, nil for one in memory only. Boot is the
// present life of the machine; warn is told what a person should know, by another
// goroutine.
func Open(place Place, boot string, warn func(text string)) *Log {
	l := &Log{place: place, boot: boot, warn: warn,
		woken: make(chan struct{}, 1), flushes: make(chan chan struct{}), done: make(chan struct{})}
	go l.run()
	return l
}

// Add adds an entry. Its number, and its time unless it has one, are set here.
func (l *Log) Add(e Entry) {
	if l == nil {
		return
	}
	e.stamp()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
	case len(l.pending) >= mostPending:
		l.lost++
	default:
		l.pending = append(l.pending, e)
		if len(l.pending) == 1 {
			l.wake()
		}
	}
}

func (l *Log) wake() {
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

// Flush waits until what was added is written, but no longer than patience.
func (l *Log) Flush(patience time.Duration) {
	if l == nil {
		return
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	written := make(chan struct{})
	select {
	case l.flushes <- written:
	case <-l.done:
		return
	case <-timer.C:
		return
	}
	select {
	case <-written:
	case <-timer.C:
	}
}

// Close writes what is pending, and ends the writer. It waits no longer than
// patience.
func (l *Log) Close(patience time.Duration) {
	if l == nil {
		return
	}
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.wake()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-l.done:
	case <-timer.C:
	}
}

// run is the writer.
func (l *Log) run() {
	defer close(l.done)
	if l.place != nil {
		l.begin()
	}
	counted := time.NewTimer(window)
	counted.Stop()
	armed := false
	for ended := false; !ended; {
		var written chan struct{}
		over := false
		select {
		case <-l.woken:
			select {
			case <-time.After(l.patience()):
			case written = <-l.flushes:
			}
		case written = <-l.flushes:
		case <-counted.C:
			armed, over = false, true
		}
		ended = l.write(over)
		if written != nil {
			close(written)
		}
		if l.repeats.waiting > 0 && !armed {
			armed = true
			counted.Reset(window)
		}
	}
	l.append(l.repeats.all())
	if l.file != nil {
		l.file.Close()
	}
}

// patience is how long more is waited for; not at all at the end.
func (l *Log) patience() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0
	}
	return pause
}

// begin finds out where an earlier daemon has left off.
func (l *Log) begin() {
	if err := l.open(); err != nil {
		l.fail(err)
		return
	}
	if l.last > 0 || l.file == nil {
		return
	}
	// A young file that is empty, or new: the numbers go on from the old one.
	if f, err := l.place.OpenFile(oldName, os.O_RDONLY); err == nil {
		l.last, _, _ = examine(f)
		f.Close()
	}
}

// open opens the young file. One that cannot be a record of ours is set aside.
func (l *Log) open() error {
	f, err := l.place.OpenFile(youngName, os.O_RDWR|os.O_CREATE|os.O_APPEND)
	if err == nil {
		last, torn, sound := examine(f)
		if sound {
			l.file, l.last, l.torn, l.booted = f, max(l.last, last), torn, false
			l.size, err = f.Seek(0, io.SeekEnd)
			return err
		}
		f.Close()
		err = errors.New("it is damaged")
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EROFS) || errors.Is(err, unix.EBADF) {
		return err
	}
	if renamed := l.place.RenameFile(youngName, damagedName); renamed != nil {
		return fmt.Errorf("%w, and cannot be set aside: %w", err, renamed)
	}
	l.warn(fmt.Sprintf("cannot go on with the record of events: %v; it lies in %s now, and a new one is begun", err, damagedName))
	f, err = l.place.OpenFile(youngName, os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND)
	if err != nil {
		return err
	}
	l.file, l.size, l.torn, l.booted = f, 0, false, false
	return nil
}

// examine looks at the beginning and the end of a file: its last number, whether it
// ends within a line, and whether it may be a record at all.
func examine(f *os.File) (last int64, torn, sound bool) {
	info, err := f.Stat()
	if err != nil || info.Size() > 2*maxBytes {
		return 0, false, false
	}
	if info.Size() == 0 {
		return 0, false, true
	}
	text := make([]byte, longestLine)
	n, _ := f.ReadAt(text, 0)
	first, _, _ := bytes.Cut(text[:n], []byte("\n"))
	_, sound = parseLine(append(slices.Clone(first), '\n'))
	text = make([]byte, 4*longestLine)
	from := max(info.Size()-int64(len(text)), 0)
	n, _ = f.ReadAt(text, from)
	text = text[:n]
	torn = n > 0 && text[n-1] != '\n'
	// Of the last line nothing may be missing but its end.
	if entries := parse(append(slices.Clone(text), '\n'), 0); len(entries) > 0 {
		last = entries[len(entries)-1].ID
	}
	// A daemon may have been killed with its first word.
	stub := torn && bytes.HasPrefix(text, []byte("{")) && !bytes.Contains(text, []byte("\n"))
	return last, torn, sound && last > 0 || stub
}

// write writes what is pending; and, if over is set, what was counted in windows that
// have ended. It reports whether that was the last.
func (l *Log) write(over bool) (ended bool) {
	l.mu.Lock()
	pending, lost, ended := l.pending, l.lost, l.closed
	l.pending, l.lost = nil, 0
	l.mu.Unlock()
	now := time.Now()
	entries := make([]Entry, 0, len(pending))
	if over {
		entries = append(entries, l.repeats.over(now)...)
	}
	for _, e := range pending {
		before, write := l.repeats.written(e, now)
		entries = append(entries, before...)
		if write {
			entries = append(entries, e)
		}
	}
	if lost > 0 {
		gap := Entry{Kind: Gap, Count: lost}
		gap.stamp()
		entries = slices.Insert(entries, 0, gap)
	}
	l.append(entries)
	return ended
}

// append gives entries their numbers and puts them into the file.
func (l *Log) append(entries []Entry) {
	if l.place == nil {
		l.keep(entries)
		return
	}
	for len(entries) > 0 {
		n, err := l.appendSome(entries)
		if err != nil {
			l.fail(err)
			l.lose(entries)
			return
		}
		l.broken = false
		entries = entries[n:]
	}
}

// appendSome writes as many entries as the young file has room for.
func (l *Log) appendSome(entries []Entry) (n int, err error) {
	if l.file == nil {
		if err := l.open(); err != nil {
			return 0, err
		}
	}
	text := l.text[:0]
	if l.torn {
		text = append(text, '\n')
	}
	for n < len(entries) && l.size+int64(len(text)) < half {
		e := entries[n]
		l.last++
		e.ID = l.last
		if !l.booted {
			e.Boot, l.booted = l.boot, true
		}
		text = e.appendTo(text)
		n++
	}
	if l.text = text; cap(text) > mostText {
		l.text = nil
	}
	if len(text) > 0 {
		written, err := l.file.Write(text)
		l.size += int64(written)
		if written > 0 {
			l.torn = text[written-1] != '\n'
		}
		if err != nil {
			return 0, err
		}
	}
	if l.size >= half {
		return n, l.turn()
	}
	return n, nil
}

// keep keeps entries in memory.
func (l *Log) keep(entries []Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range entries {
		l.last++
		e.ID, e.Boot = l.last, l.boot
		line := e.appendTo(nil)
		if e, ok := parseLine(line); ok {
			l.kept = append(l.kept, e)
		}
	}
	if n := len(l.kept) - mostKept; n > 0 {
		l.kept = slices.Delete(l.kept, 0, n)
	}
}

// turn makes the young file the old one.
func (l *Log) turn() error {
	if err := l.place.RenameFile(youngName, oldName); err != nil {
		return err
	}
	l.file.Close()
	l.file, l.size, l.torn, l.booted = nil, 0, false, false
	return nil
}

// fail says once per series that the record cannot be written.
func (l *Log) fail(err error) {
	if !l.broken {
		l.warn("cannot write the record of events: " + err.Error())
	}
	l.broken = true
}

// lose counts entries that could not be written; the next that can are preceded by
// their number.
func (l *Log) lose(entries []Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range entries {
		if e.Kind == Gap {
			l.lost += e.Count
		} else {
			l.lost++
		}
	}
}

// Read returns the entries with numbers above since, oldest first.
func (l *Log) Read(since int64) ([]Entry, error) {
	if l == nil {
		return nil, nil
	}
	const patience = 200 * time.Millisecond
	l.Flush(patience)
	if l.place != nil {
		return ReadFrom(l.place, since)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var entries []Entry
	for _, e := range l.kept {
		if e.ID > since {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// ReadFrom is Read for who has no Log, such as when no daemon runs.
func ReadFrom(place Place, since int64) ([]Entry, error) {
	for tries := 0; ; tries++ {
		young, err := openToRead(place, youngName)
		if err != nil {
			return nil, err
		}
		old, err := openToRead(place, oldName)
		if err == nil && tries < 3 && same(young, old) {
			// The writer has turned meanwhile.
			closeAll(young, old)
			continue
		}
		var text []byte
		for _, f := range []*os.File{old, young} {
			if f == nil || err != nil {
				continue
			}
			var more []byte
			more, err = io.ReadAll(io.LimitReader(f, 2*maxBytes))
			if len(text) > 0 && text[len(text)-1] != '\n' {
				text = append(text, '\n')
			}
			text = append(text, more...)
		}
		closeAll(young, old)
		if err != nil {
			return nil, fmt.Errorf("cannot read the record of events: %w", err)
		}
		return parse(text, since), nil
	}
}

// openToRead opens a file of the record, nil if there is none.
func openToRead(place Place, name string) (*os.File, error) {
	f, err := place.OpenFile(name, os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the record of events: %w", err)
	}
	return f, nil
}

func same(a, b *os.File) bool {
	if a == nil || b == nil {
		return false
	}
	ia, errA := a.Stat()
	ib, errB := b.Stat()
	return errA == nil && errB == nil && os.SameFile(ia, ib)
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}
