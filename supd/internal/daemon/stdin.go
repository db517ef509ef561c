package daemon

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// maxStdin bounds what waits for a program that does not read, in bytes.
const maxStdin = 16 << 20

// stdin is our end of the standard input of a process. What the pipe takes at
// once is written by the loop; the rest by a goroutine that is there only for
// a program that reads slowly.
type stdin struct {
	fd      int // non-blocking; -1 if there is none
	file    *os.File
	queue   *queue[[]byte]
	waiting *int64
	cancel  context.CancelFunc
	// failed is called on the loop when the goroutine cannot write.
	failed *func()
	writer *stdinWriter
}

// stdinWriter is the loop's hold on that goroutine.
type stdinWriter struct {
	paused func(rest []byte) // called when it pauses, if set
	resume chan struct{}     // lets it go on
}

var (
	errNoStdin   = errors.New("no standard input")
	errStdinFull = errors.New("the program does not read its standard input, and 16 MiB wait for it already")
)

func (s *stdin) attach(fd int) {
	s.close()
	s.fd = fd
}

func (s *stdin) close() {
	switch {
	case s.file != nil:
		s.cancel()
		s.file.Close()
		s.writer.pausedNow(nil) // nothing is to be kept
	case s.fd >= 0:
		unix.Close(s.fd)
	}
	*s = stdin{fd: -1}
}

// write gives text to the process; EPIPE if it has closed its end.
func (s *stdin) write(d *Daemon, text []byte) error {
	if s.fd < 0 {
		return errNoStdin
	}
	if s.file == nil {
		n, err := unix.Write(s.fd, text)
		if err != nil && err != unix.EAGAIN && err != unix.EINTR {
			return err
		}
		text = text[max(n, 0):]
		if len(text) == 0 {
			return nil
		}
		s.fallBehind(d)
	}
	if *s.waiting+int64(len(text)) > maxStdin {
		return errStdinFull
	}
	*s.waiting += int64(len(text))
	s.queue.put(append([]byte(nil), text...))
	return nil
}

// onError sets what is called, on the loop, when text that was queued cannot
// be written.
func (s *stdin) onError(f func()) {
	if s.failed != nil {
		*s.failed = f
	}
}

// fallBehind starts the goroutine that writes what the pipe did not take.
func (s *stdin) fallBehind(d *Daemon) {
	s.file = os.NewFile(uintptr(s.fd), "stdin of a program")
	s.queue = newQueue[[]byte]()
	s.waiting = new(int64)
	s.failed = new(func())
	s.writer = &stdinWriter{resume: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	file, queue, waiting, failed, w := s.file, s.queue, s.waiting, s.failed, s.writer
	go func() {
		for {
			texts, ok := queue.take(ctx)
			if !ok {
				return
			}
			for len(texts) > 0 {
				n, err := file.Write(texts[0])
				texts[0] = texts[0][n:]
				if errors.Is(err, os.ErrDeadlineExceeded) {
					rest := slices.Concat(texts...)
					d.post(func() {
						*waiting -= int64(n)
						w.pausedNow(rest)
					})
					select {
					case <-w.resume:
						continue
					case <-ctx.Done():
						return
					}
				}
				done := n + len(texts[0])
				texts = texts[1:]
				d.post(func() {
					*waiting -= int64(done)
					if err != nil && *failed != nil {
						(*failed)()
					}
					if *waiting == 0 {
						w.pausedNow(nil) // it will not come to it itself
					}
				})
				if ctx.Err() != nil {
					return
				}
			}
		}
	}()
}

func (w *stdinWriter) pausedNow(rest []byte) {
	if f := w.paused; f != nil {
		w.paused = nil
		f(rest)
	}
}

// pause stops the writing, and calls done with what waits to be written. No
// more may be written until unpause.
func (s *stdin) pause(done func(rest []byte)) {
	if s.file == nil || *s.waiting == 0 {
		done(nil)
		return
	}
	queue := s.queue
	s.writer.paused = func(rest []byte) { done(slices.Concat(append([][]byte{rest}, queue.peek()...)...)) }
	_ = s.file.SetWriteDeadline(time.Unix(1, 0))
}

// unpause goes on with the writing.
func (s *stdin) unpause() {
	if s.file == nil {
		return
	}
	s.writer.paused = nil
	_ = s.file.SetWriteDeadline(time.Time{})
	select {
	case s.writer.resume <- struct{}{}:
	default:
	}
}
