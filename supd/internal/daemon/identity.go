package daemon

import (
	"os"

	"golang.org/x/sys/unix"

	"sup/lib/logwire"
	"sup/lib/plan"
	"sup/supd/internal/state"
)

// Which processes are ours: those that the state records, with the times when they
// were started; and those that carry a mark of ours and whose start could not be
// written down any more.

// mostUnrecorded is how many runs a daemon may have begun that are on no record.
// Records are written before a process is made, so there are none unless the disk
// hangs. A number beyond is not believed.
const mostUnrecorded = 1000

// findLiving finds the programs that run by their marks. What a run has left
// behind carries its mark, too, and so does what somebody has started who copied
// it: where it is known which process a run was, no other is taken for it.
func (d *Daemon) findLiving(saved *state.State) map[string]state.Living {
	dir := d.opts.StateDir
	users := d.usersOf(saved)
	most := int64(0)
	recorded := map[string]int{} // pids, by marks
	if saved != nil {
		most = saved.Runs
		for _, p := range saved.Processes {
			if p.PID != 0 {
				recorded[p.Mark] = p.PID
			}
		}
	}
	if dir != nil {
		most = max(most, dir.MostRuns())
	}
	pidOf := func(mark string) int {
		if pid := recorded[mark]; pid != 0 || dir == nil {
			return pid
		}
		m := state.ParseMark(mark)
		return dir.PIDOf(m.Process, m.Run)
	}
	return state.FindLiving(d.identity, func(c state.Claim) bool {
		if pid := pidOf(c.Mark); pid != 0 {
			// It may have become another user by itself.
			return pid == c.PID
		}
		// Without a record the proof counts, and a copied one is of no use to
		// another user.
		return c.Proved && users[c.Process][c.UID] && (saved == nil || c.Run <= most+mostUnrecorded)
	})
}

// usersOf tells which users the programs are started as, by the names of processes:
// in the configuration as it is now, and as it was.
func (d *Daemon) usersOf(saved *state.State) map[string]map[int]bool {
	users := map[string]map[int]bool{}
	add := func(g *plan.Group) {
		for i := range g.Processes {
			c := &g.Processes[i]
			name := entry{g.Name, c.Name}.apiName()
			if users[name] == nil {
				users[name] = map[int]bool{}
			}
			if c.UID >= 0 {
				users[name][c.UID] = true
			} else {
				users[name][os.Getuid()] = true
			}
		}
	}
	groups, _ := groupsOf(saved)
	for _, g := range groups {
		add(g)
	}
	for i := range d.plan.Groups {
		add(&d.plan.Groups[i])
	}
	return users
}

// depositIdentity leaves our identity with suplog, for a daemon after us that finds
// no state directory any more.
func (l *logPlane) depositIdentity() {
	if l.d.opts.StateDir == nil {
		return
	}
	if fd, err := l.d.identity.MemoryFile(); err == nil {
		if l.conn == nil {
			unix.Close(fd)
			return
		}
		l.send(logwire.Message{Kind: logwire.Hold, Text: logwire.IdentityDeposit, FDs: []int{fd}})
	}
}
