package main

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/logfile"
	"sup/lib/logwire"
	"sup/suplog/internal/transform"
)

// staging is where a stream that is transformed keeps the piece which is being
// worked on, so that suplog can be killed at any moment: a pipe that holds the
// piece until its outcome is in the log, and a little memory that says in which
// state the transformation was before it, and will be after it. supd keeps
// both, too, and hands them to the next suplog.
//
// The memory has two slots, and the number of the one that holds for what is in
// the pipe. The other one is filled before the piece is taken away from the
// pipe, which is one system call, and becomes the first after that. So:
//
//	pipe not empty  the piece is to be done (again) from the numbered slot
//	pipe empty      the slot with the higher serial holds
type staging struct {
	r, w, memory int
	mem          []byte
	captureMax   int64
}

const (
	stagingMagic = 0x31707573 // "sup1"
	currentAt    = 4
	slotAt       = 64
	slotSize     = 64
	marksAt      = slotAt + 2*slotSize
	marksSize    = 16 * maxMarks
	ringAt       = 4096
	stagingFDs   = 3

	// maxMarks is how many logs of one stream have their places noted.
	maxMarks = 8
)

// slot is one of the two states in the memory. While there is a piece in the
// pipe it also says where in the log its outcome begins, and which time lines
// that begin in it were given.
type slot struct {
	serial uint64
	offset int64
	file   uint64
	time   int64
	state  transform.State
}

// mark is a place in a log: where the outcome of a piece begins.
type mark struct {
	offset int64
	file   uint64
}

// storeMarks notes for the current slot where the outcome begins in each of
// several logs.
func (s *staging) storeMarks(marks []mark) {
	b := s.mem[marksAt+int(s.current())*marksSize:][:marksSize]
	for i, m := range marks[:min(len(marks), maxMarks)] {
		binary.LittleEndian.PutUint64(b[16*i:], uint64(m.offset))
		binary.LittleEndian.PutUint64(b[16*i+8:], m.file)
	}
}

// loadMarks gives the marks of n logs.
func (s *staging) loadMarks(n int) []mark {
	b := s.mem[marksAt+int(s.current())*marksSize:][:marksSize]
	marks := make([]mark, n)
	for i := range marks[:min(n, maxMarks)] {
		marks[i] = mark{int64(binary.LittleEndian.Uint64(b[16*i:])), binary.LittleEndian.Uint64(b[16*i+8:])}
	}
	return marks
}

// isMemory tells whether a descriptor is of the memory of a staging pipe.
func isMemory(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG
}

// newStaging makes an empty one, with room for a captured section.
func newStaging(captureMax int64, st *transform.State) (*staging, error) {
	s := &staging{r: -1, w: -1, memory: -1}
	var err error
	if s.memory, err = unix.MemfdCreate("suplog", unix.MFD_CLOEXEC); err != nil {
		return nil, err
	}
	var fds [2]int
	if err = unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err == nil {
		s.r, s.w = fds[0], fds[1]
		if err = unix.Ftruncate(s.memory, ringAt+captureMax); err == nil {
			err = s.mapMemory()
		}
	}
	if err != nil {
		s.close()
		return nil, err
	}
	binary.LittleEndian.PutUint32(s.mem, stagingMagic)
	s.store(0, slot{serial: 1, state: *st})
	return s, nil
}

// adoptStaging takes over the descriptors of an earlier one; nil if they are
// none.
func adoptStaging(fds []int) *staging {
	if len(fds) != stagingFDs {
		logwire.CloseFDs(fds)
		return nil
	}
	s := &staging{r: fds[0], w: fds[1], memory: fds[2]}
	if s.mapMemory() != nil || binary.LittleEndian.Uint32(s.mem) != stagingMagic {
		s.close()
		return nil
	}
	if !s.holds() {
		last := uint32(0)
		if s.load(1).serial > s.load(0).serial {
			last = 1
		}
		s.setCurrent(last)
	}
	return s
}

func (s *staging) mapMemory() error {
	var st unix.Stat_t
	if err := unix.Fstat(s.memory, &st); err != nil {
		return err
	}
	if st.Size < ringAt || st.Size > ringAt+maxCapture {
		return unix.EINVAL
	}
	mem, err := unix.Mmap(s.memory, 0, int(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	s.mem, s.captureMax = mem, st.Size-ringAt
	return err
}

func (s *staging) close() {
	if s == nil {
		return
	}
	if s.mem != nil {
		_ = unix.Munmap(s.mem)
	}
	for _, fd := range []int{s.r, s.w, s.memory} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func (s *staging) fds() []int { return []int{s.r, s.w, s.memory} }

// holds tells whether there is a piece in the pipe.
func (s *staging) holds() bool {
	if s == nil {
		return false
	}
	n, err := logfile.Queued(s.r)
	return err == nil && n > 0
}

func (s *staging) current() uint32 { return binary.LittleEndian.Uint32(s.mem[currentAt:]) & 1 }

func (s *staging) setCurrent(i uint32) { binary.LittleEndian.PutUint32(s.mem[currentAt:], i) }

func (s *staging) store(i uint32, v slot) {
	b := s.mem[slotAt+int(i)*slotSize:][:slotSize]
	le := binary.LittleEndian
	le.PutUint64(b[8:], uint64(v.offset))
	le.PutUint64(b[16:], v.file)
	le.PutUint64(b[24:], uint64(v.time))
	b[32], b[33], b[34], b[35] = v.state.Token, v.state.Escape, bit(v.state.Capturing), bit(v.state.MidLine)
	b[36] = v.state.SectionEscape
	le.PutUint64(b[40:], v.state.Captured)
	le.PutUint64(b, v.serial) // last: it makes the slot valid
}

func (s *staging) load(i uint32) slot {
	b := s.mem[slotAt+int(i)*slotSize:][:slotSize]
	le := binary.LittleEndian
	return slot{
		serial: le.Uint64(b), offset: int64(le.Uint64(b[8:])), file: le.Uint64(b[16:]), time: int64(le.Uint64(b[24:])),
		state: transform.State{
			Token: min(b[32], uint8(len(transform.End))-1), Escape: b[33], Capturing: b[34] != 0, MidLine: b[35] != 0,
			Captured: le.Uint64(b[40:]), SectionEscape: b[36],
		},
	}
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// save notes a state that was changed while the pipe is empty.
func (s *staging) save(st *transform.State) {
	if s != nil {
		v := s.load(s.current())
		v.state = *st
		s.store(s.current(), v)
	}
}

// begin moves at most n bytes from a pipe into the empty staging pipe, after
// noting where in the log their outcome will begin. It returns how many.
func (s *staging) begin(pipe, n int, offset int64, file uint64, now time.Time) (int, error) {
	v := s.load(s.current())
	v.offset, v.file, v.time = offset, file, now.UnixNano()
	s.store(s.current(), v)
	got := 0
	for got < n {
		m, err := unix.Splice(pipe, nil, s.w, nil, n-got, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if err == unix.EINTR {
			continue
		}
		if err != nil || m == 0 {
			if got > 0 {
				err = nil
			}
			return got, err
		}
		got += int(m)
	}
	return got, nil
}

// commit takes the piece of n bytes, whose outcome is in the log, away; st is
// the state after it.
func (s *staging) commit(n int, st *transform.State) error {
	cur := s.current()
	s.store(1-cur, slot{serial: s.load(cur).serial + 1, state: *st})
	if err := discard(s.r, n); err != nil {
		return err
	}
	s.setCurrent(1 - cur)
	return nil
}

// discard reads n bytes, at most logfile.PeekSize, that are in a pipe, and
// forgets them.
func discard(pipe, n int) error {
	trash := trashPool.Get().(*[logfile.PeekSize]byte)
	defer trashPool.Put(trash)
	for n > 0 {
		m, err := unix.Read(pipe, trash[:n])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if m == 0 {
			return nil
		}
		n -= m
	}
	return nil
}
