package server

import (
	"errors"
	"strings"

	"sup/lib/access"
	"sup/supd/internal/record"
	"sup/supd/internal/suspend"
)

// What clients have changed, or wanted to, is put on record: one entry for each call,
// also within a multicall, and for each action of the page.

// noteHeader is how a client tells why it does something.
const noteHeader = "X-Sup-Note"

// audit records a call with what came of it.
func (c *call) audit(m *method, name string, err error) {
	var suspended *suspend.Error
	if m.needs == reading || errors.As(err, &suspended) {
		return // the next image records what comes of a call that is taken along
	}
	e := record.Entry{Kind: record.Call, Method: name, Name: c.target(m), Result: resultOf(err)}
	for i, p := range m.params {
		if p.kind == signalParam && i < len(c.params) {
			e.Reason = c.params[i].Text()
		}
	}
	c.srv.record(c.client, e)
}

// auditAction records an action of the page.
func (s *Server) auditAction(client *access.Client, a action, message string, err error) {
	e := record.Entry{Kind: record.Call, Method: "page " + a.name, Name: a.process, Result: resultOf(err)}
	if a.group != "" {
		e.Name = a.group + ":*"
	}
	if err == nil && strings.HasPrefix(message, "ERROR: ") {
		e.Result = message
	}
	s.record(client, e)
}

// resultOf is the word for a success, or the text of the fault.
func resultOf(err error) string {
	if err == nil {
		return record.OK
	}
	return faultOf(err).String
}

func (s *Server) record(client *access.Client, e record.Entry) {
	if client != nil {
		e.Note = client.Note
		e.Who = &record.Who{UID: client.UID, PID: client.PID, User: client.User, Role: client.Role.String()}
		if client.Addr.IsValid() {
			e.Who.Addr = client.Addr.String()
		}
	}
	s.opts.Record.Add(e)
}
