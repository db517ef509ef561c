package server

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"sup/lib/plan"
	"sup/lib/rpc"
)

// bounds are plan.Limits with the defaults in their place.
type bounds struct {
	conns, followers int
	body, values     int
	timeout          time.Duration // for a request to arrive
}

const (
	defaultBody    = 16 << 20
	defaultTimeout = 60 * time.Second
)

func newBounds(l plan.Limits, maxConns int) bounds {
	b := bounds{
		conns: l.Connections, followers: l.Followers,
		body: int(l.Body), values: l.Values, timeout: time.Duration(l.Seconds) * time.Second,
	}
	if b.conns == 0 {
		b.conns = maxConns
	}
	// Followers stay as long as they like: there must be room for others.
	if half := max(1, b.conns/2); b.followers == 0 || b.followers > half {
		b.followers = half
	}
	if b.body == 0 {
		b.body = defaultBody
	}
	if b.values == 0 {
		b.values = rpc.MaxValues
	}
	if b.timeout == 0 {
		b.timeout = defaultTimeout
	}
	return b
}

// budget bounds the memory that large requests and answers take together.
type budget struct{ left atomic.Int64 }

// budgetBodies is the size of the budget, in largest requests: one that was
// received, what it says, and as much for others.
const budgetBodies = 3

// take takes n bytes if there are as many.
func (b *budget) take(n int64) bool {
	if b.left.Add(-n) < 0 {
		b.left.Add(n)
		return false
	}
	return true
}

func (b *budget) give(n int64) { b.left.Add(n) }

// turns lets large requests be read one after the other, or several that are
// not so large: what they say takes several times their size while they are
// read. They are served in the order in which they came.
type turns struct {
	all   int64 // the most that a turn can take
	mu    sync.Mutex
	room  int64 // what is left of it
	queue []*turn
}

// turnWeight is how many times its size a request may take while it is read:
// <value/>, 8 bytes, becomes more than a hundred.
const turnWeight = 16

type turn struct {
	size int64
	come chan struct{}
}

// wait waits for a turn of a size, which must be given back; the error is ctx's.
func (t *turns) wait(ctx context.Context, size int64) error {
	t.mu.Lock()
	if len(t.queue) == 0 && t.room >= size {
		t.room -= size
		t.mu.Unlock()
		return nil
	}
	own := &turn{size, make(chan struct{})}
	t.queue = append(t.queue, own)
	t.mu.Unlock()
	select {
	case <-own.come:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, q := range t.queue {
		if q == own {
			t.queue = append(t.queue[:i], t.queue[i+1:]...)
			t.admit()
			return ctx.Err()
		}
	}
	t.room += size // the turn came at the same moment
	t.admit()
	return ctx.Err()
}

func (t *turns) give(size int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.room += size
	t.admit()
}

// admit lets those in for whom there is room. mu is held.
func (t *turns) admit() {
	for len(t.queue) > 0 && t.room >= t.queue[0].size {
		first := t.queue[0]
		t.queue = t.queue[1:]
		t.room -= first.size
		close(first.come)
	}
}

// count is a number of things that come and go. Unlike a sync.WaitGroup it may
// grow again while somebody waits, who may also give up.
type count struct {
	mu sync.Mutex
	n  int
	// gone is closed when n becomes 0; nil while nobody waits.
	gone chan struct{}
}

func (c *count) add() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
}

func (c *count) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n--; c.n == 0 && c.gone != nil {
		close(c.gone)
		c.gone = nil
	}
}

// none waits for a moment at which there is none; the error is ctx's.
func (c *count) none(ctx context.Context) error {
	c.mu.Lock()
	if c.n == 0 {
		c.mu.Unlock()
		return nil
	}
	if c.gone == nil {
		c.gone = make(chan struct{})
	}
	gone := c.gone
	c.mu.Unlock()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
