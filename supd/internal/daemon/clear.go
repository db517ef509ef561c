package daemon

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"sup/lib/logwire"
	"sup/lib/rpc"
	"sup/lib/safepath"
	"sup/supd/internal/activity"
)

// ClearLogs empties both logs of a process; rotated files stay.
func (d *Daemon) ClearLogs(ctx context.Context, group, name string) error {
	_, err := call(ctx, d, func(reply func(struct{}, error)) {
		if err := d.shuttingDown(); err != nil {
			reply(struct{}{}, err)
			return
		}
		p := d.find(group, name)
		if p == nil {
			reply(struct{}{}, d.badName())
			return
		}
		p.clearLogs(func(err error) { reply(struct{}{}, err) })
	})
	return err
}

// ClearAllLogs empties the logs of every process, in order of priority.
func (d *Daemon) ClearAllLogs(ctx context.Context) ([]rpc.Result, error) {
	return call(ctx, d, func(reply func([]rpc.Result, error)) {
		procs, err := d.everything()
		if err != nil {
			reply(nil, err)
			return
		}
		left := len(procs) + 1
		results := make([]rpc.Result, len(procs))
		finish := func() {
			if left--; left == 0 {
				reply(results, nil)
			}
		}
		for i, p := range procs {
			p.clearLogs(func(err error) {
				results[i] = result(p, err)
				finish()
			})
		}
		finish()
	})
}

// clearLogs calls done when both logs are empty, or cannot be emptied.
func (p *proc) clearLogs(done func(error)) {
	var first error
	left := 1
	finish := func(err error) {
		if err != nil && first == nil {
			first = err
		}
		if left--; left == 0 {
			done(first)
		}
	}
	for _, s := range p.streams() {
		if s.settings.Path == "" {
			continue
		}
		left++
		s.clear(finish)
	}
	finish(nil)
}

// clear calls done when the log is empty, cannot be emptied, or does not get
// so within seconds. A program that does not run may have no log yet, and gets
// none from this.
func (s *stream) clear(done func(error)) {
	d := s.p.d
	called := false
	var limit *timer
	once := func(err error) {
		if !called {
			called = true
			d.timers.clear(limit)
			done(err)
		}
	}
	failed := rpc.NewFault(rpc.Failed, s.p.apiName())
	limit = d.after(5*time.Second, func() { once(failed) })
	empty := func() {
		if s.state == streamUnopened {
			s.open()
		}
		d.logs.ask(logwire.Message{Kind: logwire.Clear, Stream: s.id}, func(m *logwire.Message) {
			s.rest()
			if m == nil || m.Kind == logwire.Failed {
				once(failed)
				return
			}
			once(nil)
		})
	}
	if s.state != streamUnopened || s.settings.More != "" {
		empty()
		return
	}
	// The look is taken aside, for it can last.
	path := s.settings.Path
	go func() {
		_, err := safepath.Stat(path)
		d.post(func() {
			if errors.Is(err, fs.ErrNotExist) && s.state == streamUnopened {
				once(nil)
				return
			}
			if !called {
				empty()
			}
		})
	}()
}

// ClearMainLog empties the activity log.
func (d *Daemon) ClearMainLog(ctx context.Context) error {
	if err := d.query(ctx, func() error { return nil }); err != nil {
		return err
	}
	path := d.MainLogPath()
	if _, err := safepath.Stat(path); path == "" || errors.Is(err, fs.ErrNotExist) {
		return rpc.NewFault(rpc.NoFile, "")
	}
	d.log.Print(activity.Info, "reopening log file")
	if err := d.log.Do(activity.Sink.Clear); err != nil {
		return rpc.NewFault(rpc.Failed, err.Error())
	}
	return nil
}

// reopenLogs has every log opened anew by its name, as after logrotate.
func (d *Daemon) reopenLogs() {
	d.log.Print(activity.Info, "supervisord logreopen")
	for _, s := range d.logs.streams {
		if s.state == streamUnopened {
			continue
		}
		d.logs.ask(logwire.Message{Kind: logwire.Reopen, Stream: s.id}, func(m *logwire.Message) {
			if m != nil && m.Kind == logwire.Failed {
				d.log.Print(activity.Error, s.settings.Name+": "+m.Text)
			}
		})
	}
	go func() {
		if err := d.log.Do(activity.Sink.Reopen); err != nil {
			d.log.Print(activity.Critical, "cannot reopen the activity log: "+err.Error())
		}
	}()
}
