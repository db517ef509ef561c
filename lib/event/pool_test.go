package event

import (
	"fmt"
	"strings"
	"testing"
)

// scene is a hub with its effects written down.
type scene struct {
	t   *testing.T
	hub *Hub
	got []string
}

func newScene(t *testing.T) *scene {
	return &scene{t: t, hub: &Hub{Identifier: "sup", Debug: true}}
}

func (s *scene) open(name string, size int, events string, listeners ...string) *Pool {
	set, err := Subscription(strings.Fields(events))
	if err != nil {
		s.t.Fatal(err)
	}
	return s.hub.Open(PoolConfig{Name: name, BufferSize: size, Events: set, Listeners: listeners})
}

// do writes effects down: "l<3" is event 3 sent to l.
func (s *scene) do(fx []Effect) {
	for _, f := range fx {
		switch f := f.(type) {
		case Send:
			h := header(s.t, f.Data)
			s.got = append(s.got, f.Listener+"<"+h["serial"])
		case Log:
			s.got = append(s.got, f.Level+" "+f.Text)
		case Print:
			s.got = append(s.got, fmt.Sprintf("print %q", f.Data))
		}
	}
}

// want compares what was written down since the last call.
func (s *scene) want(want ...string) {
	s.t.Helper()
	if got := strings.Join(s.got, "\n"); got != strings.Join(want, "\n") {
		s.t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	s.got = nil
}

// publish sends n remote events.
func (s *scene) publish(n int) {
	for range n {
		s.do(s.hub.Publish(Remote("t", "d")))
	}
}

func header(t *testing.T, data []byte) map[string]string {
	t.Helper()
	line, _, ok := strings.Cut(string(data), "\n")
	if !ok {
		t.Fatalf("no header line in %q", data)
	}
	h := map[string]string{}
	for pair := range strings.FieldsSeq(line) {
		name, value, _ := strings.Cut(pair, ":")
		h[name] = value
	}
	return h
}

const lostLine = ": has entered the UNKNOWN state and will no longer receive events, " +
	"this usually indicates the process violated the eventlistener protocol"

func TestEnvelope(t *testing.T) {
	hub := &Hub{Identifier: "ident1"}
	pool := hub.Open(PoolConfig{Name: "pool", BufferSize: 10, Events: Any.Leaves(), Listeners: []string{"l"}})
	pool.Process("l", "RUNNING")
	var got []string
	for _, e := range []Event{Remote("type", "grün €😀"), SupervisorRunning(), GroupAdded("g")} {
		pool.Output("l", []byte("READY\n"))
		for _, f := range hub.Publish(e) {
			got = append(got, string(f.(Send).Data))
		}
		pool.Output("l", []byte("RESULT 2\nOK"))
	}
	want := "ver:3.0 server:ident1 serial:0 pool:pool poolserial:0 eventname:REMOTE_COMMUNICATION len:17\ntype:type\ngrün €😀|" +
		"ver:3.0 server:ident1 serial:1 pool:pool poolserial:1 eventname:SUPERVISOR_STATE_CHANGE_RUNNING len:0\n|" +
		"ver:3.0 server:ident1 serial:2 pool:pool poolserial:2 eventname:PROCESS_GROUP_ADDED len:12\ngroupname:g\n"
	if s := strings.Join(got, "|"); s != want {
		t.Errorf("got\n%s\nwant\n%s", s, want)
	}
}

func TestSerials(t *testing.T) {
	s := newScene(t)
	s.hub.Debug = false
	s.do(s.hub.Publish(GroupAdded("nobody listens")))
	pools := map[string]*Pool{"ticks": s.open("ticks", 10, "TICK", "l"), "all": s.open("all", 10, "EVENT", "l")}
	if !s.hub.Wants(Tick60) || !s.hub.Wants(ProcessLogStdout) {
		t.Error("Wants is wrong")
	}
	tick, other := Event{Tick5, "when:5"}, GroupAdded("g")
	for _, test := range []struct {
		event Event
		want  string
	}{
		{other, "all 0/0"}, {tick, "ticks 1/0, all 1/1"}, {other, "all 2/2"}, {tick, "ticks 3/1, all 3/3"},
	} {
		for _, p := range pools {
			p.Process("l", "STARTING")
			p.Process("l", "RUNNING")
			p.Output("l", []byte("READY\n"))
		}
		var got []string
		for _, f := range s.hub.Publish(test.event) {
			h := header(t, f.(Send).Data)
			got = append(got, fmt.Sprintf("%s %s/%s", h["pool"], h["serial"], h["poolserial"]))
		}
		if s := strings.Join(got, ", "); s != test.want {
			t.Errorf("got %s, want %s", s, test.want)
		}
		for _, p := range pools {
			p.Output("l", []byte("RESULT 2\nOK"))
		}
	}
	s.hub.Close(pools["all"])
	if s.hub.Wants(ProcessLogStdout) || !s.hub.Wants(Tick5) {
		t.Error("Wants is wrong after Close")
	}
	if got := s.hub.Publish(other); got != nil {
		t.Errorf("a closed pool got %v", got)
	}
}

func TestDelivery(t *testing.T) {
	s := newScene(t)
	p := s.open("pool", 10, "EVENT", "l2", "l1", "l10")

	s.publish(1)
	s.do(p.Process("l1", "STARTING"))
	s.do(p.Output("l1", []byte("READY\n")))
	s.want("DEBG l1: ACKNOWLEDGED -> READY") // not RUNNING yet
	s.do(p.Process("l1", "RUNNING"))
	s.want("l1<0", "DEBG event 0 sent to listener l1")

	s.do(p.Process("l2", "RUNNING"))
	s.do(p.Process("l10", "RUNNING"))
	s.do(p.Output("l2", []byte("READY\n")))
	s.do(p.Output("l10", []byte("READY\n")))
	s.publish(3) // the order of names is l1, l10, l2
	s.want("DEBG l2: ACKNOWLEDGED -> READY", "DEBG l10: ACKNOWLEDGED -> READY",
		"l10<1", "DEBG event 1 sent to listener l10", "l2<2", "DEBG event 2 sent to listener l2")
	if got := p.Stats(); got != (Stats{Waiting: 1, Busy: 3}) {
		t.Errorf("stats %+v", got)
	}

	s.do(p.Output("l2", []byte("RESULT 2\nOKREADY\n")))
	s.want("DEBG l2: event was processed", "DEBG l2: BUSY -> ACKNOWLEDGED", "DEBG l2: ACKNOWLEDGED -> READY",
		"l2<3", "DEBG event 3 sent to listener l2")

	s.do(p.Process("l1", "STOPPING"))
	s.do(p.Output("l1", []byte("RESULT 2\nOKREADY\n"))) // its answer counts, but it gets nothing new
	s.publish(1)
	s.want("DEBG l1: event was processed", "DEBG l1: BUSY -> ACKNOWLEDGED", "DEBG l1: ACKNOWLEDGED -> READY")
	s.do(p.Process("l1", "STOPPED"))
	s.do(p.Output("l1", []byte("READY\n")))
	s.do(p.Process("l1", "STARTING"))
	s.do(p.Process("l1", "RUNNING"))
	s.want()
	s.do(p.Output("l1", []byte("READY\n")))
	s.want("DEBG l1: ACKNOWLEDGED -> READY", "l1<4", "DEBG event 4 sent to listener l1")

	s.do(p.Process("stranger", "RUNNING"))
	s.do(p.Output("stranger", []byte("READY\n")))
	s.do(p.Unreachable("stranger"))
	s.want()
}

func TestRejection(t *testing.T) {
	s := newScene(t)
	p := s.open("pool", 10, "EVENT", "l")
	other := s.open("other", 10, "EVENT", "o")
	s.do(p.Process("l", "RUNNING"))
	s.do(other.Process("o", "RUNNING"))
	s.do(other.Output("o", []byte("READY\n")))
	s.do(p.Output("l", []byte("READY\n")))
	s.publish(2)
	s.got = nil
	s.do(p.Output("l", []byte("RESULT 4\nFAILREADY\n")))
	s.want("WARN l: event was rejected", "DEBG l: BUSY -> ACKNOWLEDGED",
		"DEBG rebuffering event 0 for pool pool (buf size=1, max=10)",
		"DEBG l: ACKNOWLEDGED -> READY", "l<0", "DEBG event 0 sent to listener l")
	if other.Stats() != (Stats{Waiting: 1, Busy: 1}) {
		t.Errorf("the other pool: %+v", other.Stats())
	}
}

func TestViolations(t *testing.T) {
	s := newScene(t)
	p := s.open("pool", 10, "EVENT", "a", "b")
	s.do(p.Process("a", "RUNNING"))
	s.do(p.Output("a", []byte("hello, not the token\n")))
	s.want(`WARN a: unexpected output: 'hello, not the token\n'`, "DEBG a: ACKNOWLEDGED -> UNKNOWN", "WARN a"+lostLine)
	s.do(p.Output("a", []byte("READY\n")))
	s.publish(1)
	s.want()

	s.do(p.Process("b", "RUNNING"))
	s.do(p.Output("b", []byte("READY\n")))
	s.want("DEBG b: ACKNOWLEDGED -> READY", "b<0", "DEBG event 0 sent to listener b")
	s.do(p.Output("b", []byte("RESULT two\nOKREADY\n")))
	s.want("WARN b: bad result line: 'RESULT two'", "DEBG b: BUSY -> UNKNOWN", "WARN b"+lostLine,
		"DEBG rebuffering event 0 for pool pool (buf size=0, max=10)")

	s.do(p.Process("a", "EXITED"))
	s.do(p.Process("a", "STARTING"))
	s.do(p.Process("a", "RUNNING"))
	s.do(p.Output("a", []byte("READY\n")))
	s.want("DEBG a: ACKNOWLEDGED -> READY", "a<0", "DEBG event 0 sent to listener a")
	s.do(p.Output("a", []byte("RESULT 2\nOK")))
	s.do(p.Output("a", []byte("READY\n")))
	s.got = nil
	s.do(p.Output("a", []byte("chatter")))
	s.want("WARN a: unexpected output: 'chatter'", "DEBG a: READY -> UNKNOWN", "WARN a"+lostLine)
}

// A result and a violation in one piece: the result counts.
func TestResultThenViolation(t *testing.T) {
	s := newScene(t)
	p := s.open("pool", 10, "EVENT", "l")
	s.do(p.Process("l", "RUNNING"))
	s.do(p.Output("l", []byte("READY\n")))
	s.publish(1)
	s.got = nil
	s.do(p.Output("l", []byte("RESULT 2\nOK\nREADY\n")))
	s.want("DEBG l: event was processed", "DEBG l: BUSY -> ACKNOWLEDGED",
		`WARN l: unexpected output: '\nREADY\n'`, "DEBG l: ACKNOWLEDGED -> UNKNOWN", "WARN l"+lostLine)
	if got := p.Stats(); got != (Stats{}) {
		t.Errorf("stats %+v", got)
	}
}

func TestHandlers(t *testing.T) {
	s := newScene(t)
	p := s.hub.Open(PoolConfig{Name: "pool", BufferSize: 10, Events: ProcessLog.Leaves(), Handler: StdoutHandler, Listeners: []string{"l"}})
	s.do(p.Process("l", "RUNNING"))
	s.do(p.Output("l", []byte("READY\n")))
	e := Stdout.Log("web", "web", 7, "one\ntwo\n")
	s.do(s.hub.Publish(e))
	s.got = nil
	s.do(p.Output("l", fmt.Appendf(nil, "RESULT %d\n%sREADY\n", len(e.Payload), e.Payload)))
	s.want(`print "web stdout | one\nweb stdout | two\n"`, "DEBG l: event was processed",
		"DEBG l: BUSY -> ACKNOWLEDGED", "DEBG l: ACKNOWLEDGED -> READY")

	s.do(s.hub.Publish(e))
	s.got = nil
	s.do(p.Output("l", []byte("RESULT 2\nOKREADY\n")))
	s.want("WARN l: event caused an error: result has no header line", "DEBG l: BUSY -> UNKNOWN", "WARN l"+lostLine,
		"DEBG rebuffering event 1 for pool pool (buf size=0, max=10)")
}

func TestOverflow(t *testing.T) {
	s := newScene(t)
	p := s.open("pool", 2, "EVENT", "l")
	s.do(p.Process("l", "RUNNING"))
	s.do(p.Output("l", []byte("READY\n")))
	s.publish(3) // 0 is being handled, 1 and 2 wait
	s.got = nil
	s.publish(1)
	s.want("ERRO pool pool event buffer overflowed, discarding event 1")
	s.do(p.Output("l", []byte("RESULT 4\nFAIL")))
	s.want("WARN l: event was rejected", "DEBG l: BUSY -> ACKNOWLEDGED",
		"DEBG rebuffering event 0 for pool pool (buf size=2, max=2)",
		"ERRO pool pool event buffer overflowed, discarding event 2")
	s.publish(1) // 0 and 3 wait
	s.want("ERRO pool pool event buffer overflowed, discarding event 0")
	if got := p.Stats(); got != (Stats{Waiting: 2, Dropped: 3}) {
		t.Errorf("stats %+v", got)
	}
	s.do(p.Output("l", []byte("READY\n")))
	s.do(p.Output("l", []byte("RESULT 2\nOKREADY\n")))
	s.got = grep(s.got, "<")
	s.want("l<3", "l<4")
}

// grep are the lines that contain part.
func grep(lines []string, part string) []string {
	var found []string
	for _, line := range lines {
		if strings.Contains(line, part) {
			found = append(found, line)
		}
	}
	return found
}

func TestDeathWhileBusy(t *testing.T) {
	s := newScene(t)
	p := s.open("pool", 10, "EVENT", "a", "b")
	for _, name := range []string{"a", "b"} {
		s.do(p.Process(name, "RUNNING"))
		s.do(p.Output(name, []byte("READY\n")))
	}
	s.publish(4) // a has 0, b has 1
	s.got = nil
	s.do(p.Process("b", "EXITED"))
	s.do(p.Process("a", "EXITED"))
	s.want("DEBG rebuffering event 1 for pool pool (buf size=2, max=10)",
		"DEBG rebuffering event 0 for pool pool (buf size=3, max=10)")
	s.hub.Debug = false
	for range 4 {
		s.do(p.Process("a", "STARTING"))
		s.do(p.Process("a", "RUNNING"))
		s.do(p.Output("a", []byte("READY\n")))
		s.do(p.Output("a", []byte("RESULT 2\nOK")))
		s.do(p.Process("a", "EXITED"))
	}
	s.want("a<0", "a<1", "a<2", "a<3")
}

// Repeated deliveries carry the same two numbers.
func TestRepeatedNumbers(t *testing.T) {
	hub := &Hub{}
	p := hub.Open(PoolConfig{Name: "p", BufferSize: 10, Events: Any.Leaves(), Listeners: []string{"l"}})
	hub.Open(PoolConfig{Name: "q", BufferSize: 10, Events: Tick5.Leaves()})
	hub.Publish(Event{Tick5, "when:5"})
	hub.Publish(Remote("t", "d"))
	var sent []string
	for range 3 {
		p.Process("l", "RUNNING")
		for _, f := range p.Output("l", []byte("READY\n")) {
			sent = append(sent, string(f.(Send).Data))
		}
		p.Process("l", "EXITED")
		p.Process("l", "STARTING")
	}
	if len(sent) != 3 || sent[0] != sent[1] || sent[1] != sent[2] {
		t.Errorf("sent %q", sent)
	}
}

func TestClosedStdin(t *testing.T) {
	s := newScene(t)
	p := s.open("pool", 10, "EVENT", "a", "b")
	s.do(p.Process("a", "RUNNING"))
	s.do(p.Output("a", []byte("READY\n")))
	s.publish(1)
	s.got = nil
	s.do(p.Unreachable("a"))
	s.want("DEBG epipe occurred while sending event 0 to listener a, listener state unchanged",
		"DEBG rebuffering event 0 for pool pool (buf size=0, max=10)")
	if state := p.ListenerState("a"); state != Ready {
		t.Errorf("listener state %v", state)
	}
	s.publish(1)
	s.do(p.Unreachable("a")) // said twice
	s.want()
	s.do(p.Process("b", "RUNNING"))
	s.do(p.Output("b", []byte("READY\n")))
	s.want("DEBG b: ACKNOWLEDGED -> READY", "b<0", "DEBG event 0 sent to listener b")
	s.do(p.Process("a", "EXITED"))
	s.do(p.Process("a", "STARTING"))
	s.do(p.Process("a", "RUNNING"))
	s.do(p.Output("a", []byte("READY\n")))
	s.want("DEBG a: ACKNOWLEDGED -> READY", "a<1", "DEBG event 1 sent to listener a")
}

func TestHeldWhileStarting(t *testing.T) {
	s := newScene(t)
	s.hub.Debug = false
	p := s.hub.Open(PoolConfig{Name: "pool", BufferSize: 2, Events: Any.Leaves(), Listeners: []string{"l"}, Starting: true})
	s.publish(5) // before the first start
	s.do(p.Process("l", "STARTING"))
	s.publish(5)
	s.do(p.Process("l", "BACKOFF"))
	s.publish(5)
	s.do(p.Process("l", "STARTING"))
	s.do(p.Process("l", "RUNNING"))
	s.want()
	s.publish(3) // these count: 15, 16, 17
	s.want("ERRO pool pool event buffer overflowed, discarding event 15")
	s.do(p.Output("l", []byte("READY\n")))
	want := []string{"l<0"}
	for i := range 17 {
		s.do(p.Output("l", []byte("RESULT 2\nOKREADY\n")))
		if i+1 != 15 {
			want = append(want, fmt.Sprintf("l<%d", i+1))
		}
	}
	s.want(want...)
}

func TestNotHeld(t *testing.T) {
	for name, prepare := range map[string]func(*Pool){
		"autostart is off":        func(*Pool) {},
		"stopped":                 func(p *Pool) { p.Process("a", "STARTING"); p.Process("a", "STOPPED") },
		"fatal":                   func(p *Pool) { p.Process("a", "BACKOFF"); p.Process("a", "FATAL") },
		"running, not ready":      func(p *Pool) { p.Process("a", "RUNNING") },
		"one running, one starts": func(p *Pool) { p.Process("a", "RUNNING"); p.Process("b", "STARTING") },
	} {
		hub := &Hub{}
		p := hub.Open(PoolConfig{Name: "p", BufferSize: 2, Events: Any.Leaves(), Listeners: []string{"a", "b"}})
		prepare(p)
		for range 5 {
			hub.Publish(Remote("t", "d"))
		}
		if got := p.Stats(); got != (Stats{Waiting: 2, Dropped: 3}) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// What is held is bounded too; beyond it the buffer's size counts.
func TestHeldIsBounded(t *testing.T) {
	hub := &Hub{}
	p := hub.Open(PoolConfig{Name: "p", BufferSize: 10, Events: Any.Leaves(), Listeners: []string{"l"}, Starting: true})
	big := strings.Repeat("x", 1<<20)
	for range 100 {
		hub.Publish(Remote("t", big))
	}
	stats := p.Stats()
	if want := holdBytes>>20 + 10; stats.Waiting != want || stats.Dropped != uint64(100-want) {
		t.Errorf("%+v, want %d waiting", stats, want)
	}
}
