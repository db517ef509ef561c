package daemon

import (
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/spawn"
	"sup/supd/internal/state"
)

// sweep ends what a stopped killasgroup program has left: members of its group
// that outlived the leader, and processes that left the group (setsid, double
// fork) but still carry its mark. They have the rest of stopwaitsecs; then they
// are killed, again and again until two looks find none.
//
// It runs in a goroutine of its own, since it reads /proc; a departure of the
// daemon waits for it.
func (d *Daemon) sweep(leader int, ticks uint64, mark string, patience time.Duration) {
	s := &sweeping{leader, ticks, mark, d.now() + patience}
	d.sweeps[s] = struct{}{}
	d.dirty = true
	go func() {
		sweepRun(leader, ticks, mark, patience, d.done)
		d.post(func() {
			delete(d.sweeps, s)
			d.dirty = true
			d.progress()
		})
	}()
}

// sweeping is a sweep under way.
type sweeping struct {
	leader int
	ticks  uint64
	mark   string
	until  time.Duration // from when on it kills
}

func sweepRun(leader int, ticks uint64, mark string, patience time.Duration, done <-chan struct{}) {
	const (
		pause  = 20 * time.Millisecond
		rounds = 250
	)
	if len(state.Kin(leader, ticks, mark)) == 0 {
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
		if len(state.Kin(leader, ticks, mark)) == 0 {
			return
		}
	}
	clean := 0
	for range rounds {
		kin := state.Kin(leader, ticks, mark)
		if len(kin) == 0 {
			if clean++; clean == 2 {
				return
			}
		} else {
			clean = 0
		}
		for _, pid := range kin {
			_ = spawn.Kill(pid, unix.SIGKILL, false)
		}
		select {
		case <-time.After(pause):
		case <-done:
			return
		}
	}
}
