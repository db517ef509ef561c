package daemon

import (
	"cmp"
	"context"
	"slices"

	"sup/lib/plan"
	"sup/lib/process"
	"sup/lib/rpc"
	"sup/supd/internal/activity"
	"sup/supd/internal/fcgi"
)

// ReloadConfig reads the configuration anew and tells which groups differ from
// the active ones. Nothing that runs changes. A configuration that cannot be
// read changes nothing at all.
func (d *Daemon) ReloadConfig(ctx context.Context) (added, changed, removed []string, err error) {
	if err := d.query(ctx, func() error { return nil }); err != nil {
		return nil, nil, nil, err
	}
	// Files are read here, outside the loop.
	next, err := d.opts.Reload()
	if err != nil {
		return nil, nil, nil, rpc.NewFault(rpc.CantReread, err.Error())
	}
	err = d.query(ctx, func() error {
		d.plan = next
		d.rereads++
		added, changed, removed = plan.Diff(d.activePlan(), next)
		for _, w := range next.Warnings {
			d.log.Print(activity.Warn, w.String())
		}
		return nil
	})
	return added, changed, removed, err
}

// activePlan is a plan that has the groups which are active now, in the order
// in which they became so: clients are told of groups that are gone in that.
// Logs that were left to us have the names by now that we gave them.
func (d *Daemon) activePlan() *plan.Plan {
	active := *d.plan
	active.Groups = nil
	groups := slices.Clone(d.order)
	slices.SortFunc(groups, func(a, b *group) int { return cmp.Compare(a.serial, b.serial) })
	for _, g := range groups {
		cfg := *g.cfg
		cfg.Processes = slices.Clone(cfg.Processes)
		for i := range cfg.Processes {
			if p := d.find(cfg.Name, cfg.Processes[i].Name); p != nil {
				p.out.named(&cfg.Processes[i].Stdout)
				p.err.named(&cfg.Processes[i].Stderr)
			}
		}
		active.Groups = append(active.Groups, cfg)
	}
	return &active
}

// named puts the name that a log has into its settings, unless it had one.
func (s *stream) named(settings *plan.Stream) {
	if s != nil && settings.Kind == plan.LogAuto && s.settings.Path != "" {
		settings.Kind, settings.Path = plan.LogPath, s.settings.Path
	}
}

// AddGroup activates a group of the configuration that was read last, and
// starts what is to be started of it.
func (d *Daemon) AddGroup(ctx context.Context, name string) error {
	if err := d.probe(ctx, name); err != nil {
		return err
	}
	_, err := call(ctx, d, func(reply func(struct{}, error)) {
		d.activate(name, func(err error) { reply(struct{}{}, err) })
	})
	return err
}

// activate adds a group and answers when what is to be started of it is there.
func (d *Daemon) activate(name string, done func(error)) {
	if err := d.shuttingDown(); err != nil {
		done(err)
		return
	}
	at := slices.IndexFunc(d.plan.Groups, func(g plan.Group) bool { return g.Name == name })
	if at < 0 {
		done(d.badName())
		return
	}
	if !d.addGroup(&d.plan.Groups[at]) {
		done(rpc.NewFault(rpc.AlreadyAdded, name))
		return
	}
	g := d.groups[name]
	d.autostart([]*group{g})
	left := 1
	finish := func() {
		if left--; left == 0 {
			done(nil)
		}
	}
	for _, p := range g.procs {
		left++
		p.await(func() bool {
			if p.m.State == process.Starting && p.m.PID == 0 {
				return false
			}
			finish()
			return true
		})
	}
	finish()
}

// probe finds out whether the socket of a group that is to be added can be
// made; it has none in most cases.
func (d *Daemon) probe(ctx context.Context, name string) error {
	var socket *plan.Socket
	if err := d.ask(ctx, func() {
		for i := range d.plan.Groups {
			if g := &d.plan.Groups[i]; g.Name == name && d.groups[name] == nil {
				socket = g.Socket
			}
		}
	}); err != nil || socket == nil {
		return err
	}
	lines, err := ProbeSocket(fcgi.New(*socket))
	if err != nil {
		return rpc.NewFault(rpc.Failed, err.Error())
	}
	for _, line := range lines {
		d.log.Print(activity.Info, line)
	}
	return nil
}

// RemoveGroup forgets a group, of which nothing may run.
func (d *Daemon) RemoveGroup(ctx context.Context, name string) error {
	return d.query(ctx, func() error {
		g := d.groups[name]
		switch {
		case g == nil:
			return d.badName()
		case len(g.unstopped()) > 0:
			return rpc.NewFault(rpc.StillRunning, name)
		}
		d.removeGroup(g)
		return nil
	})
}
