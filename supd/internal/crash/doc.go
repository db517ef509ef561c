// Package crash lets tests end supd at points of their choice, as kill -9
// would.
//
// Without the build tag crashpoints it does nothing. With it, a program started
// with SUPD_CRASH=NAME kills itself with SIGKILL the first time it comes to
// Point(NAME); with SUPD_CRASH=NAME:3, the third time.
package crash

// The points, in the order in which a start, a save and an upgrade pass them.
const (
	// BeforeFork: all is ready for a program's process to be made.
	BeforeFork = "before-fork"
	// AfterFork: it is there, and only the goroutine that made it knows.
	AfterFork = "after-fork"
	// AfterReap: a program was reaped, and its end is not told yet.
	AfterReap = "after-reap"
	// BeforeSave: the state in the file is the one before.
	BeforeSave = "before-save"
	// DuringSave: the new state is written, and not in its place.
	DuringSave = "during-save"
	// AfterSave: it is in its place.
	AfterSave = "after-save"
	// BeforeHandover: suplog is to be given a stream.
	BeforeHandover = "before-handover"
	// AfterHandover: it has been sent to it.
	AfterHandover = "after-handover"
	// BeforeDeposit: suplog is to be given a program's pidfd.
	BeforeDeposit = "before-deposit"
	// BeforeExec: the last step of an upgrade is due.
	BeforeExec = "before-exec"
)

// Points are all points.
var Points = []string{
	BeforeFork, AfterFork, AfterReap, BeforeSave, DuringSave, AfterSave,
	BeforeHandover, AfterHandover, BeforeDeposit, BeforeExec,
}
