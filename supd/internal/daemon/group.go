package daemon

import (
	"cmp"
	"slices"
	"strings"

	"sup/lib/event"
	"sup/lib/plan"
	"sup/lib/process"
	"sup/supd/internal/fcgi"
	"sup/supd/internal/state"
)

// group is an active process group.
type group struct {
	cfg    *plan.Group
	serial int          // groups are numbered as they become active
	reread int          // which reading of the configuration it is from
	procs  []*proc      // by priority, equal ones in the order of the plan
	pool   *event.Pool  // event listeners only
	socket *fcgi.Socket // FastCGI programs only
	// socketLost is set when the socket that its processes listen on could not be
	// taken over.
	socketLost bool
	saved      []byte // as it stands in the state
}

func (g *group) name() string { return g.cfg.Name }

// addGroup activates a group, unless one of its name is active. Its processes
// are not started.
func (d *Daemon) addGroup(cfg *plan.Group) bool {
	if !d.addGroupAs(cfg, nil) {
		return false
	}
	d.events.groupAdded(d.groups[cfg.Name])
	return true
}

// addGroupAs activates a group without a word. With the saved state of its
// processes, logs are where they were, and not opened yet.
func (d *Daemon) addGroupAs(cfg *plan.Group, saved map[entry]*state.Process) bool {
	if d.groups[cfg.Name] != nil {
		return false
	}
	d.lastGroup++
	g := &group{cfg: cfg, serial: d.lastGroup, reread: d.rereads}
	if cfg.Socket != nil {
		g.socket = fcgi.New(*cfg.Socket)
	}
	for i := range cfg.Processes {
		p := newProc(d, g, &cfg.Processes[i])
		// Of two processes of one name the last is the one.
		if at := slices.IndexFunc(g.procs, func(q *proc) bool { return q.cfg.Name == p.cfg.Name }); at >= 0 {
			g.procs[at] = p
			continue
		}
		g.procs = append(g.procs, p)
	}
	g.sort()
	for _, p := range g.procs {
		p.makeStreams(saved[entry{cfg.Name, p.cfg.Name}])
		if saved == nil && !p.cfg.AutoStart {
			p.createAutoLogs()
		}
	}
	d.groups[cfg.Name] = g
	d.list(g)
	d.events.openPool(g)
	d.dirty = true
	return true
}

// sort puts the processes into the order of starting.
func (g *group) sort() {
	slices.SortStableFunc(g.procs, func(a, b *proc) int { return cmp.Compare(a.cfg.Priority, b.cfg.Priority) })
}

// removeGroup forgets a group whose processes have all stopped.
func (d *Daemon) removeGroup(g *group) {
	for _, p := range g.procs {
		p.closeStreams()
	}
	d.events.groupRemoved(g)
	delete(d.groups, g.name())
	d.unlist(g)
	d.dirty = true
}

// list puts a group into order and listing.
func (d *Daemon) list(g *group) {
	at, _ := slices.BinarySearchFunc(d.order, g, byPriority)
	d.order = slices.Insert(d.order, at, g)
	procs := slices.Clone(g.procs)
	slices.SortFunc(procs, byName)
	if len(procs) > 0 {
		at, _ = slices.BinarySearchFunc(d.listing, procs[0], byName)
		d.listing = slices.Insert(d.listing, at, procs...)
	}
}

// unlist takes a group out of them.
func (d *Daemon) unlist(g *group) {
	d.order = slices.DeleteFunc(d.order, func(o *group) bool { return o == g })
	d.listing = slices.DeleteFunc(d.listing, func(p *proc) bool { return p.group == g })
}

// relist is for a group whose processes have changed.
func (d *Daemon) relist(g *group) {
	d.unlist(g)
	d.list(g)
}

func byPriority(a, b *group) int {
	return cmp.Or(cmp.Compare(a.cfg.Priority, b.cfg.Priority), strings.Compare(a.name(), b.name()))
}

func byName(a, b *proc) int {
	return cmp.Or(strings.Compare(a.group.name(), b.group.name()), strings.Compare(a.cfg.Name, b.cfg.Name))
}

// autostart starts what is to run by itself and never has.
func (d *Daemon) autostart(groups []*group) {
	for _, g := range groups {
		for _, p := range g.procs {
			if p.cfg.AutoStart && p.m.State == process.Stopped && p.m.Started == 0 {
				p.apply(process.Start{})
			}
		}
	}
}

// unstopped are the processes of a group that are not at rest.
func (g *group) unstopped() []*proc {
	var out []*proc
	for _, p := range g.procs {
		if !p.m.State.IsStopped() {
			out = append(out, p)
		}
	}
	return out
}

// find looks a process up by the name of its group and its own.
func (d *Daemon) find(group, name string) *proc {
	g := d.groups[group]
	if g == nil {
		return nil
	}
	for _, p := range g.procs {
		if p.cfg.Name == name {
			return p
		}
	}
	return nil
}
