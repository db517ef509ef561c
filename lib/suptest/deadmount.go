package suptest

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// OwnMounts gives the test, and the daemon that it starts from then on, mounts
// that nobody else sees and that are gone with them. It is to be called in the
// goroutine of the test, and skips it where that is not allowed.
func OwnMounts(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting takes root")
	}
	// The thread ends with the goroutine, and never runs another one.
	runtime.LockOSThread()
	err := unix.Unshare(unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	if err != nil {
		t.Skip("mounting is not allowed: " + err.Error())
	}
}

// DeadMount lays a file system over a directory that answers nothing, as one of
// a server that is gone: whoever looks up a file below it waits, and can be
// killed. What was open before stays as it is. It ends when the function that
// it returns is called, which gives an error to all who wait; more than once
// does no harm. OwnMounts must have been called.
func DeadMount(t testing.TB, dir string) (end func()) {
	t.Helper()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("there is no FUSE: " + err.Error())
	}
	if err := unix.Mount("dead", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40755,user_id=0,group_id=0", fd)); err != nil {
		unix.Close(fd)
		t.Skip("FUSE cannot be mounted: " + err.Error())
	}
	ended := false
	end = func() {
		if !ended {
			ended = true
			_ = unix.Unmount(dir, unix.MNT_DETACH)
			unix.Close(fd)
		}
	}
	t.Cleanup(end)
	return end
}
