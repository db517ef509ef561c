package daemon

import (
	"cmp"
	"context"
	"slices"

	"sup/lib/plan"
	"sup/lib/process"
	"sup/lib/rpc"
)

// Changes of a group's processes while it is active. They last until the
// configuration is read anew.

// GroupNames are the names of the active groups in the order of starting.
func (d *Daemon) GroupNames(ctx context.Context) (names []string, fault error) {
	err := d.ask(ctx, func() {
		if fault = d.shuttingDown(); fault != nil {
			return
		}
		for _, g := range d.order {
			names = append(names, g.name())
		}
	})
	return names, cmp.Or(err, fault)
}

// AddProgram adds the processes of a program to a group and starts those that
// start by themselves.
func (d *Daemon) AddProgram(ctx context.Context, groupName, program string, options map[string]string) error {
	var base *plan.Plan
	var fault error
	if err := d.ask(ctx, func() {
		if _, fault = d.twiddled(groupName); fault == nil {
			base = d.plan
		}
	}); err != nil || fault != nil {
		return cmp.Or(err, fault)
	}
	// Users and directories are looked up here, outside the loop.
	added, err := plan.ProgramFromOptions(program, groupName, options, base)
	if err != nil {
		return rpc.NewFault(rpc.IncorrectParameters, err.Error())
	}
	err = d.ask(ctx, func() {
		var g *group
		if g, fault = d.twiddled(groupName); fault == nil {
			fault = d.addProcesses(g, added)
		}
	})
	return cmp.Or(err, fault)
}

// twiddled finds the group that a client wants to change.
func (d *Daemon) twiddled(name string) (*group, error) {
	if err := d.shuttingDown(); err != nil {
		return nil, err
	}
	g := d.groups[name]
	if g == nil {
		return nil, rpc.NewFault(rpc.BadName, "group: "+name)
	}
	return g, nil
}

// addProcesses adds processes to a group, all or none.
func (d *Daemon) addProcesses(g *group, added []plan.Process) error {
	if g.pool != nil {
		return rpc.NewFault(rpc.IncorrectParameters, "the group "+g.name()+" is one of event listeners")
	}
	for i := range added {
		if d.find(g.name(), added[i].Name) != nil {
			return rpc.NewFault(rpc.BadName, added[i].Name)
		}
	}
	for i := range added {
		p := newProc(d, g, &added[i])
		p.added = true
		g.procs = append(g.procs, p)
		p.makeStreams(nil)
		if !p.cfg.AutoStart {
			p.createAutoLogs()
		}
	}
	d.replan(g, append(slices.Clone(g.cfg.Processes), added...))
	g.sort()
	d.relist(g)
	d.autostart([]*group{g})
	return nil
}

// RemoveProcess takes a process that is stopped out of its group.
func (d *Daemon) RemoveProcess(ctx context.Context, groupName, name string) error {
	var fault error
	err := d.ask(ctx, func() {
		var g *group
		if g, fault = d.twiddled(groupName); fault != nil {
			return
		}
		p := d.find(groupName, name)
		switch {
		case p == nil:
			fault = rpc.NewFault(rpc.BadName, name)
		case !p.m.State.IsStopped() || p.m.State == process.Unknown || p.m.PID != 0 || p.end != nil:
			fault = rpc.NewFault(rpc.StillRunning, name)
		default:
			d.removeProcess(g, p)
		}
	})
	return cmp.Or(err, fault)
}

func (d *Daemon) removeProcess(g *group, p *proc) {
	d.replan(g, slices.DeleteFunc(slices.Clone(g.cfg.Processes), func(c plan.Process) bool { return c.Name == p.cfg.Name }))
	p.closeStreams()
	for _, s := range p.streams() {
		delete(d.events.decoders, s)
	}
	g.procs = slices.DeleteFunc(slices.Clone(g.procs), func(q *proc) bool { return q == p })
	d.relist(g)
}

// replan gives a group other processes in its plan, and in the one that was
// read last if that has the group as it is. Plans are never edited: both are
// made anew.
func (d *Daemon) replan(g *group, processes []plan.Process) {
	changed := *g.cfg
	changed.Processes = processes
	next := *d.plan
	next.Groups = slices.Clone(d.plan.Groups)
	for i := range next.Groups {
		if next.Groups[i].Name == g.name() && plan.SameGroup(&next.Groups[i], g.cfg) {
			next.Groups[i] = changed
		}
	}
	d.plan = &next
	g.cfg, g.saved = &changed, nil
	// An entry is known as an active one by being in the plan.
	for _, p := range g.procs {
		for i := range processes {
			if processes[i].Name == p.cfg.Name {
				p.cfg = &processes[i]
			}
		}
	}
	d.dirty = true
}
