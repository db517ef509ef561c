package cli

import (
	"bytes"
	"context"
	"io"
)

// Input reads standard input piece by piece, for a shell whose commands read
// from it as well: nothing is taken that is not asked for, and waiting for
// input can be given up without losing what arrives later. It is for use by
// one goroutine at a time.
type Input struct {
	src io.Reader
	// unread was read from src and not yet handed out; err is what ended
	// src.
	unread []byte
	err    error
	// arrived delivers what a goroutine reads from src. At most one read is
	// under way; reading tells whether one is. It outlives a context that
	// ended, and its result goes to whoever asks next.
	arrived chan chunk
	reading bool
	// skipLF is set after a line that ended in \r, which may be half of a
	// \r\n.
	skipLF bool
}

type chunk struct {
	data []byte
	err  error
}

// NewInput returns an Input that reads from src.
func NewInput(src io.Reader) *Input {
	return &Input{src: src, arrived: make(chan chunk, 1)}
}

// ReadLine returns the next line without its end. At the end of the input an
// unfinished line counts as one; then the error is io.EOF.
func (in *Input) ReadLine(ctx context.Context) (string, error) {
	for {
		if in.skipLF && len(in.unread) > 0 {
			in.skipLF = false
			in.unread = bytes.TrimPrefix(in.unread, []byte("\n"))
		}
		if end := bytes.IndexAny(in.unread, "\r\n"); end >= 0 {
			// A terminal in raw mode has sent \r.
			line := string(in.unread[:end])
			in.skipLF = in.unread[end] == '\r'
			in.unread = in.unread[end+1:]
			return line, nil
		}
		if in.err != nil {
			if len(in.unread) > 0 {
				line := string(in.unread)
				in.unread = nil
				return line, nil
			}
			return "", in.err
		}
		if err := in.fill(ctx); err != nil {
			return "", err
		}
	}
}

// read hands out control characters one by one and other text up to the next
// of them. So a line editor shows what it has read before it acts on a TAB, it
// does not swallow the line after the one it edits, and what a completion
// inserts comes before what was typed after it.
func (in *Input) read(ctx context.Context, p []byte) (int, error) {
	for len(in.unread) == 0 {
		if in.err != nil {
			return 0, in.err
		}
		if err := in.fill(ctx); err != nil {
			return 0, err
		}
	}
	next := bytes.IndexAny(in.unread, "\t\r\n")
	switch next {
	case 0:
		next = 1
	case -1:
		next = len(in.unread)
	}
	n := copy(p, in.unread[:next])
	in.unread = in.unread[n:]
	return n, nil
}

// insert puts text in front of what will be read next.
func (in *Input) insert(text string) {
	in.unread = append([]byte(text), in.unread...)
}

// fill waits for more input. The error is only ever that of ctx; the end of
// the input is stored.
func (in *Input) fill(ctx context.Context) error {
	if !in.reading {
		in.reading = true
		go func() {
			buf := make([]byte, 4096)
			n, err := in.src.Read(buf)
			in.arrived <- chunk{data: buf[:n], err: err}
		}()
	}
	select {
	case c := <-in.arrived:
		in.reading = false
		in.unread = append(in.unread, c.data...)
		in.err = c.err
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
