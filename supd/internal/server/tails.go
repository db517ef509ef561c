package server

import (
	"context"
	"sync"
	"time"

	"sup/lib/rpc"
)

// tails are the logs that are being streamed. A log that a client has had
// cleared goes on from its beginning without a word, as it does for
// Supervisor's clients; that it was cut short is news only if somebody else
// did it.
type tails struct {
	mu   sync.Mutex
	open map[*tail]struct{}
}

// tail is one log that is being streamed: that of a process, or the activity
// log, whose group and process are "".
type tail struct {
	group, process string
	cleared        time.Time // when somebody last asked for that, under tails.mu
}

// clearPatience is how long after a request to clear a log its cutting short
// is put down to it. A stream looks at least every two seconds.
const clearPatience = 10 * time.Second

// add notes that a log is streamed until done is called.
func (ts *tails) add(group, process string) (t *tail, done func()) {
	t = &tail{group: group, process: process}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.open == nil {
		ts.open = make(map[*tail]struct{})
	}
	ts.open[t] = struct{}{}
	return t, func() {
		ts.mu.Lock()
		defer ts.mu.Unlock()
		delete(ts.open, t)
	}
}

// clearing notes that the logs which match are about to be cleared.
func (ts *tails) clearing(match func(t *tail) bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for t := range ts.open {
		if match(t) {
			t.cleared = time.Now()
		}
	}
}

// wasCleared tells, once, whether a log that became shorter was cleared.
func (ts *tails) wasCleared(t *tail) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	since := time.Since(t.cleared)
	t.cleared = time.Time{}
	return since < clearPatience
}

// noticing is a backend that tells the streams of logs which ones are cleared.
type noticing struct {
	Backend
	tails *tails
}

func (n noticing) ClearLogs(ctx context.Context, group, process string) error {
	n.tails.clearing(func(t *tail) bool { return t.group == group && t.process == process })
	return n.Backend.ClearLogs(ctx, group, process)
}

func (n noticing) ClearAllLogs(ctx context.Context) ([]rpc.Result, error) {
	n.tails.clearing(func(t *tail) bool { return t.group != "" })
	return n.Backend.ClearAllLogs(ctx)
}

func (n noticing) ClearMainLog(ctx context.Context) error {
	n.tails.clearing(func(t *tail) bool { return t.group == "" })
	return n.Backend.ClearMainLog(ctx)
}
