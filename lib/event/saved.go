package event

import "unicode/utf8"

// Saved is what a pool knows, as plain values that can be written down: for a
// daemon that replaces itself in place while its listeners run on.
type Saved struct {
	Name       string
	PoolSerial int64
	Waiting    []SavedEvent
	Listeners  []SavedListener
}

// SavedEvent is an event in a pool.
type SavedEvent struct {
	Type               string
	Payload            string
	Serial, PoolSerial int64
	Held               bool
}

// SavedListener is where a listener stands.
type SavedListener struct {
	Name    string
	State   ListenerState
	Buffer  []byte // the beginning of a token
	Want    int
	Deaf    bool
	Current *SavedEvent // what it is busy with
}

// Save tells what the pool knows.
func (p *Pool) Save() Saved {
	s := Saved{Name: p.config.Name, PoolSerial: p.serial}
	waiting := p.buffer
	waiting.counted, waiting.held = waiting.counted.clone(), waiting.held.clone()
	waiting.back = append([]entry(nil), waiting.back...)
	for waiting.len() > 0 {
		s.Waiting = append(s.Waiting, waiting.pop().saved())
	}
	for i := range p.listeners {
		l := &p.listeners[i]
		sl := SavedListener{
			Name: l.name, State: l.protocol.state, Buffer: l.protocol.buf, Want: l.protocol.want, Deaf: l.deaf,
		}
		if l.current.numbered != nil {
			e := l.current.saved()
			sl.Current = &e
		}
		s.Listeners = append(s.Listeners, sl)
	}
	return s
}

func (e entry) saved() SavedEvent {
	return SavedEvent{Type: e.Type.String(), Payload: e.Payload, Serial: e.serial, PoolSerial: e.poolSerial, Held: e.held}
}

// Restore gives a pool that was just opened what another one knew. Process
// must have been told of the listeners' states before.
func (p *Pool) Restore(s Saved) []Effect {
	p.serial = max(p.serial, s.PoolSerial)
	for _, e := range s.Waiting {
		if r, ok := e.restored(); ok {
			p.buffer.push(r)
		}
	}
	for _, sl := range s.Listeners {
		l := p.find(sl.Name)
		if l == nil {
			continue
		}
		l.protocol = Protocol{state: sl.State, buf: sl.Buffer, want: sl.Want}
		l.deaf = sl.Deaf
		if sl.Current != nil {
			l.current, _ = sl.Current.restored()
		}
		if (l.current.numbered != nil) != (sl.State == Busy) {
			l.current = entry{}
			l.protocol.Fail()
		}
	}
	return p.dispatch(nil)
}

func (e SavedEvent) restored() (entry, bool) {
	t, ok := ByName(e.Type)
	if !ok || !t.Leaf() {
		return entry{}, false
	}
	n := &numbered{Event{t, e.Payload}, e.Serial, utf8.RuneCountInString(e.Payload)}
	return entry{numbered: n, poolSerial: e.PoolSerial, held: e.Held}, true
}
