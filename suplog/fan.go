package main

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/logfile"
)

// target is one of several logs of a stream. A stream with more than one goes
// through memory: a piece of it is taken away from the pipe when its outcome is
// in all of them. So a log that cannot be written holds the others up, but only
// for a moment; then, unless the program is to wait, that log alone misses what
// is written.
type target struct {
	sink *sink
	rest []byte // of the present piece, still to be written
	held bool   // the sink is locked by us

	// skipping is set while the log misses what is written; inLine if the
	// beginning of the line that goes on was among that.
	skipping, inLine bool
	probing          bool   // it may be over
	skipped          uint64 // bytes, not told yet
	told             time.Time
	why              error
}

// aim makes sinks the logs of the channel. What is on its way to a log that
// stays still goes there.
func (c *channel) aim(sinks []*sink) {
	before := c.targets
	if before == nil && c.sink != nil {
		before = []*target{{sink: c.sink, rest: c.piece.rest}}
	}
	if len(sinks) == 1 {
		if len(c.targets) > 0 && c.piece.active {
			i := max(slices.IndexFunc(before, func(t *target) bool { return t.sink == sinks[0] }), 0)
			c.piece.rest = before[i].rest
		}
		c.tellSkipped(time.Time{})
		c.sink, c.targets = sinks[0], nil
		return
	}
	if len(c.targets) == 0 && c.piece.active && !slices.Contains(sinks, before[0].sink) {
		before[0].sink = sinks[0]
	}
	c.sink, c.targets = sinks[0], nil
	for _, s := range sinks {
		t := &target{sink: s}
		if i := slices.IndexFunc(before, func(old *target) bool { return old.sink == s }); i >= 0 {
			t = before[i]
		}
		c.targets = append(c.targets, t)
	}
}

// sinks are the logs of the channel.
func (c *channel) sinks() []*sink {
	if len(c.targets) == 0 {
		return []*sink{c.sink}
	}
	var sinks []*sink
	for _, t := range c.targets {
		sinks = append(sinks, t.sink)
	}
	return sinks
}

// eachSink calls f for each log and returns the first error.
func (c *channel) eachSink(f func(*sink) error) (first error) {
	for _, s := range c.sinks() {
		if err := f(s); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// tryOpen opens the logs that are not open.
func (c *channel) tryOpen() error { return c.eachSink((*sink).tryOpen) }

// reason is what keeps the channel from being written, nil if nothing does.
func (c *channel) reason() error {
	if len(c.targets) == 0 {
		return c.sink.reason()
	}
	for _, t := range c.targets {
		if why := t.sink.reason(); why != nil && !t.skipping {
			return why
		}
	}
	return nil
}

// fan takes a piece of the stream and writes what becomes of it to every log.
func (c *channel) fan(limit int, now time.Time) (int, verdict) {
	if c.piece.active {
		if !c.hold(now, func(t *target) bool { return len(t.rest) > 0 }) {
			return 0, down
		}
		return c.fanOut(now)
	}
	c.stage(now)
	// A piece that was staged by a suplog before us comes first.
	again := c.staging.holds()
	pipe, state, at := c.pipe, c.state, now
	var marks []mark
	if again {
		was := c.staging.load(c.staging.current())
		pipe, state, at = c.staging.r, was.state, time.Unix(0, was.time)
		marks = c.staging.loadMarks(len(c.targets))
	}
	p := logfile.BorrowPeeker()
	defer p.Return()
	seen, err := p.Peek(pipe)
	if err != nil {
		return 0, c.pipeVerdict(err, now)
	}
	if !c.hold(now, func(*target) bool { return true }) {
		return 0, down
	}
	if !again {
		if seen, err = c.fanTake(seen[:min(len(seen), limit)], now); err != nil {
			c.unhold()
			return 0, down
		}
	}
	plain, lines := c.tr.Transform(&state, seen, at)
	for i, t := range c.targets {
		switch {
		case !t.held:
			t.skip(lines)
		case again:
			n := t.sink.alreadyThere(lines, &slot{offset: marks[i].offset, file: marks[i].file})
			t.rest = lines[n:]
			if n == 0 {
				marks[i].offset, marks[i].file, _ = t.sink.file.End()
			}
		default:
			t.rest = t.resume(lines)
		}
	}
	if again {
		c.staging.storeMarks(marks)
	}
	c.piece = piece{active: true, n: len(seen), next: state, plain: plain, ends: c.tr.Ends}
	return c.fanOut(now)
}

// fanTake decides how much of what was seen becomes the next piece, and moves
// it to the staging pipe, if there is one. The sinks are held.
func (c *channel) fanTake(seen []byte, now time.Time) ([]byte, error) {
	marks := make([]mark, len(c.targets))
	for i, t := range c.targets {
		if !t.held {
			continue
		}
		if _, _, err := t.sink.file.End(); err != nil {
			return nil, t.sink.failed(err, now)
		}
		seen = upToRotation(seen, t.sink.file.Room()) // which may rotate it for its age
		var err error
		if marks[i].offset, marks[i].file, err = t.sink.file.End(); err != nil {
			return nil, t.sink.failed(err, now)
		}
	}
	if c.staging == nil {
		return seen, nil
	}
	c.staging.storeMarks(marks)
	n, err := c.staging.begin(c.pipe, len(seen), 0, 0, now)
	return seen[:n], err
}

// fanOut writes what is left of the present piece and, when all of it is
// written, takes the piece away and tells of it. The sinks are held; they are
// not afterwards.
func (c *channel) fanOut(now time.Time) (int, verdict) {
	v, left := moved, false
	for _, t := range c.targets {
		if !t.held || len(t.rest) == 0 {
			left = left || len(t.rest) > 0
			continue
		}
		n, err := t.sink.file.WriteUndivided(t.rest)
		t.rest = t.rest[n:]
		if err != nil && t.probing {
			_ = t.sink.judge(0, err, now)
			t.skipping = true
			continue
		}
		if err != nil {
			left = true
			if v = t.sink.judge(0, err, now); v != slow {
				v = down
			}
			continue
		}
		t.probing = false
		t.sink.worked()
		t.sink.file.RotateIfDue()
	}
	c.unhold()
	for _, t := range c.targets {
		if t.skipping && len(t.rest) > 0 {
			t.giveUp()
		}
	}
	if left {
		c.keepTargets()
		return 0, v
	}
	done := c.takeAway()
	c.publish(done.plain, done.ends, now)
	c.tellSkipped(now)
	return done.n, moved
}

// hold locks the sinks of those targets that are wanted, always in the same
// order, since other streams may want several of them, too. It returns false,
// and holds none, if one cannot be written that should be.
func (c *channel) hold(now time.Time, wanted func(*target) bool) bool {
	order := slices.SortedFunc(slices.Values(c.targets), func(a, b *target) int { return strings.Compare(a.sink.key, b.sink.key) })
	for _, t := range order {
		if !wanted(t) || t.skipping && (c.closing || c.leaving) {
			continue
		}
		switch err := t.sink.acquire(-1, now); {
		case err == nil:
			t.held, t.probing, t.skipping = true, t.skipping, false
		case !t.skipping:
			c.unhold()
			return false
		}
	}
	return true
}

func (c *channel) unhold() {
	for _, t := range c.targets {
		if t.held {
			t.held = false
			t.sink.mu.Unlock()
		}
	}
}

// keepTargets makes the present piece independent of the buffers that it was
// made in, because it has to wait.
func (c *channel) keepTargets() {
	if c.piece.kept {
		return
	}
	c.piece.kept = true
	c.piece.plain, c.piece.ends = bytes.Clone(c.piece.plain), slices.Clone(c.piece.ends)
	for _, t := range c.targets {
		t.rest = bytes.Clone(t.rest)
	}
}

// skipStuck lets those logs miss what is written that cannot take it.
func (c *channel) skipStuck(now time.Time) {
	for _, t := range c.targets {
		why := t.sink.reason()
		if why == nil && len(t.rest) > 0 {
			why = unix.EAGAIN
		}
		if why == nil || t.skipping {
			continue
		}
		t.skipping, t.why, t.told = true, why, now
		t.giveUp()
	}
}

// giveUp gives up the rest of the present piece, and the beginning of its first
// line if that is written already. The sink is not held.
func (t *target) giveUp() {
	if n := t.sink.cutPartialLine(); n > 0 {
		t.skipped += uint64(n)
		t.inLine = true
	}
	t.skip(t.rest)
	t.rest = nil
}

// skip counts what the log misses.
func (t *target) skip(p []byte) {
	if len(p) > 0 {
		t.skipped += uint64(len(p))
		t.inLine = p[len(p)-1] != '\n'
	}
}

// resume gives what of p the log gets: not the rest of a line whose beginning
// it has missed.
func (t *target) resume(p []byte) []byte {
	if !t.inLine {
		return p
	}
	n := bytes.IndexByte(p, '\n') + 1
	if n == 0 {
		n = len(p)
	}
	t.skip(p[:n])
	return p[n:]
}

// tellSkipped tells what logs have missed: when that is over, and now and then
// while it lasts; all of it if now is zero.
func (c *channel) tellSkipped(now time.Time) {
	for _, t := range c.targets {
		if t.skipped == 0 || !now.IsZero() && (t.skipping || t.inLine) && now.Sub(t.told) < dropReport {
			continue
		}
		c.host.dropped(c, t.skipped, t.why)
		t.skipped, t.told = 0, now
	}
}
