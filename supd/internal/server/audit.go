package server

import (
	"errors"

	"sup/lib/access"
	"sup/lib/rpc"
	"sup/supd/internal/record"
	"sup/supd/internal/suspend"
)

// What clients have changed, or wanted to, is put on record: one entry for each call,
// also within a multicall, and for each action of the page.

// noteHeader is how a client tells why it does something.
const noteHeader = "X-Sup-Note"

// audit records a call with what came of it. One that was broken off for an
// upgrade is recorded when it has been made again, or can't be.
func (c *call) audit(m *method, name string, err error) {
	var suspended *suspend.Error
	if errors.As(err, &suspended) {
		c.broken = &BrokenOff{Memo: suspended.Memo}
	}
	if m.needs == reading {
		return
	}
	e := record.Entry{Kind: record.Call, Method: name, Name: c.subject(m), Result: resultOf(err)}
	for i, p := range m.params {
		if p.kind == signalParam && i < len(c.params) {
			e.Reason = c.params[i].Text()
		}
	}
	e = by(c.client, e)
	if c.broken != nil {
		c.broken.Entry = e
		return
	}
	c.srv.opts.Record.Add(e)
}

// subject names what a call changes: its target, or a process in that which the
// second parameter names.
func (c *call) subject(m *method) string {
	name := c.target(m)
	if len(c.params) > 1 && m.params[1].kind == nameParam {
		name += ":" + c.params[1].Text()
	}
	return name
}

// auditAction records an action of the page.
func (s *Server) auditAction(client *access.Client, a action, err error) {
	e := record.Entry{Kind: record.Call, Method: "page", Name: a.process, Result: resultOf(err)}
	// What is no action is a text of the client's, who could fill the record
	// with methods that it makes up.
	if _, known := actionVerbs[a.name]; known {
		e.Method += " " + a.name
	}
	if a.group != "" {
		e.Name = a.group + ":*"
	}
	s.opts.Record.Add(by(client, e))
}

// resultOf is the word for a success, or the text of the fault. That of wrong
// parameters may quote them, and a text for a program's standard input, or an
// environment, can be a secret.
func resultOf(err error) string {
	if err == nil {
		return record.OK
	}
	f := faultOf(err)
	if f.Code == rpc.IncorrectParameters {
		f = rpc.NewFault(f.Code, "")
	}
	return f.String
}

// by is an entry with the client that it is about.
func by(client *access.Client, e record.Entry) record.Entry {
	if client != nil {
		e.Note = client.Note
		e.Who = &record.Who{UID: client.UID, PID: client.PID, User: client.User, Role: client.Role.String()}
		if client.Addr.IsValid() {
			e.Who.Addr = client.Addr.String()
		}
	}
	return e
}
