// Package hurry lets a daemon that comes back go first. While it is away
// nothing is supervised, and the machine may be busy with the very programs
// that it is to take over: what takes 40 ms of a processor's time would then
// take its turn behind all of them for a second.
package hurry

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// boost is by how much the nice value of a thread in a hurry is lowered.
const boost = 10

// Begin puts the calling goroutine in a hurry until end is called, by the same
// goroutine: its thread gets more of the processor than others where we may
// ask for that, and other goroutines wait for it rather than wake further
// threads. Nothing is to be executed meanwhile, since the priority would be
// inherited; threads that are made meanwhile do not inherit it.
func Begin() (end func()) {
	// Before the priority changes: now the runtime makes the thread that it
	// copies others from.
	runtime.LockOSThread()
	runtime.GOMAXPROCS(1)
	before, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	// The system call gives 20 - nice.
	nice := 20 - before
	if err == nil {
		err = unix.Setpriority(unix.PRIO_PROCESS, 0, max(nice-boost, -20))
	}
	return func() {
		if err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, 0, nice)
		}
		runtime.SetDefaultGOMAXPROCS()
		runtime.UnlockOSThread()
	}
}
