package daemon

import (
	"slices"

	"sup/lib/plan"
)

// entry names a process entry.
type entry struct{ group, name string }

// apiName is how clients name it: group:name, or one name if they are the same.
func (e entry) apiName() string {
	if e.group == e.name {
		return e.name
	}
	return e.group + ":" + e.name
}

func (p *proc) entry() entry { return entry{p.group.name(), p.cfg.Name} }

// fate is what becomes of a process entry of a daemon before.
type fate uint8

const (
	fateFresh fate = iota // it begins as at a first start
	fateKept              // it goes on from where it stood
	fateGone              // it is stopped and forgotten
)

// succeeding is what there is to choose from when a daemon takes over from one
// that was killed: the groups that were active then, and those of the file as it is
// now.
type succeeding struct {
	before []*plan.Group
	next   []plan.Group
	alive  map[entry]bool // of which a program runs
	added  map[entry]bool // by clients: they are in no file
	// leaving is set if the daemon before was on its way to stop everything. Then
	// only what runs is a fact, and what has stopped was not meant to stay so.
	leaving bool
}

// succession is what is chosen.
type succession struct {
	groups []*plan.Group
	fates  map[entry]fate
	notes  []string // for the activity log
}

// inherit is the succession in which everything goes on as it was.
func inherit(groups []*plan.Group) succession {
	s := succession{groups: groups, fates: map[entry]fate{}}
	for _, g := range groups {
		for i := range g.Processes {
			s.fates[entry{g.Name, g.Processes[i].Name}] = fateKept
		}
	}
	return s
}

// succeed chooses. What is to run is what the file says now; the state says only
// what is running. What is in both and alike goes on from where it stood. What the
// file has new begins as at a first start, and so does what it has otherwise, unless
// it runs: then it runs on as it is until an update. What it has no more is stopped.
func succeed(in *succeeding) succession {
	out := succession{fates: map[entry]fate{}}
	before, next := map[string]*plan.Group{}, map[string]bool{}
	for _, g := range in.before {
		before[g.Name] = g
	}
	for i := range in.next {
		n := &in.next[i]
		if next[n.Name] {
			continue // of several groups of one name the first counts
		}
		next[n.Name] = true
		if o := before[n.Name]; o != nil {
			n = in.merge(&out, o, n)
		}
		out.groups = append(out.groups, n)
	}
	for _, o := range in.before {
		if next[o.Name] {
			continue
		}
		left := *o
		left.Processes = slices.DeleteFunc(slices.Clone(o.Processes), func(c plan.Process) bool { return !in.alive[entry{o.Name, c.Name}] })
		if len(left.Processes) == 0 {
			continue
		}
		for i := range left.Processes {
			out.fates[entry{o.Name, left.Processes[i].Name}] = fateGone
		}
		out.groups = append(out.groups, &left)
		out.notes = append(out.notes, o.Name+" is not in the configuration any more; stopping it")
	}
	return out
}

// merge makes one group of what was and what is to be.
func (in *succeeding) merge(out *succession, o, n *plan.Group) *plan.Group {
	alive := slices.ContainsFunc(o.Processes, func(c plan.Process) bool { return in.alive[entry{o.Name, c.Name}] })
	group := *n
	if alive && !sameFrame(o, n) {
		out.due(o.Name)
		if special(o) || special(n) {
			// A pool of listeners, or a socket, cannot change under who uses it.
			for i := range o.Processes {
				in.keep(out, entry{o.Name, o.Processes[i].Name})
			}
			return o
		}
		group = *o
	}
	group.Processes = nil
	another := o.Kind != n.Kind && (special(o) || special(n))
	for i := range n.Processes {
		c := &n.Processes[i]
		key := entry{n.Name, c.Name}
		was := find(o.Processes, c.Name)
		switch {
		case was == nil, another:
		case plan.SameProcess(was, c):
			in.keep(out, key)
		case in.alive[key]:
			in.keep(out, key)
			out.due(key.apiName())
			c = was
		}
		group.Processes = append(group.Processes, *c)
	}
	for i := range o.Processes {
		c := &o.Processes[i]
		key := entry{o.Name, c.Name}
		switch {
		case find(n.Processes, c.Name) != nil:
			continue
		case in.added[key] && (in.alive[key] || !in.leaving):
			in.keep(out, key)
		case in.alive[key]:
			out.fates[key] = fateGone
			out.notes = append(out.notes, key.apiName()+" is not in the configuration any more; stopping it")
		default:
			continue
		}
		group.Processes = append(group.Processes, *c)
	}
	return &group
}

// keep lets an entry go on from where it stood, if that was not a passing state.
func (in *succeeding) keep(out *succession, key entry) {
	if in.alive[key] || !in.leaving {
		out.fates[key] = fateKept
	}
}

// special tells whether a group is more than its processes.
func special(g *plan.Group) bool { return g.Kind == plan.KindEventListener || g.Kind == plan.KindFCGI }

func (out *succession) due(name string) {
	out.notes = append(out.notes, "the configuration of "+name+" has changed; it runs on as it was until an update")
}

// sameFrame tells whether two groups differ in nothing but their processes. For a
// pool of event listeners these belong to the frame.
func sameFrame(a, b *plan.Group) bool {
	x, y := *a, *b
	if a.Kind != plan.KindEventListener {
		x.Processes, y.Processes = nil, nil
	}
	return plan.SameGroup(&x, &y)
}

// find finds a process of a group. Of two of one name the last is the one.
func find(processes []plan.Process, name string) *plan.Process {
	for i := range slices.Backward(processes) {
		if processes[i].Name == name {
			return &processes[i]
		}
	}
	return nil
}
