package logfile

import (
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// PeekSize is how much of a pipe is seen at most by one Peek.
const PeekSize = 64 << 10

// Peeker looks into pipes with tee(2), which duplicates what is in a pipe into
// another one, from where it is read. It belongs to one goroutine at a time.
// The zero value is ready; it takes its descriptors and its buffer with the
// first Peek.
type Peeker struct {
	r, w int
	buf  []byte
}

// Peek gives the first bytes of a pipe and leaves them there. What it gives is
// valid until the next call. [unix.EAGAIN]: there are none; [io.EOF]: there
// will be none, since nobody has the pipe open for writing.
func (p *Peeker) Peek(pipe int) ([]byte, error) {
	if p.buf == nil {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			return nil, err
		}
		p.r, p.w, p.buf = fds[0], fds[1], make([]byte, PeekSize)
	}
	n, err := retry(func() (int64, error) { return unix.Tee(pipe, p.w, len(p.buf), unix.SPLICE_F_NONBLOCK) })
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, io.EOF
	}
	got := 0
	for got < int(n) {
		m, err := retry(func() (int, error) { return unix.Read(p.r, p.buf[got:n]) })
		if err != nil {
			return nil, err
		}
		got += m
	}
	return p.buf[:got], nil
}

// Close gives back what Peek took. The Peeker can be used again.
func (p *Peeker) Close() {
	if p.buf != nil {
		unix.Close(p.r)
		unix.Close(p.w)
		*p = Peeker{}
	}
}

// retry calls f again while it is interrupted by a signal.
func retry[T any](f func() (T, error)) (T, error) {
	for {
		v, err := f()
		if err != unix.EINTR {
			return v, err
		}
	}
}

// idlePeekers are those not in use at the moment: looking is rare, and a pipe
// for each stream would be a waste of descriptors and memory.
var (
	idlePeekersMu sync.Mutex
	idlePeekers   []*Peeker
)

const maxIdlePeekers = 4

// BorrowPeeker gives a Peeker for a moment; it is to be given back with Return.
func BorrowPeeker() *Peeker {
	idlePeekersMu.Lock()
	defer idlePeekersMu.Unlock()
	if n := len(idlePeekers); n > 0 {
		p := idlePeekers[n-1]
		idlePeekers = idlePeekers[:n-1]
		return p
	}
	return new(Peeker)
}

// Return gives a borrowed Peeker back. What it gave is no longer valid.
func (p *Peeker) Return() {
	idlePeekersMu.Lock()
	defer idlePeekersMu.Unlock()
	if len(idlePeekers) < maxIdlePeekers {
		idlePeekers = append(idlePeekers, p)
		return
	}
	p.Close()
}
