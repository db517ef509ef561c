package main

import (
	"bytes"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/logfile"
	"sup/lib/logwire"
	"sup/lib/safepath"
	"sup/suplog/internal/transform"
)

// stageRetry is how often it is tried to make a staging pipe.
const stageRetry = 5 * time.Second

// trashPool holds what is read to be forgotten. Its pages are touched, so that
// a read into it cannot stop half-way, being killed in a page fault.
var trashPool = sync.Pool{New: func() any {
	trash := new([logfile.PeekSize]byte)
	for i := 0; i < len(trash); i += os.Getpagesize() {
		trash[i] = 1
	}
	return trash
}}

// piece is a part of a stream on its way through the transformation. It is
// taken away from where it came from only when its outcome is in the log.
type piece struct {
	active bool
	n      int             // bytes of the stream
	next   transform.State // the state after it
	rest   []byte          // what is still to be written
	plain  []byte          // what is to be shown
	ends   []int           // where in plain sections ended
	kept   bool            // rest, plain and ends belong to the piece
}

// transform takes a piece of the stream and writes what becomes of it. The sink
// stays locked from the look at where the log ends until the outcome is there.
func (c *channel) transform(limit int, now time.Time) (int, verdict) {
	if c.piece.active {
		return c.finish(now)
	}
	c.stage(now)
	p := logfile.BorrowPeeker()
	defer p.Return()
	seen, err := p.Peek(c.pipe)
	if err != nil {
		return 0, c.pipeVerdict(err, now)
	}
	seen = seen[:min(len(seen), limit)]
	if c.sink.acquire(-1, now) != nil {
		return 0, down
	}
	seen, err = c.take(seen, now)
	if err != nil {
		defer c.sink.mu.Unlock()
		return 0, c.sink.judge(0, err, now)
	}
	next := c.state
	plain, lines := c.tr.Transform(&next, seen, now)
	c.piece = piece{active: true, n: len(seen), next: next, rest: lines, plain: plain, ends: c.tr.Ends}
	return c.write(now)
}

// take decides how much of what was seen becomes the next piece, and moves it
// to the staging pipe, if there is one. The sink is locked.
func (c *channel) take(seen []byte, now time.Time) ([]byte, error) {
	if _, _, err := c.sink.file.End(); err != nil {
		return nil, err
	}
	seen = upToRotation(seen, c.sink.file.Room()) // which may rotate it for its age
	offset, file, err := c.sink.file.End()
	if err != nil || c.staging == nil {
		return seen, err
	}
	n, err := c.staging.begin(c.pipe, len(seen), offset, file, now)
	return seen[:n], err
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
	if c.sink.acquire(-1, now) != nil {
		c.capture.forget()
		return 0, down
	}
	written := c.sink.alreadyThere(lines, &was)
	if written == 0 {
		if was.offset, was.file, err = c.sink.file.End(); err == nil {
			c.staging.store(c.staging.current(), was)
		}
	}
	c.piece = piece{active: true, n: len(seen), next: next, rest: lines[written:], plain: plain, ends: c.tr.Ends}
	return c.write(now)
}

// alreadyThere gives how many bytes of p were written where they should have
// been. The file may have been rotated since, by another stream. A write that
// is killed ends where a page of the file ends; behind it, or in its place,
// another stream may have written.
func (s *sink) alreadyThere(p []byte, was *slot) int {
	_, id, err := s.file.End()
	if err != nil || was.file == 0 {
		return 0
	}
	read := s.file.ReadAt
	if id != was.file {
		f := openBackup(s.path, was.file)
		if f == nil {
			return 0
		}
		defer f.Close()
		read = f.ReadAt
	}
	there := make([]byte, len(p))
	n, err := read(there, was.offset)
	if err != nil && err != io.EOF {
		return 0
	}
	page := int64(os.Getpagesize())
	for n > 0 && !bytes.Equal(there[:n], p[:n]) {
		// Back to the page boundary before.
		n = int(max((was.offset+int64(n)-1)/page*page-was.offset, 0))
	}
	return n
}

// openBackup opens that rotated file of a log which has the inode number
// given; nil if there is none.
func openBackup(path string, inode uint64) *os.File {
	for _, b := range slices.Backward(logfile.Backups(path)) {
		f, err := safepath.OpenFile(b, os.O_RDONLY, 0)
		if err != nil {
			continue
		}
		var st unix.Stat_t
		if unix.Fstat(int(f.Fd()), &st) == nil && st.Ino == inode {
			return f
		}
		f.Close()
	}
	return nil
}

// finish goes on with the present piece.
func (c *channel) finish(now time.Time) (int, verdict) {
	if c.sink.acquire(-1, now) != nil {
		return 0, down
	}
	return c.write(now)
}

// write writes what is left of the present piece, takes the piece away, and
// tells of it. The sink is locked; it is unlocked here.
func (c *channel) write(now time.Time) (int, verdict) {
	n, err := c.sink.file.WriteUndivided(c.piece.rest)
	c.piece.rest = c.piece.rest[n:]
	if err != nil {
		v := c.sink.judge(0, err, now)
		c.sink.mu.Unlock()
		c.keepPiece()
		return 0, v
	}
	c.sink.worked()
	plain, ends := c.piece.plain, c.piece.ends
	taken := c.commit()
	c.sink.mu.Unlock()
	c.publish(plain, ends, now)
	return taken, moved
}

// keepPiece makes the present piece independent of the buffers that it was
// made in, because it has to wait.
func (c *channel) keepPiece() {
	if !c.piece.kept {
		c.piece.rest, c.piece.plain = bytes.Clone(c.piece.rest), bytes.Clone(c.piece.plain)
		c.piece.ends = slices.Clone(c.piece.ends)
		c.piece.kept = true
	}
}

// takeAway takes the present piece, which is written, away.
func (c *channel) takeAway() (done piece) {
	done, c.piece = c.piece, piece{}
	// Neither can fail: the bytes are there.
	if c.staging != nil {
		_ = c.staging.commit(done.n, &done.next)
	} else {
		_ = discard(c.pipe, done.n)
	}
	c.state = done.next
	return done
}

// commit takes the present piece away, rotates the log if that is due, and returns
// the length of the piece in the stream. The sink is locked.
func (c *channel) commit() int {
	done := c.takeAway()
	if c.sink.file != nil {
		c.sink.file.RotateIfDue()
	}
	return done.n
}

// stage makes the staging pipe of an endless channel, if it has none yet or
// one that has too little room. It may be used only when supd has it, too.
// Where that cannot be, the channel works without; then a killed suplog may
// write a piece twice.
func (c *channel) stage(now time.Time) {
	if !c.endless || c.staging != nil && c.staging.captureMax == c.captureMax() || now.Before(c.stageAgain) {
		return
	}
	s, err := newStaging(c.captureMax(), &c.state)
	if err == nil && !c.keep(s) {
		s.close()
		err = unix.ENOTCONN
	}
	if err != nil {
		c.stageAgain = now.Add(stageRetry)
		return
	}
	c.staging.close()
	c.staging = s
	c.capture.use(s)
}

// keep has supd keep a staging pipe, and what else must outlive us.
func (c *channel) keep(s *staging) bool {
	var fds []int
	if s != nil {
		fds = s.fds()
	}
	for _, k := range c.sinks() {
		fds = append(fds, k.logger.fds()...)
	}
	return c.host.keep(c, fds)
}

// adopt takes over what an earlier suplog has left: a staging pipe, and the
// loggers of the stream in their order.
func (c *channel) adopt(fds []int) {
	sinks := c.sinks()
	for len(fds) >= stagingFDs {
		group := fds[:stagingFDs]
		fds = fds[stagingFDs:]
		if isMemory(group[stagingFDs-1]) {
			c.staging.close()
			if c.staging = adoptStaging(group); c.staging != nil {
				c.state = c.staging.load(c.staging.current()).state
				c.capture.use(c.staging)
			}
			continue
		}
		i := slices.IndexFunc(sinks, func(s *sink) bool { return s.logger != nil })
		if i < 0 {
			logwire.CloseFDs(group)
			continue
		}
		sinks[i].adoptLogger(group)
		sinks = sinks[i+1:]
	}
	logwire.CloseFDs(fds)
}
