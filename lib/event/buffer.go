package event

import "slices"

// numbered is an event with the number that all pools share. It is made once
// and never changed.
type numbered struct {
	Event
	serial int64
	chars  int // length of the payload in characters
}

// entry is an event in one pool.
type entry struct {
	*numbered
	poolSerial int64
	// held marks one that does not count against the buffer's size.
	held bool
}

// size is about what an entry costs in memory, in bytes.
func (e entry) size() int { return len(e.Payload) + 128 }

// buffer is where the events of a pool wait, in the order of their pool
// serials. It is three queues, each in that order, so that everything takes
// constant time: events that came in, of those that count and those that are
// held, and events that came back.
type buffer struct {
	counted, held ring[entry]
	// back never holds more entries than the pool has listeners: each of them
	// had one of these, and none gets a newer event while an older one waits.
	back []entry

	backCounted int // entries of back that count
	heldBytes   int // size of all entries that are held
}

func (b *buffer) len() int { return b.counted.len() + b.held.len() + len(b.back) }

// countedLen is the number of entries that count against the size.
func (b *buffer) countedLen() int { return b.counted.len() + b.backCounted }

// push adds an entry that is newer than all others.
func (b *buffer) push(e entry) {
	if e.held {
		b.heldBytes += e.size()
		b.held.push(e)
	} else {
		b.counted.push(e)
	}
}

// putBack adds an entry that was taken out before.
func (b *buffer) putBack(e entry) {
	if e.held {
		b.heldBytes += e.size()
	} else {
		b.backCounted++
	}
	i := 0
	for i < len(b.back) && b.back[i].poolSerial < e.poolSerial {
		i++
	}
	b.back = slices.Insert(b.back, i, e)
}

// pop takes the oldest entry out. The buffer must not be empty.
func (b *buffer) pop() entry {
	from := &b.counted
	if b.counted.len() == 0 || b.held.len() > 0 && b.held.front().poolSerial < b.counted.front().poolSerial {
		from = &b.held
	}
	if len(b.back) > 0 && (from.len() == 0 || b.back[0].poolSerial < from.front().poolSerial) {
		return b.takeBack(0)
	}
	e := from.pop()
	if e.held {
		b.heldBytes -= e.size()
	}
	return e
}

// popCounted takes out the oldest entry of those that count. There must be one.
func (b *buffer) popCounted() entry {
	i := slices.IndexFunc(b.back, func(e entry) bool { return !e.held })
	if i >= 0 && (b.counted.len() == 0 || b.back[i].poolSerial < b.counted.front().poolSerial) {
		return b.takeBack(i)
	}
	return b.counted.pop()
}

func (b *buffer) takeBack(i int) entry {
	e := b.back[i]
	b.back = slices.Delete(b.back, i, i+1)
	if e.held {
		b.heldBytes -= e.size()
	} else {
		b.backCounted--
	}
	return e
}
