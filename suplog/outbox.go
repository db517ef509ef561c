package main

import (
	"errors"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sup/lib/logwire"
)

const (
	// outboxRoom is how much output may wait for supd to take it.
	outboxRoom = 4 << 20
	// outboxPatience is how long a stream waits for room. After that supd
	// hangs, and its listeners miss something; logs do not.
	outboxPatience = time.Second
)

// outbox sends messages to supd, in the order in which they were put, from a
// goroutine of its own, or from that of whoever calls flush. Answers never wait
// for room, output does.
type outbox struct {
	conn *logwire.Conn
	// shares is set when supd understands datagrams with several messages.
	shares atomic.Bool

	mu      sync.Mutex
	changed sync.Cond
	queue   []letter
	sending bool // somebody sends what was in the queue before
	size    int  // bytes of output in the queue
	missed  bool // output was left out lately
	closed  bool
	done    chan struct{}

	// This belongs to whoever sends.
	messages []*logwire.Message
	spare    []letter // an empty queue
}

// letter is a message on its way.
type letter struct {
	logwire.Message
	sent chan<- bool // told whether it was sent, unless nil
}

func newOutbox(conn *logwire.Conn) *outbox {
	o := &outbox{conn: conn, done: make(chan struct{})}
	o.changed.L = &o.mu
	go o.run()
	return o
}

// put sends m. Its descriptors are closed when that is done.
func (o *outbox) put(m logwire.Message) { o.post(letter{Message: m}) }

// putSync sends m, and tells whether that has been done within a moment. Then
// the message is in the hands of the kernel, and arrives whatever becomes of
// this process.
func (o *outbox) putSync(m logwire.Message) bool {
	sent := make(chan bool, 1)
	o.post(letter{m, sent})
	select {
	case ok := <-sent:
		return ok
	case <-time.After(outboxPatience):
		return false
	}
}

func (o *outbox) post(l letter) {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		l.drop()
		return
	}
	o.queue = append(o.queue, l)
	o.mu.Unlock()
	o.changed.Broadcast()
}

// drop is for a letter that is not sent.
func (l *letter) drop() {
	logwire.CloseFDs(l.FDs)
	if l.sent != nil {
		l.sent <- false
	}
}

// putOutput sends output of a stream, a copy of p. With later set it need not
// be sent before flush is called.
func (o *outbox) putOutput(kind logwire.Kind, c *channel, p []byte, later bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.size > outboxRoom && !o.closed && !o.missed {
		late := false
		timer := time.AfterFunc(outboxPatience, func() {
			o.mu.Lock()
			late = true
			o.mu.Unlock()
			o.changed.Broadcast()
		})
		for o.size > outboxRoom && !o.closed && !late {
			o.changed.Wait()
		}
		timer.Stop()
	}
	if o.closed {
		return
	}
	if o.missed = o.size > outboxRoom; o.missed {
		return
	}
	buf := outputBuffers.Get().(*[]byte)
	*buf = append((*buf)[:0], p...)
	o.size += len(p)
	o.queue = append(o.queue, letter{Message: logwire.Message{Kind: kind, Stream: c.id, PID: c.pid, Data: *buf}})
	if !later || o.size > outboxRoom {
		o.changed.Broadcast()
	}
}

// flush sends what was put to be sent later, without waiting: what supd does not
// take at once is left to the goroutine.
func (o *outbox) flush() {
	batch := o.begin(false)
	if batch == nil {
		return
	}
	n := 0
	if o.shares.Load() {
		n, _ = o.sendShared(batch, false)
	}
	o.end(batch, batch[n:])
}

// end is called by whoever sent, with what begin has given, and what of it was
// not sent.
func (o *outbox) end(batch, unsent []letter) {
	o.mu.Lock()
	if len(unsent) > 0 {
		// What was put meanwhile comes after it.
		o.queue = append(slices.Clone(unsent), o.queue...)
	}
	clear(batch)
	o.spare = batch[:0]
	o.sending = false
	more := len(o.queue) > 0 || o.closed
	o.mu.Unlock()
	if more {
		o.changed.Broadcast()
	}
}

// begin takes the queue, for sending it, and makes the caller the one who sends.
// It waits until there is something and nobody else sends, or returns nil if it
// is not to wait. It also returns nil when the outbox is closed and empty.
func (o *outbox) begin(wait bool) []letter {
	o.mu.Lock()
	defer o.mu.Unlock()
	for wait && (len(o.queue) == 0 && !o.closed || o.sending) {
		o.changed.Wait()
	}
	if len(o.queue) == 0 || o.sending {
		return nil
	}
	batch := o.queue
	o.queue, o.spare = o.spare[:0], nil
	o.sending = true
	return batch
}

// sendShared sends the first few of some letters, several to a datagram, and
// tells how many: all, unless there is an error.
func (o *outbox) sendShared(batch []letter, wait bool) (int, error) {
	o.messages = o.messages[:0]
	for i := range batch {
		o.messages = append(o.messages, &batch[i].Message)
	}
	n, err := o.conn.SendAll(o.messages, wait)
	for i := range batch[:n] {
		o.sent(&batch[i], nil)
	}
	return n, err
}

var outputBuffers = sync.Pool{New: func() any { return new([]byte) }}

func (o *outbox) run() {
	defer close(o.done)
	defer o.conn.Close()
	for {
		batch := o.begin(true)
		if batch == nil {
			return
		}
		left := batch
		for len(left) > 0 {
			n, err := 0, error(nil)
			if o.shares.Load() {
				n, err = o.sendShared(left, true)
			}
			left = left[n:]
			if len(left) == 0 {
				break
			}
			if n == 0 && err == nil {
				err = o.conn.Send(&left[0].Message)
			}
			o.sent(&left[0], err)
			left = left[1:]
			if err != nil && (errors.Is(err, os.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded)) {
				o.abandon(left)
				return
			}
		}
		o.end(batch, nil)
	}
}

// sent takes back what belonged to a letter.
func (o *outbox) sent(m *letter, err error) {
	logwire.CloseFDs(m.FDs)
	if m.sent != nil {
		m.sent <- err == nil
	}
	if m.Kind != logwire.Data && m.Kind != logwire.Comm {
		return
	}
	o.mu.Lock()
	full := o.size > outboxRoom
	o.size -= len(m.Data)
	o.mu.Unlock()
	if full {
		o.changed.Broadcast()
	}
	buf := m.Data
	outputBuffers.Put(&buf)
}

// abandon drops what cannot be sent any more.
func (o *outbox) abandon(rest []letter) {
	o.mu.Lock()
	o.closed = true
	rest = append(rest, o.queue...)
	o.queue = nil
	o.mu.Unlock()
	for i := range rest {
		rest[i].drop()
	}
	o.changed.Broadcast()
}

// close ends the outbox, and the connection, once what is in it has been sent
// or d has passed.
func (o *outbox) close(d time.Duration) {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	_ = o.conn.SetWriteDeadline(time.Now().Add(d))
	o.changed.Broadcast()
	if d > 0 {
		<-o.done
	}
}
