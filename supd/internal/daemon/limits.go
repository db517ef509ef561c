package daemon

import (
	"strconv"

	"golang.org/x/sys/unix"

	"sup/lib/spawn"
	"sup/supd/internal/activity"
)

// raiseNoFile sees to minfds=: programs are to have that many descriptors at
// least. soft is what they would have without, as it was read off a child that
// had just been made; 0 if that failed.
func (d *Daemon) raiseNoFile(soft uint64) {
	if soft == 0 || d.limitsRaised {
		return
	}
	d.limitsRaised = true
	want := uint64(max(d.plan.Daemon.MinFDs, 0))
	changed, err := spawn.RaiseLimit(unix.RLIMIT_NOFILE, want, soft)
	switch {
	case err != nil:
		d.log.Print(activity.Warn, "cannot raise RLIMIT_NOFILE to "+strconv.FormatUint(want, 10)+": "+err.Error())
	case changed:
		d.log.Print(activity.Info, "Increased RLIMIT_NOFILE limit to "+strconv.FormatUint(want, 10))
	}
}
