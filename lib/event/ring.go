package event

// ring is a first-in first-out queue that grows as needed and lets go of its
// memory when it is empty.
type ring[T any] struct {
	slots []T // its length is 0 or a power of two
	first int
	n     int
}

// keepSlots is the capacity that an empty ring keeps.
const keepSlots = 1024

func (r *ring[T]) len() int { return r.n }

func (r *ring[T]) push(v T) {
	if r.n == len(r.slots) {
		grown := make([]T, max(8, 2*len(r.slots)))
		k := copy(grown, r.slots[r.first:])
		copy(grown[k:], r.slots[:r.first])
		r.slots, r.first = grown, 0
	}
	r.slots[(r.first+r.n)&(len(r.slots)-1)] = v
	r.n++
}

// front is the oldest element; the ring must not be empty.
func (r *ring[T]) front() *T { return &r.slots[r.first] }

// pop takes the oldest element out; the ring must not be empty.
func (r *ring[T]) pop() T {
	v := r.slots[r.first]
	var zero T
	r.slots[r.first] = zero
	r.first = (r.first + 1) & (len(r.slots) - 1)
	r.n--
	if r.n == 0 && len(r.slots) > keepSlots {
		r.slots, r.first = nil, 0
	}
	return v
}

// clone is a copy that can be emptied without harm to r.
func (r *ring[T]) clone() ring[T] {
	return ring[T]{slots: append([]T(nil), r.slots...), first: r.first, n: r.n}
}
