package daemon

import (
	"container/heap"
	"time"
)

// timer is a function that the loop runs when its time has come.
type timer struct {
	at    time.Duration
	f     func()
	index int // in the heap, -1 outside
}

// timers is the set of everything that is due some time. The loop arms one
// real timer for the nearest.
type timers struct{ heap timerHeap }

// set arms t for a moment, anew if it was armed.
func (ts *timers) set(t *timer, at time.Duration) {
	if t.index >= 0 && t.index < len(ts.heap) && ts.heap[t.index] == t {
		if t.at != at {
			t.at = at
			heap.Fix(&ts.heap, t.index)
		}
		return
	}
	t.at = at
	heap.Push(&ts.heap, t)
}

// clear disarms t.
func (ts *timers) clear(t *timer) {
	if t.index >= 0 && t.index < len(ts.heap) && ts.heap[t.index] == t {
		heap.Remove(&ts.heap, t.index)
	}
}

// next tells when the nearest is due.
func (ts *timers) next() (time.Duration, bool) {
	if len(ts.heap) == 0 {
		return 0, false
	}
	return ts.heap[0].at, true
}

// run calls what is due by now.
func (ts *timers) run(now time.Duration) {
	for len(ts.heap) > 0 && ts.heap[0].at <= now {
		heap.Pop(&ts.heap).(*timer).f()
	}
}

func newTimer(f func()) *timer { return &timer{f: f, index: -1} }

// after runs f once, d from now.
func (d *Daemon) after(wait time.Duration, f func()) *timer {
	t := newTimer(f)
	d.timers.set(t, d.now()+wait)
	return t
}

type timerHeap []*timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}
