package event

import (
	"encoding/json"
	"testing"
)

// A pool goes over to another hub as it is: what waits, who is busy with what,
// and half a token.
func TestSaveAndRestore(t *testing.T) {
	open := func(h *Hub) *Pool {
		all, _ := Subscription([]string{"EVENT"})
		return h.Open(PoolConfig{Name: "p", BufferSize: 10, Events: all, Listeners: []string{"a", "b"}})
	}
	var old Hub
	pool := open(&old)
	for _, name := range []string{"a", "b"} {
		pool.Process(name, "STARTING")
		pool.Process(name, "RUNNING")
	}
	pool.Output("a", []byte("READY\n"))
	for _, group := range []string{"one", "two", "three"} {
		old.Publish(GroupAdded(group))
	}
	pool.Output("b", []byte("REA"))

	text, err := json.Marshal(pool.Save())
	if err != nil {
		t.Fatal(err)
	}
	if pool.Stats() != (Stats{Waiting: 2, Busy: 1}) {
		t.Fatalf("saving changed the pool: %+v", pool.Stats())
	}
	var saved Saved
	if err := json.Unmarshal(text, &saved); err != nil {
		t.Fatal(err)
	}

	var hub Hub
	hub.Resume(old.Serial())
	next := open(&hub)
	next.Process("a", "RUNNING")
	next.Process("b", "RUNNING")
	if fx := next.Restore(saved); len(fx) != 0 {
		t.Fatalf("restoring sends %v", fx)
	}
	if next.Stats() != (Stats{Waiting: 2, Busy: 1}) || next.ListenerState("a") != Busy {
		t.Fatalf("got %+v, a is %v", next.Stats(), next.ListenerState("a"))
	}
	// The rest of b's token brings it the event that waits longest.
	fx := next.Output("b", []byte("DY\n"))
	if len(fx) != 1 || string(fx[0].(Send).Data) != "ver:3.0 server: serial:1 pool:p poolserial:1 eventname:PROCESS_GROUP_ADDED len:14\ngroupname:two\n" {
		t.Fatalf("got %q", fx)
	}
	// What a was busy with is done with.
	next.Output("a", []byte("RESULT 2\nOK"))
	fx = next.Output("a", []byte("READY\n"))
	if len(fx) != 1 || fx[0].(Send).Listener != "a" {
		t.Fatalf("got %v", fx)
	}
	if hub.Serial() != 3 {
		t.Errorf("serial %d, want 3", hub.Serial())
	}
}
