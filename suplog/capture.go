package main

// maxCapture bounds what stdout_capture_maxbytes may ask for.
const maxCapture = 1 << 30

// capture collects captured sections, of which it keeps the last bytes. It lies
// in the memory of the staging pipe, if there is one: a section may be
// longer than the life of a suplog.
type capture struct {
	c    *channel
	ring []byte
	done [][]byte // complete, not told yet
}

// newCapture makes one that keeps max bytes of a section.
func newCapture(c *channel, max int64) *capture {
	return &capture{c: c, ring: make([]byte, max)}
}

// use moves it to the memory of a staging pipe.
func (b *capture) use(s *staging) {
	if b != nil && len(s.mem) > ringAt {
		b.ring = s.mem[ringAt:]
	}
}

// Capture implements transform.Section.
func (b *capture) Capture(at uint64, p []byte) {
	size := uint64(len(b.ring))
	if skip := len(p) - len(b.ring); skip > 0 {
		p, at = p[skip:], at+uint64(skip)
	}
	n := copy(b.ring[at%size:], p)
	copy(b.ring, p[n:])
}

// Complete implements transform.Section.
func (b *capture) Complete(size uint64) {
	whole := uint64(len(b.ring))
	if size <= whole {
		b.done = append(b.done, append([]byte(nil), b.ring[:size]...))
		return
	}
	at := size % whole
	b.done = append(b.done, append(append([]byte(nil), b.ring[at:]...), b.ring[:at]...))
}

// tell tells of the oldest section that is complete.
func (b *capture) tell() {
	if b == nil || len(b.done) == 0 {
		return
	}
	b.c.host.section(b.c, b.done[0])
	b.done = b.done[1:]
}

// forget drops what is complete: it will be seen again.
func (b *capture) forget() {
	if b != nil {
		b.done = nil
	}
}
