package event

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// fakeListener is a listener process seen from outside.
type fakeListener struct {
	name string
	up   bool
	busy int // serial of the event it has, or -1
}

// TestRandomDeaths sends events to a pool whose listeners die, answer, reject
// and start at random. Every event must be processed exactly once or be
// reported as thrown away, none may be thrown away while there is room, and the
// processed ones of a pool of one must be in order.
func TestRandomDeaths(t *testing.T) {
	for _, test := range []struct{ listeners, size, events int }{
		{1, 1 << 20, 5000}, {1, 10, 5000}, {3, 1 << 20, 5000}, {3, 5, 5000}, {2, 1, 2000},
	} {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("%d listeners, buffer %d, seed %d", test.listeners, test.size, seed), func(t *testing.T) {
				randomDeaths(t, rand.New(rand.NewPCG(seed, 1)), test.listeners, test.size, test.events)
			})
		}
	}
}

func randomDeaths(t *testing.T, random *rand.Rand, n, size, events int) {
	hub := &Hub{}
	listeners := map[string]*fakeListener{}
	for i := range n {
		name := fmt.Sprintf("l%d", i)
		listeners[name] = &fakeListener{name: name, busy: -1}
	}
	names := make([]string, 0, n)
	for name := range listeners {
		names = append(names, name)
	}
	slices.Sort(names)
	pool := hub.Open(PoolConfig{Name: "p", BufferSize: size, Events: Any.Leaves(), Listeners: names})

	fate := make([]string, events) // what became of each event
	var order []int
	do := func(fx []Effect) {
		for _, f := range fx {
			switch f := f.(type) {
			case Send:
				l := listeners[f.Listener]
				h := header(t, f.Data)
				if !l.up || l.busy >= 0 {
					t.Fatalf("event %s sent to %+v", h["serial"], l)
				}
				if h["serial"] != h["poolserial"] {
					t.Fatalf("numbers differ: %v", h)
				}
				l.busy, _ = strconv.Atoi(h["serial"])
				if was := fate[l.busy]; was != "" {
					t.Fatalf("event %d sent although %s", l.busy, was)
				}
			case Log:
				if text, ok := strings.CutPrefix(f.Text, "pool p event buffer overflowed, discarding event "); ok {
					serial, err := strconv.Atoi(text)
					if err != nil || fate[serial] != "" {
						t.Fatalf("%q, event was %q", f.Text, fate[serial])
					}
					fate[serial] = "discarded"
				}
			}
		}
		if s := pool.Stats(); s.Waiting > size {
			t.Fatalf("%d events wait in a buffer for %d", s.Waiting, size)
		}
	}
	act := func(l *fakeListener) {
		switch {
		case !l.up:
			do(pool.Process(l.name, "STARTING"))
			do(pool.Process(l.name, "RUNNING"))
			l.up = true
			do(pool.Output(l.name, []byte("READY\n")))
		case l.busy < 0:
		case random.IntN(10) == 0: // dies, perhaps in the middle of its answer
			l.up, l.busy = false, -1
			do(pool.Output(l.name, []byte("RESULT 2\nO")[:random.IntN(11)]))
			do(pool.Process(l.name, "EXITED"))
		case random.IntN(10) == 0:
			l.busy = -1
			do(pool.Output(l.name, []byte("RESULT 4\nFAILREADY\n")))
		default:
			fate[l.busy] = "processed"
			order = append(order, l.busy)
			l.busy = -1
			do(pool.Output(l.name, []byte("RESULT 2\nOKREADY\n")))
		}
	}
	for published := 0; published < events; {
		if random.IntN(2) == 0 {
			before := pool.Stats()
			fx := hub.Publish(Remote("t", "d"))
			published++
			do(fx)
			if after := pool.Stats(); after.Dropped > before.Dropped && before.Waiting < size {
				t.Fatalf("dropped with %d of %d waiting", before.Waiting, size)
			}
		} else {
			act(listeners[names[random.IntN(n)]])
		}
	}
	for pool.Stats().Waiting+pool.Stats().Busy > 0 {
		for _, name := range names {
			act(listeners[name])
		}
	}
	for serial, what := range fate {
		if what == "" {
			t.Errorf("event %d is lost", serial)
		}
	}
	if n == 1 && !slices.IsSorted(order) {
		t.Error("events were processed out of order")
	}
}

// One event from Publish to the next READY of its listener.
func BenchmarkDelivery(b *testing.B) {
	hub := &Hub{Identifier: "supervisor"}
	pool := hub.Open(PoolConfig{Name: "l", BufferSize: 10, Events: Any.Leaves(), Listeners: []string{"l"}})
	pool.Process("l", "RUNNING")
	pool.Output("l", []byte("READY\n"))
	answer := []byte("RESULT 2\nOKREADY\n")
	b.ReportAllocs()
	for b.Loop() {
		e := StateChange{Process: "p", Group: "g", From: "STARTING", To: "RUNNING", PID: 4711}.Event()
		if len(hub.Publish(e)) != 1 {
			b.Fatal("not sent")
		}
		pool.Output("l", answer)
	}
}

// Events that wait in a large full buffer, each pushing out the oldest.
func BenchmarkOverflow(b *testing.B) {
	hub := &Hub{Identifier: "supervisor"}
	hub.Open(PoolConfig{Name: "l", BufferSize: 100_000, Events: Any.Leaves(), Listeners: []string{"l"}})
	e := Remote("type", "data")
	b.ReportAllocs()
	for b.Loop() {
		hub.Publish(e)
	}
}
