package server

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"sup/lib/access"
	"sup/lib/config"
	"sup/lib/plan"
	"sup/lib/rpc"
)

// method is one row of the table of methods, from which calls are served and
// described.
type method struct {
	name    string // without the namespace
	aliases []string
	help    string
	params  []parameter
	returns string // type word
	result  string // what is returned
	// needs says who may call it.
	needs right
	// always marks the methods that work while the daemon shuts down.
	always bool
	run    func(c *call) error
}

// parameter describes one parameter of a method.
type parameter struct {
	name string
	kind paramKind
	help string
	// optional parameters come last; if left out they are true.
	optional bool
}

// paramKind says what is taken for a parameter, and what is not.
type paramKind uint8

const (
	nameParam    paramKind = iota // of a process or group: a string or something short
	intParam                      // whatever can be read as a number
	boolParam                     // anything; see rpc.Value.Truth
	signalParam                   // a name or a number
	textParam                     // strictly a string
	anyParam                      // anything, as text
	callsParam                    // an array
	methodsParam                  // the name of a method, even one of another type
	optionsParam                  // a struct of scalars
)

// typeWord is the type that methodSignature tells.
func (k paramKind) typeWord() string {
	switch k {
	case intParam:
		return "int"
	case boolParam:
		return "boolean"
	case callsParam:
		return "array"
	case optionsParam:
		return "struct"
	}
	return "string"
}

// required returns the number of parameters that must be given.
func (m *method) required() int {
	n := len(m.params)
	for n > 0 && m.params[n-1].optional {
		n--
	}
	return n
}

// signature is the answer of methodSignature.
func (m *method) signature() []string {
	types := []string{m.returns}
	for _, p := range m.params {
		types = append(types, p.kind.typeWord())
	}
	return types
}

// text is the answer of methodHelp.
func (m *method) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", m.help)
	for _, p := range m.params {
		fmt.Fprintf(&b, "@param %s %s  %s\n", p.kind.typeWord(), p.name, p.help)
	}
	fmt.Fprintf(&b, "@return %s result  %s\n", m.returns, m.result)
	return b.String()
}

// factories are the interfaces that an [rpcinterface:x] section can name.
var factories = map[string][]method{
	config.MainRPCFactory:     mainMethods,
	config.TwiddlerRPCFactory: twiddlerMethods,
}

// methodTable holds the methods that are served, by full name.
type methodTable struct {
	byName map[string]*method
	names  []string // sorted
}

func newMethodTable(interfaces []plan.RPCInterface) *methodTable {
	t := &methodTable{byName: make(map[string]*method)}
	for _, in := range interfaces {
		methods := factories[plan.PluginName(in.Factory)]
		if list, ok := in.Options["whitelist"]; ok {
			methods = whitelisted(methods, list)
		}
		t.add(in.Name, methods)
	}
	t.add("system", systemMethods())
	t.names = slices.Sorted(maps.Keys(t.byName))
	t.add("sup", supMethods)
	return t
}

func (t *methodTable) add(namespace string, methods []method) {
	for i := range methods {
		m := &methods[i]
		t.byName[namespace+"."+m.name] = m
		for _, alias := range m.aliases {
			t.byName[namespace+"."+alias] = m
		}
	}
}

// call is one call of a method.
type call struct {
	ctx    context.Context
	srv    *Server
	conn   *conn
	client *access.Client // who calls; ctx has it too
	params []rpc.Value
	args   [3]argument
	state  rpc.State // of the daemon, when the call came; not for methods that always work
	out    *answer
	multi  bool       // within a multicall
	broken *BrokenOff // nil if the call was not broken off
}

// argument is a parameter in the type that the method wants.
type argument struct {
	text string
	n    int64
	yes  bool
}

var errTooLarge = rpc.NewFault(rpc.Failed, "the answer is too large; ask for less at once")

// answer serves the request in body and returns the HTTP status: 200, with the
// response in a, or 400 if the body is no request. If the call was broken off for
// an upgrade, the response says so.
func (s *Server) answer(ctx context.Context, cn *conn, body []byte, a *answer) (status int, broken *BrokenOff) {
	req, status := s.parse(cn.ep, body)
	if status != 0 {
		return status, nil
	}
	if req.Memory > largeBody {
		defer s.memory.give(req.Memory)
	}
	a.enc.BeginResponse()
	c := call{ctx: ctx, srv: s, conn: cn, client: access.From(ctx), params: req.Params, out: a}
	if err := c.dispatch(req.Method); err != nil {
		a.clear(headRoom)
		a.enc.FaultResponse(faultOf(err))
		return http.StatusOK, c.broken
	}
	a.enc.EndResponse()
	return http.StatusOK, nil
}

// parse reads a request, large ones in their turn. What a large one says is
// taken from the memory budget; the turn is given back before the call is made,
// which may wait for a program.
func (s *Server) parse(ep *endpoint, body []byte) (req rpc.Call, status int) {
	if len(body) > largeBody {
		size := min(turnWeight*int64(len(body)), s.turns.all)
		if s.turns.wait(s.ctx, size) != nil {
			return req, http.StatusServiceUnavailable
		}
		defer s.turns.give(size)
	}
	req, err := rpc.ParseCallWithin(body, ep.bounds.values)
	if err != nil {
		s.log.Log("DEBG", fmt.Sprintf("request to %s: %v", Address(ep.conf), err))
		return req, http.StatusBadRequest
	}
	if req.Memory > largeBody && !s.memory.take(req.Memory) {
		return req, http.StatusServiceUnavailable
	}
	return req, 0
}

// faultOf makes the fault that a client sees of an error.
func faultOf(err error) *rpc.Fault {
	var f *rpc.Fault
	if errors.As(err, &f) {
		return f
	}
	return rpc.NewFault(rpc.Failed, err.Error())
}

// dispatch runs a method, which writes its result to c.out unless it returns
// an error.
func (c *call) dispatch(name string) (err error) {
	m := c.srv.methods.byName[name]
	if m == nil {
		return rpc.NewFault(rpc.UnknownMethod, "")
	}
	if len(c.params) > len(m.params) || len(c.params) < m.required() {
		return rpc.NewFault(rpc.IncorrectParameters, "")
	}
	defer func() { c.audit(m, name, err) }()
	if c.client == nil || c.client.Role < m.needs.role() {
		return c.srv.permit(c.ctx, c.client, m.needs, m.name, c.target(m))
	}
	if !m.always {
		if c.state = c.srv.backend.State(); c.state.Code < stateRunning {
			return rpc.NewFault(rpc.ShutdownState, "")
		}
	}
	for i := range m.params {
		if i >= len(c.params) {
			c.args[i].yes = true
		} else if err := c.convert(i, m.params[i].kind); err != nil {
			return err
		}
	}
	defer func() {
		if p := recover(); p != nil {
			c.srv.panicked(name, p)
			err = rpc.NewFault(rpc.Failed, "internal error")
		}
	}()
	if err := c.srv.permit(c.ctx, c.client, m.needs, m.name, c.target(m)); err != nil {
		return err
	}
	return m.run(c)
}

// target is what a call is about, as far as its first parameter tells.
func (c *call) target(m *method) string {
	if len(m.params) == 0 || m.params[0].kind != nameParam || len(c.params) == 0 {
		return ""
	}
	return c.params[0].Text()
}

// stateRunning is the code of the daemon's state from which on it serves.
const stateRunning = 1

func (c *call) convert(i int, kind paramKind) error {
	v, arg := c.params[i], &c.args[i]
	bad := rpc.NewFault(rpc.IncorrectParameters, "")
	scalar := v.Kind != rpc.Nil && v.Kind != rpc.Array && v.Kind != rpc.Struct
	switch kind {
	case nameParam:
		if !scalar {
			return bad
		}
		arg.text = v.Text()
	case intParam:
		n, ok := v.Number()
		if !ok {
			return bad
		}
		arg.n = n
	case boolParam:
		arg.yes = v.Truth()
	case signalParam:
		if !scalar {
			return bad
		}
		arg.text = v.Text()
		if n, ok := v.Number(); ok && v.Kind != rpc.String {
			arg.text = fmt.Sprint(n)
		}
	case textParam:
		if v.Kind == rpc.Nil {
			return bad
		}
		if v.Kind != rpc.String {
			return rpc.NewFault(rpc.IncorrectParameters, v.Text())
		}
		arg.text = v.Str
	case anyParam, methodsParam:
		arg.text = v.Text()
	case callsParam:
		if v.Kind != rpc.Array {
			return bad
		}
	case optionsParam:
		if v.Kind != rpc.Struct {
			return bad
		}
		for _, m := range v.Members {
			switch m.Value.Kind {
			case rpc.Nil, rpc.Array, rpc.Struct:
				return bad
			}
		}
	}
	return nil
}

// quoting are the codes whose text names what the client named.
var quoting = map[int]bool{
	rpc.BadName: true, rpc.BadSignal: true, rpc.AlreadyStarted: true, rpc.NotRunning: true, rpc.SpawnError: true,
	rpc.AbnormalTermination: true, rpc.AlreadyAdded: true, rpc.StillRunning: true,
}

// quote adds the name or signal that the client wrote to a bare fault.
func quote(err error, name string) error {
	var f *rpc.Fault
	if errors.As(err, &f) && quoting[f.Code] {
		if bare := rpc.NewFault(f.Code, ""); f.String == bare.String {
			return &rpc.Fault{Code: f.Code, String: bare.String + ": " + name}
		}
	}
	return err
}

// onceEach remembers what has been said.
type onceEach struct {
	mu   sync.Mutex
	said map[uint64]bool
}

func (o *onceEach) first(key uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.said[key] || len(o.said) > 1000 {
		return false
	}
	if o.said == nil {
		o.said = make(map[uint64]bool)
	}
	o.said[key] = true
	return true
}

// panicked logs a defect of ours: in full the first time, then not at all.
func (s *Server) panicked(where string, p any) {
	stack := debug.Stack()
	h := fnv.New64a()
	// The addresses in a trace differ from time to time; its functions don't.
	for line := range strings.Lines(string(stack)) {
		if !strings.HasPrefix(line, "\t") && !strings.HasPrefix(line, "goroutine") {
			name, _, _ := strings.Cut(line, "(")
			h.Write([]byte(name))
		}
	}
	if s.panics.first(h.Sum64()) {
		s.log.Log("CRIT", fmt.Sprintf("defect %016x while serving %s: %v", h.Sum64(), where, p))
		for line := range strings.Lines(string(stack)) {
			s.log.Log("CRIT", strings.ReplaceAll(strings.TrimRight(line, "\n"), "\t", "    "))
		}
	}
}
