//go:build crashpoints

package crash

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// wanted is the point at which to end, left how often it is to be passed
// before.
var (
	wanted string
	left   atomic.Int64
)

func init() {
	name, count, counted := strings.Cut(os.Getenv("SUPD_CRASH"), ":")
	wanted = name
	left.Store(1)
	if n, err := strconv.ParseInt(count, 10, 64); counted && err == nil {
		left.Store(n)
	}
}

// Point ends the program if this is the point that was asked for.
func Point(name string) {
	if name != wanted || left.Add(-1) != 0 {
		return
	}
	_ = unix.Kill(unix.Getpid(), unix.SIGKILL)
	select {} // until the signal has arrived
}
