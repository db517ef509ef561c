package event

import (
	"slices"
	"strconv"
	"unicode/utf8"

	"sup/lib/value"
)

// Effect is something the owner of the Hub is to do, in order.
type Effect interface{ effect() }

// Send asks for Data to be written to the standard input of a listener.
type Send struct {
	Pool     *Pool
	Listener string
	Data     []byte
}

// Log is a line for the activity log.
type Log struct {
	Level string // DEBG, WARN or ERRO
	Text  string
}

// Print asks for Data to be written to the daemon's standard output: what a
// result handler made of a result.
type Print struct{ Data []byte }

func (Send) effect()  {}
func (Log) effect()   {}
func (Print) effect() {}

// Hub gives events their serial numbers and hands them to the pools. The zero
// value is ready for use.
type Hub struct {
	// Identifier is the daemon's, for the header lines.
	Identifier string
	// Debug tells whether lines of level DEBG are wanted. They cost as much as
	// the events.
	Debug bool

	serial int64 // of the next event
	wanted Set   // what the pools subscribe to, together
	pools  []*Pool
}

// PoolConfig is what an [eventlistener:x] section says about its pool.
type PoolConfig struct {
	// Name is the group's.
	Name string
	// BufferSize bounds the number of events that wait; at least 1.
	BufferSize int
	Events     Set
	// Handler is nil for the default.
	Handler Handler
	// Listeners are the names of the processes.
	Listeners []string
	// Starting tells that the processes are about to be started (autostart), so
	// that events which come before count as held for a listener that starts.
	Starting bool
}

// Open adds a pool. It begins to collect events at once.
func (h *Hub) Open(config PoolConfig) *Pool {
	p := newPool(h, config)
	h.pools = append(h.pools, p)
	h.subscribe()
	return p
}

// Close removes a pool. The events that wait in it are lost.
func (h *Hub) Close(p *Pool) {
	h.pools = slices.DeleteFunc(h.pools, func(q *Pool) bool { return q == p })
	h.subscribe()
}

func (h *Hub) subscribe() {
	h.wanted = 0
	for _, p := range h.pools {
		h.wanted |= p.config.Events
	}
}

// Wants tells whether some pool subscribes to a leaf type.
func (h *Hub) Wants(leaf Type) bool { return h.wanted.Has(leaf) }

// Serial is the serial number that the next event will have.
func (h *Hub) Serial() int64 { return h.serial }

// Resume goes on with the serial numbers of an earlier daemon.
func (h *Hub) Resume(serial int64) { h.serial = max(h.serial, serial) }

// Publish hands an event to every pool that subscribes to its type. An event
// that nobody subscribes to gets no serial number.
func (h *Hub) Publish(e Event) []Effect {
	if !h.Wants(e.Type) {
		return nil
	}
	n := &numbered{e, h.serial, utf8.RuneCountInString(e.Payload)}
	h.serial++
	var fx []Effect
	for _, p := range h.pools {
		if p.config.Events.Has(e.Type) {
			fx = p.accept(fx, n)
		}
	}
	return fx
}

// envelope is what a listener reads: the header line and the payload. The
// length counts characters, as Supervisor's does: its listeners read text.
func (h *Hub) envelope(pool string, e entry) []byte {
	b := make([]byte, 0, 128+len(h.Identifier)+len(pool)+len(e.Payload))
	b = append(append(b, "ver:3.0 server:"...), value.Token(h.Identifier)...)
	b = strconv.AppendInt(append(b, " serial:"...), e.serial, 10)
	b = append(append(b, " pool:"...), value.Token(pool)...)
	b = strconv.AppendInt(append(b, " poolserial:"...), e.poolSerial, 10)
	b = append(append(b, " eventname:"...), e.Type.String()...)
	b = strconv.AppendInt(append(b, " len:"...), int64(e.chars), 10)
	return append(append(b, '\n'), e.Payload...)
}
