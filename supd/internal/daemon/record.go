package daemon

import (
	"os"

	"sup/lib/process"
	"sup/supd/internal/record"
)

// recordState puts a change of state on record, with what brought it about.
func (d *Daemon) recordState(p *proc, a process.Announce, ev process.Event) {
	e := record.Entry{
		Kind: record.State, Name: p.apiName(), From: a.From.String(), To: a.To.String(),
		PID: a.PID, Tries: a.Tries, Expected: a.Expected,
	}
	switch ev := ev.(type) {
	case process.Ended:
		e.Reason = process.Describe(ev.Status)
	case process.SpawnFailed:
		e.Reason = ev.Reason
	case process.Lost:
		e.Reason = ev.Reason
	}
	d.opts.Record.Add(e)
}

// recordLife puts a step in the life of the daemon on record.
func (d *Daemon) recordLife(step, how string) {
	d.opts.Record.Add(record.Entry{Kind: record.Daemon, To: step, PID: os.Getpid(), Reason: how})
}

// recordOutput puts on record that the log of a stream cannot be written, or is
// written again.
func (s *stream) recordOutput(what, why string) {
	s.p.d.opts.Record.Add(record.Entry{Kind: record.Output, Name: s.p.apiName(), To: what, Reason: why})
}
