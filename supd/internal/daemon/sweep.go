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
func (d *Daemon) sweep(leader int, mark string, patience time.Duration) {
	d.sweeps++
	go func() {
		sweepRun(leader, mark, patience, d.done)
		d.post(func() {
			d.sweeps--
			d.progress()
		})
	}()
}

func sweepRun(leader int, mark string, patience time.Duration, done <-chan struct{}) {
	const (
		pause  = 20 * time.Millisecond
		rounds = 250
	)
	if len(state.Kin(leader, mark)) == 0 {
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
		if len(state.Kin(leader, mark)) == 0 {
			return
		}
	}
	clean := 0
	for range rounds {
		kin := state.Kin(leader, mark)
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
