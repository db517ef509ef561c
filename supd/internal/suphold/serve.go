package suphold

import (
	"syscall"
	"unsafe"
)

// entry is what is held under a key. One that is free keeps its memory.
type entry struct {
	live bool
	key  uint64
	data byte
	name []byte
	fds  []int32
	// full is set for one that nobody writes to any more, but has something to be
	// read: poll would not wait for it.
	full bool
}

// keeper is the process. It is one goroutine.
type keeper struct {
	listener, conn int // -1 for none
	entries        []entry
	polls          []pollFD
	// given are parts of the binary that are given back while nothing happens.
	given  [8]span
	givens int

	// What a message is received and sent with.
	in, out [headerLen + MaxName]byte
	control [(16 + 4*MaxFDs + 7) / 8]uint64
	iov     syscall.Iovec
	hdr     syscall.Msghdr
}

const (
	prSetDumpable = 4
	prSetName     = 15
	// review is how often a process that is alone looks whether what it holds is
	// still of use, where poll does not tell. In milliseconds.
	review  = 5000
	forever = -1
)

// serve is the whole life of the process.
func serve() {
	name := [16]byte{}
	copy(name[:], Name)
	syscall.Syscall(syscall.SYS_PRCTL, prSetName, uintptr(unsafe.Pointer(&name)), 0)
	// What it holds is not for those who have its user by chance.
	syscall.Syscall(syscall.SYS_PRCTL, prSetDumpable, 0, 0)
	var lim syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim) == nil {
		lim.Cur = lim.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim)
	}
	k := &keeper{listener: -1, conn: ConnFD}
	if listens(ListenFD) {
		k.listener = ListenFD
	}
	k.send(&Message{Op: Here, Key: uint64(syscall.Getpid())}, nil)
	k.givens = unwritten(k.given[:])
	for k.turn() {
	}
}

// turn waits for something to happen and deals with it. It reports false at the
// end.
func (k *keeper) turn() bool {
	k.polls = append(k.polls[:0], pollFD{fd: int32(k.listener), events: pollIn}, pollFD{fd: int32(k.conn), events: pollIn})
	patience := forever
	if k.conn < 0 {
		left, again := k.useful()
		if !left {
			return false
		}
		if again {
			patience = review
		}
	}
	if wait(k.polls, patience, k.given[:k.givens]) <= 0 {
		return true
	}
	if k.polls[1].revents != 0 && !k.drain() {
		return false
	}
	return k.polls[0].revents == 0 || k.accept()
}

// drain does what supd has asked for. It reports false at the end.
func (k *keeper) drain() bool {
	for k.conn >= 0 {
		n, fds, errno := k.receive()
		switch {
		case errno == syscall.EINTR:
			continue
		case errno == syscall.EAGAIN:
			return true
		case errno != 0 || n == 0:
			k.leave()
			return true
		}
		m, ok := Parse(k.in[:n])
		if !ok || m.Op != Hold {
			closeAll(fds)
		}
		if ok && !k.obey(&m, fds) {
			return false
		}
	}
	return true
}

// accept goes over to the next supd, of which there is one at a time: the one before
// is gone, and what it has said is done first. It reports false at the end.
func (k *keeper) accept() bool {
	fd, _, errno := syscall.Syscall6(syscall.SYS_ACCEPT4, uintptr(k.listener), 0, 0, syscall.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return true
	}
	peer, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	if err != nil || peer.Uid != 0 && int(peer.Uid) != syscall.Geteuid() {
		syscall.Close(int(fd))
		return true
	}
	if !k.drain() {
		return false
	}
	k.leave()
	k.conn = int(fd)
	return true
}

func (k *keeper) leave() {
	if k.conn >= 0 {
		syscall.Close(k.conn)
	}
	k.conn = -1
	for i := range k.entries {
		k.entries[i].full = false
	}
}

// obey does what a message asks for. It reports false at the end.
func (k *keeper) obey(m *Message, fds []int32) bool {
	switch m.Op {
	case Hold:
		k.hold(m, fds)
	case Drop:
		if e := k.find(m.Key); e != nil {
			e.drop()
		}
	case List:
		k.list()
	case End:
		return false
	}
	return true
}

func (k *keeper) find(key uint64) *entry {
	for i := range k.entries {
		if e := &k.entries[i]; e.live && e.key == key {
			return e
		}
	}
	return nil
}

func (k *keeper) hold(m *Message, fds []int32) {
	e := k.find(m.Key)
	for i := range k.entries {
		if e == nil && !k.entries[i].live {
			e = &k.entries[i]
		}
	}
	if e == nil {
		k.entries = append(k.entries, entry{})
		e = &k.entries[len(k.entries)-1]
	}
	e.drop()
	if len(fds) == 0 {
		return // they were lost on the way: there are too many files
	}
	e.live, e.key, e.data = true, m.Key, m.Data
	e.name = append(e.name[:0], m.Name...)
	e.fds = append(e.fds[:0], fds...)
}

func (e *entry) drop() {
	closeAll(e.fds)
	e.live, e.full, e.fds = false, false, e.fds[:0]
}

// list tells supd all there is.
func (k *keeper) list() {
	n := uint64(0)
	for i := range k.entries {
		if k.entries[i].live {
			n++
		}
	}
	k.send(&Message{Op: Info, Key: n<<32 | uint64(syscall.Getpid())}, nil)
	for i := range k.entries {
		if e := &k.entries[i]; e.live && k.conn >= 0 {
			k.send(&Message{Op: Held, Key: e.key, Data: e.data, Name: e.name}, e.fds)
		}
	}
}

// useful gives up what is of no use to anybody any more, and prepares to wait for
// more to become so. It reports whether there is anything left, and whether it
// has to be looked at again without poll's word.
func (k *keeper) useful() (left, again bool) {
	for i := range k.entries {
		e := &k.entries[i]
		if !e.live {
			continue
		}
		if e.full = false; e.deserted() {
			if !e.readable() {
				e.drop()
				continue
			}
			e.full = true
		}
		left, again = true, again || e.full
		if !e.full {
			k.polls = append(k.polls, pollFD{fd: e.fds[0]})
		}
	}
	return left, again
}

// deserted tells whether nobody has the other end of the pipe open.
func (e *entry) deserted() bool {
	p := [1]pollFD{{fd: e.fds[0]}}
	return poll(p[:], 0) > 0 && p[0].revents&(pollHup|pollErr) != 0
}

// readable tells whether there is something in a pipe that the next supd would
// want.
func (e *entry) readable() bool {
	for _, fd := range e.fds[:min(int(e.data), len(e.fds))] {
		p := [1]pollFD{{fd: fd, events: pollIn}}
		if poll(p[:], 0) > 0 && p[0].revents&pollIn != 0 {
			return true
		}
	}
	return false
}

func closeAll(fds []int32) {
	for _, fd := range fds {
		syscall.Close(int(fd))
	}
}
