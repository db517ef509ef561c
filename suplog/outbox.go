package main

import (
	"errors"
	"os"
	"sync"
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
// goroutine of its own. Answers never wait for room, output does.
type outbox struct {
	conn *logwire.Conn

	mu      sync.Mutex
	changed sync.Cond
	queue   []letter
	size    int  // bytes of output in the queue
	missed  bool // output was left out lately
	closed  bool
	done    chan struct{}
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

// putOutput sends output of a stream, a copy of p.
func (o *outbox) putOutput(kind logwire.Kind, c *channel, p []byte) {
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
	o.changed.Broadcast()
}

var outputBuffers = sync.Pool{New: func() any { return new([]byte) }}

func (o *outbox) run() {
	defer close(o.done)
	defer o.conn.Close()
	var batch []letter
	for {
		o.mu.Lock()
		for len(o.queue) == 0 && !o.closed {
			o.changed.Wait()
		}
		batch, o.queue = o.queue, batch[:0]
		o.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for i := range batch {
			err := o.conn.Send(&batch[i].Message)
			o.sent(&batch[i], err)
			if err != nil && (errors.Is(err, os.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded)) {
				o.abandon(batch[i+1:])
				return
			}
		}
		clear(batch)
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
