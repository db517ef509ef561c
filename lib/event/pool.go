package event

import (
	"fmt"
	"slices"
	"strings"
)

// holdBytes bounds, per pool, what is held for a listener that is starting.
// Beyond it events count against the buffer's size like any others.
const holdBytes = 16 << 20

// Pool is the listeners of one [eventlistener:x] section and the events that
// wait for one of them. Each event goes to exactly one listener.
type Pool struct {
	hub       *Hub
	config    PoolConfig
	listeners []listener // by name
	serial    int64      // of the next event
	buffer    buffer
	dropped   uint64
}

// listener is one process of a pool.
type listener struct {
	name string
	// state is that of the process, "" before its first start.
	state    string
	protocol Protocol
	// current is the event it is busy with. It is set exactly while the
	// protocol is Busy.
	current entry
	// deaf is set when its standard input turned out to be closed.
	deaf bool
}

func newPool(h *Hub, config PoolConfig) *Pool {
	if config.Handler == nil {
		config.Handler = DefaultHandler
	}
	p := &Pool{hub: h, config: config}
	for _, name := range slices.Sorted(slices.Values(config.Listeners)) {
		p.listeners = append(p.listeners, listener{name: name})
	}
	return p
}

// Name is the name of the pool.
func (p *Pool) Name() string { return p.config.Name }

// Stats are the figures of a pool.
type Stats struct {
	// Waiting events are in the buffer, Busy ones with a listener.
	Waiting, Busy int
	// Dropped counts the events that were thrown away since the pool was
	// opened.
	Dropped uint64
}

// Stats tells how the pool stands. A daemon that shuts down may wait a moment
// for Waiting and Busy to become 0.
func (p *Pool) Stats() Stats {
	s := Stats{Waiting: p.buffer.len(), Dropped: p.dropped}
	for i := range p.listeners {
		if p.listeners[i].protocol.State() == Busy {
			s.Busy++
		}
	}
	return s
}

// ListenerState tells where a listener stands in its protocol.
func (p *Pool) ListenerState(name string) ListenerState {
	if l := p.find(name); l != nil {
		return l.protocol.State()
	}
	return Lost
}

// Process tells that the process of a listener changed its state, given by its
// name, as in "RUNNING". An event that an ended process was busy with is
// delivered again.
func (p *Pool) Process(name, state string) []Effect {
	l := p.find(name)
	if l == nil {
		return nil
	}
	l.state = state
	var fx []Effect
	switch state {
	case "STARTING":
		fx = p.takeBack(fx, l)
		l.protocol, l.deaf = Protocol{}, false
	case "STOPPED", "EXITED", "BACKOFF", "FATAL":
		fx = p.takeBack(fx, l)
		l.protocol.Fail()
	}
	return p.dispatch(fx)
}

// Output takes what a listener wrote to its standard output.
func (p *Pool) Output(name string, data []byte) []Effect {
	l := p.find(name)
	if l == nil {
		return nil
	}
	var fx []Effect
	// Feed reads all of data before the first outcome is looked at, so the
	// state in between is followed here.
	before := l.protocol.State()
	for _, outcome := range l.protocol.Feed(data) {
		switch outcome.Kind {
		case GotReady:
			fx = p.moved(fx, l, before, Ready)
			before = Ready
		case GotResult:
			var sane bool
			if fx, sane = p.result(fx, l, outcome.Body); !sane {
				return p.dispatch(fx)
			}
			before = Acknowledged
		case GotJunk:
			fx = append(fx, Log{"WARN", fmt.Sprintf("%s: unexpected output: %s", l.name, quote(outcome.Body))})
			fx = p.moved(fx, l, before, Lost)
		case GotBadResult:
			fx = append(fx, Log{"WARN", fmt.Sprintf("%s: bad result line: %s", l.name, quote(outcome.Body))})
			fx = p.moved(fx, l, before, Lost)
			fx = p.takeBack(fx, l)
		}
	}
	return p.dispatch(fx)
}

// result deals with the result of the event that l was busy with. It tells
// whether the conversation goes on.
func (p *Pool) result(fx []Effect, l *listener, body []byte) ([]Effect, bool) {
	output, err := p.config.Handler(body)
	if len(output) > 0 {
		fx = append(fx, Print{output})
	}
	switch err {
	case nil:
		l.current = entry{}
		if p.hub.Debug {
			fx = append(fx, Log{"DEBG", l.name + ": event was processed"})
		}
		return p.moved(fx, l, Busy, Acknowledged), true
	case ErrRejected:
		fx = append(fx, Log{"WARN", l.name + ": event was rejected"})
		fx = p.moved(fx, l, Busy, Acknowledged)
		return p.takeBack(fx, l), true
	default:
		l.protocol.Fail()
		fx = append(fx, Log{"WARN", fmt.Sprintf("%s: event caused an error: %v", l.name, err)})
		fx = p.moved(fx, l, Busy, Lost)
		return p.takeBack(fx, l), false
	}
}

// Unreachable tells that the event last sent to a listener could not be
// written, because it closed its standard input. The event goes to another
// one; the listener gets no more until it is started again.
func (p *Pool) Unreachable(name string) []Effect {
	l := p.find(name)
	if l == nil || l.protocol.State() != Busy {
		return nil
	}
	var fx []Effect
	if p.hub.Debug {
		fx = append(fx, Log{"DEBG", fmt.Sprintf("epipe occurred while sending event %d to listener %s, listener state unchanged",
			l.current.serial, l.name)})
	}
	l.protocol.Recall()
	l.deaf = true
	return p.dispatch(p.takeBack(fx, l))
}

// moved logs a change of l's protocol state.
func (p *Pool) moved(fx []Effect, l *listener, from, to ListenerState) []Effect {
	if p.hub.Debug {
		fx = append(fx, Log{"DEBG", fmt.Sprintf("%s: %v -> %v", l.name, from, to)})
	}
	if to == Lost {
		fx = append(fx, Log{"WARN", l.name + ": has entered the UNKNOWN state and will no longer receive events, " +
			"this usually indicates the process violated the eventlistener protocol"})
	}
	return fx
}

// accept takes a new event in.
func (p *Pool) accept(fx []Effect, n *numbered) []Effect {
	e := entry{numbered: n, poolSerial: p.serial}
	p.serial++
	if p.buffer.len() == 0 {
		if l := p.ready(); l != nil {
			return p.send(fx, l, e)
		}
	}
	e.held = p.holds()
	if !e.held {
		fx = p.makeRoom(fx)
	}
	p.buffer.push(e)
	return fx
}

// takeBack puts the event that l is busy with, if there is one, back into the
// buffer.
func (p *Pool) takeBack(fx []Effect, l *listener) []Effect {
	e := l.current
	if e.numbered == nil {
		return fx
	}
	l.current = entry{}
	if p.hub.Debug {
		fx = append(fx, Log{"DEBG", fmt.Sprintf("rebuffering event %d for pool %s (buf size=%d, max=%d)",
			e.serial, p.config.Name, p.buffer.len(), p.config.BufferSize)})
	}
	e.held = p.holds()
	if !e.held {
		fx = p.makeRoom(fx)
	}
	p.buffer.putBack(e)
	return fx
}

// makeRoom throws the oldest event away that counts, if the buffer is full.
func (p *Pool) makeRoom(fx []Effect) []Effect {
	if p.buffer.countedLen() < max(1, p.config.BufferSize) {
		return fx
	}
	e := p.buffer.popCounted()
	p.dropped++
	return append(fx, Log{"ERRO", fmt.Sprintf("pool %s event buffer overflowed, discarding event %d", p.config.Name, e.serial)})
}

// holds tells whether events are to be kept without counting: while the pool
// has a listener on its way and none that has arrived.
func (p *Pool) holds() bool {
	if p.buffer.heldBytes > holdBytes {
		return false
	}
	starting := false
	for i := range p.listeners {
		switch p.listeners[i].state {
		case "RUNNING":
			return false
		case "STARTING", "BACKOFF":
			starting = true
		case "":
			starting = starting || p.config.Starting
		}
	}
	return starting
}

// dispatch sends what waits to whom is ready.
func (p *Pool) dispatch(fx []Effect) []Effect {
	for p.buffer.len() > 0 {
		l := p.ready()
		if l == nil {
			break
		}
		fx = p.send(fx, l, p.buffer.pop())
	}
	return fx
}

// ready is the first listener that can take an event.
func (p *Pool) ready() *listener {
	for i := range p.listeners {
		l := &p.listeners[i]
		if l.state == "RUNNING" && l.protocol.State() == Ready && !l.deaf {
			return l
		}
	}
	return nil
}

func (p *Pool) send(fx []Effect, l *listener, e entry) []Effect {
	l.protocol.Deliver()
	l.current = e
	fx = append(fx, Send{p, l.name, p.hub.envelope(p.config.Name, e)})
	if p.hub.Debug {
		fx = append(fx, Log{"DEBG", fmt.Sprintf("event %d sent to listener %s", e.serial, l.name)})
	}
	return fx
}

func (p *Pool) find(name string) *listener {
	i, ok := slices.BinarySearchFunc(p.listeners, name, func(l listener, name string) int {
		return strings.Compare(l.name, name)
	})
	if !ok {
		return nil
	}
	return &p.listeners[i]
}
