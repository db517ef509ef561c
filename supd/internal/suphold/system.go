package suphold

import (
	"syscall"
	"unsafe"
)

// System calls as they are: what package syscall makes of some of them takes
// memory each time.

type pollFD struct {
	fd              int32
	events, revents int16
}

const (
	pollIn  = 0x1
	pollErr = 0x8
	pollHup = 0x10
)

// poll waits for milliseconds, or for ever if they are negative.
func poll(fds []pollFD, milliseconds int) int {
	var limit *syscall.Timespec
	if milliseconds >= 0 {
		ts := syscall.NsecToTimespec(int64(milliseconds) * 1e6)
		limit = &ts
	}
	n, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(unsafe.SliceData(fds))), uintptr(len(fds)),
		uintptr(unsafe.Pointer(limit)), 0, 0, 0)
	if errno != 0 {
		return -1
	}
	return int(n)
}

// receive takes a message that is there: its length, and descriptors, which are
// valid until the next call. A length of 0 means that the other side is gone.
func (k *keeper) receive() (n int, fds []int32, errno syscall.Errno) {
	k.message(k.in[:])
	k.hdr.Control = (*byte)(unsafe.Pointer(&k.control))
	k.hdr.SetControllen(int(unsafe.Sizeof(k.control)))
	// It does not wait, which is what the runtime would have to know.
	r, _, errno := syscall.RawSyscall(syscall.SYS_RECVMSG, uintptr(k.conn), uintptr(unsafe.Pointer(&k.hdr)),
		syscall.MSG_DONTWAIT|syscall.MSG_CMSG_CLOEXEC)
	if errno != 0 {
		return 0, nil, errno
	}
	if got := int(k.hdr.Controllen); got > syscall.CmsgLen(0) {
		h := (*syscall.Cmsghdr)(unsafe.Pointer(&k.control))
		if h.Level == syscall.SOL_SOCKET && h.Type == syscall.SCM_RIGHTS {
			count := (min(int(h.Len), got) - syscall.CmsgLen(0)) / 4
			first := (*int32)(unsafe.Add(unsafe.Pointer(&k.control), syscall.CmsgLen(0)))
			fds = unsafe.Slice(first, count)
		}
	}
	return int(r), fds, 0
}

// send sends a message with descriptors, and waits until there is room for it. That
// nobody is there to take it is seen in receiving.
func (k *keeper) send(m *Message, fds []int32) {
	k.message(Append(k.out[:0], m))
	k.hdr.Control = nil
	k.hdr.SetControllen(0)
	if len(fds) > 0 {
		h := (*syscall.Cmsghdr)(unsafe.Pointer(&k.control))
		h.Level, h.Type = syscall.SOL_SOCKET, syscall.SCM_RIGHTS
		h.SetLen(syscall.CmsgLen(4 * len(fds)))
		copy(unsafe.Slice((*int32)(unsafe.Add(unsafe.Pointer(&k.control), syscall.CmsgLen(0))), len(fds)), fds)
		k.hdr.Control = (*byte)(unsafe.Pointer(&k.control))
		k.hdr.SetControllen(syscall.CmsgSpace(4 * len(fds)))
	}
	for {
		_, _, errno := syscall.Syscall(syscall.SYS_SENDMSG, uintptr(k.conn), uintptr(unsafe.Pointer(&k.hdr)), syscall.MSG_NOSIGNAL)
		switch errno {
		case 0:
			return
		case syscall.EINTR:
		default:
			// Whoever has gone may have said what is still to be read: [keeper.drain]
			// comes to the end of it.
			return
		}
	}
}

// message prepares the header for one buffer.
func (k *keeper) message(b []byte) {
	k.iov.Base = unsafe.SliceData(b)
	k.iov.SetLen(len(b))
	k.hdr = syscall.Msghdr{Iov: &k.iov, Iovlen: 1}
}

// quiet is how long nothing has happened before the process makes itself small. By
// then the Go runtime, which works on for a moment when a goroutine waits, is
// asleep.
const quiet = 200

// gather is how long messages may wait, so that there is one turn for many. What is
// on its way is safe: the connection holds it. Both are in milliseconds.
const gather = 10

// wait is poll, for longer: after a while without anything to do it gives parts of
// memory back. The runtime must not run between that and the next wait, since it
// would bring a good part of the binary in again; so all of it is one system call
// for the runtime.
func wait(fds []pollFD, milliseconds int, given []span) int {
	first := syscall.NsecToTimespec(quiet * 1e6)
	rest := syscall.NsecToTimespec(int64(milliseconds) * 1e6)
	second := &rest
	if milliseconds < 0 {
		second = nil
	}
	third := syscall.NsecToTimespec(gather * 1e6)
	return waitTwice(fds, &first, second, &third, given)
}

//go:nosplit
//go:norace
func waitTwice(fds []pollFD, first, second, then *syscall.Timespec, given []span) int {
	p, n := uintptr(unsafe.Pointer(unsafe.SliceData(fds))), uintptr(len(fds))
	entersyscall()
	r, _, errno := syscall.RawSyscall6(syscall.SYS_PPOLL, p, n, uintptr(unsafe.Pointer(first)), 0, 0, 0)
	if r == 0 && errno == 0 {
		for i := range given {
			syscall.RawSyscall(syscall.SYS_MADVISE, given[i].from, given[i].size, syscall.MADV_DONTNEED)
		}
		r, _, errno = syscall.RawSyscall6(syscall.SYS_PPOLL, p, n, uintptr(unsafe.Pointer(second)), 0, 0, 0)
	}
	if r > 0 && errno == 0 {
		syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, uintptr(unsafe.Pointer(then)), 0, 0, 0)
	}
	exitsyscall()
	if errno != 0 {
		return -1
	}
	return int(r)
}

// These begin and end what the runtime takes for a system call. It keeps them for
// others who need that.

//go:linkname entersyscall runtime.entersyscall
func entersyscall()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// span is a part of memory.
type span struct{ from, size uintptr }

// unwritten finds the code and the constants of the binary, and tells how many
// spans they are. They are the file's: what is given back is read again when it is
// needed, and mostly is in memory anyway, as that of supd.
func unwritten(spans []span) (n int) {
	maps, err := syscall.Open("/proc/self/maps", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer syscall.Close(maps)
	// The binary comes first; what does not fit is not its.
	var text [4096]byte
	size, err := syscall.Read(maps, text[:])
	if err != nil {
		return 0
	}
	begin := 0
	for i := 0; i < size && n < len(spans); i++ {
		if text[i] != '\n' {
			continue
		}
		if s, ok := spanOf(text[begin:i]); ok {
			spans[n] = s
			n++
		}
		begin = i + 1
	}
	return n
}

// spanOf takes a span from a line of the map of memory, if it is one of a file,
// "55e0-55f0 r-xp 00001000 fe:00 1234 /path", and cannot be written to.
func spanOf(line []byte) (s span, ok bool) {
	from, line := number(line)
	if len(line) == 0 || line[0] != '-' {
		return s, false
	}
	to, line := number(line[1:])
	if len(line) < 5 || line[0] != ' ' || line[1] != 'r' || line[2] != '-' {
		return s, false
	}
	for _, c := range line {
		if c == '[' {
			return s, false // the kernel's
		}
		if c == '/' {
			return span{from, to - from}, from < to
		}
	}
	return s, false
}

// number reads a hexadecimal number, and gives what follows it.
func number(text []byte) (n uintptr, rest []byte) {
	for i, c := range text {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | uintptr(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | uintptr(c-'a'+10)
		default:
			return n, text[i:]
		}
	}
	return n, nil
}
