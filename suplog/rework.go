package main

import (
	"bytes"
	"sync"
	"time"

	"sup/lib/logfile"
	"sup/suplog/internal/transform"
)

var trashPool = sync.Pool{New: func() any { return new([logfile.PeekSize]byte) }}

// piece is a part of a stream on its way through the transformation. It is
// taken away from where it came from only when its outcome is in the log.
type piece struct {
	active bool
	n      int             // bytes of the stream
	next   transform.State // the state after it
	rest   []byte          // what is still to be written
	plain  []byte          // what is to be shown
	kept   bool            // rest and plain belong to the piece
}

// transform takes a piece of the stream and writes what becomes of it.
func (c *channel) transform(limit int, now time.Time) (int, verdict) {
	if c.piece.active {
		return c.finish(now)
	}
	c.stage()
	p := logfile.BorrowPeeker()
	defer p.Return()
	seen, err := p.Peek(c.pipe)
	if err != nil {
		return 0, c.pipeVerdict(err, now)
	}
	seen = seen[:min(len(seen), limit)]
	if c.sink.acquire(now) != nil {
		return 0, down
	}
	offset, file, err := c.sink.file.End()
	if err == nil {
		seen = upToRotation(seen, c.sink.file.Room())
		offset, file, err = c.sink.file.End() // it may have been rotated for its age
	}
	if err == nil && c.staging != nil {
		var n int
		n, err = c.staging.begin(c.pipe, len(seen), offset, file, now)
		seen = seen[:n]
	}
	c.sink.mu.Unlock()
	if err != nil {
		return 0, c.pipeVerdict(err, now)
	}
	next := c.state
	plain, lines := c.tr.Transform(&next, seen, now)
	c.piece = piece{active: true, n: len(seen), next: next, rest: lines, plain: plain}
	return c.finish(now)
}

// upToRotation gives as much of p as goes into a file with room bytes left, if
// it stays as long as it is.
func upToRotation(p []byte, room int64) []byte {
	if int64(len(p)) < room {
		return p
	}
	from := max(room-1, 0)
	if i := bytes.IndexByte(p[min(from, int64(len(p))):], '\n'); i >= 0 {
		return p[:from+int64(i)+1]
	}
	return p
}

// restage takes up the piece that the suplog before us, which was killed, was
// working on. Part of its outcome may be in the log.
func (c *channel) restage(now time.Time) (int, verdict) {
	if c.piece.active {
		return c.finish(now)
	}
	p := logfile.BorrowPeeker()
	defer p.Return()
	seen, err := p.Peek(c.staging.r)
	if err != nil {
		return 0, c.pipeVerdict(err, now)
	}
	was := c.staging.load(c.staging.current())
	next := was.state
	plain, lines := c.tr.Transform(&next, seen, time.Unix(0, was.time))
	if c.sink.acquire(now) != nil {
		c.capture.forget()
		return 0, down
	}
	written := c.sink.alreadyThere(lines, &was)
	c.sink.mu.Unlock()
	c.piece = piece{active: true, n: len(seen), next: next, rest: lines[written:], plain: plain}
	return c.finish(now)
}

// alreadyThere gives how many bytes of p were written where they should have
// been.
func (s *sink) alreadyThere(p []byte, was *slot) int {
	size, file, err := s.file.End()
	if err != nil || file != was.file || size <= was.offset {
		return 0
	}
	there := make([]byte, min(int64(len(p)), size-was.offset))
	n, err := s.file.ReadAt(there, was.offset)
	if err != nil || !bytes.Equal(there[:n], p[:n]) {
		return 0
	}
	return n
}

// finish writes what is left of the present piece, takes the piece away, and
// tells of it.
func (c *channel) finish(now time.Time) (int, verdict) {
	if c.sink.acquire(now) != nil {
		return 0, c.keepPiece(down)
	}
	n, err := c.sink.file.WriteUndivided(c.piece.rest)
	c.piece.rest = c.piece.rest[n:]
	if err != nil {
		v := c.sink.judge(0, err, now)
		c.sink.mu.Unlock()
		return 0, c.keepPiece(v)
	}
	c.sink.worked()
	plain := c.piece.plain
	taken := c.commit()
	c.sink.mu.Unlock()
	c.publish(plain, now)
	c.capture.tell()
	return taken, moved
}

// keepPiece makes the present piece independent of the buffers that it was
// made in, because it has to wait.
func (c *channel) keepPiece(v verdict) verdict {
	if !c.piece.kept {
		c.piece.rest, c.piece.plain = bytes.Clone(c.piece.rest), bytes.Clone(c.piece.plain)
		c.piece.kept = true
	}
	return v
}

// commit takes the present piece away and returns its length in the stream. The
// sink is locked.
func (c *channel) commit() int {
	done := c.piece
	c.piece = piece{}
	// Neither can fail: the bytes are there.
	if c.staging != nil {
		_ = c.staging.commit(done.n, &done.next)
	} else {
		_ = discard(c.pipe, done.n)
	}
	c.state = done.next
	if c.sink.file != nil {
		c.sink.file.RotateIfDue()
	}
	return done.n
}

// stage makes the staging pipe of an endless channel, if it has none yet or
// one that has too little room. Where there are no descriptors left it works
// without; then a killed suplog may write a piece twice.
func (c *channel) stage() {
	if !c.endless || c.staging != nil && c.staging.captureMax == c.captureMax() {
		return
	}
	s, err := newStaging(c.captureMax(), &c.state)
	if err != nil {
		return
	}
	c.staging.close()
	c.staging = s
	c.capture.use(s)
	c.host.keep(c, s.fds())
}

// adopt takes over a staging pipe that an earlier suplog has left.
func (c *channel) adopt(fds []int) {
	if c.staging = adoptStaging(fds); c.staging != nil {
		c.state = c.staging.load(c.staging.current()).state
		c.capture.use(c.staging)
	}
}
