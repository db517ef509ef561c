package daemon

import (
	"strconv"
	"time"

	"sup/supd/internal/cgroup"
	"sup/supd/internal/state"
)

// sweep ends what a stopped killasgroup program has left: what is in its control
// group, where it has one; members of its process group that outlived the leader;
// and processes that left that (setsid, double fork) but still carry its mark.
// They have the rest of stopwaitsecs; then they are killed, again and again until
// two looks find none.
//
// It runs in a goroutine of its own, since it reads /proc; a departure of the
// daemon waits for it.
func (d *Daemon) sweep(run state.Run, patience time.Duration) {
	s := &sweeping{run, d.now() + patience}
	d.sweeps[s] = struct{}{}
	d.dirty = true
	go func() {
		group := d.cgroups.Group(cgroupName(run.Mark))
		kin := kin{group, run}
		kin.end(patience, d.done)
		group.Remove()
		d.post(func() {
			delete(d.sweeps, s)
			d.dirty = true
			d.progress()
		})
	}()
}

// sweeping is a sweep under way.
type sweeping struct {
	run   state.Run
	until time.Duration // from when on it kills
}

// cgroupName is the name of the control group of the run of that mark.
func cgroupName(mark string) string {
	m := state.ParseMark(mark)
	return "sup-" + m.Instance + "-" + strconv.FormatInt(m.Run, 10)
}

// kin are the processes of a run whose leader has ended.
type kin struct {
	group cgroup.Group
	run   state.Run
}

func (k *kin) gone() bool { return !k.group.Populated() && len(k.run.Kin()) == 0 }

// end waits until they have gone, kills them after patience, and then waits
// again; nothing of it once done is closed.
func (k *kin) end(patience time.Duration, done <-chan struct{}) {
	const (
		pause  = 20 * time.Millisecond
		rounds = 250
	)
	if k.gone() {
		return
	}
	// The death of a process that is nobody's child of ours is not announced
	// to us; this is a moment of looking, bounded by stopwaitsecs.
	for end := time.Now().Add(patience); time.Now().Before(end); {
		select {
		case <-time.After(min(pause*5, max(time.Until(end), pause))):
		case <-done:
			return
		}
		if k.gone() {
			return
		}
	}
	clean := 0
	for range rounds {
		_ = k.group.Kill()
		outside := k.run.Kin()
		for _, r := range outside {
			_ = r.Kill()
		}
		if len(outside) > 0 || k.group.Populated() {
			clean = 0
		} else if clean++; clean == 2 {
			return
		}
		select {
		case <-time.After(pause):
		case <-done:
			return
		}
	}
}
