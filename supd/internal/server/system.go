package server

import (
	"sup/lib/access"
	"sup/lib/rpc"
)

// maxCalls is how many calls a multicall may hold.
const maxCalls = 10_000

// systemMethods returns the methods of the namespace "system". It is a
// function since they look into the table that they are part of.
func systemMethods() []method {
	name := []parameter{{name: "name", kind: methodsParam, help: "Full name of a method, such as supervisor.getState."}}
	return []method{
		{
			name: "listMethods", needs: reading, always: true,
			help:    "List the methods that this server offers.",
			returns: "array", result: "The full names, sorted.",
			run: func(c *call) error {
				c.strings(c.srv.methods.names)
				return nil
			},
		}, {
			name: "methodHelp", needs: reading, always: true, params: name,
			help:    "Describe a method.",
			returns: "string", result: "What it does, its parameters and its result.",
			run: func(c *call) error {
				m := c.srv.methods.byName[c.args[0].text]
				if m == nil {
					return rpc.NewFault(rpc.SignatureUnsupported, "")
				}
				c.out.enc.String(m.text())
				return nil
			},
		}, {
			name: "methodSignature", needs: reading, always: true, params: name,
			help:    "Tell the types of a method's result and parameters.",
			returns: "array", result: "Type words: first that of the result, then one for each parameter.",
			run: func(c *call) error {
				m := c.srv.methods.byName[c.args[0].text]
				if m == nil {
					return rpc.NewFault(rpc.SignatureUnsupported, "")
				}
				c.strings(m.signature())
				return nil
			},
		}, {
			name: "multicall", needs: reading, always: true,
			params: []parameter{{name: "calls", kind: callsParam,
				help: "Structs with the members methodName (string) and, unless empty, params (array)."}},
			help: "Make several calls one after the other, each when the one before is complete.\n" +
				"A multicall inside a multicall is refused; what fails does not keep the rest from being called.",
			returns: "array", result: "For each call the bare value that it returned, or a struct with faultCode and faultString.",
			run: (*call).multicall,
		},
	}
}

func (c *call) strings(list []string) {
	c.out.enc.BeginArray()
	for _, s := range list {
		c.out.enc.String(s)
	}
	c.out.enc.EndArray()
}

func (c *call) multicall() error {
	calls := c.params[0].Items
	if len(calls) > maxCalls {
		return rpc.NewFault(rpc.IncorrectParameters, "more than 10000 calls")
	}
	enc := &c.out.enc
	enc.BeginArray()
	for i, entry := range calls {
		if i > 0 && c.conn.left() {
			return errLeft
		}
		mark := enc.Len()
		if err := c.inner(entry); err != nil {
			c.out.clear(mark)
			enc.Fault(faultOf(err))
		}
		if !c.out.reserve() {
			c.out.clear(mark)
			enc.Fault(errTooLarge)
		}
	}
	enc.EndArray()
	return nil
}

// errLeft is a fault that nobody waits for any more.
var errLeft = rpc.NewFault(rpc.Failed, "the client has gone")

// inner makes one call of a multicall.
func (c *call) inner(entry rpc.Value) error {
	if entry.Kind != rpc.Struct {
		return rpc.NewFault(rpc.IncorrectParameters, "")
	}
	name, ok := entry.Member("methodName")
	switch {
	case !ok || name.Kind == rpc.Nil:
		return rpc.NewFault(rpc.IncorrectParameters, "No methodName")
	case name.Text() == "system.multicall":
		return rpc.NewFault(rpc.IncorrectParameters, "Recursive system.multicall forbidden")
	}
	params, ok := entry.Member("params")
	if ok && params.Kind != rpc.Array {
		return rpc.NewFault(rpc.IncorrectParameters, "")
	}
	// What one of many calls has waited for could not be told from the rest.
	in := call{ctx: access.With(c.srv.ctx, c.client), srv: c.srv, conn: c.conn, client: c.client, params: params.Items, out: c.out, multi: true}
	err := in.dispatch(name.Text())
	in.broken.settle(c.srv.opts.Record)
	return err
}

// reserve accounts for the size of an answer that grows by steps; false if it
// must not be so large.
func (a *answer) reserve() bool {
	n := int64(a.enc.Len())
	if n <= keepAnswer || n <= a.taken {
		return true
	}
	if n > maxMulticall {
		return false
	}
	more := max(n-a.taken, keepAnswer)
	if !a.srv.memory.take(more) {
		return false
	}
	a.taken += more
	return true
}
