package server

import (
	"errors"
	"io"
	"sync"

	"sup/lib/logfile"
	"sup/lib/rpc"
)

// answer is a response body. Nearly always it is in memory; a large piece of a
// log stays in its file and is encoded while it is sent.
type answer struct {
	// enc holds headRoom bytes for the header of the response, then the body.
	enc rpc.Encoder
	// log, if not nil, comes after the first split bytes of enc; it is
	// logSize bytes long when encoded.
	log     *logfile.Section
	split   int
	logSize int64

	buf   []byte // that enc started with
	taken int64  // from the memory budget
	srv   *Server
}

const (
	headRoom = 256
	// keepAnswer is the size up to which the buffer of an answer is kept for
	// the next one.
	keepAnswer = 1 << 20
	// maxMulticall bounds the answer of a multicall.
	maxMulticall = 8 << 20
)

var answers = sync.Pool{New: func() any { return &answer{buf: make([]byte, headRoom, 4<<10)} }}

func (s *Server) newAnswer() *answer {
	a := answers.Get().(*answer)
	a.srv = s
	a.enc.Reset(a.buf[:headRoom])
	return a
}

func (a *answer) free() {
	if a.log != nil {
		a.log.Close()
	}
	a.srv.memory.give(a.taken)
	b := a.enc.Bytes()
	if cap(b) > keepAnswer {
		return
	}
	*a = answer{buf: b[:headRoom]}
	a.enc.Reset(nil)
	answers.Put(a)
}

// clear drops what has been written since mark.
func (a *answer) clear(mark int) {
	if a.log != nil && a.split >= mark {
		a.log.Close()
		a.log = nil
	}
	a.enc.Truncate(mark)
}

// size is the length of the body, in bytes.
func (a *answer) size() int64 { return int64(a.enc.Len()-headRoom) + a.logSize }

// writeTo writes the header, which must not be longer than headRoom, and the
// body.
func (a *answer) writeTo(w io.Writer, head []byte) error {
	b := a.enc.Bytes()
	first := headRoom - len(head)
	copy(b[first:], head)
	if a.log == nil {
		_, err := w.Write(b[first:])
		return err
	}
	if _, err := w.Write(b[first:a.split]); err != nil {
		return err
	}
	if err := a.writeLog(w); err != nil {
		return err
	}
	_, err := w.Write(b[a.split:])
	return err
}

// errLogChanged ends an answer whose length has been announced already.
var errLogChanged = errors.New("the log changed while it was read")

// setLog puts a piece of a log into the answer, between what has been written
// and what follows. It has to read the log to learn how long it will be, and gives
// up when left says that nobody waits for it any more.
func (a *answer) setLog(section *logfile.Section, left func() bool) error {
	a.log, a.split = section, a.enc.Len()
	n, err := encodeLog(&watchedDiscard{left: left}, section, rpc.AppendText)
	a.logSize = n
	return err
}

// watchedDiscard takes what it is given, until nobody waits for it any more.
type watchedDiscard struct {
	left func() bool
	n    int
}

// lookEach is how much of a log is measured between two looks, in bytes.
const lookEach = 8 << 20

func (d *watchedDiscard) Write(p []byte) (int, error) {
	if d.n += len(p); d.n >= lookEach {
		d.n = 0
		if d.left() {
			return 0, errLeft
		}
	}
	return len(p), nil
}

func (a *answer) writeLog(w io.Writer) error {
	return sendLog(w, a.log, a.logSize, rpc.AppendText)
}

// sendLog writes a piece of a log, which must be size bytes long when encoded.
func sendLog(w io.Writer, section *logfile.Section, size int64, encode appendText) error {
	n, err := encodeLog(&limitedWriter{w, size}, section, encode)
	if err == nil && n != size {
		err = errLogChanged
	}
	return err
}

// limitedWriter refuses to write more than n bytes.
type limitedWriter struct {
	w io.Writer
	n int64
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	if l.n -= int64(len(p)); l.n < 0 {
		return 0, errLogChanged
	}
	return l.w.Write(p)
}

// appendText appends a text to a document, escaped.
type appendText func(document []byte, text string) []byte

// encodeLog writes a piece of a log as text of a document, in bounded memory,
// and returns how many bytes that were.
func encodeLog(w io.Writer, section *logfile.Section, encode appendText) (written int64, err error) {
	const chunk = 16 << 10
	in := make([]byte, chunk)
	out := make([]byte, 0, 2*chunk)
	kept := 0 // bytes of an unfinished character
	for at := int64(0); ; {
		n, err := section.ReadAt(in[kept:], at)
		at += int64(n)
		have := kept + n
		whole := have
		if err == nil {
			whole = rpc.WholeText(in[:have])
		} else if err != io.EOF {
			return written, err
		}
		out = encode(out[:0], string(in[:whole]))
		if len(out) > 0 {
			if _, err := w.Write(out); err != nil {
				return written, err
			}
			written += int64(len(out))
		}
		if err == io.EOF {
			return written, nil
		}
		kept = copy(in, in[whole:have])
	}
}
