package daemon

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"sup/lib/rpc"
	"sup/supd/internal/suspend"
)

// wait is a call of a client that waits for processes. Before an upgrade in
// place it is broken off: a client whose connection can be kept hears nothing
// of that, since the next image makes the call again; others are told.
type wait struct {
	kept     bool // it will be made again
	breakOff func()
}

// waitMemo is what a call needs to go on. What concerns one process needs
// nothing: it is asked for what it waited for, not to start or stop again.
type waitMemo struct {
	// Pending are the processes that are still waited for, group and name.
	Pending [][2]string
	// Came are the results of the others.
	Came []rpc.Result
}

// noMemo is that of a call about one process.
func noMemo() waitMemo { return waitMemo{} }

// waitsFor tells whether a process is still waited for.
func (m waitMemo) waitsFor(p *proc) bool {
	return slices.Contains(m.Pending, [2]string{p.group.name(), p.cfg.Name})
}

// resumed tells whether a call goes on that was broken off, and its memo.
func resumed(ctx context.Context) (m waitMemo, yes bool) {
	text, _ := suspend.Memo(ctx)
	if text == nil {
		return m, false
	}
	return m, json.Unmarshal(text, &m) == nil
}

// waiting is call for a call that may wait for processes. The function memo
// tells what it needs to go on if it is broken off.
func waiting[T any](ctx context.Context, d *Daemon, memo func() waitMemo, f func(reply func(T, error))) (T, error) {
	return call(ctx, d, func(answer func(T, error)) {
		w := new(wait)
		answered := false
		reply := func(v T, err error) {
			// What the call has left with processes may come later.
			if !answered {
				answered = true
				delete(d.waits, w)
				answer(v, err)
			}
		}
		_, w.kept = suspend.Memo(ctx)
		w.breakOff = func() {
			var none T
			text, err := json.Marshal(memo())
			if err == nil {
				err = &suspend.Error{Memo: text}
			}
			reply(none, err)
		}
		f(reply)
		if answered {
			return
		}
		d.waits[w] = struct{}{}
		if d.suspending && w.kept {
			w.breakOff()
		}
	})
}

// otherWaits is how long an upgrade lets calls go on that cannot be kept.
const otherWaits = 2 * time.Second

// suspendWaits breaks off the calls that wait, those that cannot be kept a
// little later.
func (d *Daemon) suspendWaits() {
	d.suspending = true
	for w := range d.waits {
		if w.kept {
			w.breakOff()
		}
	}
	d.after(otherWaits, func() {
		for w := range d.waits {
			if d.suspending {
				w.breakOff()
			}
		}
	})
}
