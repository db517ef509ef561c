package daemon

import (
	"encoding/json"
	"os"
	"time"
	"unicode/utf8"

	"sup/lib/event"
	"sup/lib/logwire"
	"sup/lib/plan"
	"sup/lib/process"
	"sup/lib/spawn"
	"sup/supd/internal/activity"
)

// dispatcher is the loop's side of event notification: it turns what happens
// into events, hands them to the pools of package event, and carries out what
// these answer.
type dispatcher struct {
	d     *Daemon
	hub   event.Hub
	pools map[*event.Pool]*group
	clock *event.Clock // nil while nobody wants ticks
	tick  *timer
	// decoders hold the unfinished characters of streams whose output makes
	// events.
	decoders map[*stream]*event.Decoder
	printing *queue[[]byte] // result handlers' output; nil before there is any
}

func newDispatcher(d *Daemon) *dispatcher {
	e := &dispatcher{d: d, pools: map[*event.Pool]*group{}, decoders: map[*stream]*event.Decoder{}}
	e.hub.Identifier = d.plan.Daemon.Identifier
	e.hub.Debug = d.log.Enabled(activity.Debug)
	e.tick = newTimer(e.ticked)
	return e
}

// do carries out effects in their order.
func (e *dispatcher) do(effects []event.Effect) {
	for _, fx := range effects {
		switch fx := fx.(type) {
		case event.Log:
			if fx.Level == "DEBG" {
				e.d.log.Log(fx.Level, fx.Text)
			} else {
				// How often a listener errs, or is too slow, is up to it.
				e.d.log.RepeatedAs(fx.Level, fx.Text)
			}
		case event.Print:
			e.print(fx.Data)
		case event.Send:
			e.send(fx)
		}
	}
}

// send writes an event to the listener that is to have it.
func (e *dispatcher) send(fx event.Send) {
	g := e.pools[fx.Pool]
	p := e.d.find(g.name(), fx.Listener)
	unreachable := func() { e.do(fx.Pool.Unreachable(fx.Listener)) }
	if p == nil || p.stdin.write(e.d, fx.Data) != nil {
		// Not from within the delivery that asked for it.
		e.d.soon(unreachable)
		return
	}
	stdin := p.stdin.file
	if stdin != nil {
		p.stdin.onError(func() {
			if p.stdin.file == stdin {
				unreachable()
			}
		})
	}
}

// print writes the text of a result handler to our standard output, which may
// be a pipe that nobody reads.
func (e *dispatcher) print(data []byte) {
	const most = 10_000
	if e.printing == nil {
		e.printing = newQueue[[]byte]()
		go func(q *queue[[]byte]) {
			for {
				texts, ok := q.take(e.d.ctx)
				if !ok {
					return
				}
				for _, text := range texts {
					_, _ = os.Stdout.Write(text)
				}
			}
		}(e.printing)
	}
	if e.printing.size() < most {
		e.printing.put(data)
	}
}

func (e *dispatcher) publish(ev event.Event) { e.do(e.hub.Publish(ev)) }

// announceState tells of a change of the daemon's own state.
func (e *dispatcher) announceState(mood Mood) {
	if mood == MoodRunning {
		e.publish(event.SupervisorRunning())
		return
	}
	e.publish(event.SupervisorStopping())
}

// groupAdded tells of a group. Its pool, if it is one of listeners, is open by
// now: it hears of its own group.
func (e *dispatcher) groupAdded(g *group) {
	e.publish(event.GroupAdded(g.name()))
}

// openPool begins to collect events for a group of listeners.
func (e *dispatcher) openPool(g *group) {
	if g.cfg.Kind != plan.KindEventListener {
		return
	}
	defer e.armTick()
	events, err := event.Subscription(g.cfg.Events)
	if err != nil {
		// The plan was checked; this cannot be.
		e.d.log.Print(activity.Error, g.name()+": "+err.Error())
	}
	handler, err := event.HandlerByName(plan.PluginName(g.cfg.ResultHandler))
	if err != nil {
		// A warning has told of it when the configuration was read.
		handler = event.DefaultHandler
	}
	config := event.PoolConfig{Name: g.name(), BufferSize: g.cfg.BufferSize, Events: events, Handler: handler}
	for _, p := range g.procs {
		config.Listeners = append(config.Listeners, p.cfg.Name)
		config.Starting = config.Starting || p.cfg.AutoStart
		p.listener = &listener{p: p, pool: g}
	}
	g.pool = e.hub.Open(config)
	e.pools[g.pool] = g
}

func (e *dispatcher) groupRemoved(g *group) {
	e.closePool(g)
	e.publish(event.GroupRemoved(g.name()))
}

// closePool ends the subscription of a group of listeners, and forgets what is
// kept for the streams of any group.
func (e *dispatcher) closePool(g *group) {
	if g.pool != nil {
		e.hub.Close(g.pool)
		delete(e.pools, g.pool)
		e.armTick()
	}
	for _, p := range g.procs {
		for _, s := range p.streams() {
			delete(e.decoders, s)
		}
	}
}

// stateChange tells of a change of a process's state.
func (e *dispatcher) stateChange(p *proc, a process.Announce) {
	if p.group.pool != nil {
		e.do(p.group.pool.Process(p.cfg.Name, a.To.String()))
	}
	to := a.To.String()
	if !e.hub.Wants(event.StateType(to)) {
		return
	}
	e.publish(event.StateChange{
		Process: p.cfg.Name, Group: p.group.name(), From: a.From.String(), To: to,
		PID: a.PID, Tries: a.Tries, Expected: a.Expected,
	}.Event())
}

// earlyOutput is what a program wrote before its pid was known.
type earlyOutput struct {
	stream  *stream
	message *logwire.Message
}

// heard handles what suplog sends of a program's output, once it is known which
// process wrote it.
func (e *dispatcher) heard(s *stream, m *logwire.Message) {
	switch p := s.p; {
	case m.PID != p.run.number:
		m.PID = int64(p.before.pid)
	case p.run.pid == 0:
		p.early = append(p.early, earlyOutput{s, m})
		return
	default:
		m.PID = int64(p.run.pid)
	}
	if m.Kind == logwire.Comm {
		e.communication(s, m)
		return
	}
	e.output(s, m)
}

// runEnded tells of the unfinished character at the end of what a process
// wrote.
func (e *dispatcher) runEnded(p *proc) {
	for _, s := range p.streams() {
		decoder := e.decoders[s]
		if decoder == nil {
			continue
		}
		channel := event.Channel(s.channel)
		if text := decoder.Flush(); text != "" && e.hub.Wants(channel.LogType()) {
			e.publish(channel.Log(p.cfg.Name, p.group.name(), p.run.pid, text))
		}
	}
}

// output handles what a program wrote, if it was asked for.
func (e *dispatcher) output(s *stream, m *logwire.Message) {
	if m.More || len(s.parts) > 0 {
		s.parts = append(s.parts, m.Data...)
		if m.More {
			return
		}
	}
	data := m.Data
	if len(s.parts) > 0 {
		data, s.parts = s.parts, nil
	}
	if e.hub.Debug {
		text := string(data)
		if !utf8.ValidString(text) {
			text = "Undecodable: " + spawn.QuoteBytes(data)
		}
		e.d.log.Verbatim(activity.Debug, spawn.Quote(s.p.cfg.Name)+" "+s.channel+" output:\n"+text)
	}
	channel := event.Channel(s.channel)
	if !s.eventsEnabled || !e.hub.Wants(channel.LogType()) {
		return
	}
	decoder := e.decoders[s]
	if decoder == nil {
		decoder = new(event.Decoder)
		e.decoders[s] = decoder
	}
	if text := decoder.Decode(data); text != "" {
		e.publish(channel.Log(s.p.cfg.Name, s.p.group.name(), int(m.PID), text))
	}
}

// communication handles a captured section.
func (e *dispatcher) communication(s *stream, m *logwire.Message) {
	if m.More || len(s.captured) > 0 {
		s.captured = append(s.captured, m.Data...)
		if m.More {
			return
		}
	}
	data := m.Data
	if len(s.captured) > 0 {
		data, s.captured = s.captured, nil
	}
	channel := event.Channel(s.channel)
	if e.hub.Wants(channel.CommunicationType()) {
		e.publish(channel.Communication(s.p.cfg.Name, s.p.group.name(), int(m.PID), data))
	}
	if e.hub.Debug {
		e.d.log.Print(activity.Debug, spawn.Quote(s.p.cfg.Name)+" "+s.channel+" emitted a comm event")
	}
}

func (e *dispatcher) remote(kind, data string) { e.publish(event.Remote(kind, data)) }

// armTick wakes the loop for the next tick, if somebody wants it.
func (e *dispatcher) armTick() {
	if !e.hub.Wants(event.Tick5) && !e.hub.Wants(event.Tick60) && !e.hub.Wants(event.Tick3600) {
		e.clock = nil
		e.d.timers.clear(e.tick)
		return
	}
	now := time.Now()
	if e.clock == nil {
		e.clock = event.NewClock(now)
	}
	e.d.timers.set(e.tick, e.d.now()+max(e.clock.Next().Sub(now), 0))
}

func (e *dispatcher) ticked() {
	if e.clock == nil {
		return
	}
	for _, ev := range e.clock.Due(time.Now()) {
		e.publish(ev)
	}
	e.armTick()
}

// savePools writes down what waits for listeners.
func (e *dispatcher) savePools() json.RawMessage {
	pools := []event.Saved{}
	for pool := range e.pools {
		pools = append(pools, pool.Save())
	}
	text, err := json.Marshal(pools)
	if err != nil {
		return nil
	}
	return text
}

// restorePools goes on where another image of this daemon has left off.
func (e *dispatcher) restorePools(text json.RawMessage) {
	var pools []event.Saved
	if json.Unmarshal(text, &pools) != nil {
		return
	}
	for _, saved := range pools {
		if g := e.d.groups[saved.Name]; g != nil && g.pool != nil {
			e.do(g.pool.Restore(saved))
		}
	}
}

// busy tells whether a pool has events to deliver and a listener that might
// take them.
func (g *group) busy() bool {
	if g.pool == nil {
		return false
	}
	stats := g.pool.Stats()
	if stats.Waiting+stats.Busy == 0 {
		return false
	}
	for _, p := range g.procs {
		if p.m.State == process.Running && g.pool.ListenerState(p.cfg.Name) != event.Lost {
			return true
		}
	}
	return false
}
